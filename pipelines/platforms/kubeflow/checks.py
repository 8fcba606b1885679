"""Look at what a profile on Kubeflow needs: a host that answers, a sign-in that works, a server that fits."""

import base64
import functools
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import kfp
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from components.mnist.errors import DataError
from components.mnist.storage.https import check_address
from pipelines.checks import Check, Finding, fail, ok, skip, warn
from pipelines.platforms import shared_checks
from pipelines.platforms.base import SignInError
from pipelines.platforms.kubeflow import network, sign_in
from pipelines.platforms.kubeflow.client import ARCHIVED
from pipelines.platforms.kubeflow.client import Kubeflow as KubeflowClient
from pipelines.platforms.kubeflow.connection import Connection
from pipelines.platforms.kubeflow.credentials import IapSignIn, NoSignIn, ServiceAccountSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile

HEALTH = "/apis/v2beta1/healthz"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 8.0
SOON_SECONDS = 3600  # a token that ends before a run does
UPGRADE = "Upgrade it: https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/"

# The server, major and minor, that first does what the compiled pipeline asks for.
RUNS_AS_ANYONE = (2, 3)  # mounts the folders of artifacts for users other than root (pull request 10857)
RETRIES = (2, 5)  # starts a step anew (issue 9950)
TIME_TO_LIVE = (2, 17)  # removes a finished run's workflow (pull request 13184)


def for_profile(profile: KubeflowProfile) -> list[Check]:
    """What a run, or a schedule, of this profile needs."""
    looks = Kubeflow(profile)
    checks = [
        Check("images", lambda: shared_checks.check_images(profile)),
        Check("registry", lambda: shared_checks.check_registry(profile, lambda: None), needs=("images",)),
        Check("host", looks.check_host),
        Check("sign-in", looks.check_sign_in, needs=("host",), seconds=30),  # Dex takes several pages
        Check("server", looks.check_server, needs=("sign-in",)),
        Check("namespace", looks.check_namespace, needs=("sign-in",)),
        Check("experiment", looks.check_experiment, needs=("namespace",)),
    ]
    if (root := profile.pipeline_root) is not None:
        checks.append(Check("bucket", lambda: shared_checks.check_bucket(root, steps_are_checked=False)))
    if profile.schedules:
        checks.append(Check("schedules", looks.check_schedules))
    return checks


