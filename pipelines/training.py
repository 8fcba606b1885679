"""START HERE: the graph of the training pipeline, and every default.

The signature of `mnist_training` is the configuration: the command, the compiled file and the pages of Kubeflow and
Vertex AI all read names, types and defaults from it. `components/mnist/settings.py` describes each parameter.
Importing this module loads neither TensorFlow nor a package of the library: compiling is fast and needs no ML stack.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kfp import dsl
from kfp.dsl import base_component, graph_component, pipeline_context, pipeline_task

from components.evaluate import evaluate
from components.ingest import ingest
from components.mnist.errors import SettingError
from components.mnist.settings import CODE, SETTINGS
from components.train import train
from components.visualize import visualize
from pipelines import container_images
from pipelines.steps import STEPS, Step, find_step

NAME = "mnist-training"


@dataclass(frozen=True)
class Placement:
    """The images and resources of a pipeline for a runner or a platform; by default, those of the components.

    Attributes:
        images: References by image of `components/__init__.py`: one for each step's image, or none at all.
        equip: Called with each step and its task, to set processors, memory, an accelerator, secrets.
        trainer: Converts the train component to one that trains elsewhere, with the same inputs and outputs.
        config: Options of the platform for the pipeline as a whole.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    equip: Callable[[Step, pipeline_task.PipelineTask], None] = lambda _step, _task: None
    trainer: Callable[[base_component.BaseComponent], base_component.BaseComponent] = lambda component: component
    config: dsl.PipelineConfig | None = None

    def apply(self, task: pipeline_task.PipelineTask) -> None:
        """Set the image and the resources of a task of the graph.

        Raises:
            SettingError: Its step is missing in `pipelines/steps.py` or twice in the graph, or its image has no
                reference.
        """
        name, _, number = task.name.rpartition("-")
        if number.isdigit() and name in STEPS:
            raise SettingError(
                f"{name}: twice in the graph; expected a component, and a row in the table, for each task."
            )
        step = find_step(task.name)
        if self.images and step.image not in self.images:
            raise SettingError(f"{step.name}: its image {step.image} was not pushed. Push it: make push.")
        image = task.container_spec.image  # not of the step where a platform's own component trains
        task.set_container_image(self.images.get(image, image))
        task.set_caching_options(step.is_cached)
        task.set_env_variable(CODE, container_images.code())
        self.equip(step, task)


def build(placement: Placement) -> graph_component.GraphComponent:
    """Return the pipeline for a placement. The graph, its parameters and their defaults are always the same."""

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
        training = placement.trainer(train)(
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
        evaluation = evaluate(model=training.outputs["model"], test_data=data.outputs["test_data"])
        visualize(
            model=training.outputs["model"],
            history=training.outputs["history"],
            metrics=evaluation.outputs["metrics"],
            predictions=evaluation.outputs["predictions"],
            training_data=data.outputs["training_data"],
            validation_data=data.outputs["validation_data"],
            test_data=data.outputs["test_data"],
        )
        for task in pipeline_context.Pipeline.get_default_pipeline().tasks.values():
            placement.apply(task)

    # KFP reads the descriptions for its pages from the docstring.
    mnist_training.__doc__ = _docstring()
    return dsl.pipeline(name=NAME, pipeline_config=placement.config)(mnist_training)


def _docstring() -> str:
    arguments = [f"    {name}: {setting.meaning} ({setting.describe_range()})." for name, setting in SETTINGS.items()]
    return "\n".join(
        ["Ingest images, train a convolutional network, evaluate it and draw a report.", "", "Args:", *arguments]
    )
