"""The network, in Keras. Knows neither training nor files.

| layer     | output       | parameters      |
|-----------|--------------|-----------------|
| images    | 28 x 28 x 1  |                 |
| conv_1    | 26 x 26 x 32 | 320             |
| pool_1    | 13 x 13 x 32 | 0               |
| conv_2    | 11 x 11 x 64 | 18,496          |
| pool_2    | 5 x 5 x 64   | 0               |
| flatten   | 1,600        | 0               |
| dense     | 128          | 204,928         |
| output    | classes      | 129 x classes   |

For ten classes, there are 225,034 parameters.
"""

import keras

from components.mnist.data.datasets import IMAGE_SIDE
from components.mnist.model import INPUT_NAME


def build_network(classes: int, *, precision: str) -> keras.Sequential:
    """Build the network with new weights, drawn from Keras' random generator.

    Args:
        classes: Number of outputs.
        precision: "float32", or "bfloat16" to compute in bfloat16 with float32 weights.

    Returns:
        A network from float32 (n, 28, 28, 1) in 0..1 to float32 (n, classes), each row adding up to 1.
    """
    # By name: a policy object shared by layers would be written to model.keras with its memory address.
    inner = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    # Overrides the user's keras.json: the other layout does not run on CPUs, and would change the files.
    layout = {"data_format": "channels_last", "dtype": inner}
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), dtype="float32", name=INPUT_NAME),
            layers.Conv2D(32, 3, activation="relu", name="conv_1", **layout),
            layers.MaxPooling2D(2, name="pool_1", **layout),
            layers.Conv2D(64, 3, activation="relu", name="conv_2", **layout),
            layers.MaxPooling2D(2, name="pool_2", **layout),
            layers.Flatten(name="flatten", **layout),
            layers.Dense(128, activation="relu", name="dense", dtype=inner),
            # Probabilities in bfloat16 would have two significant digits.
            layers.Dense(classes, activation="softmax", name="output", dtype="float32"),
        ],
        name="cnn",
    )
