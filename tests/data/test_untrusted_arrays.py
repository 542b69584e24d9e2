"""CIFAR pickles and IDX files that ask for more than they hold, or hold something else."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.data import DataError
from spikesight.data.photos.cifar import find_parts
from spikesight.data.photos.idx import find_parts as find_idx_parts
from spikesight.data.photos.pickled_arrays import load_arrays
from spikesight.files.limits import ARRAY_BYTES

PIXELS = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)


def cifar(folder: Path, batch: Any, names: Any = ("a", "b"), raw: bytes | None = None) -> Path:
    for number in range(1, 6):
        content = pickle.dumps(batch, 2) if raw is None else raw
        (folder / f"data_batch_{number}").write_bytes(content)
    names = list(names) if isinstance(names, tuple) else names
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return folder


@pytest.mark.parametrize("protocol", range(6))
def test_batches_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    raw = pickle.dumps({"data": PIXELS, "labels": [0, 1]}, protocol)
    source = find_parts(cifar(tmp_path, None, raw=raw), "cifar10")["train"]()
    assert np.array_equal(source.images[2:4].numpy().reshape(2, -1), PIXELS)
    assert source.labels.tolist() == [0, 1] * 5


def test_a_batch_as_python_2_wrote_it(tmp_path: Path) -> None:
    raw = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00"
        b"K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", 3072)
        + PIXELS[0].tobytes()
        + b"tbU\x06labelsq\x08]q\x09K\x01au."
    )
    source = find_parts(cifar(tmp_path, None, raw=raw), "cifar10")["train"]()
    assert np.array_equal(source.images[0].numpy().ravel(), PIXELS[0])
    assert source.labels.tolist() == [1] * 5


def test_arrays_in_the_order_of_fortran(tmp_path: Path) -> None:
    batch = {"data": np.asfortranarray(PIXELS), "labels": [0, 1]}
    source = find_parts(cifar(tmp_path, batch), "cifar10")["train"]()
    assert np.array_equal(source.images[:2].numpy().reshape(2, -1), PIXELS)


@pytest.mark.parametrize(
    "labels",
    [[None, None], [0, 10**30], [0, 2**64], [0, -1], [0, 2], [0, 1.0], [True, False], "ab"],
)
def test_labels_that_are_none_are_named(tmp_path: Path, labels: object) -> None:
    read = find_parts(cifar(tmp_path, {"data": PIXELS, "labels": labels}), "cifar10")["train"]
    with pytest.raises(DataError, match="data_batch_1: "):
        read()


@pytest.mark.parametrize(
    "data",
    [PIXELS.astype(np.int64), PIXELS.astype(np.float32), PIXELS[:, :3000], PIXELS[0], [[0] * 3072]],
)
def test_pixels_that_are_none_are_named(tmp_path: Path, data: object) -> None:
    read = find_parts(cifar(tmp_path, {"data": data, "labels": [0, 1]}), "cifar10")["train"]
    with pytest.raises(DataError, match=r"data_batch_1: .*unpack the whole"):
        read()


def test_names_that_are_none_are_named(tmp_path: Path) -> None:
    laugh: list[Any] = ["lol"] * 10
    for _ in range(7):
        laugh = [laugh] * 10
    for names in ([laugh], [1, 2], None, "ab", ["a", "a"]):
        read = find_parts(cifar(tmp_path, {"data": PIXELS, "labels": [0, 0]}, names), "cifar10")
        with pytest.raises(DataError, match=r"batches\.meta: "):
            read["train"]()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02}r" + struct.pack("<I", 1 << 28) + b".", "remembers 268435456 parts"),
        (b"\x80\x02}p999999999999\n.", "remembers"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", "bytearray8"),
        (b"\x80\x04" + b"K\x00" + b"\x85" * 100_000 + b".", "nests"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"cos\nsystem\n(U\x04truetR.", "names os.system"),
        (b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", ""),
        (b"c_codecs\nencode\n}U\x0c__defaults__K\x01sb.", "changes a function"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aU\x06rot_13tR.", "something else than bytes"),
        (b"I" + b"9" * 5000 + b"\n.", ""),
        (b"P1\n.", "PERSID"),
        (b"", ""),
    ],
)
def test_pickles_that_do_more_than_hold_arrays(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=rf"file: not a readable batch \(.*{reason}.*; get it"):
        load_arrays(tmp_path / "file", "batch", "get it again")


def idx(folder: Path, images: bytes, packed: bool = True) -> Path:
    name = "train-images-idx3-ubyte"
    (folder / (f"{name}.gz" if packed else name)).write_bytes(
        gzip.compress(images) if packed else images
    )
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 1) + b"\0")
    return folder


HEAD = struct.pack(">4I", 0x803, 1, 6, 7)


def test_idx_is_unpacked_no_further_than_its_head_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = 0
    read = gzip.GzipFile.read

    def counting(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal unpacked
        part = read(self, size)
        unpacked += len(part)
        return part

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    parts = find_idx_parts(idx(tmp_path, HEAD + bytes(1 << 24)), None)
    with pytest.raises(DataError, match=r"ubyte\.gz: its head states 1 x 6 x 7 bytes but more"):
        parts["train"]()
    assert unpacked <= len(HEAD) + 43


@pytest.mark.parametrize("packed", [True, False])
def test_idx_heads_are_limited(tmp_path: Path, packed: bool) -> None:
    head = struct.pack(">4I", 0x803, 1 << 31, 1 << 31, 1 << 31)
    with pytest.raises(DataError, match=rf"ubyte.*{ARRAY_BYTES.variable}"):
        find_idx_parts(idx(tmp_path, head, packed), None)["train"]()


@pytest.mark.parametrize("where", [12, -6])
def test_damaged_gzip_is_named(tmp_path: Path, where: int) -> None:
    path = idx(tmp_path, HEAD + bytes(range(42)), packed=True) / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[where] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ubyte\.gz: (cannot be read|its head|starts with)"):
        find_idx_parts(tmp_path, None)["train"]()


def test_idx_class_names_of_one_name(tmp_path: Path) -> None:
    parts = find_idx_parts(idx(tmp_path, HEAD + bytes(42)), ["a", "b", "a"])
    with pytest.raises(DataError, match=r"data\.class_names: the class 'a' comes twice"):
        parts["train"]()
