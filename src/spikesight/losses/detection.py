"""The loss of dense detection: which pixels an object takes, and what they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from spikesight.detection_outputs import Candidates, DenseDetection
from spikesight.errors import UserError
from spikesight.objects import Objects
from spikesight.options import check_arguments, check_range


@dataclass(frozen=True)
class Assignment:
    """Which object each of N candidates of B images learns.

    Attributes:
        positive: [B, N] bool.
        objects: [B, N] int64, the number of the object among the image's; 0 where there is none.
        quality: [B, N] in [0, 1], what the class of a positive is to reach; 0 elsewhere.
    """

    positive: Tensor
    objects: Tensor
    quality: Tensor


def assign(
    candidates: Candidates,
    boxes: Tensor,
    classes: Tensor,
    valid: Tensor,
    *,
    most: int,
    class_power: float,
    overlap_power: float,
) -> Assignment:
    """Task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2).

    Candidate and object align by t = s^alpha u^beta, s the predicted probability of the object's
    class and u the overlap (IoU) of the boxes. Each object takes the best aligned candidates whose
    pixel's middle lies within its box, widened to a pixel of the finest level if it is smaller; a
    candidate that several take goes to the one it overlaps most. The quality is t, scaled so that
    an object's largest is its largest overlap.

    Args:
        candidates: Of B images, without gradient.
        boxes: [B, M, 4], padded to M objects an image.
        classes: [B, M] int64.
        valid: [B, M] bool, False where padded.
        most: Candidates per object.
        class_power: alpha.
        overlap_power: beta.
    """
    scores = candidates.classes.sigmoid()
    own = classes[:, :, None].expand(-1, -1, scores.shape[1])
    score = scores.transpose(1, 2).gather(1, own)
    overlap = _overlaps(boxes, candidates.boxes)
    within = _within(candidates, boxes) & valid[:, :, None]
    aligned = (score**class_power * overlap**overlap_power).masked_fill(~within, 0.0)
    best = aligned.topk(min(most, aligned.shape[-1]))
    taken = torch.zeros_like(within).scatter_(2, best.indices, best.values > 0)
    overlap = overlap.masked_fill(~taken, -1.0)
    highest, objects = overlap.max(1)
    positive = highest >= 0
    taken &= F.one_hot(objects, overlap.shape[1]).transpose(1, 2).bool()
    aligned = aligned.masked_fill(~taken, 0.0)
    overlap = overlap.masked_fill(~taken, 0.0)
    scale = overlap.amax(-1) / aligned.amax(-1).clamp_min(torch.finfo(aligned.dtype).tiny)
    quality = (aligned * scale[:, :, None]).amax(1)
    return Assignment(positive, objects, quality)


class DetectionLoss(nn.Module):
    """Classes, boxes and centres of a dense detector, with task-aligned assignment.

    Every class of every candidate is compared by cross-entropy with its quality, which pulls where
    an object is by how well the box fits (varifocal loss, arXiv 2008.13367). Positives learn
    their box by the generalised IoU (arXiv 1902.09630), weighted by quality, and their centre by
    cross-entropy with the box's IoU. Sums are divided by the sum of qualities. Crowds neither
    attract nor repel, boxes without area are left out. Computed in float32 or more, whatever the
    autocast.

    Args:
        num_classes: Classes K.
        class_weight: Weight of the classes.
        box_weight: Weight of the boxes.
        centre_weight: Weight of the centres.
        candidates: Largest number of candidates that an object takes.
        class_power: Exponent of the class's probability in the alignment.
        overlap_power: Exponent of the overlap.
        focus: Exponent of the probability that a negative's cross-entropy is multiplied by.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        box_weight: float = 2.0,
        centre_weight: float = 0.5,
        candidates: int = 10,
        class_power: float = 0.5,
        overlap_power: float = 4.0,
        focus: float = 0.0,
    ) -> None:
        super().__init__()
        check_arguments(DetectionLoss.__init__, locals(), "detection.loss.")
        for name in ("class_weight", "box_weight", "centre_weight", "class_power", "focus"):
            check_range(f"detection.loss.{name}", locals()[name], least=0)
        check_range("detection.loss.overlap_power", overlap_power, above=0)
        check_range("detection.loss.candidates", candidates, least=1)
        self.num_classes = num_classes
        self.weights = {"classes": class_weight, "boxes": box_weight, "centres": centre_weight}
        self.most = candidates
        self.class_power, self.overlap_power = class_power, overlap_power
        self.focus = focus

    def forward(
        self, output: DenseDetection, targets: Sequence[Objects], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Weighted terms and their sum.

        Args:
            output: Of a batch of B images.
            targets: B images' objects.
            size: Height and width of the input, whose pixels the objects' boxes count.

        Returns:
            Scalars "classes", "boxes", "centres" and "total".

        Raises:
            UserError: If the numbers of images or classes do not fit.
        """
        batch, classes = output.classes[0].shape[:2]
        if len(targets) != batch:
            raise UserError(f"{batch} images but objects of {len(targets)}; pass one per image")
        if classes != self.num_classes:
            raise UserError(
                f"the output has {classes} classes, the loss expects {self.num_classes}; pass "
                f"num_classes={classes}"
            )
        highest = max((int(t.classes.max()) for t in targets if len(t)), default=-1)
        if highest >= classes:
            raise UserError(
                f"an object has class {highest}, the loss expects 0 to {classes - 1}; pass "
                f"num_classes={highest + 1}"
            )
        with torch.autocast(output.classes[0].device.type, enabled=False):
            return self._terms(output.candidates(size), targets)

    def _terms(self, candidates: Candidates, targets: Sequence[Objects]) -> dict[str, Tensor]:
        kind, device = candidates.boxes.dtype, candidates.boxes.device
        chosen = [t[~t.crowd & _has_area(t.boxes)].to(device) for t in targets]
        boxes = pad_sequence([t.boxes.to(kind) for t in chosen], batch_first=True)
        classes = pad_sequence([t.classes for t in chosen], batch_first=True)
        valid = pad_sequence([torch.ones_like(t.crowd) for t in chosen], batch_first=True)
        crowds = pad_sequence(
            [t.boxes[t.crowd].to(device, kind) for t in targets], batch_first=True
        )
        logits = candidates.classes
        target = torch.zeros_like(logits)
        if boxes.shape[1]:
            with torch.no_grad():
                assigned = self.assign(candidates, boxes, classes, valid)
            images, places = assigned.positive.nonzero(as_tuple=True)
            objects = assigned.objects[images, places]
            quality = assigned.quality[images, places]
            target[images, places, classes[images, objects]] = quality
            wanted = boxes[images, objects]
        else:
            images = places = torch.zeros(0, dtype=torch.int64, device=device)
            quality, wanted = logits.new_zeros(0), boxes.new_zeros(0, 4)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if self.focus:
            entropy = entropy * torch.where(
                target > 0, 1.0, logits.detach().sigmoid() ** self.focus
            )
        if crowds.shape[1]:
            crowded = _within(candidates, crowds).any(1)
            crowded[images, places] = False
            entropy = entropy.masked_fill(crowded[:, :, None], 0.0)
        found = candidates.boxes[images, places]
        terms = {
            "classes": entropy.sum(),
            "boxes": _box_loss(found, wanted, quality),
            "centres": _centre_loss(candidates.centres[images, places], found, wanted, quality),
        }
        share = quality.sum().clamp_min(1.0)
        terms = {name: self.weights[name] * term / share for name, term in terms.items()}
        return {**terms, "total": torch.stack(list(terms.values())).sum()}

    def assign(
        self, candidates: Candidates, boxes: Tensor, classes: Tensor, valid: Tensor
    ) -> Assignment:
        """What each candidate learns; arguments as of the function `assign`."""
        return assign(
            candidates,
            boxes,
            classes,
            valid,
            most=self.most,
            class_power=self.class_power,
            overlap_power=self.overlap_power,
        )


def _box_loss(found: Tensor, wanted: Tensor, quality: Tensor) -> Tensor:
    from torchvision.ops import generalized_box_iou_loss

    loss: Tensor = generalized_box_iou_loss(found, wanted)
    return (loss * quality).sum()


def _centre_loss(logits: Tensor, found: Tensor, wanted: Tensor, quality: Tensor) -> Tensor:
    overlap = _pairs(found.detach(), wanted)
    loss = F.binary_cross_entropy_with_logits(logits, overlap, reduction="none")
    return (loss * quality).sum()


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] > boxes[:, :2]).all(1)


def _within(candidates: Candidates, boxes: Tensor) -> Tensor:
    """[B, M, N]: whether a pixel's middle lies in a box [B, M, 4], which has a pixel at least."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    # A middle on the edge counts, so that a box of one pixel at least always has one.
    half = torch.maximum(boxes[..., 2:] - boxes[..., :2], candidates.strides[0]) / 2
    x, y = (
        (candidates.places[:, axis] - middle[..., axis, None]).abs() <= half[..., axis, None]
        for axis in (0, 1)
    )
    return x & y


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU [B, M, N] of boxes [B, M, 4] and others [B, N, 4]."""
    return _pairs(boxes[:, :, None], others[:, None])


def _pairs(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU [...] of boxes [..., 4] and others [..., 4]."""
    left, top, right, bottom = boxes.unbind(-1)
    left2, top2, right2, bottom2 = (edge.contiguous() for edge in others.unbind(-1))
    width = torch.minimum(right, right2).sub_(torch.maximum(left, left2)).clamp_min_(0)
    height = torch.minimum(bottom, bottom2).sub_(torch.maximum(top, top2)).clamp_min_(0)
    shared = width.mul_(height)
    areas = (right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2)
    return shared / (areas - shared).clamp_min_(1e-9)
