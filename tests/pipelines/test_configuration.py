"""Profiles as people write them, right and wrong."""

import re
from pathlib import Path

import pytest

from components.mnist.errors import SettingError
from pipelines.configuration import read_names, read_profile
from pipelines.platforms.kubeflow.credentials import DexSignIn, NoSignIn, TokenSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.vertex.profile import VertexProfile

EXAMPLE = Path(__file__).parents[2] / "mnist.example.toml"
KUBEFLOW = '[here]\nplatform = "kubeflow"\nhost = "https://kubeflow.example.com/pipeline"\n'
VERTEX = (
    '[here]\nplatform = "vertex"\nproject = "my-project"\nregion = "europe-west4"\npipeline_root = "gs://bucket/root"\n'
)


def read(text: str, folder: Path) -> KubeflowProfile | VertexProfile:
    file = folder / "mnist.toml"
    file.write_text(text, encoding="utf-8")
    return read_profile("here", file)


def refusal(text: str, folder: Path) -> str:
    with pytest.raises(SettingError) as caught:
        read(text, folder)
    return str(caught.value)


def test_the_example_is_right_as_it_stands() -> None:
    assert read_names(EXAMPLE) == ["cluster", "vertex"]
    cluster, vertex = (read_profile(name, EXAMPLE) for name in read_names(EXAMPLE))
    assert isinstance(cluster, KubeflowProfile)
    assert isinstance(cluster.sign_in, DexSignIn)
    assert isinstance(vertex, VertexProfile)
    assert [schedule.time_zone for schedule in (*cluster.schedules, *vertex.schedules)] == ["UTC", "Europe/Berlin"]


def test_everything_that_the_example_only_mentions_is_right_too(tmp_path: Path) -> None:
    """Each commented key is taken out of its comment; an example that nobody may use would be a trap."""
    text = re.sub(r"(?m)^# (?=[a-z_.]+ = )", "", EXAMPLE.read_text(encoding="utf-8"))
    file = tmp_path / "mnist.toml"
    file.write_text(text, encoding="utf-8")
    cluster, vertex = (read_profile(name, file) for name in ("cluster", "vertex"))
    for profile in (cluster, vertex):
        never_mentioned = {
            key for key in type(profile).model_fields if key not in {*profile.model_fields_set, "name", "platform"}
        }
        # Of the training step alone resources are shown for Vertex AI, and one secret is as good as two.
        assert not never_mentioned, f"{profile.name}: {never_mentioned}"


