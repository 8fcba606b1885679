"""Ways to sign in to a Kubeflow host, each through its real pages and tokens; secrets stay out of every message."""

import ssl
import time
import traceback
from collections.abc import Iterator
from http import cookiejar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth import iam

from components.mnist.errors import SettingError
from pipelines.platforms import retrying
from pipelines.platforms.base import DeniedError, PlatformError, SignInError, TransientError
from pipelines.platforms.kubeflow import client
from pipelines.platforms.kubeflow.credentials import DexSignIn, IapSignIn, ServiceAccountSignIn, SignIn, TokenSignIn
from pipelines.platforms.kubeflow.sign_in import hide
from tests.fakes.clock import Clock
from tests.fakes.google.accounts import EMAIL, identity
from tests.fakes.google.accounts import SignIn as GoogleAccounts
from tests.fakes.kubeflow.doors import DexDoor, Door, IapDoor, Reply, TokenDoor
from tests.fakes.kubeflow.jobs import new_job, new_profile
from tests.fakes.kubeflow.server import KubeflowServer

USERNAME, PASSWORD = "user@example.com", "correct horse battery staple"
AUDIENCE = "123-abc.apps.googleusercontent.com"
DEX = DexSignIn(method="dex", username=USERNAME, password_variable="KUBEFLOW_PASSWORD")
ROBOT = "robot@my-project.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def _surroundings(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("KUBEFLOW_PASSWORD", PASSWORD)
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def servers() -> Iterator[list[KubeflowServer]]:
    """Those that a test starts; they end with it."""
    started: list[KubeflowServer] = []
    yield started
    for server in started:
        server.close()


def start(servers: list[KubeflowServer], door: Door, **more: Any) -> KubeflowServer:
    servers.append(KubeflowServer(namespaces=("team-a",), door=door, **more))
    return servers[-1]


def connect(server: KubeflowServer, way: SignIn, **more: Any) -> client.Kubeflow:
    return client.Kubeflow(new_profile(server, sign_in=way, **more))


def refuse(platform: client.Kubeflow, *secrets: str, kind: type[PlatformError] = SignInError) -> str:
    """The message with which a call is refused; no secret is in it, nor in its traceback."""
    with pytest.raises(kind) as caught:
        platform.list_schedules()
    assert type(caught.value) is kind
    assert not caught.value.may_have_happened
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(platform))
    for secret in (PASSWORD, *secrets):
        assert secret not in whole
    return str(caught.value)


def test_a_token_is_read_from_its_file_for_each_call(servers: list[KubeflowServer], tmp_path: Path) -> None:
    door = TokenDoor("first-token", "second-token")
    file = tmp_path / "token"
    file.write_text("first-token\n")
    platform = connect(start(servers, door), TokenSignIn(method="token", file=str(file)))
    platform.list_schedules()
    file.write_text("second-token")
    platform.list_schedules()
    assert door.shown == ["first-token", "second-token"]


def test_a_token_is_read_from_its_variable(servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "a-good-token")
    platform = connect(
        start(servers, TokenDoor("a-good-token")), TokenSignIn(method="token", variable="KUBEFLOW_TOKEN")
    )
    assert platform.list_schedules() == []


