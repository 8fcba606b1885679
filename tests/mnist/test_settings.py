"""Every parameter is checked before anything runs."""

import dataclasses
import inspect
import json
import math
from pathlib import Path

import pytest

from components.mnist.errors import SettingError
from components.mnist.settings import SETTINGS, Recipe, check
from components.train import train
from pipelines import training
from tests.recipe import RECIPE


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
        ("require_gpu", "maybe", "require_gpu=maybe: expected true or false."),
        ("source", "  ", "source is empty: expected text."),
    ],
)
def test_a_refusal_says_what_arrived_and_what_is_taken(name: str, given: object, message: str) -> None:
    with pytest.raises(SettingError) as refusal:
        check(name, given)  # type: ignore[arg-type]
    assert str(refusal.value) == message


def test_an_unknown_name_gets_a_sentence() -> None:
    with pytest.raises(SettingError, match=r"epoch: no such parameter; did you mean epochs\?"):
        check("epoch", 3)


def test_a_recipe_holds_every_value_in_its_own_type() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=5.0, learning_rate="0.5")
    assert (recipe.epochs, recipe.learning_rate) == (5, 0.5)
    assert [type(value) for value in dataclasses.astuple(recipe)] == [
        field.type for field in dataclasses.fields(recipe)
    ]


def test_a_recipe_refuses_a_value_out_of_range() -> None:
    with pytest.raises(SettingError, match="seed=-1"):
        dataclasses.replace(RECIPE, seed=-1)


def test_a_step_that_lacks_a_setting_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_ERROR_FILE", str(tmp_path / "error.json"))
    parameters = {name: value for name, value in dataclasses.asdict(RECIPE).items() if name != "shift"}
    with pytest.raises(SettingError, match="shift: missing; a training needs epochs, batch_size"):
        Recipe.from_parameters(parameters | {"model": object()})
    assert json.loads((tmp_path / "error.json").read_text())["error"] == "SettingError"


def test_recipe_pipeline_and_train_step_have_the_same_settings() -> None:
    recipe = {field.name: field.type for field in dataclasses.fields(Recipe)}
    pipeline, page = (
        {parameter.name: parameter.annotation for parameter in inspect.signature(function).parameters.values()}
        for function in (training.build(training.Placement()).pipeline_func, train.python_func)
    )
    assert list(pipeline) == list(SETTINGS)
    assert {name: pipeline[name] for name in recipe} == recipe
    assert {name: kind for name, kind in page.items() if kind in (int, float, str, bool)} == recipe


def test_ranges_make_sense() -> None:
    for name, setting in SETTINGS.items():
        assert setting.low <= setting.high, name
        assert setting.kind in (int, float) or (math.isinf(setting.low) and math.isinf(setting.high)), name
        assert setting.meaning.isprintable(), name
