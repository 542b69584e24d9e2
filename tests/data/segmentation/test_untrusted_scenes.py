"""Masks, lists and videos that are something else than they seem."""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spikesight.data import CorruptImageError, DataError
from spikesight.data.segmentation import SceneConfig
from spikesight.data.segmentation.files import (
    LabelIds,
    look_up_colours,
    read_colour_mask,
    read_index_mask,
    read_mask,
)
from spikesight.data.segmentation.preprocessing import sample_crop
from spikesight.data.segmentation.scene import table_of
from spikesight.data.segmentation.sources import read_scenes
from spikesight.data.segmentation.video import read_frames
from spikesight.training.tasks.photos_and_videos import find_below

from . import layouts

MASK = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3


def save(path: Path, kind: str, pixels: NDArray[Any] = MASK, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, kind, **options)
    return path


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_masks_of_lossless_formats_are_unchanged(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    assert np.array_equal(read_index_mask(save(tmp_path / "m", kind, **options)), MASK)
    colours = np.stack([MASK, MASK + 100, MASK + 200], -1)
    path = save(tmp_path / "c.webp", "WEBP", colours, lossless=True)
    assert np.array_equal(read_colour_mask(path), colours)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 100}), ("WEBP", {"quality": 90}), ("TIFF", {"compression": "jpeg"})],
)
def test_lossy_masks_are_refused_whatever_their_name(
    tmp_path: Path, kind: str, options: dict[str, object]
) -> None:
    path = save(tmp_path / "m.png", kind, np.stack([MASK] * 3, -1), **options)
    with pytest.raises(DataError, match=r"m\.png: a .* mask is compressed with losses.*as PNG"):
        read_mask(path)


def test_masks_whose_values_would_be_scaled_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pgm").write_bytes(b"P5 8 6 2\n" + MASK.tobytes())
    with pytest.raises(DataError, match=r"m\.pgm: its largest value is not 255"):
        read_index_mask(tmp_path / "m.pgm")
    wide = (MASK.astype(np.int64) * 300).astype(">u2")
    (tmp_path / "w.pgm").write_bytes(b"P5 8 6 65535\n" + wide.tobytes())
    assert np.array_equal(read_index_mask(tmp_path / "w.pgm"), wide)
    colours = np.stack([wide] * 3, -1)
    (tmp_path / "c.ppm").write_bytes(b"P6 8 6 65535\n" + colours.tobytes())
    with pytest.raises(DataError, match=r"c\.ppm: its largest value is not 255"):
        read_colour_mask(tmp_path / "c.ppm")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_masks_of_few_bits_hold_their_numbers(bits: int, tmp_path: Path) -> None:
    numbers = np.arange(64).reshape(8, 8) % (1 << bits)
    per_byte = 8 // bits
    shifts = bits * np.arange(per_byte)[::-1]
    rows = (numbers.reshape(8, -1, per_byte) << shifts).sum(-1).astype(np.uint8)
    packed = np.concatenate([np.zeros((8, 1), np.uint8), rows], axis=1).tobytes()

    def chunk(kind: bytes, body: bytes) -> bytes:
        size, check = struct.pack(">I", len(body)), struct.pack(">I", zlib.crc32(kind + body))
        return size + kind + body + check

    head = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    path = tmp_path / "mask.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(packed))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(read_index_mask(path), numbers)


def test_other_formats_are_no_masks(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n")
    with pytest.raises(CorruptImageError, match=r"m\.png: not a readable mask"):
        read_mask(tmp_path / "m.png")


def test_classes_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match=r"scenes\.class_names: the class 'b' comes twice"):
        SceneConfig(format="folder", path="x", class_names=["a", "b", "b"])
    with pytest.raises(DataError, match="the class 'a' comes twice"):
        table_of(("a", "a"))


def test_lists_with_marks_and_carriage_returns(tmp_path: Path) -> None:
    layouts.photo(tmp_path / "train/images/0.png")
    colours = np.zeros((*layouts.SIZE, 3), np.uint8)
    (tmp_path / "train/labels").mkdir()
    Image.fromarray(colours).save(tmp_path / "train/labels/0.png")
    (tmp_path / "label_colors.txt").write_bytes(b"\xef\xbb\xbf0 0 0\tsky\r\n\r\n1 1 1 sea\r\n")
    scenes = read_scenes(SceneConfig(format="folder", path=str(tmp_path)), "train")
    assert scenes.classes.names == ("sky", "sea")
    (tmp_path / "label_colors.txt").write_text("0 0 0 sky", encoding="utf-16")
    with pytest.raises(DataError, match=r"label_colors\.txt: is not text in UTF-8"):
        read_scenes(SceneConfig(format="folder", path=str(tmp_path)), "train")


