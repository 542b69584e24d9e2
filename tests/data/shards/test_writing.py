from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from spikesight.commands.parser import main
from spikesight.data import DataConfig, DataError
from spikesight.data.shards.reading import find_parts
from spikesight.data.shards.writing import write_shards
from spikesight.data.sources import EncodedSource
from tests.data.image_files import write_classes


def content(source: EncodedSource) -> list[tuple[str, bytes]]:
    """Every photo's class and bytes."""
    return sorted(
        (source.classes[label], source.archive.read(position))
        for label, position in zip(source.labels.tolist(), source.positions.tolist(), strict=True)
    )


def test_shards_hold_the_photos_as_they_are(tmp_path: Path) -> None:
    for part, count in {"train": 9, "val": 3}.items():
        write_classes(tmp_path / "photos" / part, count)
    config = DataConfig("folder", str(tmp_path / "photos"))
    written = write_shards(config, tmp_path / "shards", 5000)
    assert written.photos == 24
    names = sorted(file.name for file in (tmp_path / "shards").glob("*.tar"))
    assert len(names) == written.shards > 3
    assert names[0] == "train-000000.tar"
    assert names[-1].startswith("val-")
    assert all(file.stat().st_size <= 5000 for file in (tmp_path / "shards").glob("*.tar"))
    before = {part: read() for part, read in find_parts_of(config).items()}
    for part, read in find_parts(str(tmp_path / "shards")).items():
        assert content(read()) == content(before[part])


def find_parts_of(config: DataConfig) -> dict[str, object]:
    from spikesight.data.splits import find_parts as find

    return dict(find(config))


def test_photos_and_seed_decide_the_bytes(tmp_path: Path) -> None:
    config = DataConfig("folder", str(write_classes(tmp_path / "photos")))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_shards(config, tmp_path / name, 1 << 20, seed)
    first, second, other = (
        (tmp_path / name / "train-000000.tar").read_bytes() for name in ("a", "b", "c")
    )
    assert first == second != other
    with tarfile.open(tmp_path / "a" / "train-000000.tar") as archive:
        members = archive.getmembers()
    assert [m.name for m in members[:3]] == ["00000000.png", "00000000.cls", "00000001.png"]
    assert {(m.mtime, m.uid, m.mode) for m in members} == {(0, 0, 0o644)}
    labels = find_parts(str(tmp_path / "a"))["train"]().labels
    assert labels.tolist() != sorted(labels.tolist())


@pytest.mark.parametrize("size", [1, 2000])
def test_a_shard_has_one_photo_at_least(tmp_path: Path, size: int) -> None:
    config = DataConfig("folder", str(write_classes(tmp_path / "photos", 2)))
    assert write_shards(config, tmp_path / "shards", size).shards == 4


def test_what_no_shard_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'digits' holds no image files to copy"):
        write_shards(DataConfig("digits"), tmp_path / "a", 1 << 20)
    path = write_classes(tmp_path / "photos")
    (path / "dog").rename(path / "dog\n")
    with pytest.raises(DataError, match=r"the class 'dog\\n' cannot stand in a line"):
        write_shards(DataConfig("folder", str(path)), tmp_path / "b", 1 << 20)
    with pytest.raises(DataError, match="photos: is not empty"):
        write_shards(DataConfig("folder", str(path)), path, 1 << 20)


def test_the_command_packs_lists_and_packs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "photos")
    assert main(["shards", "photos", "--output=shards", "--megabytes=1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shards/train-000000.tar: 10 photos",
        "10 photos in 1 shards in shards",
    ]
    index = tmp_path / "shards" / "train-000000.tar.index"
    before = index.read_bytes()
    index.unlink()
    assert main(["shards", "shards"]) == 0
    assert "10 photos in 1 shards; each has an index beside it" in capsys.readouterr().out
    assert index.read_bytes() == before
    assert main(["shards", "shards/train-{000000..000000}.tar", "--output=again", "--seed=1"]) == 0
    again, first = (find_parts(name)["train"]() for name in ("again", "shards"))
    assert content(again) == content(first)
    assert main(["shards", "shards", "--output=x", "--megabytes=0"]) == 2
    assert "megabytes is 0; pass 1 or more" in capsys.readouterr().err
    assert main(["shards", "photos"]) == 2
    assert "photos: holds no .tar file" in capsys.readouterr().err
