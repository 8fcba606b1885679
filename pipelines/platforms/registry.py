"""Ask a container registry whether it has an image, as an engine asks before a pull; nothing is pulled.

The protocol is the OCI distribution specification's, with its token server (https://distribution.github.io/). The
docker SDK finds the registry and the credentials of `docker login`, but leaves asking to an engine, which need not run
here.
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
    """The registry of a reference, as a person writes it."""
    return docker.auth.resolve_repository_name(reference)[0]


def find_login(host: str, *, google_token: str | None) -> HTTPBasicAuth | None:
    """The credentials for a registry: Google's own for Google's registries, else those of `docker login`.

    Args:
        google_token: An access token of Google Cloud; goes to Google's registries only.
    """
    if google_token and GOOGLE.fullmatch(host):
        return HTTPBasicAuth("oauth2accesstoken", google_token)
    try:
        found = docker.auth.load_config().resolve_authconfig(host) or {}
    except (docker.errors.DockerException, OSError, ValueError):  # a helper that is missing, a broken file
        return None
    user, password = found.get("username") or found.get("Username"), found.get("password") or found.get("Password")
    return HTTPBasicAuth(user, password) if user and password else None


def has_image(reference: str, *, google_token: str | None) -> bool:
    """Whether a registry has an image.

    Args:
        reference: By digest.
        google_token: As `find_login` takes it.

    Raises:
        NotCheckedError: The registry does not answer, or wants other credentials.
    """
    host, path = docker.auth.resolve_repository_name(reference)
    login = find_login(host, google_token=google_token)
    try:
        status = _ask(host, path, login)
    except (requests.RequestException, DataError) as error:
        trouble = f"cannot be reached from here ({find_cause(error)}), though the platform may reach it"
    else:
        if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            return status == HTTPStatus.OK
        trouble = f"answers {status}, though maybe not to the platform"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            trouble = "wants credentials other than those found here" if login else "wants credentials"
    raise NotCheckedError(f"{host} {trouble}; ask it yourself: docker manifest inspect {reference}")


def _ask(host: str, path: str, login: HTTPBasicAuth | None) -> int:
    """The status of an image's manifest; asks as anyone first, then in the way that the registry demands.

    Args:
        path: What follows the host in a reference: a name, and a digest.
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
            session.auth = lambda request: request  # or requests would replace the header by what ~/.netrc has
        return session.head(url, allow_redirects=True, timeout=ANSWER_SECONDS).status_code


def _fetch_token(challenge: dict[str, str], login: HTTPBasicAuth | None) -> str | None:
    """A token of the registry's token server, for anyone or for who logged in; None if it refuses."""
    realm = challenge.get("realm", "")
    check_address(realm)  # a password goes there
    given = {name: challenge[name] for name in ("service", "scope") if name in challenge}
    answer = requests.get(realm, params=given, auth=login, timeout=ANSWER_SECONDS)
    content = answer.json() if answer.ok else {}
    return content.get("token") or content.get("access_token")
