"""Damaged recordings of event cameras, and data sets of them."""

from __future__ import annotations

import io
import struct
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.data import EventPreprocessing
from spikesight.data.detection import ObjectConfig, read_objects
from spikesight.data.events import event_frames, read_events
from spikesight.data.events.layouts import find_event_parts
from spikesight.data.events.recording import Events
from tests.data.detection.event_files import write_gen1
from tests.data.events.files import (
    encode_aedat2,
    encode_aedat3,
    encode_aedat4,
    encode_dat,
    encode_es,
    encode_evt2,
    encode_evt3,
    encode_n_mnist,
    random_events,
)
from tests.robustness.damage import INTEGERS, Damage
from tests.robustness.guard import Trial, UnsoundError


@cache
def sound_recording(kind: str) -> bytes:
    """A recording in a format."""
    size = 128 if kind == "aedat2" else 34
    events = random_events(40, size, size, seed=3)
    encoders: dict[str, Any] = {
        "es": encode_es,
        "raw": encode_evt2,
        "evt3": encode_evt3,
        "dat": encode_dat,
        "aedat4": encode_aedat4,
        "aedat4 lz4": partial(encode_aedat4, compression=1),
        "aedat4 zstd": partial(encode_aedat4, compression=3),
        "aedat2": encode_aedat2,
        "aedat3": encode_aedat3,
        "bin": encode_n_mnist,
        "npz": _encode_npz,
    }
    content: bytes = encoders[kind](events)
    return content


def _fields(events: Events) -> dict[str, Any]:
    return {
        "t": events.t,
        "x": events.x.astype(np.uint16),
        "y": events.y.astype(np.uint16),
        "polarity": events.polarity,
        "sensor": np.array([events.width, events.height, 0]),
    }


def _encode_npz(events: Events) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **_fields(events))
    return stream.getvalue()


def read_and_draw(path: Path, use: int) -> None:
    """Reads a recording, and makes frames of it."""
    if use == 0:
        frames = EventPreprocessing(16, 2, 4).read_file(path)
        if tuple(frames.shape) != (4, 2, 16, 16):
            raise UnsoundError(f"frames {tuple(frames.shape)}")
        return
    events = read_events(path)
    if len(events) and (
        (np.diff(events.t) < 0).any()
        or events.x.min() < 0
        or events.y.min() < 0
        or events.x.max() >= events.width
        or events.y.max() >= events.height
    ):
        raise UnsoundError("events outside of their sensor or time")
    size = {1: 16, 2: (20, 12), 3: None}[use]
    frames = event_frames(events, 8, "time" if use == 1 else "count", 3 - use % 2, size)
    if int(frames.sum()) != len(events) * (2 if use == 2 else 1) and 3 - use % 2 == 2:
        raise UnsoundError(f"{len(events)} events became {int(frames.sum())}")


def _recording(kind: str) -> Any:
    others = {"aedat2": "aedat", "aedat3": "aedat", "evt3": "raw"}
    suffix = others.get(kind, kind.partition(" ")[0])

    def prepare(damage: Damage, folder: Path) -> Trial:
        content = sound_recording(kind)
        if not damage.none:
            structured = {
                "raw": _raw,
                "npz": _npz,
                "es": _es,
                "aedat3": _aedat3,
                "aedat2": _header2,
                "evt3": _evt3,
                "dat": _dat,
                "aedat4": _aedat4,
            }
            if kind in structured and damage.hits(0.6):
                content = structured[kind](content, damage)
            else:
                content = damage.bytes(content, 40)
        path = folder / f"recording.{suffix}"
        path.write_bytes(content)
        use = 1 if damage.none else damage.random.randrange(4)
        return Trial(lambda: read_and_draw(path, use), (path.name,), "; ".join(damage.notes))

    return prepare