def test_a_home_folder_is_understood(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("a-good-token")
    platform = connect(start(servers, TokenDoor("a-good-token")), TokenSignIn(method="token", file="~/token"))
    assert platform.list_schedules() == []


def test_a_service_account_shows_what_its_pod_was_given(servers: list[KubeflowServer], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("ey.pod.token")
    door = TokenDoor("ey.pod.token")
    way = ServiceAccountSignIn(method="service-account", file=str(file))
    platform = connect(start(servers, door), way)
    platform.submit(new_job(), name="mnist-training-1")
    door.tokens = {"another"}
    message = refuse(platform, "ey.pod.token")
    assert f"The token in {file} is what Kubernetes mounts for the audience pipelines.kubeflow.org" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory). Put the token there, or correct the profile."),
        (b"", "which is empty. Put the token there, or correct the profile."),
        (b"\n \n", "which is empty. Put the token there"),
        (b"\xff\xfe\x00", "which is not text."),
        (b"secret-one secret-two", "holds no token, which has neither spaces nor line breaks."),
        (b"secret-one\nsecret-two", "holds no token"),
    ],
)
def test_a_token_file_that_has_none_is_named(
    content: bytes | None, words: str, servers: list[KubeflowServer], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    server = start(servers, TokenDoor())
    message = refuse(connect(server, TokenSignIn(method="token", file=str(file))), "secret-one", "secret-two")
    assert str(file) in message
    assert words in message
    assert server.requests == []


@pytest.mark.parametrize(
    ("value", "words"), [(None, "which is not set. Set it: export"), ("", "which is empty. Set it")]
)
def test_a_variable_that_has_nothing_is_named(
    value: str | None, words: str, servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEFLOW_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("KUBEFLOW_TOKEN", value)
    message = refuse(connect(start(servers, TokenDoor()), TokenSignIn(method="token", variable="KUBEFLOW_TOKEN")))
    assert f"the token is read from the environment variable KUBEFLOW_TOKEN, {words}" in message


def test_a_token_that_was_changed_meanwhile_is_shown_at_once(servers: list[KubeflowServer], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token")

    class Rotating(TokenDoor):
        def answer(self, call: Any) -> Any:
            if call.token == "old-token":
                file.write_text("new-token")  # as Kubernetes does, at any time
            return super().answer(call)

    door = Rotating("new-token")
    assert connect(start(servers, door), TokenSignIn(method="token", file=str(file))).list_schedules() == []
    assert door.shown == ["old-token", "new-token"]


def test_a_token_that_expired_says_how_to_get_on_and_is_shown_once(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "expired-token")
    door = TokenDoor()
    # The door repeats the token in its answer; the message must not.
    message = refuse(
        connect(start(servers, door), TokenSignIn(method="token", variable="KUBEFLOW_TOKEN")), "expired-token"
    )
    assert (
        "it answered 401 Unauthorized (Unauthenticated: the token ... is not valid): not signed in, or the credentials "
        "have expired." in message
    )
    assert "Get a new token, then: export KUBEFLOW_TOKEN=..." in message
    assert door.shown == ["expired-token"]


def test_a_host_that_wants_a_sign_in_is_reported_where_the_profile_has_none(kubeflow_server: KubeflowServer) -> None:
    kubeflow_server.door = TokenDoor("any")
    with pytest.raises(SignInError, match=r'The profile has sign_in = { method = "none" }: choose a sign-in method'):
        client.Kubeflow(new_profile(kubeflow_server)).list_schedules()


@pytest.mark.parametrize("asks_approval", [False, True], ids=["no-approval", "approval"])
@pytest.mark.parametrize("connectors", [("local",), ("github", "local"), ("ldap",)], ids="-".join)
@pytest.mark.parametrize("doorkeeper", ["oauth2-proxy", "authservice"])
def test_dex_gives_one_session_for_many_calls(
    doorkeeper: str, connectors: tuple[str, ...], asks_approval: bool, servers: list[KubeflowServer]
) -> None:
    door = DexDoor(USERNAME, PASSWORD, doorkeeper=doorkeeper, connectors=connectors, asks_approval=asks_approval)
    server = start(servers, door, path="/pipeline")
    platform = connect(server, DEX)
    run_id = platform.submit(new_job(), name="mnist-training-1")
    platform.read_run(run_id)
    assert list(server.runs) == [run_id]
    assert door.logins == [USERNAME]
    # The password went to Dex's form, and nowhere else.
    bodies = [call.path for call in server.requests if b"horse" in call.body]
    assert bodies == [f"/dex/auth/{connectors[-1]}/login"]
    assert not any("horse" in call.address for call in server.requests)


@pytest.mark.parametrize("doorkeeper", ["oauth2-proxy", "authservice"])
def test_a_session_that_ended_is_renewed_once(doorkeeper: str, servers: list[KubeflowServer]) -> None:
    door = DexDoor(USERNAME, PASSWORD, doorkeeper=doorkeeper)
    server = start(servers, door)
    platform = connect(server, DEX)
    platform.list_schedules()
    door.sessions.clear()
    platform.submit(new_job(), name="mnist-training-1")
    assert len(server.runs) == 1
    assert door.logins == [USERNAME] * 2


def test_a_session_whose_cookie_expired_is_not_shown_any_more(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    door = DexDoor(USERNAME, PASSWORD, session_seconds=3600.0)
    server = start(servers, door)
    platform = connect(server, DEX)
    platform.list_schedules()
    later = time.time() + 3601
    monkeypatch.setattr(cookiejar, "time", SimpleNamespace(time=lambda: later))
    platform.list_schedules()
    assert door.logins == [USERNAME] * 2
    assert sum("/apis/" in call.path for call in server.requests) == 2


@pytest.mark.parametrize("doorkeeper", ["oauth2-proxy", "authservice"])
def test_a_sign_in_that_gives_no_session_is_reported(doorkeeper: str, servers: list[KubeflowServer]) -> None:
    door = DexDoor(USERNAME, PASSWORD, doorkeeper=doorkeeper, session_seconds=0.0)
    message = refuse(connect(start(servers, door), DEX))
    assert "Dex accepted the password, but" in message
    assert "returned no session. Sign in there in a browser to see why." in message
    assert door.logins == [USERNAME]


def test_a_session_that_nobody_takes_is_not_renewed_for_ever(servers: list[KubeflowServer]) -> None:
    class Forgetful(DexDoor):
        def answer(self, call: Any) -> Any:
            if call.path.startswith("/apis"):
                self.sessions.clear()
            return super().answer(call)

    door = Forgetful(USERNAME, PASSWORD)
    message = refuse(connect(start(servers, door), DEX))
    assert (
        "not signed in, or the credentials have expired. Are sign_in.username user@example.com and its password right?"
        in message
    )
    assert len(door.logins) == 2


def test_a_wrong_password_is_reported_and_tried_once(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_PASSWORD", "wrong-password")
    door = DexDoor(USERNAME, PASSWORD)
    server = start(servers, door)
    message = refuse(connect(server, DEX), "wrong-password")
    assert message == (
        f"Kubeflow Pipelines at {server.host} cannot be signed in to: Dex does not accept the username {USERNAME} with "
        "the password from KUBEFLOW_PASSWORD. Correct one of them."
    )
    assert door.logins == [USERNAME]


def test_a_password_may_have_spaces_and_come_from_a_file(servers: list[KubeflowServer], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    way = DexSignIn(method="dex", username=USERNAME, password_file=str(file))
    assert connect(start(servers, DexDoor(USERNAME, PASSWORD)), way).list_schedules() == []


def test_a_password_that_is_missing_is_reported_before_anything_is_sent(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEFLOW_PASSWORD")
    server = start(servers, DexDoor(USERNAME, PASSWORD))
    message = refuse(connect(server, DEX))
    assert "the password is read from the environment variable KUBEFLOW_PASSWORD, which is not set" in message
    assert server.requests == []


def test_a_dex_without_passwords_is_reported(servers: list[KubeflowServer]) -> None:
    message = refuse(connect(start(servers, DexDoor(USERNAME, PASSWORD, connectors=("github", "google"))), DEX))
    assert "it redirects not to a login page of Dex, but to" in message
    assert "/dex/auth/local (404 Not Found). Does this host use Dex, with passwords?" in message


def test_a_host_without_dex_is_reported(servers: list[KubeflowServer]) -> None:
    server = start(servers, TokenDoor("any"))
    assert "it redirects not to a login page of Dex" in refuse(connect(server, DEX))


def test_a_login_page_without_encryption_gets_no_password(servers: list[KubeflowServer], tmp_path: Path) -> None:
    plain = start(servers, DexDoor(USERNAME, PASSWORD))
    door = DexDoor(USERNAME, PASSWORD, doorkeeper="authservice", login_page=f"{plain.origin}/dex")
    server = start(servers, door, encryption=encryption(tmp_path))
    message = refuse(connect(server, DEX, ca_file=str(tmp_path / "ca.pem")))
    assert "is not encrypted, so the password is not sent there. Ask its administrator." in message
    assert not any(b"horse" in call.body for each in (plain, server) for call in each.requests)


@pytest.mark.parametrize("fault", ["refused", "503"])
def test_a_sign_in_page_that_is_out_of_order_is_a_transient_error(
    fault: str, servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 2.0)

    class Broken(DexDoor):
        def answer(self, call: Any) -> Any:
            return Reply(503, b"no healthy upstream") if call.path.startswith("/dex") else super().answer(call)

    server = start(servers, Broken(USERNAME, PASSWORD))
    if fault == "refused":
        server.refuse()
    message = refuse(connect(server, DEX), kind=TransientError)
    assert message.startswith(f"Kubeflow Pipelines at {server.host} cannot be signed in to: ")
    assert (
        "(503 Service Unavailable) failed. Try later." if fault == "503" else "no connection (Connection refused)"
    ) in message


def encryption(folder: Path) -> ssl.SSLContext:
    """A certificate for this machine that nobody knows; what to trust lies in ca.pem."""
    (folder / "ca.pem").write_bytes(identity().certificate)
    (folder / "key.pem").write_bytes(identity().key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


def test_a_host_with_its_own_certificates_is_trusted_by_their_file(
    servers: list[KubeflowServer], tmp_path: Path
) -> None:
    server = start(servers, DexDoor(USERNAME, PASSWORD), encryption=encryption(tmp_path))
    platform = connect(server, DEX, ca_file=str(tmp_path / "ca.pem"))
    platform.submit(new_job(), name="mnist-training-1")
    assert len(server.runs) == 1


@pytest.mark.parametrize("way", [DEX, TokenSignIn(method="token", variable="KUBEFLOW_PASSWORD")], ids=["dex", "token"])
def test_a_certificate_that_nobody_trusts_is_reported(
    way: SignIn, servers: list[KubeflowServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_PASSWORD", "one-word")
    server = start(servers, DexDoor(USERNAME, PASSWORD), encryption=encryption(tmp_path))
    message = refuse(connect(server, way), "one-word", kind=PlatformError)
    assert "its certificate is not trusted here" in message
    assert "Name the file of the authority that signed it: ca_file in the profile." in message
    assert server.requests == []


def test_a_file_of_certificates_that_has_none_is_refused(servers: list[KubeflowServer], tmp_path: Path) -> None:
    server = start(servers, TokenDoor(), encryption=encryption(tmp_path))
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(SettingError, match=rf"\[cluster\] ca_file .*{name}: no certificates can be read from it"):
            connect(server, DEX, ca_file=str(tmp_path / name))


def test_a_host_without_encryption_is_reported(servers: list[KubeflowServer]) -> None:
    server = start(servers, TokenDoor())
    profile = new_profile(server, host=server.host.replace("http:", "https:"))
    with pytest.raises(PlatformError, match=r"no encrypted connection .*Is https:// right in host\?") as caught:
        client.Kubeflow(profile).list_schedules()
    assert type(caught.value) is PlatformError


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Google's clients look for a key."""
    file = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


def test_a_service_accounts_key_passes_googles_proxy(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    server = start(servers, door)
    door.write_key(key, server.origin)
    platform = connect(server, IapSignIn(method="iap", client_id=AUDIENCE))
    platform.list_schedules()
    platform.list_schedules()
    assert len(door.given) == 1


def test_a_token_for_googles_proxy_is_renewed_before_it_expires(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    door.lifetime_seconds = 60  # too near its end to be shown again
    server = start(servers, door)
    door.write_key(key, server.origin)
    platform = connect(server, IapSignIn(method="iap", client_id=AUDIENCE))
    platform.list_schedules()
    platform.list_schedules()
    assert len(door.given) == 2


def test_an_account_that_may_not_pass_googles_proxy_is_denied(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE)
    server = start(servers, door)
    door.write_key(key, server.origin)
    message = refuse(connect(server, IapSignIn(method="iap", client_id=AUDIENCE)), *door.given, kind=DeniedError)
    assert "it answered 403 Forbidden (You don't have access)" in message
    assert "give the account that signs in the role IAP-secured Web App User" in message
    assert "roles/iap.httpsResourceAccessor" in message
    assert "Manage Contributors" not in message


def test_a_namespace_that_is_denied_behind_googles_proxy_is_not_the_proxys_matter(
    servers: list[KubeflowServer], key: Path
) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    server = start(servers, door)
    door.write_key(key, server.origin)
    server.fail("ListRecurringRuns", "403", times=9)
    message = refuse(connect(server, IapSignIn(method="iap", client_id=AUDIENCE)), *door.given, kind=DeniedError)
    assert "Manage Contributors" in message
    assert "roles/iap.httpsResourceAccessor" not in message


def test_another_client_id_than_the_proxys_is_reported(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    server = start(servers, door)
    door.write_key(key, server.origin)
    message = refuse(
        connect(server, IapSignIn(method="iap", client_id="9-other.apps.googleusercontent.com")), *door.given
    )
    assert "Is client_id 9-other.apps.googleusercontent.com that of the proxy" in message
    assert "roles/iap.httpsResourceAccessor" in message
    assert len(door.given) == 2


def test_a_persons_credentials_need_a_service_account(
    servers: list[KubeflowServer], key: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth import _exponential_backoff
    from google.auth.compute_engine import _metadata

    monkeypatch.setattr(_exponential_backoff, "time", clock)
    monkeypatch.setattr(_metadata, "_METADATA_DEFAULT_TIMEOUT", 0.1)
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    key.write_text(
        '{"type": "authorized_user", "client_id": "i", "client_secret": "s3cret", "refresh_token": "r3fresh"}'
    )
    server = start(servers, IapDoor(AUDIENCE))
    message = refuse(connect(server, IapSignIn(method="iap", client_id=AUDIENCE)), "s3cret", "r3fresh")
    assert "A user's credentials never get one: set sign_in.service_account to a service account" in message
    assert "Service Account Token Creator" in message


def test_a_service_account_is_acted_as(
    servers: list[KubeflowServer], key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = IapDoor(AUDIENCE, ROBOT)
    server = start(servers, door)
    accounts = GoogleAccounts()
    accounts.write_key(key)
    # Google's own address, in Google's own client, leads to the played one.
    monkeypatch.setattr(
        iam, "_IAM_IDTOKEN_ENDPOINT", f"{server.origin}/v1/projects/-/serviceAccounts/{{}}:generateIdToken"
    )
    platform = connect(server, IapSignIn(method="iap", client_id=AUDIENCE, service_account=ROBOT))
    try:
        message = refuse(platform, *accounts.given)
        assert f"Google issued no token for {ROBOT}" in message
        assert f"add-iam-policy-binding {ROBOT} --role=roles/iam.serviceAccountTokenCreator" in message
        door.impersonators = accounts.tokens
        assert platform.list_schedules() == []
    finally:
        accounts.close()


def test_a_key_that_was_revoked_is_reported(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    server = start(servers, door)
    door.write_key(key, server.origin)
    door.knows_key = False
    message = refuse(connect(server, IapSignIn(method="iap", client_id=AUDIENCE)), "eyJ")
    assert "Google issued no token for Identity-Aware Proxy (invalid_grant: Invalid JWT: ... is signed with" in message
    assert "service account's key; is that key still valid?" in message


def test_no_google_credentials_at_all_are_reported(
    servers: list[KubeflowServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    server = start(servers, IapDoor(AUDIENCE))
    way = IapSignIn(method="iap", client_id=AUDIENCE, service_account=ROBOT)
    message = refuse(connect(server, way))
    assert f"Google issued no token for {ROBOT} (File {tmp_path / 'missing.json'} was not found.)" in message
    assert "gcloud auth application-default login" in message


def test_google_out_of_reach_is_a_transient_error(servers: list[KubeflowServer], key: Path) -> None:
    door = IapDoor(AUDIENCE, EMAIL)
    door.write_key(key, "http://127.0.0.1:9")
    message = refuse(connect(start(servers, door), IapSignIn(method="iap", client_id=AUDIENCE)), kind=TransientError)
    assert message.startswith("sign_in: Google cannot be reached")


@pytest.mark.parametrize(
    ("headers", "text", "shown"),
    [
        ({"Authorization": "Bearer abcdefgh"}, "token abcdefgh!", "token ...!"),
        (
            {"Cookie": "a_session=zyxwvuts==; other=12345678"},
            "zyxwvuts== and 12345678 of a_session",
            "... and ... of a_session",
        ),
        ({"Cookie": "x=1"}, "1 of 10", "1 of 10"),
        ({}, "as it is", "as it is"),
    ],
)
def test_what_was_shown_is_hidden(headers: dict[str, str], text: str, shown: str) -> None:
    assert hide(text, headers) == shown
