"""The interface of the visualize step."""

from kfp import dsl

from components import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def visualize(
    model: dsl.Input[dsl.Model],
    history: dsl.Input[dsl.Dataset],
    metrics: dsl.Input[dsl.Metrics],
    predictions: dsl.Input[dsl.Dataset],
    training_data: dsl.Input[dsl.Dataset],
    validation_data: dsl.Input[dsl.Dataset],
    test_data: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    figures: dsl.Output[dsl.Artifact],
) -> None:
    """Report the run: a page for the browser, a summary for the pipeline's page, and the charts as PNG files.

    Args:
        model: The model folder; its card describes the training.
        history: Loss and accuracy by epoch.
        metrics: The results of the evaluation.
        predictions: Probabilities, in the order of the test data.
        training_data: For its class balance, and to find test images that occur in it.
        validation_data: For its class balance, and to find test images that occur in it.
        test_data: For its images and class balance.
        report: One self-contained HTML page.
        summary: A summary in Markdown.
        figures: A folder with each chart as a PNG file.
    """
    from pathlib import Path

    from components.mnist.report.step import write_report

    write_report(
        model_folder=Path(model.path),
        history_folder=Path(history.path),
        metrics_folder=Path(metrics.path),
        predictions_folder=Path(predictions.path),
        training_folder=Path(training_data.path),
        validation_folder=Path(validation_data.path),
        test_folder=Path(test_data.path),
        report_file=Path(report.path),
        summary_file=Path(summary.path),
        figures_folder=Path(figures.path),
    )
