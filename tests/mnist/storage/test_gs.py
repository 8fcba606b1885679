import json
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import storage

from components.mnist.errors import DataError, UnreachableError
from components.mnist.storage import gs, transfers
from tests.fakes.storage_server import StorageServer, Trouble
from tests.fakes.web import Answer


@pytest.fixture
def server(storage_server, monkeypatch) -> StorageServer:
    monkeypatch.setattr(transfers, "BACKOFF_SECONDS", 0.01)
    return storage_server


@pytest.fixture
def bucket(server) -> Iterator[storage.Bucket]:
    """An empty bucket called `digits`."""
    made = storage.Client(project="test").create_bucket("digits")
    yield made
    server.troubles = []
    made.delete(force=True)


def is_picture(name: str) -> bool:
    return name.lower().endswith(".png")


def fetch(address: str, folder: Path) -> Path:
    return gs.fetch(address, folder, is_usable=is_picture, usable="PNG pictures")


def refuse(address: str, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        fetch(address, folder)
    return str(caught.value)


def test_one_object_arrives_under_its_name(bucket, tmp_path):
    bucket.blob("some/where/data.npz").upload_from_string(b"content" * 1000)
    path = fetch("gs://digits/some/where/data.npz", tmp_path)
    assert path == tmp_path / "data.npz"
    assert path.read_bytes() == b"content" * 1000


@pytest.mark.parametrize("address", ["gs://digits/set", "gs://digits/set/"])
def test_what_is_usable_below_a_prefix_arrives_in_its_folders(bucket, tmp_path, address, capsys):
    for name in ("set/0/a.png", "set/1/b.PNG", "set/1/notes.txt", "set/c.png", "settle/d.png"):
        bucket.blob(name).upload_from_string(name)
    folder = fetch(address, tmp_path)
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: f"set/{name}" for name in ("0/a.png", "1/b.PNG", "c.png")}
    assert "downloading 3 objects" in capsys.readouterr().out


def test_a_whole_bucket_can_be_a_source(bucket, tmp_path):
    for part in range(3):
        bucket.blob(f"{part}.png").upload_from_string(b"x")
    assert len(list(fetch("gs://digits", tmp_path).iterdir())) == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://no-such-bucket/data.npz", "no bucket no-such-bucket, or the object was deleted. Check the address."),
        ("gs://digits/missing", "no such object, and none below it. Check the address for typing errors."),
        ("gs://digits/useless", "2 objects, none usable (a.txt, b.csv); expected PNG pictures."),
    ],
)
def test_an_address_with_nothing_to_read_is_refused(bucket, tmp_path, address, words):
    for name in ("useless/a.txt", "useless/b.csv"):
        bucket.blob(name).upload_from_string(b"x")
    assert words in refuse(address, tmp_path)


def answer_in_json(content: object, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


def test_an_object_may_not_leave_the_folder_by_its_name(web, tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", web.address)
    items = [{"name": "set/../../escaped.png", "bucket": "digits", "size": "1"}]
    web.answers["/storage/v1/b/digits/o"] = [answer_in_json({"items": items})]
    words = "gs://digits/set: has an object called '../../escaped.png', which cannot be a file here. Rename it."
    assert words in refuse("gs://digits/set", tmp_path / "inside")


def test_a_private_bucket_is_refused_with_what_to_do(server, tmp_path):
    server.troubles = [Trouble("/o/data.npz", status=403)]
    message = refuse("gs://private/data.npz", tmp_path)
    assert message.startswith("gs://private/data.npz: may not be read with your credentials (403 GET ")
    assert message.endswith(
        "Sign in with `gcloud auth application-default login`, or ask its owner for the role Storage Object Viewer."
    )


def test_who_has_not_signed_in_learns_how_to(server, tmp_path):
    server.troubles = [Trouble("/o/data.npz", status=401)] * 5
    message = "gs://private/data.npz: not public, and no Google Cloud credentials were found. Sign in with"
    assert refuse("gs://private/data.npz", tmp_path).startswith(message)


def test_without_credentials_public_buckets_are_still_tried(web, tmp_path, monkeypatch, capsys):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else the library looks for Google's machines, which takes seconds
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 0.2)
    monkeypatch.setenv("HTTPS_PROXY", web.address)  # which lets nothing through
    monkeypatch.setenv("NO_PROXY", "")
    assert "gs://public/data.npz: cannot be reached (" in refuse("gs://public/data.npz", tmp_path)
    assert "no Google Cloud credentials found: trying without" in capsys.readouterr().out


def test_a_server_that_does_not_answer_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 0.5)
    with pytest.raises(UnreachableError, match=r"data.npz: cannot be reached \(.*\), tried for 0.5 seconds"):
        fetch("gs://digits/data.npz", tmp_path)


@pytest.mark.parametrize("address", ["gs://", "gs:///data.npz", "gs://-bad/data.npz", "gs://Upper/data.npz", "digits"])
def test_an_address_without_a_bucket_is_refused(address, tmp_path):
    message = f"{address}: names no bucket; expected gs://bucket/file or gs://bucket/folder."
    for call in (
        lambda: fetch(address, tmp_path),
        lambda: gs.copy(address, tmp_path / "target"),
        lambda: gs.list_objects(address),
        lambda: gs.find_missing_permissions(address, ["storage.objects.get"]),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value) == message


