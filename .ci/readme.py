"""Print the commands of documents, one a line: what follows `$ ` in blocks marked `console`, in its order.

A line that ends with a backslash continues in the next one. A command that an earlier document has already is left out.
"""

import re
import sys
from pathlib import Path


def read_commands(text: str) -> list[str]:
    """The commands of all console blocks."""
    commands = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        joined = block.replace("\\\n", " ")
        commands += [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.startswith("$ ")]
    return commands


if __name__ == "__main__":
    printed: dict[str, None] = {}
    for name in sys.argv[1:]:
        found = read_commands(Path(name).read_text(encoding="utf-8"))
        if not found:
            sys.exit(f"{name}: no command found; expected blocks marked `console` with lines that begin with `$ `.")
        printed |= dict.fromkeys(found)
    print("\n".join(printed))
