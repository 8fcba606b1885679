"""What guards a played Kubeflow Pipelines: nothing, tokens, Dex behind either proxy, or Google's proxy."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

import google.auth.jwt
from google.auth import crypt

from tests.fakes.google.accounts import AUDIENCE, EMAIL, GRANT, identity


@dataclass(frozen=True)
class Call:
    """A request as it came in; header names in lower case."""

    method: str
    address: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.address).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.address).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def cookies(self) -> dict[str, str]:
        return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Door(Protocol):
    """Asks who comes in; None lets a call through."""

    def answer(self, call: Call) -> Reply | None: ...


def page(status: int, text: str, **headers: str) -> Reply:
    """A page for a browser."""
    content = f"<!DOCTYPE html><html><body>{text}</body></html>".encode()
    return Reply(status, content, {"Content-Type": "text/html; charset=utf-8", **headers})


def spell(status: int, content: Any) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


def lead(location: str, **headers: str) -> Reply:
    """A redirection."""
    return Reply(302, b"", {"Location": location, **headers})


class OpenDoor:
    """Asks nothing, as behind a port-forward."""

    def answer(self, call: Call) -> Reply | None:
        return None


class TokenDoor:
    """Lets bearer tokens in that it knows.

    Attributes:
        tokens: They may change at any time.
        shown: All that were shown to it.
    """

    def __init__(self, *tokens: str) -> None:
        self.tokens = set(tokens)
        self.shown: list[str] = []

    def answer(self, call: Call) -> Reply | None:
        self.shown.append(call.token)
        if call.token in self.tokens:
            return None
        words = (
            f"Unauthenticated: the token {call.token} is not valid"
            if call.token
            else "there is no user identity header"
        )
        return spell(401, {"error": words, "code": 16, "message": words, "details": []})


class DexDoor:
    """Dex, with a doorkeeper before it: `oauth2-proxy` or `authservice`.

    Attributes:
        sessions: Good ones with the time at which each ends; may be cleared.
        logins: How often the form came, with the username.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        doorkeeper: str = "oauth2-proxy",
        session_seconds: float = 3600.0,
        connectors: tuple[str, ...] = ("local",),
        asks_approval: bool = False,
        login_page: str = "",
    ) -> None:
        self.sessions: dict[str, float] = {}
        self.logins: list[str] = []
        self._credentials = (username, password)
        self._keeper = doorkeeper
        self._seconds = session_seconds
        self._connectors = connectors
        self._asks_approval = asks_approval
        self._login_page = login_page or "/dex"
        self._codes: set[str] = set()
        self._cookie = "oauth2_proxy_kubeflow" if doorkeeper == "oauth2-proxy" else "authservice_session"

    def answer(self, call: Call) -> Reply | None:
        if call.path.startswith("/dex/"):
            return self._answer_dex(call, call.path.removeprefix("/dex"))
        if call.path == "/oauth2/start":
            return self._start_login(call.query.get("rd", "/"))
        if call.path in ("/oauth2/callback", "/login/oidc"):
            return self._end_login(call)
        if self.sessions.get(call.cookies.get(self._cookie, ""), 0.0) > time.time():
            return None
        if self._keeper == "authservice":
            return self._start_login(call.address)
        if "text/html" in call.headers.get("accept", ""):
            return page(403, 'Sign in: <a href="/oauth2/start?rd=/">OpenID Connect</a>')
        return page(401, "Unauthorized")

    def _start_login(self, back: str) -> Reply:
        query = urlencode({"client_id": "kubeflow", "response_type": "code", "state": f"{secrets.token_hex(4)}:{back}"})
        # Not the session: a cookie that is set before anybody signed in.
        return lead(
            f"{self._login_page}/auth?{query}", **{"Set-Cookie": "_oauth2_proxy_csrf=abcdefghijkl; Path=/; HttpOnly"}
        )

    def _answer_dex(self, call: Call, path: str) -> Reply:
        query = urlencode(call.query)
        if path == "/auth" and len(self._connectors) > 1:
            return page(200, " ".join(f'<a href="/dex/auth/{name}?{query}">{name}</a>' for name in self._connectors))
        if path == "/auth":
            return lead(f"/dex/auth/{self._connectors[0]}?{query}")
        for name in self._connectors:
            if path == f"/auth/{name}":
                return lead(f"/dex/auth/{name}/login?{query}")
            if path == f"/auth/{name}/login":
                return self._take_form(call) if call.method == "POST" else page(200, "<form method=post></form>")
        if path == "/approval" and call.method == "POST" and call.form.get("approval") == "approve":
            return self._give_code(call)
        if path == "/approval":
            return page(200, "Grant Access")
        return page(404, "Page Not Found")

    def _take_form(self, call: Call) -> Reply:
        self.logins.append(call.form.get("login", ""))
        if (call.form.get("login"), call.form.get("password")) != self._credentials:
            return page(401, "Invalid Email Address and password.")
        if self._asks_approval:
            return Reply(303, b"", {"Location": f"/dex/approval?{urlencode(call.query)}"})
        return self._give_code(call)

    def _give_code(self, call: Call) -> Reply:
        code = secrets.token_hex(8)
        self._codes.add(code)
        target = "/oauth2/callback" if self._keeper == "oauth2-proxy" else "/login/oidc"
        query = urlencode({"code": code, "state": call.query.get("state", "")})
        return Reply(303, b"", {"Location": f"{target}?{query}"})

    def _end_login(self, call: Call) -> Reply:
        if call.query.get("code") not in self._codes:
            return page(403, "Unable to find a valid CSRF token.")
        self._codes.remove(call.query["code"])
        session = secrets.token_urlsafe(24)
        self.sessions[session] = time.time() + self._seconds
        back = call.query["state"].partition(":")[2] or "/"
        cookie = f"{self._cookie}={session}; Path=/; HttpOnly; Max-Age={round(self._seconds)}"
        return lead(back, **{"Set-Cookie": cookie})


