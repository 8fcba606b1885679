"""The report as its readers get it: one page, in a real browser where there is one."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from components.mnist.data.datasets import read_dataset, write_dataset
from components.mnist.data.leakage import count_repeated
from components.mnist.errors import DataError, ModelError
from components.mnist.evaluation.step import evaluate_model
from components.mnist.model import read_card
from components.mnist.report.step import write_report
from components.mnist.settings import SETTINGS
from tests.conftest import write_linear_model

CHARTS = ["accuracy", "by_class", "calibration", "class_balance", "confusion", "loss", "mistakes", "samples"]
CHARTS_ON_PAGE = 6
CHROMIUM = shutil.which("chromium")


def evaluate(run: Path) -> None:
    evaluate_model(
        model_folder=run / "model",
        test_folder=run / "test",
        metrics_folder=run / "metrics",
        predictions_folder=run / "predictions",
    )


def report(run: Path) -> str:
    """Draw the run, and return the page."""
    write_report(
        model_folder=run / "model",
        history_folder=run / "history",
        metrics_folder=run / "metrics",
        predictions_folder=run / "predictions",
        training_folder=run / "training",
        validation_folder=run / "validation",
        test_folder=run / "test",
        report_file=run / "out/report.html",
        summary_file=run / "out/summary.md",
        figures_folder=run / "out/figures",
    )
    return (run / "out/report.html").read_text(encoding="utf-8")


def change_json(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rename_classes(run: Path, names: list[str]) -> None:
    for file in ("model/model.json", "training/manifest.json", "validation/manifest.json", "test/manifest.json"):
        change_json(run / file, classes=names)


def memorise_test_data(run: Path) -> None:
    """Write a model that classifies every test image correctly."""
    test = read_dataset(run / "test")
    pixels = test.images.reshape(60, -1).astype(np.float64) / 255
    solved = np.linalg.lstsq(pixels, 20.0 * np.eye(10)[test.labels], rcond=None)[0]
    write_linear_model(run / "model/model.onnx", solved, np.zeros(10))


class Elements(HTMLParser):
    """Every element of a page: its name and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def drawn(linear_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated and drawn, to look at."""
    run = Path(shutil.copytree(linear_run, tmp_path_factory.mktemp("drawn") / "run"))
    evaluate(run)
    report(run)
    return run


@pytest.fixture(scope="module")
def page(drawn: Path) -> str:
    return (drawn / "out/report.html").read_text(encoding="utf-8")


def test_page_summary_and_charts_are_written(drawn: Path) -> None:
    assert sorted(path.name for path in (drawn / "out").iterdir()) == ["figures", "report.html", "summary.md"]
    assert sorted(path.stem for path in (drawn / "out/figures").iterdir()) == CHARTS
    for path in (drawn / "out/figures").iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300


def test_the_accuracy_comes_first(drawn: Path, page: str) -> None:
    found = json.loads((drawn / "metrics/metrics.json").read_text())
    header = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.partition("<header>")[2].partition("<dl")[0]))
    assert f"{found['accuracy']:.2%} {found['correct']} of 60 test images correct" in header
    assert f"between {found['accuracy_low']:.2%} and {found['accuracy_high']:.2%}, with 95% confidence" in header
    assert f"The weakest class is {found['worst_class']}" in header


def test_the_page_needs_nothing_else(page: str) -> None:
    elements = Elements(page)
    addresses = [
        attributes[name]
        for _, attributes in elements.found
        for name in ("src", "href", "xlink:href")
        if name in attributes
    ]
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert not re.findall(r"url\((?!#)|@import|<link|<script", page)
    assert len(page) < 3_000_000


def test_every_picture_and_chart_says_what_it_shows(drawn: Path, page: str) -> None:
    elements = Elements(page)
    pictures = elements.named("img")
    mistakes = 60 - json.loads((drawn / "metrics/metrics.json").read_text())["correct"]
    assert len(pictures) == min(24, mistakes) + 24
    assert all(re.fullmatch(r"Test image \d+: \d, predicted as \d.*%", picture["alt"]) for picture in pictures)
    charts = [attributes for attributes in elements.named("div") if attributes.get("role") == "img"]
    assert len(charts) == len(elements.named("svg")) == CHARTS_ON_PAGE
    assert all(len(chart["aria-label"]) > 60 for chart in charts)


def test_the_command_repeats_the_run(page: str) -> None:
    (command,) = re.findall(r"<pre>(.*)</pre>", page)
    program, verb, *values = shlex.split(command)
    assert (program, verb) == ("mnist", "run")
    assert dict(value.split("=", 1) for value in values) == {
        "source": "sample",
        "polarity": "auto",
        "validation_fraction": "0.2",
        "test_fraction": "0.2",
        "epochs": "3",
        "batch_size": "16",
        "learning_rate": "0.004",
        "label_smoothing": "0.05",
        "shift": "1",
        "precision": "float32",
        "seed": "3",
        "require_gpu": "false",
    }
    assert [value.partition("=")[0] for value in values] == list(SETTINGS)


def test_a_model_older_than_one_parameter_and_newer_than_another_keeps_its_recipe(run_folder: Path) -> None:
    recipe = json.loads((run_folder / "model/model.json").read_text())["recipe"]
    written = {name: value for name, value in recipe.items() if name != "shift"} | {"dropout": 0.5}
    change_json(run_folder / "model/model.json", recipe=written)
    assert read_card(run_folder / "model").recipe == written
    evaluate(run_folder)
    page = report(run_folder)
    assert re.search(r"shift<div class=\"meaning\">[^<]*</div></th><td>not recorded</td>", page)
    assert "shift=" not in page
    assert "| shift | not recorded |" in (run_folder / "out/summary.md").read_text()


def test_what_was_run_can_be_read(drawn: Path, page: str) -> None:
    for part in ("training", "validation", "test"):
        assert read_dataset(drawn / part).manifest.sha256 in page
    for words in ("CPU, 2 cores", "3.11.7", "1.5 s, 320 images/s", "22 November 2026, 17:20 UTC", "7,850 parameters"):
        assert words in page


def test_names_from_data_never_become_markup(run_folder: Path) -> None:
    names = ["<script>alert(1)</script>", "a|b", "`x`", "*y*", '"quoted"', "5", "6", "7", "8", "{{ 9 }}"]
    rename_classes(run_folder, names)
    source = "/data/it's <b>here</b> & $HOME"
    change_json(run_folder / "training/manifest.json", source=source, origin=source, notes=["turned <i>round</i>"])
    evaluate(run_folder)
    page = report(run_folder)
    elements = Elements(page)
    assert not elements.named("script")
    assert all(set(attributes) == {"style"} for attributes in elements.named("i"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Turned &lt;i&gt;round&lt;/i&gt;." in page
    assert "{{ 9 }}" in page
    (command,) = re.findall(r"<pre>(.*)</pre>", page)
    unescaped = command.replace("&#39;", "'").replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")
    assert shlex.split(unescaped.replace("&amp;", "&"))[2] == f"source={source}"
    summary = (run_folder / "out/summary.md").read_text(encoding="utf-8")
    assert "<script>" not in summary
    assert r"a\|b" in summary


def test_a_perfect_model_and_a_single_epoch_have_a_page_too(run_folder: Path) -> None:
    memorise_test_data(run_folder)
    history = (run_folder / "history/history.csv").read_text().splitlines()
    (run_folder / "history/history.csv").write_text("\n".join(history[:2]) + "\n")
    card = json.loads((run_folder / "model/model.json").read_text())
    change_json(run_folder / "model/model.json", metrics=card["metrics"] | {"best_epoch": 1})
    evaluate(run_folder)
    page = report(run_folder)
    assert "None: all 60 test images are classified correctly." in page
    assert "No test image is misclassified; with 60 images" in page
    assert "1 in all, epoch 1 was kept" in page
    assert len(Elements(page).named("img")) == 24


def test_two_classes_have_a_page_too(run_folder: Path) -> None:
    sizes = {}
    for split in ("training", "validation", "test"):
        dataset = read_dataset(run_folder / split)
        sizes[split] = rewrite(run_folder / split, dataset.images, dataset.labels % 2, classes=("even", "odd"))
    weights = np.random.default_rng(0).normal(size=(784, 2), scale=0.1)
    write_linear_model(run_folder / "model/model.onnx", weights, np.zeros(2))
    card = json.loads((run_folder / "model/model.json").read_text())
    change_json(
        run_folder / "model/model.json",
        classes=["even", "odd"],
        data=card["data"] | {f"{split}_sha256": sizes[split] for split in ("training", "validation")},
    )
    evaluate(run_folder)
    assert re.search("even predicted as odd|odd predicted as even", report(run_folder))


def rewrite(folder: Path, images: np.ndarray, labels: np.ndarray, *, classes: tuple[str, ...]) -> str:
    """Replace a data set; returns its hash."""
    old = read_dataset(folder).manifest
    return write_dataset(
        folder,
        [(np.array(images), labels)],
        split=old.split,
        count=len(labels),
        classes=classes,
        source=old.source,
        origin=old.origin,
        settings=old.settings,
        notes=old.notes,
    ).sha256


def test_test_images_that_training_has_seen_are_reported(run_folder: Path, page: str) -> None:
    assert "No test image occurs, pixel for pixel, in the training or validation data" in page
    training, test = read_dataset(run_folder / "training"), read_dataset(run_folder / "test")
    images = np.array(test.images)
    images[:7] = training.images[:7]
    rewrite(run_folder / "test", images, test.labels, classes=test.manifest.classes)
    evaluate(run_folder)
    assert "<b>Data leakage: 7 of the test images also occur in the training" in report(run_folder)
    assert "**Data leakage: 7 of the test images also occur" in (run_folder / "out/summary.md").read_text()


def test_repeated_images_are_counted_in_every_set_and_each_once() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3000, 28, 28), np.uint8)
    assert count_repeated(images[:2000], images[1990:], images[1995:2500]) == 10
    assert count_repeated(images[:2000], images[2000:]) == 0


def other_test_data(run: Path) -> None:
    test = read_dataset(run / "test")
    rewrite(run / "test", test.images[::-1], test.labels, classes=test.manifest.classes)


def other_model(run: Path) -> None:
    write_linear_model(run / "model/model.onnx", np.ones((784, 10)), np.zeros(10))


def other_training_data(run: Path) -> None:
    shutil.rmtree(run / "training")
    shutil.copytree(run / "validation", run / "training")


def fewer_predictions(run: Path) -> None:
    np.save(run / "predictions/probabilities.npy", np.zeros((59, 10), np.float32))


def shorter_history(run: Path) -> None:
    lines = (run / "history/history.csv").read_text().splitlines()
    (run / "history/history.csv").write_text("\n".join(lines[:2]))


def no_model(run: Path) -> None:
    (run / "model/model.onnx").unlink()


def card_without_metrics(run: Path) -> None:
    change_json(run / "model/model.json", metrics={"best_epoch": 1})


@pytest.mark.parametrize(
    ("spoil", "error", "line"),
    [
        (other_test_data, DataError, r"metrics was measured on other test data .* Evaluate again"),
        (other_model, ModelError, r"metrics was measured with another model .* Evaluate again"),
        (other_training_data, DataError, r"training is not the training data of .*model\. Give the folders of one run"),
        (fewer_predictions, DataError, r"float32 \(59, 10\), but the test data needs float32 \(60, 10\)"),
        (shorter_history, DataError, r"history\.csv has 1 epochs, but .*model kept epoch 2"),
        (no_model, ModelError, r"model\.onnx cannot be read \(No such file or directory\)\. Train again"),
        (
            card_without_metrics,
            ModelError,
            r"model\.json: damaged, or not the card of a model .*training_accuracy.*Train again",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_and_nothing_is_written(
    run_folder: Path, spoil: Callable[[Path], None], error: type[Exception], line: str
) -> None:
    evaluate(run_folder)
    spoil(run_folder)
    with pytest.raises(error, match=line):
        report(run_folder)
    assert not (run_folder / "out").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not CHROMIUM:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium on the PATH; add it: apt-get install -y chromium")
        pytest.skip("needs Chromium: sudo apt-get install -y chromium")
    with sync_playwright() as play:
        # Chromium's own sandbox needs rights that containers and root do not have; the page is this project's.
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def look(browser: Browser, file: Path, *, width: int, scheme: str) -> tuple[Page, list[str]]:
    """Open the page as a file; returns it with everything that it complained about or asked for besides itself."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(file.as_uri())
    return page, trouble


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_fits_any_screen_and_asks_for_nothing(browser: Browser, drawn: Path, width: int, scheme: str) -> None:
    page, trouble = look(browser, drawn / "out/report.html", width=width, scheme=scheme)
    assert trouble == [(drawn / "out/report.html").as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for box in [chart.bounding_box() for chart in page.locator(".chart").all()]:
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] > 100
    assert page.locator("img").evaluate_all("images => images.every(image => image.naturalWidth === 28)")
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}[scheme]
    ink = {"light": "rgb(27, 36, 48)", "dark": "rgb(232, 236, 241)"}[scheme]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    fills = page.locator("svg text").evaluate_all("texts => texts.map(text => getComputedStyle(text).fill)")
    assert ink in fills
    page.close()


