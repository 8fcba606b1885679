"""The interface of the train step, the only one that needs TensorFlow."""

from kfp import dsl

from components import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, install_kfp_package=False)
def train(
    training_data: dsl.Input[dsl.Dataset],
    validation_data: dsl.Input[dsl.Dataset],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    label_smoothing: float,
    shift: int,
    precision: str,
    seed: int,
    require_gpu: bool,
    model: dsl.Output[dsl.Model],
    history: dsl.Output[dsl.Dataset],
) -> None:
    """Train the convolutional network, keep its best epoch on validation data, and export it to ONNX.

    Args:
        training_data: Images and labels to train on.
        validation_data: Images and labels to choose the best epoch.
        epochs: Passes over the training images.
        batch_size: Images per training step; 0 for 128, or fewer if the data is small.
        learning_rate: Peak learning rate of Adam, after warm-up and before the decay to 0.
        label_smoothing: Share of each label that is spread over all classes in training.
        shift: Largest random shift of a training image in each direction, in pixels.
        precision: Arithmetic in training: auto, float32 or bfloat16. The model is always float32.
        seed: Seeds all random choices.
        require_gpu: Fail at once if there is no GPU, instead of using the CPU.
        model: model.keras, model.onnx and model.json.
        history: history.csv: loss and accuracy by epoch.
    """
    from pathlib import Path

    from components.mnist.settings import Recipe
    from components.mnist.training.step import train_model

    # By name, from the parameters above: a new one needs no line here.
    recipe = Recipe.from_parameters(locals())
    card = train_model(
        recipe=recipe,
        training_folder=Path(training_data.path),
        validation_folder=Path(validation_data.path),
        model_folder=Path(model.path),
        history_folder=Path(history.path),
    )
    model.metadata.update(card.metadata())
