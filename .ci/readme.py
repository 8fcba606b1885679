"""Print the commands of READMEs, one a line, in their order: what stands behind `$ ` in blocks marked `console`.

A line that ends with a backslash goes on in the next one.
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
    for name in sys.argv[1:]:
        found = read_commands(Path(name).read_text(encoding="utf-8"))
        if not found:
            sys.exit(f"{name}: no command in it; expected blocks marked `console` with lines that begin with `$ `.")
        print("\n".join(found))
