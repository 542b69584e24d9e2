"""The series of the Sign Language Digits data set (Mavi, 2020), for `data.groups`.

A student shows 0, 1, ... 9 one after the other, and photos are numbered as they were taken: where
the digit does not rise or ten numbers are left out, another student begins. Runs that follow one
another at once and share no digit are one series, taken up again.

    python benchmarks/sign_digits_series.py sign-digits > sign-digits/series.csv
"""

from __future__ import annotations

import csv
import re
import sys
from itertools import pairwise
from pathlib import Path


def find_series(folder: Path) -> list[list[Path]]:
    """The photos of each student, in the order in which they were taken.

    Args:
        folder: Holds `train/DIGIT/IMG_NUMBER.JPG`.
    """
    photos = sorted((_number(file), int(file.parent.name), file) for file in _photos(folder))
    if not photos:
        raise SystemExit(f"{folder}: holds no train/DIGIT/IMG_NUMBER.JPG; pass the unpacked folder")
    runs = [[photos[0]]]
    for before, photo in pairwise(photos):
        if photo[1] <= before[1] or photo[0] - before[0] > 10:
            runs.append([])
        runs[-1].append(photo)
    series = [runs[0]]
    for run in runs[1:]:
        shown = {digit for _, digit, _ in series[-1]}
        if run[0][0] - series[-1][-1][0] == 1 and shown.isdisjoint(digit for _, digit, _ in run):
            series[-1] += run
        else:
            series.append(run)
    return [[file for _, _, file in run] for run in series]


def _photos(folder: Path) -> list[Path]:
    return [
        file
        for file in (folder / "train").glob("[0-9]/*")
        if file.suffix.lower() == ".jpg" and _number(file) >= 0
    ]


def _number(file: Path) -> int:
    found = re.search(r"\d+", file.stem)
    return int(found[0]) if found else -1


def main(folder: Path) -> None:
    """Prints the table."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "group"])
    for number, files in enumerate(find_series(folder)):
        for file in files:
            table.writerow([file.relative_to(folder).as_posix(), f"{number:03}"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