def test_each_way_to_sign_in_of_the_example_is_right(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    found = set()
    for table in re.findall(r"(?m)^#   (\{ method = [^}]*\})", text):
        profile = read(f"{KUBEFLOW}sign_in = {table}\n", tmp_path)
        assert isinstance(profile, KubeflowProfile)
        found.add(profile.sign_in.method)
    assert found == {"none", "token", "dex", "iap", "service-account"}


def test_a_profile_says_little_and_gets_the_rest(tmp_path: Path) -> None:
    profile = read(KUBEFLOW, tmp_path)
    assert isinstance(profile, KubeflowProfile)
    assert (profile.name, profile.namespace, profile.experiment) == ("here", None, "mnist-training")
    assert isinstance(profile.sign_in, NoSignIn)
    assert (profile.accelerator, profile.controller_time_zone, profile.schedules) == (None, "UTC", ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (KUBEFLOW + "acelerator = 'nvidia.com/gpu'", "has an unknown key acelerator, did you mean accelerator?"),
        (KUBEFLOW + "labels = { a = 'b' }", "has an unknown key labels."),
        (KUBEFLOW + "sign_in = { method = 'token', fil = 'x' }", "has an unknown key sign_in.fil."),
        (KUBEFLOW.replace("host", "# host"), "lacks host, expected an address such as https://"),
        (VERTEX.replace("region", "# region"), "lacks region, expected a region such as europe-west4."),
        (KUBEFLOW.replace("https://", ""), "has a malformed host, expected an address such as https://"),
        (VERTEX.replace("gs://", "s3://"), "has a malformed pipeline_root, expected a folder in a bucket: gs://"),
        (VERTEX + "labels = { Team = 'b' }", "expected labels of at most 63 of a-z, 0-9, _ and -"),
        (KUBEFLOW + "accelerator_count = '2'", "has text as accelerator_count, expected a whole number."),
        (KUBEFLOW + "accelerator_count = 0", "accelerator_count out of range, expected greater than or equal to 1."),
        (KUBEFLOW + "experiment = ''", "has text as experiment, expected text that is not empty."),
        (
            KUBEFLOW + "node_selector = { pool = 1 }",
            "has a whole number as node_selector.pool, expected text in quotes",
        ),
        (KUBEFLOW + "tolerations = [{ operator = 'Equals' }]", "tolerations.0.operator out of range, expected 'Equal'"),
        (
            KUBEFLOW + "resources = { train = { cpu = '4' } }",
            "lacks resources.train.memory, expected a value.",
        ),
        (
            KUBEFLOW + "resources = { trian = { cpu = '4', memory = '8G' } }",
            "has resources of an unknown step trian; did you mean train?",
        ),
        (KUBEFLOW + "resources = { train = { cpu = 'x', memory = '8G' } }", "expected a number of cores such as"),
        (KUBEFLOW + "resources = { train = { cpu = '4G', memory = '8G' } }", "expected a number of cores such as"),
        (KUBEFLOW + "resources = { train = { cpu = '0', memory = '8G' } }", "expected a number of cores such as"),
        (KUBEFLOW + "resources = { train = { cpu = '4', memory = '500m' } }", 'expected an amount such as "8G"'),
        (KUBEFLOW + "resources = { train = { cpu = '4', memory = '1.5G' } }", 'expected an amount such as "8G"'),
        (KUBEFLOW + "accelerator_count = 2", "has accelerator_count without accelerator."),
        (KUBEFLOW + "accelerator = 'amd.com/gpu'", "such as nvidia.com/gpu: the trainer's image has CUDA."),
        (VERTEX + "spot = true\naccelerator = 'NVIDIA_L4'", "without machine_type; expected a machine with it"),
        (
            VERTEX + "spot = true\nresources = { train = { cpu = '4', memory = '8G' } }",
            "has resources.train beside machine_type or spot",
        ),
        (KUBEFLOW + "sign_in = { file = 'x' }", "lacks sign_in.method, expected one of those that"),
        (
            KUBEFLOW + "sign_in = { method = 'oidc' }",
            "has an unknown sign_in.method, expected one of 'none', 'token', 'dex',",
        ),
        (
            KUBEFLOW + "sign_in = { method = 'token' }",
            "that needs file or variable, exactly one of them.",
        ),
        (KUBEFLOW + "sign_in = { method = 'dex', username = 'me' }", "needs password_file or password_variable"),
        (KUBEFLOW + "accelerator = 'NVIDIA_L4'", "expected Kubernetes' name of the resource, such as nvidia.com/gpu"),
        (VERTEX + "accelerator = 'nvidia.com/gpu'", "expected Vertex AI's name of an NVIDIA GPU, such as NVIDIA_L4"),
        (
            KUBEFLOW + "storage_secrets = [{ name = 'gcs' }]",
            "has a secret gcs that is not used, expected mount,",
        ),
        (KUBEFLOW + "schedules = [{ name = 'Nightly', cron = '0 3 * * *' }]", "has a malformed schedules.0.name"),
        (KUBEFLOW + "schedules = [{ name = 'a' }]", "lacks schedules.0.cron"),
        (KUBEFLOW + "schedules = [{ name = 'a', cron = 'x', start = 2026-01-01 }]", "expected a date and time such as"),
        (
            KUBEFLOW + "schedules = [{ name = 'a', cron = 'x' }, { name = 'a', cron = 'y' }]",
            "has two schedules named a. Rename one.",
        ),
        (KUBEFLOW + "name = 'other'", "has an unknown key name. Remove it: the table's own name counts."),
        ("[here]\nhost = 'https://x.org'", 'has no platform; expected platform = "kubeflow" or "vertex".'),
        ("[here]\nplatform = 'sagemaker'", "has the platform 'sagemaker'; expected platform = \"kubeflow\" or"),
        ("platform = 'kubeflow'", "platform is outside of any table; expected every key in a profile."),
        (
            "[Here]\nplatform = 'kubeflow'",
            "[Here] cannot be a profile's name; expected 1 to 30 characters of a-z, 0-9 and -",
        ),
        ("[local]\nplatform = 'kubeflow'", "[local] cannot be a profile's name"),
        ("[here", "not TOML (Expected ']' at the end of a table declaration"),
    ],
)
def test_what_is_wrong_is_said_plainly(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        KUBEFLOW + "token = 'hunter2'",
        KUBEFLOW + "password = 'hunter2'",
        KUBEFLOW + "sign_in = { method = 'token', token = 'hunter2' }",
        KUBEFLOW + "sign_in = { method = 'hunter2' }",
        KUBEFLOW + "sign_in = 'hunter2'",
        KUBEFLOW.replace("https://", "https://me:hunter2@"),
        KUBEFLOW + "hunter2",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str, tmp_path: Path) -> None:
    assert "hunter2" not in refusal(text, tmp_path)


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(KUBEFLOW + "experiment = 1\nnamespace = 2", tmp_path)
    assert "has a whole number as experiment" in message
    assert "has a whole number as namespace" in message


def test_a_missing_file_and_a_mistyped_profile_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"neither local nor docker, and there is no .*: cp mnist.example.toml"):
        read_profile("vertex", tmp_path / "mnist.toml")
    with pytest.raises(SettingError, match=r"did you mean vertex\?"):
        read_profile("vertx", EXAMPLE)
    with pytest.raises(SettingError, match="expected one of local, docker, cluster, vertex"):
        read_profile("moon", EXAMPLE)


def test_what_was_read_cannot_be_changed(tmp_path: Path) -> None:
    profile = read(KUBEFLOW + "sign_in = { method = 'token', file = 'x' }", tmp_path)
    assert isinstance(profile, KubeflowProfile)
    assert isinstance(profile.sign_in, TokenSignIn)
    with pytest.raises(ValueError, match="frozen"):
        profile.host = "https://elsewhere.example.com"  # type: ignore[misc]


def test_a_file_that_windows_wrote_is_read(tmp_path: Path) -> None:
    assert read("\ufeff" + KUBEFLOW.replace("\n", "\r\n"), tmp_path).name == "here"
