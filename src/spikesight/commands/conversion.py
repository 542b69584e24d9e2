"""The command line's view of conversion: from a trained ReLU network to spikes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from spikesight.files.names import show
from spikesight.files.writing import place_for_folder
from spikesight.options import check_range


def convert_ann_command(
    source: Path,
    output: Path,
    levels: int = 8,
    steps: int | None = None,
    thresholds: Literal["mse", "percentile"] = "mse",
    percentile: float = 99.9,
    learnable: bool = True,
    settle: bool = True,
    data: dict[str, Any] | None = None,
    images: int = 512,
    share: float = 0.2,
    accuracy: bool = True,
) -> None:
    """Makes a spiking network of a trained ReLU twin, of any family, without training.

    Weights stay as they are; each ReLU becomes a neuron whose threshold is measured on training
    images, whose labels are not used. At one time step that is a quantisation of activations to
    D + 1 values, whose counts unroll into exact spikes. A network of spiking neurons with more
    levels, or with levels where time steps are wanted, is converted alike.

    The folder has the model, its card, thresholds.csv (layer by layer), conversion.txt (what is
    printed) and, where the run's configuration is known, config.yaml, with which a short training
    goes on: spikesight train OUTPUT/config.yaml, and --resume.

    Args:
        source: Folder of a run, or its best/ or last/.
        output: Folder to write; that of an earlier conversion is replaced.
        levels: D, the most spikes of a neuron per time step.
        steps: T, time steps; those of the run if omitted.
        thresholds: "mse" chooses the topmost level by the least squared error of what a neuron
            emits, "percentile" by its currents' percentile.
        percentile: Which one, in percent.
        learnable: Whether thresholds go on learning in training.
        settle: Whether the statistics of normalisations are measured anew.
        data: Fields of the data (or scene) configuration that differ from training:
            --data.path=… and so on.
        images: Number of training images to calibrate on.
        share: Share of the run's epochs that config.yaml trains for.
        accuracy: Whether to measure both models on the validation images.
    """
    from rich.console import Console

    from spikesight.files.replacing import write_text
    from spikesight.inference.agreement import agreement
    from spikesight.passes.conversion import spike_from
    from spikesight.passes.converted_layers import layers_csv, layers_table, measure_layers
    from spikesight.pretrained import load
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import check_model_output, resolve_model_folder
    from spikesight.training.runs.storage import replaced_folder
    from spikesight.training.tasks.options import ValidationOptions
    from spikesight.training.tasks.validation import sample_images, training_batches, validate
    from spikesight.training.tuning import run_configuration, tuning_configuration

    check_range("share", share, above=0, most=1)
    folder = resolve_model_folder(source)
    check_model_output(output, folder, from_twin=True)
    place_for_folder(output.parent, "output")
    console = Console(stderr=True)
    model = load(folder)
    run = run_configuration(folder)
    with console.status(f"calibrating on {images:,} training images"):
        batches = training_batches(folder, data, images)
        converted = spike_from(
            model, batches, levels, steps,
            thresholds=thresholds, percentile=percentile, learnable=learnable, settle=settle,
        )  # fmt: skip
    with console.status("looking at every layer"):
        layers = measure_layers(converted, batches[:1])
    said = [layers_table(layers)]
    metrics: Any = None
    if accuracy:
        with console.status("measuring both models on the validation images"):
            before = validate(folder, ValidationOptions(data), model)
            metrics = validate(folder, ValidationOptions(data), converted)
            inputs = sample_images(folder, data, 256).split(32)
        agreed = agreement(model, converted, inputs)
        said.append(
            f"{before.headline()} before, {metrics.headline()} as spikes, "
            f"{metrics.images:,} validation images"
        )
        if agreed is not None:
            of = "images" if model.gives == "classes" else "pixels"
            said.append(f"both give the same class to {100 * agreed:.2f} % of {of}")
    silent = [layer.neuron for layer in layers if layer.silent == 1]
    if silent:
        said.append(f"{len(silent)} of {len(layers)} layers never fire: {', '.join(silent)}")
    mean = sum(layer.firing_rate for layer in layers) / len(layers)
    full = max(layers, key=lambda layer: layer.saturated)
    said.append(
        f"firing rate {mean:.3f}; the fullest layer, {full.neuron}, emits D for "
        f"{100 * full.saturated:.1f} % of its currents"
    )
    print("\n".join(said))
    card = replace(Card.read(folder), weights="model", metrics=metrics)
    with replaced_folder(output) as new:
        converted.save_pretrained(new)
        card.write(new)
        write_text(new / "thresholds.csv", layers_csv(layers))
        write_text(new / "conversion.txt", "\n".join(said) + "\n")
        if run is not None:
            tuned = tuning_configuration(run, converted, output, folder, share)
            write_text(new / "config.yaml", tuned.dump())
    print(f"D = {levels}, T = {converted.steps} in {show(output)}")
    if run is None:
        print("the run's config.yaml is not here, so no configuration to go on with was written")
    else:
        print(f"go on with spikesight train {show(output / 'config.yaml')}")
