"""Check that a region has the machine type and the accelerator, that they are compatible, and that the quota suffices.

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
# The only machines that accelerators can be attached to, and those accelerators; others come with their machines.
ATTACHED = "n1-"
ATTACHABLE = {f"NVIDIA_TESLA_{name}" for name in ("K80", "P4", "P100", "T4", "V100")}

Regions = Mapping[str, Mapping[str, Mapping[str, Any]]]  # Compute Engine's resources of one name, by region and zone


def check_accelerator(google: Google, profile: VertexProfile) -> Finding:
    """Whether the accelerator exists in this region."""
    name = profile.accelerator or ""
    known = [known for known, value in AcceleratorType.__members__.items() if value]
    if name not in known:
        hint = suggest(name.replace("-", "_"), known, otherwise=f"see {REGIONS_PAGE}")
        return fail(f"Vertex AI has no {name};", hint)
    regions = find_regions(google, profile.project, "acceleratorTypes", name.lower().replace("_", "-"))
    if not regions:
        return skip(f"Compute Engine lists no {name}; see {REGIONS_PAGE}")
    return judge_region(f"{name} (accelerator)", regions, profile.region, page=REGIONS_PAGE)


def check_machine(google: Google, profile: VertexProfile) -> Finding:
    """Whether the machine type exists in this region and supports the accelerator."""
    machine = profile.machine_type or DEFAULT_MACHINE
    accelerator, count = profile.accelerator, profile.accelerator_count
    regions = find_regions(google, profile.project, "machineTypes", machine)
    found = judge_region(f"{machine} (machine_type)", regions, profile.region, page=MACHINES_PAGE)
    if profile.region not in regions:
        return found
    facts = next(iter(regions[profile.region].values()))
    if built_in := facts.get("accelerators"):
        name = built_in[0]["guestAcceleratorType"].upper().replace("-", "_")
        number = int(built_in[0]["guestAcceleratorCount"])
        if (accelerator, count) == (name, number):
            return found
        has = f"{count} {accelerator}" if accelerator else "none"
        return fail(
            f"{machine} comes with {number} {name}, but the profile has {has}.",
            f'Set accelerator = "{name}" and accelerator_count = {number}, or choose another: {MACHINES_PAGE}',
        )
    if not accelerator or (machine.startswith(ATTACHED) and accelerator in ATTACHABLE):
        return found
    return fail(
        f"{machine} does not support {accelerator}.", f"Set machine_type to one with this accelerator: {MACHINES_PAGE}"
    )


def check_quota(google: Google, profile: VertexProfile) -> Finding:
    """Whether the project's quota in this region covers the accelerators."""
    page, region, count = f"{QUOTA_PAGE}{profile.project}", profile.region, profile.accelerator_count
    for metric in name_quotas(profile.accelerator or "", spot=profile.spot):
        found = google.ask(
            f"{google_apis.QUOTAS}/v1beta1/projects/{profile.project}/services/aiplatform.googleapis.com/"
            f"consumerQuotaMetrics/aiplatform.googleapis.com%2F{metric}"
        )
        if found is None:
            continue
        # By region; "" is every other region. The answer omits a limit of 0; -1 is no limit.
        limits = {
            bucket.get("dimensions", {}).get("region", ""): int(bucket.get("effectiveLimit", 0))
            for limit in found.get("consumerQuotaLimits", ())
            for bucket in limit.get("quotaBuckets", ())
        }
        limit = limits.get(region, limits.get("", 0))
        if limit == -1 or limit >= count:
            return ok(f"{'unlimited' if limit == -1 else limit} of {metric} in {region}, including those in use")
        return fail(f"{limit} of {metric} in {region}, but the profile needs {count}.", f"Request more: {page}")
    return skip(f"no quota of Vertex AI is known for {profile.accelerator}; see {page}")


def find_regions(google: Google, project: str, kind: str, name: str) -> Regions:
    """Find the regions and zones in which Compute Engine has a resource, with its description.

    Args:
        kind: acceleratorTypes or machineTypes.
        name: Compute Engine's name for it.
    """
    url = f"{google_apis.COMPUTE}/compute/v1/projects/{project}/aggregated/{kind}"
    regions: dict[str, dict[str, Mapping[str, Any]]] = {}
    for page in google.pages(url, {"filter": f"name={name}", "returnPartialSuccess": "true"}):
        for scope, content in (page.get("items") or {}).items():
            zone = scope.removeprefix("zones/")
            for each in content.get(kind, ()):
                if each["name"] == name:
                    regions.setdefault(zone.rpartition("-")[0], {})[zone] = each
    return regions


def judge_region(what: str, regions: Regions, region: str, *, page: str) -> Finding:
    """Whether a resource is in a region; if not, in which others."""
    if region in regions:
        return ok(f"{what} is in {', '.join(sorted(regions[region]))}")
    if regions:
        return fail(f"{what} is not in {region}.", f"Choose another, or one of {', '.join(sorted(regions))}: {page}")
    return fail(f"Compute Engine has {what} in no region.", f"Choose another: {page}")


def name_quotas(accelerator: str, *, spot: bool) -> Iterable[str]:
    """Return possible names of an accelerator's training quota: with the size of its memory, and without."""
    name = accelerator.lower().replace("_tesla", "")
    kind = "preemptible_" if spot else ""
    names = (name, re.sub(r"_[0-9]+gb$", "", name))
    return dict.fromkeys(f"custom_model_training_{kind}{each}_gpus" for each in names)
