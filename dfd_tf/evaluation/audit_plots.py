"""Pictures of an audit: how each nuisance is spread in both classes, and how well it tells them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfd_tf.evaluation.plots import FAKE_COLOR, LINE_COLOR, REAL_COLOR
from dfd_tf.evaluation.shortcuts import TOGETHER, Shortcut
from pipelines.media_item import FAKE, REAL
from pipelines.nuisances import FORMAT, NUMERIC, Nuisance
from pipelines.shared_content import AuditedMedium

_CLASSES = ((REAL, "real", REAL_COLOR), (FAKE, "fake", FAKE_COLOR))
_MOST_BINS = 40


def overview_plot(
    shortcuts: Sequence[Shortcut], labels: dict[str, str], limit: float, title: str
) -> Figure:
    """One bar a nuisance with its interval; what is undefined is left out.

    Args:
        shortcuts: What was measured.
        labels: Name -> text for people.
        limit: Drawn as a line.
        title: Says dataset and n.
    """
    shown = [s for s in shortcuts if s.auc is not None]
    shown.sort(key=lambda s: (s.name == TOGETHER, s.auc or 0.0))
    figure = Figure(figsize=(8.0, 1.6 + 0.34 * max(1, len(shown))), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, parse_math=False)
    for row, shortcut in enumerate(shown):
        auc = shortcut.auc or 0.0
        color = FAKE_COLOR if shortcut.verdict == "over" else "#8a96a3"
        axes.barh(row, auc - 0.5, left=0.5, color=color, height=0.6)
        if shortcut.low is not None and shortcut.high is not None:
            axes.plot([shortcut.low, shortcut.high], [row, row], color=LINE_COLOR, linewidth=1.5)
        right = max(auc, shortcut.high or 0.0, 0.5)
        axes.text(right + 0.01, row, f"{auc:.3f}", va="center", fontsize=8)
    axes.axvline(0.5, color=LINE_COLOR, linewidth=1)
    axes.axvline(limit, color=FAKE_COLOR, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.set_yticks(range(len(shown)), [labels[s.name] for s in shown], fontsize=8)
    low = min([0.4, *(s.low for s in shown if s.low is not None)])
    axes.set(xlim=(low - 0.02, 1.09), ylim=(-0.7, max(1, len(shown)) - 0.3))
    axes.set_xlabel(
        "cross-validated AUC with 95 % interval; 0.5 and below is chance;\n"
        "red where all of the interval is over the limit",
        fontsize=8,
    )
    axes.legend(loc="lower right", fontsize=8)
    return figure


def nuisance_plot(media: Sequence[AuditedMedium], nuisance: Nuisance, shortcut: Shortcut) -> Figure:
    """Distribution of a nuisance in either class, with its AUC."""
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{nuisance.label}\n{_verdict(shortcut)}", fontsize=9)
    if nuisance.name == FORMAT:
        _draw_names(axes, media)
    else:
        _draw_values(axes, media, NUMERIC.index(nuisance.name))
    axes.set_ylabel("share of the class", fontsize=8)
    axes.tick_params(labelsize=8)
    return figure


def _verdict(shortcut: Shortcut) -> str:
    if shortcut.auc is None:
        return f"undefined: {shortcut.reason}"
    if shortcut.low is None or shortcut.high is None:
        return f"AUC {shortcut.auc:.3f}"
    return f"AUC {shortcut.auc:.3f} (95 % {shortcut.low:.3f}-{shortcut.high:.3f})"


def _draw_values(axes: Axes, media: Sequence[AuditedMedium], place: int) -> None:
    values = {
        label: np.array([m.values[place] for m in media if m.label == label], np.float64)
        for label, _, _ in _CLASSES
    }
    known = {label: found[~np.isnan(found)] for label, found in values.items()}
    edges = _edges(np.concatenate(list(known.values())))
    for label, name, color in _CLASSES:
        found, number = known[label], len(values[label])
        if not number:
            continue
        missing = f", {number - len(found)} without" if len(found) < number else ""
        shown = np.clip(found, edges[0], edges[-1])
        axes.hist(
            shown,
            edges.tolist(),
            weights=np.full(len(shown), 1 / number),
            color=color,
            alpha=0.55,
            label=f"{name} (n = {number}{missing})",
        )
    if any(len(found) for found in values.values()):
        axes.legend(loc="upper right", fontsize=8)


def _draw_names(axes: Axes, media: Sequence[AuditedMedium]) -> None:
    names = sorted({medium.source_format for medium in media})
    for shift, (label, name, color) in zip((-0.2, 0.2), _CLASSES, strict=True):
        counts = Counter(m.source_format for m in media if m.label == label)
        if number := counts.total():
            shares = [counts[one] / number for one in names]
            places = np.arange(len(names)) + shift
            axes.bar(places, shares, width=0.38, color=color, label=f"{name} (n = {number})")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.8, max(1, len(names)) - 0.2)
    axes.legend(loc="upper right", fontsize=8)


def _edges(values: np.ndarray) -> np.ndarray:
    """Bins over all but the outermost values, as fine as their number allows."""
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, [0.005, 0.995])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    margin = 0.02 * (high - low)
    bins = int(np.clip(2 * np.sqrt(len(values)), 10, _MOST_BINS))
    return np.linspace(low - margin, high + margin, bins + 1)
