"""Pictures inside the page, in data addresses: tensors pixel by pixel as PNG, photos as JPEG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from spikesight.reports.page import percent

_SMALL = 96  # pixels of the longer side, up to which a picture is shown pixel by pixel
_QUALITY = 82
_DARK, _LIGHT = np.array([20.0, 23.0, 27.0]), np.array([255.0, 176.0, 92.0])


@dataclass(frozen=True)
class Guess:
    """What a model sees in one image.

    Attributes:
        image: uint8 [C, H, W], grey or colour.
        truth: Name of the true class.
        guess: Name of the class with the highest probability.
        confidence: That probability.
    """

    image: Tensor
    truth: str
    guess: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the guess is the truth."""
        return self.guess == self.truth


def picture(image: Tensor, description: str) -> str:
    """An image element.

    Args:
        image: uint8 [C, H, W], grey or colour.
        description: What it shows, for readers who cannot see it.
    """
    return _element(np.asarray(as_image(image)), description)


def photo(image: Image.Image, description: str, longest: int = 640) -> str:
    """A photo or drawing, shrunk to a sensible size; small ones keep every pixel.

    Args:
        image: The picture.
        description: What it shows, for readers who cannot see it.
        longest: Pixels of its longer side, at most.
    """
    if max(image.size) <= _SMALL:
        return _element(np.asarray(image.convert("RGB")), description)
    shown = image.convert("RGB")
    shown.thumbnail((longest, longest))
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=_QUALITY)
    return _in_page(file, "jpeg", description, ' class="photo"')


def heat_map(values: Tensor, largest: float, description: str) -> str:
    """A map of values from dark (0) to bright orange, the same in light and dark mode.

    Args:
        values: [H, W], 0 to `largest`.
        largest: Value of the brightest colour.
        description: What it shows, for readers who cannot see it.
    """
    return _element(_colours(values.cpu().double().numpy() / largest), description)


def gallery(pictures: Sequence[tuple[str, str]]) -> str:
    """Pictures with captions, as many beside each other as there is room for.

    Args:
        pictures: Of each its element, as `picture` and `heat_map` give it, and its caption.
    """
    figures = "".join(
        f"<figure>{element}<figcaption>{escape(caption)}</figcaption></figure>"
        for element, caption in pictures
    )
    return f'<div class="gallery">{figures}</div>'


def _colours(shares: np.ndarray) -> np.ndarray:
    colours: np.ndarray = _DARK + shares[..., None] * (_LIGHT - _DARK)
    return colours.round().astype(np.uint8)


def _element(array: np.ndarray, description: str) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", optimize=True)
    return _in_page(file, "png", description)


def _in_page(file: io.BytesIO, kind: str, description: str, style: str = "") -> str:
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img{style} src="data:image/{kind};base64,{data}" alt="{escape(description)}">'


def guess_grid(guesses: Sequence[Guess]) -> str:
    """Images with what the model sees in them; mistakes stand out by colour and by words."""
    parts = []
    for guess in guesses:
        wrong = "" if guess.right else f"<em>is {escape(guess.truth)}</em>"
        description = f"{guess.truth}, guessed {guess.guess}"
        parts.append(
            f'<figure class="digit{"" if guess.right else " wrong"}">'
            f"{_guessed(guess.image, description)}<b>{escape(guess.guess)}</b> "
            f"<span>{percent(guess.confidence, 0)}</span>{wrong}</figure>"
        )
    return f'<div class="digits">{"".join(parts)}</div>'


def _guessed(image: Tensor, description: str) -> str:
    if max(image.shape[1:]) <= _SMALL:
        return picture(image, description)
    return photo(as_image(image), description, 2 * _SMALL)


def as_image(image: Tensor) -> Image.Image:
    """uint8 [C, H, W], grey or colour, as a picture."""
    array = image.cpu().numpy()
    return Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))


def shrunk(image: Tensor, longest: int) -> Tensor:
    """A copy of uint8 [C, H, W] whose longer side has at most so many pixels."""
    height, width = image.shape[1:]
    if max(height, width) <= longest:
        return image.clone()
    factor = longest / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    return interpolate(image[None].float(), size, mode="area")[0].round().byte()


def photos(pictures: Sequence[tuple[Sequence[str], str]], *, wide: bool = False) -> str:
    """Large pictures with captions.

    Args:
        pictures: Of each the elements that stand beside each other, and the caption.
        wide: Whether they are twice as wide as high, or wider.
    """
    figures = "".join(
        f'<figure><div class="beside">{"".join(elements)}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for elements, caption in pictures
    )
    rows = any(len(elements) > 1 for elements, _ in pictures)
    style = " rows" if rows else " wide" if wide else ""
    return f'<div class="photos{style}">{figures}</div>'


def spike_maps(spikes: Tensor, names: Sequence[str]) -> str:
    """Binary sub-steps side by side with their sum, the count.

    Args:
        spikes: 0 and 1, [T, D, N, H, W]: N neuron maps over T time steps of D sub-steps.
        names: Names of the N maps.
    """
    steps, levels, count = spikes.shape[:3]
    sums = spikes.sum(1)
    parts = []
    for t in range(steps):
        if steps > 1:
            parts.append(f'<tr><th colspan="{levels + 3}">time step {t + 1}</th></tr>')
        head = "".join(f'<th scope="col">{d + 1}</th>' for d in range(levels))
        parts.append(
            f'<tr><td></td><th colspan="{levels}" scope="colgroup">sub-step</th><td></td>'
            f'<th rowspan="2" scope="col">count</th></tr><tr><td></td>{head}<td></td></tr>'
        )
        for n in range(count):
            cells = "".join(
                f"<td>{heat_map(spikes[t, d, n], 1, f'{names[n]}, sub-step {d + 1}')}</td>"
                for d in range(levels)
            )
            total = heat_map(sums[t, n], levels, f"{names[n]}, counts")
            parts.append(
                f'<tr><th scope="row">{escape(names[n])}</th>{cells}<td class="sign">=</td>'
                f"<td>{total}</td></tr>"
            )
    swatches = "".join(
        f'<span><i style="background:rgb({r},{g},{b})"></i>{level}</span>'
        for level, (r, g, b) in enumerate(_colours(np.arange(levels + 1) / levels).tolist())
    )
    return (
        f'<div class="scroll"><table class="maps" style="--levels:{levels}">{"".join(parts)}'
        "</table></div>"
        f'<div class="swatches">count {swatches}</div>'
    )
