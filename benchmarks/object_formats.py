"""How far readers of several formats agree on the boxes of the same photos.

    python benchmarks/object_formats.py voc100

The folder holds JPEGImages and the annotations of review_object_detection_metrics' toy set:
pascalvoc_format, imagenet_format, coco_format_v1, coco_format_v2 and yolo_format. Printed is by how
many pixels the edges of each format's boxes differ from those of the first one, and of how many.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

from spikesight.data.detection import ObjectConfig, read_objects
from spikesight.reports.text_table import text_table

FORMATS = {
    "VOC XML": ("voc", "pascalvoc_format"),
    "ImageNet XML": ("voc", "imagenet_format/Annotations"),
    "COCO JSON, CVAT": ("coco", "coco_format_v1/instances_default.json"),
    "COCO JSON": ("coco", "coco_format_v2/instances_v2.json"),
    "YOLO": ("yolo", "yolo_format/obj_train_data"),
}
Edges = tuple[float, ...]


def boxes(folder: Path, format_: str, annotations: str) -> list[tuple[str, str, Edges]]:
    """Photo, class and edges of every box, sorted."""
    config = ObjectConfig(
        format=format_, path=str(folder), annotations=annotations, validation_fraction=0.5
    )
    found = []
    for source in (read_objects(config, "train"), read_objects(config, "val")):
        for index in range(len(source)):
            objects = source.read(index, masks=False).objects
            for label, box in zip(objects.classes.tolist(), objects.boxes.tolist(), strict=True):
                name = source.classes.names[label]
                found.append((Path(source.describe(index)).stem, name, tuple(box)))
    return sorted(found)


def differences(
    one: list[tuple[str, str, Edges]], other: list[tuple[str, str, Edges]]
) -> Counter[tuple[int, ...]]:
    """By how many pixels edges differ, and of how many boxes.

    Raises:
        ValueError: If they are not boxes of the same classes in the same photos.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    for (photo, label, edges), (other_photo, other_label, other_edges) in zip(
        one, other, strict=True
    ):
        if (photo, label) != (other_photo, other_label):
            raise ValueError(f"{photo} has a {label}, or {other_photo} a {other_label}")
        counts[tuple(round(a - b) for a, b in zip(other_edges, edges, strict=True))] += 1
    return counts


def _main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = {name: boxes(folder, *where) for name, where in FORMATS.items()}
    first = next(iter(found.values()))
    rows = [
        (name, f"{left:+d}", f"{top:+d}", f"{right:+d}", f"{bottom:+d}", f"{count}")
        for name, values in found.items()
        for (left, top, right, bottom), count in differences(first, values).most_common()
    ]
    print(text_table(("format", "left", "top", "right", "bottom", "boxes"), rows))


if __name__ == "__main__":
    _main()