class IapDoor:
    """Google's Identity-Aware Proxy, and beside it Google's servers that give ID tokens for it.

    Attributes:
        audience: The OAuth client that the proxy protects.
        members: Who may pass.
        impersonators: Access tokens of who may ask for an account's tokens.
        given: All tokens that were ever given.
        lifetime_seconds: Of the tokens that it gives from now on.
        knows_key: Whether it still takes the account's key.
    """

    def __init__(self, audience: str, *members: str) -> None:
        self.audience = audience
        self.members = set(members)
        self.impersonators: set[str] = set()
        self.given: list[str] = []
        self.lifetime_seconds = 3600
        self.knows_key = True

    def answer(self, call: Call) -> Reply | None:
        if call.path == "/token":
            return self._answer_token(call)
        if call.path.startswith("/v1/projects/-/serviceAccounts/"):
            return self._answer_impersonation(call)
        if not call.token:
            return lead("/o/oauth2/v2/auth?client_id=" + self.audience)
        try:
            claims = google.auth.jwt.decode(call.token, certs=identity().certificate, audience=self.audience)
        except ValueError as error:
            return page(401, f"Invalid IAP credentials: {error}")
        if claims["email"] not in self.members:
            return Reply(403, b"You don't have access", {"Content-Type": "text/plain"})
        return None

    def _answer_token(self, call: Call) -> Reply:
        """What a service account's key gets: an ID token for the audience that it names."""
        try:
            claims = google.auth.jwt.decode(call.form["assertion"], certs=identity().certificate, audience=AUDIENCE)
        except (KeyError, ValueError) as error:
            return spell(400, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature. {error}"})
        if not self.knows_key:
            # Too talkative: it repeats what signs the account in.
            words = f"Invalid JWT: {call.form['assertion']} is signed with an unknown key."
            return spell(400, {"error": "invalid_grant", "error_description": words})
        if call.form.get("grant_type") != GRANT or "target_audience" not in claims:
            return spell(400, {"error": "invalid_scope", "error_description": "no target_audience"})
        return spell(200, {"id_token": self._sign(str(claims["iss"]), str(claims["target_audience"]))})

    def _answer_impersonation(self, call: Call) -> Reply:
        account, _, verb = call.path.rpartition("/")[2].partition(":")
        if verb != "generateIdToken" or call.token not in self.impersonators:
            words = "Permission 'iam.serviceAccounts.getOpenIdToken' denied"
            return spell(403, {"error": {"code": 403, "message": words, "status": "PERMISSION_DENIED"}})
        return spell(200, {"token": self._sign(account, json.loads(call.body)["audience"])})

    def _sign(self, email: str, audience: str) -> str:
        now = int(time.time())
        claims = {"iss": "https://accounts.google.com", "aud": audience, "email": email, "sub": "1", "iat": now}
        signer = crypt.RSASigner.from_string(identity().key)
        token = google.auth.jwt.encode(signer, {**claims, "exp": now + self.lifetime_seconds}).decode()
        self.given.append(token)
        return token

    def write_key(self, file: Any, host: str) -> None:
        """Write the key of the account `EMAIL`, for which tokens come from this door's host."""
        content = {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "played",
            "private_key": identity().key.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{host}/token",
        }
        file.write_text(json.dumps(content), encoding="utf-8")
