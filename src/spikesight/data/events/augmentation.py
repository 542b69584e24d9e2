"""Augmentation of frames of events, whole batches at once, on the device where the batch is.

Everything keeps counts whole numbers and treats the frames of a sequence alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from spikesight.data.photos.augmentation import draw

DROPPED_TIME = (0.1, 0.9)
DROPPED_AREA = (0.05, 0.25)
DROPPED_EVENTS = (0.1, 0.9)
_OPERATIONS = ("roll", "rotation", "shear", "scale", "cutout")


@dataclass(frozen=True)
class EventEvaluationTransform:
    """Hands counts to the model as they are."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Converts a batch.

        Args:
            images: Counts `[B, T, C, H, W]`.
            generator: Not used; there so that all transforms are called alike.

        Returns:
            float32 of the same shape.
        """
        return images.to(torch.float32)


@dataclass(frozen=True)
class EventTrainingTransform:
    """Augments a batch of frames, every sequence by its own draw.

    The steps, in this order: horizontal flip; swapped polarities; one of roll, rotation, shear,
    scale and cutout (of those that are not 0) or none, or all of them; moved events; one kind of
    EventDrop or none.

    Attributes:
        horizontal_flip: Mirror a sequence with probability 1/2.
        roll: Largest shift in pixels, around the border.
        rotation: Largest rotation, in degrees.
        shear: Largest horizontal shear, in degrees.
        scale: Largest change of the size, as a share of it.
        cutout: Largest side of an emptied square, in pixels.
        combine: Whether all those operations are done to each sequence, instead of one or none.
        polarity: Whether half of the sequences swap positive and negative events.
        jitter: Share of the events that move to the frame before or behind.
        drop: Whether events are dropped.
    """

    horizontal_flip: bool = False
    roll: int = 0
    rotation: float = 0.0
    shear: float = 0.0
    cutout: int = 0
    drop: bool = False
    scale: float = 0.0
    combine: bool = False
    polarity: bool = False
    jitter: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Args:
            images: Counts `[B, T, C, H, W]`, on any device.
            generator: Source of all randomness. One on the CPU gives the same augmentation
                whatever device the frames are on.

        Returns:
            float32 `[B, T, C, H, W]`, whole numbers.
        """
        frames = images.to(torch.float32)
        count = len(frames)
        if self.horizontal_flip:
            mirrored = (draw(count, generator) < 0.5).to(frames.device)
            frames = torch.where(mirrored.view(-1, 1, 1, 1, 1), frames.flip(-1), frames)
        if self.polarity:
            swapped = (draw(count, generator) < 0.5).to(frames.device)
            other = torch.cat([frames[:, :, :2].flip(2), frames[:, :, 2:]], 2)
            frames = torch.where(swapped.view(-1, 1, 1, 1, 1), other, frames)
        operations = [name for name in _OPERATIONS if vars(self)[name]]
        if operations:
            if self.combine:
                chosen = {name: torch.ones(count, dtype=torch.bool) for name in operations}
            else:
                choice = (draw(count, generator) * (len(operations) + 1)).long()
                chosen = {name: choice == number for number, name in enumerate(operations)}
            frames = self._move(frames, chosen, generator)
            if "cutout" in chosen:
                frames = cut_out(frames, self.cutout, chosen["cutout"], generator)
        if self.jitter:
            frames = move_events(frames, self.jitter, generator)
        if self.drop:
            frames = drop_events(frames, generator)
        return frames

    def _move(
        self, frames: Tensor, chosen: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        count = len(frames)
        if "roll" in chosen:
            shifts = [
                torch.randint(-self.roll, self.roll + 1, (count,), generator=generator)
                * chosen["roll"]
                for _ in range(2)
            ]
            frames = roll_frames(frames, *shifts)
        if chosen.keys() & {"rotation", "shear", "scale"}:
            rotation, shear = (
                (
                    draw(count, generator, -limit, limit) * chosen[name]
                    if name in chosen
                    else torch.zeros(count)
                )
                * (math.pi / 180)
                for name, limit in (("rotation", self.rotation), ("shear", self.shear))
            )
            size = torch.ones(count)
            if "scale" in chosen:
                size += draw(count, generator, -self.scale, self.scale) * chosen["scale"]
            frames = turn_frames(frames, rotation, shear, size)
        return frames


def roll_frames(frames: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shifts each sequence around the border.

    Args:
        frames: `[B, T, C, H, W]`.
        down: Rows, int64 `[B]`.
        right: Columns, int64 `[B]`.

    Returns:
        The same shape and type.
    """
    height, width = frames.shape[-2:]
    device = frames.device
    rows = (torch.arange(height, device=device) - down.to(device)[:, None]) % height
    columns = (torch.arange(width, device=device) - right.to(device)[:, None]) % width
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    flat = frames.flatten(1, 2).flatten(2)
    return flat.gather(2, places[:, None].expand_as(flat)).view(frames.shape)


def turn_frames(
    frames: Tensor, rotation: Tensor, shear: Tensor, size: Tensor | None = None
) -> Tensor:
    """Rotates, shears and resizes each sequence around its centre, to the nearest pixel.

    Args:
        frames: `[B, T, C, H, W]`.
        rotation: Angles in radians `[B]`.
        shear: Angles in radians `[B]`.
        size: Factors on the size, above 0, `[B]`; 1 by default.

    Returns:
        The same shape and type; what comes from outside is empty.
    """
    height, width = frames.shape[-2:]
    sine, cosine = rotation.sin(), rotation.cos()
    theta = torch.zeros(len(frames), 2, 3)
    theta[:, 0, 0] = cosine
    theta[:, 0, 1] = (shear.tan() - sine) * height / width
    theta[:, 1, 0] = sine * width / height
    theta[:, 1, 1] = cosine
    if size is not None:
        theta /= size[:, None, None]
    flat = frames.flatten(1, 2)
    grid = F.affine_grid(theta.to(frames), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="nearest", align_corners=False).view(frames.shape)


def cut_out(frames: Tensor, largest: int, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Empties a random square of chosen sequences in all frames.

    Args:
        frames: `[B, T, C, H, W]`.
        largest: Largest side in pixels; at least 1.
        chosen: Which sequences, bool `[B]`.
        generator: Source of randomness.

    Returns:
        The same shape and type.
    """
    count = len(frames)
    side = torch.randint(1, largest + 1, (count,), generator=generator) * chosen
    return frames.masked_fill(_box(frames, side, side, generator), 0)


def move_events(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Moves some events to the frame before or behind theirs, as if they had come at another time.

    Each event moves alone, so counts are divided by binomial draws; none leaves the first frame
    backwards or the last one forwards.

    Args:
        frames: Whole numbers, float32 `[B, T, C, H, W]`; C = 3 is (positive, negative, all).
        share: Share of the events that are drawn to move, in 0..1.
        generator: Source of randomness.

    Returns:
        The same shape and type, and as many events of each polarity at a pixel.
    """
    single = frames[:, :, :2].to(generator.device)
    drawn = torch.binomial(single, torch.full_like(single, share), generator=generator)
    later = torch.binomial(drawn, torch.full_like(drawn, 0.5), generator=generator)
    earlier = drawn - later
    later[:, -1], earlier[:, 0] = 0, 0
    moved = single - later - earlier
    moved[:, 1:] += later[:, :-1]
    moved[:, :-1] += earlier[:, 1:]
    if frames.shape[2] == 3:
        moved = torch.cat([moved, moved.sum(2, keepdim=True)], 2)
    return moved.to(frames.device)


def drop_events(frames: Tensor, generator: torch.Generator) -> Tensor:
    """EventDrop (Gu et al., 2021): of each sequence a stretch of time, an area or random events.

    Each event falls out alone, so a count is thinned by a binomial draw; a stretch of time is a
    run of frames. The fourth possibility, as likely as each other, drops nothing.

    Args:
        frames: Whole numbers, float32 `[B, T, C, H, W]`; C = 3 is (positive, negative, all).
        generator: Source of randomness.

    Returns:
        The same shape and type; no count is larger than before.
    """
    count, steps, channels = frames.shape[:3]
    height, width = frames.shape[-2:]
    choice = (draw(count, generator) * 4).long()

    length = (draw(count, generator, *DROPPED_TIME) * steps).round() * (choice == 1)
    first = (draw(count, generator) * (steps - length + 1)).floor()
    moments = torch.arange(steps)
    gone = (moments >= first[:, None]) & (moments < (first + length)[:, None])
    frames = frames.masked_fill(gone.to(frames.device)[:, :, None, None, None], 0)

    share = draw(count, generator, *DROPPED_AREA).sqrt() * (choice == 2)
    box = _box(frames, (share * height).round(), (share * width).round(), generator)
    frames = frames.masked_fill(box, 0)

    kept = 1 - draw(count, generator, *DROPPED_EVENTS) * (choice == 3)
    single = frames[:, :, :2].to(generator.device)
    odds = kept.to(single)[:, None, None, None, None].expand_as(single)
    thinned = torch.binomial(single, odds, generator=generator).to(frames.device)
    if channels == 3:
        # Counts of all events saturate by themselves, so their sum may be more than is counted.
        both = torch.minimum(thinned.sum(2, keepdim=True), frames[:, :, 2:])
        thinned = torch.cat([thinned, both], 2)
    return thinned


def _box(frames: Tensor, heights: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    """A mask of a random box of given size per sequence, bool `[B, 1, 1, H, W]`."""
    inside = []
    for size, sides in zip(frames.shape[-2:], (heights, widths), strict=True):
        sides = sides.clamp(max=size)
        first = (draw(len(frames), generator) * (size - sides + 1)).floor()
        places = torch.arange(size)
        inside.append((places >= first[:, None]) & (places < (first + sides)[:, None]))
    mask = inside[0][:, :, None] & inside[1][:, None, :]
    return mask.to(frames.device)[:, None, None]
