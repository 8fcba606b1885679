"""The work of the step that draws what happened: a page, a summary, and the figures as PNG files.

Reads what the other steps wrote, checks that it belongs together, and writes everything or nothing.
"""

import shutil
from pathlib import Path

from components.mnist.data.datasets import read_dataset
from components.mnist.data.leakage import count_repeated
from components.mnist.errors import DataError, ModelError, reports_errors
from components.mnist.evaluation.results import identify_model, read_evaluation, read_probabilities
from components.mnist.history import read_history
from components.mnist.model import read_card
from components.mnist.progress import say
from components.mnist.report.pages import Story, draw_charts, draw_picture_grids, render_page, render_summary
from components.mnist.report.rendering import render_png


@reports_errors
def write_report(
    *,
    model_folder: Path,
    history_folder: Path,
    metrics_folder: Path,
    predictions_folder: Path,
    training_folder: Path,
    validation_folder: Path,
    test_folder: Path,
    report_file: Path,
    summary_file: Path,
    figures_folder: Path,
) -> None:
    """Draw one run.

    Args:
        report_file: One HTML page that needs nothing else.
        summary_file: The same in brief, as Markdown.
        figures_folder: Gets a PNG file for each figure of the page.

    Raises:
        DataError, ModelError: An input is missing, damaged, or belongs to another run.
    """
    story = read_story(
        model_folder=model_folder,
        history_folder=history_folder,
        metrics_folder=metrics_folder,
        predictions_folder=predictions_folder,
        training_folder=training_folder,
        validation_folder=validation_folder,
        test_folder=test_folder,
    )
    charts = draw_charts(story)
    page = render_page(story, charts).encode("utf-8")
    summary = render_summary(story).encode("utf-8")
    figures = {name: chart.figure for name, chart in charts.items()} | draw_picture_grids(story)
    _write_folder(figures_folder, {f"{name}.png": render_png(figure) for name, figure in figures.items()})
    _write_file(summary_file, summary)
    _write_file(report_file, page)
    say(f"report of {len(page) / 1e3:,.0f} KB with {len(figures)} figures")


def read_story(
    *,
    model_folder: Path,
    history_folder: Path,
    metrics_folder: Path,
    predictions_folder: Path,
    training_folder: Path,
    validation_folder: Path,
    test_folder: Path,
) -> Story:
    """Read everything that is told about a run, and check that it is one run.

    Raises:
        DataError, ModelError: An input is missing, damaged, or belongs to another run.
    """
    card = read_card(model_folder)
    evaluation = read_evaluation(metrics_folder)
    training, validation, test = map(read_dataset, (training_folder, validation_folder, test_folder))
    if evaluation.test_sha256 != test.manifest.sha256:
        raise DataError(
            f"{metrics_folder} was measured on other test data (sha256 {evaluation.test_sha256[:12]}) than "
            f"{test_folder} holds ({test.manifest.sha256[:12]}). Evaluate again with `mnist step evaluate`."
        )
    if evaluation.model_sha256 != (found := identify_model(model_folder)):
        raise ModelError(
            f"{metrics_folder} was measured with another model (sha256 {evaluation.model_sha256[:12]}) than "
            f"{model_folder} holds ({found[:12]}). Evaluate again with `mnist step evaluate`."
        )
    for split, manifest, folder in (
        ("training", training.manifest, training_folder),
        ("validation", validation.manifest, validation_folder),
    ):
        if card.data.get(f"{split}_sha256") != manifest.sha256 or card.classes != manifest.classes:
            raise DataError(
                f"{folder} is not the {split} data that {model_folder} was made with. Name the folders of one run."
            )
    history = read_history(history_folder)
    if not 1 <= card.metrics.best_epoch <= len(history):
        raise DataError(
            f"{history_folder}/history.csv has {len(history)} epochs, but {model_folder} kept epoch "
            f"{card.metrics.best_epoch}. Name the folders of one run."
        )
    return Story(
        card=card,
        history=history,
        evaluation=evaluation,
        probabilities=read_probabilities(
            predictions_folder, count=test.manifest.count, classes=len(test.manifest.classes)
        ),
        test=test,
        training=training.manifest,
        validation=validation.manifest,
        repeated=count_repeated(test.images, training.images, validation.images),
    )


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in files.items():
            (partial / name).write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(partial, folder)  # mounted buckets cannot rename a folder: this copies there
    finally:
        shutil.rmtree(partial, ignore_errors=True)
