"""Trained ReLU twins made spiking: accuracy by levels and steps, without and with training.

    python benchmarks/converting.py runs/conversion runs/twin ... --from-scratch
    python benchmarks/converting.py runs/conversion --write docs/conversion.md

Each twin is a run folder of `spikesight train --model.neuron=relu`, of any task. It is converted on
512 of its training images, measured as it is, and trained on for a fifth of its epochs by the
configuration that `spikesight convert-ann` writes. Beside it, `--from-scratch`, stands a network of
D = 8 that is trained by the twin's recipe for the epochs of both together. What is there is not
repeated, and a training that was interrupted goes on.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from spikesight.commands.conversion import convert_ann_command
from spikesight.processor import processor_name
from spikesight.training import Card, TrainConfig, resolve_model_folder, train, validate
from spikesight.training.tuning import run_configuration

IMAGES = 512
SCRATCH_LEVELS = 8

INTRODUCTION = """# From a trained ReLU network to spikes

`ss.spike_from(twin, data, levels=8)` and `spikesight convert-ann RUN OUT` make a spiking network of
a trained ReLU twin of any family. Weights, attention scales and residual sums stay as
they are; each ReLU becomes a neuron `calibrated_i_lif`, which emits
threshold · round(clip(X / threshold, 0, D)). Its threshold is measured on a few hundred training
images whose labels are not used: the topmost level lies where the squared error of what the neuron
emits is least (`thresholds=mse`), or at a percentile of its currents. Then the statistics of the
normalisations are measured anew. Neurons whose spikes are added up share one threshold, as a sum of
counts needs one unit.

**At one time step this is the quantisation of activations to D + 1 values, in training clothes.**
Nothing of time is in it; what makes it a spiking network is that every count unrolls into exact
spikes, which `spikesight verify` proves, and that the integer network is deployed as any other.
With T steps (`--levels=1 --steps=8`) a membrane keeps everything and starts half charged, as in
quantised-clip-floor-shift (QCFS, arXiv 2303.04347): over T steps a neuron can say T · D + 1 values.
Less comes out than of as many levels at one step, since spikes arrive unevenly in time: a layer may
fire before all that speaks against it has arrived and cannot take it back, and the product of two
means over time is not the mean of products, which attention asks for at each step.

`OUT/config.yaml` goes on with a fifth of the twin's epochs at a quarter of its learning rate, mixup
and cutmix off in as great a share of them;
thresholds then learn too (LSQ, arXiv 1902.08153), and classifiers and segmenters learn from what
the twin says of classes, of images or of pixels, beside the labels. A network that is then given
few bits (`spikesight quantize`) emits whole counts, and its thresholds stop learning.

```
spikesight convert-ann runs/twin runs/spiking --levels=8
spikesight train runs/spiking/config.yaml
spikesight deploy runs/spiking_tuned spiking.spk
```

