"""Pictures of one scene: an object keeps its colour, whatever it is taken for."""

import torch

from spikesight.data.segmentation import ClassTable, Truth
from spikesight.demo.scene_overlays import overlay_of, parted

TABLE = ClassTable(("ground", "one", "two"), ((0, 0, 0), (9, 9, 9), (99, 9, 9)), (1, 2))


def truth(rows: list[list[int]], classes: list[int]) -> Truth:
    none = torch.zeros(len(classes), dtype=torch.bool)
    return Truth(torch.tensor(rows, dtype=torch.int32), torch.tensor(classes), none)


def test_what_is_taken_for_another_class_keeps_its_colour() -> None:
    image = torch.zeros(3, 2, 6, dtype=torch.uint8)
    true = truth([[0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 2, 2]], [0, 1, 1])
    found = truth([[0, 2, 2, 0, 1, 1], [3, 2, 2, 0, 1, 1]], [0, 1, 2, 1])
    there, seen = (overlay_of(image, t, true, TABLE) for t in (true, found))
    (first, one), (second, other) = there.objects
    assert (first, second) == ("one", "one")
    assert one != other
    assert dict(seen.objects)["two"] == one
    assert sorted(colour for name, colour in seen.objects if name == "one") == sorted(
        [other, (170, 170, 170)]
    )


def test_pixels_of_a_class_that_hang_together_are_one() -> None:
    parts = parted(torch.tensor([[1, 1, 0, 1], [2, 0, 0, 1]]), TABLE)
    assert parts.segment_classes.tolist() == [1, 1, 2]
    assert parts.segment_map.tolist() == [[0, 0, -1, 1], [2, -1, -1, 1]]