class Kubeflow:
    """The checks of one profile."""

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
        """Whether anything answers there, encrypted where a secret goes there; nobody signs in yet."""
        host = self._profile.host.rstrip("/")
        pool = network.new_pool(self._profile)
        try:
            answer = pool.request(
                "GET", f"{host}{HEALTH}", redirect=False, timeout=Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
            )
        except HTTPError as error:
            start = f"{network.name_host(self._profile)} could not be reached"
            raise network.explain_silence(error, start, creates=False) from None
        if answer.status == HTTPStatus.NOT_FOUND:
            return fail(
                f"{host} answers, but not as Kubeflow Pipelines does ({answer.status} {answer.reason}).",
                "Correct host in the profile: on a whole Kubeflow it ends with /pipeline.",
            )
        if urlsplit(host).scheme == "https":
            return ok(f"{host} answers, and its certificate is trusted")
        if not isinstance(self._profile.sign_in, NoSignIn) and not stays_here(host):
            return warn(
                f"{host} answers, but without encryption: whoever is between can read what signs you in.",
                "Use its https:// address.",
            )
        asks = ", and asks who one is" if answer.status in (301, 302, 303, 307, 401, 403) else ""
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
        _ = self._health  # a host that asks who one is asks here too
        if isinstance(self._profile.sign_in, (IapSignIn, ServiceAccountSignIn)):
            return ok(f"works ({method}); the token is renewed by itself")
        if ends is not None and ends - time.time() < SOON_SECONDS:
            return warn(
                f"works ({method}), but the token ends at {_spell(ends)}, maybe before a run does.",
                "Get a new one before a long run.",
            )
        return ok(f"works ({method})" + (f"; the token ends at {_spell(ends)}" if ends is not None else ""))

    def check_server(self) -> Finding:
        """Whether the server's version can run what this client compiles."""
        return judge_server(self._health, self._profile)

    def check_namespace(self) -> Finding:
        """Whether the profile names a namespace exactly where the server has users."""
        has_users, namespace = (
            bool(self._health.get("multi_user", self._health.get("apiServerMultiUser"))),
            self._profile.namespace,
        )
        if has_users and not namespace:
            return fail(
                "this Kubeflow has a namespace for each user or team, and the profile names none.",
                'Set namespace = "..." in the profile; kubectl get profiles lists them.',
            )
        if namespace and not has_users:
            return fail(
                f"Kubeflow Pipelines stands alone here and knows no namespaces, but the profile names {namespace}.",
                "Remove namespace from the profile.",
            )
        return ok(
            f"{namespace}, as this Kubeflow has one for each user or team" if namespace else "none, as none is needed"
        )

    def check_experiment(self) -> Finding:
        """Whether who signed in may see the experiments of the namespace, and whether the profile's can take runs."""
        words = {"namespace": self._profile.namespace} if self._profile.namespace else {}
        experiments = self._connection.experiments
        found = self._connection.read_all(
            experiments.experiment_service_list_experiments,
            "experiments",
            asked=f"list the experiments{' of ' + self._profile.namespace if self._profile.namespace else ''}",
            name=self._profile.experiment,
            **words,
        )
        name = self._profile.experiment
        if found and found[0].storage_state == ARCHIVED:
            return fail(
                f"{name} is archived, and takes no runs.",
                f"Restore it: {self._profile.host.rstrip('/')}/#/archive/experiments; or name another experiment in "
                "the profile.",
            )
        return ok(f"{name} is there" if found else f"experiments can be seen; {name} will be made by the first run")

    def check_schedules(self) -> Finding:
        """Whether Kubeflow can do the profile's schedules."""
        return shared_checks.check_schedules(self._profile, KubeflowClient(self._profile).check_schedule)


def read_end(token: str) -> float | None:
    """When a token ends, in seconds since 1970; None when it does not say, or is none of the kind that does (JWT)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        return None


def judge_server(health: Mapping[str, Any], profile: KubeflowProfile) -> Finding:
    """Whether a server works and fits the client.

    Args:
        health: As its API tells it, or in the words of the page that stands before the API.
    """
    if health.get("apiServerReady") is False:
        return fail(
            "its page answers, but the API behind it does not.",
            "See why: kubectl logs --namespace kubeflow deployment/ml-pipeline",
        )
    return judge_version(str(health.get("tag_name") or health.get("apiServerTagName") or ""), profile)


def judge_version(version: str, profile: KubeflowProfile) -> Finding:
    """Whether a server can run what the client compiles for a profile.

    Args:
        version: As the server says it: "2.5.0".
    """
    client = f"the client is {kfp.__version__}"
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        return skip(
            f"the server does not tell its version; {client} and needs {_spell_version(RUNS_AS_ANYONE)} or newer"
        )
    server = int(found[1]), int(found[2])
    if server[0] != RUNS_AS_ANYONE[0] or server < RUNS_AS_ANYONE:
        return fail(
            f"Kubeflow Pipelines {version}; {client}, and its pipelines need a server from "
            f"{_spell_version(RUNS_AS_ANYONE)} and below 3.",
            UPGRADE,
        )
    lacking = [
        f"{what} (from {_spell_version(first)})"
        for what, first, is_wanted in (
            ("train_retries", RETRIES, profile.train_retries > 0),
            ("time_to_live_hours", TIME_TO_LIVE, profile.time_to_live_hours is not None),
        )
        if is_wanted and server < first
    ]
    if lacking:
        return warn(f"Kubeflow Pipelines {version} fits ({client}), but ignores {' and '.join(lacking)}.", UPGRADE)
    return ok(f"Kubeflow Pipelines {version} fits ({client})")


def _spell_version(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _spell(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def stays_here(address: str) -> bool:
    """Whether what is sent to an address never leaves this machine."""
    try:
        check_address(address)
    except DataError:
        return False
    return True