_NUMBER_WORDS = [
    b"0",
    b"-1",
    b"9" * 5000,
    b"99999999999999999999",
    b"60000",
    b"4294967296",
    b"x",
    b"",
    b"1e9",
    b"2.5",
    b"nan",
    "٣".encode(),
    b"1",
    b"34",
]


def _raw(content: bytes, damage: Damage) -> bytes:
    head, _, rest = content.partition(b"\n% geometry 34x34\n")
    word = damage.random.choice
    lines = damage.one_of(
        geometry=lambda: [head, b"% geometry " + word(_NUMBER_WORDS) + b"x" + word(_NUMBER_WORDS)],
        version=lambda: [b"% evt " + word([b"2.1", b"3.0", b"", b"2", b"x"]), b"% geometry 34x34"],
        size=lambda: [head, b"% format EVT2;width=" + word(_NUMBER_WORDS) + b";height=34"],
        camera=lambda: [head, b"% camera " + word([b"gen31", b"imx636", b"genx320", b"?"])],
        long=lambda: [head, b"% geometry 34x34", b"% " + b"x" * 100_000],
        many=lambda: [head, *[b"% a b"] * 5000, b"% geometry 34x34"],
        words=lambda: [head, b"% geometry 34x34"],
    )
    words = np.frombuffer(rest, "<u4").copy()
    if damage.hits(0.5):
        at = damage.random.randrange(len(words))
        words[at] = damage.random.choice([*INTEGERS, 8 << 28, 14 << 28, 15 << 28, 3 << 28])
    return b"\n".join(lines) + b"\n" + words.tobytes()


def _evt3(content: bytes, damage: Damage) -> bytes:
    """Words of any type, far more vectors, or times that overflow again and again."""
    head, _, rest = content.partition(b"34x34\n")
    words = np.frombuffer(rest, "<u2").copy()
    at = damage.random.randrange(len(words))
    words[at] = damage.random.randrange(1 << 16)
    more = damage.one_of(
        none=lambda: [],
        vectors=lambda: [0x3000] + [0x4FFF] * 50_000,
        overflows=lambda: [0x8FFF, 0x8000] * 50_000 + [0x2001],
        times=lambda: [0x6FFF, 0x6000, 0x2001] * 3,
    )
    return head + b"34x34\n" + words.tobytes() + np.array(more, "<u2").tobytes()


def _dat(content: bytes, damage: Damage) -> bytes:
    random = damage.random
    head = damage.one_of(
        version=lambda: b"% Version " + random.choice(_NUMBER_WORDS) + b"\n\0\x08",
        size=lambda: b"% Width " + random.choice(_NUMBER_WORDS) + b"\n% Height 34\n\0\x08",
        kind=lambda: b"% Version 2\n" + bytes([random.randrange(16), random.choice([8, 0, 255])]),
        none=lambda: b"",
    )
    return head + content[-320:]


def _aedat4(content: bytes, damage: Damage) -> bytes:
    """A number of the container or of a FlatBuffer that points anywhere, or odd XML."""
    data = bytearray(content)
    size = damage.random.choice([1, 2, 4, 8])
    place = damage.random.choice([*range(14, 64), *range(len(data) - 600, len(data) - 8)])
    value = damage.random.choice([*INTEGERS, 3, 8, 16, 2**63, 2**64 - 1]) % (1 << 8 * size)
    damage.note(f"{place} = {value}")
    data[place : place + size] = value.to_bytes(size, "little")
    if damage.hits(0.3):
        old, new = damage.random.choice(
            [(b"EVTS<", b"IMUS<"), (b'"5"', b'"\xff"'), (b"<dv", b"<!D"), (b">34<", b">x4<")]
        )
        data = data.replace(old, new, 1)
    return bytes(data)


