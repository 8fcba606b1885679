"""Look at what every platform needs of this side: images that were pushed, schedules that can be, a bucket."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from components import TRAINER_IMAGE
from components.mnist.errors import SettingError, UnreachableError
from components.mnist.settings import Value
from components.mnist.storage import gs
from pipelines import compilation, container_images, parameters, training
from pipelines.checks import Finding, fail, ok, warn
from pipelines.platforms import registry
from pipelines.profiles import Profile, Schedule

READ = ("storage.objects.get", "storage.objects.list")
WRITE = ("storage.objects.create", "storage.objects.delete")
PUSH = "make push REGISTRY=host/path"


def check_images(profile: Profile) -> Finding:
    """Whether the images of this code were pushed, with CUDA where the profile trains on a GPU."""
    trainer = compilation.find_images(profile)[TRAINER_IMAGE]
    lock, tag = container_images.LOCK_FILE, container_images.tag()
    return ok(f"{lock} has those of this code ({tag}); trains in {trainer.partition('@')[0]}")


def check_registry(profile: Profile, google_token: Callable[[], str | None]) -> Finding:
    """Whether the registry still has the images.

    Raises:
        NotCheckedError: The registry does not say.
    """
    references = sorted(set(compilation.find_images(profile).values()))
    token = google_token()
    missing = [
        reference.partition("@")[0] for reference in references if not registry.has_image(reference, google_token=token)
    ]
    if missing:
        return fail(f"the registry has no {' and no '.join(missing)} of this code any more.", f"Push again: {PUSH}")
    return ok(f"{' and '.join(sorted({registry.find_host(reference) for reference in references}))} has all of them")


def check_schedules(profile: Profile, check_one: Callable[[Schedule], None]) -> Finding:
    """Whether the platform can do what the schedules say, and the pipeline takes their parameters.

    Args:
        check_one: Raises SettingError where the platform can't do a schedule.
    """
    defaults = parameters.read_defaults(training.build(training.Placement()))
    troubles = [
        f"{schedule.name}: {trouble}"
        for schedule in profile.schedules
        if (trouble := _find_trouble(profile, schedule, defaults, check_one))
    ]
    if troubles:
        raise SettingError(troubles[0] + (f" {len(troubles)} schedules have trouble." if troubles[1:] else ""))
    zones = sorted({schedule.time_zone for schedule in profile.schedules})
    return ok(f"{', '.join(schedule.name for schedule in profile.schedules)}, in {' and '.join(zones)}")


def _find_trouble(
    profile: Profile, schedule: Schedule, defaults: Mapping[str, Value], check_one: Callable[[Schedule], None]
) -> str:
    try:
        check_one(schedule)
        compilation.check_parameters(profile, schedule.parameters, defaults)
    except SettingError as error:
        return str(error)
    return ""


def check_bucket(address: str, *, told_elsewhere: bool) -> Finding:
    """Whether who signed in here may read a pipeline root, which brings the report back, and write to it.

    Args:
        told_elsewhere: Whether another check looks at what the steps' own account may do; only that one must write.
    """
    bucket = find_bucket(address)
    try:
        missing = gs.find_missing_permissions(address, (*READ, *WRITE))
    except UnreachableError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return fail(f"{bucket} is not there.", f"Make it: gcloud storage buckets create {bucket} --location REGION")
        raise
    if set(missing) & set(READ):
        return fail(
            f"the credentials at hand may not read {bucket}.", mend_bucket(bucket, "objectViewer", "user:EMAIL")
        )
    if not missing:
        return ok(f"{bucket} can be read and written to with the credentials at hand")
    if told_elsewhere:
        return ok(f"{bucket} can be read with the credentials at hand, which bring the report here")
    return warn(
        f"{bucket} can be read with the credentials at hand, but not written to; whether the steps' own account can, "
        "is not told.",
        f"Look: gcloud storage buckets get-iam-policy {bucket}",
    )


def find_bucket(address: str) -> str:
    """The bucket of a gs:// address."""
    return "/".join(address.split("/", 3)[:3])


def mend_bucket(bucket: str, role: str, member: str) -> str:
    """How its owner lets somebody use a bucket."""
    return (
        f"Its owner lets them: gcloud storage buckets add-iam-policy-binding {bucket} --role roles/storage.{role} "
        f"--member {member}"
    )
