"""Read a token or a password from where `mnist.toml` says it is; and keep it out of what people see."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pipelines.platforms.base import SignInError

# Google's tokens, and all that is signed in the same form.
SIGNED = re.compile(r"\bya29\.[\w.-]+|\b1//[\w-]{20,}|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
SHORTEST_HIDDEN = 6  # characters; shorter pieces of a cookie are no secret, and would tear words apart


def read_secret(what: str, *, file: str | None, variable: str | None) -> str:
    """A secret from a file or an environment variable, exactly one of them, without a line break at its end.

    Args:
        what: For the message: "token", "password".

    Raises:
        SignInError: It is not there, empty or cannot be read; names the place, never the content.
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
    except OSError as error:
        raise SignInError(
            f"sign_in: the {what} is read from {path}, which cannot be read ({error.strerror}). Put the {what} there, "
            "or correct the profile."
        ) from None
    except UnicodeDecodeError:
        raise SignInError(
            f"sign_in: the {what} is read from {path}, which holds no text. Put the {what} there."
        ) from None
    if not secret.strip():
        raise SignInError(f"sign_in: the {what} is read from {path}, which is empty. Put the {what} there.")
    return secret


def hide(text: str, headers: Mapping[str, str]) -> str:
    """Take out what a request showed, and all that looks like a token, should somebody on the way have repeated it.

    Args:
        headers: Of the request, as an `Access` made them.
    """
    cookies = [pair.partition("=")[2] for pair in headers.get("Cookie", "").split("; ")]
    pieces = [headers.get("Authorization", "").removeprefix("Bearer "), *cookies]
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST_HIDDEN:
            text = text.replace(piece, "...")
    return SIGNED.sub("...", text)
