"""Digits as somebody draws them on a canvas: lines, with a round pen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

Line = list[tuple[float, float]]
_SIDE = 280


def _arc(x: float, y: float, width: float, height: float, start: float, end: float) -> Line:
    angles = np.radians(np.linspace(start, end, 25))
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


# Ways of writing each digit, as lines in a box of width and height 1.
_FORMS: dict[int, list[list[Line]]] = {
    0: [[_arc(0.5, 0.5, 0.32, 0.48, 0, 360)], [_arc(0.5, 0.5, 0.42, 0.46, 0, 360)]],
    1: [
        [[(0.5, 0), (0.5, 1)]],
        [[(0.3, 0.2), (0.5, 0), (0.5, 1)]],
        [[(0.3, 0.2), (0.5, 0), (0.5, 1)], [(0.3, 1), (0.7, 1)]],
    ],
    2: [[[*_arc(0.5, 0.28, 0.32, 0.28, 180, 390), (0.18, 1), (0.85, 1)]]],
    3: [[_arc(0.45, 0.26, 0.3, 0.26, 200, 450) + _arc(0.45, 0.75, 0.34, 0.25, -90, 160)]],
    4: [
        [[(0.65, 1), (0.65, 0), (0.12, 0.66), (0.9, 0.66)]],
        [[(0.2, 0), (0.2, 0.5), (0.8, 0.5)], [(0.75, 0), (0.75, 1)]],
    ],
    5: [[[(0.8, 0), (0.25, 0), (0.22, 0.42), *_arc(0.48, 0.68, 0.32, 0.3, -130, 150)]]],
    6: [
        [
            [
                (0.7, 0.02),
                *_arc(0.55, 0.65, 0.37, 0.6, 250, 150),
                *_arc(0.5, 0.72, 0.28, 0.27, 180, 540),
            ]
        ]
    ],
    7: [
        [[(0.12, 0), (0.85, 0), (0.4, 1)]],
        [[(0.12, 0), (0.85, 0), (0.4, 1)], [(0.35, 0.5), (0.75, 0.5)]],
    ],
    8: [[_arc(0.5, 0.26, 0.25, 0.25, 90, 450) + _arc(0.5, 0.75, 0.32, 0.25, -90, 270)]],
    9: [
        [[*_arc(0.48, 0.28, 0.28, 0.27, 0, 360), (0.76, 0.3), (0.72, 1)]],
        [_arc(0.48, 0.28, 0.28, 0.27, 0, 360) + _arc(0.4, 0.5, 0.36, 0.5, 0, 80)],
    ],
}


def drawn_digits(copies: int, seed: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """Every way of writing each digit so many times; every second time dark on light.

    Yields:
        The digit, and a grey picture of 280 x 280 pixels.
    """
    random = np.random.default_rng(seed)
    for digit, forms in _FORMS.items():
        for lines in forms:
            for copy in range(copies):
                image = _draw(lines, random)
                yield digit, Image.eval(image, lambda value: 255 - value) if copy % 2 else image


def _draw(lines: list[Line], random: np.random.Generator) -> Image.Image:
    image = Image.new("L", (_SIDE, _SIDE), 0)
    canvas = ImageDraw.Draw(image)
    height = random.uniform(0.5, 0.85) * _SIDE
    width = height * random.uniform(0.6, 0.9)
    x = _SIDE / 2 + random.uniform(-0.3, 0.3) * (_SIDE - width)
    y = _SIDE / 2 + random.uniform(-0.3, 0.3) * (_SIDE - height)
    turn, pen = math.radians(random.uniform(-10, 10)), random.integers(12, 34)
    for line in lines:
        points = []
        for across, down in line:
            right, below = (across - 0.5) * width, (down - 0.5) * height
            points.append(
                (
                    x + right * math.cos(turn) - below * math.sin(turn) + random.normal(),
                    y + right * math.sin(turn) + below * math.cos(turn) + random.normal(),
                )
            )
        canvas.line(points, fill=255, width=int(pen), joint="curve")
        for point in points:
            canvas.circle(point, pen / 2, fill=255)
    return image
