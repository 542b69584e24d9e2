"""The loss of per-mask segmentation: matching, classes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.losses.matching import (
    ALPHA,
    GAMMA,
    SMOOTH,
    Assignment,
    MaskLoss,
    MatchingCosts,
    assign_by_class,
    match,
)
from spikesight.losses.pixels import pixel_loss
from spikesight.losses.point_sampling import sample_points, uncertain_points
from spikesight.losses.segments import Segments
from spikesight.options import check_arguments, check_range
from spikesight.segmentation_outputs import DenoisedSegments, Segmentation


class SegmentationLoss(nn.Module):
    """Pairs queries with segments and compares classes and masks.

    As released for semantic segmentation (MaskFormer): focal and dice loss on whole masks.
    Matching takes the ground truth down to the predictions' resolution, the losses take the
    predictions up to the ground truth's. `panoptic` gives the other released set. Matching
    and losses are computed in float32 or more, whatever the autocast.

    Args:
        num_classes: Classes K.
        class_weight: Weight of the cross-entropy of classes.
        mask_weight: Weight of the masks' focal loss, or cross-entropy.
        dice_weight: Weight of the masks' dice loss.
        no_object_weight: Weight of the class "no object" in the cross-entropy.
        mask_loss: "focal" or "cross_entropy".
        points: Number of points at which masks are compared, most of them where the prediction is
            uncertain (PointRend); None compares all pixels.
        deep_supervision: Whether the auxiliary outputs are compared as well.
        auxiliary_pixel_loss: Weight of an additional cross-entropy per pixel between the semantic
            map that the last output amounts to and the segments' classes; it tells every query at
            every pixel what is wrong, which matching does not, and helps where data are few.
            A model with pixel heads is told by the cross-entropies of these instead. 0 for none.
        semantic_map_loss: Weight of the semantic map's cross-entropy in a model with pixel heads,
            beside theirs. 0 for none.
        assignment: Which query learns which segment: "hungarian" the one whose answer is nearest,
            "fixed" query k all that is of class k, from the first update to the last. It needs as
            many queries as classes and semantic segments; the other queries learn "no object".
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        mask_loss: MaskLoss = "focal",
        points: int | None = None,
        deep_supervision: bool = True,
        auxiliary_pixel_loss: float = 0.0,
        semantic_map_loss: float = 0.0,
        assignment: Assignment = "hungarian",
    ) -> None:
        super().__init__()
        check_arguments(SegmentationLoss.__init__, locals(), "segmentation.loss.")
        for name in (
            "class_weight",
            "mask_weight",
            "dice_weight",
            "no_object_weight",
            "auxiliary_pixel_loss",
            "semantic_map_loss",
        ):
            check_range(f"segmentation.loss.{name}", locals()[name], least=0)
        check_range("segmentation.loss.points", points, least=1)
        self.num_classes = num_classes
        self.costs = MatchingCosts(class_weight, mask_weight, dice_weight, mask_loss)
        self.points = points
        self.deep_supervision = deep_supervision
        self.auxiliary_pixel_loss = auxiliary_pixel_loss
        self.semantic_map_loss = semantic_map_loss
        self.assignment = assignment
        self.no_object_weight = no_object_weight

    @classmethod
    def panoptic(cls, num_classes: int, **changes: Any) -> SegmentationLoss:
        """Mask2Former's set: classes 2, cross-entropy 5, dice 5, at 12544 points.

        Args:
            num_classes: Classes K, things and stuff.
            **changes: Arguments that differ.
        """
        options = {
            "class_weight": 2.0,
            "mask_weight": 5.0,
            "dice_weight": 5.0,
            "mask_loss": "cross_entropy",
            "points": 12544,
        }
        return cls(num_classes, **{**options, **changes})

    def forward(self, output: Segmentation, targets: Sequence[Segments]) -> dict[str, Tensor]:
        """Weighted terms, summed over the outputs, and their sum.

        Args:
            output: Of a batch of B images.
            targets: B images' segments; masks at any resolution.

        Returns:
            Scalars "classes", "masks", "dice", "pixels" and "map" if they have a weight, "denoised"
            if the model has such queries, and "total".

        Raises:
            UserError: If the numbers of images, classes or queries do not fit.
        """
        batch, queries, classes = output.class_logits.shape
        if len(targets) != batch:
            raise UserError(f"{batch} images but segments of {len(targets)}; pass one per image")
        if classes != self.num_classes + 1:
            raise UserError(
                f"the output has {classes} classes with 'no object', the loss expects "
                f"{self.num_classes + 1}; pass num_classes={classes - 1}"
            )
        if self.assignment == "fixed" and queries < self.num_classes:
            raise UserError(
                f"segmentation.loss.assignment is fixed, but the model has {queries} queries for "
                f"{self.num_classes} classes; pass model.arguments.queries={self.num_classes}"
            )
        for target in targets:
            target.check_below(self.num_classes)
        with torch.autocast(output.mask_logits.device.type, enabled=False):
            return self._terms(output.float(), targets)

    def _terms(self, output: Segmentation, targets: Sequence[Segments]) -> dict[str, Tensor]:
        layers = [*output.auxiliary, output] if self.deep_supervision else [output]
        masks = [
            resized(t.masks, output.mask_logits)
            if self.points is None
            else t.masks.to(output.mask_logits.dtype)
            for t in targets
        ]
        labels = [t.labels for t in targets]
        terms: dict[str, Tensor] = {}
        for layer in layers:
            pairs = self.assign(layer, labels, masks)
            for name, value in self._compare(layer, targets, pairs).items():
                terms[name] = terms[name] + value if name in terms else value
        if output.denoised is not None:
            terms["denoised"] = self._denoised_loss(output.denoised, targets)
        told_by_heads = bool(output.pixel_logits)
        if self.auxiliary_pixel_loss and told_by_heads:
            heads = [pixel_loss(logits, targets) for logits in output.pixel_logits]
            terms["pixels"] = self.auxiliary_pixel_loss * torch.stack(heads).sum()
        weight = self.semantic_map_loss if told_by_heads else self.auxiliary_pixel_loss
        if weight:
            known = [shares(t.masks, output.mask_logits) for t in targets]
            name = "map" if told_by_heads else "pixels"
            terms[name] = weight * semantic_loss(output, labels, known)
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def assign(
        self, output: Segmentation, labels: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """Paired queries and segments per image.

        Args:
            output: One layer's.
            labels: Per image, [N].
            masks: Per image, [N, h, w] at the resolution of the output's masks, 0 to 1; at any
                where points are compared.
        """
        if self.assignment == "fixed":
            return [assign_by_class(label) for label in labels]
        pairs = []
        for classes, logits, label, mask in zip(
            output.class_logits, output.mask_logits, labels, masks, strict=True
        ):
            if self.points is None:
                predicted, wanted = logits.flatten(1), mask.flatten(1)
            else:
                places = torch.rand(1, self.points, 2, device=logits.device, dtype=logits.dtype)
                predicted = sample_points(logits, places)
                wanted = sample_points(mask, places)
            pairs.append(match(classes, predicted, label, wanted, self.costs))
        return pairs

    def _denoised_loss(self, denoised: DenoisedSegments, targets: Sequence[Segments]) -> Tensor:
        """The loss of queries whose segments are known, over all layers."""
        pairs = []
        for numbers in denoised.segments:
            (queries,) = (numbers >= 0).nonzero(as_tuple=True)
            pairs.append((queries, numbers[queries]))
        layers = denoised.outputs if self.deep_supervision else denoised.outputs[-1:]
        terms = [self._compare(layer, targets, pairs).values() for layer in layers]
        return torch.stack([value for values in terms for value in values]).sum()

    def _compare(
        self,
        layer: Segmentation,
        targets: Sequence[Segments],
        pairs: Sequence[tuple[Tensor, Tensor]],
    ) -> dict[str, Tensor]:
        wanted = torch.full(
            layer.class_logits.shape[:2], self.num_classes, device=layer.class_logits.device
        )
        for image, (queries, segments) in enumerate(pairs):
            wanted[image, queries] = targets[image].labels[segments]
        weights = layer.class_logits.new_ones(self.num_classes + 1)
        weights[-1] = self.no_object_weight
        classes = F.cross_entropy(layer.class_logits.flatten(0, 1), wanted.flatten(), weights)
        losses = [
            self._mask_losses(logits[queries], target.masks[segments])
            for logits, target, (queries, segments) in zip(
                layer.mask_logits, targets, pairs, strict=True
            )
        ]
        masks, dice = torch.stack(losses).sum(0)
        count = max(1, sum(len(queries) for queries, _ in pairs))
        return {
            "classes": self.costs.classes * classes,
            "masks": self.costs.masks * masks / count,
            "dice": self.costs.dice * dice / count,
        }

    def _mask_losses(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Mask loss and dice loss [2] of matched logits [M, h, w] and masks [M, H, W], summed."""
        truth = masks.to(logits.dtype)
        if len(logits) == 0:
            return logits.sum().expand(2) * 0
        if self.points is None:
            size = truth.shape[-2:]
            logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
            logits, truth = logits.flatten(1), truth.flatten(1)
        else:
            places = uncertain_points(logits.detach(), self.points)
            logits, truth = sample_points(logits, places), sample_points(truth, places)
        return torch.stack((self._mask_loss(logits, truth), _dice_loss(logits, truth)))

    def _mask_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Mean over pixels, summed over segments, of logits and truth [M, P]."""
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        if self.costs.mask_loss == "focal":
            probability = logits.sigmoid()
            missed = (1 - probability) * truth + probability * (1 - truth)
            balance = ALPHA * truth + (1 - ALPHA) * (1 - truth)
            entropy = entropy * balance * missed**GAMMA
        return entropy.sum() / max(1, logits.shape[-1])


def resized(masks: Tensor, like: Tensor) -> Tensor:
    """Masks [N, H, W] at the resolution of logits [B, Q, h, w] and in their dtype, to match by.

    The upper left pixel of each block, as in the authors' code: half a block off, which only the
    choice of pairs sees. What is learned is compared at the masks' own places.
    """
    if len(masks) == 0:
        return like.new_zeros(0, *like.shape[-2:])
    return F.interpolate(masks[None].to(like.dtype), like.shape[-2:], mode="nearest")[0]


def shares(masks: Tensor, like: Tensor) -> Tensor:
    """Shares [N, h, w] of masks [N, H, W] in the pixels of logits [B, Q, h, w], in their dtype."""
    if len(masks) == 0:
        return like.new_zeros(0, *like.shape[-2:])
    return F.interpolate(masks[None].to(like.dtype), like.shape[-2:], mode="area")[0]


def _dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    probability = logits.sigmoid()
    overlap = 2 * (probability * truth).sum(-1) + SMOOTH
    return (1 - overlap / (probability.sum(-1) + truth.sum(-1) + SMOOTH)).sum()


def semantic_loss(
    output: Segmentation, labels: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """Cross-entropy per pixel of the semantic map that classified masks amount to.

    The probability of a class at a pixel is sum_q p_q(class) * m_q(pixel), normalised over the
    classes: what semantic inference takes the largest of.

    Args:
        output: One layer's.
        labels: Per image, [N].
        masks: Per image, [N, h, w], 0 to 1; pixels of none are left out.

    Returns:
        A scalar; 0 where no pixel has a class.
    """
    total = output.mask_logits.new_zeros(())
    pixels = output.mask_logits.new_zeros(())
    for classes, logits, label, mask in zip(
        output.class_logits, output.mask_logits, labels, masks, strict=True
    ):
        scores = torch.einsum("qk,qhw->khw", classes.softmax(-1)[:, :-1], logits.sigmoid())
        likelihood = (scores + 1e-6).log() - (scores + 1e-6).sum(0).log()
        total = total - (likelihood[label] * mask).sum()
        pixels = pixels + mask.sum()
    return total / pixels.clamp_min(1)
