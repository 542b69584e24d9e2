"""How the page looks: the style of reports in its own elements, and a theme of these colours."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}\s*\}", re.DOTALL)
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def page_style() -> str:
    """The style sheet: that of reports below `.sight`, then that of the page."""
    own = _read("spikesight.app", "app.css")
    return f"{scoped(_read('spikesight.reports', 'style.css'))}\n{own}"


def scoped(style: str) -> str:
    """A style sheet of a page that holds below `.sight` alone.

    Its dark colours hold below gradio's class `dark`, which follows the system unless the address
    of the page says otherwise.

    Args:
        style: With its colours in `:root`, the dark ones in a media query.
    """
    found = _DARK.search(style)
    assert found is not None
    light = _DARK.sub("", style, count=1).replace(":root {", ":scope {")
    return f".dark .sight {{ color-scheme: dark; {found[1]} }}\n@scope (.sight) {{\n{light}\n}}"


def theme() -> Any:
    """Calm surfaces and fonts of the system; nothing is fetched."""
    import gradio

    base = gradio.themes.Base(
        primary_hue=gradio.themes.colors.orange,
        neutral_hue=gradio.themes.colors.stone,
        font=_SANS,
        font_mono=_MONO,
    )
    return base.set(
        body_background_fill="#fbfaf8",
        body_background_fill_dark="#14171b",
        body_text_color="#1d2126",
        body_text_color_dark="#e9e7e3",
        body_text_color_subdued="#616973",
        body_text_color_subdued_dark="#a0a8b2",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1c2026",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1c2026",
        block_border_width="1px",
        block_border_color="#e4e1db",
        block_border_color_dark="#30363e",
        block_radius="14px",
        block_shadow="none",
        block_label_text_color="#1d2126",
        block_label_text_color_dark="#e9e7e3",
        block_title_text_color="#1d2126",
        block_title_text_color_dark="#e9e7e3",
        block_title_text_weight="600",
        button_primary_background_fill="#b34f00",
        button_primary_background_fill_dark="#f0883e",
        button_primary_background_fill_hover="#963f00",
        button_primary_background_fill_hover_dark="#ffa763",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#14171b",
        button_primary_text_color_hover="#ffffff",
        button_primary_text_color_hover_dark="#14171b",
        button_secondary_background_fill="#efece6",
        button_secondary_background_fill_dark="#2a3038",
        button_secondary_text_color="#1d2126",
        button_secondary_text_color_dark="#e9e7e3",
        input_background_fill="#ffffff",
        input_background_fill_dark="#14171b",
        input_border_color="#c9c4bb",
        input_border_color_dark="#4a525c",
        link_text_color="#0072b2",
        link_text_color_dark="#56b4e9",
    )


def _read(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
