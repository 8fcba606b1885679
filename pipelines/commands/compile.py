"""`mnist compile`: compile the pipeline to a YAML file."""

from pathlib import Path

from kfp import compiler

from components.mnist.errors import OutputError
from components.mnist.files import replacing
from pipelines import compilation, configuration, training
from pipelines.commands.console import console
from pipelines.runners.table import RUNNERS, load_runner


def compile_to_file(on: str, output: Path | None, profiles: Path) -> None:
    """Compile the pipeline for a runner or a profile and print the file's path.

    Args:
        output: None for a file in the current folder, named after the pipeline and `on`.

    Raises:
        SettingError: There is no such profile.
        OutputError: The file cannot be written.
    """
    file = output or Path(f"{training.NAME}-{on}.yaml")
    if on in RUNNERS:
        pipeline = training.build(load_runner(on).placement())
    else:
        pipeline = compilation.build_pipeline(configuration.read_profile(on, profiles))
    try:
        with replacing(file) as new:
            compiler.Compiler().compile(pipeline, str(new))
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror}). Name another: --output FILE.") from error
    console.out(file)
