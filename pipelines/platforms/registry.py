"""Ask a container registry whether it has an image, as it is asked before a pull; nothing is pulled.

The protocol is the OCI distribution specification's, with its token server (https://distribution.github.io/).
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

import docker.auth
import docker.errors
import requests

from components.mnist.errors import DataError, MnistError
from components.mnist.storage.causes import find_cause
from components.mnist.storage.https import check_address

ANSWER_SECONDS = (3.0, 5.0)  # to connect, to answer
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
DOCKER_HUB = "registry-1.docker.io"
GOOGLE = re.compile(r"(.+-docker\.pkg\.dev|(.+\.)?gcr\.io)")


class SilentError(MnistError):
    """The registry cannot be reached from here, or does not answer as one."""


class ClosedError(MnistError):
    """The registry tells only who signs in, with other credentials than those that were found here."""


@dataclass(frozen=True)
class Login:
    """Who asks; of no use in a message."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def find_host(reference: str) -> str:
    """The registry of a reference, as one writes it."""
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or set(first) & set(".:")) else "docker.io"


def find_login(host: str, *, google_token: str | None) -> Login | None:
    """The credentials for a registry: Google's own for Google's registries, else what `docker login` left.

    Args:
        google_token: An access token of Google Cloud; goes to Google's registries only.
    """
    if google_token and GOOGLE.fullmatch(host):
        return Login("oauth2accesstoken", google_token)
    try:
        found = docker.auth.load_config().resolve_authconfig(host) or {}
    except (docker.errors.DockerException, OSError, ValueError):  # a helper that is missing, a broken file
        return None
    user, password = found.get("username") or found.get("Username"), found.get("password") or found.get("Password")
    return Login(user, password) if user and password else None


def has_image(reference: str, login: Login | None) -> bool:
    """Whether a registry has an image.

    Args:
        reference: By digest.

    Raises:
        SilentError: It does not answer.
        ClosedError: It wants other credentials.
    """
    host = find_host(reference)
    name, _, digest = reference.removeprefix(f"{host}/").partition("@")
    if host == "docker.io":
        name = name if "/" in name else f"library/{name}"
    url = f"{_find_scheme(host)}://{DOCKER_HUB if host == 'docker.io' else host}/v2/{name}/manifests/{digest}"
    try:
        status = _ask(url, login)
    except (requests.RequestException, DataError) as error:
        raise SilentError(f"{host} cannot be reached from here ({find_cause(error)})") from None
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise ClosedError(f"{host} wants credentials" + (" other than those found here" if login else ""))
    if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        raise SilentError(f"{host} answers {status}")
    return status == HTTPStatus.OK


def _find_scheme(host: str) -> str:
    """Like Docker: http on this machine, https everywhere else."""
    try:
        check_address(f"http://{host}")
    except DataError:
        return "https"
    return "http"


def _ask(url: str, login: Login | None) -> int:
    headers = {"Accept": ", ".join(MANIFESTS)}
    answer = requests.head(url, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=True)
    if answer.status_code != HTTPStatus.UNAUTHORIZED:
        return answer.status_code
    scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
    if scheme.lower() == "basic" and login:
        signed = requests.head(url, headers=headers, auth=(login.user, login.password), timeout=ANSWER_SECONDS)
        return signed.status_code
    if scheme.lower() != "bearer" or not (token := _fetch_token(dict(re.findall(r'(\w+)="([^"]*)"', rest)), login)):
        return answer.status_code
    headers["Authorization"] = f"Bearer {token}"
    return requests.head(url, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=True).status_code


def _fetch_token(challenge: dict[str, str], login: Login | None) -> str | None:
    """A token of the registry's token server, for anyone or for who signs in; None when it gives none."""
    realm = challenge.pop("realm", "")
    check_address(realm)  # a password goes there
    given = {name: challenge[name] for name in ("service", "scope") if name in challenge}
    auth = (login.user, login.password) if login else None
    answer = requests.get(realm, params=given, auth=auth, timeout=ANSWER_SECONDS)
    content = answer.json() if answer.ok else {}
    return content.get("token") or content.get("access_token")