@pytest.mark.browser
def test_many_classes_scroll_within_the_matrix_not_the_page(browser: Browser, run_folder: Path) -> None:
    names = [f"a rather long name, {number}" for number in range(26)]
    rename_classes(run_folder, names)
    for split in ("training", "validation", "test"):
        counts = read_dataset(run_folder / split).manifest.class_counts
        change_json(run_folder / split / "manifest.json", class_counts=[*counts, *[0] * 16])
    weights = np.random.default_rng(0).normal(size=(784, 26), scale=0.1)
    write_linear_model(run_folder / "model/model.onnx", weights, np.zeros(26))
    evaluate(run_folder)
    report(run_folder)
    page, _ = look(browser, run_folder / "out/report.html", width=375, scheme="light")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator(".scroll").evaluate("box => box.scrollWidth > box.clientWidth")
    page.close()


@pytest.mark.browser
def test_the_page_prints_light_and_whole(browser: Browser, drawn: Path, tmp_path: Path) -> None:
    page, _ = look(browser, drawn / "out/report.html", width=1280, scheme="dark")
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    pages = (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n")
    assert 3 <= pages <= 10
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()") == "#ffffff"
    # The table by class is folded on the screen and open on paper.
    assert page.locator("details td").first.is_visible()
    page.close()
