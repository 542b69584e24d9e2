"""Whether a network trained on events uses their order: accuracy with the frames rearranged.

    python benchmarks/event_order.py
    python benchmarks/event_order.py runs/digits_events_nano runs/digits_events_nano_twin

Each run's validation recordings are shown with their frames in order, in reverse, shuffled (one
order per recording) and all replaced by their mean over time, which keeps where events came and
loses when. Runs that are not there are trained first, from configs/digits_events_nano.yaml, one
whose name ends in _twin with ReLU for every neuron.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import spikesight as ss
from spikesight.data import build_evaluation_loader
from spikesight.reports.text_table import text_table
from spikesight.training import TrainConfig, train
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import resolve_model_folder

CONFIGURATION = Path(__file__).parents[1] / "configs" / "digits_events_nano.yaml"
RUNS = ["runs/digits_events_nano", "runs/digits_events_nano_twin"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=RUNS, type=Path)
    rows = []
    for run in map(Path, parser.parse_args().runs):
        if not run.exists():
            train_run(run)
        rows.append((str(run), *(f"{share:.2f} %" for share in measure(run))))
    print(text_table(("validation top-1", *ORDERS), rows))


def train_run(run: Path) -> None:
    config = TrainConfig.load(CONFIGURATION, output=str(run))
    if run.name.endswith("_twin"):
        config.model.neuron = "relu"
    train(config)


@torch.no_grad()
def measure(run: Path) -> list[float]:
    folder = resolve_model_folder(run)
    card = Card.read(folder)
    model = ss.load(folder)
    assert card.data is not None
    loader = build_evaluation_loader(card.data, 64, card.preprocessing)
    hits, count = [0] * len(ORDERS), 0
    for images, labels in loader:
        frames = card.preprocessing.batch_transform(images)
        for number, rearrange in enumerate(ORDERS.values()):
            hits[number] += int((model(rearrange(frames)).argmax(1) == labels).sum())
        count += len(labels)
    return [100 * hit / count for hit in hits]


def shuffle(frames: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(frames.shape[:2], generator=generator).argsort(1)
    return frames[torch.arange(len(frames))[:, None], order]


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "in order": lambda frames: frames,
    "reversed": lambda frames: frames.flip(1),
    "shuffled": shuffle,
    "mean over time": lambda frames: frames.mean(1, keepdim=True).expand_as(frames),
}


if __name__ == "__main__":
    main()
