from pathlib import Path

import pytest

from spikesight.data.errors import DataError
from spikesight.data.segmentation import SceneConfig
from spikesight.data.segmentation.folders import read_folder


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("0 0 0 road\n9 9 9 car\n0 0 0 sky\n", r"line 3 gives sky the colour of road"),
        ("0 0 0 Void\n9 9 9 car\n0 0 0 sky\n", r"line 3 gives sky the colour of Void"),
        ("0 0 0 sky\n9 9 9 car\n0 0 0 Void\n", r"line 3 gives Void the colour of sky"),
        ("0 0 0 sky\n9 9 9 sky\n", r"line 2 names the class sky a second time"),
        ("0 0 256 sky\n", r"line 1 is .*0 to 255"),
        ("0 -1 0 sky\n", r"line 1 is .*0 to 255"),
        ("0 0 0 Void\n", r"names no class"),
    ],
)
def test_colours_that_clash_are_refused_by_line(tmp_path: Path, lines: str, named: str) -> None:
    (tmp_path / "label_colors.txt").write_text(lines)
    with pytest.raises(DataError, match=rf"label_colors.txt: {named}"):
        read_folder(tmp_path, "train", None, None)


def test_a_class_cannot_be_ignored_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ignore_label is 0, the number of the class 'road'"):
        SceneConfig(format="folder", path="x", class_names=["road", "car"], ignore_label=0)
    with pytest.raises(DataError, match=r"ignore_label is 0, the number of the class 'road'"):
        read_folder(tmp_path, "train", ["road", "car"], 0)
