"""What a profile on Kubeflow needs: against a played host with each of its doors."""

import base64
import json
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import checks
from pipelines.checks import Finding, Verdict, perform
from pipelines.platforms import shared_checks
from pipelines.platforms.kubeflow import checks as kubeflow_checks
from pipelines.platforms.kubeflow.client import Kubeflow
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from tests.fakes.clock import Clock
from tests.fakes.google.accounts import EMAIL, identity
from tests.fakes.kubeflow.doors import DexDoor, IapDoor, TokenDoor
from tests.fakes.kubeflow.jobs import new_job
from tests.fakes.kubeflow.server import KubeflowServer
from tests.fakes.storage_server import StorageServer
from tests.fakes.web import Web


def profile(host: str, **keys: Any) -> KubeflowProfile:
    return KubeflowProfile.model_validate({"name": "cluster", "platform": "kubeflow", "host": host, **keys})


def look(host: str, **keys: Any) -> dict[str, Finding]:
    """Every check of a profile but those of images, by name."""
    passed: dict[str, bool] = {}
    checks = kubeflow_checks.for_profile(profile(host, **keys))
    return {each.name: perform(each, passed) for each in checks if each.name not in ("images", "registry")}


def token(ends: float) -> str:
    """A token of Kubernetes' form; nobody here compares its signature."""

    def spell(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{spell({'alg': 'RS256'})}.{spell({'aud': ['pipelines.kubeflow.org'], 'exp': int(ends)})}.c2lnbmVk"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def test_a_profile_that_has_all_it_needs_is_fine_and_nothing_is_changed(kubeflow_server: KubeflowServer) -> None:
    found = look(
        kubeflow_server.host,
        namespace="team-a",
        schedules=({"name": "nightly", "cron": "0 3 * * *"},),
        time_to_live_hours=1,
    )
    assert {name: each for name, each in found.items() if each.verdict is not Verdict.OK} == {}
    assert found["server"].text == "Kubeflow Pipelines 2.17.0 fits (the client is 2.17.0)"
    assert found["experiment"].text == "experiments can be listed; the first run will create mnist-training"
    assert kubeflow_server.runs == kubeflow_server.recurring_runs == kubeflow_server.experiments == {}
    assert {each.method for each in kubeflow_server.requests} == {"GET"}


def test_a_wrong_host_is_one_failing_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look("http://127.0.0.1:9")
    assert found["host"].verdict is Verdict.FAILING
    assert "Connection refused" in found["host"].text
    assert {each.verdict for name, each in found.items() if name != "host"} == {Verdict.SKIPPED}


def test_a_host_without_pipelines_is_reported() -> None:
    with KubeflowServer(path="/pipeline") as server:
        found = look(f"{server.origin}/pipeline/v2")
        assert found["host"].verdict is Verdict.OK  # its dashboard answers to any address
        assert found["sign-in"].verdict is Verdict.FAILING
        assert "On a full Kubeflow it ends with /pipeline." in found["sign-in"].text


def test_another_server_is_reported(web: Web) -> None:
    found = look(web.address)["host"]
    assert found.verdict is Verdict.FAILING
    assert "answers, but is not Kubeflow Pipelines (404 Not Found)." in found.text


# --- encryption ----------------------------------------------------------------------------------------------------


@pytest.fixture
def encryption(tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "both.pem").write_bytes(identity().key + identity().certificate)
    (tmp_path / "ca.pem").write_bytes(identity().certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


def test_a_certificate_must_be_trusted(encryption: ssl.SSLContext, tmp_path: Path) -> None:
    with KubeflowServer(encryption=encryption) as server:
        found = look(server.host)["host"]
        assert found.verdict is Verdict.FAILING
        assert "its certificate is not trusted here" in found.text
        assert "ca_file in the profile" in found.text
        assert look(server.host, ca_file=str(tmp_path / "ca.pem"))["host"].text == (
            f"{server.host} answers, and its certificate is trusted"
        )


def test_a_missing_file_of_certificates_is_named(encryption: ssl.SSLContext, tmp_path: Path) -> None:
    found = look("https://127.0.0.1:9", ca_file=str(tmp_path / "none.pem"))["host"]
    assert found.verdict is Verdict.FAILING
    assert "none.pem: no certificates can be read from it" in found.text


@pytest.mark.parametrize(
    ("host", "stays"),
    [("http://127.0.0.1:8080/pipeline", True), ("http://localhost:8080", True), ("http://kubeflow.example.com", False)],
)
def test_credentials_go_unencrypted_only_within_this_machine(host: str, stays: bool) -> None:
    assert kubeflow_checks.is_local(host) is stays


# --- signing in ----------------------------------------------------------------------------------------------------


def variable(name: str) -> dict[str, str]:
    return {"method": "token", "variable": name}


def test_a_token_is_good_until_it_ends_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = time.time() + 7 * 3600
    door = TokenDoor(token(ends))
    with KubeflowServer(door=door) as server:
        monkeypatch.setenv("KUBEFLOW_TOKEN", token(ends))
        found = look(server.host, sign_in=variable("KUBEFLOW_TOKEN"))
        assert found["sign-in"].verdict is found["experiment"].verdict is Verdict.OK
        day = datetime.fromtimestamp(ends, UTC)
        assert found["sign-in"].text == f"works (token); the token expires at {day:%Y-%m-%d %H:%M} UTC"
        soon = token(time.time() + 600)
        door.tokens.add(soon)
        monkeypatch.setenv("KUBEFLOW_TOKEN", soon)
        assert look(server.host, sign_in=variable("KUBEFLOW_TOKEN"))["sign-in"].verdict is Verdict.WARNING
    assert soon not in " ".join(each.text for each in found.values())


def test_a_token_that_a_pod_gets_anew_by_itself_may_end_soon(tmp_path: Path) -> None:
    soon = token(time.time() + 600)
    (tmp_path / "token").write_text(soon)
    sign_in = {"method": "service-account", "file": str(tmp_path / "token")}
    with KubeflowServer(door=TokenDoor(soon)) as server:
        found = look(server.host, sign_in=sign_in)["sign-in"]
        assert found == Finding(Verdict.OK, "works (service-account); the token is renewed automatically")
        (tmp_path / "token").write_text(token(time.time() - 600))
        assert look(server.host, sign_in=sign_in)["sign-in"].verdict is Verdict.FAILING


def test_a_token_for_googles_proxy_may_end_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    door = IapDoor("123-abc.apps.googleusercontent.com", EMAIL)
    door.lifetime_seconds = 600
    with KubeflowServer(door=door) as server:
        door.write_key(tmp_path / "key.json", server.origin)
        found = look(server.host, sign_in={"method": "iap", "client_id": door.audience})["sign-in"]
        assert found == Finding(Verdict.OK, "works (iap); the token is renewed automatically")


def test_a_token_that_ended_is_reported_without_asking_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with KubeflowServer(door=(door := TokenDoor())) as server:
        old = token(time.time() - 86400)
        monkeypatch.setenv("KUBEFLOW_TOKEN", old)
        found = look(server.host, sign_in=variable("KUBEFLOW_TOKEN"))
        assert found["sign-in"].verdict is Verdict.FAILING
        assert "the token of sign_in expired at" in found["sign-in"].text
        assert old not in door.shown
        assert old not in found["sign-in"].text


def test_a_token_that_the_host_does_not_take_is_reported_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with KubeflowServer(door=TokenDoor("good")) as server:
        monkeypatch.setenv("KUBEFLOW_TOKEN", "hunter2-hunter2")
        found = look(server.host, sign_in=variable("KUBEFLOW_TOKEN"))["sign-in"]
        assert found.verdict is Verdict.FAILING
        assert "not signed in" in found.text
        assert "hunter2" not in found.text
        assert "export KUBEFLOW_TOKEN=..." in found.text


def test_a_variable_that_is_not_set_is_named() -> None:
    with KubeflowServer() as server:
        found = look(server.host, sign_in=variable("NO_SUCH_TOKEN"))["sign-in"]
        assert found.verdict is Verdict.FAILING
        assert "environment variable NO_SUCH_TOKEN, which is not set" in found.text


def test_dex_is_signed_in_to(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in = {"method": "dex", "username": "user@example.com", "password_variable": "PASSWORD"}
    with KubeflowServer(door=DexDoor("user@example.com", "hunter2")) as server:
        monkeypatch.setenv("PASSWORD", "hunter2")
        assert look(server.host, sign_in=sign_in)["sign-in"].text == "works (dex)"
        monkeypatch.setenv("PASSWORD", "hunter3")
        found = look(server.host, sign_in=sign_in)["sign-in"]
        assert found.verdict is Verdict.FAILING
        assert "does not accept the username user@example.com" in found.text
        assert "hunter3" not in found.text


@pytest.mark.parametrize("text", ["", "opaque", "a.b.c", "a..c", f"{'x' * 10}.{'e30'}.y"])
def test_a_token_that_does_not_say_when_it_ends_is_left_to_the_host(text: str) -> None:
    assert kubeflow_checks.read_end(text) is None


# --- the server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "keys", "verdict", "words"),
    [
        ("2.17.0", {}, Verdict.OK, "2.17.0 fits"),
        ("v2.18.1", {"time_to_live_hours": 1}, Verdict.OK, "fits"),
        ("2.5.0", {}, Verdict.OK, "fits"),
        ("2.5.0", {"time_to_live_hours": 1}, Verdict.WARNING, "ignores time_to_live_hours (from 2.17)"),
        ("2.4.1", {}, Verdict.WARNING, "ignores train_retries (from 2.5)"),
        ("2.4.1", {"train_retries": 0}, Verdict.OK, "fits"),
        ("2.2.0", {}, Verdict.FAILING, "need a server from 2.3 to below 3. Upgrade it: https://"),
        ("1.8.5", {}, Verdict.FAILING, "need a server from 2.3"),
        ("3.0.0", {}, Verdict.FAILING, "below 3"),
        ("unknown", {}, Verdict.SKIPPED, "does not give its version"),
    ],
)
def test_the_server_must_know_what_the_pipeline_asks_for(
    kubeflow_server: KubeflowServer, version: str, keys: dict[str, Any], verdict: Verdict, words: str
) -> None:
    kubeflow_server.state.version = version
    found = look(kubeflow_server.host, namespace="team-a", **keys)["server"]
    assert found.verdict is verdict
    assert words in found.text


def test_the_page_before_the_api_gives_its_version_under_another_name() -> None:
    cluster = profile("http://127.0.0.1")
    found = kubeflow_checks.judge_server({"apiServerTagName": "2.5.0", "apiServerReady": True}, cluster)
    assert found.text.startswith("Kubeflow Pipelines 2.5.0 fits")
    found = kubeflow_checks.judge_server({"apiServerReady": False}, cluster)
    assert found.verdict is Verdict.FAILING
    assert "kubectl logs" in found.text


def test_a_server_without_a_version_does_not_keep_later_checks_from_running(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.state.version = "unknown"
    found = look(kubeflow_server.host, namespace="team-a")
    assert found["namespace"].verdict is found["experiment"].verdict is Verdict.OK


def test_a_namespace_is_named_where_there_are_some(kubeflow_server: KubeflowServer) -> None:
    found = look(kubeflow_server.host)["namespace"]
    assert found.verdict is Verdict.FAILING
    assert 'Set namespace = "..." in the profile' in found.text
    with KubeflowServer() as alone:
        found = look(alone.host, namespace="team-a")["namespace"]
        assert found.verdict is Verdict.FAILING
        assert "Remove namespace from the profile." in found.text
        assert look(alone.host)["experiment"].verdict is Verdict.OK


def test_a_namespace_that_is_denied_is_reported(
    kubeflow_server: KubeflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", token(time.time() + 86400))
    kubeflow_server.fail("ListExperiments", "403", times=9)
    found = look(kubeflow_server.host, namespace="team-a", sign_in=variable("KUBEFLOW_TOKEN"))["experiment"]
    assert found.verdict is Verdict.FAILING
    assert "Manage Contributors" in found.text


def test_an_archived_experiment_is_reported_with_what_mends_it(kubeflow_server: KubeflowServer) -> None:
    platform = Kubeflow(profile(kubeflow_server.host, namespace="team-a"))
    platform.submit(new_job(), name="first-1")
    assert look(kubeflow_server.host, namespace="team-a")["experiment"].text == "mnist-training exists"
    next(iter(kubeflow_server.experiments.values()))["storage_state"] = "ARCHIVED"
    found = look(kubeflow_server.host, namespace="team-a")["experiment"]
    assert found.verdict is Verdict.FAILING
    assert found.text == (
        f"The experiment mnist-training is archived. Restore it: {kubeflow_server.host}/#/archive/experiments; or "
        "name another experiment in the profile."
    )
    assert look(kubeflow_server.host, namespace="team-a", experiment="digits")["experiment"].verdict is Verdict.OK


@pytest.mark.parametrize("kind", ["500", "503", "cut", "page"])
def test_errors_are_reported_without_waiting(kubeflow_server: KubeflowServer, kind: str, clock: Clock) -> None:
    kubeflow_server.fail("ListExperiments", kind, times=9)
    assert look(kubeflow_server.host, namespace="team-a")["experiment"].verdict is Verdict.FAILING
    assert clock.seconds == 0.0


def test_a_silent_server_is_given_up(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.fail("GetHealthz", "timeout", times=9)
    found = look(kubeflow_server.host, namespace="team-a")["host"]
    assert found.verdict is Verdict.FAILING
    assert "no answer for too long" in found.text


def test_a_schedule_in_another_zone_than_the_controllers_is_refused(kubeflow_server: KubeflowServer) -> None:
    nightly = {"name": "nightly", "cron": "0 3 * * *", "time_zone": "Europe/Berlin"}
    found = look(kubeflow_server.host, namespace="team-a", schedules=(nightly,))["schedules"]
    assert found.verdict is Verdict.FAILING
    assert found.text.startswith("nightly: ")
    assert "Europe/Berlin" in found.text
    there = look(kubeflow_server.host, namespace="team-a", schedules=(nightly,), controller_time_zone="Europe/Berlin")[
        "schedules"
    ]
    assert there == Finding(Verdict.OK, "nightly, in Europe/Berlin")


def test_the_bucket_is_looked_at_even_when_the_host_is_down(storage_server: StorageServer) -> None:
    storage_server.granted["artifacts"] = {*shared_checks.READ, *shared_checks.WRITE}
    found = look("http://127.0.0.1:9", pipeline_root="gs://artifacts/mnist")
    assert found["host"].verdict is Verdict.FAILING
    assert found["bucket"].verdict is Verdict.OK


@pytest.mark.parametrize("make", [checks.ok, checks.skip])
def test_every_line_is_one_line(make: Callable[[str], Finding]) -> None:
    assert "\n" not in make("fine").text
