"""Check what a profile on Kubeflow needs: a host that answers, a sign-in that works, a server that fits."""

import functools
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import kfp
from google.auth import jwt
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from components.mnist.errors import DataError
from components.mnist.storage.https import check_address
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.platforms import shared_checks
from pipelines.platforms.base import SignInError
from pipelines.platforms.kubeflow import network, schedules, sign_in
from pipelines.platforms.kubeflow.client import ARCHIVED
from pipelines.platforms.kubeflow.connection import Connection
from pipelines.platforms.kubeflow.credentials import IapSignIn, NoSignIn, ServiceAccountSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile

HEALTH = "/apis/v2beta1/healthz"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 8.0
SOON_SECONDS = 3600  # a token that ends before a run does
UPGRADE = "Upgrade it: https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/"

Version = tuple[int, int]  # major and minor
# The server that first does what the compiled pipeline asks for.
RUNS_AS_ANYONE: Version = (2, 3)  # mounts the folders of artifacts for users other than root (pull request 10857)
RETRIES: Version = (2, 5)  # retries a step (issue 9950)
TIME_TO_LIVE: Version = (2, 17)  # removes a finished run's workflow (pull request 13184)


def for_profile(profile: KubeflowProfile) -> list[Check]:
    """List what a run, or a schedule, of this profile needs."""
    own = KubeflowChecks(profile)
    checks = [
        Check("images", lambda: shared_checks.check_images(profile)),
        Check("registry", lambda: shared_checks.check_registry(profile, lambda: None), needs=("images",)),
        Check("host", own.check_host),
        Check("sign-in", own.check_sign_in, needs=("host",), seconds=30),  # Dex takes several pages
        Check("server", own.check_server, needs=("sign-in",)),
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
    def _connection(self) -> Connection:
        return Connection(self._profile)

    @functools.cached_property
    def _health(self) -> dict[str, Any]:
        found = self._connection.read(HEALTH, asked="say how it is")
        return found if isinstance(found, dict) else {}

    def check_host(self) -> Finding:
        """Whether the host answers, encrypted where a secret goes there; nobody signs in yet."""
        host = self._profile.host
        pool = network.new_pool(self._profile)
        try:
            answer = pool.request(
                "GET", f"{host}{HEALTH}", redirect=False, timeout=Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
            )
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
        if not isinstance(self._profile.sign_in, NoSignIn) and not is_local(host):
            return warn(
                f"{host} answers, but without encryption: others on the network can read the credentials.",
                "Use its https:// address.",
            )
        asks = ", and asks for a sign-in" if answer.status in (301, 302, 303, 307, 401, 403) else ""
        return ok(f"{host} answers{asks}")

    def check_sign_in(self) -> Finding:
        """Whether the host takes the credentials, and how long they are good for."""
        method = self._profile.sign_in.method
        headers = sign_in.prepare(self._profile).headers()
        ends = read_end(headers.get("Authorization", "").removeprefix("Bearer "))
        if ends is not None and ends <= time.time():
            raise SignInError(
                f"the token of sign_in ended at {_spell(ends)}. Get a new one to where the profile reads it."
            )
        _ = self._health  # a host that wants a sign-in wants it here too
        if isinstance(self._profile.sign_in, (IapSignIn, ServiceAccountSignIn)):
            return ok(f"works ({method}); the token is renewed by itself")
        if ends is None:
            return ok(f"works ({method})")
        if ends - time.time() < SOON_SECONDS:
            return warn(
                f"works ({method}), but the token ends at {_spell(ends)}, maybe before a run does.",
                "Get a new one before a long run.",
            )
        return ok(f"works ({method}); the token ends at {_spell(ends)}")

    def check_server(self) -> Finding:
        """Whether the server's version can run what this client compiles."""
        return judge_server(self._health, self._profile)

    def check_namespace(self) -> Finding:
        """Whether the profile names a namespace exactly where the server has users."""
        has_users = bool(self._health.get("multi_user", self._health.get("apiServerMultiUser")))
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
        return ok(
            f"{namespace}, as this Kubeflow has one for each user or team" if namespace else "none, as none is needed"
        )

    def check_experiment(self) -> Finding:
        """Whether the experiments of the namespace can be seen, and whether the profile's can take runs."""
        name, namespace = self._profile.experiment, self._profile.namespace
        found = self._connection.read_all(
            self._connection.experiments.experiment_service_list_experiments,
            "experiments",
            asked=f"list the experiments{f' of {namespace}' if namespace else ''}",
            name=name,
            **({"namespace": namespace} if namespace else {}),
        )
        if found and found[0].storage_state == ARCHIVED:
            return fail(f"{name} is archived, and takes no runs.", self._profile.restore_advice)
        return ok(f"{name} exists" if found else f"experiments can be seen; {name} will be made by the first run")


def read_end(token: str) -> float | None:
    """Read when a token ends, in seconds since 1970; None when it is no JWT, or one that does not say."""
    try:
        return float(jwt.decode(token, verify=False)["exp"])
    except (ValueError, KeyError, TypeError):
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
    version = str(health.get("tag_name") or health.get("apiServerTagName") or "")
    client = f"the client is {kfp.__version__}"
    oldest = ".".join(map(str, RUNS_AS_ANYONE))
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        return skip(f"the server does not give its version; {client} and needs {oldest} or newer")
    server = int(found[1]), int(found[2])
    if server[0] != RUNS_AS_ANYONE[0] or server < RUNS_AS_ANYONE:
        return fail(
            f"Kubeflow Pipelines {version}; {client}, and its pipelines need a server from {oldest} and below 3.",
            UPGRADE,
        )
    needs = {
        "train_retries": RETRIES if profile.train_retries else server,
        "time_to_live_hours": TIME_TO_LIVE if profile.time_to_live_hours else server,
    }
    if ignored := [f"{key} (from {first[0]}.{first[1]})" for key, first in needs.items() if server < first]:
        return warn(f"Kubeflow Pipelines {version} fits ({client}), but ignores {' and '.join(ignored)}.", UPGRADE)
    return ok(f"Kubeflow Pipelines {version} fits ({client})")


def is_local(address: str) -> bool:
    """Whether requests to an address never leave this machine."""
    try:
        check_address(address)
    except DataError:
        return False
    return True


def _spell(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