def _es(content: bytes, damage: Damage) -> bytes:
    data = bytearray(content)
    place = damage.random.choice([12, 13, 14, 15, 16, 18])
    value = damage.random.choice([0, 1, 2, 3, 0xFFFF, 254, 255])
    damage.note(f"head {place} = {value}")
    size = 2 if place >= 16 else 1
    data[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    if damage.hits(0.3):
        damage.note("overflows")
        data += bytes([damage.random.choice([254, 255])]) * 20_000
    return bytes(data)


def _header2(content: bytes, damage: Damage) -> bytes:
    kinds = [b"#!AER-DAT9.9", b"#!AER-DAT", b"#!AER-DAT3.1", b"#!AER-DAT" + b"1" * 9999, b"#", b""]
    _, _, rest = content.partition(b"\r\n")
    first = damage.random.choice(kinds)
    damage.note(f"{first[:20]!r}")
    return first + b"\r\n" + rest


def _aedat3(content: bytes, damage: Damage) -> bytes:
    """A packet that says something wrong about itself."""
    data = bytearray(content)
    start = data.find(b"!END-HEADER\r\n") + 13
    packets = []
    while start + 28 <= len(data):
        packets.append(start)
        size, capacity = struct.unpack_from("<4xi8xi", data, start)
        start += 28 + size * capacity
    packet = damage.random.choice(packets)
    place, size = damage.random.choice([(0, 2), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4)])
    value = damage.random.choice([*INTEGERS, 3, 8, 16]) % (1 << 8 * size)
    damage.note(f"packet {place} = {value}")
    data[packet + place : packet + place + size] = value.to_bytes(size, "little")
    if damage.hits(0.2):
        name = damage.random.choice([b"DAVIS346", b"DVS999 ", b"", b"\xff\xfe"])
        data = data.replace(b"DVS128", name, 1)
    return bytes(data)


def _npz(content: bytes, damage: Damage) -> bytes:
    fields = _fields(random_events(20, 34, 34, seed=1))
    random = damage.random
    n = 20
    odd: dict[str, list[Any]] = {
        "sensor": [
            np.array([1, 2, 0], "M8[s]"),
            np.array([np.nan, 1, 0]),
            np.array([np.inf, 1, 0]),
            np.array([2**62, 2**62, 1]),
            np.array([60_000, 60_000, 0]),
            np.array([-1, 34, 0]),
            np.array([34, 34]),
            np.array(34),
            np.array([34.5, 34, 0]),
            np.array(["34", "34", "0"]),
            np.array([[34, 34, 0]]),
            np.array([34, 34, 2]),
            np.array([0, 0, 0]),
            np.array([1j, 34, 0]),
            np.array([2**64 - 1, 34, 0], np.uint64),
            np.array([b"a", b"b", b"c"]),
        ],
        "t": [
            np.linspace(0, 1, n),
            np.arange(n) * 1e-6,
            np.arange(n, dtype=np.float64),
            np.full(n, np.nan),
            np.arange(n)[::-1].copy(),
            np.arange(n).astype("M8[us]"),
            np.arange(n) + 2**62,
            np.full(n, 2**64 - 1, np.uint64),
            np.arange(n).astype(str),
            np.array(5),
            np.zeros((n, 1), np.int64),
            np.arange(n) - 5,
            np.zeros(n, np.complex64),
            np.full(n, -(2**63)),
            np.array([-(2**63)] + [2**63 - 1] * (n - 1)),
            np.zeros(0, np.int64),
        ],
        "x": [
            np.zeros((n, 2)),
            np.full(n, 0.5),
            np.full(n, -1),
            np.full(n, 34),
            np.full(n, 2**40),
            np.full(n, np.nan),
            np.zeros(n, "S1"),
            np.zeros(n - 1, np.uint16),
            np.zeros(n, bool),
            np.full(n, 2**64 - 1, np.uint64),
            np.full(n, 1e300),
            np.zeros(n, "m8[s]"),
            np.array(3),
        ],
        "polarity": [
            np.full(n, -1),
            np.array([-1, 1] * 10),
            np.full(n, 0.5),
            np.full(n, 2),
            np.full(n, np.nan),
            np.array(["on"] * n),
            np.zeros(n, np.uint8),
            np.ones(n, np.float32),
            np.zeros((n, 2)),
            np.full(n, 255, np.uint8),
            np.zeros(n, np.complex64),
            np.array([True]),
        ],
    }
    odd["y"] = odd["x"]
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice(list(odd))
        place = random.randrange(len(odd[name]))
        fields[name] = odd[name][place]
        damage.note(f"{name} = {fields[name].dtype} {str(fields[name].flat[:3])[:60]}")
    if damage.hits(0.1):
        name = random.choice(list(fields))
        damage.note(f"no {name}")
        del fields[name]
    if damage.hits(0.1):
        damage.note("objects")
        fields["t"] = np.array([{}] * n, object)
    stream = io.BytesIO()
    (np.savez if damage.hits(0.5) else np.savez_compressed)(stream, **fields)
    if damage.hits(0.25):
        return _npy(stream.getvalue(), damage)
    return stream.getvalue()


