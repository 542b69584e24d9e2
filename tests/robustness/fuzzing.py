"""Damaged inputs for every reader; a reader's name and a number give one input again.

python -m tests.robustness.fuzzing --cases 20000
python -m tests.robustness.fuzzing --reader tar --seed 4711
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from tests.robustness.damage import Damage
from tests.robustness.guard import KINDS, Outcome, Trial, judge, run_cases

Prepare = Callable[[Damage, Path], Trial]
FAULTS = ("unnamed", "uncaught", "unsound", "hang", "memory", "broken")


@dataclass(frozen=True)
class Reader:
    """A reader of what users bring.

    Attributes:
        name: How the table calls it.
        prepare: Writes an input into a folder, damaged or not.
        share: Share of all cases.
    """

    name: str
    prepare: Prepare
    share: float

    def trial(self, seed: int, folder: Path) -> Trial:
        """The damaged input of a number."""
        return self.prepare(Damage(Random(f"{self.name} {seed}")), folder)

    def sound(self, folder: Path) -> Trial:
        """The input without damage."""
        return self.prepare(Damage(None), folder)

    def cases(self, total: int) -> int:
        """How many of all cases are this reader's."""
        return math.ceil(self.share * total)


def readers() -> dict[str, Reader]:
    """All readers by name."""
    from tests.robustness import (
        archives,
        array_files,
        checkpoints,
        documents,
        exported_files,
        image_files,
        objects,
        recordings,
        saved_models,
        scenes,
        shards,
        state_dicts,
    )

    modules = (
        image_files,
        archives,
        shards,
        array_files,
        recordings,
        scenes,
        objects,
        documents,
        saved_models,
        exported_files,
        checkpoints,
        state_dicts,
    )
    found = [reader for module in modules for reader in module.READERS]
    total = sum(weight for _, _, weight in found)
    return {name: Reader(name, prepare, weight / total) for name, prepare, weight in found}


def fuzz(reader: Reader, first: int, count: int, folder: Path) -> list[Outcome]:
    """Runs a reader's cases `first`, `first` + 1, and so on.

    Args:
        reader: The reader.
        first: The first number.
        count: How many.
        folder: For their files.
    """
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    sound = folder / "sound"
    sound.mkdir()
    kind, text = judge(reader.sound(sound))
    assert kind == "accepted", f"{reader.name}: the sound input is {kind}: {text}"
    return run_cases(reader.trial, range(first, first + count), folder)


def faults(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The cases that show a fault."""
    return [outcome for outcome in outcomes if outcome.kind in FAULTS]


def table(results: dict[str, Sequence[Outcome]]) -> str:
    """Cases by reader and kind."""
    rows = [("reader", "cases", *KINDS, "CPU s", "longest s")]
    for name, outcomes in [*results.items(), ("all", [o for r in results.values() for o in r])]:
        counts = Counter(outcome.kind for outcome in outcomes)
        seconds = [outcome.seconds for outcome in outcomes]
        numbers = (len(outcomes), *(counts[kind] for kind in KINDS))
        times = (f"{sum(seconds):.1f}", f"{max(seconds, default=0):.2f}")
        rows.append((name, *map(str, numbers), *times))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        " ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="number of cases over all readers")
    parser.add_argument("--first", type=int, default=0, help="first number of each reader")
    parser.add_argument("--reader", nargs="*", help="readers; all if omitted")
    parser.add_argument("--seed", type=int, help="show one case of one reader")
    parser.add_argument("--keep", type=Path, help="write the files of that case here")
    parser.add_argument("--show", type=int, default=2, help="faults shown of each reader and place")
    options = parser.parse_args()
    chosen = {n: r for n, r in readers().items() if not options.reader or n in options.reader}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        if options.seed is not None:
            (reader,) = chosen.values()
            folder = options.keep or Path(temporary)
            folder.mkdir(exist_ok=True)
            trial = reader.trial(options.seed, folder)
            print(trial.damage, *judge(trial), sep="\n")
            return
        results: dict[str, Sequence[Outcome]] = {}
        for name, reader in chosen.items():
            count = reader.cases(options.cases)
            results[name] = fuzz(reader, options.first, count, Path(temporary) / name)
            _print_faults(name, results[name], options.show)
    print(table(results))


def _print_faults(name: str, outcomes: Sequence[Outcome], most: int) -> None:
    places: dict[str, list[Outcome]] = {}
    for outcome in faults(outcomes):
        place = f"{outcome.kind} {outcome.text.partition(': ')[0]}"
        places.setdefault(place, []).append(outcome)
    for place, found in sorted(places.items(), key=lambda item: -len(item[1])):
        print(f"{name}: {len(found)} x {place}", flush=True)
        for outcome in found[:most]:
            message = outcome.text.partition(": ")[2]
            print(f"    seed {outcome.seed}: {message[:300]!r}\n        <- {outcome.damage[:300]}")


if __name__ == "__main__":
    _main()
