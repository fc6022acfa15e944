"""Metadata of a distribution that is not installed, for those who look at its version."""

from __future__ import annotations

import importlib.metadata
from os import PathLike
from pathlib import Path
from typing import Any, Optional


class Stated(importlib.metadata.Distribution):
    """A distribution of which nothing but name and version is known."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: Any) -> Optional[str]:
        """The text of a metadata file."""
        return self._text if str(filename) == "METADATA" else None

    def locate_file(self, path: Any) -> PathLike[str]:
        """Where a file would be."""
        return Path(path)
