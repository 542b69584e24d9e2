"""The page in a browser, and many users at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spikesight.app.offers import find_offers
from spikesight.app.serving import free_port, launch, serve
from spikesight.app.subjects import Shelf
from spikesight.commands.parser import main
from spikesight.errors import UserError
from tests.app.small_models import save_classifier, save_photo

pytest.importorskip("gradio", reason="gradio, of the extra app, is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_WAIT = 60_000  # milliseconds, on a busy machine
_USERS = 20
_ODD = tuple(f"${{1+{number}}}{{{{7}}}}<b>" for number in range(10))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("models")
    grey = save_classifier(folder / "grey")
    colour = save_classifier(folder / "colour", channels=3, classes=_ODD)
    return Shelf(find_offers([grey, colour])[:2])


@pytest.fixture(scope="module")
def address(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from spikesight.app.layout import build_page

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        page = build_page(shelf)
        yield launch(page, "127.0.0.1", free_port("127.0.0.1", 0))
        shelf.entrance.close()
        page.close(verbose=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright, of the extra dev, is not installed"
    )
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    outside: list[str] = []
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.set_default_timeout(_WAIT)
    tab.on("request", lambda request: outside.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("#file")
    yield tab
    assert all(url.startswith((address, "data:", "blob:")) for url in outside)
    context.close()


def drop(tab: Any, file: Path) -> None:
    tab.set_input_files("#file input[type=file]", str(file))


def test_an_upload_is_answered_proved_and_walked_through(tab: Any, tmp_path: Path) -> None:
    drop(tab, save_photo(tmp_path / "${1+1}<b>{{7}}.png"))
    tab.wait_for_selector(".badge.good")
    assert "0 mismatches" in tab.inner_text(".badge")
    described = tab.get_attribute(".answer img", "alt")  # gradio leaves out what is no letter
    assert re.fullmatch(r".*1\+1.*7.*\.png, as it was read", described)
    tab.wait_for_selector("#rates .bars")
    assert "ANN of equal bits" in tab.inner_text("#energy")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390

    def frames() -> str:
        style: str = tab.evaluate(
            "getComputedStyle(document.querySelector('.frames')).backgroundPositionY"
        )
        return style

    tab.focus(".walker input")
    assert frames() == "100%"
    tab.keyboard.press("Home")
    assert frames() == "0%"
    tab.keyboard.press("ArrowRight")
    assert frames() == "50%"
    assert tab.inner_text(".walker output") == "step 2 of 3"
    tab.click(".play")
    tab.wait_for_function("document.querySelector('.walker output').textContent == 'step 3 of 3'")


def test_every_control_has_a_name(tab: Any, tmp_path: Path) -> None:
    drop(tab, save_photo(tmp_path / "a.png"))
    tab.wait_for_selector("#walk .walker")
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll('button, input, canvas, img')].filter(e =>
        e.offsetParent && !(e.ariaLabel || e.title || e.alt || e.innerText || e.labels?.length ||
        e.getAttribute('aria-labelledby'))).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []


def test_bad_files_are_answered_by_a_sentence_and_good_ones_after_them(
    tab: Any, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    large = tmp_path / "large.png"
    Image.new("1", (8000, 8000)).save(large)
    recording = tmp_path / "recording.aedat"
    recording.write_bytes(b"#!AER-DAT9")
    for file, says in (
        (text, "text.png: not a readable photo"),
        (large, "64,000,000 pixels"),
        (recording, "recording.aedat is no photo by its name"),
        (save_photo(tmp_path / "a.png"), "a.png"),
    ):
        if file != text:
            tab.click("#file button[aria-label=Clear], #file button[title=Clear]")
            tab.wait_for_selector(".problem", state="detached")
        drop(tab, file)
        if file.name == "a.png":
            tab.wait_for_selector(".badge.good")
        else:
            shown = tab.wait_for_selector(".problem").inner_text()
            assert says in shown, shown
            assert "Traceback" not in shown
            assert "/" not in shown


def test_a_drawing_is_looked_at_by_keyboard(tab: Any) -> None:
    tab.click("#draw button")
    tab.wait_for_selector("canvas")
    tab.click(".board .look")
    assert "draw something" in tab.wait_for_selector(".problem").inner_text()
    tab.focus("canvas")
    for key in (" ", *["ArrowDown"] * 8, *["ArrowRight"] * 4):
        tab.keyboard.press(key)
    tab.click(".board .look")
    tab.wait_for_selector(".badge.good")


def test_another_model_looks_at_the_same_photo(tab: Any, shelf: Shelf, tmp_path: Path) -> None:
    drop(tab, save_photo(tmp_path / "a.png"))
    tab.wait_for_selector(".answer")
    tab.click("#model input")
    tab.click(f"[role=option]:has-text('{shelf.names[1]}')")
    tab.wait_for_function(
        "name => document.querySelector('.who')?.textContent == name + ' sees'",
        arg=shelf.names[1],
    )
    tab.wait_for_selector(".badge.good")
    assert not tab.is_visible("#draw")
    assert tab.inner_text(".says") in _ODD  # no template, no HTML


def test_a_second_photo_ends_the_look_at_the_first(
    tab: Any, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = shelf.subject(shelf.names[0]).speeds
    assert speeds is not None
    released = threading.Event()
    monkeypatch.setattr(speeds, "measure", lambda x: released.wait(60) and _raise())
    drop(tab, save_photo(tmp_path / "first.png"))
    tab.wait_for_selector("#rates .bars")
    tab.click("#file button[aria-label=Clear], #file button[title=Clear]")
    tab.wait_for_selector(".answer", state="detached")
    tab.set_input_files("#file input[type=file]", str(save_photo(tmp_path / "second.png", 1)))
    tab.wait_for_selector(".answer img[alt^=second]")
    released.set()
    tab.wait_for_selector("#speeds :text('not timed')")
    assert tab.get_attribute(".answer img", "alt") == "second.png, as it was read"


def test_twenty_users_at_once_get_their_own_answers(
    address: str, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio_client import Client, handle_file

    subject = shelf.subject(shelf.names[0])
    assert subject.speeds is not None
    monkeypatch.setattr(subject.speeds, "measure", lambda x: _raise())
    photos = []
    for number in range(_USERS):
        (tmp_path / str(number)).mkdir()
        photos.append(save_photo(tmp_path / str(number) / "same.png", number))

    def ask(photo: Path) -> list[str]:
        client = Client(address, verbose=False)
        job = client.submit(shelf.names[0], handle_file(str(photo)), api_name="/look")
        job.result(timeout=120)
        return [str(output[0]) for output in job.outputs()]

    with ThreadPoolExecutor(_USERS) as pool:
        answers = list(pool.map(ask, photos))
    wanted = [subject.answer(subject.viewer.read(photo)).shares for photo in photos]
    assert len({str(shares) for shares in wanted}) == _USERS
    for pages, shares in zip(answers, wanted, strict=True):
        answered = [page for page in pages if 'class="answer"' in page]
        bars = re.findall(r"<code>(\d)</code>.*?<span>([\d.]+ %)", answered[-1])
        assert bars == [(name, f"{100 * share:.1f} %") for name, share in shares]
        assert "0 mismatches" in answered[-1]


def _raise() -> None:
    raise UserError("not timed in this test")


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", f"--port={port}", "--browser=false"]) == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err
    assert main(["app", "--port=70000"]) == 2
    assert main(["app", "--host=nowhere.invalid"]) == 2
    assert main(["app", "nowhere", "--port=0", "--browser=false"]) == 2
    said = capsys.readouterr().err
    assert "pass 0 to 65535" in said
    assert "no address" in said
    assert "no trained model in nowhere" in said


def test_a_signal_ends_the_page_and_nothing_is_left(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "spikesight", "app", "--port=0", "--browser=false"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    page = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    assert "spikesight is at http://127.0.0.1:" in page.stdout.readline()
    assert list(tmp_path.glob("spikesight-app-*"))
    page.send_signal(signal.SIGTERM)
    assert page.wait(timeout=120) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("spikesight-app-*"))


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install 'spikesight\[app\]'"):
        serve([], "127.0.0.1", 0, browser=False)
