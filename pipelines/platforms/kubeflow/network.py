"""The network to a Kubeflow host: trusted certificates, proxies, time-outs and connection errors."""

import socket
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from components.mnist.errors import SettingError, chain
from components.mnist.storage.causes import find_cause
from pipelines.platforms.base import PlatformError, TransientError
from pipelines.platforms.kubeflow.profile import KubeflowProfile

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0  # Kubeflow Pipelines compiles a pipeline before it answers
UNKNOWN_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def trust(profile: KubeflowProfile) -> ssl.SSLContext:
    """Trust the certificates of the machine, of the package certifi, and of the profile.

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
    """Open a pool of connections to the host, without automatic retries and redirects."""
    parts = urlsplit(profile.host)
    context = trust(profile) if parts.scheme == "https" else None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, ssl_context=context, retries=False)
    return urllib3.PoolManager(ssl_context=context, retries=False)


def explain_silence(error: BaseException, start: str, *, creates: bool) -> PlatformError:
    """Translate the error of a missing or incomplete answer.

    Args:
        error: An exception of urllib3 or requests.
        start: The start of the message: the host and the request.
        creates: Whether the request creates something.
    """
    cause = find_cause(error)
    # The innermost first, which is the most specific. In all but the last case the request was not sent.
    for link in reversed(list(chain(error))):
        match link:
            case ssl.SSLCertVerificationError():
                advice = "Name the file of the authority that signed it: ca_file in the profile."
                return PlatformError(f"{start}: its certificate is not trusted here ({cause}). {advice}")
            case socket.gaierror(errno=number) if number in UNKNOWN_HOST:
                return PlatformError(f"{start}: {cause}. Check host in the profile, the network and a VPN.")
            # If the request creates something, it may have been sent before the encryption failed.
            case ssl.SSLError() if not creates:
                return PlatformError(f"{start}: no encrypted connection ({cause}). Is https:// right in host?")
            case NewConnectionError() | ConnectTimeoutError() | ProxyError():
                advice = "Is it running, and is a port-forward still open?"
                return TransientError(f"{start}: no connection ({cause}). {advice}")
    return TransientError(f"{start}: {cause}. Check the network.", may_have_happened=creates)
