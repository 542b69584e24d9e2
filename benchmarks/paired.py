"""Paired trainings: several forms of a network, seed by seed, and what sets them apart.

A study has rows (the forms), and questions, each of which compares two rows. A run of a row with a
seed is one line of results.csv. What is there is not repeated, so a study can be stopped and given
again, with more seeds or rows; and runs under other settings are kept apart. A question is
answered by the differences of runs with the same seed: their mean, Student's 95 % interval, and
"inconclusive" where that holds zero. Fewer than five seeds leave a question open.
"""

from __future__ import annotations

import csv
import math
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from spikesight.processor import processor_name

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

_LEAST_SEEDS = 5

Results = list[dict[str, str]]


def parser_of(description: str | None, output: str, rows: Iterable[str]) -> ArgumentParser:
    """Options that every study has.

    Args:
        description: What --help says first.
        output: Default folder of the runs and results.csv.
        rows: Names that --only takes.
    """
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(output))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--only", nargs="+", choices=list(rows), metavar="ROW", help="these rows alone"
    )
    parser.add_argument("--table", action="store_true", help="show what is measured; run nothing")
    return parser


@dataclass(frozen=True)
class Question:
    """What changes from one row to another.

    Attributes:
        text: The change.
        row: With it.
        reference: Without it.
        paper: Points that the paper reports for it, "+1.7"; words where it reports none.
    """

    text: str
    row: str
    reference: str
    paper: str


@dataclass(frozen=True)
class Study:
    """Rows and questions about them.

    Attributes:
        rows: Names of the rows, as the table lists them.
        questions: What is asked.
        column: Of results.csv: the figure that is compared, in points.
        caption: What tables call it.
        further: Other columns whose means stand in the table, and what they are called.
    """

    rows: tuple[str, ...]
    questions: tuple[Question, ...]
    column: str
    caption: str
    further: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        results: Path,
        rows: Sequence[str],
        seeds: Sequence[int],
        settings: str,
        measure: Callable[[str, int], dict[str, Any]],
    ) -> None:
        """Measures what is not in the results yet, all rows of a seed before the next seed.

        Args:
            results: The file.
            rows: Names of the rows to run, in this order.
            seeds: Seeds to run.
            settings: What two runs must share to be compared.
            measure: Trains a row with a seed and returns its figures by column.
        """
        for seed in seeds:
            for row in rows:
                done = {(r["row"], r["seed"], r["settings"]) for r in read(results)}
                if (row, str(seed), settings) in done:
                    continue
                found = {"row": row, "seed": seed, "settings": settings, **measure(row, seed)}
                date = datetime.now(UTC).strftime("%Y-%m-%d")
                write(results, found | {"date": date, "processor": processor_name()})

    def table(self, results: Results) -> str:
        """What was measured, as Markdown; runs under different settings are kept apart."""
        parts = []
        for settings in dict.fromkeys(line["settings"] for line in results):
            chosen = [line for line in results if line["settings"] == settings]
            parts.append(f"`{settings}`\n\n{self._figures(chosen)}\n\n{self._answers(chosen)}")
        return "\n\n".join(parts)

    def _by_seed(self, results: Results, row: str, column: str) -> dict[int, float]:
        return {
            int(line["seed"]): float(line[column])
            for line in results
            if line["row"] == row and line[column]
        }

    def _figures(self, results: Results) -> str:
        captions = [f"{self.caption}, one value per seed", "mean", *self.further.values()]
        lines = [f"| row | {' | '.join(captions)} |", "|---" * (len(captions) + 1) + "|"]
        for row in self.rows:
            by_seed = self._by_seed(results, row, self.column)
            values = [by_seed[seed] for seed in sorted(by_seed)]
            cells = [", ".join(f"{value:.2f}" for value in values) or "not run"]
            cells.append(f"{mean(values):.2f}" if values else "")
            for column in self.further:
                others = list(self._by_seed(results, row, column).values())
                cells.append(
                    f"{mean(others):,.{0 if column == 'parameters' else 3}f}" if others else ""
                )
            lines.append(f"| {row} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _answers(self, results: Results) -> str:
        lines = [
            "| change | paper, points | ours, points (95 % interval) | seeds | verdict |",
            "|---|---|---|---|---|",
        ]
        for question in self.questions:
            row, reference = (
                self._by_seed(results, name, self.column)
                for name in (question.row, question.reference)
            )
            seeds = sorted(row.keys() & reference.keys())
            shown, verdict = answer([row[seed] - reference[seed] for seed in seeds], question.paper)
            lines.append(
                f"| {question.text} | {question.paper} | {shown} | {len(seeds)} | {verdict} |"
            )
        return "\n".join(lines)


def read(results: Path) -> Results:
    """The lines of a file of results; none if there is no file."""
    if not results.is_file():
        return []
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(results: Path, values: dict[str, Any]) -> None:
    """Appends a line to a file of results."""
    results.parent.mkdir(parents=True, exist_ok=True)
    fresh = not results.is_file()
    with results.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(values))
        if fresh:
            writer.writeheader()
        writer.writerow(values)


def answer(differences: Sequence[float], paper: str) -> tuple[str, str]:
    """The mean of paired differences with its interval, and what it says.

    Args:
        differences: One per seed, in points.
        paper: What the paper reports.
    """
    if not differences:
        return "not run", "not run"
    middle = mean(differences)
    if len(differences) == 1:
        return f"{middle:+.2f}", "open (one seed)"
    quantile = _T95[min(len(differences) - 1, len(_T95)) - 1]
    margin = quantile * stdev(differences) / math.sqrt(len(differences))
    shown = f"{middle:+.2f} ± {margin:.2f}"
    if abs(middle) <= margin:
        return shown, "inconclusive"
    if len(differences) < _LEAST_SEEDS:
        return shown, f"open ({len(differences)} of {_LEAST_SEEDS} seeds)"
    sign = "+" if middle > 0 else "−"
    if paper[0] not in "+−":
        return shown, "better" if middle > 0 else "worse"
    return shown, "the paper's sign" if paper[0] == sign else "against the paper"
