from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from spikesight.detection_outputs import DenseDetection
from spikesight.inference import DetectionConfig, decode_detections

SIZE = (48, 64)


def silent(classes: int = 3, batch: int = 1) -> DenseDetection:
    """Maps of strides 8 and 16 in which there is nothing."""
    shapes = [(SIZE[0] // stride, SIZE[1] // stride) for stride in (8, 16)]

    def maps(channels: int) -> tuple[Tensor, ...]:
        return tuple(torch.full((batch, channels, *shape), -20.0) for shape in shapes)

    return DenseDetection(maps(1), maps(4), maps(classes))


def put(
    output: DenseDetection,
    level: int,
    pixel: tuple[int, int],
    box: tuple[float, float, float, float],
    kind: int,
    probability: float = 0.99,
) -> None:
    """Writes a box to a pixel (row, column) of a level, as a model would."""
    stride = (8, 16)[level]
    row, column = pixel
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    left, top, right, bottom = box
    for edge, distance in enumerate((x - left, y - top, right - x, bottom - y)):
        output.distances[level][0, edge, row, column] = math.log(math.expm1(distance / stride))
    output.centres[level][0, 0, row, column] = 20.0
    output.classes[level][0, kind, row, column] = math.log(probability / (1 - probability))


def test_the_boxes_that_were_written_come_back() -> None:
    output = silent(batch=2)
    put(output, 0, (2, 3), (20.0, 12.5, 37.0, 31.0), 1, 0.81)
    put(output, 1, (1, 2), (10.0, 4.0, 60.0, 44.0), 2, 0.64)
    found, nothing = decode_detections(output, SIZE)
    assert len(nothing) == 0
    expected = torch.tensor([[20.0, 12.5, 37.0, 31.0], [10.0, 4.0, 60.0, 44.0]])
    torch.testing.assert_close(found.boxes, expected, rtol=0, atol=1e-4)
    assert found.classes.tolist() == [1, 2]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8]))


def test_of_boxes_of_a_class_that_overlap_the_best_stays() -> None:
    output = silent()
    box = (10.0, 8.0, 40.0, 38.0)
    put(output, 0, (2, 2), box, 0, 0.7)
    put(output, 0, (2, 3), (11.0, 8.0, 41.0, 38.0), 0, 0.9)
    put(output, 0, (3, 3), box, 1, 0.5)
    (found,) = decode_detections(output, SIZE)
    assert found.classes.tolist() == [0, 1]
    (all_of_them,) = decode_detections(output, SIZE, DetectionConfig(nms_iou=1.0))
    assert len(all_of_them) == 3
    (one,) = decode_detections(output, SIZE, DetectionConfig(most=1))
    assert one.classes.tolist() == [0]
    (sure,) = decode_detections(output, SIZE, DetectionConfig(score_threshold=0.8))
    assert sure.classes.tolist() == [0]


def test_boxes_end_where_the_image_ends() -> None:
    output = silent()
    put(output, 1, (0, 0), (-9.0, -5.0, 30.0, 99.0), 0)
    (found,) = decode_detections(output, SIZE)
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0.0, 30.0, 48.0]]))


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"detection\.view\.nms_iou is 2"):
        DetectionConfig(nms_iou=2.0)
