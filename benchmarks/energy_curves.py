"""Accuracy against energy: trained networks, then trained on under the prices of a cost model.

    python benchmarks/energy_curves.py runs/energy runs/conversion/twin/D8 runs/conversion/twin/D4
    python benchmarks/energy_curves.py runs/energy --write docs/energy_curves.md

Each run is a folder of a trained spiking network with its config.yaml, such as
benchmarks/converting.py leaves; those of one folder, which bears the twin's name there, are
compared. A run is measured as it is, and after few epochs more in which its layers pay for their
counts by a cost model, little or much. Every network is deployed with weights of 8 bits and of
fewer, its integers answer the validation set, and `ss.energy` of those integers is priced by each
cost model: as binary spikes, as counts, and as the ANN of equal bits, which computes the same
numbers without looking for zeros. What is there is not repeated.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import spikesight as ss
from spikesight.costs.cost_models import COST_MODELS, FOR_EVERY_FORM
from spikesight.costs.forms import COUNTS, EQUAL_BITS, SPIKES, Form
from spikesight.costs.trade_off import best_of
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.losses import FiringRateConfig
from spikesight.processor import processor_name
from spikesight.reports.training_curves import figure_title
from spikesight.training import (
    TrainConfig,
    resolve_model_folder,
    train,
    validate,
)
from spikesight.training.tasks.validation import calibration_inputs
from spikesight.training.tuning import run_configuration

FORMS = (SPIKES, COUNTS, EQUAL_BITS)
MEASURED = 256  # validation images whose energy is averaged
WATCHED = 64
SLACK = 1.0  # points that the chosen network may lie below the best
INTRODUCTION = """# Accuracy against energy

`benchmarks/energy_curves.py` takes trained spiking networks of several D, trains them on for a
few epochs while each layer pays for its counts what a cost model says that its readers spend on
them (`firing_rate.by=cost --firing_rate.prices=movement`, with a weight in the loss), and deploys
them with weights of 8 bits and of fewer. Accuracies are those of the deployed integers on the whole
validation set; energies those of the same integers ([energy.md](energy.md)), in µJ per image. The
ANN of equal bits computes the same numbers, at the same accuracy, without looking for zeros. A
figure is bold where no other network beats it in both accuracy and energy. "Chosen" is the cheapest
network within a point of the best: D, the bits of a weight and the price of spikes, chosen by the
cost model.

