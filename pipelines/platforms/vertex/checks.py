"""Look at what a profile on Vertex AI needs: who signs in, what they may do, and whether the region has all of it."""

import difflib
import functools
import re
import warnings

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest

from pipelines.checks import Check, Finding, NotCheckedError, fail, ok, skip, warn
from pipelines.platforms import shared_checks
from pipelines.platforms.vertex import accelerators, errors, google_apis
from pipelines.platforms.vertex.client import Vertex as VertexClient
from pipelines.platforms.vertex.connection import Connection
from pipelines.platforms.vertex.google_apis import ANSWER_SECONDS, CLOUD, Google
from pipelines.platforms.vertex.profile import VertexProfile

LOCATIONS_PAGE = "https://cloud.google.com/vertex-ai/docs/general/locations"
RUNS = tuple(f"aiplatform.pipelineJobs.{verb}" for verb in ("create", "get", "list", "cancel"))
SCHEDULES = tuple(f"aiplatform.schedules.{verb}" for verb in ("create", "get", "list", "update", "delete"))
ACT_AS = "iam.serviceAccounts.actAs"
KEY = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
CONTINENTS = {"us": "us", "eu": "europe", "asia": "asia"}  # a bucket's multi-region, and how its regions begin


def for_profile(profile: VertexProfile) -> list[Check]:
    """What a run, or a schedule, of this profile needs."""
    looks = Vertex(profile)
    signed_in = ("credentials",)
    checks = [
        Check("images", lambda: shared_checks.check_images(profile)),
        Check("credentials", looks.check_credentials),
        Check("registry", lambda: shared_checks.check_registry(profile, looks.find_token), needs=("images",)),
        Check("region", looks.check_region, needs=signed_in),
        Check("Vertex AI", looks.check_service, needs=("credentials", "region")),
        Check("permissions", looks.check_permissions, needs=signed_in),
        Check("bucket", looks.check_bucket, needs=signed_in),
        Check("bucket's region", looks.check_location, needs=("bucket",)),
        Check("service account", looks.check_account, needs=signed_in),
    ]
    if profile.service_account:
        checks.append(Check("steps and bucket", looks.check_steps, needs=("bucket", "service account")))
    if profile.accelerator:
        checks.append(Check("accelerator", looks.check_accelerator, needs=signed_in))
    if profile.machine_type or profile.spot:
        checks.append(Check("machine type", looks.check_machine, needs=signed_in))
    if profile.accelerator:
        checks.append(Check("quota", looks.check_quota, needs=signed_in))
    if profile.encryption_key:
        checks.append(Check("encryption key", looks.check_key))
    if profile.schedules:
        checks.append(Check("schedules", looks.check_schedules, needs=signed_in))
    return checks