def _npy(content: bytes, damage: Damage) -> bytes:
    """A member whose own header lies, in a sound ZIP file."""
    random = damage.random
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            if name == chosen:
                shape = random.choice(
                    ["(99999999999,)", "(-1,)", "(2**99,)", "()", "(1e9,)", "(" * 3000, "(1,)*9"]
                )
                header = (
                    f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
                )
                lied = (
                    b"\x93NUMPY\1\0" + struct.pack("<H", len(header) % 65_536) + header + data[128:]
                )
                data = damage.one_of(
                    shape=lambda lied=lied: lied,
                    bytes=lambda data=data: damage.bytes(data, 128),
                    bomb=lambda header=header: b"\x93NUMPY\2\0\xff\xff\xff\x7f" + header,
                )
            new.writestr(name, data, random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
            if damage.hits(0.05):
                new.writestr(name, data)
    content = stream.getvalue()
    return damage.bytes(content) if damage.hits(0.2) else content


_TRIALS = [
    b"",
    b"\xff\xfe",
    b"nowhere.aedat\n",
    b"../../etc/passwd\n",
    b"user.aedat " * 3,
    b"user.aedat\r\n",
    b"\xef\xbb\xbfuser.aedat\n",
    b"/dev/zero\n",
    b".\n",
    b"user.aedat\0\n",
    b"#x\nuser.aedat",
]
_ROWS = [
    "1,0,9999",
    "0,0,1",
    "12,0,1",
    "x,0,1",
    "1,-5,9",
    "1,9,5",
    "1,nan,5",
    "1,0," + "9" * 5000,
    "1",
    "",
    "1,0,5,6,7",
    "1.0,0,5",
    "1,0,1e9",
    "1, 0 , 9999",
    '"1,0,5',
    "1,0,99999999999999999999",
]


def _layouts(damage: Damage, folder: Path) -> Trial:
    root = folder / "recordings"
    random = damage.random
    kind = damage.pick("dvs128_gesture", ["nmnist", "cifar10_dvs", "event_folders"], "kind", 0.5)
    suffix = {"nmnist": "bin", "event_folders": "npz"}.get(kind, "aedat")
    content = sound_recording({"bin": "bin", "npz": "npz"}.get(suffix, "aedat3"))
    root.mkdir()
    if kind == "dvs128_gesture":
        (root / "user.aedat").write_bytes(damage.bytes(content) if damage.hits(0.1) else content)
        trials = damage.pick(b"user.aedat\n", _TRIALS, "trials", 0.3)
        (root / "trials_to_train.txt").write_bytes(trials)
        head = damage.pick("class,startTime_usec,endTime_usec", ["a,b", "", "class"], "head", 0.15)
        rows = [damage.pick("1,0,99999", _ROWS, "row", 0.25) for _ in range(2)]
        text = "\n".join([head, *rows]).encode()
        (root / "user_labels.csv").write_bytes(damage.bytes(text) if damage.hits(0.15) else text)
    else:
        for part in ("Train", "Test") if kind == "nmnist" else ("",):
            for name in ("0", "1"):
                (root / part / name).mkdir(parents=True)
                (root / part / name / f"a.{suffix}").write_bytes(content)
        _spoil_folders(root, suffix, content, damage)
    sensor = damage.pick(None, [(0, 0), (-1, 5), (10**9, 10**9), (1, 1)], "sensor", 0.1)

    def read() -> None:
        for part in find_event_parts(kind, root, sensor).values():
            source = part()
            for place in range(min(len(source.labels), 4)):
                events = source.recordings.read(int(source.positions[place]))
                event_frames(events, 4, "count", 2, 16)

    return Trial(read, (str(root), "sensor"), "; ".join([*damage.notes, str(random.random())[:0]]))


def _spoil_folders(root: Path, suffix: str, content: bytes, damage: Damage) -> None:
    import os

    random = damage.random
    inner = random.choice([root, *(p for p in root.rglob("*") if p.is_dir())])
    for _ in range(0 if damage.none else random.choice([1, 2])):
        try:
            damage.one_of(
                pipe=lambda: os.mkfifo(inner / f"pipe.{suffix}"),
                zero=lambda: os.symlink("/dev/zero", inner / f"zero.{suffix}"),
                loop=lambda: os.symlink("..", inner / "again"),
                hidden=lambda: (inner / f".hidden.{suffix}").write_bytes(b"x"),
                hidden_folder=lambda: (inner / ".cache").mkdir(),
                empty=lambda: (inner / "empty").mkdir(),
                bytes=lambda: (inner / f"b.{suffix}").write_bytes(damage.bytes(content)),
                photo=lambda: (inner / "photo.png").write_bytes(b"x"),
                part=lambda: (root / "train" / "2").mkdir(parents=True),
                odd=lambda: (inner / f"\udcff.{suffix}").write_bytes(content),
                folder=lambda: (inner / f"folder.{suffix}").mkdir(),
                broken=lambda: os.symlink("/nowhere", inner / f"broken.{suffix}"),
                upper=lambda: (inner / f"B.{suffix.upper()}").write_bytes(content),
            )
        except OSError:  # the same twice
            return


def _boxes(damage: Damage, folder: Path) -> Trial:
    """A recording with boxes beside it, one of which is damaged."""
    write_gen1(folder / "set")
    chosen = damage.random.choice(["_td.dat", "_bbox.npy"])
    file = folder / "set" / "train" / f"drive_0{chosen}"
    if not damage.none:
        content = file.read_bytes()
        head = 200 if chosen == "_bbox.npy" else 100
        file.write_bytes(damage.bytes(content, head if damage.hits(0.5) else 0))
    config = ObjectConfig(format="gen1", path=str(folder / "set"), image_size=(64, 64))

    def read() -> None:
        source = read_objects(config, "train")
        for place in range(len(source)):
            sample = source.read(place, False)
            height, width = sample.size
            if len(sample.objects) and float(sample.objects.boxes.max()) > max(height, width):
                raise UnsoundError("boxes outside of their sensor")

    return Trial(read, (file.name, str(folder / "set")), "; ".join(damage.notes))


READERS = [
    ("events with boxes", _boxes, 60),
    ("events .es", _recording("es"), 40),
    ("events .raw", _recording("raw"), 60),
    ("events .raw 3.0", _recording("evt3"), 50),
    ("events .dat", _recording("dat"), 40),
    ("events .aedat4", _recording("aedat4"), 60),
    ("events .aedat4 LZ4", _recording("aedat4 lz4"), 30),
    ("events .aedat4 Zstandard", _recording("aedat4 zstd"), 30),
    ("events .aedat 2.0", _recording("aedat2"), 40),
    ("events .aedat 3.1", _recording("aedat3"), 50),
    ("events .bin", _recording("bin"), 30),
    ("events .npz", _recording("npz"), 110),
    ("event folders", _layouts, 60),
]
