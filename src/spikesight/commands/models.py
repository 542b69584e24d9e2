"""The command line's view of the passes and of saved models: call, then print."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.files.ranges import Licence
from spikesight.files.writing import place_for_folder
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.passes.quantization_recipe import QuantizationRecipe

if TYPE_CHECKING:
    from spikesight.models import SpikingModel


def verify_command(
    model: Path,
    run: Path | None = None,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 16,
    precision: Literal["float64", "float32"] = "float64",
    against: str = "spikes",
    photos: Path | None = None,
) -> None:
    """Proves a model equal to its T x D binary spikes, layer by layer.

    Args:
        model: Folder of a run, or its best/ or last/; or a .spk file, whose integers must equal its
            spikes and its exports.
        run: Folder of the run whose images are used; the model's own if omitted.
        data: Fields of the data configuration that differ from training: --data.path=… and so on.
        split: Which images to compare on.
        images: Number of images.
        precision: Arithmetic of a run's comparison; in float32 a rounding error can flip a spike.
        against: For a .spk file, any of spikes, native, onnx and openvino, separated by
            commas.
        photos: A photo or recording, or a folder of them, to take instead; without labels.
    """
    import torch

    from spikesight.commands.networks import network_and_images, print_comparison
    from spikesight.passes import verify
    from spikesight.pretrained import load
    from spikesight.training.runs.folder import resolve_model_folder
    from spikesight.training.tasks.validation import sample_images

    if model.is_file():
        net, x = network_and_images(model, run, data, split, images, photos)
        forms = [form.strip() for form in against.split(",") if form.strip()]
        print_comparison(net.verify(x, against=forms))
        return
    x = sample_images(run or model, data, images, split, photos)
    trained = load(resolve_model_folder(model))
    print_comparison(verify(trained, x, dtype=getattr(torch, precision)))


def quantize_command(
    source: Path,
    output: Path,
    bits: int = 4,
    recipe: QuantizationRecipe = "deployable",
    power_of_two: bool = False,
    rep_conv: Literal["official", "spike_driven"] | None = None,
    mprf: bool | None = None,
    data: dict[str, Any] | None = None,
    images: int = 1024,
    accuracy: bool = True,
) -> None:
    """Makes a low-bit model of a trained one, for training to go on from with --model.weights.

    Weights become integers times a step per channel, the steps of least squared error to start
    with; then the normalisations' statistics are measured anew on training images.

    Args:
        source: Folder of a run, or its best/ or last/.
        output: Folder to write; that of an earlier quantisation is replaced.
        bits: Bits of a weight, 2 to 8.
        recipe: "deployable" quantises folded kernels, as they will be deployed; "official" what
            QSD-Transformer's authors quantise.
        power_of_two: Whether every quantisation step is a power of two.
        rep_conv: "spike_driven" puts neurons between RepConv's factors first: a quarter of the
            weights and operations of the folded kernel. As it is if omitted.
        mprf: Whether QSD-Transformer's MPRF is put before the query, key and value neurons first.
        data: Fields of the data (or scene) configuration that differ from training:
            --data.path=… and so on.
        images: Number of training images for the statistics.
        accuracy: Whether to measure both models on the validation images.
    """
    from spikesight.passes import quantize
    from spikesight.passes.warm_start import change_form, settle_statistics
    from spikesight.pretrained import load
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import (
        check_model_output,
        resolve_model_folder,
        save_model,
    )
    from spikesight.training.tasks.options import ValidationOptions
    from spikesight.training.tasks.validation import training_batches, validate

    folder = resolve_model_folder(source)
    check_model_output(output, folder, to_train_on=True)
    place_for_folder(output.parent, "output")
    model = load(folder)
    batches = training_batches(folder, data, images)
    changed = change_form(model, batches, rep_conv=rep_conv, mprf=mprf)
    quantized = quantize(copy.deepcopy(changed), bits, recipe, power_of_two)
    settle_statistics(quantized, batches)
    metrics: Any = None
    if accuracy:
        changes = {} if changed is model else {"in the new form": changed}
        forms = {"trained": model, **changes, "quantised": quantized}
        options = ValidationOptions(data)
        measured = {name: validate(folder, options, form) for name, form in forms.items()}
        metrics = measured["quantised"]
        figure = metrics.headline().rsplit(maxsplit=2)[0]
        values = (f"{name}{f.headline().removeprefix(figure)}" for name, f in measured.items())
        print(f"{figure} on {metrics.images:,} validation images: {', '.join(values)}")
    card = replace(Card.read(folder), weights="model", metrics=metrics)
    save_model(output, quantized, card)
    print(f"{bits} bits ({recipe}) in {output}; train it on with --model.weights={show(output)}")


def convert_command(
    source: Path,
    output: Path,
    family: str | None = None,
    configuration: dict[str, Any] | None = None,
    half: bool = False,
    packed: bool = False,
    entry: str | None = None,
    classes: list[str] | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    crop_fraction: float | None = None,
    things: list[str] | None = None,
    licence: Licence | None = None,
) -> None:
    """Writes a model as a folder that spikesight loads: an authors' checkpoint, or a trained run.

    With the names of the classes and the size of the photos, which no checkpoint holds, predict,
    val, deploy and the others take the folder too.

    Args:
        source: Folder of a run (or its best/), or a file of an authors' weights: .pth, .pt, .ckpt
            or .safetensors, also within entries such as "model" and with names that begin with
            "module."; the file is read without executing code.
        output: Folder to write; that of an earlier conversion is replaced.
        family: Family of an authors' checkpoint: "metaspikformer", "qsd", "spikformer" or
            "spike2former".
        configuration: What an authors' state dict does not tell: --configuration.num_heads=8.
        half: Store the weights in half precision; not those of a quantised run.
        packed: Store a quantised run as it is shipped, 4-bit weights in 4 bits.
        entry: Name of the checkpoint's entry that holds the weights, such as model_ema; that of
            the usual names if omitted.
        classes: Names of the classes in the order of the logits: a text file with one per line, or
            --classes=[cat,dog].
        image_size: Height and width that the model sees, in pixels; of a segmenter those of its
            training's crops.
        mean: Mean per channel of photos in 0..1; ImageNet's if omitted.
        std: Standard deviation per channel of photos in 0..1; ImageNet's if omitted.
        crop_fraction: Share of a photo's shorter side that a classifier sees, such as 0.875.
        things: Which of a segmenter's classes are objects; with them it is panoptic.
        licence: Licence of the weights, such as the SPDX identifier Apache-2.0; the source's own if
            omitted.
    """
    from spikesight.deployment.calibration_file import read_calibration
    from spikesight.pretrained import load
    from spikesight.registry import create_model
    from spikesight.training.runs.card import CARD, Card
    from spikesight.training.runs.description import Description, describe, read_classes
    from spikesight.training.runs.folder import check_model_output, resolve_model_folder
    from spikesight.training.runs.storage import replaced_folder

    folder = resolve_model_folder(source) if family is None else source
    check_model_output(output, folder)
    place_for_folder(output.parent, "output")
    said = Description(
        classes=None if classes is None else read_classes(classes),
        things=None if things is None else tuple(things),
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
        crop_fraction=crop_fraction,
    )
    if family is not None:
        model = _official(family, source, configuration or {}, entry)
        card = describe(model, said)
    else:
        if entry is not None or configuration is not None:
            raise UserError("entry and configuration are for checkpoints; pass --family too")
        read_calibration(folder)  # save_pretrained would leave a damaged one behind unsaid
        model = load(folder)
        has_card = (folder / CARD).is_file()
        card = describe(model, said, Card.read(folder) if has_card else None)
    if licence is not None:
        if card is None:
            raise UserError("licence is said in run.json; pass --classes and --image_size too")
        card = card.licensed(licence)
    with replaced_folder(output) as new:
        model.save_pretrained(new, half=half, packed=packed)
        if family is None and said.empty and licence is None and card is not None:
            shutil.copyfile(folder / CARD, new / CARD)
        elif card is not None:
            card.write(new)
    size = (output / "model.safetensors").stat().st_size
    # Packed models have no parameters; those that they stand for are meant.
    fresh = create_model(model.recipe["name"], **model.recipe["arguments"])
    counted = fresh if model.recipe.get("packed") else model
    count = sum(parameter.numel() for parameter in counted.parameters())
    print(f"{count:,} parameters, {size:,} bytes in {show(output)}")
    if card is None:
        print("predict, val and deploy also need --classes=names.txt --image_size=PIXELS")


def _official(
    family: str, checkpoint: Path, configuration: dict[str, Any], entry: str | None
) -> SpikingModel:
    from spikesight.interop import load_official
    from spikesight.interop.checkpoint_files import read_checkpoint
    from spikesight.models import SpikingModel

    state = read_checkpoint(checkpoint, entry)
    try:
        model = load_official(family, state, **configuration)
    except UserError as error:
        raise UserError(f"{show(checkpoint)} with family={family}: {error}") from error
    if not isinstance(model, SpikingModel):
        raise UserError(f"{checkpoint} holds one block and no whole model; use ss.load_official")
    return model


def models_command(pattern: str = "*", sizes: bool = False, bits: int = 4) -> None:
    """Lists the models that can be trained.

    Args:
        pattern: Shell pattern that the names must match.
        sizes: Also show the size that QSD-Transformer's paper calls parameters (those without the
            head, times bits / 32), the bytes of a saved float32 folder, and those of one that is
            quantised and packed. RepConv is packed as it is deployed, as one folded kernel; a model
            that no graph can say is not packed.
        bits: Bits of a weight for these sizes.
    """
    import torch
    from rich.table import Column, Table
    from rich.text import Text

    import spikesight
    from spikesight.files.printing import print_table
    from spikesight.graph.tracing import UntraceableError
    from spikesight.passes.quantization import packed_bytes

    names = spikesight.list_models(pattern)
    if not names:
        raise UserError(f"no model matches {pattern!r}; pass '*' to see all")
    about: tuple[str, ...] = ("input", "neuron")
    if sizes:
        about = (f"equivalent at {bits} bits", "bytes float32", f"bytes packed, {bits} bits")
    table = Table(Column("model", no_wrap=True), "parameters", *about)
    for name in names:
        try:
            with torch.device("meta"):
                model = spikesight.create_model(name)
        except UserError as error:
            raise UserError(f"{name} cannot be built: {error}") from error
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if sizes:
            trunk = parameters - sum(p.numel() for p in model.stages()[-1].parameters())
            stored = sum(t.numel() * t.element_size() for t in model.state_dict().values())
            try:
                packed = f"{packed_bytes(model, bits):,}"
            except UntraceableError:
                packed = "no graph"
            about = (f"{trunk * bits / 32 / 1e6:.1f} M", f"{stored:,}", packed)
        else:
            input_ = f"any number of channels, sides divisible by {model.stride}"
            about = (input_, str(model.recipe["arguments"]["neuron"] or "i_lif"))
        table.add_row(Text(name), f"{parameters / 1e6:.2f} M", *about)
    print_table(table)