A network of spiking neurons with more levels becomes one with fewer by the same command.
"""


@dataclass(frozen=True)
class Row:
    """One measured network.

    Attributes:
        twin: What the twin is called.
        row: What was done.
        levels: D; 0 of the twin.
        steps: T.
        epochs: Epochs of labelled images in all, the twin's included.
        figure: What its validation says first.
        firing_rate: Mean firing rate.
        seconds: What it took beside the twin.
        day: When.
    """

    twin: str
    row: str
    levels: int
    steps: int
    epochs: int
    figure: str
    firing_rate: float | None
    seconds: float
    day: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder of what was measured")
    parser.add_argument("twins", type=Path, nargs="*", help="folders of trained ReLU runs")
    parser.add_argument("--levels", type=int, nargs="*", default=[8, 4, 2, 16])
    parser.add_argument("--steps", type=int, nargs="*", default=[4, 8, 16])
    parser.add_argument("--share", type=float, default=0.2, help="of the twin's epochs")
    parser.add_argument("--untrained", action="store_true", help="without further training")
    parser.add_argument("--from-scratch", action="store_true")
    parser.add_argument("--data", nargs="*", default=[], help="fields that changed: path=FOLDER")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    for twin in options.twins:
        measure(twin, options)
    text = page(options.output)
    print(text)
    if options.write is not None:
        options.write.write_text(f"{INTRODUCTION}\n{text}", encoding="utf-8")


def measure(twin: Path, options: Namespace) -> None:
    """All rows of one twin that are not there."""
    folder = options.output / twin.name
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = dict(word.split("=", 1) for word in options.data)
    run = run_configuration(resolve_model_folder(twin))
    assert run is not None, f"{twin} has no config.yaml"

    def once(row: str, levels: int, steps: int, epochs: int, work: Callable[[], Any]) -> None:
        file = folder / f"{row.replace(' ', '_')}_D{levels}_T{steps}.json"
        if file.is_file():
            return
        start = time.perf_counter()
        figures = work()
        made = Row(
            twin.name, row, levels, steps, epochs, figures.headline(), figures.firing_rate,
            time.perf_counter() - start, date.today().isoformat(),
        )  # fmt: skip
        file.write_text(json.dumps(asdict(made), indent=2) + "\n")
        print(made, flush=True)

    def converted(levels: int, steps: int) -> Any:
        output = folder / f"D{levels}_T{steps}"
        if output.exists():
            shutil.rmtree(output)
        convert_ann_command(
            twin, output, levels, steps, images=IMAGES, share=options.share, data=data or None
        )
        return Card.read(output).metrics

    def tuned(levels: int) -> Any:
        config = TrainConfig.load(folder / f"D{levels}_T1" / "config.yaml", resume=True)
        return train(config).best

    more = max(1, math.floor(options.share * run.epochs))
    once("twin", 0, run.model.steps, run.epochs, lambda: validate(resolve_model_folder(twin)))
    for levels in options.levels:
        once("converted", levels, 1, run.epochs, partial(converted, levels, 1))
    for levels in () if options.untrained else options.levels:
        once("converted and trained", levels, 1, run.epochs + more, partial(tuned, levels))
    for steps in options.steps:
        once("converted", 1, steps, run.epochs, partial(converted, 1, steps))
    if options.from_scratch:
        model = {"neuron": None, "levels": SCRATCH_LEVELS}
        scratch = TrainConfig.load(
            resolve_model_folder(twin).parent / "config.yaml",
            model=model, output=str(folder / "scratch"), epochs=run.epochs + more, resume=True,
        )  # fmt: skip
        once("from scratch", SCRATCH_LEVELS, 1, run.epochs + more, lambda: train(scratch).best)


def page(output: Path) -> str:
    """The measured rows as Markdown, twin by twin."""
    rows = [Row(**json.loads(file.read_text())) for file in sorted(output.glob("*/*.json"))]
    parts = []
    for twin in dict.fromkeys(row.twin for row in rows):
        own = sorted((r for r in rows if r.twin == twin), key=_order)
        parts.append(f"## {twin}\n")
        parts.append("| | D | T | epochs | validation | firing rate |\n|---|---|---|---|---|---|")
        parts += [
            f"| {row.row} | {row.levels or 'ReLU'} | {row.steps} | {row.epochs} | {row.figure} | "
            f"{'' if row.firing_rate is None else f'{row.firing_rate:.3f}'} |"
            for row in own
        ]
        days = sorted({row.day for row in own})
        parts.append(
            f"\n{processor_name()}, {' to '.join(dict.fromkeys((days[0], days[-1])))}, one seed; "
            f"calibrated on {IMAGES} images. Epochs are of labelled images, the twin's included.\n"
        )
    return "\n".join(parts) or "Nothing is measured yet.\n"


def _order(row: Row) -> tuple[Any, ...]:
    kinds = ("twin", "converted", "converted and trained", "from scratch")
    return kinds.index(row.row), row.steps > 1, row.steps, row.levels


if __name__ == "__main__":
    main()
