"""What is in the files of the tests, as other machines are compared with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from xdist_pytest import trees


def found(root: Path, paths: list[Path], plugins: list[Path]) -> dict[str, int]:
    config: Any = SimpleNamespace(
        rootpath=root,
        pluginmanager=SimpleNamespace(get_plugins=lambda: [SimpleNamespace(__file__=str(path)) for path in plugins] + [object()]),
    )  # fmt: skip
    items: Any = [SimpleNamespace(path=path) for path in paths]
    return trees.hashes(config, items)


def test_files_of_items_and_conftests_below_the_root_count(tmp_path: Path) -> None:
    root = tmp_path / "suite"
    (root / "sub").mkdir(parents=True)
    files = [root / "test_a.py", root / "sub" / "conftest.py", root / "plugin.py", tmp_path / "conftest.py"]
    for number, path in enumerate(files):
        path.write_bytes(b"%d" % number)
    first, conftest, plugin, outside = files
    missing = root / "test_missing.py"
    expected = {
        name: int(hashlib.blake2b(content, digest_size=8).hexdigest(), 16)
        for name, content in (("test_a.py", b"0"), ("sub/conftest.py", b"1"))
    }
    assert found(root, [first, first, missing], [conftest, plugin, outside]) == expected


def test_a_change_is_seen_even_if_it_keeps_the_length(tmp_path: Path) -> None:
    path = tmp_path / "test_a.py"
    path.write_text("a")
    before = found(tmp_path, [path], [])
    path.write_text("b")
    assert found(tmp_path, [path], []) != before


def test_too_many_files_are_not_told_of(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(trees, "_MOST_FILES", 1)
    paths = [tmp_path / "test_a.py", tmp_path / "test_b.py"]
    for path in paths:
        path.touch()
    assert found(tmp_path, paths, []) == {}
    assert len(found(tmp_path, paths[:1], [])) == 1
