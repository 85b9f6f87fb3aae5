"""Pictures of several evaluations side by side: intervals, ROC curves, degradations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfd_tf.evaluation.comparison import JudgedRun
from dfd_tf.evaluation.evaluate import Metric
from dfd_tf.evaluation.metrics import score_curve
from dfd_tf.evaluation.perturbations import PERTURBATIONS
from dfd_tf.evaluation.plots import FAKE_COLOR, LINE_COLOR, REAL_COLOR

CHANCE_COLOR = "#bbbbbb"
RUN_COLORS = (REAL_COLOR, FAKE_COLOR, "#4c956c", "#c27c0e", "#7b4ea3", "#555555")
_PANEL_COLUMNS = 4
_LONGEST_NAME = 34


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot.

    Args:
        group: Rows of one group stand together under its name.
        name: What was measured.
        auc: With its interval.
    """

    group: str
    name: str
    auc: Metric


def forest_plot(rows: Sequence[ForestRow], title: str) -> Figure:
    """AUCs with their 95 % intervals below each other, the line of chance behind them."""
    groups = list(dict.fromkeys(row.group for row in rows))
    height = 1.2 + 0.3 * (len(rows) + len(groups))
    figure = Figure(figsize=(8.0, max(2.2, height)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.axvline(0.5, color=CHANCE_COLOR, linestyle=":", linewidth=1)
    ticks: list[tuple[float, str]] = []
    texts: list[tuple[float, str, str]] = []
    place = 0.0
    for group in groups:
        texts.append((place, shortened(group, 60), "bold"))
        for row in (row for row in rows if row.group == group):
            place += 1.0
            ticks.append((place, shortened(row.name)))
            value, low, high = row.auc["value"], row.auc["low"], row.auc["high"]
            if value is not None:
                if low is not None and high is not None:
                    axes.plot([low, high], [place, place], color=LINE_COLOR, linewidth=1.4)
                axes.plot(value, place, "s", color=REAL_COLOR, markersize=6)
            texts.append((place, metric_text(row.auc), "normal"))
        place += 1.4
    axes.set_ylim(place - 0.4, -0.8)
    drawn = [v for row in rows for v in row.auc.values() if v is not None]
    axes.set_xlim(min([0.45, *drawn]) - 0.02, 1.02)
    axes.set_yticks([tick for tick, _ in ticks])
    axes.set_yticklabels([name for _, name in ticks], fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("AUC with 95 % interval (dotted: chance)", fontsize=8)
    for y, text, weight in texts:
        column = 0.01 if weight == "bold" else 1.02
        axes.text(column, y, text, transform=axes.get_yaxis_transform(), va="center",
                  fontsize=8, fontweight=weight, parse_math=False)  # fmt: skip
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure


def roc_overlay(runs: Sequence[JudgedRun], figures: dict[str, Any], title: str) -> Figure:
    """ROC curves of several runs on the same items, each with its AUC.

    Args:
        runs: With samples of both classes.
        figures: What `compare_level` found for them.
        title: Says level, dataset, split and n.
    """
    figure = Figure(figsize=(6.0, 6.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.plot([0, 1], [0, 1], color=CHANCE_COLOR, linestyle=":")
    for number, run in enumerate(runs):
        samples = run.samples
        curve = score_curve(samples.labels, samples.scores, np.ones((1, len(samples))))
        auc = metric_text(figures["runs"][run.name]["ranking"]["auc"])
        axes.plot(
            curve.false_positive_rate[0],
            curve.true_positive_rate[0],
            color=RUN_COLORS[number % len(RUN_COLORS)],
            linestyle=("-", "--", "-.")[number // len(RUN_COLORS) % 3],
            label=f"{shortened(run.name)}: AUC {auc}",
        )
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    legend = axes.legend(loc="lower right", fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def robustness_plot(figures: dict[str, Any], title: str) -> Figure:
    """AUC and flip rate over the levels of each perturbation, one panel each, one scale.

    Args:
        figures: Content of robustness.json.
        title: Says run, dataset, split and n.
    """
    measured = {
        n: figures["perturbations"][n] for n in PERTURBATIONS if n in figures["perturbations"]
    }
    columns = min(_PANEL_COLUMNS, len(measured))
    rows = -(-len(measured) // columns)
    width, height = max(5.0, 2.9 * columns), 2.5 * rows + 1.2
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=9, parse_math=False)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, measured, strict=False):
        _panel(axes, name, measured[name]["levels"], figures["clean"])
    for axes in grid.flat[len(measured) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("AUC, flip rate", fontsize=8)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _panel(axes: Axes, name: str, levels: list[dict[str, Any]], clean: dict[str, Any]) -> None:
    perturbation = PERTURBATIONS[name]
    order = [found["level"] for found in levels]
    before = sum(order.count(level) for level in perturbation.levels[: perturbation.clean])
    entries = [*levels[:before], clean, *levels[before:]]
    axes.axhline(0.5, color=CHANCE_COLOR, linestyle=":", linewidth=1, label="chance (AUC)")
    axes.axvline(before, color=CHANCE_COLOR, linewidth=0.8)
    for metric, color, label in (
        ("auc", REAL_COLOR, "AUC, 95 % interval"),
        ("flip_rate", FAKE_COLOR, "share of images whose decision flips"),
    ):
        values, low, high = (
            np.array([entry[metric][key] for entry in entries], np.float64)
            for key in ("value", "low", "high")
        )
        places = np.arange(len(entries))
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(places, values, "o-", color=color, markersize=3.5, linewidth=1.3, label=label)
    ticks = ["clean" if entry is clean else f"{entry['level']:g}" for entry in entries]
    axes.set_xticks(range(len(entries)), ticks, fontsize=7)
    axes.set_ylim(-0.03, 1.03)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(name, fontsize=8)
    axes.set_xlabel(perturbation.meaning, fontsize=7)


def metric_text(metric: Metric) -> str:
    """Writes `0.912 [0.871, 0.944]`, `undefined` where there is no value."""
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        return "undefined"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """Keeps the end of a long name, where runs of one folder differ."""
    return name if len(name) <= longest else "…" + name[1 - longest :]
