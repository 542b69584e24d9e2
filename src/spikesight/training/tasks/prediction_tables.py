"""What a model sees, as tables for other programs: CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikesight.files.replacing import write_text

TABLE_ENDINGS = (".csv", ".json")


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    records: Sequence[dict[str, Any]],
) -> None:
    """Writes rows as CSV, or records as JSON.

    Args:
        path: A file ending in .csv or .json.
        columns: Of the CSV.
        rows: Values by column.
        records: What JSON says of each.
    """
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
