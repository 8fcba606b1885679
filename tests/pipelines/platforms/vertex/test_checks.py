"""The checks of a profile on Vertex AI, against played servers for every API that they ask."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.checks import Finding, Verdict, perform
from pipelines.platforms import shared_checks
from pipelines.platforms.vertex import accelerators
from pipelines.platforms.vertex import checks as vertex_checks
from pipelines.platforms.vertex.profile import VertexProfile
from tests.fakes.google.accounts import EMAIL
from tests.fakes.google.server import GoogleServer
from tests.fakes.storage_server import StorageServer
from tests.fakes.vertex.server import VertexServer

READS = (":testIamPermissions", ":generateAccessToken")  # asked by POST, and change nothing
STEPS = "steps@my-project.iam.gserviceaccount.com"
KEY = "projects/my-project/locations/{}/keyRings/ring/cryptoKeys/key"
L4 = {"name": "nvidia-l4", "maximumCardsPerInstance": 8}
T4 = {"name": "nvidia-tesla-t4", "maximumCardsPerInstance": 4}
G2 = {"name": "g2-standard-8", "accelerators": [{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": 1}]}
N1 = {"name": "n1-standard-8"}


@pytest.fixture
def google(
    vertex_server: VertexServer, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[GoogleServer]:
    """Google's APIs with all that the profile of `look` needs."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with GoogleServer(vertex_server.sign_in, project="my-project") as server:
        server.point(monkeypatch)
        server.granted["project"] = {*vertex_checks.RUNS, *vertex_checks.SCHEDULES}
        server.accounts = {STEPS}
        server.granted[STEPS] = {vertex_checks.ACT_AS, "iam.serviceAccounts.getAccessToken"}
        server.buckets["artifacts"] = {"location": "EUROPE-WEST4", "locationType": "region"}
        server.granted["artifacts", EMAIL] = {"storage.buckets.get"}
        server.granted["artifacts", STEPS] = {*shared_checks.READ, *shared_checks.WRITE}
        storage_server.granted["artifacts"] = {*shared_checks.READ}
        for zone in ("us-central1-a", "europe-west4-a", "europe-west4-b", "europe-west4-c", "europe-west1-b"):
            server.accelerators[zone], server.machines[zone] = [T4], [N1]
        for zone in ("europe-west4-a", "europe-west4-c", "us-central1-a"):
            server.accelerators[zone], server.machines[zone] = [L4, T4], [G2, N1]
        server.limits = {"custom_model_training_nvidia_l4_gpus": {"": 0, "europe-west4": 2}}
        yield server
        assert all(path.partition("?")[0].endswith(READS) for method, path in server.asked if method != "GET")


Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(google: GoogleServer, vertex_server: VertexServer) -> Look:
    """Makes checks of a profile, by name, after those that they need; without names all but those of images."""

    def look(*names: str, **keys: Any) -> dict[str, Finding]:
        profile = VertexProfile.model_validate(
            {
                "name": "vertex",
                "platform": "vertex",
                "project": "my-project",
                "region": "europe-west4",
                "pipeline_root": "gs://artifacts/mnist",
                "service_account": STEPS,
                "endpoint": vertex_server.endpoint,
                "accelerator": "NVIDIA_L4",
                "machine_type": "g2-standard-8",
                "encryption_key": KEY.format("europe-west4"),
                "schedules": ({"name": "weekly", "cron": "30 5 * * mon", "time_zone": "Europe/Berlin"},),
                **keys,
            }
        )
        checks = {check.name: check for check in vertex_checks.for_profile(profile)}
        needed = set(names or checks.keys() - {"images", "registry"})
        for check in reversed(checks.values()):
            needed |= {*check.needs} if check.name in needed else set()
        so_far: dict[str, bool] = {}
        return {name: perform(check, so_far) for name, check in checks.items() if name in needed}

    return look


