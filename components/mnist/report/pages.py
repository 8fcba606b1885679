"""The report and its summary: charts, pictures and sentences of one run in the templates of both pages.

Pure functions of a run; know no folders.
"""

import shlex
from dataclasses import dataclass
from datetime import datetime

import jinja2
import numpy as np
from matplotlib.figure import Figure

from components.mnist.report import charts, wording
from components.mnist.report.confusion_matrix import draw_confusion
from components.mnist.report.palette import DARK, LIGHT
from components.mnist.report.pictures import Picture
from components.mnist.report.rendering import encode_picture, render_svg
from components.mnist.report.run import Run
from components.mnist.settings import SETTINGS, spell

MOST_CONFUSIONS = 8
LONG_NAME = 5  # characters; from here on pictures are larger, so that class names fit below them
WIDE_MATRIX = 13  # classes; from here on the confusion matrix has the whole width of the page


@dataclass(frozen=True)
class Chart:
    """A chart and its alternative text."""

    figure: Figure
    alternative: str

    @property
    def width(self) -> int:
        """Width in points."""
        return round(self.figure.get_size_inches()[0] * charts.POINTS_PER_INCH)


def draw_charts(run: Run) -> dict[str, Chart]:
    """Draw every chart of the page, by the name of its file."""
    found = run.evaluation
    counts = {manifest.split: manifest.class_counts for manifest in run.manifests}

    def draw_curve(name: str, column: str, *, percent: bool) -> Chart:
        training, validation = ([getattr(row, prefix + column) for row in run.history] for prefix in ("", "val_"))
        best = run.card.metrics.best_epoch
        return Chart(
            charts.draw_curve(training, validation, best_epoch=best, percent=percent),
            wording.describe_curve(name, training, validation, best_epoch=best, shares=percent),
        )

    return {
        "accuracy": draw_curve("Accuracy", "accuracy", percent=True),
        "loss": draw_curve("Loss", "loss", percent=False),
        "confusion": Chart(draw_confusion(np.array(found.confusion), found.classes), wording.describe_confusion(found)),
        "by_class": Chart(
            charts.draw_by_class(found.precision, found.recall, found.classes), wording.describe_by_class(found)
        ),
        "calibration": Chart(
            charts.draw_calibration(
                found.bin_count, found.bin_confidence, found.bin_accuracy, found.bin_low, found.bin_high
            ),
            wording.describe_calibration(found),
        ),
        "class_balance": Chart(
            charts.draw_balance(counts, found.classes), wording.describe_balance(counts, found.classes)
        ),
    }


def render_page(run: Run, charts: dict[str, Chart], pictures: dict[str, list[Picture]]) -> str:
    """Render the report: one HTML page."""
    return _render(
        "report.html",
        run,
        charts=charts,
        **pictures,
        long_names=max(map(len, run.card.classes)) >= LONG_NAME,
        wide_matrix=len(run.card.classes) >= WIDE_MATRIX,
        light=LIGHT,
        dark=DARK,
    )


def render_summary(run: Run) -> str:
    """Render the summary: Markdown, in which all text from data is escaped."""
    return _render("summary.md", run)


def _render(template: str, run: Run, **variables: object) -> str:
    """Fill a template with the variables of both templates, and with further ones."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("components.mnist.report", "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": wording.percent,
        "count": lambda number: f"{number:,}",
        "picture": encode_picture,
        "svg": lambda chart, name: render_svg(chart.figure, name=name),
        "plain": _escape_markdown,
    }
    found, card = run.evaluation, run.card
    values = {name: spell(value) for name, value in run.parameters.items() if value is not None}
    return environment.get_template(template).render(
        run=run,
        found=found,
        card=card,
        where_it_fails=wording.say_where_it_fails(found),
        calibrated=wording.say_how_calibrated(found, label_smoothing=card.recipe.get("label_smoothing", 0)),
        confusions=wording.frequent_confusions(found, most=MOST_CONFUSIONS),
        rows=list(zip(found.classes, found.support, found.recall, found.precision, found.f1, strict=True)),
        parameters=[(name, values.get(name, "not recorded"), SETTINGS[name].meaning) for name in run.parameters],
        command=shlex.join(["mnist", "run", *[f"{name}={value}" for name, value in values.items()]]),
        created=f"{datetime.fromisoformat(card.created):%d %B %Y, %H:%M} UTC".lstrip("0"),
        **variables,
    )


def _escape_markdown(text: str) -> str:
    """Escape text so that a line of Markdown shows it unchanged."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|~$" else letter for letter in line)
