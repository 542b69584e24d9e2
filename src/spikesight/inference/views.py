"""A photo of any size through a segmenter: whole, in windows, at several scales, mirrored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate, pad

from spikesight.data.segmentation.scene import Truth
from spikesight.errors import UserError
from spikesight.inference.config import ViewConfig as ViewConfig
from spikesight.inference.panoptic import fuse_scored
from spikesight.inference.semantic import enlarge_masks, semantic_scores
from spikesight.label_maps import resize_labels
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

LARGEST_MASKS = 2**28
"""Numbers in the masks of all queries of a photo."""
Segmenter = Callable[[Tensor], Segmentation | PixelSegmentation]


@dataclass(frozen=True)
class View:
    """A segmenter and what it needs to be shown a photo.

    Attributes:
        model: Takes images [B, 3, H, W].
        stride: What height and width must be divisible by; photos are padded with zeros, the mean
            colour, on the right and below.
        window: Height and width of a sliding window.
        config: How photos are shown.
    """

    model: Segmenter
    stride: int
    window: tuple[int, int]
    config: ViewConfig


def padded(images: Tensor, stride: int) -> Tensor:
    """Images [B, C, H, W] with zeros on the right and below, up to a multiple of the stride."""
    down, right = -images.shape[-2] % stride, -images.shape[-1] % stride
    return pad(images, (0, right, 0, down)) if down or right else images


def photo_scores(view: View, images: Tensor) -> Tensor:
    """Class scores of every pixel, averaged over all views of a photo.

    Args:
        view: Segmenter and views.
        images: Normalised photos of one size [B, 3, H, W].

    Returns:
        [B, K, H, W].
    """
    config, size = view.config, (images.shape[-2], images.shape[-1])
    total: Tensor | None = None
    for scale in config.scales:
        shown = images
        if scale != 1.0:
            scaled = [max(round(side * scale), 1) for side in size]
            shown = interpolate(
                images, scaled, mode="bilinear", align_corners=False, antialias=scale < 1
            )
        for mirrored in (False, True)[: 2 if config.flip else 1]:
            part = _scores(view, shown.flip(-1) if mirrored else shown)
            part = part.flip(-1) if mirrored else part
            if part.shape[-2:] != images.shape[-2:]:
                part = interpolate(part, size, mode="bilinear", align_corners=False)
            total = part if total is None else total + part
    assert total is not None
    return total / (len(config.scales) * (2 if config.flip else 1))


def _scores(view: View, images: Tensor) -> Tensor:
    if view.config.mode == "whole":
        return _whole(view, images)
    total: Tensor | None = None
    counts = images.new_zeros(images.shape[-2:])
    for rows, columns in windows(images.shape[-2:], view.window, view.config.stride_share):
        part = _whole(view, images[..., rows, columns])
        if total is None:
            total = part.new_zeros(*part.shape[:2], *images.shape[-2:])
        total[..., rows, columns] += part
        counts[rows, columns] += 1
    assert total is not None
    return total / counts


def _whole(view: View, images: Tensor) -> Tensor:
    shown = padded(images, view.stride)
    height, width = images.shape[-2:]
    return semantic_scores(view.model(shown), (shown.shape[-2], shown.shape[-1]), (height, width))


def windows(
    size: tuple[int, ...], window: tuple[int, int], stride_share: float
) -> Iterator[tuple[slice, slice]]:
    """Windows that cover a photo; the last ones end at its border.

    Args:
        size: Height and width of the photo.
        window: Those of a window; larger than the photo means the whole photo.
        stride_share: Distance of two windows as a share of the window.
    """
    starts = []
    for length, side in zip(size, window, strict=True):
        step = max(round(side * stride_share), 1)
        last = max(length - side, 0)
        starts.append([*range(0, last, step), last])
    for top in starts[0]:
        for left in starts[1]:
            yield slice(top, top + window[0]), slice(left, left + window[1])


def panoptic_truths(
    view: View,
    images: Tensor,
    sizes: Sequence[tuple[int, int]],
    things: tuple[int, ...],
    largest: int = LARGEST_MASKS,
) -> list[Truth]:
    """Panoptic segments of photos; see `panoptic_segments`."""
    return [truth for truth, _ in panoptic_segments(view, images, sizes, things, largest)]


def panoptic_segments(
    view: View,
    images: Tensor,
    sizes: Sequence[tuple[int, int]],
    things: tuple[int, ...],
    largest: int = LARGEST_MASKS,
) -> list[tuple[Truth, list[float]]]:
    """Panoptic segments of photos and their scores.

    Args:
        view: Segmenter and views; queries of several views cannot be averaged.
        images: Normalised photos of one size [B, 3, H, W].
        sizes: Height and width of each result.
        things: Numbers of the thing classes.
        largest: Numbers in all masks of a result above which they are fused at the size of the
            images and the segments are enlarged.

    Raises:
        ValueError: If several views are asked for.
    """
    output = single_view(view, images)
    inner = (images.shape[-2], images.shape[-1])
    found = []
    for classes, masks, size in zip(
        output.class_logits, output.mask_logits.float(), sizes, strict=True
    ):
        fits = len(masks) * size[0] * size[1] <= largest
        shown = enlarged(masks, images, view.stride, size if fits else inner)
        truth, scores = fuse_scored(classes, shown, things, view.config.panoptic)
        if not fits:
            truth = truth.with_map(resize_labels(truth.segment_map, size))
        found.append((truth, scores))
    return found


def single_view(view: View, images: Tensor) -> Segmentation:
    """What the segmenter says about whole photos [B, 3, H, W], padded to its stride.

    Raises:
        UserError: If several views are asked for, or the segmenter has no queries.
    """
    if not view.config.single:
        raise UserError(
            "objects and queries come from one view of the whole photo; pass view.mode=whole, "
            "view.scales=[1.0] and view.flip=false"
        )
    output = view.model(padded(images, view.stride))
    if isinstance(output, PixelSegmentation):
        raise UserError(
            "objects and queries come from classified masks, but this model gives every pixel a "
            "class; pass task=semantic, or a model.name such as spike2former_nano"
        )
    return output


def enlarged(masks: Tensor, images: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Mask logits of a photo's queries at some size.

    Args:
        masks: [Q, h, w], of the padded photo.
        images: Photos without padding, of which only the size is used.
        stride: What they were padded to.
        size: Height and width of the result [Q, *size].
    """
    height, width = images.shape[-2:]
    shown = enlarge_masks(masks, (height + -height % stride, width + -width % stride))
    shown = shown[:, :height, :width]
    return shown if (height, width) == size else enlarge_masks(shown, size)
