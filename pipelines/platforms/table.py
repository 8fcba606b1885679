"""The table of platforms. A new platform is a package beside this module, and one row here."""

from pipelines.platforms.base import Platform, PlatformClient
from pipelines.platforms.kubeflow.platform import PLATFORM as KUBEFLOW
from pipelines.platforms.vertex.platform import PLATFORM as VERTEX
from pipelines.profiles import Profile

PLATFORMS: dict[str, Platform] = {"kubeflow": KUBEFLOW, "vertex": VERTEX}


def connect(profile: Profile) -> PlatformClient:
    """Sign in to a profile's platform.

    Raises:
        PlatformError: The sign-in failed.
        SettingError: The profile names a file that cannot be read.
    """
    return PLATFORMS[profile.platform].connect(profile)
