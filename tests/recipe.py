"""The recipe of tests: the pipeline's defaults, but for a short training on few images."""

from dataclasses import replace

from components.mnist.settings import Recipe
from pipelines import parameters, training

DEFAULTS = Recipe.from_parameters(parameters.read_defaults(training.build(training.Placement())))
RECIPE = replace(
    DEFAULTS, epochs=3, batch_size=16, learning_rate=0.004, label_smoothing=0.05, precision="float32", seed=3
)
