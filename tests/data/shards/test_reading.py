from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest

from spikesight.data import CorruptImageError, DataConfig, DataError, build_evaluation_loader
from spikesight.data.photos.preprocessing import Preprocessing
from spikesight.data.shards.archive import ShardArchive
from spikesight.data.shards.index import index_path, write_index
from spikesight.data.shards.reading import find_parts
from spikesight.data.sources import EncodedSource
from spikesight.data.splits import find_parts as find_parts_of
from spikesight.files.limits import IMAGE_BYTES
from tests.data.image_files import encode
from tests.data.shards.shard_files import samples, write_shards, write_tar

PICTURE = encode()


def read(path: Path | str, names: list[str] | None = None) -> EncodedSource:
    return find_parts(str(path), names)["train"]()


def archive_of(source: EncodedSource) -> ShardArchive:
    assert isinstance(source.archive, ShardArchive)
    return source.archive


def test_photos_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    source = read(write_shards(tmp_path, [4, 1, 3]))
    assert source.classes == ["0", "1", "2"]
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    archive = archive_of(source)
    assert archive.shards.tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    for number in range(8):
        assert archive.read(number) == encode(size=(12, 10), seed=number)
    assert archive.describe(4) == f"{tmp_path}/train-0001.tar: member 00004.png"


@pytest.mark.parametrize("room", [1, 2, 100])
def test_blocks_give_the_same_bytes(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikesight.data.shards.archive.BLOCK", 700)
    plain = archive_of(read(write_shards(tmp_path, [9, 9])))
    blocks = plain.with_room(room)
    for number in [*range(18), 3, 17, 0]:
        assert blocks.read(number) == plain.read(number)
    assert len(blocks._blocks) <= room
    again = pickle.loads(pickle.dumps(blocks))
    assert not again._blocks
    assert again.read(7) == plain.read(7)


def test_parts_and_classes(tmp_path: Path) -> None:
    write_shards(tmp_path, [5])
    write_shards(tmp_path, [2], "val")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    parts = find_parts_of(DataConfig("shards", str(tmp_path)))
    assert set(parts) == {"train", "validation"}
    assert parts["validation"]().classes == ["ant", "bee", "cat", "dog"]
    assert len(parts["train"]().labels) == 5
    held_out = find_parts(f"{tmp_path}/val-*.tar", ["x", "y"])
    assert held_out["validation"]().classes == ["ant", "bee", "cat", "dog"]
    (tmp_path / "classes.txt").unlink()
    assert held_out.keys() == {"validation"}
    assert find_parts(str(tmp_path), ["x", "y", "z"])["validation"]().classes == ["x", "y", "z"]


def test_classes_lie_in_cls_or_json_as_numbers_or_names(tmp_path: Path) -> None:
    label = json.dumps({"label": "dog", "width": 5}).encode()
    members = [
        ("a/0.jpg", PICTURE),
        ("a/0.cls", b"cat\n"),
        ("a/0.json", b"{"),  # not looked at beside a .cls
        ("b/0.JPEG", PICTURE),
        ("b/0.json", label),
        ("b/0.mask.png", b"no photo"),
        ("c.json", b'{"cls": "ant", "label": null}'),
        ("c.webp", PICTURE),
        ("notes.txt", b"none of ours"),
    ]
    source = read(write_tar(tmp_path / "0.tar", members))
    assert source.classes == ["ant", "cat", "dog"]
    assert source.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("0.jpg", PICTURE)],
            r"member 0\.jpg has no class: there is neither 0\.cls nor a 0\.json",
        ),
        ([("0.jpg", PICTURE), ("0.json", b"{}")], r"member 0\.jpg has no class"),
        ([("0.jpg", PICTURE), ("0.json", b'{"label": 1.5}')], r"member 0\.json: label: "),
        ([("0.jpg", PICTURE), ("0.json", b"[")], r"member 0\.json: is no JSON"),
        ([("0.jpg", PICTURE), ("0.json", b'{"label": -1}')], r"0\.json: the class is -1"),
        ([("0.jpg", PICTURE), ("0.cls", b"-1")], r"0\.cls holds -1; write a whole number from 0"),
        ([("0.jpg", PICTURE), ("0.cls", b"")], r"0\.cls: the class is empty"),
        ([("0.jpg", PICTURE), ("0.cls", b"a\nb")], r"0\.cls: the class is a\\nb"),
        ([("0.jpg", PICTURE), ("0.cls", b"\xff\xfe")], r"member 0\.cls: is not text in UTF-8"),
        ([("0.jpg", PICTURE), ("0.png", PICTURE), ("0.cls", b"1")], "two photos of one key"),
        ([("0.txt", b"")], "holds no photo"),
        ([("../0.jpg", PICTURE), ("../0.cls", b"0")], r"member \.\./0\.jpg leads out of the tar"),
        ([("0.jpg", PICTURE), ("0.cls", b"999999999")], "a class has the number 999999999"),
        (
            [("0.jpg", PICTURE), ("0.cls", b"7"), ("1.jpg", PICTURE), ("1.cls", b"cat")],
            r"some classes are numbers \(7\) and some are names \(cat\)",
        ),
    ],
)
def test_bad_shards_are_named(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    path = write_tar(tmp_path / "s.tar", members)
    with pytest.raises(DataError, match=rf"s\.tar.*{message}"):
        read(path)


def test_compressed_shards_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", samples(range(3)), "w:gz")
    with pytest.raises(DataError, match=r"s\.tar: is compressed.*unpack it to a plain \.tar"):
        read(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("ant\nant\n", "classes.txt: the class 'ant' comes twice"),
        ("ant\n\nbee\n", "classes.txt: line 2 is no name"),
        ("ant\nbee\n", "label 2 of image 2 is out of range for 2 classes"),
    ],
)
def test_bad_class_lists_are_named(tmp_path: Path, names: str, message: str) -> None:
    write_shards(tmp_path, [4])
    (tmp_path / "classes.txt").write_text(names)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_class_that_the_list_does_not_have(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("0.jpg", PICTURE), ("0.cls", b"dog")])
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(DataError, match=r"the class dog is not in classes\.txt"):
        read(tmp_path)


