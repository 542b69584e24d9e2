"""Every code block of README, first steps, concepts and tutorials is run on small data."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.commands.parser import main
from spikesight.training.tasks.classification import choices as photo_choices
from spikesight.training.tasks.segmentation import choices as scene_choices
from tests.stand_ins import STAND_INS, write_photos
from tests.test_docs import RUN, blocks

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *RUN]
# The first line of a block that is a file: in Python and YAML, C, JavaScript.
_FILE = re.compile(r"(?:#|//|/\*) (\w+\.\w+)(?: \*/)?\n")
# Trainings of minutes become one of two batches.
_SHORT = {"train": ["--epochs=1", "--limit-batches=2"]}
_TESTED_ELSEWHERE = {"demo": "tests/test_demo.py", "app": "tests/app/test_page.py"}
_MODULES = ROOT / "node_modules"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with the weights that come along, from which Python imports."""
    for name in ("configs", "weights"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in (photo_choices, scene_choices):
        monkeypatch.setattr(module, "training_images_per_second", lambda *_: 30.0)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def run_line(line: str, missing: list[str], printed: list[str]) -> None:
    """Runs one line of a shell block, or says what for it is not here.

    What a program of the page prints is kept.
    """
    words = shlex.split(line, comments=True)
    if not words or words[0] in ("make", "npm", "pip"):
        return  # what needs the network
    if words[0] == "spikesight":
        command = next(word for word in words[1:] if not word.startswith("--"))
        if command not in _TESTED_ELSEWHERE:
            assert main([*words[1:], *_SHORT.get(command, [])]) == 0, line
    elif words[0] == "node" and not (_MODULES / "onnxruntime-web").is_dir():
        missing.append("onnxruntime-web: `npm install --no-save onnxruntime-web` in the checkout")
    elif not words[0].startswith("./") and shutil.which(words[0]) is None:
        missing.append(words[0])
    elif not words[0].startswith("./") or Path(words[0]).exists():
        ran = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        printed.append(ran.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_is_what_happens(page: Path, elsewhere: Path) -> None:
    STAND_INS.get(page.stem, write_photos)(elsewhere)
    if _MODULES.is_dir():
        (elsewhere / "node_modules").symlink_to(_MODULES)
    missing: list[str] = []
    printed: list[str] = []
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if name := _FILE.match(text):
            (elsewhere / name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, f"{page.name}, {text[:40]!r}", "exec"), names)
        elif not language:
            for line in text.replace("\\\n", " ").splitlines():
                run_line(line, missing, printed)
        else:
            assert language == "text", f"a block of {language} says no file's name"
    if "shown" in names:  # the answer that programs in other languages give too
        assert {text.strip() for text in printed if text} <= {names["shown"]}
    if missing:
        pytest.skip(f"all but what needs {', '.join(missing)}")


def test_the_python_of_the_cookbook_runs(elsewhere: Path) -> None:
    names: dict[str, object] = {}
    for language, text in blocks(DOCS / "cookbook.md"):
        if language == "python":
            exec(compile(text, f"cookbook.md, {text[:40]!r}", "exec"), names)
