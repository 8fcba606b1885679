"""The interface of the ingest step."""

from kfp import dsl

from components import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def ingest(
    source: str,
    polarity: str,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    training_data: dsl.Output[dsl.Dataset],
    validation_data: dsl.Output[dsl.Dataset],
    test_data: dsl.Output[dsl.Dataset],
) -> None:
    """Read images from a source, check them, and split them into training, validation and test data.

    Args:
        source: mnist, sample, a path, or a gs:// or https:// address of a file or folder.
        polarity: light (light ink on dark), dark (dark ink on light), or auto to detect it.
        validation_fraction: Share of the training images kept aside to choose the best epoch.
        test_fraction: Share of all images kept for the test, where the source has no test split.
        seed: Seeds the random split; the same seed and data give the same split.
        training_data: Images and labels to train on.
        validation_data: Images and labels to choose the best epoch.
        test_data: Images and labels for evaluation, not used in training.
    """
    from pathlib import Path

    from components.mnist.data.step import ingest_data

    manifests = ingest_data(
        source=source,
        polarity=polarity,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        seed=seed,
        training_folder=Path(training_data.path),
        validation_folder=Path(validation_data.path),
        test_folder=Path(test_data.path),
    )
    training_data.metadata.update(manifests["training"].metadata())
    validation_data.metadata.update(manifests["validation"].metadata())
    test_data.metadata.update(manifests["test"].metadata())
