"""What is in the files of the tests, for a comparison with other machines."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: With more files than this, none is told of.
_MOST_FILES = 100_000


def hashes(config: pytest.Config, items: list[pytest.Item]) -> dict[str, int]:
    """A hash of each file that an item is from, and of each conftest, by its path in the root directory.

    Files elsewhere are left out: an installed package may be another one for good reasons.
    """
    root = os.path.join(str(config.rootpath), "")
    paths = set(map(str, {item.path for item in items}))
    for plugin in config.pluginmanager.get_plugins():
        path = getattr(plugin, "__file__", None)
        if isinstance(path, str) and os.path.basename(path) == "conftest.py":
            paths.add(path)
    inside = [path for path in paths if path.startswith(root)]
    if len(inside) > _MOST_FILES:
        return {}
    found = {}
    for path in inside:
        name = path[len(root) :]
        try:
            # What is no UTF-8 cannot travel as the name of a file.
            name.encode()
            with open(path, "rb", buffering=0) as file:
                content = file.read()
        except (OSError, UnicodeError):
            continue
        found[name] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
    return found
