"""What the fields of documents and configurations may hold, as msgspec checks it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Side = Annotated[int, Meta(ge=1, le=4096)]
"""Height or width of what a model sees, in pixels."""

Margin = Annotated[int, Meta(ge=0, le=4096)]
"""Pixels that are put around what a model sees, or that it is moved by."""

Pixels = Annotated[int, Meta(ge=1, le=2**20)]
"""A length that only limits others, in pixels."""

ShortSide = Annotated[int, Meta(ge=1, le=2**14)]
"""Shorter side of a photo, in pixels."""

SensorSide = Annotated[int, Meta(ge=1, le=2**14)]
"""Height or width of an event camera's sensor, in pixels."""

Width = Annotated[int, Meta(ge=1, le=2**16)]
"""Channels, classes, queries."""

Depth = Annotated[int, Meta(ge=0, le=256)]
"""Layers or blocks."""

Layers = Annotated[int, Meta(ge=1, le=256)]
"""Layers of which there must be some."""

Kernel = Annotated[int, Meta(ge=1, le=63)]
"""Side of a convolution's kernel."""

Stride = Annotated[int, Meta(ge=1, le=16)]
"""Down-sampling of a stage."""

Ratio = Annotated[int, Meta(ge=1, le=64)]
"""Hidden width over the width of the input."""

Processes = Annotated[int, Meta(ge=0, le=1024)]
"""Processes that load data."""

Steps = Annotated[int, Meta(ge=1, le=1024)]
"""Time steps T."""

Levels = Annotated[int, Meta(ge=1, le=2**16)]
"""Largest count D of a neuron per time step."""

Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Epochs, batches, images of a batch."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""How many there are of something."""

Bits = Annotated[int, Meta(ge=2, le=8)]
"""Bits of a quantised weight."""

EventCount = Annotated[int, Meta(ge=1, le=255)]
"""Events of a pixel in a frame, which is a byte."""

Angle = Annotated[float, Meta(ge=0, lt=90)]
"""Degrees."""

NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0, lt=1)]
"""A share that is dropped."""

PositiveShare = Annotated[float, Meta(gt=0, le=1)]
"""A share of something of which there must be some."""

Licence = Annotated[str, Meta(min_length=1, max_length=200)]
"""An SPDX identifier, or a few words."""
