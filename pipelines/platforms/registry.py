"""Check whether a container registry has an image, as an engine does before a pull; nothing is pulled.

The protocol is the OCI distribution specification's, with its token server (https://distribution.github.io/). The
docker SDK finds the registry and the credentials of `docker login`, but leaves the request to an engine, which need
not run here.
"""

import re
from http import HTTPStatus

import docker.auth
import docker.errors
import requests
from requests.auth import HTTPBasicAuth
from requests.utils import parse_dict_header

from components.mnist.errors import DataError
from components.mnist.storage.causes import find_cause
from components.mnist.storage.https import check_address
from pipelines.checks import NotCheckedError

ANSWER_SECONDS = (3.0, 5.0)  # to connect, to answer
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
GOOGLE = re.compile(r"(.+-docker\.pkg\.dev|(.+\.)?gcr\.io)")
# Like Docker: http on this machine, https everywhere else.
THIS_MACHINE = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


def find_host(reference: str) -> str:
    """Return the registry of a reference."""
    return docker.auth.resolve_repository_name(reference)[0]


def find_login(host: str, *, google_token: str | None) -> HTTPBasicAuth | None:
    """Find the credentials for a registry: a Google token for Google's registries, else those of `docker login`.

    Args:
        google_token: An access token of Google Cloud, sent only to Google's registries.
    """
    if google_token and GOOGLE.fullmatch(host):
        return HTTPBasicAuth("oauth2accesstoken", google_token)
    try:
        found = docker.auth.load_config().resolve_authconfig(host) or {}
    except (docker.errors.DockerException, OSError, ValueError):  # a missing credential helper, an invalid file
        return None
    user, password = found.get("username") or found.get("Username"), found.get("password") or found.get("Password")
    return HTTPBasicAuth(user, password) if user and password else None


def has_image(reference: str, *, google_token: str | None) -> bool:
    """Whether a registry has an image.

    Args:
        reference: A reference by digest.
        google_token: As in `find_login`.

    Raises:
        NotCheckedError: The registry does not answer, or rejects the credentials.
    """
    host, path = docker.auth.resolve_repository_name(reference)
    login = find_login(host, google_token=google_token)
    try:
        status = _ask(host, path, login)
    except (requests.RequestException, DataError) as error:
        problem = f"cannot be reached from here ({find_cause(error)}); the platform may reach it"
    else:
        if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            return status == HTTPStatus.OK
        problem = f"answered {status}; the platform may get another answer"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            problem = "rejected the credentials found here" if login else "requires credentials"
    raise NotCheckedError(f"{host} {problem}; check with your own: docker manifest inspect {reference}")


def _ask(host: str, path: str, login: HTTPBasicAuth | None) -> int:
    """Request an image's manifest, without credentials first, then as the registry demands; return the status.

    Args:
        path: The rest of a reference after the host: a name and a digest.
    """
    name, _, digest = path.partition("@")
    if host == docker.auth.INDEX_NAME:  # Docker Hub
        host, name = "registry-1.docker.io", name if "/" in name else f"library/{name}"
    url = f"{'http' if THIS_MACHINE.fullmatch(host) else 'https'}://{host}/v2/{name}/manifests/{digest}"
    with requests.Session() as session:
        session.headers["Accept"] = ", ".join(MANIFESTS)
        answer = session.head(url, allow_redirects=True, timeout=ANSWER_SECONDS)
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        if answer.status_code != HTTPStatus.UNAUTHORIZED or scheme.lower() not in ("basic", "bearer"):
            return answer.status_code
        if scheme.lower() == "basic":
            session.auth = login
        elif token := _fetch_token(parse_dict_header(rest), login):
            session.headers["Authorization"] = f"Bearer {token}"
            session.auth = lambda request: (
                request
            )  # else requests would replace the header with credentials from ~/.netrc
        return session.head(url, allow_redirects=True, timeout=ANSWER_SECONDS).status_code


def _fetch_token(challenge: dict[str, str], login: HTTPBasicAuth | None) -> str | None:
    """Fetch a token from the registry's token server, anonymously or with the login; None if it refuses."""
    realm = challenge.get("realm", "")
    check_address(realm)  # a password is sent there
    given = {name: challenge[name] for name in ("service", "scope") if name in challenge}
    answer = requests.get(realm, params=given, auth=login, timeout=ANSWER_SECONDS)
    content = answer.json() if answer.ok else {}
    return content.get("token") or content.get("access_token")
