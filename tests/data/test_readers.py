from __future__ import annotations

import gzip
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.data import CorruptImageError, DataConfig, DataError
from spikesight.data.sources import ArraySource, EncodedSource
from spikesight.data.splits import find_parts, read_splits

from .image_files import CLASSES, encode, idx, write_classes, write_tar


def whole(path: Path, kind: str = "folder") -> EncodedSource:
    (part,) = find_parts(DataConfig(kind, str(path))).values()  # type: ignore[arg-type]
    source = part()
    assert isinstance(source, EncodedSource)
    return source


def contents(source: EncodedSource) -> list[tuple[str, bytes]]:
    return [
        (source.classes[label], source.archive.read(position))
        for label, position in zip(source.labels.tolist(), source.positions.tolist(), strict=True)
    ]


# --- folders ---


def test_classes_are_the_sorted_folder_names(classes_folder: Path) -> None:
    (classes_folder / "cat" / "notes.txt").write_text("no image")
    (classes_folder / "cat" / ".hidden.png").write_bytes(b"")
    (classes_folder / ".git").mkdir()
    source = whole(classes_folder)
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [0] * 5 + [1] * 5
    assert contents(source)[6] == ("dog", (classes_folder / "dog" / "01.png").read_bytes())


def test_images_may_lie_deeper_in_a_class(classes_folder: Path) -> None:
    (classes_folder / "cat" / "more").mkdir()
    (classes_folder / "cat" / "more" / "x.PNG").write_bytes(encode())
    assert whole(classes_folder).labels.tolist() == [0] * 6 + [1] * 5


def test_an_empty_class_is_named(classes_folder: Path) -> None:
    (classes_folder / "emu").mkdir()
    (classes_folder / "emu" / "readme.md").write_text("soon")
    with pytest.raises(DataError, match=r"class folder emu holds no image.*remove the folder"):
        whole(classes_folder)


def test_a_stray_image_is_named(classes_folder: Path) -> None:
    (classes_folder / "stray.png").write_bytes(encode())
    with pytest.raises(DataError, match=r"stray\.png: lies outside of the class folders"):
        whole(classes_folder)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "cat").rename(tmp_path / "train")
    assert whole(tmp_path).classes == ["dog", "train"]


def test_missing_paths_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder; data.path must be a folder"):
        whole(tmp_path / "none")
    with pytest.raises(DataError, match=r"no such file; data.path must be a \.tar"):
        whole(tmp_path / "none.tar", "tar")
    with pytest.raises(DataError, match="holds no image"):
        whole(tmp_path)


def test_part_folders(tmp_path: Path) -> None:
    for name, count in {"train": 4, "val": 3, "test": 2}.items():
        write_classes(tmp_path / name, count)
    config = DataConfig("folder", str(tmp_path), validation_fraction=0)
    train, validation, test = read_splits(config)
    assert test is not None
    assert [len(part.labels) for part in (train, validation, test)] == [8, 6, 4]
    config.validation_fraction = 0.25
    train, validation, test = read_splits(config)
    assert test is not None
    assert [len(part.labels) for part in (train, validation, test)] == [6, 2, 4]


def test_test_images_validate_where_nothing_else_does(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", 4)
    write_classes(tmp_path / "test", 2)
    train, validation, test = read_splits(
        DataConfig("folder", str(tmp_path), validation_fraction=0)
    )
    assert (len(train.labels), len(validation.labels), test) == (8, 4, None)


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "validation"):
        write_classes(tmp_path / name, 1)
    with pytest.raises(DataError, match="both val/ and validation/"):
        find_parts(DataConfig("folder", str(tmp_path)))


def test_without_validation_images_a_fraction_is_asked_for(classes_folder: Path) -> None:
    with pytest.raises(DataError, match=r"pass data.validation_fraction"):
        read_splits(DataConfig("folder", str(classes_folder), validation_fraction=0))


def test_a_fraction_that_takes_nothing_is_refused(classes_folder: Path) -> None:
    with pytest.raises(DataError, match="leaves 10 for training and 0 for validation"):
        read_splits(DataConfig("folder", str(classes_folder), validation_fraction=0.01))


# --- tar files ---


