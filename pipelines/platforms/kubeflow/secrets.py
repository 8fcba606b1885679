"""Read a token or a password from where `mnist.toml` says it is, and keep it out of what people see."""

import os
from collections.abc import Mapping
from pathlib import Path

from components.mnist.errors import mask_tokens
from pipelines.platforms.base import SignInError

SHORTEST_HIDDEN = 6  # characters; shorter pieces of a cookie are no secret, and would tear words apart


def read_secret(what: str, *, file: str | None, variable: str | None) -> str:
    """Read a secret from a file or an environment variable, exactly one of them, without line breaks around it.

    Args:
        what: For the message: "token", "password".

    Raises:
        SignInError: It is missing, empty or cannot be read; the message names the file or variable, never the content.
    """
    source = f"the environment variable {variable}" if variable else str(Path(file or "").expanduser())
    remedy = f"Set it: export {variable}=..." if variable else f"Put the {what} there, or correct the profile."
    trouble = "is empty"
    try:
        secret = os.environ[variable] if variable else Path(source).read_text(encoding="utf-8")
        if secret.strip():
            return secret.strip("\r\n")
    except KeyError:
        trouble = "is not set"
    except OSError as error:
        trouble = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        trouble = "holds no text"
    raise SignInError(f"sign_in: the {what} is read from {source}, which {trouble}. {remedy}")


def hide(text: str, headers: Mapping[str, str]) -> str:
    """Mask the credentials of a request, and whatever looks like a token, in case an answer repeats them.

    Args:
        headers: Of the request, as an `Access` made them.
    """
    cookies = [pair.partition("=")[2] for pair in headers.get("Cookie", "").split("; ")]
    pieces = [headers.get("Authorization", "").removeprefix("Bearer "), *cookies]
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST_HIDDEN:
            text = text.replace(piece, "...")
    return mask_tokens(text)
