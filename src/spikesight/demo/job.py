"""The demo: a spiking transformer learns handwriting, becomes spikes, and shows what it costs."""

from __future__ import annotations

import copy
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import spikesight
from spikesight.costs.models import energy
from spikesight.costs.page import energy_text, mean_firing_rate, ratio_text
from spikesight.costs.prices import ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ
from spikesight.costs.report import EnergyReport
from spikesight.data import DataConfig
from spikesight.data.photos.digits import read_digits
from spikesight.demo.deployment_part import (
    Deployment,
    LowBit,
    deployment_sentence,
    low_bit_sentence,
)
from spikesight.demo.page import DemoContent, DemoResult as DemoResult, SpikeExample, demo_page
from spikesight.demo.scenes import segment_scenes
from spikesight.demo.scenes_part import scenes_sentence
from spikesight.demo.verification_part import verification_sentence
from spikesight.errors import UserError
from spikesight.files.documents import read_json
from spikesight.graph import Neuron, trace
from spikesight.models import SpikingModel
from spikesight.passes import quantize, unroll, verify
from spikesight.passes.warm_start import settle_statistics
from spikesight.processor import processor_name
from spikesight.reports import Guess, Run
from spikesight.reports.page import percent
from spikesight.training import (
    BackgroundRun,
    Card,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    TrainingInterrupted,
    train,
)
from spikesight.training.tasks.validation import training_batches

MODEL = "metaspikformer_nano"
IMAGE_SIZE = 16
LEVELS = 8
_MARK = "demo.json"
_SHOWN_CHANNELS = 6
_LOW_BITS = 4
_SETTLING_IMAGES = 512


def demo(output: Path = Path("spikesight-demo"), epochs: int = 12, seed: int = 0) -> DemoResult:
    """Trains a spiking transformer on handwriting, proves that it is spikes, shows what it costs.

    Works offline on scikit-learn's 1,797 digits, on the CPU, in about three minutes.

    Args:
        output: Folder for the trained models and report.html; that of an earlier demo is replaced.
        epochs: Passes over the training digits. 1 tries the installation in seconds.
        seed: Seed of the first weights, the order of the digits and their shifts.

    Returns:
        The figures, which report.html shows with pictures.

    Raises:
        UserError: If `output` holds something else than an earlier demo.
        TrainingInterrupted: If a signal ended it.
    """
    console = Console(highlight=False)
    began = time.monotonic()
    config = _config(output / "run", "i_lif", epochs, seed)
    twin_config = _config(output / "twin", "relu", epochs, seed)
    _clear(output)
    images = len(read_digits().labels)

    _say(
        console,
        "1/8  Real handwriting",
        f"scikit-learn brings {images:,} digits that people wrote. A fifth of each class is held "
        f"out: the models never learn from it. A digit is {IMAGE_SIZE} x {IMAGE_SIZE} pixels here.",
    )
    _say(
        console,
        "2/8  A spiking transformer learns, and its ANN twin beside it",
        f"{MODEL}: its neurons hand on whole counts from 0 to {LEVELS}, not real numbers. The twin "
        "has the same layers, first weights, digits and recipe; only its neurons are ReLUs.",
    )
    _train_both(config, twin_config, console)

    digits = _read_held_out(output / "run" / "last")
    model = spikesight.load(output / "run" / "last")
    twin = spikesight.load(output / "twin" / "last")
    guesses = _guess(model, digits)
    accuracy, twin_accuracy = _accuracy(guesses), _accuracy(_guess(twin, digits))
    _say(
        console,
        "3/8  Who reads better?",
        f"Of {len(guesses)} held-out digits the spiking transformer reads {accuracy:.2f} % and "
        f"the twin {twin_accuracy:.2f} % right, each after its last epoch.",
    )

    verification = verify(model, digits.inputs)
    _say(
        console,
        "4/8  Are the counts really spikes?",
        f"Each count becomes {LEVELS} sub-steps of zeros and ones, which synapses read one by one. "
        + verification_sentence(verification),
    )

    report = energy(model, digits.inputs)
    _say(
        console,
        "5/8  What does it cost?",
        f"A spike adds a weight ({ACCUMULATE_PJ} pJ). An ANN multiplies as well "
        f"({MULTIPLY_ACCUMULATE_PJ} pJ).",
    )
    console.print(_energy_table(report))
    console.print(
        f"{energy_text(report.picojoules)} per digit, {energy_text(report.twin_picojoules)} in the "
        f"twin: {ratio_text(report)}. Mean firing rate {percent(mean_firing_rate(report))}. "
        "Memory, neuron updates and shortcuts are not counted."
    )

    deployment = _deploy(model, digits, output / "digits.spk")
    _say(
        console,
        "6/8  One integer network",
        "Counts are whole numbers, so the network runs once, in integers, and fires the very same "
        f"spikes. {deployment_sentence(deployment)}",
    )
    console.print(deployment.comparison.table(), highlight=False, soft_wrap=True)
    low_bit = _low_bit(model, digits, output, deployment)
    console.print(low_bit_sentence(low_bit), markup=False)

    scenes = segment_scenes()
    _say(
        console,
        "7/8  Digits in a scene",
        "A network that comes with this package, Spike2Former, gives every pixel a class and tells "
        f"objects apart. {scenes_sentence(scenes)}",
    )

    result = DemoResult(
        folder=output,
        accuracy=accuracy,
        twin_accuracy=twin_accuracy,
        images=len(guesses),
        verification=verification,
        energy=report,
        deployment=deployment,
        low_bit=low_bit,
        scenes=scenes,
        seconds=time.monotonic() - began,
    )
    content = DemoContent(
        result,
        guesses=guesses,
        training_images=images - len(guesses),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        runs=[
            Run("spiking transformer", "spike", output / "run"),
            Run("ANN twin", "twin", output / "twin"),
        ],
        example=_example(model, digits, guesses),
        facts=_facts(config, result.seconds),
    )
    result.report.write_text(demo_page(content), encoding="utf-8")
    _mark(output, result)
    _say(console, "8/8  All of it with pictures", f"Open {result.report} in a browser.")
    return result