def test_groups_come_on_one_side(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "photos", per_class=8)
    names = [f"{name}/{i:02}.png" for name in CLASSES for i in range(8)]
    table = tmp_path / "people.csv"
    people = {name: f"person {int(name[-5]) // 2}" for name in names}
    table.write_text("file,group\n" + "".join(f"{n},{p}\n" for n, p in people.items()))
    config = DataConfig("folder", str(folder), validation_fraction=0.25, groups=str(table))
    parts = read_splits(config)[:2]
    seen = []
    for source in parts:
        assert isinstance(source, EncodedSource)
        seen.append({people[source.archive.names[place]] for place in source.positions})
    assert len(seen[1]) == 1
    assert not seen[0] & seen[1]
    assert [len(source.labels) for source in parts] == [12, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat/00.png,a\n", "first line must be file,group"),
        ("file,group\ncat/00.png\n", "line 2 is no file and its group"),
        ("file,group\ncat/00.png,a\ncat/00.png,b\n", "line 3 puts cat/00.png into another"),
        ("file,group\ncat/00.png,a\n", r"no group for cat/01.png \(and 8 others of 10\)"),
        ('file,group\n"cat', "is no CSV file"),
    ],
)
def test_tables_of_groups_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "photos")
    table = tmp_path / "people.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        read_splits(DataConfig("folder", str(folder), groups=str(table)))


def test_groups_want_files_and_a_fraction(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not in files of their own"):
        read_splits(DataConfig("digits", groups=str(tmp_path / "people.csv")))
    with pytest.raises(DataError, match=r"data\.groups is 'people.csv' with data\.validation_frac"):
        DataConfig("folder", str(tmp_path), validation_fraction=0, groups="people.csv")


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz")]
)
@pytest.mark.parametrize("prefix", ["./", "cifar", "a/b"])
def test_a_tar_file_reads_as_its_folder(
    classes_folder: Path, tmp_path: Path, name: str, mode: str, prefix: str
) -> None:
    path = write_tar(tmp_path / name, classes_folder, prefix, mode)
    source = whole(path, "tar")
    assert contents(source) == contents(whole(classes_folder))
    assert source.archive.describe(int(source.positions[0])).endswith(
        ": member " + ("cat/00.png" if prefix == "./" else f"{prefix}/cat/00.png")
    )


def test_a_tar_file_may_hold_parts(tmp_path: Path) -> None:
    for name, count in {"train": 4, "val": 3}.items():
        write_classes(tmp_path / "set" / name, count)
    path = write_tar(tmp_path / "set.tar", tmp_path / "set", "set")
    train, validation, _ = read_splits(DataConfig("tar", str(path), validation_fraction=0))
    assert (len(train.labels), len(validation.labels)) == (8, 6)


def test_an_empty_class_of_a_tar_file_is_named(classes_folder: Path, tmp_path: Path) -> None:
    (classes_folder / "emu").mkdir()
    with pytest.raises(DataError, match=r"a\.tar: class folder emu holds no image"):
        whole(write_tar(tmp_path / "a.tar", classes_folder), "tar")


def test_what_is_no_tar_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(2000))
    with pytest.raises(DataError, match=r"zst: not a readable tar file.*unpack it"):
        whole(path, "tar")


