"""The command line's view of the page: call; it says where it is."""

from __future__ import annotations

from pathlib import Path


def app_command(
    models: list[Path], host: str = "127.0.0.1", port: int = 7860, browser: bool = True
) -> None:
    """Shows a page in the browser: drop a photo, see the answer, every spike and what it costs.

    The models that come along can be chosen, and own ones that are named. Nothing leaves this
    machine, and uploads vanish when the page is closed (Ctrl+C).

    Args:
        models: Folders of runs or of models, .spk files, names of models that come along, or hub
            ids; the first one is shown first.
        host: Address to listen on; 0.0.0.0 lets other machines in, whoever they are.
        port: Port to listen on; 0 takes any that is free.
        browser: Whether to open the page in the browser.
    """
    from spikesight.app.serving import serve

    serve(models, host, port, browser=browser)
