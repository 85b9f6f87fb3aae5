"""Plots of one evaluation, as PNG files; every title says level, dataset, split and n."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfd_tf.evaluation.metrics import (
    NUM_BINS,
    confusion,
    probability_bins,
    probability_metrics,
    score_curve,
)
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import Probability, Threshold
from dfd_tf.inference.figures import FAKE_COLOR as FAKE_COLOR
from dfd_tf.inference.figures import LINE_COLOR as LINE_COLOR
from dfd_tf.inference.figures import REAL_COLOR as REAL_COLOR
from dfd_tf.inference.figures import png_bytes as png_bytes

BEFORE_COLOR = "#c27c0e"


@dataclass(frozen=True)
class PlotContext:
    """What every plot is labelled with.

    Args:
        run: Name of the run.
        dataset: Name of the dataset.
        split: Its split.
    """

    run: str
    dataset: str
    split: str

    def title(self, what: str, samples: ScoredSamples) -> str:
        reals, fakes = int(np.sum(samples.labels == 0)), int(np.sum(samples.labels == 1))
        origin = f"{self.run} on {self.dataset}/{self.split}"
        return f"{what}\n{origin}\n{samples.level} level, {reals} real, {fakes} fake"


def roc_plot(
    samples: ScoredSamples,
    thresholds: Sequence[Threshold],
    auc: tuple[float, tuple[float, float] | None],
    context: PlotContext,
) -> Figure:
    """ROC curve with the stored operating points on it."""
    figure, axes = _figure(context.title("ROC", samples))
    curve = score_curve(samples.labels, samples.scores, np.ones((1, len(samples))))
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", label="chance")
    axes.plot(
        curve.false_positive_rate[0],
        curve.true_positive_rate[0],
        color=LINE_COLOR,
        label=f"AUC {_with_interval(*auc)}",
    )
    for marker, threshold in zip("osD^v", thresholds, strict=False):
        called = samples.scores > threshold.value
        fpr = float(np.mean(called[samples.labels == 0]))
        tpr = float(np.mean(called[samples.labels == 1]))
        axes.plot(fpr, tpr, marker, label=f"{threshold.name}: FPR {fpr:.3f}, TPR {tpr:.3f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def precision_recall_plot(
    samples: ScoredSamples,
    average_precision: tuple[float, tuple[float, float] | None],
    context: PlotContext,
) -> Figure:
    """Precision over recall, with the positive rate, which is the precision of chance."""
    figure, axes = _figure(context.title("Precision and recall", samples))
    curve = score_curve(samples.labels, samples.scores, np.ones((1, len(samples))))
    called = curve.true_positives[0, 1:] + curve.false_positives[0, 1:]
    precision = curve.true_positives[0, 1:] / called
    recall = curve.true_positive_rate[0, 1:]
    axes.step(
        np.append(0.0, recall),
        np.append(precision[0], precision),
        where="pre",
        color=LINE_COLOR,
        label=f"AP {_with_interval(*average_precision)}",
    )
    positive_rate = float(np.mean(samples.labels == 1))
    axes.axhline(
        positive_rate, color="#bbbbbb", linestyle=":", label=f"positive rate {positive_rate:.3f}"
    )
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower left", fontsize=8)
    return figure


def histogram_plot(
    samples: ScoredSamples, thresholds: Sequence[Threshold], context: PlotContext
) -> Figure:
    """Score histogram per class, with the stored thresholds; works with one class as well."""
    figure, axes = _figure(context.title("Scores", samples))
    edges = _bin_edges(samples.scores, [threshold.value for threshold in thresholds])
    for label, name, color in ((0, "real", REAL_COLOR), (1, "fake", FAKE_COLOR)):
        scores = samples.scores[samples.labels == label]
        if len(scores):
            shown = np.clip(scores, edges[0], edges[-1])
            axes.hist(
                shown, edges.tolist(), color=color, alpha=0.55, label=f"{name} (n = {len(scores)})"
            )
    styles = ("-", "--", "-.", ":")
    for style, threshold in zip(styles, thresholds, strict=False):
        axes.axvline(
            threshold.value,
            color=LINE_COLOR,
            linestyle=style,
            linewidth=1,
            label=f"{threshold.name} {threshold.value:.4g}",
        )
    axes.set(xlabel="score (higher = more likely fake; tails gathered)", ylabel=f"{samples.level}s")
    axes.legend(loc="upper right", fontsize=8)
    return figure


def reliability_plot(
    samples: ScoredSamples, probability: Probability, ece: float, context: PlotContext
) -> Figure:
    """Share of fakes over predicted probability, bin by bin, with the number of images.

    Where the score is a logit, also what sigmoid(score) would have predicted.
    """
    figure, axes = _figure(context.title("Reliability", samples))
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", label="perfect")
    if probability.ece_before is not None:
        raw = np.exp(-np.logaddexp(0.0, -samples.scores))
        weights = np.ones((1, len(samples)))
        before = float(probability_metrics(samples.labels, raw, weights)["ece"][0])
        mean, share, _ = _reliability(raw, samples.labels)
        label = f"uncalibrated, sigmoid(score): ECE {before:.3f}"
        axes.plot(mean, share, "o--", color=BEFORE_COLOR, markersize=4, label=label)
    mean, share, counts = _reliability(probability.apply(samples.scores), samples.labels)
    axes.plot(mean, share, "o-", color=LINE_COLOR, label=f"{probability.method}: ECE {ece:.3f}")
    for x, y, count in zip(mean, share, counts, strict=True):
        axes.annotate(str(count), (x, y), (0, 6), textcoords="offset points", fontsize=7)
    axes.set(xlabel="predicted probability of fake")
    axes.set(ylabel=f"share of fakes (numbers: {samples.level}s)")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.08), aspect="equal")
    axes.legend(loc="upper left", fontsize=8)
    return figure


def _reliability(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share of fakes and number of samples of each bin that holds any."""
    bins = probability_bins(probabilities)
    counts = np.bincount(bins, minlength=NUM_BINS)
    filled = counts > 0
    mean = np.bincount(bins, probabilities, NUM_BINS)[filled] / counts[filled]
    share = np.bincount(bins, labels == 1, NUM_BINS)[filled] / counts[filled]
    return mean, share, counts[filled]


