"""Check the requirements of a Kubeflow profile: host, sign-in, server version, namespace and experiment."""

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
SOON = timedelta(hours=1)  # a token may expire before a run ends
UPGRADE = "Upgrade it: https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/"

# Versions of the server: major and minor.
OLDEST = (2, 3)  # mounts the folders of artifacts for users other than root (pull request 10857)
# The first version that supports a key of the profile; earlier ones ignore it.
FIRST = {
    "train_retries": (2, 5),  # issue 9950
    "time_to_live_hours": (2, 17),  # pull request 13184
}


def for_profile(profile: KubeflowProfile) -> list[Check]:
    """List the checks for the runs and schedules of this profile."""
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
    """The checks of one profile that send requests to its host."""

    def __init__(self, profile: KubeflowProfile) -> None:
        self._profile = profile

    @functools.cached_property
    def _platform(self) -> Kubeflow:
        return Kubeflow(self._profile)

    @functools.cached_property
    def health(self) -> Mapping[str, Any]:
        """Answer of the server's health check."""
        return self._platform.connection.read(HEALTH, asked="report its health")

    def check_host(self) -> Finding:
        """Whether the host answers, with encryption if credentials are sent; signs in later."""
        host = self._profile.host
        pool = network.new_pool(self._profile)
        try:
            answer = pool.request("GET", f"{host}{HEALTH}", redirect=False, timeout=ANSWER_SECONDS)
        except HTTPError as error:
            start = f"{self._profile.title} could not be reached"
            raise network.explain_silence(error, start, creates=False) from None
        if answer.status == HTTPStatus.NOT_FOUND:
            return fail(
                f"{host} answers, but is not Kubeflow Pipelines ({answer.status} {answer.reason}).",
                "Correct host in the profile: on a full Kubeflow it ends with /pipeline.",
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
        """Whether the host accepts the credentials, and until when they are valid."""
        works = f"works ({self._profile.sign_in.method})"
        headers = self._platform.connection.access.headers()
        end, now = read_end(headers.get("Authorization", "").removeprefix("Bearer ")), datetime.now(UTC)
        if end and end <= now:
            raise SignInError(
                f"the token of sign_in expired at {end:{MINUTE}}. Put a new one where the profile reads it."
            )
        _ = self.health  # a host that requires a sign-in requires it here too
        if isinstance(self._profile.sign_in, (IapSignIn, ServiceAccountSignIn)):
            return ok(f"{works}; the token is renewed automatically")
        if end and end - now < SOON:
            return warn(
                f"{works}, but the token expires at {end:{MINUTE}}, maybe before a run ends.",
                "Get a new one before a long run.",
            )
        return ok(f"{works}; the token expires at {end:{MINUTE}}" if end else works)

    def check_namespace(self) -> Finding:
        """Whether the profile names a namespace if, and only if, the server has users."""
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
        return ok(namespace or "none, and none is needed")

    def check_experiment(self) -> Finding:
        """Whether the namespace's experiments can be listed, and whether the profile's experiment accepts runs."""
        name, found = self._profile.experiment, self._platform.find_experiment()
        return ok(f"{name} exists" if found else f"experiments can be listed; the first run will create {name}")


def read_end(token: str) -> datetime | None:
    """Read the expiry of a token; None if it is not a JWT or has no expiry."""
    try:
        return datetime.fromtimestamp(float(jwt.decode(token, verify=False)["exp"]), UTC)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def judge_server(health: Mapping[str, Any], profile: KubeflowProfile) -> Finding:
    """Check whether a server works and supports the client's pipelines for a profile.

    Args:
        health: The answer of the API, or of the web server before it, which uses other names.
    """
    if health.get("apiServerReady") is False:
        return fail(
            "its web page answers, but its API does not.",
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
            f"Kubeflow Pipelines {version}; {client}, and its pipelines need a server from {oldest} to below 3.",
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
    """Whether requests to an address stay encrypted or on this machine."""
    try:
        check_address(address)
    except DataError:
        return False
    return True
