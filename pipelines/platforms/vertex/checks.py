"""Check the requirements of a Vertex AI profile: credentials, permissions, bucket, and resources of the region."""

import functools
import re
import warnings

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest

from components.mnist.errors import suggest
from pipelines.checks import Check, Finding, NotCheckedError, fail, ok, skip, warn
from pipelines.platforms import shared_checks
from pipelines.platforms.vertex import accelerators, errors, google_apis
from pipelines.platforms.vertex.client import Vertex
from pipelines.platforms.vertex.connection import SCOPES, Connection
from pipelines.platforms.vertex.google_apis import ANSWER_SECONDS, Google
from pipelines.platforms.vertex.profile import VertexProfile

LOCATIONS_PAGE = "https://cloud.google.com/vertex-ai/docs/general/locations"
RUNS = tuple(f"aiplatform.pipelineJobs.{verb}" for verb in ("create", "get", "list", "cancel"))
SCHEDULES = tuple(f"aiplatform.schedules.{verb}" for verb in ("create", "get", "list", "update", "delete"))
ACT_AS = "iam.serviceAccounts.actAs"
CONTINENTS = {"us": "us", "eu": "europe", "asia": "asia"}  # a bucket's multi-region, and the prefix of its regions


def for_profile(profile: VertexProfile) -> list[Check]:
    """List the checks for the runs and schedules of this profile."""
    vertex, root, account = VertexChecks(profile), profile.pipeline_root, profile.service_account
    signed_in = ("credentials",)
    checks = [
        Check("images", lambda: shared_checks.check_images(profile)),
        Check("credentials", vertex.check_credentials),
        Check("registry", lambda: shared_checks.check_registry(profile, vertex.find_token), ("images",)),
        Check("region", vertex.check_region, signed_in),
        Check("Vertex AI", vertex.check_service, ("credentials", "region")),
        Check("permissions", vertex.check_permissions, signed_in),
        Check("bucket", lambda: shared_checks.check_bucket(root, steps_are_checked=account is not None), signed_in),
        Check("bucket's region", vertex.check_location, ("bucket",)),
        Check("service account", vertex.check_account, signed_in),
    ]
    if account:
        checks.append(Check("steps and bucket", vertex.check_steps, ("bucket", "service account")))
    if profile.trains_in_custom_job:
        checks.append(Check("machine type", lambda: accelerators.check_machine(vertex.google, profile), signed_in))
    if profile.accelerator:
        checks.append(Check("accelerator", lambda: accelerators.check_accelerator(vertex.google, profile), signed_in))
        checks.append(Check("quota", lambda: accelerators.check_quota(vertex.google, profile), signed_in))
    if profile.encryption_key:
        checks.append(Check("encryption key", vertex.check_key))
    if profile.schedules:
        checks.append(
            Check(
                "schedules", lambda: shared_checks.check_schedules(profile, Vertex(profile).check_schedule), signed_in
            )
        )
    return checks


