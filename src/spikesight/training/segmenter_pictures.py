"""Looks into a trained segmenter on validation photos, for pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikesight.attention.deformable_sampling import DeformableSampling
from spikesight.data.segmentation import SceneSource, read_scenes
from spikesight.inference import View, ViewConfig, enlarged, single_view
from spikesight.pretrained import load
from spikesight.reports.segmenter_pictures import draw_query_masks, draw_sampling_points
from spikesight.training.preparation import build_accelerator
from spikesight.training.run_folder import resolve_model_folder
from spikesight.training.scene_card import SceneCard
from spikesight.training.segmentation_evaluation import build_view
from spikesight.training.validation import override

_MASK_SIDE = 200  # Spike2Former's fig. 3


@torch.no_grad()
def draw_segmenter(
    folder: Path, output: Path, scenes: dict[str, Any] | None = None, photos: int = 100
) -> list[Path]:
    """Draws the mean mask of every query and where deformable attention samples.

    Args:
        folder: Folder of a run, or its best/ or last/.
        output: Folder to write query_masks.png and, if the model has deformable attention,
            sampling_points.png to.
        scenes: Fields of the scene configuration that differ from training.
        photos: Largest number of validation photos whose masks are averaged.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the scenes cannot be used.
    """
    model_folder = resolve_model_folder(folder)
    card = SceneCard.read(model_folder)
    source = read_scenes(override(card.data, scenes or {}), "val")
    accelerator = build_accelerator()
    model = load(model_folder).to(accelerator.device)
    view = build_view(model, card.preprocessing, ViewConfig())
    output.mkdir(parents=True, exist_ok=True)

    def shown(photo: Tensor) -> Tensor:
        fitted = card.preprocessing.fit(photo)[None].to(accelerator.device)
        return card.preprocessing.batch_transform(fitted)

    path = output / "query_masks.png"
    draw_query_masks(_mean_masks(view, source, shown, min(photos, len(source))), path)
    drawn = [path]
    sampling = [m for m in model.modules() if isinstance(m, DeformableSampling)]
    if sampling:
        photo = source.read(0).image
        images, last = shown(photo), sampling[-1]
        offset, weight = _sampled(view, last, images)
        stride = (images.shape[2] + -images.shape[2] % view.stride) / offset.shape[-2]
        cell = (
            stride * photo.shape[1] / images.shape[2],
            stride * photo.shape[2] / images.shape[3],
        )
        path = output / "sampling_points.png"
        draw_sampling_points(photo, offset, weight, last.groups, last.side, cell, path)
        drawn.append(path)
    return drawn


def _mean_masks(
    view: View, source: SceneSource, shown: Callable[[Tensor], Tensor], photos: int
) -> Tensor:
    """Mean probability of each query's mask, [Q, 200, 200]."""
    total: Tensor | None = None
    for index in range(photos):
        images = shown(source.read(index).image)
        masks = single_view(view, images).mask_logits[0].float()
        size = (images.shape[2], images.shape[3])
        masks = enlarged(masks, images, view.stride, size).sigmoid()
        side = (_MASK_SIDE, _MASK_SIDE)
        masks = interpolate(masks[None], side, mode="bilinear", antialias=True)[0]
        total = masks if total is None else total + masks
    assert total is not None
    return (total / photos).cpu()


def _sampled(view: View, sampling: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets and weights of the first time step in a forward pass."""
    caught: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append((inputs[1][0].cpu(), inputs[2][0].cpu()))

    handle = sampling.register_forward_pre_hook(note)
    try:
        single_view(view, images)
    finally:
        handle.remove()
    return caught[-1]
