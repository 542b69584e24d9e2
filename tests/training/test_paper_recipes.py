"""The recipes of Spike2Former's paper say what its tables say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import spikesight
from spikesight.training import TrainConfig

PAPER = Path(__file__).parents[2] / "configs" / "spike2former"


@pytest.mark.parametrize("file", sorted(PAPER.glob("*.yaml")), ids=lambda file: file.stem)
def test_recipes_of_the_paper(file: Path) -> None:
    config = TrainConfig.load(file)
    steps, levels = map(int, file.stem.split("_")[-1].split("x"))
    assert (config.model.steps, config.model.levels) == (steps, levels)
    classes = {"ade20k": 150, "cityscapes": 19, "voc": 21, "coco_panoptic": 133}
    assert (config.task == "panoptic") == (config.scenes.format == "coco_panoptic")
    with torch.device("meta"):
        model = spikesight.create_model(
            config.model.name,
            num_classes=classes[config.scenes.format],
            steps=steps,
            levels=levels,
            **config.model.arguments,
        )
    assert {neuron.levels for neuron in model.modules() if hasattr(neuron, "levels")} >= {levels}
