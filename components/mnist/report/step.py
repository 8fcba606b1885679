"""The visualize step: report one run as an HTML page, a Markdown summary, and charts in PNG files."""

from pathlib import Path

from components.mnist.errors import reports_errors
from components.mnist.files import replacing, write_text
from components.mnist.progress import say
from components.mnist.report.pages import draw_charts, render_page, render_summary
from components.mnist.report.pictures import draw_grid, show_pictures
from components.mnist.report.rendering import render_png
from components.mnist.report.run import read_run


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
    """Read a run and write its report; nothing is written if an input is refused.

    Args:
        report_file: Receives one self-contained HTML page.
        summary_file: Receives a summary in Markdown.
        figures_folder: Receives a PNG file for each chart of the page; replaced as a whole.

    Raises:
        DataError, ModelError: An input is missing, damaged, or belongs to another run.
    """
    run = read_run(
        model_folder=model_folder,
        history_folder=history_folder,
        metrics_folder=metrics_folder,
        predictions_folder=predictions_folder,
        training_folder=training_folder,
        validation_folder=validation_folder,
        test_folder=test_folder,
    )
    charts, pictures = draw_charts(run), show_pictures(run)
    page, summary = render_page(run, charts, pictures), render_summary(run)
    figures = {name: chart.figure for name, chart in charts.items()}
    figures |= {name: draw_grid(shown) for name, shown in pictures.items()}
    with replacing(figures_folder) as new:
        new.mkdir()
        for name, figure in figures.items():
            (new / f"{name}.png").write_bytes(render_png(figure))
    write_text(summary_file, summary)
    write_text(report_file, page)
    say(f"report of {report_file.stat().st_size / 1e3:,.0f} KB with {len(figures)} charts")
