"""What a check answers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from spikesight.reports.text_table import text_table

Verdict = Literal["clean", "note", "FINDING", "not examined"]


@dataclass(frozen=True)
class Answer:
    """One row of a report.

    Attributes:
        check: What was asked: "random", "batch", "batch in training", "axes", "state", "train and
            eval", "reads", "gradient" or "firing".
        verdict: "clean"; "note" for what is worth knowing and no fault; "FINDING"; or "not
            examined", where the text says why.
        module: Path of the module that causes it, "(itself)" for the one that was passed; empty
            where the whole network is meant.
        text: What was seen, and the remedy.
    """

    check: str
    verdict: Verdict
    module: str
    text: str


@dataclass(frozen=True)
class CheckReport:
    """What a check of one network answers.

    Attributes:
        answers: Every row, in the order of the questions.
    """

    answers: tuple[Answer, ...]

    @property
    def findings(self) -> tuple[Answer, ...]:
        """The faults that were found."""
        return tuple(answer for answer in self.answers if answer.verdict == "FINDING")

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def table(self, most: int = 8) -> str:
        """The answers as aligned text.

        Args:
            most: Rows of one check and verdict; the others are counted.
        """
        shown: list[tuple[str, str, str, str]] = []
        for (check, verdict), group in groupby(self.answers, lambda a: (a.check, a.verdict)):
            rows = [(check, verdict, answer.module, answer.text) for answer in group]
            shown += rows[:most]
            if len(rows) > most:
                shown.append((check, verdict, "", f"and {len(rows) - most} more modules"))
        return text_table(("check", "verdict", "module", "what was seen"), shown, left=4)
