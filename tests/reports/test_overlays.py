"""Segments drawn over photos, and class numbers as palette images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikesight.data.segmentation import semantic_truth
from spikesight.data.segmentation.scene import table_of
from spikesight.reports.overlays import class_index_image, draw_overlay


@pytest.mark.parametrize("classes", [1, 2, 11, 150, 255])
def test_class_numbers_and_void_survive_the_file(classes: int, tmp_path: Path) -> None:
    table = table_of(tuple(f"class {n}" for n in range(classes)))
    numbers = torch.arange(-1, classes, dtype=torch.int32)[None].expand(3, -1)
    file = tmp_path / "classes.png"
    class_index_image(semantic_truth(numbers, classes), table).save(file)
    with Image.open(file) as image:
        assert image.mode == "P"
        assert (np.asarray(image) == numbers.numpy() % 256).all()
        shown = np.asarray(image.convert("RGB"))[0]
    assert [tuple(colour) for colour in shown[1:]] == list(table.colours)


def test_more_classes_than_a_palette_holds() -> None:
    truth = semantic_truth(torch.zeros(1, 1, dtype=torch.int32), 256)
    with pytest.raises(ValueError, match="256 classes do not fit"):
        class_index_image(truth, table_of(tuple(map(str, range(256)))))


def test_steady_legends_are_equally_wide_and_hold_every_name() -> None:
    table = table_of(("sky", "a class with quite a long name"))
    photo = torch.zeros(3, 260, 40, dtype=torch.uint8)
    maps = [torch.full((260, 40), n, dtype=torch.int32) for n in (-1, 0, 1)]
    sizes = {
        legend: [
            draw_overlay(photo, semantic_truth(m, 2), table, legend=legend).size  # type: ignore[arg-type]
            for m in maps
        ]
        for legend in ("none", "fitting", "steady")
    }
    assert set(sizes["none"]) == {(40, 260)}
    assert len(set(sizes["fitting"])) == 3
    assert set(sizes["steady"]) == {sizes["fitting"][2]}
