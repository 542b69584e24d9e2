"""Shards of photos whose labels, indices, class lists and patterns are odd."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from spikesight.data import DataError
from spikesight.data.shards.index import index_path, write_index
from spikesight.data.shards.reading import find_parts
from tests.robustness.archives import add_member, change_header, read_parts
from tests.robustness.damage import Damage
from tests.robustness.guard import Trial

_LABELS = [b"", b"-1", b"1e9", b"999999999", b"cat", b"\xff\xfe", b"0\n1", b"9" * 5000, bytes(600)]
_DESCRIPTIONS = [
    b"{}",
    b"[",
    b'{"label": null}',
    b'{"label": 1, "label": 2}',
    b'{"label": [1]}',
    b'{"label": true}',
    b'{"label": 1e400}',
    b'{"cls": "\\u0000"}',
    b'{"label": ' + b"[" * 5000,
    b'{"label": 99999999999999999999}',
]
_PATTERNS = [
    "s-{0..1}.tar",
    "s-*.tar",
    "s-{0..3}.tar",
    "{s,t}-0.tar",
    "s-{0..9999999}.tar",
    "s-{0",
    "s-{}.tar",
    "s-[0.tar",
    "**/s-?.tar",
]
_CLASS_LISTS = [b"", b"\n", b"a\nb\n", b"a\na\n", b"\xff\n", b"a\n\0\n", b"a\n" * 90]


def _shards(damage: Damage, folder: Path) -> Trial:
    random = damage.random
    for shard in range(2):
        content = _shard(damage if damage.hits(0.4) else Damage(None))
        if damage.hits(0.2):
            change = change_header(content, damage) if damage.hits(0.5) else None
            content = damage.bytes(content, 3000) if change is None else change
        (folder / f"s-{shard}.tar").write_bytes(content)
    if damage.hits(0.3):
        _spoil_index(folder / "s-0.tar", damage)
    place = str(folder)
    if damage.hits(0.15):
        place = str(folder / random.choice(_PATTERNS))
        damage.note(Path(place).name)
    if damage.hits(0.15):
        names = random.choice(_CLASS_LISTS)
        (folder / "classes.txt").write_bytes(names)
        damage.note(f"classes {names[:20]!r}")
    return Trial(lambda: read_parts(find_parts(place)), (folder.name,), "; ".join(damage.notes))


def _shard(damage: Damage) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(3):
            add_member(archive, f"{number}.png", damage)
            label = damage.pick(str(number).encode(), _LABELS, "label", 0.05)
            kind = damage.pick("cls", ["json", "json", "txt"], "kind of label", 0.1)
            if kind == "json":
                label = damage.random.choice([b'{"label": 1}', *_DESCRIPTIONS])
                damage.note(repr(label[:40]))
            member = tarfile.TarInfo(f"{number}.{kind}")
            member.size = len(label)
            archive.addfile(member, io.BytesIO(label))
    return stream.getvalue()


def _spoil_index(shard: Path, damage: Damage) -> None:
    try:
        write_index(shard)
    except DataError:
        return
    path = index_path(shard)
    content = path.read_bytes()
    content = damage.bytes(content) if damage.hits(0.3) else damage.json(json.loads(content))
    path.write_bytes(content)


READERS = [("shards", _shards, 100)]
