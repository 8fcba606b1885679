"""Check what a profile on Kubeflow needs: a host that answers, a sign-in that works, a server that fits."""

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import kfp
from google.auth import jwt
from urllib3.exceptions import HTTPError

from components.mnist.errors import DataError
from components.mnist.storage.https import check_address
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.platforms import shared_checks
from pipelines.platforms.base import SignInError
from pipelines.platforms.kubeflow import network, schedules
from pipelines.platforms.kubeflow.client import Kubeflow
from pipelines.platforms.kubeflow.credentials import IapSignIn, ServiceAccountSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile

HEALTH = "/apis/v2beta1/healthz"
ANSWER_SECONDS = 8.0
MINUTE = "%Y-%m-%d %H:%M UTC"
SOON = timedelta(hours=1)  # a token that ends before a run does
UPGRADE = "Upgrade it: https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/"

# Versions of the server: major and minor.
OLDEST = (2, 3)  # mounts the folders of artifacts for users other than root (pull request 10857)
# The first that does what a key of the profile asks for; earlier ones ignore it.
FIRST = {
    "train_retries": (2, 5),  # issue 9950
    "time_to_live_hours": (2, 17),  # pull request 13184
}


def for_profile(profile: KubeflowProfile) -> list[Check]:
    """List what a run, or a schedule, of this profile needs."""
    own = KubeflowChecks(profile)
    checks = [
        Check("images", lambda: shared_checks.check_images(profile)),
        Check("registry", lambda: shared_checks.check_registry(profile, lambda: None), needs=("images",)),
        Check("host", own.check_host),
        Check("sign-in", own.check_sign_in, needs=("host",), seconds=30),  # Dex takes several pages
        Check("server", lambda: judge_server(own.health, profile), needs=("sign-in",)),
        Check("namespace", own.check_namespace, needs=("sign-in",)),
        Check("experiment", own.check_experiment, needs=("namespace",)),
    ]
    if (root := profile.pipeline_root) is not None:
        checks.append(Check("bucket", lambda: shared_checks.check_bucket(root, steps_are_checked=False)))
    if profile.schedules:
        check_one = functools.partial(schedules.check, profile)
        checks.append(Check("schedules", lambda: shared_checks.check_schedules(profile, check_one)))
    return checks


class KubeflowChecks:
    """The checks of one profile that ask its host."""

    def __init__(self, profile: KubeflowProfile) -> None:
        self._profile = profile

    @functools.cached_property
    def _platform(self) -> Kubeflow:
        return Kubeflow(self._profile)

    @functools.cached_property
    def health(self) -> Mapping[str, Any]:
        """What the server says of itself."""
        return self._platform.connection.read(HEALTH, asked="report its health")

    def check_host(self) -> Finding:
        """Whether the host answers, encrypted where a secret goes there; nobody signs in yet."""
        host = self._profile.host
        pool = network.new_pool(self._profile)
        try:
            answer = pool.request("GET", f"{host}{HEALTH}", redirect=False, timeout=ANSWER_SECONDS)
        except HTTPError as error:
            start = f"{self._profile.title} could not be reached"
            raise network.explain_silence(error, start, creates=False) from None
        if answer.status == HTTPStatus.NOT_FOUND:
            return fail(
                f"{host} answers, but not as Kubeflow Pipelines does ({answer.status} {answer.reason}).",
                "Correct host in the profile: on a whole Kubeflow it ends with /pipeline.",
            )
        if urlsplit(host).scheme == "https":
            return ok(f"{host} answers, and its certificate is trusted")
        if self._profile.sign_in.method != "none" and not is_local(host):
            return warn(
                f"{host} answers, but without encryption: others on the network can read the credentials.",
                "Use its https:// address.",
            )
        return ok(f"{host} answers")

    def check_sign_in(self) -> Finding:
        """Whether the host takes the credentials, and how long they are good for."""
        works = f"works ({self._profile.sign_in.method})"
        headers = self._platform.connection.access.headers()
        end, now = read_end(headers.get("Authorization", "").removeprefix("Bearer ")), datetime.now(UTC)
        if end and end <= now:
            raise SignInError(
                f"the token of sign_in ended at {end:{MINUTE}}. Get a new one to where the profile reads it."
            )
        _ = self.health  # a host that wants a sign-in wants it here too
        if isinstance(self._profile.sign_in, (IapSignIn, ServiceAccountSignIn)):
            return ok(f"{works}; the token is renewed by itself")
        if end and end - now < SOON:
            return warn(
                f"{works}, but the token ends at {end:{MINUTE}}, maybe before a run does.",
                "Get a new one before a long run.",
            )
        return ok(f"{works}; the token ends at {end:{MINUTE}}" if end else works)

    def check_namespace(self) -> Finding:
        """Whether the profile names a namespace exactly where the server has users."""
        has_users = bool(self.health.get("multi_user", self.health.get("apiServerMultiUser")))
        namespace = self._profile.namespace
        if has_users and not namespace:
            return fail(
                "this Kubeflow has a namespace for each user or team, and the profile names none.",
                'Set namespace = "..." in the profile; kubectl get profiles lists them.',
            )
        if namespace and not has_users:
            return fail(
                f"Kubeflow Pipelines is installed alone here and has no namespaces, but the profile names {namespace}.",
                "Remove namespace from the profile.",
            )
        return ok(namespace or "none, as none is needed")

    def check_experiment(self) -> Finding:
        """Whether the experiments of the namespace can be seen, and whether the profile's can take runs."""
        name, found = self._profile.experiment, self._platform.find_experiment()
        return ok(f"{name} exists" if found else f"experiments can be seen; {name} will be made by the first run")


def read_end(token: str) -> datetime | None:
    """Read when a token ends; None when it is no JWT, or one that does not say."""
    try:
        return datetime.fromtimestamp(float(jwt.decode(token, verify=False)["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def judge_server(health: Mapping[str, Any], profile: KubeflowProfile) -> Finding:
    """Judge whether a server works and can run what the client compiles for a profile.

    Args:
        health: As its API answers, or the page before the API, which has other names for the same.
    """
    if health.get("apiServerReady") is False:
        return fail(
            "its page answers, but the API behind it does not.",
            "See why: kubectl logs --namespace kubeflow deployment/ml-pipeline",
        )
    version = str(health.get("tag_name") or health.get("apiServerTagName"))
    client, oldest = f"the client is {kfp.__version__}", f"{OLDEST[0]}.{OLDEST[1]}"
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        return skip(f"the server does not give its version; {client} and needs {oldest} or newer")
    server = int(found[1]), int(found[2])
    if not OLDEST <= server < (3, 0):
        return fail(
            f"Kubeflow Pipelines {version}; {client}, and its pipelines need a server from {oldest} and below 3.",
            UPGRADE,
        )
    ignored = [
        f"{key} (from {first[0]}.{first[1]})"
        for key, first in FIRST.items()
        if server < first and getattr(profile, key)
    ]
    if ignored:
        return warn(f"Kubeflow Pipelines {version} fits ({client}), but ignores {' and '.join(ignored)}.", UPGRADE)
    return ok(f"Kubeflow Pipelines {version} fits ({client})")


def is_local(address: str) -> bool:
    """Whether requests to an address never leave this machine."""
    try:
        check_address(address)
    except DataError:
        return False
    return True
