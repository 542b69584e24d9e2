"""The page: what stands where, and what happens when something is chosen, dropped or drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio
from gradio import Blocks

from spikesight.app import sections
from spikesight.app.examples import example, has_examples
from spikesight.app.looking import look
from spikesight.app.subjects import Shelf, Subject
from spikesight.app.uploads import read_drawing
from spikesight.app.viewers import Given
from spikesight.errors import UserError, lack_of_memory

_FOUND = 5  # parts of the page that show what was found
_SIMULTANEOUS = 2  # inputs that are looked at side by side
_QUEUE = "looking"
_BOARD = """<div class="board"><canvas width="280" height="280" tabindex="0" role="img"
aria-label="Board to draw on. Arrow keys move the pen, space puts it down and lifts it."></canvas>
<div class="row"><button type="button" class="look">Look at the drawing</button>
<button type="button" class="clear">Clear</button></div>
<small class="pen" aria-live="polite">Draw by mouse or finger, or by arrow keys and space.</small>
</div>
"""
Parts = tuple[str, ...]

log = logging.getLogger(__name__)


def build_page(shelf: Shelf) -> Blocks:
    """The page, which nobody sees before it is launched.

    Args:
        shelf: The models; the first is chosen at first.
    """
    first = shelf.offers[0]
    page: Blocks = gradio.Blocks(
        title="spikesight", analytics_enabled=False, delete_cache=(600, 1800)
    )
    with page:
        gradio.HTML(_TOP, elem_id="top")
        with gradio.Row(equal_height=False):
            with gradio.Column(scale=1, min_width=280):
                model = gradio.Dropdown(
                    shelf.names, value=first.name, label="Model", elem_id="model", filterable=True
                )
                file = gradio.File(label=_asked(first.name, shelf), elem_id="file", height=150)
                trial = gradio.Button(
                    "Try an example", visible=has_examples(first.viewer), elem_id="trial"
                )
                with gradio.Accordion(
                    "Draw", open=False, visible=first.viewer.takes_drawings, elem_id="draw"
                ) as drawer:
                    board = gradio.HTML(
                        "",
                        html_template=_BOARD,
                        apply_default_css=False,
                        js_on_load=_script("drawing.js"),
                        label="Draw",
                    )
            with gradio.Column(scale=3, min_width=320):
                answer = _part("answer", sections.hint(_FIRST))
                walk = _part("walk", script="walk.js")
                energy, speeds, rates = _part("energy"), _part("speeds"), _part("rates")
        count = gradio.State(0)
        found = [answer, walk, energy, speeds, rates]

        def look_at_file(name: str, path: str | None) -> Iterator[Parts]:
            if path is None:
                yield _blank(sections.hint(_FIRST))
                return
            yield from _shown(shelf, name, lambda subject: subject.viewer.read(Path(path)))

        def arrived(event: gradio.EventData) -> object:
            return getattr(event, "drawing", None)

        def look_at_drawing(name: str, address: object) -> Iterator[Parts]:
            def read(subject: Subject) -> Given:
                if not subject.viewer.takes_drawings:
                    raise UserError("this model did not learn from drawings; choose another one")
                return subject.viewer.of_photo(read_drawing(address).convert("RGB"), "the drawing")

            yield from _shown(shelf, name, read)

        def look_at_example(name: str, number: int) -> Iterator[Parts]:
            yield from _shown(
                shelf,
                name,
                lambda subject: subject.viewer.of_photo(
                    example(subject.viewer, number), f"example {number}"
                ),
            )

        def switch(name: str) -> tuple[Any, ...]:
            viewer = shelf.offer(name).viewer
            return (
                gradio.File(label=_asked(name, shelf)),
                gradio.Button(visible=has_examples(viewer)),
                gradio.Accordion(visible=viewer.takes_drawings),
            )

        looking: dict[str, Any] = {
            "outputs": found,
            "concurrency_limit": _SIMULTANEOUS,
            "concurrency_id": _QUEUE,
            "show_progress": "hidden",
            "trigger_mode": "multiple",
        }
        quick: dict[str, Any] = {"queue": False, "api_visibility": "private"}
        private: dict[str, Any] = {"api_visibility": "private"}
        drawing = gradio.State()
        # A quick step first, during which what was begun before is cancelled.
        dropped = file.upload(lambda: None, **quick).then(
            look_at_file, [model, file], api_name="look", **looking
        )
        drawn = board.submit(
            arrived,
            None,
            drawing,
            **quick,
        ).then(look_at_drawing, [model, drawing], **looking, **private)
        tried = trial.click(lambda number: number + 1, count, count, **quick).then(
            look_at_example, [model, count], **looking, **private
        )
        again = model.change(switch, model, [file, trial, drawer], **quick).then(
            look_at_file, [model, file], **looking, **private
        )
        file.clear(lambda: _blank(sections.hint(_FIRST)), None, found, **quick)
        for begun in (file.upload, file.clear, board.submit, trial.click, model.change):
            begun(None, None, None, cancels=[dropped, drawn, tried, again], **quick)
    return page


def _shown(shelf: Shelf, name: str, read: Callable[[Subject], Given]) -> Iterator[Parts]:
    """What is found of an input as parts of the page, or a sentence that says what is wrong."""
    try:
        yield _blank(sections.waiting(f"{shelf.offer(name).name} is looking …"))
        with shelf.entrance as entrance:
            if entrance.closed:
                return
            subject = shelf.subject(name)
            stages = look(subject, read(subject))
        before: list[Any] = [None] * _FOUND
        while True:
            # Not across a yield: who went away never comes back to the generator.
            with shelf.entrance as entrance:
                found = None if entrance.closed else next(stages, None)
                if found is None:
                    return
                parts = (
                    sections.answer_part(found),
                    sections.walk_part(found),
                    sections.energy_part(found),
                    sections.speed_part(found),
                    sections.rates_part(found),
                )
            yield tuple(
                gradio.skip() if part == old else part
                for part, old in zip(parts, before, strict=True)
            )
            before = list(parts)
    except (UserError, OSError) as error:
        yield _blank(sections.problem(f"{error}."))
    except Exception as error:
        lack = lack_of_memory(error)
        if lack is None:
            log.exception("a fault of spikesight, and none of the user's; please report it")
        yield _blank(sections.problem(lack or _FAULT))


def _part(name: str, value: str = "", script: str = "") -> gradio.HTML:
    return gradio.HTML(
        value,
        elem_id=name,
        apply_default_css=False,
        js_on_load=_script(script) if script else None,
    )


def _blank(answer: str) -> Parts:
    return (answer, *[""] * (_FOUND - 1))


def _asked(name: str, shelf: Shelf) -> str:
    viewer = shelf.offer(name).viewer
    if not viewer.takes_recordings:
        return "Photo"
    return "Photo or event recording" if viewer.takes_photos else "Event recording"


def _script(name: str) -> str:
    return files("spikesight.app").joinpath(name).read_text(encoding="utf-8")


_TOP = "<h1>spikesight</h1><p>What a spiking network sees, and every spike of it.</p>"
_FIRST = (
    "Drop a file, draw, or try an example: the answer, the spikes and what they cost come here."
)
_FAULT = (
    "That was a fault of spikesight and none of yours; the terminal that it runs in says more. "
    "Try another input."
)