def confusion_plot(samples: ScoredSamples, threshold: Threshold, context: PlotContext) -> Figure:
    """Confusion matrix at a stored operating point, counts and row shares."""
    title = context.title(f"Decisions at `{threshold.name}` ({threshold.value:.4g})", samples)
    figure, axes = _figure(title)
    called = samples.scores > threshold.value
    tp, fp, tn, fn = confusion(samples.labels, called, np.ones((1, len(samples))))[0]
    table = np.array([[tn, fp], [fn, tp]])
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = f"{int(count)}\n{shares[row, column]:.1%}" if totals[row] else "no such images"
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set(xticks=[0, 1], xticklabels=["called real", "called fake"])
    axes.set(yticks=[0, 1], yticklabels=["real", "fake"])
    return figure


def picture_grid(
    rows: Sequence[tuple[str, np.ndarray]], captions: Sequence[str], title: str
) -> Figure:
    """Named rows of pictures, (n, h, w, 3) or (n, h, w) in [0, 1], with a caption a column."""
    columns = len(captions)
    figure = Figure(figsize=(1.6 * columns + 1, 1.75 * len(rows) + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=9, parse_math=False)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, pictures) in enumerate(rows):
        for column, axes in enumerate(grid[row]):
            picture = pictures[column]
            axes.imshow(picture, vmin=0, vmax=1, cmap=None if picture.ndim == 3 else "magma")
            axes.set(xticks=[], yticks=[])
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
            if row == 0:
                axes.set_title(captions[column], fontsize=7)
    return figure


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, parse_math=False)  # names may hold dollar signs
    return figure, axes


def _bin_edges(scores: np.ndarray, marks: Sequence[float]) -> np.ndarray:
    low, high = np.quantile(scores, [0.005, 0.995])
    low, high = min([low, *marks]), max([high, *marks])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    margin = 0.03 * (high - low)
    return np.linspace(low - margin, high + margin, 41)


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} (95 % {interval[0]:.3f}-{interval[1]:.3f})"
