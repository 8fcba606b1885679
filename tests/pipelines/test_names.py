"""The names that are found without KFP are those that KFP's components have."""

from pipelines.names import list_inputs, list_steps
from pipelines.single_step import read_inputs
from pipelines.steps import STEPS


def test_the_pages_are_the_steps() -> None:
    assert list_steps() == sorted(STEPS)


def test_the_inputs_on_a_page_are_those_of_its_component() -> None:
    for step in STEPS.values():
        inputs = read_inputs(step.component)
        assert set(list_inputs(step.name)) == {*inputs.parameters, *inputs.artifacts}
