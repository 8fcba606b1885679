"""Sign in on the page of Dex, as installed by Kubeflow's manifests, and keep the session.

Both of Kubeflow's proxies redirect there: oauth2-proxy (Kubeflow 1.9 and newer) and oidc-authservice (older).
"""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar, get_cookie_header

from pipelines.platforms.base import SignInError, TransientError
from pipelines.platforms.kubeflow import network
from pipelines.platforms.kubeflow.credentials import DexSignIn
from pipelines.platforms.kubeflow.profile import KubeflowProfile
from pipelines.platforms.kubeflow.sign_in import Access, read_secret

CONNECTOR = "local"  # if Dex offers several: the one with Dex's own passwords
LOGIN = re.compile(r"/auth/[^/]+/login$")
PAGE = {"Accept": "text/html"}  # without it, the proxies refuse instead of redirecting to Dex


class DexSession(Access):
    """A session cookie, fetched on Dex's page if there is none or the last has expired."""

    def __init__(self, profile: KubeflowProfile, sign_in: DexSignIn) -> None:
        self.advice = f"Are sign_in.username {sign_in.username} and its password right?"
        self._sign_in = sign_in
        self._host = urlsplit(profile.host)
        self._start = f"{profile.title} cannot be signed in to"
        self._cookies = RequestsCookieJar()  # the session's
        self._browser = requests.Session()  # for the login pages
        self._browser.headers.update(PAGE)
        adapter = HTTPAdapter()
        adapter.init_poolmanager(1, 1, ssl_context=network.trust(profile))
        self._browser.mount("https://", adapter)

    def headers(self) -> dict[str, str]:
        """Return the header with the session's cookie; sign in if there is none."""
        if not self._read_cookie():
            self._open()
        return {"Cookie": self._read_cookie()}

    def renew(self) -> bool:
        """Discard the session; a new one can always be opened."""
        self._cookies.clear()
        return True

    def _open(self) -> None:
        way = self._sign_in
        password = read_secret("password", file=way.password_file, variable=way.password_variable)
        self._browser.cookies.clear()
        page = self._find_login()
        before = {(cookie.domain, cookie.name, cookie.value) for cookie in self._browser.cookies}
        page = self._send("POST", page.url, {"login": way.username, "password": password})
        if LOGIN.search(urlsplit(page.url).path) and not page.history:  # the form again, at once
            raise SignInError(
                f"{self._start}: Dex does not accept the username {way.username} with the password from "
                f"{way.password_variable or way.password_file}. Correct one of them."
            )
        parts = urlsplit(page.url)
        if parts.path.endswith("/approval"):
            page = self._send("POST", page.url, {**dict(parse_qsl(parts.query)), "approval": "approve"})
            parts = urlsplit(page.url)
        if parts.netloc == self._host.netloc and not re.match(r"/(dex|oauth2|login)(/|$)", parts.path):
            for cookie in self._browser.cookies:
                # A cookie from before the sign-in is not the session.
                if (cookie.domain, cookie.name, cookie.value) not in before:
                    self._cookies.set_cookie(cookie)
        if not self._read_cookie():
            raise SignInError(
                f"{self._start}: Dex accepted the password, but {_show(page)} returned no session. Sign in there in a "
                "browser to see why."
            )

    def _find_login(self) -> requests.Response:
        """Follow the host's redirects to the login page."""
        page = self._send("GET", f"{self._host.geturl()}/")
        if page.status_code in (401, 403):  # oauth2-proxy shows a button first
            query = urlencode({"rd": self._host.path or "/"})
            page = self._send("GET", self._host._replace(path="/oauth2/start", query=query).geturl())
        parts = urlsplit(page.url)
        if parts.path.endswith("/auth"):  # Dex asks how to sign in
            page = self._send("GET", parts._replace(path=f"{parts.path}/{CONNECTOR}").geturl())
            parts = urlsplit(page.url)
        if not LOGIN.search(parts.path) or page.status_code != 200:
            raise SignInError(
                f"{self._start}: it redirects not to a login page of Dex, but to {_show(page)}. Does this host use "
                "Dex, with passwords? Otherwise choose another sign_in.method."
            )
        if self._host.scheme == "https" and parts.scheme != "https":
            raise SignInError(
                f"{self._start}: its login page {_show(page)} is not encrypted, so the password is not sent there. "
                "Ask its administrator."
            )
        return page

    def _send(self, method: str, address: str, form: dict[str, str] | None = None) -> requests.Response:
        timeout = (network.CONNECT_SECONDS, network.ANSWER_SECONDS)
        try:
            page = self._browser.request(method, address, data=form, timeout=timeout)
        except requests.TooManyRedirects:
            raise SignInError(f"{self._start}: its login pages redirect in a loop. Ask its administrator.") from None
        except requests.RequestException as error:
            raise network.explain_silence(error, self._start, creates=False) from None
        if page.status_code >= 500 or page.status_code == 429:
            raise TransientError(f"{self._start}: {_show(page)} failed. Try later.")
        return page

    def _read_cookie(self) -> str:
        """Return the host's cookies that have not expired, as one header; empty if there are none."""
        self._cookies.clear_expired_cookies()
        request = requests.Request("GET", f"{self._host.geturl()}/").prepare()
        return get_cookie_header(self._cookies, request) or ""


def _show(page: requests.Response) -> str:
    """Format a page's address and status, without the query, which holds session secrets."""
    address = urlsplit(page.url)._replace(query="", fragment="").geturl()
    return f"{address} ({page.status_code} {page.reason})"