def test_an_index_gives_the_same_and_saves_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path, [5, 2])
    before = read(tmp_path)
    for shard in sorted(tmp_path.glob("*.tar")):
        write_index(shard)
    monkeypatch.setattr("spikesight.data.shards.reading.list_shard", None)
    after = read(tmp_path)
    assert after.labels.tolist() == before.labels.tolist()
    assert after.archive.names == before.archive.names
    assert [after.archive.read(n) for n in range(7)] == [before.archive.read(n) for n in range(7)]


def test_an_index_of_another_file_is_refused(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", samples(range(3)))
    write_index(shard)
    write_tar(shard, samples(range(1, 4)))
    with pytest.raises(DataError, match=r"s\.tar\.index: was made of another s\.tar; remove it"):
        read(shard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [5]}, "its lists differ in length"),
        ({"offsets": [-5, 0, 0]}, "lies where it cannot"),
        ({"offsets": [1024, 512, 0]}, "lies where it cannot"),
        ({"sizes": [10**9, 1, 1]}, "lies where it cannot"),
        ({"labels": [0, -3, 1]}, "the class is -3"),
        ({"labels": [0, 1.5, 1]}, "labels"),
        ({"names": [1, 2, 3]}, "names"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_index_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    shard = write_tar(tmp_path / "s.tar", samples(range(3)))
    write_index(shard)
    path = index_path(shard)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=rf"s\.tar\.index: .*{message}"):
        read(shard)


@pytest.mark.parametrize("room", [0, 4])
def test_a_shard_that_is_cut_later_is_a_corrupt_image(tmp_path: Path, room: int) -> None:
    shard = write_tar(tmp_path / "s.tar", samples(range(3)))
    archive = archive_of(read(shard)).with_room(room)
    shard.write_bytes(shard.read_bytes()[:2000])
    assert archive.read(0) == encode(size=(12, 10), seed=0)
    with pytest.raises(CorruptImageError, match=r"member 00002\.png: the tar file ends inside it"):
        archive.read(2)
    shard.unlink()
    with pytest.raises(CorruptImageError, match=r"s\.tar: cannot be read"):
        archive.with_room(room).read(1)


def test_a_photo_larger_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(read(write_shards(tmp_path, [2])))
    monkeypatch.setenv(IMAGE_BYTES.variable, "10")
    with pytest.raises(CorruptImageError, match=rf"00000\.png: .*{IMAGE_BYTES.variable}"):
        archive.read(0)


def test_a_tar_in_this_layout_is_recognised_where_class_folders_are_meant(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", samples(range(3)))
    with pytest.raises(DataError, match=r"pass data\.format=shards"):
        find_parts_of(DataConfig("tar", str(path)))["train"]()


def test_held_out_shards_are_numbered_as_the_model_knows_them(tmp_path: Path) -> None:
    write_shards(tmp_path, [6], "test")
    steps = Preprocessing(8, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("ant", "bee", "cat", "dog"))
    loader = build_evaluation_loader(DataConfig("shards", str(tmp_path)), 4, steps, "all")
    labels = [label for _, batch in loader for label in batch.tolist()]
    assert sorted(labels) == [0, 0, 1, 1, 2, 2]
    (tmp_path / "classes.txt").write_text("dog\ncat\nbee\n")
    loader = build_evaluation_loader(DataConfig("shards", str(tmp_path)), 4, steps, "all")
    labels = [label for _, batch in loader for label in batch.tolist()]
    assert sorted(labels) == [1, 1, 2, 2, 3, 3]


def test_a_long_listing_says_how_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spikesight.data.shards.reading._LONG", -1)
    with caplog.at_level(logging.WARNING):
        read(write_shards(tmp_path, [2, 2]))
    assert "listing 2 shards took" in caplog.text
    assert f"spikesight shards {tmp_path}" in caplog.text
