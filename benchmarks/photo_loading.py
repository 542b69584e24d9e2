"""Photos per second of processor time that one worker reads: from a folder, a tar file, shards.

    OMP_NUM_THREADS=1 python benchmarks/photo_loading.py photos/ --image-size=224

The photos of a folder of classes are packed into a tar file and into shards in a temporary folder.
Each is read as in training (decoded, a random crop resized) in this process alone, in rounds that
take turns; the medians are compared. "Reading" leaves decoding out: what comes from the disk, or
from the system's memory of it.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from spikesight.data import BatchLoader, DataConfig, build_loaders
from spikesight.data.batches import EncodedImages
from spikesight.data.shards.writing import write_shards
from spikesight.reports.text_table import text_table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shard-bytes", type=int, default=4 << 20)
    parser.add_argument("--buffer", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        loaders = prepare(options, Path(temporary))
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
        for round_ in range(options.rounds + 1):
            for name, loader in loaders.items():
                measured = measure(loader, round_)
                if round_:  # the first fills the system's memory
                    seconds[name].append(measured)
    rows, results = [], {}
    for name, taken in seconds.items():
        reading, whole = median(one for one, _ in taken), median(both for _, both in taken)
        rows.append((name, f"{1 / whole:.1f}", f"{1e6 * reading:.0f}"))
        results[name] = {"photos_per_second": 1 / whole, "reading_us": 1e6 * reading}
    print(text_table(("", "photos/s", "reading, us a photo"), rows))
    print(json.dumps(results))


def prepare(options: argparse.Namespace, folder: Path) -> dict[str, BatchLoader[Tensor, Tensor]]:
    """The training loaders of the same photos."""
    fields = {
        "image_size": options.image_size,
        "random_resized_crop": 0.5,
        "workers": 0,
        "shuffle_buffer": options.buffer,
        "validation_fraction": 0.02,
    }
    path = str(options.photos)
    with tarfile.open(folder / "photos.tar", "w") as archive:
        archive.add(path, "photos")
    write_shards(DataConfig("folder", path), folder / "shards", options.shard_bytes)
    places = {"folder": path, "tar": str(folder / "photos.tar"), "shards": str(folder / "shards")}
    return {
        name: build_loaders(DataConfig(name, place, **fields), 32, seed=0).train
        for name, place in places.items()
    }


def measure(loader: BatchLoader[Tensor, Tensor], epoch: int) -> tuple[float, float]:
    """Seconds of processor time a photo: reading it, and all that is done with it."""
    loader.set_epoch(epoch)
    assert isinstance(loader.dataset, EncodedImages)
    source = loader.dataset.source
    positions = source.positions[list(loader.sampler)].tolist()
    started = time.process_time()
    for position in positions:
        source.archive.read(position)
    reading = (time.process_time() - started) / len(positions)
    started = time.process_time()
    seen = sum(len(labels) for _, labels in loader)
    return reading, (time.process_time() - started) / seen


if __name__ == "__main__":
    main()
