"""All parameters of the pipeline: type, range or choices, and a one-line description.

The command checks values before anything runs, and each step checks again, since a run can also be started from the
platform's web page. Defaults are not here: they are written once, in the signature in `pipelines/training.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, cast

from components.mnist.errors import SettingError, reports_errors, suggest

Value = str | int | float | bool

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

# The environment variable with the version of the code that runs a step (`pipelines/container_images.py`).
CODE = "MNIST_CODE"


@dataclass(frozen=True)
class Setting:
    """One parameter.

    Attributes:
        kind: str, int, float or bool.
        meaning: One-line description for the user, units included.
        low, high: Smallest and largest allowed number, both included.
        choices: The allowed words; empty for free text and numbers.
    """

    kind: type
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    def describe_range(self) -> str:
        """Describe the allowed values: "auto, light or dark", "1 to 1000"."""
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "text"
        return f"{self.low:.15g} to {self.high:.15g}"


def setting(meaning: str, low: float = -math.inf, high: float = math.inf, *, choices: tuple[str, ...] = ()) -> Any:
    """Declare a field of `Recipe` with the attributes of its `Setting` other than the type."""
    return field(metadata={"meaning": meaning, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run, each within its range.

    A new training parameter is a field here, a parameter of the pipeline (`pipelines/training.py`) and a parameter of
    the train step (`components/train.py`); then the code that uses it.

    Raises:
        SettingError: A value has the wrong type or is out of range.
    """

    epochs: int = setting("passes over the training images; the best epoch is kept", 1, 1000)
    batch_size: int = setting(
        "images per training step; 0 for 128, or fewer if the data is too small for 40 steps an epoch", 0, 8192
    )
    learning_rate: float = setting("peak learning rate of Adam, after warm-up and before the decay to 0", 1e-6, 1.0)
    label_smoothing: float = setting("share of each label that is spread over all classes in training", 0.0, 0.5)
    shift: int = setting("largest random shift of a training image in each direction, in pixels; 0 for none", 0, 8)
    precision: str = setting(
        "arithmetic in training; auto is bfloat16 if the hardware supports it; the model is always float32",
        choices=("auto", "float32", "bfloat16"),
    )
    seed: int = setting("seeds all random choices; the same seed, data and machine give the same model", 0, 2**31 - 1)
    require_gpu: bool = setting("fail at once if training finds no GPU, instead of using the CPU")

    def __post_init__(self) -> None:
        for each in fields(self):
            # A frozen class allows no plain assignment; `check` may have converted 5.0 to 5.
            object.__setattr__(self, each.name, check(each.name, getattr(self, each.name)))

    @classmethod
    @reports_errors  # a step calls this before its work begins
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Pick the training settings from a step's parameters; others, such as artifacts, are ignored.

        Raises:
            SettingError: A setting is missing, has the wrong type or is out of range.
        """
        names = [each.name for each in fields(cls)]
        if missing := [name for name in names if name not in parameters]:
            raise SettingError(f"{', '.join(missing)}: missing; a training needs {', '.join(names)}.")
        return cls(**{name: parameters[name] for name in names})


SETTINGS: dict[str, Setting] = {
    "source": Setting(
        str, "where images come from: mnist, sample, a path, or a gs:// or https:// address of a file or folder"
    ),
    "polarity": Setting(
        str, "light ink on dark, dark ink on light, or auto to detect it", choices=("auto", "light", "dark")
    ),
    "validation_fraction": Setting(float, "share of the training images set aside to choose the best epoch", 0.01, 0.5),
    "test_fraction": Setting(
        float, "share of all images set aside for the test, if the source has no test split", 0.01, 0.5
    ),
    **{each.name: Setting(cast(type, each.type), **each.metadata) for each in fields(Recipe)},
}


def check(name: str, value: Value) -> Value:
    """Return the value converted to the setting's type, or refuse it.

    Text is converted, since a command line passes text; a whole float is accepted as an int, since KFP passes numbers
    as floats.

    Raises:
        SettingError: There is no such setting, or the value has the wrong type or is out of range.
    """
    if name not in SETTINGS:
        raise SettingError(
            f"{name}: no such parameter; "
            + suggest(name, SETTINGS, otherwise=f"expected one of {', '.join(SETTINGS)}.")
        )
    setting, expected = SETTINGS[name], SETTINGS[name].describe_range()
    try:
        converted = _convert(value, setting.kind)
    except (ValueError, KeyError):
        kind = {int: "a whole number, ", float: "a number, "}.get(setting.kind, "")
        raise SettingError(f"{name}={value}: expected {kind}{expected}.") from None
    if isinstance(converted, str):
        if not converted.strip():
            raise SettingError(f"{name} is empty: expected {expected}.")
        is_allowed = not setting.choices or converted in setting.choices
    else:
        is_allowed = setting.low <= converted <= setting.high  # false for NaN
    if not is_allowed:
        hint = suggest(str(value), setting.choices, otherwise=f"expected {expected}.")
        raise SettingError(f"{name}={value}: {hint}")
    return converted


def spell(value: Value) -> str:
    """Write a value as the command line accepts it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _convert(value: Value, kind: type) -> Value:
    if kind is bool:
        return BOOLEANS[str(value).strip().lower()]
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return kind(value)
