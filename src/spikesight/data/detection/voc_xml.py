"""Pascal VOC's annotations: an XML file per photo, and lists of the photos of each part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from spikesight.data.detection.class_choice import chosen_classes
from spikesight.data.detection.part_names import names_of
from spikesight.data.detection.photo_lists import ListedPhoto, PhotoList, Tally
from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES, read_head, read_image_file
from spikesight.files.names import check_inside, show
from spikesight.files.opening import read_text
from spikesight.files.walking import find_files
from spikesight.files.xml_documents import read_xml

_REMEDY = "correct it to Pascal VOC's format: objects, each with a name and a bndbox"
_PHOTO_FOLDERS = ("JPEGImages", "images", "Images", "")
_ANNOTATION_FOLDERS = ("Annotations", "annotations/xmls", "annotations")
_LISTS = ("ImageSets/Main", "annotations")


@dataclass(frozen=True)
class _Marked:
    """An object of an XML file: its class's name, its box in pixels from 0, and "difficult"."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class _Annotated:
    """What an XML file says of its photo."""

    file: Path
    photo: str
    size: tuple[int, int] | None
    objects: tuple[_Marked, ...]


@dataclass(frozen=True)
class VocLayout:
    """Where the parts of a set lie.

    Attributes:
        parts: The XML files of each part that there is.
        photos: Folders in which photos are looked for, besides that of the XML file.
    """

    parts: dict[str, list[Path]]
    photos: tuple[Path, ...]


def find_voc(path: Path, annotations: str | None) -> VocLayout:
    """Finds the XML files of a set.

    Its parts are those of `ImageSets/Main/{train,val,test}.txt` (Pascal VOC) or of
    `annotations/{trainval,test}.txt` (Oxford-IIIT Pet), or folders `train`, `valid` and `test`
    with the XML files beside the photos (Roboflow). Without either, everything is `train`.

    Args:
        path: Folder of the set.
        annotations: Name of the folder of the XML files in it, where it is none of the usual ones.

    Raises:
        DataError: There are no XML files, or a list names one that is not there.
    """
    if not path.is_dir():
        raise DataError(f"{show(path)}: there is no such folder; correct objects.path")
    names = _ANNOTATION_FOLDERS if annotations is None else (annotations,)
    folder = next((path / name for name in names if (path / name).is_dir()), None)
    photos = tuple(path / name for name in _PHOTO_FOLDERS)
    if folder is not None:
        files = find_files(folder, {".xml"}, error=DataError)
        by_name = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
        parts = {}
        for part, lists in (
            ("train", ("train", "trainval")),
            ("val", ("val",)),
            ("test", ("test",)),
        ):
            found = [
                place
                for name in lists
                for base in _LISTS
                if (place := path / base / f"{name}.txt").is_file()
            ]
            if found:
                # Annotations of tests are often kept back, and Pet has some of its photos' alone.
                strict = part != "test" and found[0].parent.name == "Main"
                parts[part] = _listed(found[0], by_name, strict)
        parts = {part: listed for part, listed in parts.items() if listed}
        return VocLayout(parts or {"train": files}, (*photos, folder))
    parts = {}
    for part in ("train", "val", "test"):
        for name in names_of(part, path):
            if (path / name).is_dir() and (
                files := find_files(path / name, {".xml"}, error=DataError)
            ):
                parts[part] = files
    if not parts and (files := find_files(path, {".xml"}, error=DataError)):
        parts["train"] = files
    if not parts:
        raise DataError(
            f"{show(path)}: holds no XML file in {', '.join(names)} or train; correct objects.path "
            "or pass objects.annotations, the name of their folder"
        )
    return VocLayout(parts, photos)


def _listed(listing: Path, files: dict[str, Path], strict: bool) -> list[Path]:
    """The XML files whose names begin the lines of a list, of which some may be missing or none."""
    found = []
    for line in read_text(listing, error=DataError).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name = line.split()[0]
        if name in files:
            found.append(files[name])
        elif strict:
            raise DataError(
                f"{show(listing)}: names {show(name)}, but there is no XML file of that name; add "
                "it or remove the line"
            )
    return found


