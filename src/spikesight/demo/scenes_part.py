"""What a segmenter sees in composed scenes, as part of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor

from spikesight.costs.page import energy_text, mean_firing_rate, ratio_text
from spikesight.costs.report import EnergyReport
from spikesight.demo.scene_overlays import SceneOverlay
from spikesight.deployment.comparison import Comparison
from spikesight.reports.page import bullets, colour_key, paragraph, percent, section
from spikesight.reports.pictures import picture


@dataclass(frozen=True)
class ScenePictures:
    """One scene.

    Attributes:
        scene: What the segmenter was shown, uint8 [3, H, W].
        truth: Its true objects.
        classes: The class that the segmenter gives every pixel.
        objects: The objects that it tells apart.
    """

    scene: Tensor
    truth: SceneOverlay
    classes: SceneOverlay
    objects: SceneOverlay


@dataclass(frozen=True)
class SceneResult:
    """How a segmenter does on composed scenes.

    Attributes:
        scenes: Number of scenes that it was measured on.
        miou: Mean intersection over union of its classes, in percent.
        panoptic_quality: Panoptic quality, in percent.
        parameters: Number of its weights.
        bits: Bits of a weight, boundary layers aside.
        size: Bytes of its packed weights.
        comparison: Its integers against its spikes.
        multiplying: Layers beyond the first in which the integer network still multiplies.
        energy: Its energy on some of the scenes.
        pictures: Some of the scenes.
    """

    scenes: int
    miou: float
    panoptic_quality: float
    parameters: int
    bits: int
    size: int
    comparison: Comparison
    multiplying: Sequence[str]
    energy: EnergyReport
    pictures: Sequence[ScenePictures]


def scenes_sentence(result: SceneResult) -> str:
    """The outcome in words."""
    compared = sum(layer.elements for layer in result.comparison.layers)
    return (
        f"On {result.scenes} scenes of digits that it never learned from: mean IoU "
        f"{result.miou:.1f} %, panoptic quality {result.panoptic_quality:.1f} %. Its "
        f"{result.parameters:,} weights of {result.bits} bits fill {result.size:,} bytes. Integers "
        f"against spikes: {result.comparison.mismatches:,} mismatches in {compared:,} counts. A "
        f"scene takes {energy_text(result.energy.picojoules)}, {ratio_text(result.energy)} than "
        f"its ANN twin; mean firing rate {percent(mean_firing_rate(result.energy))}."
    )


def scenes_part(result: SceneResult) -> str:
    """The section about scenes: figures and pictures."""
    rows = "".join(_row(number, shown) for number, shown in enumerate(result.pictures, 1))
    titles = ("the scene", "its true objects", "a class for every pixel", "objects told apart")
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    multiplies = (
        [
            "Where this network still multiplies, beyond the first layer: "
            + ", ".join(result.multiplying)
            + ". These are priced as multiplications above."
        ]
        if result.multiplying
        else []
    )
    return section(
        "It also finds digits in scenes",
        paragraph(
            "A second network, Spike2Former, was trained before and comes with this package: it "
            "gives every pixel a class and tells objects apart that touch or hide each other. The "
            "scenes are composed here, of real handwritten digits, so their true masks are known "
            f"exactly. {scenes_sentence(result)}"
        ),
        f'<div class="scroll"><table class="scenes"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>",
        bullets(
            [
                "An object has one colour in all pictures of its scene, whatever it is taken for, "
                "and the names below say what that is. Grey is found where no object is.",
                "White borders part objects; a digit half hidden behind another one is hard for "
                "people, too.",
                *multiplies,
            ]
        ),
    )


def _row(number: int, shown: ScenePictures) -> str:
    overlays = (
        (shown.truth, "true objects of scene"),
        (shown.classes, "predicted classes of scene"),
        (shown.objects, "predicted objects of scene"),
    )
    cells = "".join(
        f"<td>{picture(overlay.picture, _described(overlay, f'{what} {number}'))}"
        f"{_names(overlay)}</td>"
        for overlay, what in overlays
    )
    return f"<tr><td>{picture(shown.scene, f'scene {number}')}</td>{cells}</tr>"


def _names(overlay: SceneOverlay) -> str:
    """What is in it, each name beside its colour."""
    return colour_key(overlay.objects) if overlay.objects else "nothing"


def _described(overlay: SceneOverlay, what: str) -> str:
    return f"{what}: {', '.join(name for name, _ in overlay.objects) or 'nothing'}"
