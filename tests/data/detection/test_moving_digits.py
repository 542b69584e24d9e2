"""Digits before a simulated event camera, and what becomes of frames with objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.data import DataError
from spikesight.data.detection import (
    AnnotatedImage,
    EventObjectAugmentation,
    EventObjectConfig,
    EventObjectPreprocessing,
    ObjectConfig,
    build_object_evaluation_loader,
    build_object_loaders,
    fields_of_objects,
    object_preprocessing_kind,
    read_objects,
)
from spikesight.data.detection.moving_digits import MovingDigits
from spikesight.data.events import save_events
from spikesight.data.segmentation.scene import table_of
from spikesight.errors import UserError
from spikesight.objects import Detections, Objects
from spikesight.training.config import ModelConfig, TrainConfig
from tests.data.events.files import random_events

EVENTS = EventObjectConfig(frames=4, window=100_000)


def digits(part: str = "train", **fields: Any) -> MovingDigits:
    described = ObjectConfig(
        **{"format": "moving_digits", "image_size": (64, 80), "events": EVENTS, **fields}
    )
    source = read_objects(described, part)  # type: ignore[arg-type]
    assert isinstance(source, MovingDigits)
    return source


def steps(size: tuple[int, int], **fields: Any) -> EventObjectPreprocessing:
    return EventObjectPreprocessing(size, 4, 100_000, table_of(("a", "b"), (0, 1)), **fields)


def test_samples_are_functions_of_seed_and_number() -> None:
    source = digits()
    first, again = source.read(3, False), digits().read(3, False)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.objects.boxes, again.objects.boxes)
    assert first.image.shape == (4, 2, 64, 80)
    for other in (source.read(4, False), digits(split_seed=1).read(3, False)):
        assert not torch.equal(first.image, other.image)
    assert not torch.equal(first.image, digits("val").read(3, False).image)


@pytest.mark.parametrize("index", range(6))
def test_boxes_are_where_digits_are_at_last(index: int) -> None:
    """The latest events, before the last picture, are at the digits' edges, and all are inside."""
    source = digits(objects=(1, 2))
    events, objects = source.record(index)
    assert 1 <= len(objects) <= 2
    latest = events.between(EVENTS.window - EVENTS.window // 32, EVENTS.window)
    x, y = torch.from_numpy(latest.x).float(), torch.from_numpy(latest.y).float()
    # Ink reaches half a pixel beyond the box, and the last step is as long as the way / 32.
    margin = 0.4 * 64 / 32 + 2.5
    near = torch.zeros(len(latest), dtype=torch.bool)
    for box in objects.boxes:
        left, top, right, bottom = box
        inside = (x + 1 > left - margin) & (x < right + margin)
        inside &= (y + 1 > top - margin) & (y < bottom + margin)
        near |= inside
        edges = (x[inside].min(), y[inside].min(), x[inside].max() + 1, y[inside].max() + 1)
        assert (torch.stack(edges) - box).abs().max() < margin + 3
    assert near.all()


def test_validation_has_other_digits() -> None:
    from spikesight.data.detection.moving_digits import _usable

    assert not set(_usable("train", 0)[1].tolist()) & set(_usable("val", 0)[1].tolist())


def test_batches_and_memory() -> None:
    for kept in (False, True):
        described = ObjectConfig(
            format="moving_digits",
            image_size=(64, 64),
            events=EVENTS,
            scenes=5,
            validation_scenes=3,
            in_memory=kept,
        )
        loaders = build_object_loaders(described, 2, seed=0)
        images, objects = next(iter(loaders.train))
        assert (images.shape, len(objects)) == ((2, 4, 2, 64, 64), 2)
        shown = loaders.preprocessing.batch_transform(images)
        assert shown.dtype == torch.float32
        assert torch.equal(shown, images.float())
        assert [len(batch[0]) for batch in loaders.validation] == [2, 1]


def test_no_event_is_lost_when_frames_shrink() -> None:
    frames = torch.randint(0, 4, (4, 2, 90, 70), dtype=torch.uint8)
    fitted, fit = steps((32, 64)).fit(frames)
    assert (fit.photo, fit.shown) == ((90, 70), (32, 25))
    assert fitted.shape == (4, 2, 32, 64)
    assert torch.equal(fitted.sum((2, 3)), frames.sum((2, 3)))
    assert fitted[..., 25:].sum() == 0
    assert int(steps((32, 64), max_count=3).fit(frames)[0].max()) == 3
    small, place = steps((100, 100)).fit(frames)
    assert torch.equal(small[..., :90, :70], frames)
    assert place.shown == (90, 70)
    found = Detections(torch.tensor([[0.0, 0, 25, 32]]), torch.tensor([1]), torch.tensor([0.5]))
    assert fit.restore(found).boxes.tolist() == [[0, 0, 70, 90]]
    with pytest.raises(DataError, match=r"5 frames and the model learned from 4; pass objects\."):
        steps((32, 32)).fit(frames[:1].repeat(5, 1, 1, 1))


def test_mirrored_frames_and_boxes_agree() -> None:
    frames = torch.zeros(4, 2, 64, 48, dtype=torch.uint8)
    frames[:, :, 10:20, 5:9] = 1
    boxes = torch.tensor([[5.0, 10, 9, 20]])
    sample = AnnotatedImage(frames, Objects(boxes, torch.tensor([1]), torch.tensor([False])))
    augment = EventObjectAugmentation(steps((64, 64)), True, True, seed=0)
    seen = set()
    for index in range(20):
        image, objects = augment([sample], 0, index)
        rows, columns = (image[0, 0].any(axis).nonzero() for axis in (1, 0))
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert objects.boxes.tolist() == [[float(edge) for edge in edges]]
        seen.add(tuple(objects.boxes[0].tolist()))
    assert len(seen) == 4
    assert torch.equal(sample.objects.boxes, boxes)
    halved, objects = EventObjectAugmentation(steps((32, 32)), False, False, 0)([sample], 0, 0)
    assert halved[0, 0].sum() == 40
    assert objects.boxes.tolist() == [[2.5, 5, 4.5, 10]]


def test_preprocessing_travels_with_the_model(tmp_path: Path) -> None:
    import json

    made = steps((32, 40), sensor=(40, 32))
    fields = json.loads(json.dumps(made.to_dict()))
    kind = object_preprocessing_kind(fields)
    assert kind.from_dict(fields) == made
    assert made.input_shape == (4, 2, 32, 40)
    other = described(fields_of_objects(made))
    assert EventObjectPreprocessing.of(other.events, other.image_size, made.table) == made
    events = random_events(5000, 40, 32, longest=60)
    save_events(events, tmp_path / "a.npz")
    last = int(events.t[-1]) + 1
    assert int(made.read_file(tmp_path / "a.npz").sum()) == len(
        events.between(last - 100_000, last)
    )
    picture = made.picture(made.read(tmp_path / "a.npz"))
    assert (picture.shape, picture.dtype) == ((3, 32, 40), torch.uint8)
    save_events(random_events(0, 40, 32), tmp_path / "b.npz")
    with pytest.raises(DataError, match=r"b\.npz: holds no event"):
        made.read_file(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mosaic": 0.5}, "objects.mosaic is for photos and 'moving_digits' holds events"),
        ({"scale_range": (0.5, 1.0)}, "objects.scale_range is for photos"),
        ({"class_names": ["1"]}, "'moving_digits' has the ten digits"),
        ({"format": "gen1"}, "'gen1' needs objects.path"),
        ({"events": {"frames": 0}}, "objects.events.frames"),
        ({"image_size": (4, 64)}, "no digit is smaller"),
    ],
)
def test_configurations_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        described(fields)


def described(fields: dict[str, Any]) -> ObjectConfig:
    if "events" in fields:
        fields = {**fields, "events": EventObjectConfig(**fields["events"])}
    return ObjectConfig(**{"format": "moving_digits", **fields})


def test_photos_are_not_shown_to_a_model_of_events() -> None:
    photos = ObjectConfig(format="digit_scenes", image_size=(64, 64))
    learned = build_object_loaders(described({"events": {"frames": 4}}), 2, seed=0).preprocessing
    with pytest.raises(DataError, match=r"learned from events but .*'digit_scenes' holds photos"):
        build_object_evaluation_loader(photos, 2, learned)


def test_steps_are_frames() -> None:
    model = ModelConfig(name="metaspikformer_nano", steps=8)
    with pytest.raises(UserError, match=r"model\.steps is 8 but objects\.events\.frames is 5"):
        TrainConfig(model, "out", objects=ObjectConfig(format="moving_digits"))


def test_digits_have_no_part_for_testing() -> None:
    with pytest.raises(DataError, match="pass the split validation"):
        read_objects(ObjectConfig(format="moving_digits"), "test")
