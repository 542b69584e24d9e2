"""What speeds up the learning of Spike2Former's queries, on small models with paired seeds.

    python benchmarks/query_helps.py --data camvid --seeds 0 1 2 3 4
    python benchmarks/query_helps.py --table --write docs/query_helps.md

Every row is a training from scratch on CamVid at a fraction of its resolution, with the same recipe
(configs/camvid_small.yaml, shorter, with a moving average of the weights), seeds and photos. A run
that is in results.csv is not repeated, one that was interrupted goes on.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paired import Question, Study
from spikesight.training.config import merge
from street_runs import conduct, configuration, run, street_parser

_CLASSES = 11
_AVERAGED = {"ema": {"decay": 0.99}}


def _arguments(**arguments: Any) -> dict[str, Any]:
    return {"model": {"arguments": arguments}}


def _loss(**arguments: Any) -> dict[str, Any]:
    return {"segmentation": {"loss": arguments}}


def _all(*changes: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for change in changes:
        merged = merge(merged, change)
    return merged


_FIXED = _all(_arguments(queries=_CLASSES), _loss(assignment="fixed"))
_HEADS = _arguments(pixel_heads=True)
_HEADS_AND_MAP = _all(_HEADS, _loss(semantic_map_loss=1.0))
_DENOISED = _arguments(denoised_queries=_CLASSES)
_BOTH = _all(_FIXED, _HEADS_AND_MAP)
_RECIPE, _TWIN = "camvid_small.yaml", "its ANN twin"
_HELPED, _HELPED_TWIN = "query k for class k, pixel heads", "query k for class k, pixel heads, twin"
_PIXELS, _PIXELS_TWIN = "SpikeFPN", "SpikeFPN's twin"
_RELU = {"model": {"neuron": "relu"}}
_FPN = {"model": {"name": "spike_fpn_nano"}}
_MUON = {"optimizer": {"name": "muon", "lr": 5e-3, "betas": [0.95, 0.999]}}
ROWS: dict[str, dict[str, Any]] = {
    _RECIPE: {},
    "query k for class k": _FIXED,
    "pixel heads instead of the map's loss": _HEADS,
    "pixel heads": _HEADS_AND_MAP,
    "map's loss x 5": _loss(auxiliary_pixel_loss=5.0),
    "denoised queries": _DENOISED,
    _HELPED: _BOTH,
    "query k for class k, pixel heads, denoised queries": _all(_BOTH, _DENOISED),
    "query k for class k, pixel heads, D = 8": _all(_BOTH, {"model": {"levels": 8}}),
    "query k for class k, pixel heads, D = 16": _all(_BOTH, {"model": {"levels": 16}}),
    "query k for class k, pixel heads and map x 5": _all(
        _BOTH, _loss(auxiliary_pixel_loss=5.0, semantic_map_loss=5.0)
    ),
    "query k for class k, pixel heads, muon": _all(_BOTH, _MUON),
    _PIXELS: _FPN,
    "SpikeFPN, muon": _all(_FPN, _MUON),
    "SpikeFPN, D = 8": _all(_FPN, {"model": {"levels": 8}}),
    "SpikeFPN, D = 16": _all(_FPN, {"model": {"levels": 16}}),
    _TWIN: _RELU,
    _HELPED_TWIN: _all(_BOTH, _RELU),
    _PIXELS_TWIN: _all(_FPN, _RELU),
}
_REFERENCES = {
    "query k for class k, pixel heads, denoised queries": _HELPED,
    "query k for class k, pixel heads, D = 8": _HELPED,
    "query k for class k, pixel heads, D = 16": _HELPED,
    "query k for class k, pixel heads and map x 5": _HELPED,
    "query k for class k, pixel heads, muon": _HELPED,
    "SpikeFPN, muon": _PIXELS,
    "SpikeFPN, D = 8": _PIXELS,
    "SpikeFPN, D = 16": _PIXELS,
}
QUESTIONS = (
    *(
        Question(f"{name}, for {_REFERENCES.get(name, _RECIPE)}", name, reference, "not reported")
        for name in ROWS
        if (reference := _REFERENCES.get(name, _RECIPE)) != name and not name.endswith("twin")
    ),
    Question("Spike2Former so helped for SpikeFPN", _HELPED, _PIXELS, "+12.7 (for T x D 4 x 1)"),
    Question("spikes for ReLU in camvid_small.yaml", _RECIPE, _TWIN, "not reported"),
    Question("spikes for ReLU in it so helped", _HELPED, _HELPED_TWIN, "not reported"),
    Question("spikes for ReLU in SpikeFPN", _PIXELS, _PIXELS_TWIN, "not reported"),
)
STUDY = Study(
    tuple(ROWS),
    QUESTIONS,
    "averaged_miou",
    "validation mIoU of the averaged weights",
    {"miou": "mIoU of the last weights", "firing_rate": "mean firing rate"},
)
INTRODUCTION = """# What helps Spike2Former's queries

`benchmarks/query_helps.py` trains every row from scratch on CamVid (11 classes), with the recipe of
`configs/camvid_small.yaml` at a fraction of the resolution and length and with a moving average of
the weights (decay 0.99), the same seeds and photos:

```
python benchmarks/query_helps.py --data camvid --seeds 0 1 2 3 4  # goes on where it stopped
python benchmarks/query_helps.py --table --write FILE
```
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = street_parser(__doc__, "runs/query_helps", ROWS)
    options = parser.parse_args(arguments)
    conduct(STUDY, options, lambda row, seed: measure(row, seed, options), INTRODUCTION)


def measure(row: str, seed: int, options: Namespace) -> dict[str, Any]:
    """Trains a row; its figures by column, those of the averaged weights too."""
    fields = _all(_AVERAGED, ROWS[row])
    model = fields.pop("model", {})
    figures = run(row, model, seed, options, further=fields)
    folder = Path(configuration(row, model, seed, options, fields).output)
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {"averaged_miou": float(last["ema_miou"]), **figures}


if __name__ == "__main__":
    main()
