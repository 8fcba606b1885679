"""Sign in on the page of Dex, as Kubeflow's manifests install it, and keep the session that it gives.

Both proxies before Kubeflow lead there: oauth2-proxy (Kubeflow 1.9 and newer) and oidc-authservice (older).
"""

import re
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import get_cookie_header

from pipelines.platforms.base import SignInError, TransientError
from pipelines.platforms.kubeflow import network
from pipelines.platforms.kubeflow.credentials import DexSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.secrets import read_secret

CONNECTOR = "local"  # where Dex offers several: the one with a password of its own
LOGIN = re.compile(r"/auth/[^/]+/login$")
PAGE = {"Accept": "text/html"}  # without it, the proxies answer as to a program: refusing instead of leading to Dex


class DexSession:
    """A session cookie, fetched on Dex's page when there is none, or the last has expired."""

    def __init__(self, profile: KubeflowProfile, sign_in: DexSignIn) -> None:
        self.advice = f"Are sign_in.username {sign_in.username} and its password right?"
        self._sign_in = sign_in
        self._profile = profile
        self._host = urlsplit(profile.host)
        self._start = f"{profile.title} cannot be signed in to"
        self._session: requests.Session | None = None

    def headers(self) -> dict[str, str]:
        """Make the header with the session's cookie."""
        if not self._session or not self._read_cookie(self._session):
            self._session = self._open()
        return {"Cookie": self._read_cookie(self._session)}

    def renew(self) -> bool:
        """A new session can always be opened."""
        self._session = None
        return True

    def _open(self) -> requests.Session:
        password = read_secret("password", file=self._sign_in.password_file, variable=self._sign_in.password_variable)
        session = requests.Session()
        session.headers.update(PAGE)
        adapter = HTTPAdapter()
        adapter.init_poolmanager(1, 1, ssl_context=network.trust(self._profile))
        session.mount("https://", adapter)
        page = self._find_login(session)
        before = {(cookie.domain, cookie.name, cookie.value) for cookie in session.cookies}
        page = self._send(session, "POST", page.url, {"login": self._sign_in.username, "password": password})
        if LOGIN.search(urlsplit(page.url).path) and not page.history:  # the form again, at once
            raise SignInError(
                f"{self._start}: Dex does not take the username {self._sign_in.username} with the password from "
                f"{self._sign_in.password_variable or self._sign_in.password_file}. Correct one of them."
            )
        if urlsplit(page.url).path.endswith("/approval"):
            query = dict(parse_qsl(urlsplit(page.url).query))
            page = self._send(session, "POST", page.url, {**query, "approval": "approve"})
        for cookie in [each for each in session.cookies if (each.domain, each.name, each.value) in before]:
            # Set before the sign-in, so it is no session: with it alone, nobody would be signed in.
            session.cookies.clear(cookie.domain, cookie.path, cookie.name)
        parts = urlsplit(page.url)
        strayed = parts.netloc != self._host.netloc or re.match(r"/(dex|oauth2|login)(/|$)", parts.path)
        if strayed or not self._read_cookie(session):
            raise SignInError(
                f"{self._start}: Dex took the password, but {_show(parts)} ({page.status_code} {page.reason}) gave "
                "no session. Sign in there in a browser to see why."
            )
        return session

    def _find_login(self, session: requests.Session) -> requests.Response:
        """Follow the host's redirections to the page with the form."""
        page = self._send(session, "GET", f"{self._profile.host}/")
        if page.status_code in (401, 403):  # oauth2-proxy shows a button first
            query = urlencode({"rd": self._host.path or "/"})
            page = self._send(session, "GET", self._host._replace(path="/oauth2/start", query=query).geturl())
        parts = urlsplit(page.url)
        if parts.path.endswith("/auth"):  # Dex asks how to sign in
            page = self._send(session, "GET", parts._replace(path=f"{parts.path}/{CONNECTOR}").geturl())
            parts = urlsplit(page.url)
        if not LOGIN.search(parts.path) or page.status_code != 200:
            raise SignInError(
                f"{self._start}: it leads to no login page of Dex, but to {_show(parts)} ({page.status_code} "
                f"{page.reason}). Does this host use Dex, with passwords? Otherwise choose another sign_in.method."
            )
        if self._host.scheme == "https" and parts.scheme != "https":
            raise SignInError(
                f"{self._start}: its login page {_show(parts)} is not encrypted, so the password is not sent there. "
                "Ask its administrator."
            )
        return page

    def _send(
        self, session: requests.Session, method: str, address: str, form: dict[str, str] | None = None
    ) -> requests.Response:
        timeout = (network.CONNECT_SECONDS, network.ANSWER_SECONDS)
        try:
            page = session.request(method, address, data=form, timeout=timeout)
        except requests.TooManyRedirects:
            raise SignInError(f"{self._start}: its login pages lead in a circle. Ask its administrator.") from None
        except requests.RequestException as error:
            raise network.explain_silence(error, self._start, creates=False) from None
        if page.status_code >= 500 or page.status_code == 429:
            raise TransientError(
                f"{self._start}: {_show(urlsplit(page.url))} answered {page.status_code} {page.reason}. Try later."
            )
        return page

    def _read_cookie(self, session: requests.Session) -> str:
        """The cookies for the host that have not expired, as one header; empty when there are none."""
        session.cookies.clear_expired_cookies()
        request = requests.Request("GET", f"{self._profile.host}/").prepare()
        return get_cookie_header(session.cookies, request) or ""


def _show(parts: SplitResult) -> str:
    """An address without its query, which holds the secrets that open a session."""
    return parts._replace(query="", fragment="").geturl()
