"""Build a pipeline of one component, on artifact folders of an earlier run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kfp import dsl
from kfp.dsl import base_component

from components.mnist.errors import SettingError
from components.mnist.settings import Value
from pipelines.training import Placement


@dataclass(frozen=True)
class Inputs:
    """The inputs of a component.

    Attributes:
        parameters: Names of its parameters.
        artifacts: Types of its input artifacts by name, such as system.Dataset@0.0.1.
    """

    parameters: tuple[str, ...]
    artifacts: dict[str, str]


def read_inputs(component: base_component.BaseComponent) -> Inputs:
    """Read a component's inputs from its interface."""
    specs = component.component_spec.inputs or {}
    artifacts = {name: spec.type for name, spec in specs.items() if "@" in spec.type}
    return Inputs(parameters=tuple(name for name in specs if name not in artifacts), artifacts=artifacts)


def check_folders(given: Mapping[str, str], inputs: Inputs) -> dict[str, Path]:
    """Find the folder of each input artifact.

    Raises:
        SettingError: A folder is not given or does not exist.
    """
    if missing := [name for name in inputs.artifacts if name not in given]:
        example = " ".join(f"{name}=FOLDER" for name in missing)
        raise SettingError(f"{', '.join(missing)}: not given; expected the folder of each artifact: {example}.")
    folders = {name: Path(given[name]).expanduser().absolute() for name in inputs.artifacts}
    for name, folder in folders.items():
        if not folder.exists():
            raise SettingError(
                f"{name}={given[name]}: no such folder; the artifacts of a run are in runs/<time>/steps/<step>/."
            )
    return folders


def build(
    component: base_component.BaseComponent,
    parameters: Mapping[str, Value],
    folders: Mapping[str, Path],
    placement: Placement,
) -> base_component.BaseComponent:
    """Return a pipeline that imports the artifacts and runs the component on them."""
    kinds = read_inputs(component).artifacts

    @dsl.pipeline(name=f"mnist-{component.name}")
    def alone() -> None:
        imported = {}
        for name, folder in folders.items():
            title, _, version = kinds[name].partition("@")
            # The importer reads only these two attributes, so this works for any type, even one unknown to KFP.
            kind = type(name, (dsl.Artifact,), {"schema_title": title, "schema_version": version})
            imported[name] = dsl.importer(artifact_uri=str(folder), artifact_class=kind).output
        placement.apply(component(**parameters, **imported))

    return alone