Nothing is measured on a chip.
"""

Prices = Literal["integer", "memory", "movement"]


class Price(NamedTuple):
    """What a network pays for while it is trained on, and the weight of that in the loss."""

    prices: Prices
    weight: float

    def __str__(self) -> str:
        return f"{self.prices}, weight {self.weight:g}"


@dataclass(frozen=True)
class Row:
    """A deployed network.

    Attributes:
        group: Folder of the run; networks of one group are compared.
        run: What it was made of.
        price: What it paid for while it was trained on; "as it is" if it was not.
        levels: D.
        weight_bits: Of its weights.
        figure: What its validation says first.
        value: Of that figure, of the integers.
        nonzero: Share of counts that are not zero, by what reads them.
        microjoules: By cost model and form.
        day: When.
    """

    group: str
    run: str
    price: str
    levels: int
    weight_bits: int
    figure: str
    value: float
    nonzero: float
    microjoules: dict[str, dict[str, float]]
    day: str

    @property
    def name(self) -> str:
        return f"{self.run}, {self.price}, {self.weight_bits} bits"

    def cost(self, prices: str, form: Form) -> float:
        return self.microjoules[prices][form.key]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder of what was measured")
    parser.add_argument("runs", type=Path, nargs="*", help="folders of trained spiking runs")
    parser.add_argument("--prices", nargs="*", default=["movement", "memory"])
    parser.add_argument("--weights", type=float, nargs="*", default=[2, 8, 32], help="in the loss")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--limit", type=int, help="batches of an epoch")
    parser.add_argument("--lr-scale", type=float, default=1.0, help="of the run's learning rate")
    parser.add_argument("--images", type=int, default=MEASURED, help="whose energy is averaged")
    parser.add_argument(
        "--max-size", type=int, nargs=2, help="of an input; a training crop's if not"
    )
    parser.add_argument("--write", type=Path, help="Markdown file to write, a picture beside it")
    options = parser.parse_args(arguments)
    for run in options.runs:
        measure(run, options)
    rows = read(options.output)
    print(page(rows))
    if options.write is not None:
        for group, members in _grouped(rows).items():
            draw(members, picture_of(options.write, group))
        text = f"{INTRODUCTION}\n{page(rows, options.write)}"
        options.write.write_text(text, encoding="utf-8")


def picture_of(page: Path, group: str) -> Path:
    """Where the picture of a group lies."""
    return page.with_name(f"{page.stem}_{group}.svg")


def measure(run: Path, options: Namespace) -> None:
    """All networks of one run that are not there."""
    folder = options.output / run.resolve().parent.name / run.name
    folder.mkdir(parents=True, exist_ok=True)
    _deploy(run, "as it is", folder / "as_it_is", run, options)
    for prices in options.prices:
        for weight in options.weights:
            price = Price(prices, weight)
            trained = folder / f"{prices}_{weight:g}"
            if not (trained / "done").is_file():
                train(_configuration(run, price, trained, options))
                (trained / "done").touch()
            _deploy(trained, str(price), trained / "deployed", run, options)


def _configuration(run: Path, price: Price, output: Path, options: Namespace) -> TrainConfig:
    """The run's own recipe, from its weights, with a price on what its counts cost."""
    own = run_configuration(resolve_model_folder(run))
    assert own is not None, f"{run} has no config.yaml"
    firing = FiringRateConfig(price.weight, counts="mean", by="cost", prices=price.prices)
    return TrainConfig.load(
        resolve_model_folder(run).parent / "config.yaml",
        model={"weights": str(run)},
        output=str(output),
        epochs=options.epochs,
        limit_batches=options.limit or own.limit_batches,
        optimizer={"lr": own.optimizer.lr * options.lr_scale},
        schedule={"warmup_epochs": 0.1 * options.epochs, "warmup_updates": None},
        firing_rate=asdict(firing),
        validate_every=1,
        resume=True,
    )


def _deploy(trained: Path, price: str, folder: Path, run: Path, options: Namespace) -> None:
    """Deploys a network with weights of several widths, and measures each."""
    folder.mkdir(parents=True, exist_ok=True)
    place = resolve_model_folder(trained)
    model = ss.load(place)
    x, _ = calibration_inputs(place, None, options.images, "validation", None)
    for bits in options.bits:
        file = folder / f"{bits}_bits.json"
        if file.is_file():
            continue
        net = ss.deploy(model, x[:WATCHED], options.max_size, x.split(WATCHED), bits)
        compared = net.verify(x[:4])
        assert compared.equal, compared.table()
        figures = validate(place, model=DeployedModel(net))
        figure, value = next(iter(figures.columns().items()))
        report = ss.energy(net, x.split(WATCHED))
        microjoules = {
            key: {form.key: report.under(key).picojoules(form.key) / 1e6 for form in FORMS}
            for key in FOR_EVERY_FORM
        }
        made = Row(
            group=run.resolve().parent.name,
            run=run.name,
            price=price,
            levels=max(neuron.levels for neuron in net.graph.neurons),
            weight_bits=bits,
            figure=figure,
            value=float(value),
            nonzero=float(report.nonzero_by_mac or 0.0),
            microjoules=microjoules,
            day=date.today().isoformat(),
        )
        file.write_text(json.dumps(asdict(made), indent=2) + "\n")
        print(made, flush=True)


def read(output: Path) -> list[Row]:
    """All networks that were measured, the quietest last."""
    rows = [Row(**json.loads(file.read_text())) for file in output.glob("*/*/**/*_bits.json")]
    return sorted(rows, key=lambda row: (row.group, row.run, -row.weight_bits, -row.nonzero))


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The networks that are compared with each other, by group."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups


def front(rows: Sequence[Row], prices: str, form: Form) -> list[Row]:
    """The networks that no other beats in both, the cheapest first."""
    return best_of(rows, partial(_cost, prices, form), lambda row: row.value)


def chosen(rows: Sequence[Row], prices: str, form: Form) -> Row:
    """The cheapest network that lies within a point of the best."""
    enough = max(row.value for row in rows) - SLACK
    return min((row for row in rows if row.value >= enough), key=partial(_cost, prices, form))


def _cost(prices: str, form: Form, row: Row) -> float:
    return row.cost(prices, form)


def page(rows: Sequence[Row], path: Path | None = None) -> str:
    """The measured networks as Markdown, with the pictures of a page that lies there."""
    if not rows:
        return "Nothing is measured yet.\n"
    parts = []
    for group, members in _grouped(rows).items():
        picture = path and picture_of(path, group).name
        shown = f"![accuracy against energy]({picture})\n\n" if picture else ""
        parts.append(f"## {group}\n\n{shown}{_section(members)}")
    days = sorted({row.day for row in rows})
    span = " to ".join(dict.fromkeys((days[0], days[-1])))
    return "\n".join([*parts, f"One seed; {processor_name()}, {span}.", ""])


def _section(rows: Sequence[Row]) -> str:
    columns = [(key, form) for key in FOR_EVERY_FORM for form in FORMS]
    fronts = {(key, form.key): front(rows, key, form) for key, form in columns}
    titles = " | ".join(f"{key}: {form.title}" for key, form in columns)
    lines = [
        f"| network | trained on, paying by | D | bits of a weight | {_figure(rows)} | nonzero | "
        f"{titles} |",
        "|---" * (6 + len(columns)) + "|",
    ]
    for row in rows:
        cells = []
        for key, form in columns:
            cost = f"{row.cost(key, form):,.1f}"
            cells.append(f"**{cost}**" if row in fronts[key, form.key] else cost)
        lines.append(
            f"| {row.run} | {row.price} | {row.levels} | {row.weight_bits} | {row.value:.2f} | "
            f"{row.nonzero:.3f} | {' | '.join(cells)} |"
        )
    lines += ["", "| cost model | form | chosen | " + _figure(rows) + " | µJ |", "|---" * 5 + "|"]
    for key, form in columns:
        row = chosen(rows, key, form)
        lines.append(
            f"| {key} | {form.title} | {row.name} | {row.value:.2f} | {row.cost(key, form):,.1f} |"
        )
    return "\n".join([*lines, ""])


def _figure(rows: Sequence[Row]) -> str:
    """What the validation of a group says first."""
    return f"{figure_title(rows[0].figure)}, %"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy over energy, a picture per cost model."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    matplotlib.rcParams["svg.hashsalt"] = "spikesight"
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    looks = {SPIKES.key: ("#d55e00", "o"), COUNTS.key: ("#cc9900", "^")}
    looks[EQUAL_BITS.key] = ("#0072b2", "s")
    for position, key in enumerate(FOR_EVERY_FORM, start=1):
        axes = figure.add_subplot(1, len(FOR_EVERY_FORM), position)
        for form in FORMS:
            colour, mark = looks[form.key]
            best = front(rows, key, form)
            for row in rows:
                axes.plot(row.cost(key, form), row.value, mark, color=colour, alpha=0.25, ms=4)
            costs = [row.cost(key, form) for row in best]
            values = [row.value for row in best]
            axes.plot(costs, values, f"{mark}-", color=colour, ms=5, label=form.title)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(COST_MODELS[key].title, fontsize=9)
        axes.set_xlabel("µJ per image", fontsize=9)
        axes.grid(color="#e4e1db", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if position == 1:
            axes.set_ylabel(f"{_figure(rows)}, of the integers", fontsize=9)
    lines, titles = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, titles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
