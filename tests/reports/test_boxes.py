import torch
from PIL import Image

from spikesight.objects import Detections, Objects
from spikesight.reports.boxes import class_colour, draw_objects
from spikesight.reports.found_and_missed import Outcome, draw_found_and_missed

NAMES = ("cell", "plate")


def boxes(*edges: list[float]) -> torch.Tensor:
    return torch.tensor(edges, dtype=torch.float32)


def colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    counted = picture.getcolors(1 << 24)
    assert counted is not None
    return {colour for _, colour in counted if isinstance(colour, tuple)}


def test_outlines_lie_within_their_boxes_and_have_the_colours_of_the_classes() -> None:
    photo = torch.zeros(3, 600, 500, dtype=torch.uint8)
    there = Objects(
        boxes([100, 200, 180, 300], [300.4, 50.2, 460.0, 120.0]),
        torch.tensor([0, 1]),
        torch.zeros(2, dtype=torch.bool),
    )
    picture = draw_objects(photo, there, NAMES)
    assert picture.size == (500, 600)
    for x, y, label in ((100, 250, 0), (179, 250, 0), (140, 200, 0), (140, 299, 0), (459, 90, 1)):
        assert picture.getpixel((x, y)) == class_colour(label)
    for x, y in ((98, 250), (181, 250), (140, 302), (140, 250)):
        assert picture.getpixel((x, y)) == (0, 0, 0)


def test_small_photos_are_enlarged_until_labels_can_be_read_unless_they_keep_their_size() -> None:
    photo = torch.zeros(3, 64, 96, dtype=torch.uint8)
    found = Detections(boxes([8, 8, 24, 40]), torch.tensor([1]), torch.tensor([0.875]))
    picture = draw_objects(photo, found, NAMES)
    assert picture.size == (7 * 96, 7 * 64)
    assert picture.getpixel((7 * 8, 7 * 20)) == class_colour(1)
    assert draw_objects(photo, found, NAMES, size="own").size == (96, 64)
    thin = torch.zeros(3, 2, 1000, dtype=torch.uint8)
    assert draw_objects(thin, found[[]], NAMES).size == (4000, 8)


def test_masks_tint_their_pixels_the_surest_on_top() -> None:
    photo = torch.full((3, 500, 500), 100, dtype=torch.uint8)
    masks = torch.zeros(2, 500, 500, dtype=torch.bool)
    masks[0, 100:200, 100:200] = True
    masks[1, 150:300, 150:300] = True
    edges = boxes([100, 100, 200, 200], [150, 150, 300, 300])
    found = Detections(edges, torch.tensor([0, 1]), torch.tensor([0.9, 0.5]), masks)
    picture = draw_objects(photo, found, NAMES)
    for place, label in (((180, 190), 0), ((250, 250), 1)):
        tint = tuple(round(0.6 * 100 + 0.4 * part) for part in class_colour(label))
        assert picture.getpixel(place) == tint
    assert picture.getpixel((400, 400)) == (100, 100, 100)


def test_labels_of_neighbours_keep_apart_and_all_stay_in_the_picture() -> None:
    photo = torch.zeros(3, 420, 420, dtype=torch.uint8)
    edges = boxes([0, 0, 60, 60], [0, 2, 62, 64], [360, 380, 420, 420])
    found = Detections(edges, torch.tensor([0, 1, 1]), torch.tensor([0.9, 0.8, 0.7]))
    alone = [draw_objects(photo, found[[n]], NAMES) for n in range(3)]
    together = draw_objects(photo, found, NAMES)

    def ground(picture: Image.Image, label: int) -> int:
        counted = picture.getcolors(1 << 24)
        assert counted is not None
        return sum(count for count, colour in counted if colour == class_colour(label))

    assert ground(together, 0) >= 0.95 * ground(alone[0], 0)
    assert ground(together, 1) >= 0.9 * (ground(alone[1], 1) + ground(alone[2], 1))


def test_a_picture_without_objects_is_the_photo() -> None:
    photo = torch.randint(256, (3, 420, 430), dtype=torch.uint8)
    empty = Detections(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    picture = draw_objects(photo, empty, NAMES)
    assert picture.tobytes() == photo.permute(1, 2, 0).contiguous().numpy().tobytes()


def test_right_wrong_and_missed_have_colours_of_their_own() -> None:
    photo = torch.zeros(3, 500, 500, dtype=torch.uint8)
    there = Objects(
        boxes([50, 50, 150, 150], [300, 300, 400, 400]),
        torch.tensor([0, 0]),
        torch.zeros(2, dtype=torch.bool),
    )
    found = Detections(
        boxes([50, 50, 150, 150], [300, 50, 400, 150]),
        torch.tensor([0, 1]),
        torch.tensor([0.9, 0.4]),
    )
    flags = torch.tensor([True, False]), torch.tensor([False, False]), torch.tensor([False, True])
    picture = draw_found_and_missed(photo, there, found, Outcome(*flags), NAMES, "photo")
    left = picture.crop((0, 40, 500, picture.height))
    right = picture.crop((506, 40, picture.width, picture.height))
    assert class_colour(0) in colours_in(left)
    assert {(60, 205, 110), (255, 60, 60), (255, 225, 40)} <= colours_in(right)
    assert not {(255, 60, 60), (255, 225, 40)} & colours_in(left)
