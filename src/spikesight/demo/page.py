"""The page of `spikesight demo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from torch import Tensor

from spikesight.costs.page import (
    energy_chart,
    energy_details,
    energy_notes,
    energy_text,
    firing_chart,
    mean_firing_rate,
    ratio_text,
)
from spikesight.costs.report import EnergyReport
from spikesight.demo.deployment_part import (
    Deployment,
    LowBit,
    deployment_details,
    deployment_sentence,
    low_bit_sentence,
)
from spikesight.demo.scenes_part import SceneResult, scenes_part
from spikesight.demo.verification_part import verification_details, verification_sentence
from spikesight.passes import Verification
from spikesight.reports.page import Tile, bullets, facts, page, paragraph, percent, section, tiles
from spikesight.reports.pictures import Guess, guess_grid, picture, spike_maps
from spikesight.reports.training_curves import Run, training_curves

_SHOWN_RIGHT = 40


@dataclass(frozen=True)
class SpikeExample:
    """The spikes of one layer for one image.

    Attributes:
        layer: Name of the neuron layer.
        guess: The image and what the model sees in it.
        channels: Numbers of the N channels shown.
        spikes: 0 and 1, [T, D, N, H, W].
    """

    layer: str
    guess: Guess
    channels: Sequence[int]
    spikes: Tensor


@dataclass(frozen=True)
class DemoResult:
    """What a demo found.

    Attributes:
        folder: Folder with run/, twin/, digits.spk, digits4.spk, report.html and demo.json.
        accuracy: Share of held-out digits that the spiking model gets right, in percent.
        twin_accuracy: The same of its ANN twin.
        images: Number of held-out digits.
        verification: The model against its binary spikes.
        energy: Energy on the held-out digits.
        deployment: The integer network.
        low_bit: The integer network with 4-bit weights.
        scenes: A shipped segmenter on scenes of digits.
        seconds: Duration of the demo.
    """

    folder: Path
    accuracy: float
    twin_accuracy: float
    images: int
    verification: Verification
    energy: EnergyReport
    deployment: Deployment
    low_bit: LowBit
    scenes: SceneResult
    seconds: float

    @property
    def report(self) -> Path:
        """The page with everything on it."""
        return self.folder / "report.html"


@dataclass(frozen=True)
class DemoContent:
    """Everything that the page shows.

    Attributes:
        result: What the demo found.
        guesses: What the spiking model sees in every held-out image.
        training_images: Number of images it learned from.
        parameters: Number of its weights.
        runs: The training runs.
        example: Spikes of one image.
        facts: Further names and values: machine, versions, seed, date.
    """

    result: DemoResult
    guesses: Sequence[Guess]
    training_images: int
    parameters: int
    runs: Sequence[Run]
    example: SpikeExample
    facts: Sequence[tuple[str, str]]


def demo_page(content: DemoContent) -> str:
    """The report of a demo, self-contained.

    Returns:
        The HTML document.
    """
    return page(
        "A spiking transformer reads handwriting",
        f"It learned from {content.training_images:,} handwritten digits and was then shown "
        f"{len(content.guesses):,} that it had never seen. Its neurons talk in spikes: zeros and "
        "ones. Here is how well it reads, what its spikes look like, and what they cost.",
        tiles(_headline(content)),
        _predictions(content),
        _spikes(content),
        _learning(content),
        _firing(content.result),
        _energy(content.result.energy),
        _integers(content.result),
        scenes_part(content.result.scenes),
        section("How this was made", facts(content.facts)),
    )


def _headline(content: DemoContent) -> list[Tile]:
    result = content.result
    held_out = f"of {len(content.guesses):,} held-out digits"
    gap = round(result.twin_accuracy - result.accuracy, 1)
    place = f"{abs(gap):.1f} points {'ahead' if gap > 0 else 'behind'}" if gap else "just as good"
    verification = result.verification
    compared = sum(check.elements for check in verification.layers)
    rate = mean_firing_rate(result.energy)
    times, less = ratio_text(result.energy).split()
    return [
        Tile(f"{result.accuracy:.1f} %", "spiking accuracy", held_out, "spike", wide=True),
        Tile(
            f"{result.twin_accuracy:.1f} %",
            "ANN twin",
            f"same recipe, ReLU for spikes; {place}",
            "twin",
        ),
        Tile(
            f"{verification.mismatches:,}",
            "mismatches",
            f"spikes against counts, {compared:,} compared",
            "good" if verification.equal else "bad",
        ),
        Tile(
            times,
            f"{less} energy than the twin",
            f"{energy_text(result.energy.picojoules)} per digit, estimated from counts",
        ),
        Tile(percent(rate), "mean firing rate", "of the spikes that could be fired"),
        Tile(f"{content.parameters:,}", "parameters", "trained from scratch"),
        Tile(
            f"{result.deployment.size / 1000:,.0f} kB",
            "integer network",
            f"{result.deployment.accuracy:.1f} %, the same spikes bit for bit"
            if result.deployment.comparison.equal
            else "its spikes differ",
        ),
        Tile(
            f"{result.low_bit.size / 1000:,.0f} kB",
            f"with {result.low_bit.bits}-bit weights",
            f"{result.low_bit.accuracy:.1f} %; trained weights "
            f"{result.low_bit.trained_size / 1000:,.0f} kB",
        ),
        Tile(
            f"{result.scenes.panoptic_quality:.1f} %",
            "panoptic quality",
            f"digits in {result.scenes.scenes} scenes, {result.scenes.bits}-bit weights",
        ),
        Tile(f"{result.seconds:.0f} s", "for everything", "two trainings, proof, energy"),
    ]


def _predictions(content: DemoContent) -> str:
    wrong = [guess for guess in content.guesses if not guess.right]
    right = [guess for guess in content.guesses if guess.right]
    step = max(1, len(right) // _SHOWN_RIGHT)
    shown = right[::step][:_SHOWN_RIGHT]
    mistakes = "It made no mistake."
    if wrong:
        mistakes = f"Its {len(wrong)} mistake{'s come' if len(wrong) > 1 else ' comes'} first."
    return section(
        "What it reads",
        paragraph(
            f"{mistakes} {'Then' if wrong else 'Here are'} {len(shown)} of the {len(right)} digits "
            "that it got right. Below each: its guess, and how sure it is."
        ),
        guess_grid([*wrong, *shown]),
    )


def _spikes(content: DemoContent) -> str:
    example = content.example
    steps, levels = example.spikes.shape[:2]
    names = [f"channel {channel}" for channel in example.channels]
    guess = example.guess
    image = (
        f"<figure>{picture(guess.image, f'the digit {guess.truth}')}"
        f"<figcaption>The digit shown</figcaption></figure>"
    )
    return section(
        "The counts are spikes",
        paragraph(
            f"In training, a neuron hands on a count from 0 to {levels}. A spiking chip knows only "
            f"spikes. So each count becomes {levels} sub-steps, each 0 (dark) or 1 (bright). "
            "Add the sub-steps and the count is back."
            + (f" All this happens in each of {steps} time steps." if steps > 1 else "")
        ),
        f'<div class="strip">{image}<figure>{spike_maps(example.spikes, names)}<figcaption>'
        f"Layer <code>{escape(example.layer)}</code>, the {len(names)} channels whose counts "
        "vary most on this digit. Each square is one neuron.</figcaption></figure></div>",
        paragraph(
            "Is it true everywhere? All held-out digits ran through the model, its folded graph "
            "and the binary simulation. " + verification_sentence(content.result.verification)
        ),
        paragraph(
            "So a network whose synapses see only zeros and ones reads just as well. The one "
            "exception is the first layer: it reads the grey values of the image. Where "
            "attention multiplies, one side is spikes and the other whole numbers."
            if content.result.verification.equal
            else "So the binary network is not the one that was trained. The table shows where."
        ),
        verification_details(content.result.verification),
    )


def _learning(content: DemoContent) -> str:
    return section(
        "How it learned",
        paragraph(
            "Both networks have the same layers, first weights, order of digits and learning "
            "rate. Only the neuron differs. The accuracies above are those of the last epoch: to "
            "pick the best epoch by the held-out digits would flatter."
        ),
        training_curves(content.runs),
    )


def _firing(result: DemoResult) -> str:
    return section(
        "How often neurons fire",
        paragraph(
            "Firing rate: spikes fired, as a share of the spikes possible in all sub-steps. A "
            "silent neuron costs nothing."
        ),
        firing_chart(result.energy),
    )


def _energy(energy: EnergyReport) -> str:
    return section(
        "What it costs",
        paragraph(
            f"A spike adds a weight; it multiplies nothing. One digit takes "
            f"{energy_text(energy.picojoules)} here and {energy_text(energy.twin_picojoules)} in "
            f"the ANN twin: {ratio_text(energy)}."
        ),
        energy_chart(energy),
        energy_details(energy),
        paragraph("What to keep in mind:"),
        bullets(energy_notes(energy)),
    )


def _integers(result: DemoResult) -> str:
    return section(
        "One integer network",
        paragraph(
            "Counts are whole numbers. With whole numbers for weights and thresholds too, the "
            "network runs once instead of once per sub-step, on any processor, and fires exactly "
            f"the same spikes. {deployment_sentence(result.deployment)}"
        ),
        deployment_details(result.deployment),
        paragraph(low_bit_sentence(result.low_bit)),
    )