@pytest.fixture
def signed_in(server, tmp_path, monkeypatch) -> Path:
    """Credentials of a service account, whose tokens the server gives; returns their file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "key.json"
    about = {
        "type": "service_account",
        "client_email": "trainer@project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": f"{server.address}/token",
    }
    path.write_text(json.dumps(about))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", server.address)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setattr(transfers, "GIVE_UP_SECONDS", 0.3)
    return path


def test_who_is_signed_in_gets_the_object(bucket, signed_in, tmp_path):
    bucket.blob("data.npz").upload_from_string(b"content")
    assert fetch("gs://digits/data.npz", tmp_path).read_bytes() == b"content"


def test_expired_credentials_are_reported_with_how_to_renew_them(server, signed_in, tmp_path):
    server.token = (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
    message = refuse("gs://digits/data.npz", tmp_path)
    assert "Google does not accept your credentials, which may have expired" in message
    assert "Token has been expired or revoked" in message
    assert message.endswith("Sign in with `gcloud auth application-default login`.")


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (200, {"refresh_token": "hunter2", "id_token": "eyJh.eyJi.c2ln"}, "(No access token in response)"),
        (400, {"error": "invalid_grant", "hint": "hunter2", "error_description": "No eyJh.eyJi.c2ln"}, "No ...)"),
        (400, {"error": "invalid_grant", "error_description": "No ya29.a0Ab-c"}, "(invalid_grant: No ...)"),
        (400, {"error": "invalid_grant", "error_description": f"No 1//0{'g' * 30}"}, "(invalid_grant: No ...)"),
    ],
    ids=["tokens but the expected one", "claims", "access token", "refresh token"],
)
def test_tokens_that_the_sign_in_server_repeats_is_not_repeated(server, signed_in, tmp_path, status, content, words):
    server.token = (status, content)
    with pytest.raises(DataError) as caught:
        fetch("gs://digits/data.npz", tmp_path)
    assert words in str(caught.value)
    assert "Google does not accept your credentials" in str(caught.value)
    whole = "".join(traceback.format_exception(caught.value))
    assert [each for each in ("hunter2", "eyJ", "ya29", "1//0") if each in whole] == []


def test_credentials_that_the_bucket_does_not_take_are_reported(server, signed_in, tmp_path):
    server.troubles = [Trouble("/o/data.npz", status=401)] * 5
    message = refuse("gs://digits/data.npz", tmp_path)
    assert "may not be read with your credentials (401 GET " in message
    assert "Sign in with `gcloud auth application-default login`" in message


def test_a_sign_in_server_that_cannot_be_reached_is_an_error_of_the_network(signed_in, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    signed_in.write_text(
        json.dumps({**json.loads(signed_in.read_text()), "token_uri": f"http://127.0.0.1:{port}/token"})
    )
    assert "cannot be reached (Connection refused), tried for 0.3 seconds" in refuse("gs://digits/data.npz", tmp_path)


@pytest.mark.parametrize("content", [None, "{}", "no json"], ids=["missing", "empty", "damaged"])
def test_a_useless_file_of_credentials_is_not_ignored(signed_in, tmp_path, content):
    signed_in.unlink()
    if content is not None:
        signed_in.write_text(content)
    message = refuse("gs://digits/data.npz", tmp_path)
    assert "no Google Cloud credentials were found (" in message
    assert "key.json" in message
    assert message.endswith("Sign in with `gcloud auth application-default login`.")


def test_every_object_below_a_prefix_is_listed_with_its_size(bucket):
    for name, size in {"root/run/model/model.keras": 7, "root/run/metrics.json": 3, "root/run/empty/": 0}.items():
        bucket.blob(name).upload_from_string(b"x" * size)
    bucket.blob("root/running/other").upload_from_string(b"x")
    expected = {"gs://digits/root/run/model/model.keras": 7, "gs://digits/root/run/metrics.json": 3}
    assert gs.list_objects("gs://digits/root/run/") == expected
    assert gs.list_objects("gs://digits/root/run") == expected
    assert len(gs.list_objects("gs://digits")) == 3
    assert gs.list_objects("gs://digits/nothing") == {}


def test_a_bucket_that_is_missing_cannot_be_listed(server):
    with pytest.raises(UnreachableError, match=r"gs://no-such-bucket/x: no bucket no-such-bucket") as caught:
        gs.list_objects("gs://no-such-bucket/x")
    assert caught.value.status == 404


def test_an_object_is_copied_to_a_file(bucket, tmp_path):
    bucket.blob("run/report.html").upload_from_string(b"report")
    target = tmp_path / "report.html"
    target.write_text("an old one")
    shown: list[tuple[int, int | None]] = []
    gs.copy("gs://digits/run/report.html", target, on_progress=lambda done, total: shown.append((done, total)))
    assert target.read_bytes() == b"report"
    assert shown == [(6, 6)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_what_lies_below_an_address_is_copied_to_a_folder(bucket, tmp_path, capsys):
    names = ("model.keras", "deep/er/file.txt", "with space and ü")
    for name in names:
        bucket.blob(f"run/model/{name}").upload_from_string(name)
    bucket.blob("run/model/").upload_from_string(b"")
    (tmp_path / "to" / "model").mkdir(parents=True)
    (tmp_path / "to" / "model" / "of_before").touch()
    gs.copy("gs://digits/run/model", tmp_path / "to" / "model")
    found = {
        str(path.relative_to(tmp_path / "to" / "model")): path.read_text()
        for path in (tmp_path / "to" / "model").rglob("*")
        if path.is_file()
    }
    assert found == {name: name for name in names}
    assert [entry.name for entry in (tmp_path / "to").iterdir()] == ["model"]
    assert capsys.readouterr().out == ""


def test_a_copy_that_fails_half_way_leaves_what_was_there(bucket, server, tmp_path):
    for name in "abc":
        bucket.blob(f"run/{name}").upload_from_string(name)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    server.troubles = [Trouble("/download/.*/run/b", status=403)]
    with pytest.raises(UnreachableError, match=r"gs://digits/run: may not be read with your credentials"):
        gs.copy("gs://digits/run", tmp_path / "target")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["target", "target/old"]


def test_an_interrupted_copy_ends_soon_and_leaves_nothing(bucket, server, tmp_path):
    """Left alone, this one would try for ever."""
    bucket.blob("large").upload_from_string(bytes(2_000_000))
    server.troubles = [Trouble(cut_after=2000, silence_seconds=0.02)] * 100_000
    # Programs that are started in the background, as under nohup, ignore SIGINT unless they say otherwise.
    work = "import signal, sys; from pathlib import Path; from components.mnist.storage import gs, transfers; "
    work += "signal.signal(signal.SIGINT, signal.default_int_handler); "
    work += "transfers.GIVE_UP_SECONDS, transfers.LONGEST_BACKOFF_SECONDS = 1e6, 0.1; "
    work += "gs.copy('gs://digits/large', Path(sys.argv[1]))"
    child = subprocess.Popen([sys.executable, "-c", work, str(tmp_path / "large")], stderr=subprocess.PIPE, text=True)
    while len(server.media_statuses()) < 3:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=300)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_nothing_is_refused(bucket, tmp_path):
    with pytest.raises(UnreachableError, match=r"gs://digits/run: no such object, and none below it") as caught:
        gs.copy("gs://digits/run", tmp_path / "target")
    assert caught.value.status == 404
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_cannot_be_written_is_refused(bucket, tmp_path):
    bucket.blob("run/a").upload_from_string(b"a")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/target: cannot be written \(.*\)\. Choose another path"):
        gs.copy("gs://digits/run/a", tmp_path / "file" / "target")


def test_an_object_below_another_cannot_be_copied(bucket, tmp_path):
    for name in ("run/a", "run/a/b", "run/a/b/c"):
        bucket.blob(name).upload_from_string(b"x")
    with pytest.raises(DataError, match=r"gs://digits/run: a/b.* lies below an object.*Rename one"):
        gs.copy("gs://digits/run", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_permissions_that_are_not_granted_are_found(bucket, server):
    required = ["storage.objects.get", "storage.objects.create", "storage.objects.list"]
    server.granted = {"digits": {"storage.objects.get", "storage.objects.list", "storage.objects.delete"}}
    assert gs.find_missing_permissions("gs://digits/root", required) == ["storage.objects.create"]
    server.granted = {"digits": set(required)}
    assert gs.find_missing_permissions("gs://digits", required) == []
    server.granted = {"digits": set()}
    assert gs.find_missing_permissions("gs://digits", required) == required
    assert gs.list_objects("gs://digits") == {}


def test_permissions_on_a_bucket_that_is_missing_are_refused(server):
    with pytest.raises(UnreachableError, match=r"gs://no-such-bucket: no bucket no-such-bucket") as caught:
        gs.find_missing_permissions("gs://no-such-bucket", ["storage.objects.get"])
    assert caught.value.status == 404


def test_permissions_are_not_asked_for_without_credentials(tmp_path, monkeypatch, capsys):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(
        UnreachableError, match=r"gs://digits: no Google Cloud credentials were found \(.*Sign in with `gcloud"
    ):
        gs.find_missing_permissions("gs://digits", ["storage.objects.get"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_transient_errors_of_every_call_are_tried_again(bucket, server, tmp_path, status):
    bucket.blob("run/a").upload_from_string(b"a")
    server.granted = {"digits": {"storage.objects.get"}}
    server.troubles = [Trouble("", status=status), Trouble("/o$", status=status), Trouble("/download/", status=status)]
    gs.copy("gs://digits/run", tmp_path / "target")
    assert (tmp_path / "target" / "a").read_bytes() == b"a"
    server.troubles.append(Trouble("testPermissions", status=status))
    assert gs.find_missing_permissions("gs://digits", ["storage.objects.get"]) == []
    assert server.troubles == []
