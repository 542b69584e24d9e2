from __future__ import annotations

from pathlib import Path

import pytest

from spikesight.data import DataError
from spikesight.data.shards.patterns import divide_shards, find_shards, holds_shards
from spikesight.files.limits import SHARDS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/train-000.tar", "a/train-001.tar", "a/val-000.tar", "a/b/x.tar", "a/.y.tar"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/train-{000..001}.tar", ["a/train-000.tar", "a/train-001.tar"]),
        ("a/train-{001..000}.tar", ["a/train-001.tar", "a/train-000.tar"]),
        ("a/{val,train}-000.tar", ["a/val-000.tar", "a/train-000.tar"]),
        ("a/{val,train}-*.tar", ["a/val-000.tar", "a/train-000.tar", "a/train-001.tar"]),
        ("a/train-00[01].tar", ["a/train-000.tar", "a/train-001.tar"]),
        ("a/b/x.tar", ["a/b/x.tar"]),
        ("a/**/x.tar", ["a/b/x.tar"]),
        ("a/b", ["a/b/x.tar"]),
        ("a", ["a/b/x.tar", "a/train-000.tar", "a/train-001.tar", "a/val-000.tar"]),
    ],
)
@pytest.mark.usefixtures("here")
def test_paths_mean_tar_files(path: str, found: list[str]) -> None:
    assert [str(file) for file in find_shards(path)] == found


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a/train-{000..002}.tar", r"a/train-002\.tar: no such tar file, which data\.path"),
        ("a/{train}.tar", r"\{train\} is neither a range such as \{000\.\.127\} nor a list"),
        ("a/none-*.tar", r"a/none-\*\.tar: no file matches"),
        ("none", "none: no such tar file"),
        ("a/{0..999999999999}.tar", SHARDS.variable),
        ("{0..9999}{0..9999}{0..9999}.tar", SHARDS.variable),
    ],
)
@pytest.mark.usefixtures("here")
def test_paths_that_mean_none_are_refused(path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_shards(path)


def test_a_name_of_its_own_is_no_pattern(here: Path) -> None:
    odd = here / "a[1]{2,3}.tar"
    odd.touch()
    assert find_shards(str(odd)) == [odd]


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.tar file.*spikesight shards"):
        find_shards(str(tmp_path))


def test_folders_of_shards_are_known(here: Path) -> None:
    assert not holds_shards("a")  # b/ is no part
    assert holds_shards("a/b")
    assert holds_shards("a/b/{x,y}.tar")
    (here / "c/train").mkdir(parents=True)
    assert not holds_shards("c")
    (here / "c/train/0.tar").touch()
    assert holds_shards("c")
    (here / "c/1.jpg").touch()
    assert not holds_shards("c")


def test_names_say_the_part() -> None:
    def parts(*names: str) -> dict[str | None, list[str]]:
        found = divide_shards([Path("/test", name) for name in names])
        return {part: [file.name for file in files] for part, files in found.items()}

    assert parts("0.tar", "1.tar") == {None: ["0.tar", "1.tar"]}
    assert parts("imagenet1k-train-00.tar", "imagenet1k-validation-00.tar") == {
        "train": ["imagenet1k-train-00.tar"],
        "validation": ["imagenet1k-validation-00.tar"],
    }
    assert parts("Train/0.tar", "test/1.tar") == {"train": ["0.tar"], "test": ["1.tar"]}
    with pytest.raises(DataError, match=r"train-val\.tar: its name says both train and validation"):
        parts("train-val.tar")
    with pytest.raises(DataError, match=r"/test/0\.tar: its name says none of train, val and test"):
        parts("0.tar", "train-1.tar")
