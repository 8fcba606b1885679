"""Charts of a trained classifier: pure functions from values to matplotlib figures.

Sizes are in points; the report shows a point as at most 1.15 CSS pixels. Drawn without pyplot, which would keep every
figure in memory and need a display.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from components.mnist.report.palette import LIGHT

POINTS_PER_INCH = 72
WIDTH = 400  # points, of a chart that fills half a page
LONGEST_NAME = 18  # characters of a class name on an axis

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same chart on every machine
    "font.size": 11,
    # A class may be called "$5": text is never a formula.
    "text.parse_math": False,
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.edgecolor": LIGHT["line"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
STEPS = (1, 2, 2.5, 5, 10)  # between ticks; matplotlib would also count by eights
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.10g}%")
COUNT = FuncFormatter(lambda count, _: f"{count:,.0f}")
styled = matplotlib.rc_context(STYLE)


@styled
def draw_curve(training: Sequence[float], validation: Sequence[float], *, best_epoch: int, percent: bool) -> Figure:
    """Draw a metric by epoch, for training and validation data.

    Args:
        training, validation: One value per epoch.
        best_epoch: The epoch that was kept, from 1; marked.
        percent: Whether values are shares, to be shown in percent; otherwise the axis starts at 0.
    """
    figure = new_figure(WIDTH, 280)
    axes = figure.subplots()
    epochs = np.arange(1, len(training) + 1)
    marker = "o" if len(epochs) <= 30 else ""  # more would overlap
    axes.axvline(best_epoch, color=LIGHT["muted"], linewidth=1, linestyle=(0, (2, 3)))
    for values, name in ((training, "training"), (validation, "validation")):
        color = LIGHT["amber" if name == "training" else "blue"]
        axes.plot(epochs, values, color=color, linewidth=2, marker=marker, markersize=5, label=name)
    axes.plot(
        best_epoch,
        list(validation)[best_epoch - 1],  # by position; a pandas series would look up its index
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=LIGHT["blue"],
        markeredgewidth=1.5,
        linestyle="none",
        label=f"kept: epoch {best_epoch}",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.set(xlim=(0.5, len(epochs) + 0.5), xlabel="epoch")
    axes.grid(axis="x", visible=False)
    if percent:
        axes.yaxis.set_major_formatter(PERCENT)
    else:
        axes.set_ylim(bottom=0)
    _put_legend_above(figure)
    return figure


@styled
def draw_by_class(precision: Sequence[float], recall: Sequence[float], classes: Sequence[str]) -> Figure:
    """Draw precision and recall of each class, the lowest recall at the top."""
    order = np.argsort(recall, kind="stable")
    figure, axes, rows = _new_rows([classes[number] for number in order])
    precisions, recalls = np.array(precision)[order], np.array(recall)[order]
    lowest, highest = np.minimum(precisions, recalls), np.maximum(precisions, recalls)
    axes.hlines(rows, lowest, highest, color=LIGHT["line"], linewidth=4)
    axes.scatter(recalls, rows, s=44, color=LIGHT["blue"], label="recall", zorder=3)
    axes.scatter(
        precisions,
        rows,
        s=44,
        facecolor=LIGHT["paper"],
        edgecolor=LIGHT["amber"],
        linewidth=2,
        label="precision",
        zorder=2,
    )
    # The axis spans at least 2%, so that nearly perfect classes are not spread over thousandths.
    low = min(lowest.min(), 0.98)
    axes.set_xlim(low - 0.06 * (1 - low), 1 + 0.04 * (1 - low))
    axes.set_xticks([tick for tick in MaxNLocator(5, steps=STEPS).tick_values(low, 1) if low <= tick <= 1])
    axes.xaxis.set_major_formatter(PERCENT)
    _put_legend_above(figure)
    return figure


@styled
def draw_calibration(
    count: Sequence[int],
    confidence: Sequence[float],
    accuracy: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
) -> Figure:
    """Draw the reliability diagram: accuracy against confidence, and below it the number of predictions.

    Args:
        count, confidence, accuracy, low, high: By bin of equal width; empty bins are not drawn.
    """
    figure = new_figure(WIDTH, 420)
    reliability, histogram = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    filled = np.array(count) > 0
    x, y = np.array(confidence)[filled], np.array(accuracy)[filled]
    reach = np.abs(np.array([low, high])[:, filled] - y)  # below and above each point, (2, bins)
    reliability.plot(
        [0, 1], [0, 1], color=LIGHT["muted"], linewidth=1, linestyle=(0, (2, 3)), label="perfect calibration"
    )
    reliability.errorbar(
        x, y, reach, fmt="o", color=LIGHT["blue"], markersize=7, elinewidth=1.5, label="measured, 95% interval"
    )
    reliability.set(ylabel="accuracy", ylim=(-0.02, 1.03), xlim=(-0.02, 1.02), yticks=np.linspace(0, 1, 6))
    reliability.yaxis.set_major_formatter(PERCENT)
    edges = np.linspace(0, 1, len(count) + 1)
    histogram.bar(edges[:-1], count, width=edges[1] * 0.92, align="edge", color=LIGHT["blue"], alpha=0.45)
    histogram.set(ylabel="images", xlabel="confidence", xticks=np.linspace(0, 1, 6))
    histogram.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    histogram.yaxis.set_major_formatter(COUNT)
    histogram.xaxis.set_major_formatter(PERCENT)
    _put_legend_above(figure)
    return figure


@styled
def draw_balance(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw how many images each class has.

    Args:
        counts: By split, in the order in which bars are stacked: a number per class.
    """
    figure, axes, rows = _new_rows(classes)
    start = np.zeros(len(classes))
    for (split, numbers), strength in zip(counts.items(), (0.9, 0.55, 0.25), strict=True):
        axes.barh(rows, numbers, left=start, height=0.62, color=LIGHT["blue"], alpha=strength, label=split)
        start += numbers
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=STEPS))
    axes.xaxis.set_major_formatter(COUNT)
    axes.set_xlim(0, start.max() * 1.03)
    _put_legend_above(figure)
    return figure


