"""Names are shown as they are, on one line, and outputs are called after them without clashes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from spikesight.errors import FileError
from spikesight.files.names import check_name, show, show_path
from spikesight.files.writing import distinct_stems

VIDEOS = frozenset({".mp4"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photo [copy] $\\frac$ <b>.png", "photo [copy] $\\frac$ <b>.png"),
        ("猫 é 👩‍👧", "猫 é 👩‍👧"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("two\nlines\t\x1b[31mred\x7f", "two\\nlines\\t\\x1b[31mred\\x7f"),
        ("gpj.\u202excod", "gpj.\\u202excod"),
        ("\u2028", "\\u2028"),
    ],
)
def test_names_are_shown_on_one_line(name: str, text: str) -> None:
    assert show(name) == show(Path(name)) == text


@given(st.text(st.characters(codec=None), max_size=20))
def test_shown_names_can_be_written_anywhere(name: str) -> None:
    text = show(name)
    text.encode()
    assert len(text.splitlines()) <= 1


def test_paths_below_the_current_folder_are_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert show_path(tmp_path / "a" / "b.png") == str(Path("a", "b.png"))
    assert show_path(Path("..", "b.png")) == str(Path("..", "b.png"))
    assert show_path(tmp_path.parent / "b.png") == str(tmp_path.parent / "b.png")


def test_outputs_of_one_name_are_numbered() -> None:
    files = [Path(name) for name in ("x/a.png", "y/a.jpg", "A.png", "a_2.png", "b.png")]
    assert distinct_stems(files) == ["a", "a_2", "A_3", "a_2_2", "b"]
    assert distinct_stems([Path("a.png")] * 3000)[-1] == "a_3000"


def test_no_output_is_called_like_a_frame() -> None:
    names = ("v_000001.png", "v.mp4", "v_2_000003.png", "w.mp4", "w_000002.png", "w_12.png")
    stems = distinct_stems([Path(name) for name in names], VIDEOS)
    assert stems == ["v_000001", "v_2", "v_2_000003_2", "w", "w_000002_2", "w_12"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["v", "V", "v_2", "v_000001", "v_2_000001", "v_000001_000001"]),
            st.sampled_from([".png", ".mp4"]),
        ),
        max_size=12,
    )
)
def test_outputs_never_clash(names: list[tuple[str, str]]) -> None:
    files = [Path(stem + ending) for stem, ending in names]
    outputs: list[str] = []
    for file, stem in zip(files, distinct_stems(files, VIDEOS), strict=True):
        frames = [f"{stem}_{n:06}" for n in (1, 2)] if file.suffix == ".mp4" else []
        outputs += [stem, *frames]
    folded = [output.casefold() for output in outputs]
    assert len(set(folded)) == len(folded)


def test_long_and_odd_names_make_names_of_outputs() -> None:
    long, odd = distinct_stems([Path("é" * 120 + ".png"), Path(os.fsdecode(b"a\xe9\nb.png"))])
    assert long == "é" * 90
    assert odd == "a_xe9_nb"


def test_names_that_are_no_utf8_say_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"p: the name caf\\xe9 is not UTF-8; rename it"):
        check_name(os.fsdecode(b"caf\xe9"), "p")
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("ascii", "surrogateescape"))
    with pytest.raises(FileError, match="set the environment variable PYTHONUTF8=1"):
        check_name("é".encode().decode("ascii", "surrogateescape"), "p")
