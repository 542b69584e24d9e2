"""What it costs a segmenter in accuracy to have no multiplication behind its first layer.

    python benchmarks/multiplication_free.py --data camvid --seeds 0 1 2
    python benchmarks/multiplication_free.py --table --write docs/multiplication_free.md

Each change alone and all three together, trained from scratch on CamVid at a fraction of its
resolution, with the same recipe (configs/camvid_small.yaml, shorter), seeds and photos. A run that
is in results.csv is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import spikesight as ss
from paired import Question, Study
from street_runs import conduct, run, street_parser

ROWS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "shifts": {"upsampling": "shift"},
    "quarter-pixel offsets": {"offset_bits": 2},
    "spiking mask features": {"mask_features": "spikes"},
    "multiplication-free": {"multiplication_free": True},
}
_NONE = "not reported"
QUESTIONS = tuple(
    Question(text, row, "ordinary", _NONE)
    for text, row in (
        ("doubling by shifts (the same numbers but for rounding)", "shifts"),
        ("offsets on a grid of a quarter pixel", "quarter-pixel offsets"),
        ("masks of spikes that meet", "spiking mask features"),
        ("all three", "multiplication-free"),
    )
)
STUDY = Study(
    tuple(ROWS), QUESTIONS, "miou", "validation mIoU", {"firing_rate": "mean firing rate"}
)
INTRODUCTION = """# A segmenter without multiplications

`benchmarks/multiplication_free.py` trains every row from scratch on CamVid (11 classes), with the
recipe of `configs/camvid_small.yaml` at a fraction of the resolution and length, the same seeds and
photos. Doubling by shifts gives the numbers of the ordinary doubling but for rounding, so its row
shows how far two runs of one network part by chance."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = street_parser(__doc__, "runs/multiplication_free", ROWS).parse_args(arguments)
    conduct(
        STUDY,
        options,
        lambda row, seed: run(row, {"arguments": ROWS[row]}, seed, options),
        f"{INTRODUCTION}\n\n{operations()}",
    )


def operations() -> str:
    """What still multiplies in the integer network, as Markdown, for one photo, untrained."""
    lines = [
        "| row | multiplications behind the first layer, in | accumulations and additions |",
        "|---|---|---|",
    ]
    x = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for row, arguments in ROWS.items():
        torch.manual_seed(0)
        model = ss.create_model("spike2former_nano", num_classes=11, neuron="ni_lif", **arguments)
        audit = ss.audit(ss.deploy(model, x), x)
        kinds = {layer.name: layer.kind for layer in audit.layers}
        named = ", ".join(dict.fromkeys(kinds[name] for name in audit.offenders)) or "none"
        added = sum(la.operations.accumulates + la.operations.additions for la in audit.layers)
        lines.append(f"| {row} | {named} | {added:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
