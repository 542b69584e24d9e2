"""What docs/adding.md says, done as it stands there, from files outside the package."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikesight
from spikesight.commands.parser import main
from tests.pages import blocks, file_shown, sections

PAGE = Path(__file__).parents[1] / "docs" / "adding.md"
PACKAGE = Path(spikesight.__file__).parent


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, from which Python imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write_files(folder: Path) -> None:
    """Writes the files that the page shows; each says its name in its first line."""
    for language, text in blocks(PAGE.read_text(encoding="utf-8")):
        if language and (name := file_shown(text)):
            (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("title", sections(PAGE))
def test_what_a_section_says_is_what_happens(title: str, elsewhere: Path) -> None:
    write_files(elsewhere)
    for language, text in blocks(sections(PAGE)[title]):
        if language == "python" and not file_shown(text):
            exec(compile(text, f"{PAGE.name}, {text[:40]!r}", "exec"), {})
        elif not language:
            for line in text.replace("\\\n", " ").splitlines():
                assert main(shlex.split(line, comments=True)[1:]) == 0, line


def test_the_sites_of_a_primitive_are_all_of_them() -> None:
    """Blocks that are made of it, beside it in attention/, need not know how it works."""
    listed = re.findall(r"^\| `(\S+\.py)` \|", sections(PAGE)["A primitive"], re.M)
    files = [
        file
        for file in PACKAGE.rglob("*.py")
        if re.search(r"\b(Any|Integer)?Gate\b", file.read_text(encoding="utf-8"))
        and (file.parent.name != "attention" or file.name in ("__init__.py", "gate.py"))
    ]
    assert sorted(listed) == sorted(str(file.relative_to(PACKAGE).as_posix()) for file in files)
