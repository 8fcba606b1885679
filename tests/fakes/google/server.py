"""Google's APIs for machines, quotas and permissions, played on this machine; they only read.

    with GoogleServer(sign_in) as server:
        server.point(monkeypatch)          # the checks ask it
        server.machines["europe-west4-a"] = [...]
        server.disabled.add("compute.googleapis.com")

It refuses requests as Google does, and knows none that would change anything.
"""

import json
import re
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pipelines.platforms.vertex import google_apis
from tests.fakes.google.accounts import EMAIL, SignIn

APIS = {
    "AIPLATFORM": "aiplatform.googleapis.com",
    "COMPUTE": "compute.googleapis.com",
    "IAM": "iam.googleapis.com",
    "IAM_CREDENTIALS": "iamcredentials.googleapis.com",
    "PROJECTS": "cloudresourcemanager.googleapis.com",
    "QUOTAS": "serviceusage.googleapis.com",
    "STORAGE": "storage.googleapis.com",
}
Answer = tuple[int, dict[str, Any]]
PAGE = 2  # zones per page, so that lists have several pages


class GoogleServer:
    """A running server; as a context manager it is closed at the end.

    Attributes:
        project: The only project that exists.
        regions: The regions of Vertex AI.
        accelerators, machines: What Compute Engine has, by zone.
        limits: Vertex AI's quotas, by metric and region; "" for every other region.
        granted: Permissions by resource: the project, an account, or (bucket, account).
        accounts: The service accounts that exist.
        buckets: What Cloud Storage says about each.
        disabled: APIs that are not enabled.
        forbidden: APIs that refuse the user.
        asked: Method and path of every request.
    """

    def __init__(self, sign_in: SignIn, *, project: str) -> None:
        self.project = project
        self.regions = ["europe-west1", "europe-west4", "us-central1"]
        self.accelerators: dict[str, list[dict[str, Any]]] = {}
        self.machines: dict[str, list[dict[str, Any]]] = {}
        self.limits: dict[str, dict[str, int]] = {}
        self.granted: dict[object, set[str]] = {}
        self.accounts: set[str] = set()
        self.buckets: dict[str, dict[str, Any]] = {}
        self.disabled: set[str] = set()
        self.forbidden: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._sign_in = sign_in
        self._acting: dict[str, str] = {}  # accounts by the tokens that were given for them
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> "GoogleServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the checks ask this server instead of Google."""
        for constant, host in APIS.items():
            monkeypatch.setattr(google_apis, constant, f"{self.address}/{host}")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        _, api, path = parts.path.split("/", 2)
        self.asked.append((handler.command, f"{api}/{path}"))
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length", 0))) or b"{}")
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        status, content = self._answer(handler.command, api, unquote(path), parse_qs(parts.query), body, token)
        sent = json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json; charset=UTF-8")
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)

    def _answer(
        self, method: str, api: str, path: str, query: dict[str, list[str]], body: dict[str, Any], token: str
    ) -> Answer:
        account = self._acting.get(token) or (EMAIL if token in self._sign_in.tokens else None)
        if account is None:
            return refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if api in self.disabled:
            words = f"{api} has not been used in project {self.project} before or it is disabled."
            return refuse(403, "PERMISSION_DENIED", words, "SERVICE_DISABLED", {"service": api})
        if api in self.forbidden:
            return refuse(403, "PERMISSION_DENIED", "Permission denied.", "IAM_PERMISSION_DENIED", {})
        for known_method, known_api, pattern, function in self._routes():
            if (method, api) == (known_method, known_api) and (found := re.fullmatch(pattern, path)):
                return function(*found.groups(), query=query, body=body, account=account)
        return refuse(501, "UNIMPLEMENTED", f"{method} {api}/{path} is not played.")

    def _routes(self) -> list[tuple[str, str, str, Callable[..., Answer]]]:
        return [
            ("GET", APIS["AIPLATFORM"], r"v1/projects/([^/]+)/locations", self._list_regions),
            ("GET", APIS["COMPUTE"], r"compute/v1/projects/([^/]+)/aggregated/(\w+)", self._list_zones),
            (
                "GET",
                APIS["QUOTAS"],
                r"v1beta1/projects/([^/]+)/services/aiplatform.googleapis.com/consumerQuotaMetrics/(.+)",
                self._read_quota,
            ),
            ("POST", APIS["PROJECTS"], r"v1/projects/([^/:]+):testIamPermissions", self._test_project),
            ("POST", APIS["IAM"], r"v1/projects/-/serviceAccounts/([^/:]+):testIamPermissions", self._test_account),
            (
                "POST",
                APIS["IAM_CREDENTIALS"],
                r"v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken",
                self._act_as,
            ),
            ("GET", APIS["STORAGE"], r"storage/v1/b/([^/]+)", self._read_bucket),
            ("GET", APIS["STORAGE"], r"storage/v1/b/([^/]+)/iam/testPermissions", self._test_bucket),
        ]

    def _list_regions(self, project: str, **_: object) -> Answer:
        if project != self.project:
            return refuse(403, "PERMISSION_DENIED", "Permission denied on resource project.", "CONSUMER_INVALID", {})
        return 200, {
            "locations": [{"name": f"projects/1/locations/{each}", "locationId": each} for each in self.regions]
        }

    def _list_zones(self, project: str, kind: str, *, query: dict[str, list[str]], **_: object) -> Answer:
        zones = {"acceleratorTypes": self.accelerators, "machineTypes": self.machines}[kind]
        name = query["filter"][0].removeprefix("name=")
        start = int(query.get("pageToken", ["0"])[0])
        items: dict[str, Any] = {}
        for zone in sorted(zones)[start : start + PAGE]:
            found = [each for each in zones[zone] if each["name"] == name]
            empty = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for scope '{zone}'."}}
            items[f"zones/{zone}"] = {kind: found} if found else empty
        more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(zones) else {}
        return 200, {"kind": f"compute#{kind}AggregatedList", "items": items, **more}

    def _read_quota(self, project: str, metric: str, **_: object) -> Answer:
        name = metric.removeprefix("aiplatform.googleapis.com/")
        if name not in self.limits:
            return refuse(404, "NOT_FOUND", f"Quota metric {metric} not found.")
        # As JSON of protocol buffers has it: numbers as text, and no zeros.
        buckets = [
            {
                **({"effectiveLimit": str(limit)} if limit else {}),
                **({"dimensions": {"region": region}} if region else {}),
            }
            for region, limit in sorted(self.limits[name].items())
        ]
        return 200, {
            "metric": metric,
            "consumerQuotaLimits": [{"unit": "1/{project}/{region}", "quotaBuckets": buckets}],
        }

    def _test_project(self, project: str, *, body: dict[str, Any], **_: object) -> Answer:
        if project != self.project:
            return refuse(404, "NOT_FOUND", "Requested entity was not found.")
        return self._grant("project", body["permissions"])

    def _test_account(self, named: str, *, body: dict[str, Any], **_: object) -> Answer:
        if named not in self.accounts:
            return refuse(404, "NOT_FOUND", f"Unknown service account: {named}")
        return self._grant(named, body["permissions"])

    def _act_as(self, named: str, **_: object) -> Answer:
        if "iam.serviceAccounts.getAccessToken" not in self.granted.get(named, ()):
            metadata = {"permission": "iam.serviceAccounts.getAccessToken"}
            return refuse(403, "PERMISSION_DENIED", "Permission denied.", "IAM_PERMISSION_DENIED", metadata)
        token = f"ya29.acting-{secrets.token_urlsafe(16)}"
        self._acting[token] = named
        return 200, {"accessToken": token, "expireTime": "2999-01-01T00:00:00Z"}

    def _read_bucket(self, bucket: str, *, account: str, **_: object) -> Answer:
        if bucket not in self.buckets:
            return refuse(404, "NOT_FOUND", "The specified bucket does not exist.")
        if "storage.buckets.get" not in self.granted.get((bucket, account), ()):
            return refuse(403, "PERMISSION_DENIED", f"{account} does not have storage.buckets.get access.")
        return 200, self.buckets[bucket]

    def _test_bucket(self, bucket: str, *, query: dict[str, list[str]], account: str, **_: object) -> Answer:
        if bucket not in self.buckets:
            return refuse(404, "NOT_FOUND", "The specified bucket does not exist.")
        return self._grant((bucket, account), query["permissions"])

    def _grant(self, resource: object, asked: list[str]) -> Answer:
        """Answer as Google does: without a list where nothing is granted."""
        granted = [each for each in asked if each in self.granted.get(resource, ())]
        return 200, {"permissions": granted} if granted else {}


def refuse(
    code: int, status: str, message: str, reason: str | None = None, metadata: dict[str, str] | None = None
) -> Answer:
    """An error as Google's APIs word it."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    details = [{**info, "metadata": metadata or {}}] if reason else []
    return code, {"error": {"code": code, "message": message, "status": status, "details": details}}
