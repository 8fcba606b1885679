"""Every parameter is checked before anything runs."""

import math

import pytest

from components.mnist.errors import SettingError
from components.mnist.settings import SETTINGS, check, check_all


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("epochs", "12", 12),
        ("epochs", 12.0, 12),
        ("learning_rate", "1e-3", 0.001),
        ("require_gpu", "True", True),
        ("require_gpu", "no", False),
        ("polarity", "dark", "dark"),
        ("source", "gs://bucket/digits", "gs://bucket/digits"),
    ],
)
def test_a_value_arrives_in_the_settings_own_type(name: str, given: object, value: object) -> None:
    checked = check(name, given)  # type: ignore[arg-type]
    assert checked == value
    assert type(checked) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("epochs", "many", "epochs=many: expected a whole number, 1 to 1000."),
        ("epochs", "2.5", "epochs=2.5: expected a whole number, 1 to 1000."),
        ("epochs", 0, "epochs=0: expected 1 to 1000."),
        ("epochs", True, "epochs=True: expected a whole number, 1 to 1000."),
        ("learning_rate", "nan", "learning_rate=nan: expected 1e-06 to 1."),
        ("validation_fraction", 0.9, "validation_fraction=0.9: expected 0.01 to 0.5."),
        ("polarity", "blue", "polarity=blue: expected auto, light or dark."),
        ("require_gpu", "maybe", "require_gpu=maybe: expected true or false, true or false."),
        ("source", "  ", "source is empty: expected text."),
    ],
)
def test_a_refusal_says_what_arrived_and_what_is_taken(name: str, given: object, message: str) -> None:
    with pytest.raises(SettingError) as refusal:
        check(name, given)  # type: ignore[arg-type]
    assert str(refusal.value) == message


def test_several_settings_are_checked_at_once() -> None:
    check_all(epochs=3, seed=0)
    with pytest.raises(SettingError, match="seed=-1"):
        check_all(epochs=3, seed=-1)


def test_ranges_make_sense() -> None:
    for name, setting in SETTINGS.items():
        assert setting.low <= setting.high, name
        assert setting.kind in (int, float) or (math.isinf(setting.low) and math.isinf(setting.high)), name
        assert setting.meaning.isprintable(), name
