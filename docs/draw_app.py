"""Draws docs/app.png and docs/app_390.png: `spikesight app` after examples, in a browser.

It needs the extras app and dev, and Debian's Chromium: `python docs/draw_app.py`.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from spikesight.app.serving import free_port, launch

HOST = "127.0.0.1"
_EXAMPLES = 3  # the last of so many has several digits
_SIZES = {"app.png": (1280, 1000), "app_390.png": (390, 844)}
_WAIT = 300_000  # milliseconds
_COLOURS = 128


def main() -> None:
    """Starts the page, tries examples and writes what is seen."""
    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from spikesight.app.layout import build_page
        from spikesight.app.offers import find_offers
        from spikesight.app.subjects import Shelf

        shelf = Shelf(find_offers())
        page = build_page(shelf)
        address = launch(page, HOST, free_port(HOST, 0))
        try:
            with sync_playwright() as playwright:
                found = shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
                for name, size in _SIZES.items():
                    draw(browser, address, Path(__file__).with_name(name), size)
                browser.close()
        finally:
            shelf.entrance.close()
            page.close(verbose=False)


def draw(browser: Browser, address: str, file: Path, size: tuple[int, int]) -> None:
    """Writes the page at one size."""
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
    tab.set_default_timeout(_WAIT)
    tab.goto(address)
    for number in range(1, _EXAMPLES + 1):
        tab.click("#trial")
        tab.wait_for_selector(f".answer img[alt^='example {number}']")
        tab.wait_for_selector("#rates .bars")
    picture = Image.open(io.BytesIO(tab.screenshot()))
    picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    tab.close()


if __name__ == "__main__":
    main()
