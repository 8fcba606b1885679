"""Every parameter of the pipeline: its type, its range or choices, and its meaning in one line.

The command checks with it before anything runs, and each step checks again, since a cluster's page can start a
run too. Defaults are not here: they are written once, in the signature in `pipelines/training.py`.
"""

import math
from dataclasses import dataclass

from components.mnist.errors import SettingError

Value = str | int | float | bool


@dataclass(frozen=True)
class Setting:
    """One parameter.

    Attributes:
        kind: str, int, float or bool.
        meaning: One line for a person, units included.
        low, high: Smallest and largest number that is taken, both included.
        choices: The words that are taken; empty for free text and numbers.
    """

    kind: type
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    def describe_range(self) -> str:
        """What is taken, in words: "auto, light or dark", "1 to 1000"."""
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "text"
        return f"{self.low:.15g} to {self.high:.15g}"


SETTINGS: dict[str, Setting] = {
    "source": Setting(
        str, "where images come from: mnist, sample, a path, or a gs:// or https:// address of a file or folder"
    ),
    "polarity": Setting(
        str,
        "which way round pictures are: light ink on dark, dark ink on light, or detect it",
        choices=("auto", "light", "dark"),
    ),
    "validation_fraction": Setting(
        float, "share of the training images kept aside to choose the best epoch", 0.01, 0.5
    ),
    "test_fraction": Setting(
        float, "share of all images kept for the test, where the source has no split of its own", 0.01, 0.5
    ),
    "epochs": Setting(int, "how often training sees every image; the best epoch is kept", 1, 1000),
    "batch_size": Setting(
        int, "images per training step; 0 for 128, or less where the data is too small for 40 steps an epoch", 0, 8192
    ),
    "learning_rate": Setting(float, "peak learning rate of Adam, after warm-up and before the decay to 0", 1e-6, 1.0),
    "label_smoothing": Setting(float, "share of each label that is spread over all classes while training", 0.0, 0.5),
    "shift": Setting(int, "largest random shift of a training image in each direction, in pixels; 0 for none", 0, 8),
    "precision": Setting(
        str,
        "arithmetic of training; auto takes bfloat16 where the device is made for it; the model is float32 either way",
        choices=("auto", "float32", "bfloat16"),
    ),
    "seed": Setting(
        int, "starts every random choice; the same seed, data and machine give the same model", 0, 2**31 - 1
    ),
    "require_gpu": Setting(bool, "fail at once when training finds no GPU, instead of using the CPU"),
}


def check(name: str, value: Value) -> Value:
    """Return the value in the setting's own type, or say why it is refused.

    Text is converted, as it comes from a command line; a whole float is taken for an int, since KFP passes numbers as
    floats.

    Raises:
        SettingError: The value is of another type or out of range.
    """
    setting = SETTINGS[name]
    try:
        converted = _convert(value, setting.kind)
    except ValueError:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise SettingError(f"{name}={value}: expected {words[setting.kind]}, {setting.describe_range()}.") from None
    if setting.choices and converted not in setting.choices:
        raise SettingError(f"{name}={value}: expected {setting.describe_range()}.")
    if setting.kind in (int, float) and not setting.low <= converted <= setting.high:  # type: ignore[operator]
        raise SettingError(f"{name}={value}: expected {setting.describe_range()}.")
    if setting.kind is str and not str(converted).strip():
        raise SettingError(f"{name} is empty: expected {setting.describe_range()}.")
    return converted


def check_all(**values: Value) -> None:
    """Check several settings at once, by name; steps call it with everything they were given.

    Raises:
        SettingError: The first that is refused.
    """
    for name, value in values.items():
        check(name, value)


def _convert(value: Value, kind: type) -> Value:
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if (word := str(value).strip().lower()) in words:
            return words[word]
        raise ValueError
    if isinstance(value, bool):
        raise ValueError
    if kind is int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        return int(value)
    if kind is float:
        return float(value)
    return str(value)