def read_voc_xml(
    layout: VocLayout, part: str, class_names: Sequence[str] | None, name: str
) -> PhotoList:
    """Reads the photos of a part.

    VOC counts pixels from 1 and a box includes its last one: the left edge is at xmin - 1 and the
    right one at xmax. A box whose xmax is not above its xmin is taken as one of zero size. Classes
    are the names in all parts in alphabetical order. Difficult objects count as crowds, as VOC's
    evaluation neither rewards nor punishes finding them.

    Args:
        layout: Where the parts lie.
        part: One of the parts that there are.
        class_names: Which classes to read, in which order; others are left out.
        name: What messages call the photos.

    Raises:
        DataError: A file is missing or damaged.
    """
    read: dict[Path, _Annotated] = {}
    for file in (file for files in layout.parts.values() for file in files):
        if file not in read:
            read[file] = _read(file)
    present = sorted({marked.name for entry in read.values() for marked in entry.objects})
    table = chosen_classes(present, class_names, name)
    numbers = {label: number for number, label in enumerate(table.names)}
    tally = Tally()
    photos = []
    seen: set[Path] = set()
    for file in layout.parts[part]:
        entry = read[file]
        photo = _photo(entry, layout.photos)
        if photo is None:
            tally.missing += 1
        elif photo in seen:
            tally.twice += 1
        else:
            seen.add(photo)
            photos.append(_listed_photo(entry, photo, numbers, tally))
    return PhotoList(photos, table, name, tally)


def _listed_photo(
    entry: _Annotated, photo: Path, numbers: dict[str, int], tally: Tally
) -> ListedPhoto:
    chosen = [marked for marked in entry.objects if marked.name in numbers]
    tally.other_classes += len(entry.objects) - len(chosen)
    size = entry.size
    if size is None:
        head = read_head(read_image_file(photo), str(photo))
        size = (head.height, head.width)
    listed = ListedPhoto(
        photo,
        entry.size,
        np.array([marked.box for marked in chosen], np.float32).reshape(-1, 4),
        np.array([numbers[marked.name] for marked in chosen], np.int64),
        np.array([marked.difficult for marked in chosen], np.bool_),
    )
    return listed.sorted_out(size, tally)


def _photo(entry: _Annotated, folders: Sequence[Path]) -> Path | None:
    """The photo of an XML file: that which it names, else one called as it is."""
    places = (*folders, entry.file.parent)
    if entry.photo:
        for folder in places:
            if (file := folder / entry.photo).is_file():
                return file
    for folder in places:
        for suffix in sorted(IMAGE_SUFFIXES):
            for ending in (suffix, suffix.upper()):
                if (file := folder / f"{entry.file.stem}{ending}").is_file():
                    return file
    return None


def _read(file: Path) -> _Annotated:
    root = read_xml(file, remedy=_REMEDY, error=DataError)
    if root.tag != "annotation":
        raise DataError(
            f"{show(file)}: its outermost element is {show(root.tag)!r:.60}, not annotation; "
            f"{_REMEDY}"
        )
    photo = (root.findtext("filename") or "").strip().replace("\\", "/")
    check_inside(photo, show(file), DataError)
    height, width = (_whole(root.findtext(f"size/{side}")) for side in ("height", "width"))
    objects = []
    for place, element in enumerate(root.findall("object")):
        label = (element.findtext("name") or "").strip()
        if not label:
            raise DataError(f"{show(file)}: object {place} has no name; {_REMEDY}")
        objects.append(_Marked(label, _box(element, file, place), _flag(element, "difficult")))
    # Some programs write a size of 0.
    return _Annotated(file, photo, (height, width) if height and width else None, tuple(objects))


def _box(element: Element, file: Path, place: int) -> tuple[float, float, float, float]:
    values = []
    for name in ("xmin", "ymin", "xmax", "ymax"):
        text = (element.findtext(f"bndbox/{name}") or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) < 1 << 24:
            raise DataError(
                f"{show(file)}: object {place}: {name} is {show(text)!r:.40}, no number of pixels; "
                f"{_REMEDY}"
            )
        values.append(value)
    left, top, right, bottom = values
    if right <= left or bottom <= top:
        return left, top, left, top
    return left - 1, top - 1, right, bottom


def _flag(element: Element, name: str) -> bool:
    return (element.findtext(name) or "").strip() == "1"


def _whole(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
