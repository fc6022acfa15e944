"""The documents name what there is: every module, every message kind, every option; and their links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CRATES = ("xdist-proto", "xdist-coord", "xdist-worker", "xdist-link", "xdist-cli")
DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)  # fmt: skip


def modules():
    """Every module as architecture.md writes it, for example `session/results.rs`, below its crate."""
    for crate in CRATES:
        for path in sorted((ROOT / crate / "src").rglob("*.rs")):
            name = path.relative_to(ROOT / crate / "src").as_posix()
            # A test module belongs to the module it tests.
            if name not in ("lib.rs", "main.rs") and path.stem != "tests" and "/tests/" not in name:
                yield f"{crate}/src/{name}"
    for path in sorted((ROOT / "xdist-worker" / "python" / "xdist_pytest").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix()


def test_the_map_names_nothing_that_is_gone():
    text = (ROOT / "docs" / "architecture.md").read_text()
    there = {module.rpartition("/src/")[2] for module in modules()} | {
        module.rpartition("/")[2] for module in modules()
    }
    code_map = text[text.index("## Code map") : text.index("### Around the crates")]
    named = set(re.findall(r"`([\w/]+\.(?:rs|py))`", code_map))
    assert not named - there


ENUMS = (
    *("CoordinatorMessage", "WorkerMessage", "FrontendMessage", "FrontendCommand"),
    *("PeerOpening", "CoordinatorOpening"),
)


def kinds():
    """Every message kind, from the enums of message.rs and frontend.rs, and the opening exchange in codec.rs."""
    for file in ("message.rs", "frontend.rs", "codec.rs"):
        text = (ROOT / "xdist-proto" / "src" / file).read_text()
        for name in ENUMS:
            if body := re.search(rf"pub enum {name} \{{(.*?)\n\}}", text, re.DOTALL):
                yield from re.findall(r'rename = "([^"]+)"', body.group(1))


@pytest.mark.parametrize("module", list(modules()))
def test_every_module_is_in_the_map(module):
    text = (ROOT / "docs" / "architecture.md").read_text()
    crate, _, name = module.partition("/src/") if "/src/" in module else module.rpartition("/")
    heading = re.search(rf"^### `?{re.escape(crate)}`?.*?(?=^##)", text, re.DOTALL | re.MULTILINE)
    assert heading, f"architecture.md has no section for {crate}"
    assert f"`{name}`" in heading.group(0), f"architecture.md does not name {name} under {crate}"


@pytest.mark.parametrize("kind", sorted(set(kinds())))
def test_every_message_is_in_the_protocol(kind):
    assert f"`{kind}`" in (ROOT / "docs" / "protocol.md").read_text()


def test_there_are_message_kinds():
    """Guards the two tests above against a pattern that no longer matches anything."""
    assert {"run", "item_finished", "item_result", "crash_handled", "hello"} <= set(kinds())


def options():
    """Every option that `xdist run --help` explains."""
    text = (ROOT / "xdist-cli" / "src" / "args.rs").read_text()
    # What stands below is pytest's.
    shown = text[text.index("const RUN_HELP") : text.index("Everything else is pytest")]
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown)))


@pytest.mark.parametrize("option", options())
def test_every_option_is_in_the_guide(option):
    assert f"{option}" in (ROOT / "docs" / "guide" / "options.md").read_text()


def claimed_tests():
    """Every test that security.md says shows something."""
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.rstrip().endswith("` |")]
    return sorted({name for row in rows for name in re.findall(r"`(\w+)`", row.rsplit("|", 2)[1])})


@pytest.mark.parametrize("name", claimed_tests())
def test_every_claim_about_security_has_its_test(name):
    sources = [*ROOT.glob("xdist-*/src/**/*.rs"), *ROOT.glob("xdist-*/tests/**/*.rs"), *ROOT.glob("tests/e2e/*.py")]
    pattern = re.compile(rf"#\[test\]\s+fn {name}\(|^def {name}\(", re.MULTILINE)
    assert any(pattern.search(path.read_text()) for path in sources), f"security.md names {name}, which is not there"


def test_there_are_claims_about_security():
    assert len(claimed_tests()) > 20


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target and not target.startswith("#"):
            path = document.parent / target.partition("#")[0]
            assert path.exists(), f"{document.name} links to {target}"


def test_commands_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^(?:\$ )?make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
