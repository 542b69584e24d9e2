"""Every code block of README and of most documents is run on small data."""

from __future__ import annotations

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
from tests import oracles
from tests.pages import blocks, file_shown, sections
from tests.stand_ins import JOBS, STAND_INS, write_photos
from tests.test_docs import RUN

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *RUN]
COOKBOOK = ROOT / "docs" / "cookbook.md"
# Trainings of minutes become one of two batches, timings one call.
_SHORT = {
    "train": ["--epochs=1", "--limit-batches=2"],
    "bench": ["--rounds=1", "--simulate=false"],
    **{command: ["--images=2"] for command in ("audit", "energy", "verify")},
}
# Where a configuration looks for its data, and a stand-in is.
_ELSEWHERE = {"configs/fashion_mnist_nano.yaml": ["--data.path=fashion"]}
_TESTED_ELSEWHERE = {"demo": "tests/test_demo.py", "app": "tests/app/test_page.py"}
_ALONE = {"models"}  # which lists what other tests of this process registered, too
_MAY_BE_ABSENT = {"drive.mp4": "av", "15M.pth": oracles.NOT_HERE}
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
    if words[0].startswith("D=") or words[0] == "python":
        return  # hours; each script has a test of its own
    if absent := [file for file in _MAY_BE_ABSENT if file in words and not Path(file).exists()]:
        missing.extend(_MAY_BE_ABSENT[file] for file in absent)
    elif words[0] == "spikesight":
        command = next(word for word in words[1:] if not word.startswith("--"))
        if command in _ALONE:
            subprocess.run([sys.executable, "-m", "spikesight", *words[1:]], check=True)
        elif command not in _TESTED_ELSEWHERE:
            where = [field for word in words for field in _ELSEWHERE.get(word, [])]
            assert main([*words[1:], *where, *_SHORT.get(command, [])]) == 0, line
    elif words[0] == "node" and not (_MODULES / "onnxruntime-web").is_dir():
        missing.append("onnxruntime-web: `npm install --no-save onnxruntime-web` in the checkout")
    elif not words[0].startswith("./") and shutil.which(words[0]) is None:
        missing.append(words[0])
    elif not words[0].startswith("./") or Path(words[0]).exists():
        ran = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        printed.append(ran.stdout)


def do(shown: list[tuple[str, str]], folder: Path) -> None:
    """Writes the files that are shown and does what is said; skips at the end if a tool lacks."""
    if _MODULES.is_dir():
        (folder / "node_modules").symlink_to(_MODULES)
    missing: list[str] = []
    printed: list[str] = []
    names: dict[str, object] = {}
    for language, text in shown:
        if name := file_shown(text):
            (folder / name).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, text[:40], "exec"), names)
        elif not language:
            for line in text.replace("\\\n", " ").splitlines():
                run_line(line, missing, printed)
        else:
            assert language == "text", f"a block of {language} says no file's name"
    if "shown" in names:  # the answer that programs in other languages give too
        assert {text.strip() for text in printed if text} <= {names["shown"]}
    if missing:
        pytest.skip(f"all but what needs {', '.join(missing)}")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != COOKBOOK], ids=lambda page: page.stem
)
def test_what_a_page_says_is_what_happens(page: Path, elsewhere: Path) -> None:
    STAND_INS.get(page.stem, write_photos)(elsewhere)
    do(blocks(page.read_text(encoding="utf-8")), elsewhere)


@pytest.mark.parametrize("job", JOBS)
def test_what_the_cookbook_says_of_a_job_is_what_happens(job: str, elsewhere: Path) -> None:
    JOBS[job](elsewhere)
    do(blocks(sections(COOKBOOK)[job]), elsewhere)


def test_every_part_of_the_cookbook_is_run() -> None:
    shown = {heading for heading, text in sections(COOKBOOK).items() if blocks(text)}
    assert shown == set(JOBS)