def test_a_cut_compressed_tar_file_is_named(classes_folder: Path, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", classes_folder, mode="w:gz")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"a\.tar\.gz: not a readable tar file"):
        whole(path, "tar")


def test_a_cut_tar_file_never_passes(classes_folder: Path, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", classes_folder)
    with tarfile.open(path) as archive:
        last = max(archive.getmembers(), key=lambda member: member.offset_data)
    path.write_bytes(path.read_bytes()[: last.offset_data + last.size // 2])
    with pytest.raises((CorruptImageError, DataError), match=r"a\.tar.*(make|fetch)"):  # noqa: PT012
        source = whole(path, "tar")
        contents(source)


def test_a_link_in_a_tar_file_is_named(classes_folder: Path, tmp_path: Path) -> None:
    (classes_folder / "cat" / "link.png").symlink_to("00.png")
    with pytest.raises(DataError, match=r"member cat/link\.png is a link"):
        whole(write_tar(tmp_path / "a.tar", classes_folder), "tar")


# --- IDX files ---


def write_idx(folder: Path, prefix: str = "train", count: int = 6, compress: bool = True) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 5, 4))
    for name, array in {"images-idx3": images, "labels-idx1": np.arange(count) % 3}.items():
        path = folder / f"{prefix}-{name}-ubyte{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))


def read_idx_training(folder: Path, **fields: Any) -> ArraySource:
    source = find_parts(DataConfig("idx", str(folder), **fields))["train"]()
    assert isinstance(source, ArraySource)
    return source


@pytest.mark.parametrize("compress", [True, False])
def test_idx_files(tmp_path: Path, compress: bool) -> None:
    write_idx(tmp_path, compress=compress)
    write_idx(tmp_path, "t10k", 4, compress)
    train, validation, test = read_splits(DataConfig("idx", str(tmp_path), validation_fraction=0))
    assert isinstance(train, ArraySource)
    assert train.images.shape == (6, 1, 5, 4)
    expected = np.random.default_rng(0).integers(0, 256, (6, 5, 4))
    assert np.array_equal(train.images[:, 0].numpy(), expected)
    assert (train.classes, train.labels.tolist()) == (["0", "1", "2"], [0, 1, 2, 0, 1, 2])
    assert (len(validation.labels), test) == (4, None)
    assert read_idx_training(tmp_path, class_names=["a", "b", "c"]).classes == ["a", "b", "c"]


def test_a_label_out_of_range_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    with pytest.raises(DataError, match=r"train-labels.*label 2 of image 2 is out of range for 2"):
        read_idx_training(tmp_path, class_names=["a", "b"])


def test_a_wrong_count_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    content = gzip.decompress((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content[:-7]))
    with pytest.raises(DataError, match="states 6 x 5 x 4 bytes but 113 follow"):
        read_idx_training(tmp_path)


def test_images_and_labels_must_match(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(5))))
    with pytest.raises(DataError, match=r"holds 6 images but train-labels.* holds 5 labels"):
        read_idx_training(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (idx(np.zeros(4)), "starts with 00000801 .*images and labels are not exchanged"),
        (b"\0\0\x0d\x03" + bytes(40), "starts with 00000d03"),
        (b"\0\0\x08\x03\0\0", "ends inside its head"),
    ],
)
def test_a_wrong_head_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    write_idx(tmp_path, compress=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte: {message}"):
        read_idx_training(tmp_path)


def test_damaged_and_missing_idx_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        read_idx_training(tmp_path)
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"ubyte\.gz: cannot be read"):
        read_idx_training(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="has no train-labels-idx1-ubyte file"):
        read_idx_training(tmp_path)


# --- CIFAR ---


def write_cifar10(root: Path, count: int = 4) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"class {n}" for n in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, 2))
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        data = np.random.default_rng(number).integers(0, 256, (count, 3072), np.uint8)
        batch = {"data": data, "labels": [n % 10 for n in range(count)]}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    return folder


def test_cifar10(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    for path in (tmp_path, folder):
        train, validation, _ = read_splits(DataConfig("cifar10", str(path), validation_fraction=0))
        assert isinstance(train, ArraySource)
        assert train.images.shape == (20, 3, 32, 32)
        assert train.labels.tolist() == [0, 1, 2, 3] * 5
        assert (len(validation.labels), train.classes[3]) == (4, "class 3")
    expected = np.random.default_rng(1).integers(0, 256, (4, 3072), np.uint8)
    assert np.array_equal(train.images[6, 2, 5].numpy(), expected[2].reshape(3, 32, 32)[2, 5])


def test_cifar100(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["a", "b"]}))
    data = np.zeros((3, 3072), np.uint8)
    for name in ("train", "test"):
        batch = {"data": data, "fine_labels": [0, 1, 1], "coarse_labels": [0, 0, 0]}
        (folder / name).write_bytes(pickle.dumps(batch))
    train = find_parts(DataConfig("cifar100", str(tmp_path)))["train"]()
    assert (train.classes, train.labels.tolist()) == (["a", "b"], [0, 1, 1])


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "not a readable CIFAR batch"),
        (pickle.dumps(Evil()), "names builtins.print"),
        (pickle.dumps([1]), "not a CIFAR batch"),
        (pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]}), "needs 'data'"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "needs 'data'"),
        (
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}),
            "label 10 of image 0 is out of range",
        ),
    ],
)
def test_damaged_cifar_batches_are_named(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_cifar10(tmp_path) / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=f"data_batch_3: .*{message}"):
        find_parts(DataConfig("cifar10", str(tmp_path)))["train"]()
    assert not capsys.readouterr().out


def test_missing_cifar_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither cifar-10-batches-py/data_batch_1"):
        find_parts(DataConfig("cifar10", str(tmp_path)))
    (write_cifar10(tmp_path) / "data_batch_5").unlink()
    with pytest.raises(DataError, match="data_batch_5: missing"):
        find_parts(DataConfig("cifar10", str(tmp_path)))["train"]()


# --- digits ---


def test_digits() -> None:
    source = find_parts(DataConfig("digits"))["train"]()
    assert isinstance(source, ArraySource)
    assert source.images.shape == (1797, 1, 8, 8)
    assert (int(source.images.min()), int(source.images.max())) == (0, 255)
    assert torch.bincount(source.labels).min() > 170
