"""The documentation's site is built without a warning, and says all that the code has."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import spikesight
from spikesight.commands.table import COMMANDS
from spikesight.commands.training import TrainOptions

for package in ("sphinx", "furo", "myst_parser"):
    pytest.importorskip(package, reason="the site wants the extra docs")

DOCS = Path(__file__).parents[1] / "docs"


def build(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` does."""
    call = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    call += ["-c", str(DOCS), str(source), str(output)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    built = build(DOCS, output)
    assert built.returncode == 0, built.stderr
    return output


def fields_of(kind: Any, section: str = "") -> list[str]:
    hints = get_type_hints(kind)
    names = []
    for field in fields(kind):
        kind_of_field = hints[field.name]
        if is_dataclass(kind_of_field):
            names += fields_of(kind_of_field, f"{section}{field.name}.")
        else:
            names.append(section + field.name)
    return names


def test_every_page_is_built(site: Path) -> None:
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert {page for page in pages if not (site / page).exists()} == set()


def test_the_reference_has_every_public_name_with_its_docstring(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    entries = re.findall(
        r'<dt class="sig[^>]*id="spikesight\.(\w+)">.*?</dt>\s*<dd>(.)', text, re.S
    )
    assert sorted(name for name, _ in entries) == sorted(spikesight.__all__)


def test_the_reference_has_every_field_of_a_yaml_file(site: Path) -> None:
    text = html.unescape((site / "yaml.html").read_text(encoding="utf-8"))
    shown = re.findall(r'<dt class="sig[^>]*>\s*<span[^>]*><span[^>]*>([\w.]+)<', text)
    assert sorted(shown) == sorted(fields_of(TrainOptions))


def test_the_reference_has_every_command_with_its_examples(site: Path) -> None:
    text = html.unescape((site / "commands.html").read_text(encoding="utf-8"))
    for name, command in COMMANDS.items():
        assert f"usage: spikesight {name} " in text
        for example in command.examples:
            assert example in text


def test_what_leads_nowhere_fails(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    page = "# Title\n\n[a page](gone.md)\n\n[a heading](#lost)\n\n![a picture](none.svg)\n\n"
    page += ":::{toctree}\nmissing\n:::\n"
    (source / "index.md").write_text(page, encoding="utf-8")
    (source / "unlisted.md").write_text("# Title\n", encoding="utf-8")
    built = build(source, tmp_path / "site")
    assert built.returncode != 0
    for complaint in ("gone.md", "lost", "none.svg", "missing", "unlisted.md"):
        assert complaint in built.stderr
