"""Real recordings of event cameras, read, cut, framed, pictured and classified end to end.

    python benchmarks/real_recordings.py events/dvs.es events/evt2.raw

Each recording is cut into pieces of equally many events; the question is which recording a piece
is from. Training sees the first three quarters of every recording and validation the rest, so
pieces are apart in time. A small Meta-SpikeFormer and its ANN twin learn it, the spiking one is
deployed and its integers are proved equal to its spikes. That is a test of the whole path on real
events, not of recognition: the recordings show different scenes through different sensors.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spikesight as ss
from spikesight.data.events import read_events, save_events
from spikesight.reports.text_table import text_table
from spikesight.training import Evaluation, TrainConfig, from_mapping, train
from spikesight.training.tasks.validation import sample_images

RECORDINGS = [Path("events/dvs.es"), Path("events/evt2.raw")]
_TRAINED = 0.75
_FRAMES, _SIZE = 4, 32


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", nargs="*", type=Path, default=RECORDINGS, help="two or more")
    parser.add_argument("--output", type=Path, default=Path("runs/real_recordings"))
    parser.add_argument("--events", type=int, default=4000, help="of a piece")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args(arguments)
    if len(options.recordings) < 2:
        parser.error("pass two recordings or more: each is a class")
    data = options.output / "pieces"
    shutil.rmtree(data, ignore_errors=True)  # of another --events
    for recording in options.recordings:
        cut(recording, data, options.events)
    rows = []
    for neuron in ("i_lif", "relu"):
        folder = options.output / neuron
        result = train(configuration(neuron, data, folder, options.epochs))
        assert isinstance(result.last, Evaluation)
        rows.append((neuron, f"{result.last.top1:.2f} %", f"{result.last.images}"))
    print(text_table(("neuron", "top-1", "pieces not trained on"), rows))
    x = sample_images(options.output / "i_lif", count=4)
    network = ss.deploy(ss.load(options.output / "i_lif" / "last"), x)
    found = network.verify(x, against=("spikes",)).mismatches
    print(f"integers against spikes: {found} mismatches in {len(x)} pieces")


def cut(recording: Path, data: Path, events: int) -> None:
    """Writes a recording in pieces, with a picture of the first one."""
    whole = read_events(recording)
    pieces = [whole.select(slice(n, n + events)) for n in range(0, len(whole) - events, events)]
    name = recording.stem
    for number, piece in enumerate(pieces):
        part = "train" if number < _TRAINED * len(pieces) else "val"
        save_events(piece, data / part / name / f"{number:04}.npz")
    ss.save_gif(ss.event_frames(pieces[0], frames=_FRAMES, size=256), data / f"{name}.gif")
    print(f"{recording}: {len(whole):,} events, {len(pieces)} pieces, {data / name}.gif")


def configuration(neuron: str, data: Path, output: Path, epochs: int) -> TrainConfig:
    """One run on the pieces; their frames are the time steps."""
    values: dict[str, Any] = {
        "model": {"name": "metaspikformer_nano", "neuron": neuron, "steps": _FRAMES},
        "output": str(output),
        "data": {
            "format": "event_folders",
            "path": str(data),
            "image_size": _SIZE,
            "channels": 2,
            "validation_fraction": 0,
            "events": {"frames": _FRAMES, "slicing": "time"},
        },
        "optimizer": {"lr": 2e-3},
        "epochs": epochs,
        "batch_size": 16,
        "validate_every": epochs,
        "seed": 0,
    }
    if neuron != "relu":
        values["model"]["levels"] = 4
    return from_mapping(TrainConfig, values)


if __name__ == "__main__":
    main()