def test_lists_of_photos_stay_in_their_folder(tmp_path: Path) -> None:
    listing = tmp_path / "ImageSets/Segmentation/train.txt"
    listing.parent.mkdir(parents=True)
    for name in ("../../secret", "/etc/passwd"):
        listing.write_text(name)
        with pytest.raises(DataError, match=r"train\.txt: the name .* leads out of its folder"):
            read_scenes(SceneConfig(format="voc", path=str(tmp_path)), "train")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_segmenters_find_linked_and_visible_files_once(tmp_path: Path) -> None:
    layouts.photo(tmp_path / "far/1.png")
    (tmp_path / "p/out").mkdir(parents=True)
    (tmp_path / "p/linked").symlink_to(tmp_path / "far")
    (tmp_path / "p/loop").symlink_to(tmp_path / "p")
    for name in ("p/._1.png", "p/out/2.png", "p/.hidden/3.png", "p/MOVIE.MP4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list(find_below(tmp_path / "p", tmp_path / "p/out"))
    assert [path.relative_to(tmp_path / "p").as_posix() for path in found] == [
        "MOVIE.MP4",
        "linked/1.png",
    ]


def test_cut_outs_that_cannot_be_read_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(6):
        layouts.photo(tmp_path / "photos" / f"{number}.png")
        (tmp_path / "stamps").mkdir(exist_ok=True)
        Image.new("RGBA", (9, 9), (200, 9, 9, 255)).save(tmp_path / "stamps" / f"{number}.png")
    (tmp_path / "stamps/bad.png").write_bytes(b"no picture")
    config = SceneConfig(
        format="cut_outs",
        path=str(tmp_path / "stamps"),
        photos=str(tmp_path / "photos"),
        on_corrupt="skip",
    )
    with caplog.at_level(logging.WARNING):
        read_scenes(config, "train")
    assert "bad.png" in caplog.text


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1)])
def test_thin_photos_are_cut_before_they_are_enlarged(size: tuple[int, int]) -> None:
    photo = torch.zeros(3, *size, dtype=torch.uint8)
    assert sample_crop(photo, (64, 64)).shape == (3, 64, 64)


def test_videos_are_files_of_known_kinds(tmp_path: Path) -> None:
    pytest.importorskip("av")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n"
    for name, content in (("a.mp4", b""), ("b.mp4", b"no video"), ("c.mp4", playlist)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptImageError, match=rf"{name}: not a readable video"):
            next(read_frames(tmp_path / name))
    # An image is no video, and a name no command.
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    (tmp_path / "d.mp4").write_bytes(stream.getvalue())
    for name in ("d.mp4", "concat:a.mp4|b.mp4"):
        with pytest.raises(CorruptImageError, match=r"not a readable video|cannot be read"):
            next(read_frames(tmp_path / name))


def test_large_masks_are_looked_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.data.segmentation.files._BLOCK", 7)
    random = np.random.default_rng(0)
    ids = random.integers(0, 4, (11, 13)).astype(np.int32)
    labels = LabelIds({0: 2, 1: 0, 2: -1, 3: 1}, "the list")
    assert np.array_equal(labels.class_map(ids, Path("m")), np.array([2, 0, -1, 1])[ids])
    ids[5, 6] = 70_000
    with pytest.raises(DataError, match=r"m: label id 70000 at row 5, column 6 .*\(1 such"):
        labels.class_map(ids, Path("m"))
    rgb = random.integers(0, 2, (11, 13, 3), np.uint8)
    packed = (rgb.astype(np.int64) * [1 << 16, 1 << 8, 1]).sum(-1)
    values = {int(colour): place for place, colour in enumerate(np.unique(packed))}
    found, unknown = look_up_colours(rgb, values)
    assert unknown is None
    assert np.array_equal(found, np.vectorize(values.get)(packed))
    smallest = min(values)
    assert look_up_colours(rgb, {k: v for k, v in values.items() if k != smallest})[1] == smallest


def test_two_photos_of_one_mask_are_refused(tmp_path: Path) -> None:
    layouts.folder(tmp_path)
    photo = next((tmp_path / "train" / "images").iterdir())
    Image.open(photo).save(photo.with_suffix(".webp"), lossless=True)
    config = SceneConfig(format="folder", path=str(tmp_path), class_names=["a", "b"])
    with pytest.raises(DataError, match=r"have one mask, .*remove one of the photos"):
        read_scenes(config, "train")
