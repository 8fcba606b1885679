"""Read a token or a password from where `mnist.toml` says it is, and keep it out of what people see."""

import os
from collections.abc import Mapping
from pathlib import Path

from components.mnist.errors import mask_tokens
from pipelines.platforms.base import SignInError

SHORTEST_HIDDEN = 6  # characters; shorter pieces of a cookie are no secret, and would tear words apart


def read_secret(what: str, *, file: str | None, variable: str | None) -> str:
    """Read a secret from a file or an environment variable, exactly one of them, without a line break at its end.

    Args:
        what: For the message: "token", "password".

    Raises:
        SignInError: It is missing, empty or cannot be read; the message names the file or variable, never the content.
    """
    if variable:
        if secret := os.environ.get(variable, "").rstrip("\r\n"):
            return secret
        found = "is empty" if variable in os.environ else "is not set"
        raise SignInError(
            f"sign_in: the {what} is read from the environment variable {variable}, which {found}. Set it: "
            f"export {variable}=..."
        )
    path = Path(file or "").expanduser()
    try:
        secret = path.read_text(encoding="utf-8").strip("\r\n")
        found = "" if secret.strip() else f"is empty. Put the {what} there."
    except OSError as error:
        found = f"cannot be read ({error.strerror}). Put the {what} there, or correct the profile."
    except UnicodeDecodeError:
        found = f"holds no text. Put the {what} there."
    if found:
        raise SignInError(f"sign_in: the {what} is read from {path}, which {found}")
    return secret


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
