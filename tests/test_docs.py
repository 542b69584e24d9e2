"""What the documents name is there: paths, modules, command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
import yaml
from PIL import Image

import spikesight
from spikesight.commands.parser import read_command
from spikesight.commands.table import COMMANDS
from tests.boxed_photos import write_cells
from tests.data.shards.shard_files import write_shards
from tests.pages import blocks
from tests.stand_ins import write_scenes
from tests.test_import_directions import FLOOR

ROOT = Path(__file__).parents[1]
PACKAGE = Path(spikesight.__file__).parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_FOLDERS = ("src", "docs", "tests", "benchmarks", "configs", "weights")
_PACKAGES = {file.name for file in PACKAGE.iterdir() if (file / "__init__.py").exists()}
# What commands in the documents write, or users bring.
_MADE = ("runs/", "photos/", "camvid/")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
# What these pages say is done by test_tutorials.py, in order, with the files that they show.
RUN = [
    *(ROOT / "docs" / f"{name}.md" for name in ("first_steps", "concepts", "spk_format")),
    *(ROOT / "docs" / f"{name}.md" for name in ("conversion", "cookbook", "energy", "exports")),
    *(ROOT / "docs" / f"{name}.md" for name in ("mask_rcnn", "migration", "pretraining", "starts")),
    ROOT / "docs" / "training.md",
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
]
# What this one says by test_adding.py.
_ADDING = ROOT / "docs" / "adding.md"


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def paths(page: Path) -> Iterator[str]:
    """Files and folders: below known folders anywhere, of the package between backticks."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(_FOLDERS)})/[\w./-]*\w/?", text):
        yield name
    for name in re.findall(r"`([\w./-]+)`", prose(page)):
        package, inside, _ = name.partition("/")
        if (inside and package in _PACKAGES) or name.endswith((".py", ".md", ".css")):
            yield name


def is_there(name: str) -> bool:
    if any((folder / name).exists() for folder in (ROOT, PACKAGE, ROOT / "docs")):
        return True
    return "/" not in name and any(PACKAGE.rglob(name))


@each_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in paths(page) if not is_there(name)] == []


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(page))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []


@each_page
def test_every_name_of_the_package_that_a_page_uses_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in set(re.findall(r"(?<![\w.-])(?:spikesight|ss)\.([a-z][\w.]*\w)(?![\w/])", text)):
        if name != "spk":  # what a file says its format is
            resolve_name(f"spikesight.{name}")


def command_lines(page: Path) -> Iterator[str]:
    """The commands between backticks, and those of code blocks that are not run."""
    run = page in (*RUN, _ADDING)
    for language, text in [] if run else blocks(page.read_text(encoding="utf-8")):
        if language in ("", "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                if re.match(r"(torchrun \S+ -m )?spikesight ", line):
                    yield line.partition(" -m ")[2] or line
    for line in re.findall(r"`(spikesight [^`]+)`", prose(page)):
        yield line.replace("\n", " ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which the commands could be called: configurations, models, photos, shards."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("configs", "weights"):
        (folder / name).symlink_to(ROOT / name)
    for number in range(16):
        file = folder / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy()).save(file)
    write_shards(folder / "shards", [8, 8])
    write_cells(folder / "cells", "voc")
    write_scenes(folder)
    return folder


@each_page
def test_every_command_line_parses(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for line in command_lines(page):
        words = shlex.split(line, comments=True)[1:]
        if len(words) == 1:
            assert words[0] in (*COMMANDS, "COMMAND", "--help", "--version")
        elif "…" not in line:
            read_command(words)


def test_the_tree_of_the_house_shows_every_package_from_the_top_down() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (tree,) = [text for _, text in blocks(page) if "src/" in text]
    inside = tree.partition("\nconfigs/")[0]
    shown = re.findall(r"^  (?! )(\w+)(?:/|\.py)|(?<=/  )(\w+)/(?=  |$)", inside, re.M)
    names = [first or second for first, second in shown]
    floors = [FLOOR[name] for name in names if name in FLOOR]
    assert floors == sorted(floors, reverse=True)
    assert set(names) >= _PACKAGES


def test_workflows_run_what_the_makefile_has_on_the_pythons_of_the_package() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.M))
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    workflows = {
        file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in (ROOT / ".github" / "workflows").glob("*.yml")
    }
    runs = [
        step["run"]
        for workflow in workflows.values()
        for job in workflow["jobs"].values()
        for step in job.get("steps", [])
        if step.get("run", "").startswith("make ")
    ]
    assert {word for run in runs for word in run.split()[1:]} == {
        "check",
        "docs",
        "test",
        "nightly",
    }
    assert {"check", "docs", "test", "nightly"} <= targets
    pythons = workflows["tests"]["jobs"]["linux"]["strategy"]["matrix"]["python"]
    assert pythons == re.findall(r"Python :: (3\.\d+)", metadata)