def test_a_profile_that_has_all_it_needs_is_fine_and_nothing_is_changed(
    look: Look, google: GoogleServer, vertex_server: VertexServer
) -> None:
    before = copy.deepcopy((google.granted, google.buckets, google.accounts))
    found = look()
    assert {name: each for name, each in found.items() if each.verdict is not Verdict.OK} == {}
    assert found["credentials"].text == f"Google accepts those of {EMAIL}"
    assert found["accelerator"].text == "NVIDIA_L4 (accelerator) is in europe-west4-a, europe-west4-c"
    assert found["quota"].text.startswith("2 of custom_model_training_nvidia_l4_gpus in europe-west4")
    assert found["steps and bucket"].text == f"{STEPS} can read and write to gs://artifacts"
    assert found["schedules"].text == "weekly, in Europe/Berlin"
    assert before == (google.granted, google.buckets, google.accounts)
    assert vertex_server.jobs == {}
    assert vertex_server.schedules == {}


def test_credentials_that_expired_are_one_failing_line_and_show_no_token(
    look: Look, vertex_server: VertexServer
) -> None:
    vertex_server.sign_in.refuse()
    found = look()
    assert found["credentials"].verdict is Verdict.FAILING
    assert "have expired or were revoked" in found["credentials"].text
    assert "gcloud auth application-default login" in found["credentials"].text
    assert {each.verdict for name, each in found.items() if name not in ("credentials", "encryption key")} == {
        Verdict.SKIPPED
    }
    assert found["encryption key"].verdict is Verdict.OK


def test_missing_credentials_are_reported_with_how_to_sign_in(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nothing"))
    found = look("credentials")["credentials"]
    assert found.verdict is Verdict.FAILING
    assert "no Google credentials were found" in found.text
    assert "gcloud auth application-default login" in found.text


def test_no_token_is_ever_shown(look: Look, vertex_server: VertexServer, google: GoogleServer) -> None:
    google.granted = {}
    google.forbidden = {"compute.googleapis.com"}
    vertex_server.fail("ListPipelineJobs", "denied", words="the token in this request may not do it")
    printed = " ".join(each.text for each in look().values())
    assert vertex_server.sign_in.given
    assert not any(token in printed for token in vertex_server.sign_in.given)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("disabled", "gcloud services enable aiplatform.googleapis.com --project my-project"),
        ("denied", "roles/aiplatform.user"),
        ("unpaid", "https://console.cloud.google.com/billing/linkedaccount?project=my-project"),
        ("unavailable", "try later"),
    ],
)
def test_what_the_api_refuses_is_explained_at_once_with_advice(
    look: Look, vertex_server: VertexServer, kind: str, words: str
) -> None:
    vertex_server.fail("ListPipelineJobs", kind, times=1)  # a second try would succeed, but would be waited for
    found = look("Vertex AI")["Vertex AI"]
    assert found.verdict is Verdict.FAILING
    assert words in found.text


def test_an_unknown_region_is_reported_with_the_nearest(look: Look) -> None:
    found = look("Vertex AI", region="europe-west44")
    assert found["region"].verdict is Verdict.FAILING
    assert "Vertex AI is not in europe-west44; did you mean europe-west4?" in found["region"].text
    assert found["Vertex AI"].verdict is Verdict.SKIPPED


def test_a_project_that_cannot_be_seen_is_reported(look: Look) -> None:
    found = look("permissions", "Vertex AI", project="your-project")
    assert found["permissions"].verdict is Verdict.FAILING
    assert "gcloud projects list" in found["permissions"].text
    assert found["region"].verdict is Verdict.SKIPPED
    assert found["Vertex AI"].verdict is Verdict.FAILING
    assert "gcloud projects list" in found["Vertex AI"].text


def test_missing_permissions_are_named_with_the_role_that_has_them(look: Look, google: GoogleServer) -> None:
    google.granted["project"] = set(vertex_checks.RUNS) - {"aiplatform.pipelineJobs.create"}
    found = look("permissions", schedules=())["permissions"]
    assert found.verdict is Verdict.FAILING
    assert "lack aiplatform.pipelineJobs.create on my-project" in found.text
    assert "gcloud projects add-iam-policy-binding my-project --role=roles/aiplatform.user" in found.text


