"""Folders and tar files that repeat, link, lie about sizes or are damaged."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikesight.data import CorruptImageError, DataConfig, DataError
from spikesight.data.archives import FolderArchive, TarArchive
from spikesight.data.photos.class_folders import find_parts
from spikesight.data.splits import find_parts as find_parts_of
from spikesight.files.limits import TAR_KEPT_BYTES, TAR_MEMBERS, TAR_UNPACKED_BYTES

from .image_files import encode

PICTURE = encode()


def put(path: Path, content: bytes = PICTURE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def make_tar(
    path: Path,
    members: list[tuple[str, bytes]],
    mode: str = "w",
    pax: dict[str, str] | None = None,
    kind: bytes | None = None,
) -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = pax or {}
            if kind is not None:
                member.type = kind
            archive.addfile(member, io.BytesIO(content))
    return path


def contents(archive: FolderArchive | TarArchive) -> dict[str, bytes]:
    return {name: archive.read(place) for place, name in enumerate(archive.names)}


@pytest.mark.parametrize(
    ("first", "second"),
    [("train", "test"), ("Train", "Test"), ("TRAIN", "VAL"), ("Training", "Testing")],
)
@pytest.mark.parametrize("around", ["", "data/"])
def test_parts_in_any_case_in_folders_and_tar_files(
    tmp_path: Path, first: str, second: str, around: str
) -> None:
    names = [f"{around}{part}/{c}/1.png" for part in (first, second) for c in ("cat", "dog")]
    for name in names:
        put(tmp_path / "p" / name)
    make_tar(tmp_path / "p.tar", [(name, PICTURE) for name in names])
    for archive in (FolderArchive(tmp_path / "p"), TarArchive(tmp_path / "p.tar")):
        parts = find_parts(archive)
        assert len(parts) == 2
        assert parts["train"]().classes == ["cat", "dog"]


def test_a_part_in_two_spellings_is_refused(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "p.tar", [(f"{p}/cat/1.png", PICTURE) for p in ("train", "Training", "test")]
    )
    with pytest.raises(DataError, match=r"both Training/ and train/ hold train images"):
        find_parts(TarArchive(path))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_class_that_is_a_link_to_another_is_explained(tmp_path: Path) -> None:
    put(tmp_path / "cat/1.png")
    (tmp_path / "kitten").symlink_to("cat")
    with pytest.raises(DataError, match=r"class folder kitten holds no image.*a link to cat"):
        find_parts_of(DataConfig(format="folder", path=str(tmp_path)))["train"]()


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_pipes_and_devices_are_corrupt_images(tmp_path: Path) -> None:
    put(tmp_path / "cat/0.png")
    os.mkfifo(tmp_path / "cat/1.png")
    (tmp_path / "cat/2.png").symlink_to("/dev/zero")
    archive = FolderArchive(tmp_path)
    assert archive.read(0) == PICTURE
    for place, kind in ((1, "named pipe"), (2, "device")):
        with pytest.raises(CorruptImageError, match=rf"{place}\.png: is a {kind}"):
            archive.read(place)


def test_a_path_of_the_other_kind_is_explained(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "p.tar", [("cat/1.png", PICTURE)])
    with pytest.raises(DataError, match=r"p\.tar: is a file, no folder"):
        FolderArchive(path)
    with pytest.raises(DataError, match="is a folder, no file"):
        TarArchive(tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_of_members_of_one_name_the_last_counts(tmp_path: Path, mode: str) -> None:
    members = [("cat/1.png", b"old"), ("./dog/1.png", PICTURE), ("cat//1.png", b"newer")]
    archive = TarArchive(make_tar(tmp_path / "p.tar", members, mode))
    assert contents(archive) == {"cat/1.png": b"newer", "dog/1.png": PICTURE}


def test_names_in_tar_files(tmp_path: Path) -> None:
    members = [
        ("/cat/1.png", PICTURE),
        ("cat/._1.png", b""),
        (".git/2.png", b""),
        ("@eaDir/1.png/thumbnail.png", b""),
        ("BZhdog/1.png", PICTURE),
    ]
    assert TarArchive(make_tar(tmp_path / "p.tar", members)).names == ["BZhdog/1.png", "cat/1.png"]
    with pytest.raises(DataError, match=r"member \.\./cat/1\.png leads out of the tar file"):
        TarArchive(make_tar(tmp_path / "q.tar", [("../cat/1.png", PICTURE)]))
    odd = b"caf\xe9/1.png".decode("utf-8", "surrogateescape")
    with tarfile.open(tmp_path / "r.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(odd))
    with pytest.raises(DataError, match=r"r\.tar: the name caf\\xe9/1\.png is not UTF-8"):
        find_parts(TarArchive(tmp_path / "r.tar"))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, b"V"])
def test_members_that_are_no_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = make_tar(tmp_path / "p.tar", [("cat/1.png", b"")], kind=kind)
    with pytest.raises(DataError, match=r"member cat/1\.png is no file"):
        TarArchive(path)


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_members_are_refused(tmp_path: Path, form: str) -> None:
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[:9] = 200
    (tmp_path / "cat").mkdir()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "BMP")
    with (tmp_path / "cat/1.bmp").open("wb") as file:
        for start in range(0, len(stream.getvalue()), 4096):
            block = stream.getvalue()[start : start + 4096]
            if block.strip(b"\0"):
                file.seek(start)
                file.write(block)
        file.truncate(len(stream.getvalue()))
    made = subprocess.run(
        ["tar", "-S", f"--format={form}", "-cf", "p.tar", "cat"], cwd=tmp_path, check=False
    )
    with tarfile.open(tmp_path / "p.tar") as archive:
        if made.returncode or not any(member.issparse() for member in archive):
            pytest.skip("this tar or file system makes no sparse members")
    with pytest.raises(DataError, match=r"member cat/1\.bmp is stored without its zeros"):
        TarArchive(tmp_path / "p.tar")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    "pax",
    [
        {"size": "-5"},
        {"size": "nine"},
        {"size": "99999999999999"},
        {"GNU.sparse.map": "0,10,20,x", "GNU.sparse.size": "100"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "500"},
        {"GNU.sparse.size": "5"},
        {"GNU.sparse.realsize": "many"},
    ],
)
def test_damaged_attributes_are_named(tmp_path: Path, pax: dict[str, str], mode: str) -> None:
    path = make_tar(tmp_path / "p.tar", [("cat/1.png", PICTURE)] * 2, mode, pax)
    with pytest.raises(DataError, match=r"p\.tar: "):
        contents(TarArchive(path))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("wiped", [True, False])
def test_a_damaged_head_is_no_end(tmp_path: Path, mode: str, wiped: bool) -> None:
    plain = make_tar(tmp_path / "p.tar", [(f"cat/{n}.png", PICTURE) for n in range(4)])
    content = bytearray(plain.read_bytes())
    second = content.index(b"cat/1.png")
    content[second : second + (512 if wiped else 3)] = bytes(512 if wiped else 3)
    plain.write_bytes(gzip.compress(content) if mode == "w:gz" else content)
    with pytest.raises(DataError, match=r"p\.tar: is damaged after .* two tar files in one"):
        TarArchive(plain)


def test_two_tar_files_in_one_are_refused(tmp_path: Path) -> None:
    one = make_tar(tmp_path / "1.tar", [("cat/1.png", PICTURE)]).read_bytes()
    two = make_tar(tmp_path / "2.tar", [("dog/1.png", PICTURE)]).read_bytes()
    (tmp_path / "p.tar").write_bytes(one + two)
    with pytest.raises(DataError, match=r"two tar files in one.*--concatenate"):
        TarArchive(tmp_path / "p.tar")
    (tmp_path / "p.tar").write_bytes(one + bytes(100_000))
    assert TarArchive(tmp_path / "p.tar").names == ["cat/1.png"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_damaged_compressed_files_are_named(tmp_path: Path, mode: str, where: float) -> None:
    members = [(f"cat/{n}.png", encode(seed=n, size=(40, 40))) for n in range(9)]
    path = make_tar(tmp_path / "p.tar", members, mode)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.tar: "):
        TarArchive(path)


def test_of_a_compressed_tar_file_only_images_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [("cat/1.png", PICTURE), ("cat/notes.bin", bytes(1000)), ("cat/2.PNG", PICTURE)]
    archive = TarArchive(make_tar(tmp_path / "p.tar.gz", members, "w:gz"))
    assert archive.names == ["cat/1.png", "cat/2.PNG", "cat/notes.bin"]
    assert archive.read(1) == PICTURE
    with pytest.raises(CorruptImageError, match=r"member cat/notes\.bin is no image"):
        archive.read(2)
    monkeypatch.setenv(TAR_KEPT_BYTES.variable, str(2 * len(PICTURE) - 1))
    with pytest.raises(DataError, match=rf"p\.tar\.gz: .*{TAR_KEPT_BYTES.variable}"):
        TarArchive(tmp_path / "p.tar.gz")
    monkeypatch.setenv(TAR_MEMBERS.variable, "2")
    with pytest.raises(DataError, match=r"3 members of a tar file are more than the 2"):
        TarArchive(tmp_path / "p.tar.gz")


def test_a_bomb_is_unpacked_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TAR_UNPACKED_BYTES.variable, str(1 << 20))
    path = make_tar(tmp_path / "p.tar.gz", [("cat/1.bin", bytes(1 << 24))], "w:gz")
    with pytest.raises(DataError, match=r"p\.tar\.gz: becomes more than 200 times as large"):
        TarArchive(path)


def test_a_head_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "p.tar", [("cat/1.png", PICTURE)])
    content = bytearray(path.read_bytes())
    content[156:157] = b"x"
    content[124:136] = b"77777777777\0"
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a member's head states 8,589,93\d,\d{3} bytes"):
        TarArchive(path)


def test_folders_beside_the_parts_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "validaton/b/1.png"):
        put(tmp_path / place)
    with caplog.at_level("WARNING"):
        assert set(find_parts(FolderArchive(tmp_path))) == {"train", "validation"}
    assert "images in validaton are left out" in caplog.text


def test_classes_whose_names_are_composed_otherwise_are_one(tmp_path: Path) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        put(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"folders of classes: the class .* comes twice"):
        find_parts(FolderArchive(tmp_path))["train"]()
