"""Checks for every platform: pushed images, schedules and buckets."""

from collections.abc import Callable
from http import HTTPStatus

from components import TRAINER_IMAGE
from components.mnist.errors import SettingError, UnreachableError
from components.mnist.storage import gs
from pipelines import compilation, container_images, parameters, training
from pipelines.checks import Finding, fail, ok, warn
from pipelines.platforms import registry
from pipelines.profiles import Profile, Schedule

READ = ("storage.objects.get", "storage.objects.list")
WRITE = ("storage.objects.create", "storage.objects.delete")


def check_images(profile: Profile) -> Finding:
    """Whether the images of this code were pushed, with CUDA if the profile trains on a GPU."""
    trainer = compilation.find_images(profile)[TRAINER_IMAGE]
    lock, tag = container_images.LOCK_FILE, container_images.tag()
    return ok(f"{lock} has the images of this code ({tag}); trains in {trainer.partition('@')[0]}")


def check_registry(profile: Profile, google_token: Callable[[], str | None]) -> Finding:
    """Whether the registry still has the images.

    Raises:
        NotCheckedError: The registry does not answer, or rejects the credentials.
    """
    references = sorted(set(compilation.find_images(profile).values()))
    token = google_token()  # late: an earlier check finds it
    if missing := [each for each in references if not registry.has_image(each, google_token=token)]:
        names = " and ".join(each.partition("@")[0] for each in missing)
        return fail(f"the registry no longer has {names} of this code.", "Push again: make push REGISTRY=host/path")
    return ok(f"{' and '.join(sorted(set(map(registry.find_host, references))))} has all of them")


def check_schedules(profile: Profile, check_one: Callable[[Schedule], None]) -> Finding:
    """Whether the platform supports the schedules, and the pipeline their parameters.

    Args:
        check_one: Raises SettingError for a schedule that the platform does not support.
    """
    defaults = parameters.read_defaults(training.build(training.Placement()))
    problems = []
    for schedule in profile.schedules:
        try:
            check_one(schedule)
            compilation.check_parameters(profile, schedule.parameters, defaults)
        except SettingError as error:
            problems.append(f"{schedule.name}: {error}")
    if problems:
        raise SettingError(problems[0] + (f" {len(problems)} schedules have errors." if problems[1:] else ""))
    zones = sorted({schedule.time_zone for schedule in profile.schedules})
    return ok(f"{', '.join(schedule.name for schedule in profile.schedules)}, in {' and '.join(zones)}")


def check_bucket(address: str, *, steps_are_checked: bool) -> Finding:
    """Whether the user may read a pipeline root, as fetching the report requires, and write to it.

    Args:
        steps_are_checked: Whether another check covers the steps' own account, which alone must write.
    """
    bucket = find_bucket(address)
    try:
        missing = set(gs.find_missing_permissions(address, (*READ, *WRITE)))
    except UnreachableError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return fail(
                f"there is no {bucket}.", f"Create it: gcloud storage buckets create {bucket} --location REGION"
            )
        raise
    if missing & set(READ):
        return fail(f"you may not read {bucket}.", mend_bucket(bucket, "objectViewer", "user:EMAIL"))
    if not missing or steps_are_checked:
        return ok(f"you can read {bucket}{'' if missing else ' and write to it'}")
    return warn(
        f"you can read {bucket}, but not write to it; whether the steps' own account can is unknown.",
        f"Check: gcloud storage buckets get-iam-policy {bucket}",
    )


def find_bucket(address: str) -> str:
    """Return the bucket of a gs:// address."""
    return "/".join(address.split("/", 3)[:3])


def mend_bucket(bucket: str, role: str, member: str) -> str:
    """Return the command with which a bucket's owner grants a role on it."""
    return (
        f"Ask its owner to run: gcloud storage buckets add-iam-policy-binding {bucket} --role roles/storage.{role} "
        f"--member {member}"
    )