def test_an_api_that_a_run_does_not_need_may_be_off(look: Look, google: GoogleServer) -> None:
    google.disabled = {"compute.googleapis.com", "cloudresourcemanager.googleapis.com"}
    google.forbidden = {"serviceusage.googleapis.com"}
    found = look()
    assert {found[name].verdict for name in ("accelerator", "machine type", "permissions", "quota")} == {
        Verdict.SKIPPED
    }
    assert "gcloud services enable compute.googleapis.com --project my-project" in found["accelerator"].text
    assert "serviceusage.googleapis.com" not in google.disabled
    assert "refuses these credentials" in found["quota"].text


def test_an_unknown_accelerator_is_reported_with_the_nearest(look: Look) -> None:
    found = look("accelerator", accelerator="NVIDIA_L44")["accelerator"]
    assert found.verdict is Verdict.FAILING
    assert found.text == "Vertex AI has no NVIDIA_L44; did you mean NVIDIA_L4?"


def test_an_accelerator_of_other_regions_is_reported_with_these(look: Look) -> None:
    found = look("accelerator", "machine type", region="europe-west1")
    assert found["accelerator"].verdict is found["machine type"].verdict is Verdict.FAILING
    assert "NVIDIA_L4 (accelerator) is not in europe-west1." in found["accelerator"].text
    assert "europe-west4, us-central1" in found["accelerator"].text


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"accelerator": "NVIDIA_TESLA_T4"},
            "g2-standard-8 comes with 1 NVIDIA_L4, but the profile has 1 NVIDIA_TESLA_T4",
        ),
        ({"accelerator_count": 2}, "comes with 1 NVIDIA_L4, but the profile has 2 NVIDIA_L4"),
        ({"accelerator": None}, "comes with 1 NVIDIA_L4, but the profile has none"),
        ({"machine_type": "n1-standard-8"}, "n1-standard-8 does not support NVIDIA_L4"),
        ({"machine_type": "n9-standard-8"}, "Compute Engine has n9-standard-8 (machine_type) in no region."),
    ],
)
def test_a_machine_and_an_accelerator_that_do_not_fit_are_reported(
    look: Look, keys: dict[str, Any], words: str
) -> None:
    found = look("machine type", **keys)["machine type"]
    assert found.verdict is Verdict.FAILING
    assert words in found.text
    assert "https://" in found.text


def test_a_machine_takes_accelerators_that_are_attached(look: Look, google: GoogleServer) -> None:
    google.limits["custom_model_training_preemptible_nvidia_t4_gpus"] = {"": 4}
    found = look(
        "machine type",
        "quota",
        machine_type="n1-standard-8",
        spot=True,
        accelerator="NVIDIA_TESLA_T4",
        accelerator_count=4,
    )
    assert found["machine type"].verdict is Verdict.OK
    assert found["quota"].text.startswith("4 of custom_model_training_preemptible_nvidia_t4_gpus")


@pytest.mark.parametrize(
    ("limits", "verdict", "words"),
    [
        ({"": 8, "europe-west4": 0}, Verdict.FAILING, "0 of custom_model_training_nvidia_l4_gpus in europe-west4"),
        ({"us-central1": 8}, Verdict.FAILING, "quotas?project=my-project"),
        ({"": 8}, Verdict.OK, "8 of"),
        ({"": -1}, Verdict.OK, "unlimited of"),
    ],
)
def test_a_quota_counts_in_its_region(
    look: Look, google: GoogleServer, limits: dict[str, int], verdict: Verdict, words: str
) -> None:
    google.limits["custom_model_training_nvidia_l4_gpus"] = limits
    found = look("quota")["quota"]
    assert found.verdict is verdict
    assert words in found.text


