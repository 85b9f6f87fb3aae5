"""The picture of a calibration: reliability before and after, and what each score is called."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dfd_tf.evaluation.calibrators import expected_error, sigmoid
from dfd_tf.evaluation.metrics import NUM_BINS, probability_bins
from dfd_tf.evaluation.plots import FAKE_COLOR, LINE_COLOR, REAL_COLOR, PlotContext
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibratedScores, CalibrationFile, Threshold
from dfd_tf.inference.verdicts import judge

VERDICT_COLORS = {"real": REAL_COLOR, "inconclusive": "#8a8a8a", "fake": FAKE_COLOR}
_SHADES = 400


def calibration_plot(
    calibration: CalibrationFile,
    images: ScoredSamples,
    held_out: np.ndarray | None,
    context: PlotContext,
) -> Figure:
    """Draws reliability (where there are probabilities) beside scores and verdicts.

    Args:
        calibration: What was fitted.
        images: The labelled images it was fitted to.
        held_out: (n,) cross-fitted probabilities of those, if there are any.
        context: What the title names.
    """
    columns = 1 if calibration.probability is None else 2
    figure = Figure(figsize=(5.8 * columns, 5.4), layout="constrained")
    figure.suptitle(context.title("Calibration", images), fontsize=9, parse_math=False)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    if calibration.probability is not None:
        _draw_reliability(axes[0], calibration, images, held_out)
    _draw_verdicts(axes[-1], calibration, images)
    return figure


def clip_calibration_plot(
    calibration: CalibrationFile, clips: ScoredSamples, context: PlotContext
) -> Figure:
    """Draws the same of clips.

    Args:
        calibration: With limits of clips.
        clips: The labelled clips they were fitted to.
        context: What the title names.
    """
    assert calibration.video is not None
    own = {name: getattr(calibration.video, name) for name in CalibratedScores.model_fields}
    of_clips = calibration.model_copy(update={**own, "video": None})
    return calibration_plot(of_clips, clips, None, context)


def _draw_reliability(
    axes: Axes,
    calibration: CalibrationFile,
    images: ScoredSamples,
    held_out: np.ndarray | None,
) -> None:
    assert calibration.probability is not None
    method = calibration.probability.method
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle=":", label="perfect")
    curves = [(f"{method}, in-sample", calibration.probability.apply(images.scores), "-s")]
    if held_out is not None:
        curves.append((f"{method}, cross-fitted", held_out, "-o"))
    if calibration.probability.ece_before is not None:
        curves.insert(0, ("before: sigmoid(score)", sigmoid(images.scores), "--^"))
    colors = ("#e08e45", "#9bb8cd", LINE_COLOR)[-len(curves) :]
    for (name, probabilities, style), color in zip(curves, colors, strict=True):
        bins = probability_bins(probabilities)
        counts = np.bincount(bins, minlength=NUM_BINS)
        filled = counts > 0
        mean = np.bincount(bins, probabilities, NUM_BINS)[filled] / counts[filled]
        share = np.bincount(bins, images.labels == 1, NUM_BINS)[filled] / counts[filled]
        error = expected_error(probabilities, images.labels)
        axes.plot(mean, share, style, color=color, markersize=4, label=f"{name}: ECE {error:.3f}")
    axes.set(xlabel="predicted probability of fake", ylabel="share of fakes")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="upper left", fontsize=8)


def _draw_verdicts(axes: Axes, calibration: CalibrationFile, images: ScoredSamples) -> None:
    points = calibration.thresholds
    limits = [point.value for point in points]
    limits += [point.fake_floor for point in points if point.fake_floor is not None]
    low, high = np.quantile(images.scores, [0.005, 0.995])
    low, high = min([low, *limits]), max([high, *limits])
    margin = 0.05 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, 41)
    for label, name, color in ((0, "real", REAL_COLOR), (1, "fake", FAKE_COLOR)):
        scores = np.clip(images.scores[images.labels == label], edges[0], edges[-1])
        if len(scores):
            # Shares: the classes may differ much in size.
            weights = np.full(len(scores), 1 / len(scores))
            axes.hist(
                scores,
                edges.tolist(),
                weights=weights,
                color=color,
                alpha=0.55,
                label=f"{name} (n = {len(scores)})",
            )
    top = axes.get_ylim()[1]
    for row, threshold in enumerate(points):
        _draw_bar(axes, calibration, threshold, edges, top * (1.06 + 0.08 * row), 0.05 * top)
    axes.set_ylim(0, top * (1.06 + 0.08 * len(points)))
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= top])
    axes.set(
        xlabel="score (higher = more likely fake; tails gathered)", ylabel="share of the class"
    )
    axes.set_xlim(edges[0], edges[-1])
    handles, _ = axes.get_legend_handles_labels()
    colors = VERDICT_COLORS.items() if points else ()
    handles += [Patch(color=color, label=f"bars: called {name}") for name, color in colors]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=8
    )


def _draw_bar(
    axes: Axes,
    calibration: CalibrationFile,
    threshold: Threshold,
    edges: np.ndarray,
    bottom: float,
    height: float,
) -> None:
    """One operating point's verdicts along the score axis."""
    scores = np.linspace(edges[0], edges[-1], _SHADES)
    names = np.array([judge(score, calibration, threshold).name for score in scores.tolist()])
    step = scores[1] - scores[0]
    for name, color in VERDICT_COLORS.items():
        own = scores[names == name]
        if len(own):
            axes.barh(
                bottom + height / 2, own[-1] - own[0] + step, height, own[0] - step / 2, color=color
            )
    axes.text(
        edges[0],
        bottom + height / 2,
        f"  {threshold.name}",
        va="center",
        fontsize=7,
        color="white",
        fontweight="bold",
    )
