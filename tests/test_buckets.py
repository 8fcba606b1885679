import io
import json
import socket
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server
from google.cloud import storage
from PIL import Image

from components.mnist import buckets
from components.mnist.downloads import Unreachable
from components.mnist.errors import DataError
from components.mnist.ingestion import ingest_data
from tests.conftest import Answer


@pytest.fixture(scope="module")
def emulator():
    """The address of a storage server that speaks the protocol of Google Cloud."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(emulator, monkeypatch, request):
    """An empty bucket called `digits`."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    monkeypatch.setenv("NO_PROXY", "*")
    made = storage.Client(project="test").create_bucket("digits")
    yield made
    made.delete(force=True)


def refuse(address: str, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        buckets.fetch(address, folder)
    return str(caught.value)


def test_one_object_arrives_under_its_name(bucket, tmp_path):
    bucket.blob("some/where/data.npz").upload_from_string(b"content" * 1000)
    path = buckets.fetch("gs://digits/some/where/data.npz", tmp_path)
    assert path == tmp_path / "data.npz"
    assert path.read_bytes() == b"content" * 1000


@pytest.mark.parametrize("address", ["gs://digits/set", "gs://digits/set/"])
def test_what_is_usable_below_a_prefix_arrives_in_its_folders(bucket, tmp_path, address, capsys):
    for name in ("set/0/a.png", "set/1/b.JPG", "set/1/notes.txt", "set/train-labels-idx1-ubyte.gz", "settle/c.png"):
        bucket.blob(name).upload_from_string(name)
    folder = buckets.fetch(address, tmp_path)
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: f"set/{name}" for name in ("0/a.png", "1/b.JPG", "train-labels-idx1-ubyte.gz")}
    assert "downloading 3 objects" in capsys.readouterr().out


def test_a_whole_bucket_can_be_a_source(bucket, tmp_path):
    for part in range(3):
        bucket.blob(f"part-{part}.npz").upload_from_string(b"x")
    assert len(list(buckets.fetch("gs://digits", tmp_path).iterdir())) == 3


def test_class_folders_in_a_bucket_become_data_sets(bucket, tmp_path, digits):
    for number, (image, label) in enumerate(zip(digits["x_test"], digits["y_test"], strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        bucket.blob(f"set/{label}/{number}.png").upload_from_string(file.getvalue())
    manifests = ingest_data(
        source="gs://digits/set",
        ink="auto",
        validation_fraction=0.2,
        test_fraction=0.2,
        seed=0,
        training_folder=tmp_path / "training",
        validation_folder=tmp_path / "validation",
        test_folder=tmp_path / "test",
    )
    assert sum(manifest.count for manifest in manifests.values()) == 60
    assert manifests["test"].origin == manifests["test"].source == "gs://digits/set"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://no-such-bucket/data.npz", "no bucket no-such-bucket, or the object is gone. Check the address."),
        ("gs://digits/missing", "no such object, and none below it. Check the address for typing errors."),
        ("gs://digits/useless", "2 objects, none usable (a.txt, b.csv); expected .npz files, the four IDX files"),
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


@pytest.mark.parametrize("status", [401, 403])
def test_a_private_bucket_is_refused_with_what_to_do(web, tmp_path, monkeypatch, status):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", web.address)
    private = answer_in_json({"error": {"code": status, "message": "no access for this caller"}}, status)
    web.answers["/storage/v1/b/private/o/data.npz"] = [private]
    message = refuse("gs://private/data.npz", tmp_path)
    assert message.startswith("gs://private/data.npz: may not be read with the credentials at hand (")
    assert "Sign in with `gcloud auth application-default login`" in message


def test_without_credentials_public_buckets_are_still_tried(web, tmp_path, monkeypatch, capsys):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else the library looks for Google's machines, which takes seconds
    monkeypatch.setattr(buckets, "GIVE_UP_SECONDS", 0.2)
    monkeypatch.setenv("HTTPS_PROXY", web.address)  # which lets nothing through
    monkeypatch.setenv("NO_PROXY", "")
    assert "gs://public/data.npz: cannot be had (" in refuse("gs://public/data.npz", tmp_path)
    assert "no Google Cloud credentials found: trying as anyone may" in capsys.readouterr().out


def test_a_server_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(buckets, "GIVE_UP_SECONDS", 0.5)
    with pytest.raises(Unreachable, match=r"gs://digits/data.npz: cannot be had \(.*\), tried for 0.5 seconds"):
        buckets.fetch("gs://digits/data.npz", tmp_path)


def test_a_damaged_transfer_is_refused(web, tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", web.address)
    web.answers["/storage/v1/b/digits/o/data.npz"] = [
        answer_in_json({"name": "data.npz", "bucket": "digits", "size": "7"}),
        Answer(b"damaged", headers={"x-goog-hash": "md5=rL0Y20zC+Fzt72VPzMSk2A==,crc32c=n03x6A=="}),
    ]
    web.answers["/download/storage/v1/b/digits/o/data.npz"] = web.answers["/storage/v1/b/digits/o/data.npz"][1:]
    message = refuse("gs://digits/data.npz", tmp_path)
    assert message == "gs://digits/data.npz: arrived with another checksum than the bucket has. Try again."
