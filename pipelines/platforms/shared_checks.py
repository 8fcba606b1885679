"""Checks for every platform: that images were pushed, that schedules can be made, that a bucket can be used."""

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
    token = google_token()  # only now: an earlier check finds it
    if missing := [each for each in references if not registry.has_image(each, google_token=token)]:
        names = " and no ".join(each.partition("@")[0] for each in missing)
        return fail(f"the registry has no {names} of this code any more.", "Push again: make push REGISTRY=host/path")
    return ok(f"{' and '.join(sorted(set(map(registry.find_host, references))))} has all of them")


def check_schedules(profile: Profile, check_one: Callable[[Schedule], None]) -> Finding:
    """Whether the platform can do what the schedules say, and the pipeline takes their parameters.

    Args:
        check_one: Raises SettingError where the platform can't do a schedule.
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
        raise SettingError(problems[0] + (f" {len(problems)} schedules have trouble." if problems[1:] else ""))
    zones = sorted({schedule.time_zone for schedule in profile.schedules})
    return ok(f"{', '.join(schedule.name for schedule in profile.schedules)}, in {' and '.join(zones)}")


def check_bucket(address: str, *, steps_are_checked: bool) -> Finding:
    """Whether the user may read a pipeline root, from which the report is fetched, and write to it.

    Args:
        steps_are_checked: Whether another check looks at what the steps' own account may do; only that one must write.
    """
    bucket = find_bucket(address)
    try:
        missing = set(gs.find_missing_permissions(address, (*READ, *WRITE)))
    except UnreachableError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return fail(f"there is no {bucket}.", f"Make it: gcloud storage buckets create {bucket} --location REGION")
        raise
    if missing & set(READ):
        return fail(f"you may not read {bucket}.", mend_bucket(bucket, "objectViewer", "user:EMAIL"))
    if not missing or steps_are_checked:
        return ok(f"you can read {bucket}{'' if missing else ' and write to it'}")
    return warn(
        f"you can read {bucket}, but not write to it; whether the steps' own account can is not known.",
        f"Look: gcloud storage buckets get-iam-policy {bucket}",
    )


def find_bucket(address: str) -> str:
    """The bucket of a gs:// address."""
    return "/".join(address.split("/", 3)[:3])


def mend_bucket(bucket: str, role: str, member: str) -> str:
    """The command by which its owner lets somebody use a bucket."""
    return (
        f"Its owner lets them: gcloud storage buckets add-iam-policy-binding {bucket} --role roles/storage.{role} "
        f"--member {member}"
    )
