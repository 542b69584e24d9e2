"""Damaged IDX files and CIFAR pickles."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.data.photos import cifar, idx
from spikesight.data.sources import ArraySource
from tests.robustness.damage import INTEGERS, Damage
from tests.robustness.guard import Trial, UnsoundError


def _check(source: ArraySource) -> None:
    count = len(source.labels)
    if len(source.images) != count or source.images.ndim != 4 or not count:
        raise UnsoundError(f"{tuple(source.images.shape)} images and {count} labels")
    if int(source.labels.min()) < 0 or int(source.labels.max()) >= len(source.classes):
        raise UnsoundError("labels without a class")
    if len(set(source.classes)) != len(source.classes):
        raise UnsoundError(f"a class comes twice: {source.classes}")


def _idx(damage: Damage, folder: Path) -> Trial:
    root = folder / "idx"
    root.mkdir()
    for kind, magic, shape in (("images-idx3", 0x803, (4, 6, 7)), ("labels-idx1", 0x801, (4,))):
        count = int(np.prod(shape))
        values = [*range(4)] if kind[0] == "l" else [n % 256 for n in range(count)]
        head = [magic, *shape]
        for place in range(len(head)):
            head[place] = damage.pick(head[place], INTEGERS, f"{kind} head {place}", 0.1)
        content = struct.pack(f">{len(head)}I", *head) + bytes(values)
        if damage.hits(0.3):
            content = damage.bytes(content, 24)
        suffix = ""
        if damage.hits(0.5):
            content, suffix = gzip.compress(content), ".gz"
            if damage.hits(0.15):
                damage.note("bomb")
                content = gzip.compress(gzip.decompress(content) + bytes(1 << 23), 9)
                content += content[:0] + gzip.compress(bytes(1 << 23), 9) * 2
            if damage.hits(0.3):
                content = damage.bytes(content, 20)
        if damage.hits(0.05):
            damage.note(f"no {kind}")
            continue
        separator = "." if damage.hits(0.1) else "-"
        (root / f"train-{kind.replace('-', separator)}-ubyte{suffix}").write_bytes(content)
    names = damage.pick(None, [["a"], ["a", "b", "c", "d"], ["a"] * 4, [""] * 4], "names", 0.2)

    def read() -> None:
        for part in idx.find_parts(root, names).values():
            _check(part())

    return Trial(read, ("idx", "data.class_names"), "; ".join(damage.notes))


_LABELS: list[Any] = [
    None,
    [None, None],
    [0, 10**30],
    [0, 2**64],
    [-1, 0],
    [0.5, 1.0],
    [float("nan")] * 2,
    ["a", "b"],
    [[0], [1]],
    (0, 1),
    {0: 1},
    [0],
    [],
    [True, False],
    [0, 5],
    np.array([0, 1]),
    [np.int64(0), 1],
    [0, float("inf")],
    b"\0\1",
    "01",
]
_DATA: list[Any] = [
    None,
    np.zeros((2, 3072), np.int64),
    np.zeros((2, 3072), np.float32),
    np.zeros((2, 10), np.uint8),
    np.zeros(6144, np.uint8),
    np.zeros((2, 3, 32, 32), np.uint8),
    [[0] * 3072] * 2,
    b"x" * 6144,
    np.zeros((0, 3072), np.uint8),
    np.zeros((3, 3072), np.uint8),
    np.zeros((2, 3072), object),
    np.asfortranarray(np.zeros((2, 3072), np.uint8)),
    np.zeros((2, 3072), "S1"),
]
_laugh: Any = ["lol"] * 10
for _ in range(6):
    _laugh = [_laugh] * 10
_NAMES: list[Any] = [
    None,
    [],
    ["a"],
    ["a", "a"],
    [1, 2],
    [None, None],
    "ab",
    ("a", "b"),
    {"a": 0},
    [b"a", b"b"],
    [""] * 2,
    ["a" * 5000, "b"],
    [_laugh, "b"],
    [["a"], ["b"]],
    [float("nan"), "b"],
    ["\ud800", "b"],
]
_PICKLES = [
    b"\x80\x02}r" + struct.pack("<I", 1 << 28) + b".",
    b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
    b"\x80\x04\x95" + b"\xff" * 8 + b".",
    b"\x80\x02X\xff\xff\xff\x7fabc.",
    b"\x80\x02" + b"(" * 5000 + b".",
    b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7f\x85R.",
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",
    b"\x80\x02cnumpy\nndarray\n(J\0\0\0\x40J\0\0\0\x40\x86\x85R.",
    b"\x80\x02L" + b"9" * 5000 + b"L\n.",
    b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    b"\x80\x02]q\0(" + b"h\0" * 1000 + b"e.",
    b"I1" + b"0" * 5000 + b"\n.",
    b"",
    b"version https://git-lfs",
]


def _cifar(damage: Damage, folder: Path) -> Trial:
    root = folder / "cifar"
    root.mkdir()
    kind = damage.pick("cifar10", ["cifar100"], "kind", 0.3)
    fine = "fine_labels" if kind == "cifar100" else "labels"
    meta: dict[Any, Any] = {
        "fine_label_names" if kind == "cifar100" else "label_names": damage.pick(
            ["a", "b"], _NAMES, "names", 0.12
        )
    }
    files = ["train"] if kind == "cifar100" else [f"data_batch_{n}" for n in range(1, 6)]
    spoilt = damage.random.choice(files)
    for name in files:
        batch: Any = {"data": np.zeros((2, 3072), np.uint8), fine: [0, 1]}
        if name == spoilt:
            batch["data"] = damage.pick(batch["data"], _DATA, "data", 0.2)
            batch[fine] = damage.pick(batch[fine], _LABELS, "labels", 0.3)
            batch = damage.pick(batch, [None, [], [batch], {}, {b"data": 1}, 3], "batch", 0.05)
        content = pickle.dumps(batch, damage.random.choice([2, 4, 5, 0]))
        if name == spoilt and damage.hits(0.3):
            content = damage.bytes(content, 200)
        if name == spoilt and damage.hits(0.15):
            content = damage.random.choice(_PICKLES)
            damage.note(f"{content[:30]!r}")
        if name != spoilt or not damage.hits(0.03):
            (root / name).write_bytes(content)
    content = pickle.dumps(meta, 2)
    if damage.hits(0.12):
        content = damage.bytes(content, 200)
    (root / ("meta" if kind == "cifar100" else "batches.meta")).write_bytes(content)

    def read() -> None:
        for part in cifar.find_parts(root, kind).values():  # type: ignore[arg-type]
            _check(part())

    return Trial(read, (str(root),), "; ".join(damage.notes))


READERS = [("idx", _idx, 60), ("cifar", _cifar, 80)]