@styled
def draw_pictures(images: np.ndarray, captions: Sequence[str], *, wrong: Sequence[bool]) -> Figure:
    """Draw pictures in a grid, dark ink on white, each above a caption of two lines.

    Args:
        images: uint8 (n, 28, 28), ink is 255; n may be 0.
        wrong: For each picture, whether its caption is red.
    """
    columns, side, gap, text = 8, 84, 12, 36  # the last three in points
    rows = max(1, math.ceil(len(images) / columns))
    width, height = columns * (side + gap) + gap, rows * (side + text) + gap
    figure = new_figure(width, height, layout=None)
    # One pair of axes, in points, for all pictures: one for each would take a second.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    if not len(images):
        axes.text(width / 2, height / 2, "nothing to show", ha="center", va="center", color=LIGHT["muted"])
    for number, (image, caption, is_wrong) in enumerate(zip(images, captions, wrong, strict=True)):
        row, column = divmod(number, columns)
        left, top = gap + column * (side + gap), gap + row * (side + text)
        axes.imshow(255 - image, cmap="gray", vmin=0, vmax=255, extent=(left, left + side, top + side, top))
        axes.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=LIGHT["line"]))
        axes.text(left, top + side + 4, caption, va="top", color=LIGHT["red" if is_wrong else "ink"], fontsize=8.5)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Create an empty chart of this size in points."""
    return Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout=layout, facecolor=LIGHT["paper"])


def shorten(name: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name on one line, cut to at most `longest` characters."""
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def _new_rows(classes: Sequence[str]) -> tuple[Figure, Axes, np.ndarray]:
    """Create a chart with a row per class; the last value returned is the rows' positions, float64 (classes,)."""
    height = 24 if len(classes) <= 12 else 16 if len(classes) <= 80 else 12
    figure = new_figure(WIDTH, max(170, len(classes) * height + 70))
    axes = figure.subplots()
    rows = np.arange(len(classes), dtype=float)
    axes.set_yticks(rows, [shorten(name) for name in classes], fontsize=11 if height > 12 else 9, color=LIGHT["ink"])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return figure, axes, rows


def _put_legend_above(figure: Figure) -> None:
    figure.legend(loc="outside upper left", ncols=3, borderpad=0, handletextpad=0.5, columnspacing=1.5)
