"""What can be done with a trained run, as commands to copy."""

from __future__ import annotations

import shlex
from pathlib import Path


def steps_of_a_network(run: Path, files: str = "photos/") -> list[tuple[str, str]]:
    """What every finished network can do: look, be proved, counted and deployed.

    Args:
        run: Its folder.
        files: What it looks at.

    Returns:
        What each command does, and the command.
    """
    name = shlex.quote(str(run))
    network, exported = (shlex.quote(f"{run.name}.{ending}") for ending in ("spk", "onnx"))
    return [
        (
            "See what it makes of other images",
            f"spikesight predict {name} {files} --html=seen.html",
        ),
        ("Prove that its counts are spikes", f"spikesight verify {name}"),
        ("Count its energy", f"spikesight energy {name} --html=energy.html"),
        ("Make it one integer network", f"spikesight deploy {name} {network}"),
        ("Audit that network", f"spikesight audit {network} --run={name} --html=audit.html"),
        ("Take it to another runtime", f"spikesight export {network} {exported}"),
    ]
