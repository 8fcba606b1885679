"""What the report and its summary say and show, put into their templates `report.html` and `summary.md`.

Pure functions of one run's story; knows no folders.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import jinja2
import numpy as np
from matplotlib.figure import Figure

from components.mnist.data.datasets import Dataset, Manifest
from components.mnist.evaluation.results import Evaluation
from components.mnist.history import Epoch
from components.mnist.model import ModelCard
from components.mnist.report import charts, wording
from components.mnist.report.palette import DARK, LIGHT
from components.mnist.report.rendering import encode_picture, render_svg
from components.mnist.settings import SETTINGS, Value

MISTAKES = 24
SAMPLES = 24
CONFUSIONS = 8
# From here on pictures get more room, so that names fit below them.
LONG_NAME = 5
# From here on the matrix gets the whole width of the page.
WIDE_MATRIX = 13


@dataclass(frozen=True)
class Story:
    """Everything that is told about one run.

    Attributes:
        history: A row per epoch, by column of history.csv.
        probabilities: float32 (n, classes), in the order of `test`.
        repeated: Test images that also occur among those that the model was made with.
    """

    card: ModelCard
    history: list[Epoch]
    evaluation: Evaluation
    probabilities: np.ndarray
    test: Dataset
    training: Manifest
    validation: Manifest
    repeated: int

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, from 1."""
        return self.card.metrics.best_epoch

    @property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """Images of each class, by split."""
        return {
            manifest.split: manifest.class_counts for manifest in (self.training, self.validation, self.test.manifest)
        }


@dataclass(frozen=True)
class Chart:
    """A figure and the words that carry its content where it cannot be seen."""

    figure: Figure
    alternative: str

    @property
    def width(self) -> int:
        """In points."""
        return round(self.figure.get_size_inches()[0] * charts.POINTS_PER_INCH)


@dataclass(frozen=True)
class Picture:
    """A test image with what the model made of it.

    Attributes:
        number: Which of the test images.
        answer, sure: The class that was chosen and its probability.
        second, second_sure: The runner-up.
        true, true_sure: What it is, and the probability that this got.
    """

    number: int
    image: np.ndarray
    answer: str
    sure: float
    second: str
    second_sure: float
    true: str
    true_sure: float

    @property
    def is_wrong(self) -> bool:
        """Whether the answer is not what it is."""
        return self.answer != self.true


def draw_charts(story: Story) -> dict[str, Chart]:
    """Draw every chart of the page, by the name of its file."""
    found, best = story.evaluation, story.best_epoch

    def curve(name: str, column: str, *, shares: bool) -> Chart:
        training, validation = ([getattr(row, prefix + column) for row in story.history] for prefix in ("", "val_"))
        return Chart(
            charts.draw_curve(training, validation, best_epoch=best, percent=shares),
            wording.describe_curve(name, training, validation, best_epoch=best, shares=shares),
        )

    return {
        "accuracy": curve("Accuracy", "accuracy", shares=True),
        "loss": curve("Loss", "loss", shares=False),
        "confusion": Chart(
            charts.draw_confusion(np.array(found.confusion), found.classes), wording.describe_confusion(found)
        ),
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
            charts.draw_balance(story.counts, found.classes), wording.describe_balance(story.counts, found.classes)
        ),
    }


def draw_picture_grids(story: Story) -> dict[str, Figure]:
    """Draw the pictures of the page as figures, by the name of their file."""
    return {"mistakes": _draw_grid(show_mistakes(story)), "samples": _draw_grid(show_samples(story))}


def show_mistakes(story: Story) -> list[Picture]:
    """The wrong answers that were surest."""
    return _show(story, wording.worst_mistakes(story.test.labels, story.probabilities, most=MISTAKES))


def show_samples(story: Story) -> list[Picture]:
    """Images spread over the classes, right or wrong."""
    return _show(story, wording.spread_samples(story.test.labels, most=SAMPLES))


