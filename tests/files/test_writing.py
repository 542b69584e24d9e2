"""Places to write to are checked, and made, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikesight.errors import UserError
from spikesight.files.writing import place_for_file, place_for_folder


def test_folders_are_made(tmp_path: Path) -> None:
    assert place_for_file(tmp_path / "new" / "a.PNG", "output", (".png",)).parent.is_dir()
    assert place_for_folder(tmp_path / "some" / "folder", "output").is_dir()
    (tmp_path / "new" / "a.PNG").write_text("")
    place_for_file(tmp_path / "new" / "a.PNG", "output", (".png",))
    place_for_file(Path("/dev/null"), "html")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("guesses", r"--output=.*guesses\.png"),
        ("guesses.txt", r"ending in \.png, \.csv"),
        ("folder", r"is a folder; pass a file, such as --output=.*folder.output\.png"),
        ("file/a.png", "is a file and no folder; pass another output"),
        ("file/deep/a.png", "is a file and no folder; pass another output"),
        ("n" * 300 + "/a.png", "cannot be made"),
    ],
)
def test_places_that_cannot_be_written_are_named(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        place_for_file(tmp_path / place, "output", (".png", ".csv"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file and no folder; pass another pictures"):
        place_for_folder(tmp_path / "file", "pictures")
