"""A walk through T x D steps as a page shows it: a slider, and for every layer its maps in a row.

Each layer is one picture with a frame per step; the slider moves it behind a window, so that a step
takes no call to the server. walk.js does that.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikesight.app.spike_walk import LayerWalk, SpikeWalk
from spikesight.reports.page import percent

_SPIKE = (255, 158, 66)
_GAMMA = 0.7  # few spikes stay visible
_GROUND = 0.45  # brightness of the photo behind them
_LONGEST = 192


def walk_element(walk: SpikeWalk, seen: Image.Image) -> str:
    """The slider and the maps.

    Args:
        walk: The spikes.
        seen: What the network read.
    """
    steps, levels = walk.steps, walk.levels
    last = f"step {walk.length} of {walk.length}"
    figures = "".join(_figure(layer, walk) for layer in walk.layers)
    return (
        f'<div class="walk" data-levels="{levels}" data-length="{walk.length}" '
        f"style=\"--length:{walk.length};--step:{walk.length};--ground:url('{_ground(seen)}')\">"
        f'<p class="faint">{escape(_said(steps, levels))}</p>'
        '<div class="walker"><button type="button" class="play">Play</button>'
        f'<input type="range" min="1" max="{walk.length}" value="{walk.length}" step="1" '
        f'aria-label="Step of {walk.length}" aria-valuetext="{last}">'
        f"<output>{last}</output></div>"
        f'<div class="layers">{figures}</div></div>'
    )


def _said(steps: int, levels: int) -> str:
    return (
        f"A count is the sum of binary spikes over T × D = {steps} × {levels} steps. The slider "
        "(arrow keys move it) shows those up to a step, averaged over the channels of a layer, "
        "over what the network read; each layer has its own scale."
    )


def _figure(layer: LayerWalk, walk: SpikeWalk) -> str:
    height, width = layer.maps.shape[1:]
    share = float(layer.maps[-1].mean()) / (walk.steps * layer.levels)
    shown = f"Spikes of {layer.name} up to the chosen step; {percent(share)} of all are 1"
    return (
        f'<figure><div class="ground" style="aspect-ratio:{width}/{height}">'
        f'<div class="frames" role="img" aria-label="{escape(shown)}" '
        f"style=\"background-image:url('{_frames(layer)}')\"></div></div>"
        f"<figcaption><span>{escape(layer.name)}</span> {percent(share)}</figcaption></figure>"
    )


def _frames(layer: LayerWalk) -> str:
    """All steps below each other: orange, the more opaque the more spikes."""
    maps = layer.maps.numpy()
    most = float(maps.max()) or 1.0
    opacity = (maps / most) ** _GAMMA * 255
    pixels: NDArray[np.uint8] = np.empty((*maps.shape, 4), np.uint8)
    pixels[..., :3] = _SPIKE
    pixels[..., 3] = opacity.round()
    # One colour in shades: a palette with opacities takes a quarter of the bytes.
    image = Image.fromarray(pixels[..., 3].reshape(-1, maps.shape[2])).convert("P")
    image.putpalette(_SPIKE * 256)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes(range(256)), optimize=True)
    return _address(file, "png")


def _ground(seen: Image.Image) -> str:
    """What the network read, dark and grey."""
    image = seen.convert("L")
    if max(image.size) > _LONGEST:
        image.thumbnail((_LONGEST, _LONGEST))
    file = io.BytesIO()
    image.point(lambda value: round(value * _GROUND)).save(file, "PNG", optimize=True)
    return _address(file, "png")


def _address(file: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
