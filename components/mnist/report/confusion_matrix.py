"""The confusion matrix as a chart, for two classes or for hundreds.

Sizes are in points, as in `charts.py`.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from components.mnist.report.charts import POINTS_PER_INCH, new_figure, shorten, styled
from components.mnist.report.palette import LIGHT

SMALLEST_SIDE, LARGEST_SIDE = 360, 960
LARGEST_CELL = 90
SMALLEST_NUMBERED_CELL = 16


@styled
def draw_confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: rows are true classes, columns are predicted classes.

    Mistakes have a colour scale of their own: beside 98% of the images on the diagonal they would vanish.

    Args:
        matrix: int (classes, classes).
    """
    count = len(classes)
    # 36 points for ten classes and 32 for thirty; smaller only where the matrix would exceed LARGEST_SIDE.
    cell = min(LARGEST_CELL, max(SMALLEST_SIDE / count, LARGEST_SIDE / max(count, 30)))
    cell = min(cell, LARGEST_SIDE / count)
    text_size = min(11.0, max(6.0, cell * 0.62))
    step = math.ceil(1.25 * text_size / cell)  # every name where there is room, else every second, third, ...
    names = [shorten(name) for name in classes[::step]]
    longest = max(map(len, names)) * text_size * 0.62  # a letter is about 0.62 times as wide as its size
    margin = longest + 14
    is_upright = longest > cell * step  # column names that are wider than their cells
    side = count * cell
    figure = new_figure(margin + side + 22, (margin if is_upright else 24) + side + 22, layout=None)
    width, height = figure.get_size_inches() * POINTS_PER_INCH
    axes = figure.add_axes(((width - side - 4) / width, 4 / height, side / width, side / height))
    _draw_cells(axes, matrix, cell)
    axes.set(xlim=(0, count), ylim=(count, 0), xlabel="predicted class", ylabel="true class")
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    ticks = np.arange(0, count, step) + 0.5
    axes.set_xticks(ticks, names, rotation=90 if is_upright else 0, fontsize=text_size)
    axes.set_yticks(ticks, names, fontsize=text_size)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _draw_cells(axes: Axes, matrix: np.ndarray, cell_side: float) -> None:
    count = len(matrix)
    mistakes = matrix * ~np.eye(count, dtype=bool)
    colors = np.zeros((count, count, 4))  # red, green, blue, opacity
    colors[:] = to_rgba(LIGHT["red"])
    colors[..., 3] = np.where(mistakes, 0.15 + 0.8 * mistakes / max(1, mistakes.max()), 0)
    colors[np.diag_indices(count)] = to_rgba(LIGHT["blue"], 0.12)
    if cell_side < SMALLEST_NUMBERED_CELL:
        # Tens of thousands of squares would be megabytes of SVG: draw one image instead.
        axes.imshow(colors, extent=(0, count, count, 0), interpolation="nearest")
        return
    lines = np.arange(count) + 0.5
    axes.hlines(lines, 0, count, color=LIGHT["line"], linewidth=0.5, zorder=0)
    axes.vlines(lines, 0, count, color=LIGHT["line"], linewidth=0.5, zorder=0)
    cells = list(zip(*np.nonzero(matrix), strict=True))
    squares = [Rectangle((column + 0.03, row + 0.03), 0.94, 0.94) for row, column in cells]
    # Paper beneath, so that the lines do not shine through the colours.
    axes.add_collection(PatchCollection(squares, facecolors=LIGHT["paper"], linewidths=0))
    axes.add_collection(PatchCollection(squares, facecolors=[colors[cell] for cell in cells], linewidths=0))
    for row, column in cells:
        value = int(matrix[row, column])
        number = str(value) if value < 1e4 else f"{value / 1e3:.0f}k" if value < 1e6 else f"{value / 1e6:.1f}M"
        size = min(12.0, cell_side * 0.5, cell_side * 1.45 / len(number))
        color = LIGHT["paper" if colors[row, column, 3] > 0.6 else "ink"]
        axes.text(column + 0.5, row + 0.5, number, ha="center", va="center_baseline", fontsize=size, color=color)