def test_quotas_are_known_by_either_of_their_names() -> None:
    assert list(accelerators.name_quotas("NVIDIA_H100_80GB", spot=True)) == [
        "custom_model_training_preemptible_nvidia_h100_80gb_gpus",
        "custom_model_training_preemptible_nvidia_h100_gpus",
    ]
    assert list(accelerators.name_quotas("NVIDIA_TESLA_T4", spot=False)) == ["custom_model_training_nvidia_t4_gpus"]


def test_a_missing_account_is_reported_with_how_to_make_it(look: Look, google: GoogleServer) -> None:
    google.accounts.clear()
    found = look()
    assert found["service account"].verdict is Verdict.FAILING
    assert "gcloud iam service-accounts create steps --project my-project" in found["service account"].text
    assert found["steps and bucket"].verdict is Verdict.SKIPPED


def test_a_user_who_may_not_act_as_the_account_is_reported(look: Look, google: GoogleServer) -> None:
    google.granted[STEPS] = set()
    found = look()
    assert found["service account"].verdict is Verdict.FAILING
    assert "--role roles/iam.serviceAccountUser" in found["service account"].text


def test_the_steps_own_account_must_be_able_to_write_to_the_bucket(look: Look, google: GoogleServer) -> None:
    google.granted["artifacts", STEPS] = set(shared_checks.READ)
    found = look("steps and bucket")["steps and bucket"]
    assert found.verdict is Verdict.FAILING
    assert f"{STEPS} lacks storage.objects.create, storage.objects.delete on gs://artifacts" in found.text
    assert f"--role roles/storage.objectUser --member serviceAccount:{STEPS}" in found.text
    google.granted[STEPS] = {vertex_checks.ACT_AS}
    found = look("steps and bucket")["steps and bucket"]
    assert found.verdict is Verdict.SKIPPED
    assert "gcloud storage buckets get-iam-policy gs://artifacts" in found.text


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"location": "EU", "locationType": "multi-region"}, Verdict.OK),
        ({"location": "US", "locationType": "multi-region"}, Verdict.WARNING),
        ({"location": "US-CENTRAL1", "locationType": "region"}, Verdict.WARNING),
        (
            {
                "location": "EU",
                "locationType": "dual-region",
                "customPlacementConfig": {"dataLocations": ["EUROPE-WEST1", "EUROPE-WEST4"]},
            },
            Verdict.OK,
        ),
    ],
)
def test_a_bucket_far_from_the_machines_is_a_warning(
    look: Look, google: GoogleServer, facts: dict[str, Any], verdict: Verdict
) -> None:
    google.buckets["artifacts"] = facts
    found = look("bucket's region")["bucket's region"]
    assert found.verdict is verdict
    assert verdict is Verdict.OK or "--location europe-west4" in found.text


def test_a_bucket_whose_region_is_hidden_is_not_checked(look: Look, google: GoogleServer) -> None:
    google.granted["artifacts", EMAIL] = set()
    assert look("bucket's region")["bucket's region"].verdict is Verdict.SKIPPED


def test_a_key_of_another_region_is_refused(look: Look) -> None:
    found = look("encryption key", encryption_key=KEY.format("us-central1"))["encryption key"]
    assert found.verdict is Verdict.FAILING
    assert "Keys/key is not the full name of a key in europe-west4." in found.text
    assert "key is not the full name of a key" in look("encryption key", encryption_key="key")["encryption key"].text


def test_a_wrong_time_zone_is_reported_with_its_schedule(look: Look) -> None:
    found = look("schedules", schedules=({"name": "weekly", "cron": "30 5 * * mon", "time_zone": "Europe/Berlim"},))[
        "schedules"
    ]
    assert found.verdict is Verdict.FAILING
    assert found.text.startswith("weekly: ")


def test_a_broken_connection_is_reported_after_one_try(
    look: Look, google: GoogleServer, vertex_server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertex_server.fail("ListPipelineJobs", "cut", times=None)
    found = look("Vertex AI")["Vertex AI"]
    assert found.verdict is Verdict.FAILING
