"""Charts show what they are given, for any number of classes, and follow light and dark."""

import io
import re
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from components.mnist.report import charts, palette, rendering
from components.mnist.report.confusion_matrix import draw_confusion as draw_matrix

COUNTS = [2, 26, 200]
STRANGE = ["<b>bold</b>", "$5 & $6", "#ffffff", 'id="x"', "a name that is much too long for any axis", "日本語"]


def draw_confusion(count: int, names: list[str]) -> Figure:
    matrix = np.diag(np.full(count, 1000))
    matrix[0, 1] = 1
    return draw_matrix(matrix, names)


def draw_by_class(count: int, names: list[str]) -> Figure:
    return charts.draw_by_class(np.linspace(0.5, 1, count).tolist(), np.linspace(1, 0.7, count).tolist(), names)


def draw_balance(count: int, names: list[str]) -> Figure:
    return charts.draw_balance({split: [50] * count for split in ("training", "validation", "test")}, names)


BY_CLASS = {"confusion": draw_confusion, "by_class": draw_by_class, "balance": draw_balance}


def texts(figure: Figure) -> list[str]:
    """All text of a chart, as an SVG reader sees it."""
    svg = ElementTree.fromstring(rendering.render_svg(figure, name="chart"))
    return ["".join(element.itertext()) for element in svg.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("draw", BY_CLASS.values(), ids=BY_CLASS)
def test_charts_by_class_work_for_any_number_of_classes(draw: Callable[[int, list[str]], Figure], count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a layout that does not fit
        image = Image.open(io.BytesIO(rendering.render_png(draw(count, [f"class {n}" for n in range(count)]))))
    assert image.format == "PNG"
    assert len(image.convert("L").getcolors()) > 2


@pytest.mark.parametrize("draw", BY_CLASS.values(), ids=BY_CLASS)
def test_class_names_are_shown_as_they_are(draw: Callable[[int, list[str]], Figure]) -> None:
    shown = texts(draw(len(STRANGE), STRANGE))
    assert {"<b>bold</b>", "$5 & $6", "#ffffff", 'id="x"', "a name that is mu…", "日本語"} <= set(shown)


def test_one_mistake_among_thousands_has_the_strongest_colour() -> None:
    figure = draw_confusion(10, [str(number) for number in range(10)])
    svg = rendering.render_svg(figure, name="chart")
    strengths = [float(number) for number in re.findall(r"fill: var\(--red\); fill-opacity: ([\d.]+)", svg)]
    assert strengths == [0.95]
    assert texts(figure).count("1000") == 10


def test_the_matrix_of_many_classes_stays_small_in_bytes() -> None:
    full = np.full((256, 256), 3)
    svg = rendering.render_svg(draw_matrix(full, [f"class {number}" for number in range(256)]), name="chart")
    assert len(svg) < 300_000


@pytest.mark.parametrize("epochs", [1, 5, 200])
def test_curves_work_for_any_number_of_epochs(epochs: int) -> None:
    values = np.linspace(0.5, 0.99, epochs).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = texts(charts.draw_curve(values, values, best_epoch=epochs, percent=True))
    assert {"training", "validation", f"kept: epoch {epochs}", "epoch"} <= set(shown)
    assert any(text.endswith("%") for text in shown)
    assert "1.5" not in shown  # there is no half epoch


def test_calibration_leaves_empty_bins_out() -> None:
    figure = charts.draw_calibration(
        [0, 10, 0, 90], [0, 0.4, 0, 0.9], [0, 0.5, 0, 1], [0, 0.2, 0, 0.95], [1, 0.8, 1, 1]
    )
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert points.get_xydata().tolist() == [[0.4, 0.5], [0.9, 1.0]]


@pytest.mark.parametrize("count", [0, 1, 24])
def test_pictures_are_dark_ink_on_white(count: int) -> None:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = 255
    figure = charts.draw_pictures(images, ["a\nb"] * count, wrong=[True] * count)
    gray = np.asarray(Image.open(io.BytesIO(rendering.render_png(figure))).convert("L"))
    assert gray[0, 0] == 255
    assert ((gray == 0).mean() > 0.01) == (count > 0)


def test_every_colour_of_a_chart_follows_light_and_dark() -> None:
    for draw in BY_CLASS.values():
        svg = rendering.render_svg(draw(10, [str(number) for number in range(10)]), name="chart")
        assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(palette.LIGHT)
        assert not re.findall(r"(?:fill|stroke): (?!none|var)[^;\"]+", svg)


def test_charts_on_one_page_share_no_id() -> None:
    drawn = [rendering.render_svg(draw_balance(3, ["a", "b", "c"]), name=name) for name in ("one", "two")]
    first, second = ({*re.findall(r'\bid="([^"]+)"', svg)} for svg in drawn)
    assert first
    assert not first & second
    for svg in drawn:
        assert {*re.findall(r'(?:url\(|href=")#([^")]+)', svg)} <= {*re.findall(r'\bid="([^"]+)"', svg)}


def test_the_same_figure_is_drawn_the_same_twice() -> None:
    names = ["a", "b", "c"]
    assert rendering.render_svg(draw_confusion(3, names), name="x") == rendering.render_svg(
        draw_confusion(3, names), name="x"
    )


@pytest.mark.parametrize("colors", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("name", "least"), [("ink", 7), ("muted", 4.5), ("red", 4.5), ("blue", 3), ("amber", 3)])
def test_colours_stand_out_from_the_paper(colors: dict[str, str], name: str, least: float) -> None:
    """WCAG's contrast: 4.5 for text, 3 for graphics."""
    light, dark = sorted((luminance(colors[name]), luminance(colors["paper"])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


def test_light_colours_can_be_told_apart() -> None:
    assert len(set(palette.LIGHT.values())) == len(palette.LIGHT) == len(palette.DARK)
    assert palette.LIGHT.keys() == palette.DARK.keys()


def luminance(color: str) -> float:
    channels = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("first", [0, 1], ids=["counted from 0", "indexed by epoch"])
def test_the_kept_epoch_is_marked_on_the_validation_curve(first: int) -> None:
    values = pd.Series([0.5, 0.7, 0.8, 0.9], index=range(first, first + 4))
    (axes,) = charts.draw_curve(values, values, best_epoch=3, percent=True).axes
    mark = next(line for line in axes.lines if str(line.get_label()).startswith("kept"))
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([3], [0.8])
