"""What a person writes as name=value."""

import inspect

import pytest

from components.mnist.errors import SettingError
from components.mnist.settings import SETTINGS, check
from pipelines import parameters, training
from pipelines.steps import STEPS

DEFAULTS = parameters.read_defaults(training.build(training.Placement()))


def test_every_parameter_of_the_pipeline_has_a_meaning_and_a_default_in_range() -> None:
    assert list(DEFAULTS) == list(SETTINGS)
    for name, default in DEFAULTS.items():
        assert check(name, default) == default
        assert type(default) is SETTINGS[name].kind


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("epoch=3", "epoch: no such parameter; did you mean epochs? `mnist params` lists them all."),
        ("lerning_rate=3", "did you mean learning_rate?"),
        ("zzz=3", "zzz: no such parameter; expected one of source, polarity,"),
        ("epochs", "epochs: expected name=value, as in epochs=VALUE."),
        ("=5", "=5: expected name=value, as in source=VALUE."),
    ],
)
def test_an_unknown_word_gets_the_nearest_right_name(pair: str, message: str) -> None:
    with pytest.raises(SettingError) as refusal:
        parameters.parse_pairs([pair], DEFAULTS)
    assert message in str(refusal.value)


def test_an_unknown_input_of_a_step_is_not_looked_up_among_the_parameters() -> None:
    with pytest.raises(SettingError, match=r"^training_data: ingest has no such input; expected one of seed\.$"):
        parameters.parse_pairs(["training_data=x"], ["seed"], step="ingest")


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(SettingError, match="epochs is given twice: epochs=3 and epochs=4"):
        parameters.parse_pairs(["epochs=3", "epochs=4"], DEFAULTS)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parameters.parse_pairs(["source=https://a/b?c=d"], DEFAULTS) == {"source": "https://a/b?c=d"}


def test_given_values_get_their_own_type() -> None:
    assert parameters.check_values({"epochs": "7", "require_gpu": "true"}) == {"epochs": 7, "require_gpu": True}


def test_a_value_is_spelled_as_it_is_typed() -> None:
    assert parameters.spell(True) == "true"
    assert parameters.spell(0.002) == "0.002"
    assert check("require_gpu", parameters.spell(True)) is True


def test_no_default_is_written_a_second_time() -> None:
    for component in (step.component for step in STEPS.values()):
        defaults = [p.default for p in inspect.signature(component.python_func).parameters.values()]
        assert all(default is inspect.Parameter.empty for default in defaults), component.name
