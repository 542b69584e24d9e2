"""The command line's view of energy: one network under several cost models, or several networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.files.writing import PAGE_ENDINGS, place_for_file
from spikesight.lazy_names import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from spikesight.costs.report import EnergyReport
    from spikesight.costs.trade_off import Measured
    from spikesight.deployment.network import Deployed
    from spikesight.models import SpikingModel


_BATCH = 64


def energy_command(
    model: Path,
    run: Path | None = None,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    images: int = 256,
    html: Path | None = None,
    photos: Path | None = None,
    prices: str = "",
    output: Path | None = None,
    beside: str = "",
) -> None:
    """Counts the synaptic operations of a network on real images, and their energy.

    With --prices it stands beside its rivals: the same counts without skipping zeros, and ANNs of
    the same graph with equal bits, in int8 and in floating point.

    Args:
        model: Folder of a run, or its best/ or last/; or a .spk file.
        run: Folder of the run whose images are used; the model's own if omitted.
        data: Fields of the data configuration that differ from training: --data.path=… and so on.
        split: Which images to average over.
        images: Number of images.
        html: Also write the report as one self-contained page.
        photos: A photo or recording, or a folder of them, to take instead; without labels.
        prices: Cost models, with commas between them: paper, integer, memory, movement, or YAML
            files of own prices.
        output: Also write the comparisons, a .json or .csv file; all cost models if none is named.
        beside: Folders of other runs, with commas between them: accuracy against energy of all.
    """
    from spikesight.costs.comparison import write_comparisons
    from spikesight.costs.cost_models import COST_MODELS
    from spikesight.costs.firing_maps import firing_maps
    from spikesight.costs.networks import energy, other_steps
    from spikesight.costs.price_files import find_cost_model
    from spikesight.costs.trade_off import trade_off_table

    if html is not None:
        place_for_file(html, "html", PAGE_ENDINGS)
    if output is not None:
        place_for_file(output, "output", (".json", ".csv"))
    named = [name.strip() for name in prices.split(",") if name.strip()]
    models = [find_cost_model(name) for name in named or (COST_MODELS if output else ())]
    others = [Path(name.strip()) for name in beside.split(",") if name.strip()]
    network, x = _network_and_images(model, run, data, split, images, photos)
    report = energy(network, x.split(_BATCH), other_steps(network) if html is not None else ())
    print(report.table())
    if any(layer.attention is not None for layer in report.layers):
        print(report.attention_table())
    comparisons = [report.under(cost_model) for cost_model in models]
    for comparison in comparisons if named else ():
        print(f"\n{comparison.table()}")
    if output is not None:
        write_comparisons(comparisons, output)
        print(f"comparisons in {show(output)}")
    networks: list[Measured] = []
    if others:
        networks.append(_measured(run or model, report))
        for place in others:
            other, seen = _network_and_images(place, None, data, split, images, photos)
            networks.append(_measured(place, energy(other, seen.split(_BATCH))))
        print(f"\n{trade_off_table(networks)}")
    if html is not None:
        report.to_html(html, firing_maps(network, x[:1]), networks)
        print(f"report in {show(html)}")


def _network_and_images(
    model: Path,
    run: Path | None,
    data: dict[str, Any] | None,
    split: Split,
    images: int,
    photos: Path | None,
) -> tuple[SpikingModel | Deployed, Tensor]:
    """A trained or deployed network, and images as it takes them."""
    from spikesight.commands.networks import network_and_images
    from spikesight.pretrained import load
    from spikesight.training.runs.folder import resolve_model_folder
    from spikesight.training.tasks.validation import sample_images

    if model.is_file():
        return network_and_images(model, run, data, split, images, photos)
    x = sample_images(run or model, data, images, split, photos)
    return load(resolve_model_folder(model)), x


def _measured(place: Path, report: EnergyReport) -> Measured:
    """A network with what its validation said."""
    from spikesight.costs.trade_off import Measured
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import resolve_model_folder

    figures = None if place.is_file() else Card.read(resolve_model_folder(place)).metrics
    if figures is None:
        raise UserError(
            f"{show(place)} does not say how good it is; pass a run's folder, and with a .spk file "
            "--run=FOLDER"
        )
    figure, value = next(iter(figures.columns().items()))
    return Measured(place.name, figure, value, report)