@dataclass(frozen=True)
class _Digits:
    """Held-out digits: uint8 images [B, 1, H, W], inputs of the same shape, labels [B]."""

    images: Tensor
    inputs: Tensor
    labels: Tensor


def _config(folder: Path, neuron: str, epochs: int, seed: int) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(MODEL, neuron=neuron, levels=None if neuron == "relu" else LEVELS),
        output=str(folder),
        data=DataConfig(format="digits", image_size=IMAGE_SIZE, channels=1, random_crop_padding=1),
        optimizer=OptimizerConfig(lr=3e-3),
        schedule=ScheduleConfig(warmup_epochs=min(1.0, epochs / 4)),
        epochs=epochs,
        batch_size=32,
        label_smoothing=0.1,
        precision="no",
        device="cpu",
        seed=seed,
    )


def _train_both(config: TrainConfig, twin: TrainConfig, console: Console) -> None:
    """Trains side by side, each with half of the threads: so small a model gains little by more."""
    threads = torch.get_num_threads()
    share = max(1, threads // 2)
    torch.set_num_threads(share)
    try:
        with BackgroundRun(twin, share) as beside:
            train(config)
            with console.status("the twin ends too"):
                beside.wait()
    except TrainingInterrupted:
        console.print("The demo does not go on in the middle: run it again to start over.")
        raise
    finally:
        torch.set_num_threads(threads)


def _clear(folder: Path) -> None:
    """Makes room for a demo; deletes nothing but what an earlier one wrote."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output {folder} is a file; pass a folder")
    if folder.exists() and any(folder.iterdir()) and not _is_marked(folder):
        raise UserError(
            f"output {folder} holds something else than an earlier demo (it has no {_MARK} of "
            "one); pass another output, or move it away"
        )
    for name in ("run", "twin"):
        part = folder / name
        if part.is_symlink():
            part.unlink()
        elif part.exists():
            shutil.rmtree(part)
    for name in ("report.html", "digits.spk", "digits4.spk"):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    _mark(folder, None)


def _is_marked(folder: Path) -> bool:
    try:
        content = read_json(folder / _MARK, dict[str, Any], remedy="remove it")
    except UserError:
        return False
    return content.get("command") == "spikesight demo"


def _mark(folder: Path, result: DemoResult | None) -> None:
    content: dict[str, object] = {"command": "spikesight demo", "version": spikesight.__version__}
    if result is not None:
        content |= {
            "accuracy": result.accuracy,
            "twin_accuracy": result.twin_accuracy,
            "images": result.images,
            "mismatches": result.verification.mismatches,
            "picojoules": result.energy.picojoules,
            "twin_picojoules": result.energy.twin_picojoules,
            "integer_accuracy": result.deployment.accuracy,
            "integer_mismatches": result.deployment.comparison.mismatches,
            "integer_bytes": result.deployment.size,
            "low_bit_accuracy": result.low_bit.accuracy,
            "low_bit_mismatches": result.low_bit.mismatches,
            "low_bit_bytes": result.low_bit.size,
            "trained_bytes": result.low_bit.trained_size,
            "scene_miou": result.scenes.miou,
            "scene_pq": result.scenes.panoptic_quality,
            "scene_mismatches": result.scenes.comparison.mismatches,
            "firing_rate": mean_firing_rate(result.energy),
            "seconds": result.seconds,
        }
    (folder / _MARK).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_held_out(folder: Path) -> _Digits:
    card = Card.read(folder).with_data()
    batches = list(card.kind.evaluation_batches(card, 512, "validation"))
    images = torch.cat([images for images, _ in batches])
    inputs = card.preprocessing.batch_transform(images)
    return _Digits(images, inputs, torch.cat([labels for _, labels in batches]))


@torch.no_grad()
def _guess(model: SpikingModel, digits: _Digits) -> list[Guess]:
    confidences, labels = model(digits.inputs).softmax(1).max(1)
    return [
        Guess(image, str(int(truth)), str(int(label)), float(confidence))
        for image, truth, label, confidence in zip(
            digits.images, digits.labels, labels, confidences, strict=True
        )
    ]


def _deploy(model: SpikingModel, digits: _Digits, path: Path) -> Deployment:
    """The integer network, read back from its file and compared on every held-out digit."""
    made = spikesight.deploy(model, digits.inputs)
    made.save(path)
    right = spikesight.Deployed.load(path)(digits.inputs).argmax(1) == digits.labels
    comparison = made.verify(digits.inputs, against=("spikes", "training"))
    return Deployment(
        comparison=comparison,
        accuracy=100 * float(right.double().mean()),
        size=path.stat().st_size,
        spike_driven=spikesight.audit(made, digits.inputs[:1]).spike_driven,
    )


def _low_bit(model: SpikingModel, digits: _Digits, output: Path, eight_bit: Deployment) -> LowBit:
    """The same with 4-bit weights, quantised after training."""
    trained = output / "run" / "last"
    quantized = quantize(copy.deepcopy(model), _LOW_BITS)
    settle_statistics(quantized, training_batches(trained, count=_SETTLING_IMAGES))
    deployment = _deploy(quantized, digits, output / "digits4.spk")
    return LowBit(
        bits=_LOW_BITS,
        accuracy=deployment.accuracy,
        mismatches=deployment.comparison.mismatches,
        size=deployment.size,
        eight_bit_size=eight_bit.size,
        trained_size=(trained / "model.safetensors").stat().st_size,
    )


def _accuracy(guesses: Sequence[Guess]) -> float:
    return 100 * sum(guess.right for guess in guesses) / len(guesses)


def _example(model: SpikingModel, digits: _Digits, guesses: Sequence[Guess]) -> SpikeExample:
    """The digit read right most surely, in the first layer where a count reaches the top."""
    index = max(range(len(guesses)), key=lambda i: (guesses[i].right, guesses[i].confidence))
    recorded: dict[str, list[Tensor]] = {}

    def record(neuron: Neuron, _: int, spikes: Sequence[Tensor]) -> None:
        if spikes[0].ndim == 4:
            recorded.setdefault(neuron.name, []).append(torch.stack(list(spikes))[:, 0])

    simulation = unroll(trace(copy.deepcopy(model).double()))
    simulation(digits.inputs[index : index + 1].double(), record)
    maps = {name: torch.stack(steps) for name, steps in recorded.items()}
    layer = next((n for n, spikes in maps.items() if spikes[:, -1].any()), next(iter(maps)))
    variance = maps[layer].sum(1).flatten(2).var(2).sum(0)
    channels = variance.topk(min(_SHOWN_CHANNELS, len(variance))).indices.sort().values
    return SpikeExample(layer, guesses[index], channels.tolist(), maps[layer][:, :, channels])


def _energy_table(report: EnergyReport) -> Table:
    styles: list[tuple[str, Literal["left", "right"]]] = [("layer", "left")]
    styles += [(name, "right") for name in ("firing", "additions", "nJ", "twin nJ")]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    totals = (
        "total",
        "",
        f"{sum(layer.accumulates for layer in report.layers):,.0f}",
        f"{report.picojoules / 1e3:,.1f}",
        f"{report.twin_picojoules / 1e3:,.1f}",
    )
    for (name, justify), total in zip(styles, totals, strict=True):
        table.add_column(name, total, justify=justify)
    for layer in report.layers:
        table.add_row(
            escape(layer.name),
            "image" if layer.firing_rate is None else percent(layer.firing_rate),
            f"{layer.accumulates:,.0f}",
            f"{layer.picojoules / 1e3:,.1f}",
            f"{layer.twin_picojoules / 1e3:,.1f}",
        )
    return table


def _facts(config: TrainConfig, seconds: float) -> list[tuple[str, str]]:
    data = config.data
    return [
        (
            "Data",
            "scikit-learn's digits (UCI, 8 x 8 pixels, enlarged), a stratified fifth held out",
        ),
        ("Model", f"{MODEL}, I-LIF neurons, T = 1 time step of D = {LEVELS} sub-steps"),
        (
            "Recipe",
            f"{config.optimizer.name}, learning rate {config.optimizer.lr:g} with cosine decay, "
            f"{config.epochs} epochs, batches of {config.batch_size}, label smoothing "
            f"{config.label_smoothing:g}, shifts of up to {data.random_crop_padding} pixel",
        ),
        ("Seed", str(config.seed)),
        ("Date", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        (
            "Machine",
            f"{processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
            f"{platform.system()}",
        ),
        (
            "Versions",
            f"spikesight {spikesight.__version__}, torch {torch.__version__}, Python "
            f"{platform.python_version()}",
        ),
        ("Duration", f"{seconds:.0f} s"),
    ]


def _say(console: Console, heading: str, text: str) -> None:
    console.print()
    console.print(heading, style="bold", markup=False)
    console.print(text, markup=False)
