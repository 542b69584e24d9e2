"""Finding and opening files of users: what is followed, left out, bounded and refused."""

from __future__ import annotations

import gzip
import io
import os
import socket
from pathlib import Path

import pytest

from spikesight.errors import FileError, UserError
from spikesight.files.limits import TEXT_BYTES, Limit
from spikesight.files.names import check_name, show
from spikesight.files.opening import open_regular, read_at_most, read_bytes, read_text
from spikesight.files.walking import find_files, walk

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_walk_gives_files_before_folders_sorted(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png", "c/d/e.png", "b.png", "c/z.png"):
        put(tmp_path / name)
    (tmp_path / "empty").mkdir()
    found = walk(tmp_path)
    assert found.files == ["a.png", "b.png", "b/1.png", "b/2.png", "c/z.png", "c/d/e.png"]
    assert found.folders == ["b", "c", "c/d", "empty"]
    # As pathlib sorts.
    assert find_files(tmp_path, {".png"}) == sorted(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("part", [".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN"])
def test_hidden_files_and_folders_are_left_out(tmp_path: Path, part: str) -> None:
    put(tmp_path / "1.png")
    put(tmp_path / "._1.png")
    put(tmp_path / part / "1.png")
    put(tmp_path / "a" / part / "deep" / "1.png")
    assert walk(tmp_path).files == ["1.png"]
    # A folder that was named is searched whatever its own name.
    assert [file.name for file in find_files(tmp_path / part, {".png"})] == ["1.png"]


@needs_links
def test_links_are_followed_but_no_folder_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "photos/cat/1.png")
    put(tmp_path / "photos/dog/1.png")
    put(tmp_path / "elsewhere/deep/2.png")
    (tmp_path / "photos/bird").symlink_to(tmp_path / "elsewhere")
    for animal in ("cat", "dog"):
        (tmp_path / "photos" / animal / "up").symlink_to("..")
        (tmp_path / "photos" / animal / "self").symlink_to("self")
    # It sorts before the folder that it leads to, which keeps its files all the same.
    (tmp_path / "photos/ape").symlink_to("dog")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path)
    found = walk(tmp_path / "photos")
    assert found.files == [
        "bird/deep/2.png",
        "cat/1.png",
        "cat/self",
        "dog/1.png",
        "dog/self",
    ]
    assert found.repeated == {"ape": "dog", "cat/up": ".", "dog/up": "."}
    assert "bird/back" in found.folders
    assert "3 links" in caplog.text


@needs_links
def test_chains_of_links_do_not_multiply(tmp_path: Path) -> None:
    for level in range(30):
        here = tmp_path / f"d{level}"
        put(here / "1.png")
        for name in ("a", "b"):
            (here / name).symlink_to(tmp_path / f"d{level + 1}")
    assert len([n for n in walk(tmp_path / "d0").files if n.endswith(".png")]) == 30


def test_a_folder_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    put(tmp_path / "out/2.png")
    assert [p.name for p in find_files(tmp_path, {".png"}, without=tmp_path / "out")] == ["1.png"]
    assert len(find_files(tmp_path, {".png"}, without=tmp_path / "none")) == 2


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none: no such folder"):
        walk(tmp_path / "none")
    with pytest.raises(UserError, match=r"1\.png: no such folder"):
        walk(put(tmp_path / "1.png"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read here")
def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    put(tmp_path / "a/1.png")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(FileError, match=r"a: the folder cannot be listed \(Permission"):
            walk(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_pipes_devices_and_sockets_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as end:
        monkeypatch.chdir(tmp_path)
        end.bind("socket.png")
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "nowhere.png").symlink_to("nothing")
        for name, kind in (
            ("pipe", "a named pipe"),
            ("zero", "a device"),
            ("socket", "a socket"),
            ("folder", "a folder"),
            ("nowhere", "No such file"),
        ):
            with pytest.raises(FileError, match=rf"{name}\.png.*{kind}"):
                read_bytes(tmp_path / f"{name}.png", TEXT_BYTES)
    with pytest.raises(FileError, match=r"a\\x00b: is no name"):
        open_regular("a\0b")


def test_a_file_is_read_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit("OF_THIS_TEST", 10, "bytes")
    assert read_bytes(put(tmp_path / "ten", b"0123456789"), limit) == b"0123456789"
    eleven = put(tmp_path / "eleven", b"0123456789!")
    with pytest.raises(FileError, match=r"eleven: 11 bytes .* SPIKESIGHT_MAX_OF_THIS_TEST"):
        read_bytes(eleven, limit)
    monkeypatch.setenv(limit.variable, "11")
    assert len(read_bytes(eleven, limit)) == 11
    for wrong in ("", "-1", "0", "many", "9" * 5000):
        monkeypatch.setenv(limit.variable, wrong)
        with pytest.raises(UserError, match=limit.variable):
            read_bytes(eleven, limit)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_a_file_longer_than_its_size_is_read_whole_or_refused() -> None:
    assert read_bytes("/proc/self/status", TEXT_BYTES).endswith(b"\n")
    with pytest.raises(FileError, match="maps"):
        read_bytes("/proc/self/maps", Limit("OF_THIS_TEST", 100, "bytes"))


def test_a_decompressor_is_read_up_to_a_bound() -> None:
    packed = io.BytesIO(gzip.compress(bytes(5_000_000)))
    assert len(read_at_most(gzip.GzipFile(fileobj=packed), 3_000_001)) == 3_000_001
    assert read_at_most(io.BytesIO(b"ab"), 10**15) == b"ab"


def test_text_loses_mark_and_carriage_returns(tmp_path: Path) -> None:
    assert read_text(put(tmp_path / "t", b"\xef\xbb\xbfcat\r\ndog\rcow\n")) == "cat\ndog\ncow\n"
    for content, reason in (
        ("cat".encode("utf-16"), "UTF-16"),
        (b"caf\xe9", r"byte 3 is 0xe9"),
    ):
        with pytest.raises(FileError, match=rf"t: .*{reason}.*save it as UTF-8"):
            read_text(put(tmp_path / "t", content))


def test_names_are_shown_on_one_line_and_refused_if_no_utf8() -> None:
    assert show("Straße/猫.png") == "Straße/猫.png"
    assert show("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert show(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    check_name("Straße", "p")
    with pytest.raises(FileError, match=r"p: the name caf\\xe9\.png is not UTF-8; rename"):
        check_name(b"caf\xe9.png".decode("utf-8", "surrogateescape"), "p")


@pytest.mark.skipif(os.name == "nt", reason="Windows names are text")
def test_only_names_that_are_used_need_be_utf8(tmp_path: Path) -> None:
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    put(tmp_path / "1.png")
    assert len(find_files(tmp_path, {".png"})) == 1
    with pytest.raises(FileError, match=r"caf\\xe9\.txt is not UTF-8"):
        find_files(tmp_path, {".txt"})
