"""The command line's view of deployed networks: call, then print."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from spikesight.data.config import Split
from spikesight.errors import ResultError, UserError
from spikesight.files.names import show
from spikesight.files.ranges import Licence
from spikesight.files.writing import PAGE_ENDINGS, place_for_file
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.options import check_range
from spikesight.reports.text_table import text_table

if TYPE_CHECKING:
    from torch import Tensor

    from spikesight.deployment.comparison import Comparison
    from spikesight.deployment.network import Deployed
    from spikesight.passes import Verification


def deploy_command(
    folder: Path,
    output: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 256,
    weight_bits: int = 8,
    max_size: tuple[int, int] | None = None,
    accuracy: bool = True,
    photos: Path | None = None,
    licence: Licence | None = None,
) -> None:
    """Makes the integer network of a trained model, proves it and writes it as a .spk file.

    What training recorded beside the model calibrates it, or else the training data; where these
    are not here, photos; and without any the range of pixels, at a slightly lower accuracy.

    Args:
        folder: Folder of a run, or its best/ or last/.
        output: The .spk file to write; its folder is made if it does not exist.
        data: Fields of the data configuration that differ from training: --data.path=… and so on;
            with them that data calibrate the network instead of what training recorded.
        split: Images to calibrate and measure on; labels are not used in calibration.
        images: Number of images to calibrate on.
        weight_bits: Bits of a weight, 2 to 8.
        max_size: Largest height and width of an input; those of the training images if omitted.
        accuracy: Whether to measure both networks on the whole split, if it is here; classifiers
            and detectors only.
        photos: A photo or recording, or a folder of them, to calibrate on instead; without labels.
        licence: Licence of the weights, which the file says; the model's own if omitted.
    """
    from dataclasses import replace

    from spikesight.deployment.calibration_file import read_calibration
    from spikesight.deployment.deploying import deploy
    from spikesight.files.calibration import CALIBRATION
    from spikesight.files.documents import named
    from spikesight.pretrained import load
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import resolve_model_folder
    from spikesight.training.tasks.validation import calibration_inputs

    place_for_file(output, "output", (".spk",))
    folder = resolve_model_folder(folder)
    card = Card.read(folder).licensed(licence)
    model = load(folder)
    recorded = None if data or photos is not None else read_calibration(folder)
    x, real = calibration_inputs(folder, data, images, split, photos, recorded is not None)
    with named(folder / CALIBRATION) if recorded is not None else nullcontext():
        net = deploy(model, x, max_size, recorded or (x.split(64) if real else None), weight_bits)
    net.card = replace(card, data=None, metrics=None).text()
    print_comparison(net.verify(x[:16], against=("spikes", "training")))
    if recorded is not None:
        print(f"calibrated by what training recorded in {show(folder / CALIBRATION)}")
    elif not real:
        print(
            "the training data are not here, so the range of pixels calibrates the network; "
            "--photos=FOLDER with any photos like them does it better"
        )
    if real and accuracy and (data or card.data_is_here):
        forms: dict[str, Callable[..., Any]] = {"trained": model.eval(), "deployed": net}
        compared = card.kind.compare(card.with_data(data), split, forms)
        if compared:
            print(compared)
    net.save(output)
    print(f"{output.stat().st_size:,} bytes in {show(output)}")


def print_comparison(result: Comparison | Verification) -> None:
    """Prints how the forms of a network compare, and fails where they differ."""
    print(result.table())
    if not result.equal:
        raise ResultError(f"{result.mismatches} elements differ; the table says where")


def audit_command(
    model: Path,
    run: Path | None = None,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 64,
    photos: Path | None = None,
    html: Path | None = None,
) -> None:
    """Classes every operation of a deployed network and says whether it is spike-driven.

    Args:
        model: A .spk file, or the folder of a run, which is deployed for the audit.
        run: Folder of the run whose images are used; the model's own if omitted.
        data: Fields of the data configuration that differ from training: --data.path=… and so on.
        split: Which images to average over.
        images: Number of images.
        photos: A photo or recording, or a folder of them, to take instead; without labels.
        html: Also write the audit as one self-contained page.
    """
    from spikesight.costs.audit import audit

    if html is not None:
        place_for_file(html, "html", PAGE_ENDINGS)
    net, x = network_and_images(model, run, data, split, images, photos)
    audited = audit(net, x.split(64))
    print(audited.table())
    if html is not None:
        audited.to_html(html)
        print(f"page in {show(html)}")


def export_command(
    model: Path,
    output: Path,
    size: tuple[int, int] | None = None,
    frames: bool = False,
    photo_input: bool = False,
) -> None:
    """Writes a deployed network for another runtime, or as C, and proves it equal there.

    The file says how photos are prepared and what the classes are called, as far as the .spk file
    does, and OUTPUT.json beside it says it too.

    Args:
        model: A .spk file.
        output: A file ending in .onnx, .xml (OpenVINO), .nir or .c (C99, with golden vectors in the
            folder .golden beside it).
        size: Height and width of the inputs; the network's largest size if omitted.
        frames: Whether the file takes frames, such as those of events, instead of still images.
        photo_input: Whether an .onnx or .xml file takes photos as they are decoded, uint8
            [batch, height, width, channel], and normalises them itself.
    """
    from spikesight.deployment.export.exporting import EXPORT_ENDINGS, SIDECAR

    place_for_file(output, "output", EXPORT_ENDINGS)
    net = _read_network(model)
    path = net.export(output, size, frames=frames, photo_input=photo_input)
    beside = show(path.with_name(f"{path.name}{SIDECAR}"))
    described = "" if net.card is None else f", described in {beside}"
    print(f"{path.stat().st_size:,} bytes in {show(path)}{described}")


def bench_command(
    model: Path,
    batch: int = 1,
    rounds: int = 15,
    threads: int | None = None,
    size: int | tuple[int, int] | None = None,
    run: Path | None = None,
    twin: Path | None = None,
    simulate: bool = True,
) -> None:
    """Times a deployed network in every form that is installed, alternating, on random images.

    Each form's logits are compared with the integers' first; a form that differs is not timed. An
    ANN twin beside it is timed in OpenVINO, in float32 and, with NNCF installed, quantised to 8
    bits after training, so that times are compared within one run.

    Args:
        model: A .spk file.
        batch: Images per call.
        rounds: Calls of each form.
        threads: Threads to use; all cores if omitted.
        size: Height and width of the images, or both in one number; the network's largest size if
            omitted.
        run: Folder of the run that it was made from, to time the trained model in PyTorch as well.
        twin: Folder of the run of its ANN twin (--model.neuron=relu).
        simulate: Whether the slow forms, integers and spikes in PyTorch, are timed as well.
    """
    import torch

    from spikesight.deployment.ann_runtime import in_pytorch, twin_forms
    from spikesight.deployment.export.exact_forms import exact_forms
    from spikesight.graph.tracing import image_part
    from spikesight.pretrained import load
    from spikesight.processor import processor_name
    from spikesight.timing import time_alternating
    from spikesight.training.runs.folder import resolve_model_folder

    if batch < 1 or rounds < 1:
        raise UserError(f"batch is {batch} and rounds is {rounds}; pass 1 or more")
    check_range("threads", threads, least=1)
    if threads is not None:
        torch.set_num_threads(threads)
    net = _read_network(model)
    height, width = (size, size) if isinstance(size, int) else size or net.graph.max_size
    x = torch.randn(batch, net.graph.input.channels, height, width)
    net.check(x)
    exact = exact_forms(net, x, threads, simulate=simulate)
    others: dict[str, Callable[[Tensor], object]] = {}
    if run is not None:
        trained = image_part(load(resolve_model_folder(run)))
        others["trained, PyTorch (float32)"] = in_pytorch(trained)
    if twin is not None:
        others |= twin_forms(load(resolve_model_folder(twin)), x, torch.get_num_threads())
    forms = exact | others
    times = time_alternating({name: partial(form, x) for name, form in forms.items()}, rounds)
    fastest = min(exact, key=times.__getitem__)
    slowest, ours = max(times.values()), times[fastest]
    rows = [
        (name, f"{ms:.2f}", f"{slowest / ms:.1f}", f"{ms / ours:.2f}") for name, ms in times.items()
    ]
    header = ("form", "ms", "times faster than the slowest", "x the fastest of the integers")
    print(text_table(header, rows))
    print(f"the fastest of the integers: {fastest}")
    print(
        f"batch {batch} of {width}x{height} pixels, medians of {rounds} alternating rounds, "
        f"{torch.get_num_threads()} threads of {processor_name()}; every form equals the integers "
        f"in all logits{', the trained model and its twin being others' if others else ''}"
    )


def _read_network(model: Path) -> Deployed:
    from spikesight.deployment.network import Deployed

    if model.is_dir():
        raise UserError(
            f"{show(model)} is a folder; deploy the model first: spikesight deploy {show(model)} "
            "net.spk"
        )
    return Deployed.load(model)


def network_and_images(
    model: Path,
    run: Path | None,
    data: dict[str, Any] | None,
    split: Split,
    images: int,
    photos: Path | None = None,
) -> tuple[Deployed, Tensor]:
    """A deployed network and normalised images for it.

    Args:
        model: A .spk file, or the folder of a run.
        run: Folder of the run whose images are used; `model` if omitted.
        data: Fields of the data configuration that differ from training.
        split: Which images.
        images: Number of images.
        photos: A photo or recording, or a folder of them, to take instead.
    """
    from spikesight.deployment.deploying import deploy
    from spikesight.deployment.network import Deployed
    from spikesight.pretrained import load
    from spikesight.training.runs.folder import resolve_model
    from spikesight.training.tasks.validation import sample_images

    place = resolve_model(model)
    net = Deployed.load(place) if place.is_file() else None
    x = sample_images(run or place, data, images, split, photos)
    return net or deploy(load(place), x), x
