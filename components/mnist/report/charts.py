"""Charts of a trained classifier: pure functions from values to matplotlib figures.

Sizes are in points, which the report shows as CSS pixels at most; text is never below 9. Drawn without pyplot, which
would keep every figure in memory and ask for a display.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from components.mnist.report.palette import LIGHT

POINTS_PER_INCH = 72
WIDTH = 400
LONGEST_NAME = 18
LARGEST_MATRIX = 960  # points; beyond it, cells shrink and lose their numbers
SMALLEST_NUMBERED_CELL = 16

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the one that matplotlib brings: the same picture everywhere
    "font.size": 11,
    # A class may be called "$5": names are text, never formulas.
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
STEPS = (1, 2, 2.5, 5, 10)  # of an axis; matplotlib would also count by eights
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.10g}%")
COUNT = FuncFormatter(lambda count, _: f"{count:,.0f}")
styled = matplotlib.rc_context(STYLE)


@styled
def draw_curve(training: Sequence[float], validation: Sequence[float], *, best_epoch: int, percent: bool) -> Figure:
    """Draw one measure by epoch, for training and validation data.

    Args:
        training, validation: One value per epoch.
        best_epoch: The epoch that was kept, from 1; marked.
        percent: Whether values are shares; otherwise the axis starts at 0.
    """
    figure = _new_figure(WIDTH, 280)
    axes = figure.subplots()
    epochs = np.arange(1, len(training) + 1)
    marker = "o" if len(epochs) <= 30 else ""
    axes.axvline(best_epoch, color=LIGHT["muted"], linewidth=1, linestyle=(0, (2, 3)))
    for values, name in ((training, "training"), (validation, "validation")):
        color = LIGHT["amber" if name == "training" else "blue"]
        axes.plot(epochs, values, color=color, linewidth=2, marker=marker, markersize=5, label=name)
    axes.plot(
        best_epoch,
        list(validation)[best_epoch - 1],  # by position: a pandas series would be asked by its index
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=LIGHT["blue"],
        markeredgewidth=1.5,
        linestyle="none",
        label=f"kept: epoch {best_epoch}",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("epoch")
    if percent:
        axes.yaxis.set_major_formatter(PERCENT)
    else:
        axes.set_ylim(bottom=0)
    _put_legend_above(figure)
    return figure


@styled
def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw what was taken for what: rows are true classes, columns are answers.

    Mistakes have a colour scale of their own: beside 98% of right answers on the diagonal they would vanish.

    Args:
        matrix: int (classes, classes).
    """
    count = len(classes)
    cell = min(90.0, max(LARGEST_MATRIX / max(count, 30), 360 / count))
    cell = min(cell, LARGEST_MATRIX / count)
    text_size = min(11.0, max(6.0, cell * 0.62))
    step = math.ceil(1.25 * text_size / cell)  # every name where there is room, else every second, third, ...
    names = [shorten(name) for name in classes[::step]]
    margin = max(map(len, names)) * text_size * 0.62 + 14
    # Column names lie flat where they fit into a cell.
    upright = margin - 14 > cell * step
    figure = _new_figure(margin + count * cell + 22, (margin if upright else 24) + count * cell + 22, layout=None)
    width, height = figure.get_size_inches() * POINTS_PER_INCH
    side = count * cell
    axes = figure.add_axes(((width - side - 4) / width, 4 / height, side / width, side / height))
    _draw_cells(axes, matrix, cell)
    axes.set(xlim=(0, count), ylim=(count, 0), xlabel="answer", ylabel="true class")
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    places = np.arange(0, count, step) + 0.5
    axes.set_xticks(places, names, rotation=90 if upright else 0, fontsize=text_size)
    axes.set_yticks(places, names, fontsize=text_size)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure


@styled
def draw_by_class(precision: Sequence[float], recall: Sequence[float], classes: Sequence[str]) -> Figure:
    """Draw precision and recall of each class, the lowest recall at the top."""
    order = np.argsort(recall, kind="stable")
    figure, axes, rows = _new_rows([classes[number] for number in order])
    right, found = np.array(precision)[order], np.array(recall)[order]
    axes.hlines(rows, np.minimum(right, found), np.maximum(right, found), color=LIGHT["line"], linewidth=4)
    axes.scatter(found, rows, s=44, color=LIGHT["blue"], label="recall", zorder=3)
    axes.scatter(
        right,
        rows,
        s=44,
        facecolor=LIGHT["paper"],
        edgecolor=LIGHT["amber"],
        linewidth=2,
        label="precision",
        zorder=2,
    )
    # At least a few points wide, so that perfect classes do not stand on a scale of thousandths.
    low = min(right.min(), found.min(), 0.98)
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
    """Draw how often answers are right against how sure they were, and how many there are of each sureness.

    Args:
        count, confidence, accuracy, low, high: By bin of equal width; empty bins are not drawn.
    """
    figure = _new_figure(WIDTH, 420)
    reliability, amounts = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    filled = np.array(count) > 0
    sure, right = np.array(confidence)[filled], np.array(accuracy)[filled]
    reach = np.abs(np.array([low, high])[:, filled] - right)
    reliability.plot([0, 1], [0, 1], color=LIGHT["muted"], linewidth=1, linestyle=(0, (2, 3)), label="as sure as right")
    reliability.errorbar(
        sure, right, reach, fmt="o", color=LIGHT["blue"], markersize=7, elinewidth=1.5, label="measured, 95% interval"
    )
    reliability.set(ylabel="share that is right", ylim=(-0.02, 1.03), xlim=(-0.02, 1.02), yticks=np.linspace(0, 1, 6))
    edges = np.linspace(0, 1, len(count) + 1)
    amounts.bar(edges[:-1], count, width=edges[1] * 0.92, align="edge", color=LIGHT["blue"], alpha=0.45)
    amounts.set(ylabel="images", xlabel="how sure the answer was", xticks=np.linspace(0, 1, 6))
    amounts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    amounts.yaxis.set_major_formatter(COUNT)
    amounts.xaxis.set_major_formatter(PERCENT)
    reliability.yaxis.set_major_formatter(PERCENT)
    _put_legend_above(figure)
    return figure


@styled
def draw_balance(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw how many images each class has.

    Args:
        counts: By split, in the order of the stack; a number per class.
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
    """Draw pictures in a grid, dark ink on white, each with its caption of two lines.

    Args:
        images: uint8 (n, 28, 28), ink is 255; n may be 0.
        wrong: Whether the caption is red, for each picture.
    """
    columns, side, gap, text = 8, 84, 12, 36
    rows = max(1, -(-len(images) // columns))
    width, height = columns * (side + gap) + gap, rows * (side + text) + gap
    figure = _new_figure(width, height, layout=None)
    # One drawing area in points for all pictures: one for each would take a second.
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


def shorten(name: str, *, longest: int = LONGEST_NAME) -> str:
    """A name as one line of at most `longest` characters."""
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def _new_figure(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    return Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout=layout, facecolor=LIGHT["paper"])


def _new_rows(classes: Sequence[str]) -> tuple[Figure, Axes, np.ndarray]:
    """A figure with a row per class; returns the rows' places too, float64 (classes,)."""
    row = 24 if len(classes) <= 12 else 16 if len(classes) <= 80 else 12
    figure = _new_figure(WIDTH, max(170, len(classes) * row + 70))
    axes = figure.subplots()
    rows = np.arange(len(classes), dtype=float)
    axes.set_yticks(rows, [shorten(name) for name in classes], fontsize=11 if row > 12 else 9, color=LIGHT["ink"])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return figure, axes, rows


def _draw_cells(axes: Axes, matrix: np.ndarray, cell: float) -> None:
    count = len(matrix)
    mistakes = matrix * ~np.eye(count, dtype=bool)
    colors = np.zeros((count, count, 4))
    colors[:] = to_rgba(LIGHT["red"])
    colors[..., 3] = np.where(mistakes, 0.15 + 0.8 * mistakes / max(1, mistakes.max()), 0)
    colors[np.diag_indices(count)] = to_rgba(LIGHT["blue"], 0.12)
    if cell < SMALLEST_NUMBERED_CELL:
        # Tens of thousands of squares would be megabytes: one picture instead.
        axes.imshow(colors, extent=(0, count, count, 0), interpolation="nearest")
        return
    lines = np.arange(count) + 0.5
    axes.hlines(lines, 0, count, color=LIGHT["line"], linewidth=0.5, zorder=0)
    axes.vlines(lines, 0, count, color=LIGHT["line"], linewidth=0.5, zorder=0)
    cells = list(zip(*np.nonzero(matrix), strict=True))
    squares = [Rectangle((column + 0.03, row + 0.03), 0.94, 0.94) for row, column in cells]
    # Paper below, so that the lines do not shine through the colours.
    axes.add_collection(PatchCollection(squares, facecolors=LIGHT["paper"], linewidths=0))
    axes.add_collection(PatchCollection(squares, facecolors=[colors[place] for place in cells], linewidths=0))
    for row, column in cells:
        number = _write_count(int(matrix[row, column]))
        size = min(12.0, cell * 0.5, cell * 1.45 / len(number))
        color = LIGHT["paper" if colors[row, column, 3] > 0.6 else "ink"]
        axes.text(column + 0.5, row + 0.5, number, ha="center", va="center_baseline", fontsize=size, color=color)


def _write_count(value: int) -> str:
    if value < 10_000:
        return f"{value}"
    return f"{value / 1e3:.0f}k" if value < 1_000_000 else f"{value / 1e6:.1f}M"


def _put_legend_above(figure: Figure) -> None:
    figure.legend(loc="outside upper left", ncols=3, borderpad=0, handletextpad=0.5, columnspacing=1.5)
