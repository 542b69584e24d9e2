"""`python -m spikesight.cli`, as version 0.1 had it; `python -m spikesight` is the same."""

from __future__ import annotations

import sys

from spikesight.commands.parser import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
