"""Draws docs/spikes.svg: a scene, what a segmenter finds in it, and its counts as binary spikes.

Everything comes with the package: `python docs/draw_spikes.py`. Every count of every layer is
compared with the spikes before the picture is written.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import spikesight as ss
from spikesight.data.segmentation import VOID, ClassTable, Truth, read_scenes
from spikesight.demo.scenes import WEIGHTS
from spikesight.graph import Graph, Neuron, Node, execute_all
from spikesight.inference import ViewConfig, panoptic_truths
from spikesight.passes.unrolling import Spikes
from spikesight.reports.overlays import draw_overlay
from spikesight.training.runs.card import Card
from spikesight.training.tasks.segmentation.evaluation import build_view

FILE = Path(__file__).parent / "spikes.svg"
_SCENES, _DIGITS = 16, 3  # the first of so many scenes that has so many digits
_BORDER = 2  # pixels of a map at which a convolution sees the scene's end
_WIDE, _NARROW, _GAP, _LINE = 200, 145, 20, 30
_SPIKE, _REST = (217, 72, 15), (128, 128, 128)  # seen on white and on black
_TEXT = "#757575"


@torch.no_grad()
def main() -> None:
    """Compares, then draws."""
    card = Card.read(WEIGHTS).with_data({"validation_scenes": _SCENES, "workers": 0})
    model = ss.load(WEIGHTS).eval()
    table = card.preprocessing.table
    source = read_scenes(card.data, "val")
    scenes = (source.read(index) for index in range(_SCENES))
    scene = next(each for each in scenes if len(things_of(each.truth, table)) == _DIGITS)
    images = card.preprocessing.batch_transform(scene.image[None])

    view = build_view(model, card.preprocessing, card.view or ViewConfig())
    size = (scene.image.shape[1], scene.image.shape[2])
    (found,) = panoptic_truths(view, images, [size], table.things)
    ground = ~torch.isin(found.class_map(), torch.tensor(table.things))
    things = found.with_map(found.segment_map.masked_fill(ground, VOID))
    answer = draw_overlay(scene.image, things, table, legend="none")

    graph = ss.fold(ss.trace(model.double()))
    counts, spikes = counts_and_spikes(graph, images.double())
    for name, of_layer in counts.items():
        assert torch.equal(torch.stack(spikes[name]).sum(0), of_layer), name
    layer = next(iter(counts))
    channel = most_telling(counts[layer][0])
    FILE.write_text(
        drawing(
            Image.fromarray(scene.image.permute(1, 2, 0).numpy()),
            answer.convert("RGB"),
            "found: " + ", ".join(things_of(found, table)),
            counts[layer][0, channel],
            [spike[0, channel] for spike in spikes[layer]],
            sum(of_layer.numel() for of_layer in counts.values()),
        ),
        encoding="utf-8",
    )


def things_of(truth: Truth, table: ClassTable) -> list[str]:
    """Names of the objects of a scene."""
    classes = (int(truth.segment_classes[n]) for n in truth.segment_map.unique() if n != VOID)
    return sorted(table.names[number] for number in classes if number in table.things)


def counts_and_spikes(
    graph: Graph, images: Tensor
) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """What every neuron counts in the graph, and the D spikes of the unrolled network."""
    counts: dict[str, Tensor] = {}
    spikes: dict[str, list[Tensor]] = {}

    def count(node: Node, _: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(node, Neuron):
            counts[node.name] = result

    def spike(node: Neuron, _: int, fired: Spikes) -> None:
        spikes[node.name] = fired

    execute_all(graph, images, count)
    ss.unroll(graph).run(images, spike)
    return counts, spikes


def most_telling(counts: Tensor) -> int:
    """The channel of a map [C, H, W] whose counts are spread most evenly over their values."""
    counts = counts[:, _BORDER:-_BORDER, _BORDER:-_BORDER]
    shares = torch.stack([(counts == n).double().mean((1, 2)) for n in counts.unique()])
    return int(torch.special.entr(shares).sum(0).argmax())


def drawing(
    scene: Image.Image,
    answer: Image.Image,
    names: str,
    counts: Tensor,
    spikes: list[Tensor],
    compared: int,
) -> str:
    """The picture as SVG, 640 wide, for pages of any colour."""
    levels = len(spikes)
    top = [(scene, "a scene"), (answer, names), (in_colour(counts, levels), "counts")]
    parts = []
    for number, (picture, words) in enumerate(top):
        parts += [panel(picture, number * (_WIDE + _GAP), 0, _WIDE, words)]
    below = _WIDE + 2 * _LINE
    for number, spike in enumerate(spikes):
        left = number * (_NARROW + _GAP)
        parts += [panel(in_colour(spike, 1), left, below, _NARROW, f"spikes {number + 1}")]
        sign = "+" if number + 1 < levels else ""
        parts += [text(sign, left + _NARROW + _GAP / 2, below + _NARROW / 2 + 7)]
    bottom = below + _NARROW + 2 * _LINE + 8
    equal = "spikes 1 + 2 + 3 + 4 = counts", f"in all {compared:,} elements of every layer"
    parts += [text(line, 320, bottom + n * _LINE) for n, line in enumerate(equal)]
    described = "A scene of digits, the digits found, one channel's counts, and its binary spikes."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {bottom + _LINE + 12}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="20" fill="{_TEXT}">\n'
        f"<title>{described} {' '.join(equal)}.</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def panel(picture: Image.Image, x: float, y: float, side: float, words: str) -> str:
    """A square picture with words below it."""
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    encoded = base64.b64encode(data.getvalue()).decode()
    return (
        f'<image x="{x}" y="{y}" width="{side}" height="{side}" image-rendering="pixelated" '
        f'href="data:image/png;base64,{encoded}"/>\n{text(words, x + side / 2, y + side + 24)}'
    )


def text(words: str, x: float, y: float) -> str:
    """Words around a place."""
    return f'<text x="{x}" y="{y}" text-anchor="middle">{words}</text>'


def in_colour(values: Tensor, most: int) -> Image.Image:
    """A map [H, W] of 0..most, from almost nothing to one colour."""
    share = (values / most)[..., None]
    colour = torch.where(share > 0, torch.tensor(_SPIKE), torch.tensor(_REST))
    opacity = torch.where(share > 0, 0.25 + 0.75 * share, 0.15)
    pixels = torch.cat([colour, 255 * opacity], -1).round().byte()
    return Image.fromarray(pixels.numpy(), "RGBA")


if __name__ == "__main__":
    main()
