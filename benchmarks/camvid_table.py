"""Three segmenters over one trunk on CamVid: accuracy, energy by spikes and integer latency.

    python benchmarks/camvid_table.py --data camvid --seeds 0
    python benchmarks/camvid_table.py --data camvid --seeds 0 --table --write docs/camvid_table.md

Semantic FPN, SpikeFPN and Spike2Former read metaspikformer_nano. Each is trained from scratch on
CamVid at a fraction of its resolution, and so is its ANN twin, with the same recipe
(configs/camvid_small.yaml, shorter), seeds and photos. A run that is in results.csv is not
repeated, one that was interrupted goes on. Energy is measured on photos of the validation part by
the spikes of the first seed's model, and the integer network that is deployed from it, checked
against its spikes in every element, takes turns with the others in ONNX Runtime.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

import spikesight as ss
from paired import Question, Study, read
from spikesight.deployment.export.onnx import to_onnx
from spikesight.deployment.export.onnx_runtime import OnnxRuntime
from spikesight.processor import processor_name
from spikesight.timing import time_alternating
from spikesight.training.tasks.validation import sample_images
from street_runs import configuration, report, run, settings, street_parser

_TWIN = ", ANN twin"
MODELS = {
    "Semantic FPN": "semantic_fpn_nano",
    "SpikeFPN": "spike_fpn_nano",
    "Spike2Former": "spike2former_nano",
}
ROWS: dict[str, dict[str, Any]] = {
    f"{name}{kind}": {"name": model, "neuron": neuron}
    for name, model in MODELS.items()
    for kind, neuron in (("", "ni_lif"), (_TWIN, "relu"))
}
QUESTIONS = (
    Question("Semantic FPN for SpikeFPN", "Semantic FPN", "SpikeFPN", "+5.2 (and IE-LIF for LIF)"),
    Question("Semantic FPN for Spike2Former", "Semantic FPN", "Spike2Former", "not reported"),
    *(
        Question(f"spikes for ReLU in {name}", name, name + _TWIN, "not reported")
        for name in MODELS
    ),
)
STUDY = Study(
    tuple(ROWS), QUESTIONS, "miou", "validation mIoU", {"firing_rate": "mean firing rate"}
)
INTRODUCTION = """# Three segmenters over one trunk

`benchmarks/camvid_table.py` trains Semantic FPN, SpikeFPN and Spike2Former over
`metaspikformer_nano` from scratch on CamVid (11 classes), and the ANN twin of each, with the recipe
of `configs/camvid_small.yaml` at a fraction of the resolution and length, the same seeds and photos
(`configs/camvid_semantic_fpn_nano.yaml` is the recipe at length):

```
python benchmarks/camvid_table.py --data camvid --seeds 0  # goes on where it stopped
python benchmarks/camvid_table.py --data camvid --seeds 0 --table --write FILE
```

At this size Semantic FPN and SpikeFPN are one network, of 32 channels, and start otherwise: their
difference is that of Xavier's rule from He's, and of chance. The paper's points are of mIoU on
ADE20K, of larger networks after 160,000 updates. Latency is from a machine that other runs shared:
its ratios count."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = street_parser(__doc__, "runs/camvid_table", ROWS)
    parser.add_argument("--photos", type=int, default=16, help="photos that energy is measured on")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--rounds", type=int, default=31, help="timed calls of each network")
    options = parser.parse_args(arguments)
    if not options.table:
        STUDY.run(
            options.output / "results.csv",
            options.only or list(ROWS),
            options.seeds,
            settings(options),
            lambda row, seed: run(row, ROWS[row], seed, options),
        )
    report(STUDY, options, f"{INTRODUCTION}\n\n{costs(options)}")


def costs(options: Namespace) -> str:
    """Accuracy, energy and latency of the first seed's trained models, as Markdown."""
    seed = options.seeds[0]
    accuracy = {
        line["row"]: f"{float(line['miou']):.2f}"
        for line in read(options.output / "results.csv")
        if (line["seed"], line["settings"]) == (str(seed), settings(options))
    }
    trained = [name for name in MODELS if name in accuracy]
    folders = {name: _folder(name, seed, options) for name in trained}
    photos = {name: sample_images(folder, count=options.photos) for name, folder in folders.items()}
    size = (options.height, options.height * 4 // 3)
    networks = {name: _deployed(folders[name], photos[name]) for name in trained}
    runtimes = {
        name: OnnxRuntime(to_onnx(network.graph, size), options.threads)
        for name, network in networks.items()
    }
    times = time_alternating(
        {name: partial(runtimes[name], photos[name][:1]) for name in trained}, options.rounds
    )
    lines = [
        "| over `metaspikformer_nano` | parameters | mIoU | ANN twin's | energy, mJ | ANN twin's "
        "| integer network, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in trained:
        model = ss.load(folders[name])
        energy = ss.energy(model, photos[name])
        parameters = sum(p.numel() for p in model.parameters())
        lines.append(
            f"| {name} | {parameters / 1e6:.3f} M | {accuracy[name]} "
            f"| {accuracy.get(name + _TWIN, 'not run')} | {energy.picojoules / 1e9:.3f} "
            f"| {energy.twin_picojoules / 1e9:.3f} | {times[name]:.1f} |"
        )
    lines.append(
        f"\nOne photo of {size[1]}x{size[0]} pixels, seed {seed}. Energy is the mean of "
        f"{options.photos} validation photos, counted spike by spike at 45 nm prices. The integer "
        f"networks took turns in ONNX Runtime on {options.threads} thread(s) of "
        f"{processor_name()}, medians of {options.rounds} rounds; all their integers equal their "
        "spikes' on the photos. One seed says nothing about the sign of a difference."
    )
    return "\n".join(lines)


def _folder(name: str, seed: int, options: Namespace) -> Path:
    return Path(configuration(name, ROWS[name], seed, options).output) / "last"


def _deployed(folder: Path, photos: Tensor) -> ss.Deployed:
    """The integer network of a trained model, whose spikes and export give the same integers."""
    network = ss.deploy(ss.load(folder), photos)
    result = network.verify(photos, against=("spikes", "onnx"))
    if not result.equal:
        raise SystemExit(result.table())
    return network


if __name__ == "__main__":
    main()
