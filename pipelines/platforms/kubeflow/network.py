"""The way to a Kubeflow host: whom to trust, through which proxy, how long to wait, and what silence means."""

import socket
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from components.mnist.errors import SettingError
from components.mnist.storage.causes import find_cause
from pipelines.platforms.base import PlatformError, TransientError
from pipelines.platforms.kubeflow.profile import KubeflowProfile

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # Kubeflow Pipelines compiles a pipeline before it answers
NOT_SENT = (NewConnectionError, ConnectTimeoutError, ProxyError)
UNKNOWN_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def name_host(profile: KubeflowProfile) -> str:
    """What a host is called in messages."""
    return f"Kubeflow Pipelines at {profile.host.rstrip('/')}"


def trust(profile: KubeflowProfile) -> ssl.SSLContext:
    """The certificates to trust: the machine's, those that come with Python's packages, and the profile's own.

    Raises:
        SettingError: The profile's file cannot be read.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if profile.ca_file:
        file = Path(profile.ca_file).expanduser()
        try:
            context.load_verify_locations(file)
        except OSError as error:
            raise SettingError(
                f"[{profile.name}] ca_file {file}: no certificates can be read from it ({error.strerror or error}); "
                "expected a file in PEM form, which begins with -----BEGIN CERTIFICATE-----."
            ) from error
    return context


def new_pool(profile: KubeflowProfile) -> urllib3.PoolManager:
    """Connections to the host that neither repeat a request nor follow a redirection by themselves."""
    parts = urlsplit(profile.host)
    context = trust(profile) if parts.scheme == "https" else None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, ssl_context=context, retries=False)
    return urllib3.PoolManager(ssl_context=context, retries=False)


def explain_silence(error: BaseException, start: str, *, creates: bool) -> PlatformError:
    """What it comes down to when no answer arrived, or not all of it.

    Args:
        error: Of urllib3 or requests.
        start: Of the message: who could not do what.
        creates: Whether the request was to make something.
    """
    words = find_cause(error)
    if isinstance(_find(error, ssl.SSLCertVerificationError), ssl.SSLCertVerificationError):
        return PlatformError(
            f"{start}: its certificate is not trusted here ({words}). Name the file of the authority that signed it: "
            "ca_file in the profile."
        )
    name = _find(error, socket.gaierror)
    if isinstance(name, socket.gaierror) and name.errno in UNKNOWN_HOST:
        return PlatformError(f"{start}: {words}. Check host in the profile, the network and a VPN.")
    if isinstance(_find(error, ssl.SSLError), ssl.SSLError) and not creates:
        return PlatformError(f"{start}: no encrypted connection ({words}). Does host begin with https:// rightly?")
    if any(_find(error, kind) for kind in NOT_SENT):
        return TransientError(f"{start}: no connection ({words}). Is it running, and does a port-forward still stand?")
    return TransientError(f"{start}: {words}. Check the network.", may_have_happened=creates)


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The link of a kind in a chain of wrapped exceptions."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, kind):
            return link
        seen.append(link)
        inner = [getattr(link, "reason", None), *link.args, link.__cause__, link.__context__]
        link = next((each for each in inner if isinstance(each, BaseException)), None)
    return None