class VertexChecks:
    """The checks of one profile; those after `check_credentials` use its credentials."""

    def __init__(self, profile: VertexProfile) -> None:
        self._profile = profile
        self._bucket = shared_checks.find_bucket(profile.pipeline_root)
        self._bucket_url = f"{google_apis.STORAGE}/storage/v1/b/{self._bucket.removeprefix('gs://')}"
        self._credentials: Credentials | None = None

    @functools.cached_property
    def google(self) -> Google:
        """Client of Google's APIs, with the credentials that were found."""
        assert self._credentials is not None  # every check that uses them needs the one that finds them
        return Google(self._credentials, project=self._profile.project)

    def find_token(self) -> str | None:
        """Return the access token, for Google's registries."""
        return self._credentials.token if self._credentials else None

    def check_credentials(self) -> Finding:
        """Whether Google accepts the credentials, and whose they are, if known."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a user's credentials without a quota project
                credentials, _ = google.auth.default(scopes=SCOPES)
            if not credentials.valid:
                credentials.refresh(functools.partial(Request(), timeout=ANSWER_SECONDS))
        except GoogleAuthError as error:
            raise errors.explain_sign_in(error, self._profile, asked="list its runs") from None
        self._credentials = credentials
        account = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
        return ok(f"Google accepts those of {account or 'a user'}")

    def check_region(self) -> Finding:
        """Whether the region has Vertex AI."""
        region = self._profile.region
        url = f"{google_apis.AIPLATFORM}/v1/projects/{self._profile.project}/locations"
        pages = self.google.pages(url, {"pageSize": "200"})
        known = sorted(each["locationId"] for page in pages for each in page.get("locations", ()))
        if not known:
            return skip(f"Vertex AI lists no regions for {self._profile.project}; see {LOCATIONS_PAGE}")
        if region in known:
            return ok(f"{region} has Vertex AI")
        hint = suggest(region, known, otherwise="choose another.")
        return fail(f"Vertex AI is not in {region};", f"{hint} See {LOCATIONS_PAGE}")

    def check_service(self) -> Finding:
        """Whether the API answers in the region and lists the project's runs."""
        connection = Connection(self._profile)
        request = ListPipelineJobsRequest(parent=self._profile.parent, page_size=1)
        connection.send(connection.pipelines.list_pipeline_jobs, request, asked="list its runs")
        return ok(f"answers in {self._profile.region} and lists the runs of {self._profile.project}")

    def check_permissions(self) -> Finding:
        """Whether the user may start, follow and cancel runs, and manage schedules if the profile has any."""
        project, has_schedules = self._profile.project, bool(self._profile.schedules)
        url = f"{google_apis.PROJECTS}/v1/projects/{project}:testIamPermissions"
        missing = self.google.find_missing(url, (*RUNS, *SCHEDULES) if has_schedules else RUNS)
        if missing is None:
            return fail(f"there is no project {project}, or you may not see it.", "See their ids: gcloud projects list")
        if missing:
            grant = errors.GRANT.format(project=project, role="roles/aiplatform.user")
            return fail(f"you lack {', '.join(missing)} on {project}.", f"Ask its owner to run: {grant}")
        return ok(f"you may start, follow and cancel runs{', and manage schedules' if has_schedules else ''}")

    def check_location(self) -> Finding:
        """Whether the bucket is in the region of the machines."""
        bucket, region = self._bucket, self._profile.region
        facts = self.google.ask(self._bucket_url, {"fields": "location,locationType,customPlacementConfig"}) or {}
        location = str(facts.get("location", "")).lower()
        if not location:
            return skip(f"the location of {bucket} is unknown; to see it: gcloud storage buckets describe {bucket}")
        parts = [part.lower() for part in (facts.get("customPlacementConfig") or {}).get("dataLocations", ())]
        if region in (location, *parts) or region.partition("-")[0] == CONTINENTS.get(location):
            return ok(f"{bucket} is in {location}")
        return warn(
            f"{bucket} is in {location}, the runs in {region}: transfers between them are slower and cost money.",
            f"Create one there: gcloud storage buckets create gs://NAME --location {region}",
        )

    def check_account(self) -> Finding:
        """Whether the steps' account exists and may be used."""
        account, project = self._profile.service_account, self._profile.project
        if not account:
            return ok(
                "none is set: the steps run as the project's Compute Engine account, which usually has more "
                "permissions than they need"
            )
        missing = self.google.find_missing(
            f"{google_apis.IAM}/v1/projects/-/serviceAccounts/{account}:testIamPermissions", (ACT_AS,)
        )
        if missing is None:
            return fail(
                f"there is no {account}.",
                f"Create it: gcloud iam service-accounts create {account.partition('@')[0]} --project {project}",
            )
        if missing:
            return fail(
                f"you may not start runs that act as {account}.",
                f"Ask its owner to run: gcloud iam service-accounts add-iam-policy-binding {account} --project "
                f"{project} --role roles/iam.serviceAccountUser --member user:EMAIL",
            )
        return ok(f"runs may act as {account}")

    def check_steps(self) -> Finding:
        """Whether the steps' account may read and write at the pipeline root. Only the account itself can query it."""
        account = self._profile.service_account or ""
        permissions = (*shared_checks.READ, *shared_checks.WRITE)
        url = f"{self._bucket_url}/iam/testPermissions"
        try:
            granted = self.google.act_as(account).ask(url, {"permissions": permissions}) or {}
        except NotCheckedError:
            return skip(
                f"only {account} itself can check this, and you may not impersonate it (role Service Account Token "
                f"Creator); to see its roles: gcloud storage buckets get-iam-policy {self._bucket}"
            )
        if missing := [each for each in permissions if each not in granted.get("permissions", ())]:
            remedy = shared_checks.mend_bucket(self._bucket, "objectUser", f"serviceAccount:{account}")
            return fail(f"{account} lacks {', '.join(missing)} on {self._bucket}.", remedy)
        return ok(f"{account} can read and write to {self._bucket}")

    def check_key(self) -> Finding:
        """Whether the encryption key has its full name and is in this region."""
        key, region = self._profile.encryption_key or "", self._profile.region
        if re.fullmatch(f"projects/[^/]+/locations/{region}/keyRings/[^/]+/cryptoKeys/[^/]+", key):
            return ok(f"its full name, in {region}")
        return fail(
            f"{key} is not the full name of a key in {region}.",
            f"Expected projects/PROJECT/locations/{region}/keyRings/RING/cryptoKeys/KEY; to list them: gcloud kms keys "
            f"list --keyring RING --location {region}",
        )
