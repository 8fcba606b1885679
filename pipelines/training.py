"""START HERE: the graph of the training pipeline, and every default.

The signature of `mnist_training` is the configuration: the command, the compiled file and the pages of Kubeflow and
Vertex AI all read names, types and defaults from it. What each parameter means is in `components/mnist/settings.py`.
Importing this module loads neither TensorFlow nor the library: compiling is instant and needs no ML stack.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kfp import dsl
from kfp.dsl import base_component, graph_component, pipeline_task

from components.evaluate import evaluate
from components.ingest import ingest
from components.mnist.settings import SETTINGS
from components.train import train
from components.visualize import visualize

NAME = "mnist-training"
STEPS = {"ingest": ingest, "train": train, "evaluate": evaluate, "visualize": visualize}


@dataclass(frozen=True)
class Place:
    """Where a pipeline is going to run, as far as its compiled form depends on it (`pipelines/placement.py`).

    Attributes:
        images: The reference to use for an image of `components/__init__.py`; an image that is not named stays
            as the component says.
        equip: Called with a step's name and its task: asks for processors, memory, an accelerator, secrets.
        trainer: Turns the train component into what runs there in its stead, with the same inputs and outputs.
        config: What the platform takes for the pipeline as a whole.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    equip: Callable[[str, pipeline_task.PipelineTask], None] = lambda _step, _task: None
    trainer: Callable[[base_component.BaseComponent], base_component.BaseComponent] = lambda component: component
    config: dsl.PipelineConfig | None = None


def build(place: Place) -> graph_component.GraphComponent:
    """Return the pipeline for a place. The graph, its parameters and their defaults are the same everywhere."""

    def mnist_training(
        source: str = "mnist",
        polarity: str = "auto",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        epochs: int = 5,
        batch_size: int = 0,
        learning_rate: float = 0.008,
        label_smoothing: float = 0.0,
        shift: int = 1,
        precision: str = "auto",
        seed: int = 0,
        require_gpu: bool = False,
    ) -> None:
        data = ingest(
            source=source,
            polarity=polarity,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
        # A source can change behind its name, and a retraining with equal parameters must still look.
        _place("ingest", data, place).set_caching_options(False)
        training = place.trainer(train)(
            training_data=data.outputs["training_data"],
            validation_data=data.outputs["validation_data"],
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            label_smoothing=label_smoothing,
            shift=shift,
            precision=precision,
            seed=seed,
            require_gpu=require_gpu,
        )
        _place("train", training, place)
        evaluation = evaluate(model=training.outputs["model"], test_data=data.outputs["test_data"])
        _place("evaluate", evaluation, place)
        drawing = visualize(
            model=training.outputs["model"],
            history=training.outputs["history"],
            metrics=evaluation.outputs["metrics"],
            predictions=evaluation.outputs["predictions"],
            training_data=data.outputs["training_data"],
            validation_data=data.outputs["validation_data"],
            test_data=data.outputs["test_data"],
        )
        _place("visualize", drawing, place)

    # KFP takes the descriptions that its pages show from the docstring.
    mnist_training.__doc__ = _docstring()
    return dsl.pipeline(name=NAME, pipeline_config=place.config)(mnist_training)


def _place(step: str, task: pipeline_task.PipelineTask, place: Place) -> pipeline_task.PipelineTask:
    image = task.container_spec.image
    task.set_container_image(place.images.get(image, image))
    place.equip(step, task)
    return task


def _docstring() -> str:
    arguments = [f"    {name}: {setting.meaning} ({setting.describe_range()})." for name, setting in SETTINGS.items()]
    return "\n".join(
        ["Ingest images, train a convolutional network, evaluate it and draw a report.", "", "Args:", *arguments]
    )
