"""The commands of a guide page, so that they can be followed to the letter.

A comment above a block says what it is: `<!-- run -->` is a shell script, `<!-- file: NAME -->` is what a file has in it.
"""

import re
import subprocess
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
BLOCK = re.compile(r"<!-- (?P<what>run|file: (?P<name>\S+)) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)


def follow(page, directory, env, deadline):
    """Does what the page says; the commands, each with its exit code and what it said."""
    done = []
    for block in BLOCK.finditer((GUIDE / page).read_text(encoding="utf-8")):
        if block["name"]:
            (directory / block["name"]).write_text(block["text"])
            continue
        result = subprocess.run(["sh", "-e", "-c", block["text"]], cwd=directory, env=env, text=True, errors="replace",
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline)  # fmt: skip
        done.append((block["text"], result.returncode, result.stdout + result.stderr))
    return done
