"""`python -m spikesight`: the command line of an environment whose scripts are not on the path."""

from __future__ import annotations

import sys

from spikesight.commands.parser import main

if __name__ == "__main__":
    sys.exit(main())
