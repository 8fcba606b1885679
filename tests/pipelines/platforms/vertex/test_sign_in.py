"""Signing in to Vertex AI: what is missing, expired or refused, and the advice for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.compilation import Job
from pipelines.platforms import retrying
from pipelines.platforms.base import DeniedError, PlatformError, SignInError, TransientError
from pipelines.platforms.vertex import client
from tests.fakes.vertex.server import VertexServer
from tests.pipelines.platforms.test_profiles import vertex as make_profile
from tests.pipelines.platforms.vertex.clients import connect

ANEW = "Sign in again: gcloud auth application-default login"


def test_without_credentials_the_error_says_how_to_sign_in(
    vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(SignInError) as refused:
        connect(vertex_server)
    assert "no Google credentials were found" in str(refused.value)
    assert "Sign in: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS" in str(refused.value)


def test_a_missing_key_file_is_named(vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(SignInError, match=r"File /nowhere/key.json was not found"):
        connect(vertex_server)


def test_expired_credentials_say_so(vertex_server: VertexServer, job: Job) -> None:
    platform = connect(vertex_server)
    vertex_server.sign_in.refuse()
    with pytest.raises(SignInError) as refused:
        platform.submit(job, name="mnist-1")
    assert str(refused.value) == (
        "Vertex AI (my-project, europe-west4) could not be asked to start the run mnist-1: the Google credentials have "
        f"expired or were revoked (invalid_grant: Token has been expired or revoked.). {ANEW}"
    )
    assert not vertex_server.jobs


def test_credentials_that_expire_while_a_run_is_followed_say_so(vertex_server: VertexServer, job: Job) -> None:
    platform = connect(vertex_server)
    platform.submit(job, name="mnist-1")
    vertex_server.sign_in.refuse()
    with pytest.raises(SignInError, match=r"could not read the run mnist-1: it answered 401 UNAUTHENTICATED .*" + ANEW):
        platform.read_run("mnist-1")


def test_a_token_that_went_stale_is_renewed(vertex_server: VertexServer, job: Job) -> None:
    vertex_server.sign_in.lifetime_seconds = 1  # Google's library counts it as stale at once
    platform = connect(vertex_server)
    platform.submit(job, name="mnist-1")
    vertex_server.sign_in.tokens.clear()
    platform.read_run("mnist-1")
    assert len(vertex_server.sign_in.given) > 1


def test_a_sign_in_server_that_cannot_be_reached_is_tried_again_and_named(
    vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "GIVE_UP_SECONDS", 0.05)
    platform = connect(vertex_server)
    vertex_server.sign_in.close()
    with pytest.raises(TransientError, match="Google's sign-in server cannot be reached") as refused:
        platform.list_schedules()
    assert not refused.value.may_have_happened


def test_no_error_repeats_what_was_signed(vertex_server: VertexServer) -> None:
    vertex_server.sign_in.refuse("invalid_grant", "Not taken: {assertion}, sorry.")
    with pytest.raises(SignInError) as refused:
        connect(vertex_server).list_schedules()
    assert "(invalid_grant: Not taken: ..., sorry.)" in str(refused.value)
    assert "eyJ" not in repr(refused.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("disabled", "Enable it: gcloud services enable aiplatform.googleapis.com --project my-project"),
        ("unpaid", "Link a billing account: https://console.cloud.google.com/billing/linkedaccount?project=my-project"),
        ("act-as", "add-iam-policy-binding ACCOUNT --project=my-project --role=roles/iam.serviceAccountUser"),
        ("denied", "add-iam-policy-binding my-project --role=roles/aiplatform.user --member=user:EMAIL"),
    ],
)
def test_a_denied_call_says_what_permits_it(vertex_server: VertexServer, job: Job, kind: str, words: str) -> None:
    vertex_server.fail("CreatePipelineJob", kind)
    with pytest.raises(DeniedError) as refused:
        connect(vertex_server).submit(job, name="mnist-1")
    assert words in str(refused.value)
    assert not vertex_server.jobs


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "The aiplatform.googleapis.com API requires a quota project, which is not set by default.",
            "gcloud auth application-default set-quota-project my-project",
        ),
        ("Permission 'storage.objects.get' denied.", "--role=roles/storage.objectUser --member=user:EMAIL"),
        ("Permission 'cloudkms.cryptoKeys.get' denied.", "Ask the project's owner for cloudkms.cryptoKeys.get: gcloud"),
    ],
)
def test_other_permissions_are_named_too(vertex_server: VertexServer, words: str, advice: str) -> None:
    vertex_server.fail("ListSchedules", "act-as", words=words)
    with pytest.raises(DeniedError) as refused:
        connect(vertex_server).list_schedules()
    assert advice in str(refused.value)


def test_a_project_that_does_not_exist_is_named(vertex_server: VertexServer) -> None:
    profile = make_profile(endpoint=vertex_server.endpoint).model_copy(update={"project": "other-project"})
    with pytest.raises(
        DeniedError, match=r"Is other-project the id of the project, not its name, and may you see it\?"
    ):
        client.Vertex(profile).list_schedules()


def test_a_region_that_does_not_exist_is_named_at_once(
    vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):  # which would be asked for the address
        monkeypatch.delenv(name)
    with pytest.raises(
        PlatformError, match=r"no connection .*Check the network, and the region of \[cloud\]"
    ) as refused:
        client.Vertex(make_profile(endpoint="nowhere.invalid")).list_schedules()
    assert not isinstance(refused.value, TransientError)  # which would have been tried again


def test_a_server_without_a_trusted_certificate_is_refused(vertex_server: VertexServer) -> None:
    # In another process, since gRPC reads the certificates that it trusts only once.
    program = (
        "import sys\n"
        "from pipelines.platforms.base import PlatformError\n"
        "from pipelines.platforms.vertex.client import Vertex\n"
        "from pipelines.platforms.vertex.profile import VertexProfile\n"
        "profile = VertexProfile.model_validate_json(sys.argv[1])\n"
        "try:\n"
        "    Vertex(profile).list_schedules()\n"
        "except PlatformError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    profile = make_profile(endpoint=vertex_server.endpoint).model_dump_json(exclude_unset=True)
    environment = {**vertex_server.environment, "PATH": "", "PYTHONPATH": str(Path(client.__file__).parents[3])}
    del environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]
    ended = subprocess.run(
        [sys.executable, "-c", program, profile], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith(
        "PlatformError Vertex AI (my-project, europe-west4) could not list the schedules: the server's "
        "certificate is not trusted"
    )
    assert "set GRPC_DEFAULT_SSL_ROOTS_FILE_PATH to their file" in ended.stdout


def test_another_key_is_refused(vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = json.loads((tmp_path / "service-account.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**content, "private_key": other.decode()}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "other.json"))
    with pytest.raises(SignInError, match=r"credentials were refused \(invalid_grant: Invalid JWT Signature"):
        connect(vertex_server).list_schedules()