def repeat_command(story: Story) -> str:
    """The command that makes this run again, quoted for a shell."""
    values: dict[str, Value] = {"source": story.training.source, **story.training.settings, **asdict(story.card.recipe)}
    return shlex.join(["mnist", "run", *[f"{name}={_spell(values[name])}" for name in SETTINGS if name in values]])


def render_page(story: Story, charts: dict[str, Chart]) -> str:
    """Render the report: one HTML page."""
    pictures = {"mistakes": show_mistakes(story), "samples": show_samples(story)}
    return (
        _templates(autoescape=True)
        .get_template("report.html")
        .render(
            **_tell(story),
            **pictures,
            charts=charts,
            long_names=max(map(len, story.card.classes)) >= LONG_NAME,
            wide_matrix=len(story.card.classes) >= WIDE_MATRIX,
            light=LIGHT,
            dark=DARK,
        )
    )


def render_summary(story: Story) -> str:
    """Render the summary: Markdown, in which whatever comes from data is escaped."""
    return _templates(autoescape=False).get_template("summary.md").render(**_tell(story))


def _tell(story: Story) -> dict[str, object]:
    """What both templates take."""
    found, card = story.evaluation, story.card
    values: dict[str, Value] = {"source": story.training.source, **story.training.settings, **asdict(card.recipe)}
    return {
        "story": story,
        "found": found,
        "card": card,
        "manifests": [story.training, story.validation, story.test.manifest],
        "where_it_fails": wording.say_where_it_fails(found),
        "calibrated": wording.say_how_calibrated(found, label_smoothing=card.recipe.label_smoothing),
        "confusions": wording.frequent_confusions(found, most=CONFUSIONS),
        "rows": list(zip(found.classes, found.support, found.recall, found.precision, found.f1, strict=True)),
        "parameters": [(name, _spell(values[name]), SETTINGS[name].meaning) for name in SETTINGS if name in values],
        "command": repeat_command(story),
        "created": f"{datetime.fromisoformat(card.created):%d %B %Y, %H:%M} UTC".lstrip("0"),
    }


def _templates(*, autoescape: bool) -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("components.mnist.report", "templates"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "percent": wording.percent,
        "count": lambda number: f"{number:,}",
        "picture": encode_picture,
        "svg": lambda chart, name: render_svg(chart.figure, name=name),
        "plain": _escape_markdown,
    }
    templates.filters.update(filters)
    return templates


def _show(story: Story, numbers: np.ndarray) -> list[Picture]:
    classes = story.evaluation.classes
    pictures = []
    for number in numbers.tolist():
        row, true = story.probabilities[number], int(story.test.labels[number])
        # Stable on the negative, so that equal probabilities rank as in argmax.
        answer, second = np.argsort(-row, kind="stable")[:2].tolist()
        pictures.append(
            Picture(
                number=number,
                image=story.test.images[number],
                answer=classes[answer],
                sure=float(row[answer]),
                second=classes[second],
                second_sure=float(row[second]),
                true=classes[true],
                true_sure=float(row[true]),
            )
        )
    return pictures


def _draw_grid(pictures: Sequence[Picture]) -> Figure:
    captions = []
    for picture in pictures:
        names = (picture.true, picture.answer, picture.second)
        true, answer, second = (charts.shorten(name, longest=9) for name in names)
        sure, second_sure = wording.percent(picture.sure, 1), wording.percent(picture.second_sure, 1)
        wrong, right = f"{true} → {answer}\n{sure} sure", f"{answer}  {sure}\nthen {second} {second_sure}"
        captions.append(wrong if picture.is_wrong else right)
    images = np.array([picture.image for picture in pictures], np.uint8)
    return charts.draw_pictures(images, captions, wrong=[picture.is_wrong for picture in pictures])


def _spell(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escape_markdown(text: str) -> str:
    """Make text show as it is within a line of Markdown."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|~$" else letter for letter in line)
