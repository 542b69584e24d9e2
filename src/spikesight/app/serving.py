"""Starts the page, and cleans up after it."""

from __future__ import annotations

import os
import socket
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from spikesight.errors import UserError, missing_package
from spikesight.files.limits import UPLOAD_BYTES
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.training.interruption import StopRequest

if TYPE_CHECKING:
    from gradio import Blocks

_HIGHEST_PORT = 65535
_POLL = 0.2  # seconds


class PageEnded(KeyboardInterrupt):
    """A signal ended the page.

    Attributes:
        signal_number: The signal; shells expect 128 + this as the exit code.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


def serve(models: Sequence[Path], host: str, port: int, *, browser: bool) -> None:
    """Shows the page until it is interrupted.

    Args:
        models: Own models, which stand first in the list.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        browser: Whether to open it in the browser.

    Raises:
        MissingPackageError: If gradio is not installed.
        UserError: If the port is taken or there is no such address, or a model cannot be shown.
        PageEnded: When SIGINT or SIGTERM ends it; uploads are gone then.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise UserError(f"port is {port}; pass 0 to {_HIGHEST_PORT}")
    port = free_port(host, port)
    with tempfile.TemporaryDirectory(prefix="spikesight-app-") as uploads:
        # Read when gradio is imported: uploads go here and vanish with the page.
        os.environ["GRADIO_TEMP_DIR"] = uploads
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            import gradio  # noqa: F401
        except ModuleNotFoundError as error:
            raise missing_package("the page", "gradio", "app") from error
        from spikesight.app.layout import build_page
        from spikesight.app.offers import find_offers
        from spikesight.app.subjects import Shelf

        shelf = Shelf(find_offers(models))
        page = build_page(shelf)
        try:
            address = launch(page, host, port, browser=browser)
            with StopRequest() as stop:
                print(f"spikesight is at {address} (Ctrl+C ends it)", flush=True)
                while not stop.signal_number:
                    time.sleep(_POLL)
                raise PageEnded(stop.signal_number)
        finally:
            shelf.entrance.close()
            page.close(verbose=False)


def launch(page: Blocks, host: str, port: int, *, browser: bool = False) -> str:
    """Shows the page from a thread of its own.

    Args:
        page: As `build_page` makes it.
        host: Address to listen on.
        port: A free port.
        browser: Whether to open it in the browser.

    Returns:
        Where it is.
    """
    from spikesight.app.style import page_style, theme

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            max_file_size=UPLOAD_BYTES.value,
            theme=theme(),
            # As an option of its own gradio would rewrite its selectors.
            head=f"<style>{page_style()}</style>",
        )
    return address


def free_port(host: str, port: int) -> int:
    """The port, once it is known to be free.

    Raises:
        UserError: If it is taken, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except socket.gaierror as error:
        raise UserError(f"host is {host!r}, which is no address; pass 127.0.0.1") from error
    except PermissionError as error:
        raise UserError(f"port {port} may not be used here; pass --port=7860") from error
    except OSError as error:
        raise UserError(
            f"port {port} of {host} cannot be used ({error.strerror}); pass another --port, or "
            "--port=0 for any that is free"
        ) from error