class Vertex:
    """The checks of one profile; those after `check_credentials` use what it found."""

    def __init__(self, profile: VertexProfile) -> None:
        self._profile = profile
        self._credentials: Credentials | None = None

    @functools.cached_property
    def _google(self) -> Google:
        assert self._credentials is not None  # every check that asks needs the one that finds them
        return Google(self._credentials, project=self._profile.project)

    def find_token(self) -> str | None:
        """The access token, for Google's own registries."""
        return self._credentials.token if self._credentials else None

    def check_credentials(self) -> Finding:
        """Whether Google knows who is asking, and who that is."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a person's credentials name no project that pays
                credentials, _ = google.auth.default(scopes=CLOUD)
            if not credentials.valid:
                credentials.refresh(functools.partial(Request(), timeout=ANSWER_SECONDS))
        except GoogleAuthError as error:
            raise errors.explain_sign_in(error, self._profile, asked="list its runs") from None
        self._credentials = credentials
        return ok(f"{describe(credentials)}, accepted by Google")

    def check_region(self) -> Finding:
        """Whether Vertex AI is in the region, and the project is there."""
        region = self._profile.region
        url = f"{google_apis.AIPLATFORM}/v1/projects/{self._profile.project}/locations"
        pages = list(self._google.pages(url, {"pageSize": "200"}))
        known = sorted(each["locationId"] for page in pages for each in page.get("locations", ()))
        if not known:
            return skip(f"Vertex AI lists no regions to {self._profile.project}; see {LOCATIONS_PAGE}")
        if region in known:
            return ok(f"{region} has Vertex AI")
        nearest = difflib.get_close_matches(region, known, 1)
        hint = f"Did you mean {nearest[0]}?" if nearest else "Choose another"
        return fail(f"Vertex AI is not in {region}.", f"{hint} {LOCATIONS_PAGE}")

    def check_service(self) -> Finding:
        """Whether the API answers in the region and shows the project's runs."""
        connection = Connection(self._profile)
        request = ListPipelineJobsRequest(parent=connection.parent, page_size=1)
        connection.send(connection.pipelines.list_pipeline_jobs, request, asked="list its runs")
        return ok(f"answers in {self._profile.region} and shows the runs of {self._profile.project}")

    def check_permissions(self) -> Finding:
        """Whether who signed in may start, follow and cancel runs, and keep schedules where there are some."""
        project = self._profile.project
        wanted = (*RUNS, *SCHEDULES) if self._profile.schedules else RUNS
        missing = self._google.find_missing(f"{google_apis.PROJECTS}/v1/projects/{project}:testIamPermissions", wanted)
        if missing is None:
            return fail(f"there is no project {project}, or you may not see it.", "See their ids: gcloud projects list")
        if missing:
            return fail(
                f"the credentials at hand lack {', '.join(missing)} on {project}.",
                f"Its owner gives them: gcloud projects add-iam-policy-binding {project} --role roles/aiplatform.user "
                "--member user:EMAIL",
            )
        return ok("runs can be started, followed and cancelled" + (", schedules kept" if wanted != RUNS else ""))

    def check_bucket(self) -> Finding:
        """Whether the bucket of the pipeline root is there and may be read."""
        return shared_checks.check_bucket(
            self._profile.pipeline_root, told_elsewhere=self._profile.service_account is not None
        )

    def check_location(self) -> Finding:
        """Whether the bucket lies where the machines are."""
        bucket = shared_checks.find_bucket(self._profile.pipeline_root)
        url = f"{google_apis.STORAGE}/storage/v1/b/{bucket.removeprefix('gs://')}"
        facts = self._google.get(url, {"fields": "location,locationType,customPlacementConfig"}) or {}
        return judge_location(bucket, facts, self._profile.region)

    def check_account(self) -> Finding:
        """Whether the steps' account exists and may be used."""
        account = self._profile.service_account
        if not account:
            return ok("none is named: the steps run as the project's Compute Engine account, which mostly may do more")
        missing = self._google.find_missing(
            f"{google_apis.IAM}/v1/projects/-/serviceAccounts/{account}:testIamPermissions", (ACT_AS,)
        )
        if missing is None:
            return fail(
                f"there is no {account}.",
                f"Make it: gcloud iam service-accounts create {account.partition('@')[0]} --project "
                f"{self._profile.project}",
            )
        if missing:
            return fail(
                f"the credentials at hand may not start runs that act as {account}.",
                f"Its owner lets them: gcloud iam service-accounts add-iam-policy-binding {account} --project "
                f"{self._profile.project} --role roles/iam.serviceAccountUser --member user:EMAIL",
            )
        return ok(f"runs may act as {account}")

    def check_steps(self) -> Finding:
        """Whether the steps' account may read and write at the pipeline root: only it can ask, where one may be it."""
        account, bucket = self._profile.service_account or "", shared_checks.find_bucket(self._profile.pipeline_root)
        wanted = (*shared_checks.READ, *shared_checks.WRITE)
        url = f"{google_apis.STORAGE}/storage/v1/b/{bucket.removeprefix('gs://')}/iam/testPermissions"
        try:
            granted = (self._google.act_as(account).get(url, {"permissions": wanted}) or {}).get("permissions", ())
        except NotCheckedError:
            return skip(
                f"only {account} itself can ask, and you may not act as it here (role Service Account Token Creator); "
                f"look: gcloud storage buckets get-iam-policy {bucket}"
            )
        if missing := [each for each in wanted if each not in granted]:
            mend = shared_checks.mend_bucket(bucket, "objectUser", f"serviceAccount:{account}")
            return fail(f"{account} lacks {', '.join(missing)} on {bucket}.", mend)
        return ok(f"{account} can read and write to {bucket}")

    def check_accelerator(self) -> Finding:
        """Whether the region has the accelerator."""
        return accelerators.check_accelerator(self._google, self._profile)

    def check_machine(self) -> Finding:
        """Whether the region has the machine type, and it takes the accelerator."""
        return accelerators.check_machine(self._google, self._profile)

    def check_quota(self) -> Finding:
        """Whether the project may use as many accelerators."""
        return accelerators.check_quota(self._google, self._profile)

    def check_key(self) -> Finding:
        """Whether the encryption key is named whole, and of this region."""
        return judge_key(self._profile.encryption_key or "", self._profile.region)

    def check_schedules(self) -> Finding:
        """Whether Vertex AI can do the profile's schedules."""
        return shared_checks.check_schedules(self._profile, VertexClient(self._profile).check_schedule)


def describe(credentials: Credentials) -> str:
    """Whose credentials these are, as far as they tell."""
    email = getattr(credentials, "service_account_email", None)
    if email and "@" in email:
        return f"the service account {email}"
    account = getattr(credentials, "account", None)
    if account:
        return str(account)
    return "a person's" if type(credentials).__module__.startswith("google.oauth2.credentials") else "credentials"


def judge_location(bucket: str, facts: dict[str, object], region: str) -> Finding:
    """Whether a bucket lies where the machines are.

    Args:
        facts: location, locationType and customPlacementConfig, as Cloud Storage tells them.
    """
    location = str(facts.get("location", "")).lower()
    if not location:
        return skip(f"where {bucket} lies is not told; look: gcloud storage buckets describe {bucket}")
    placement = facts.get("customPlacementConfig")
    parts = [part.lower() for part in placement.get("dataLocations", ())] if isinstance(placement, dict) else []
    continent = CONTINENTS.get(location)
    if location == region or region in parts or (continent and region.startswith(f"{continent}-")):
        return ok(f"{bucket} is in {location}")
    return warn(
        f"{bucket} is in {location}, the runs in {region}: slower, and transfers between them are paid for.",
        f"Make one there: gcloud storage buckets create gs://NAME --location {region}",
    )


def judge_key(key: str, region: str) -> Finding:
    """Whether an encryption key is named whole, and of a region."""
    if not (match := KEY.fullmatch(key)):
        return fail(
            f"{key} is not the whole name of a key.",
            "Expected projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY; they are listed by: gcloud kms "
            f"keys list --keyring RING --location {region}",
        )
    if match[1] != region:
        return fail(f"the key is in {match[1]}, the runs in {region}.", f"Name one that is in {region}.")
    return ok(f"named whole, and in {region}")
