"""Check that a region has the machine type and the accelerator, that they fit together, and that the quota suffices.

Vertex AI's machines are Compute Engine's, which lists them by zone; in some regions Vertex AI offers fewer of them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.cloud.aiplatform_v1.types import AcceleratorType

from components.mnist.errors import suggest
from pipelines.checks import Finding, fail, ok, skip
from pipelines.platforms.vertex import google_apis
from pipelines.platforms.vertex.google_apis import Google
from pipelines.platforms.vertex.profile import DEFAULT_MACHINE, VertexProfile

REGIONS_PAGE = "https://cloud.google.com/vertex-ai/docs/general/locations#accelerators"
MACHINES_PAGE = "https://cloud.google.com/vertex-ai/docs/training/configure-compute#machine-types"
QUOTA_PAGE = "https://console.cloud.google.com/iam-admin/quotas?project="
# The only machines to which accelerators are attached, and the only accelerators; all others come with their machines.
ATTACHED = "n1-"
ATTACHABLE = ("nvidia-tesla-k80", "nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-t4", "nvidia-tesla-v100")

Zones = Mapping[str, Mapping[str, Any]]  # by zone, what Compute Engine has there under one name


def check_accelerator(google: Google, profile: VertexProfile) -> Finding:
    """Whether the accelerator exists, and in this region."""
    name = profile.accelerator or ""
    known = [known for known, value in AcceleratorType.__members__.items() if value]
    if name not in known:
        return fail(
            f"Vertex AI knows no {name};", suggest(name.replace("-", "_"), known, otherwise=f"see {REGIONS_PAGE}")
        )
    zones = find_zones(google, profile.project, "acceleratorTypes", _name_in_compute(name))
    if not zones:
        return skip(f"Compute Engine lists no {_name_in_compute(name)}; see {REGIONS_PAGE}")
    return judge_region(f"{name} (accelerator)", zones, profile.region, page=REGIONS_PAGE)


def check_machine(google: Google, profile: VertexProfile) -> Finding:
    """Whether the machine type exists in this region and takes the accelerator."""
    machine = profile.machine_type or DEFAULT_MACHINE
    zones = find_zones(google, profile.project, "machineTypes", machine)
    found = judge_region(f"{machine} (machine_type)", zones, profile.region, page=MACHINES_PAGE)
    here = [facts for zone, facts in zones.items() if _find_region(zone) == profile.region]
    if not here:
        return found
    return judge_pair(machine, here[0], profile.accelerator, profile.accelerator_count) or found


def check_quota(google: Google, profile: VertexProfile) -> Finding:
    """Whether the project may use as many accelerators in this region."""
    page, region, count = f"{QUOTA_PAGE}{profile.project}", profile.region, profile.accelerator_count
    for metric in name_quotas(profile.accelerator or "", spot=profile.spot):
        url = (
            f"{google_apis.QUOTAS}/v1beta1/projects/{profile.project}/services/aiplatform.googleapis.com/"
            f"consumerQuotaMetrics/aiplatform.googleapis.com%2F{metric}"
        )
        if (found := google.get(url)) is None:
            continue
        limit = read_limit(found, region)
        if limit == -1 or limit >= count:
            return ok(f"{'unlimited' if limit == -1 else limit} of {metric} in {region}, without what is in use")
        return fail(f"{limit} of {metric} in {region}, but the profile asks for {count}.", f"Ask for more: {page}")
    return skip(f"no quota of Vertex AI is known for {profile.accelerator}; see {page}")


def find_zones(google: Google, project: str, kind: str, name: str) -> Zones:
    """The zones in which Compute Engine has something, and what it says about it there.

    Args:
        kind: acceleratorTypes or machineTypes.
    """
    url = f"{google_apis.COMPUTE}/compute/v1/projects/{project}/aggregated/{kind}"
    zones: dict[str, Mapping[str, Any]] = {}
    for page in google.pages(url, {"filter": f"name={name}", "returnPartialSuccess": "true"}):
        for scope, content in (page.get("items") or {}).items():
            zones.update({scope.removeprefix("zones/"): each for each in content.get(kind, ()) if each["name"] == name})
    return zones


def judge_region(what: str, zones: Zones, region: str, *, page: str) -> Finding:
    """Whether something is in a region, and where else."""
    if here := sorted(zone for zone in zones if _find_region(zone) == region):
        return ok(f"{what} is in {', '.join(here)}")
    if elsewhere := sorted({_find_region(zone) for zone in zones}):
        return fail(f"{what} is not in {region}.", f"Choose another, or one of {', '.join(elsewhere)}: {page}")
    return fail(f"Compute Engine has {what} nowhere.", f"Choose another: {page}")


def judge_pair(machine: str, facts: Mapping[str, Any], accelerator: str | None, count: int) -> Finding | None:
    """What is wrong with a machine type and an accelerator together; None when they fit.

    Args:
        facts: What Compute Engine says about the machine type.
        accelerator: Vertex AI's name for it.
    """
    if built_in := facts.get("accelerators"):
        name = built_in[0]["guestAcceleratorType"].upper().replace("-", "_")
        number = int(built_in[0]["guestAcceleratorCount"])
        if (accelerator, count) == (name, number):
            return None
        return fail(
            f"{machine} comes with {number} {name}, but the profile has "
            f"{f'{count} {accelerator}' if accelerator else 'none'}.",
            f'Set accelerator = "{name}" and accelerator_count = {number}, or choose another: {MACHINES_PAGE}',
        )
    if not accelerator:
        return None
    if not machine.startswith(ATTACHED):
        return fail(f"{machine} takes no accelerator.", f"Choose one that has {accelerator}: {MACHINES_PAGE}")
    if _name_in_compute(accelerator) not in ATTACHABLE:
        return fail(
            f"{machine} cannot take {accelerator}, which comes with machine types of its own.",
            f"Set machine_type to one that has it: {MACHINES_PAGE}",
        )
    return None


def name_quotas(accelerator: str, *, spot: bool) -> Iterable[str]:
    """What Vertex AI may call the training quota of an accelerator: with the size of its memory, and without."""
    name = accelerator.lower().replace("_tesla", "")
    short = re.sub(r"_[0-9]+gb$", "", name)
    kind = "preemptible_" if spot else ""
    return dict.fromkeys(f"custom_model_training_{kind}{each}_gpus" for each in (name, short))


def read_limit(metric: Mapping[str, Any], region: str) -> int:
    """The limit of a quota in a region; -1 is no limit."""
    buckets = [bucket for limit in metric.get("consumerQuotaLimits", ()) for bucket in limit.get("quotaBuckets", ())]
    everywhere = [bucket for bucket in buckets if not bucket.get("dimensions")]
    here = [bucket for bucket in buckets if (bucket.get("dimensions") or {}).get("region") == region]
    # The most specific comes last; a limit of 0 is left out of the answer.
    return int([{}, *everywhere, *here][-1].get("effectiveLimit", 0))


def _find_region(zone: str) -> str:
    return zone.rpartition("-")[0]


def _name_in_compute(accelerator: str) -> str:
    return accelerator.lower().replace("_", "-")
