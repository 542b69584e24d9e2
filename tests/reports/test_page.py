from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spikesight.reports.charts import Curve, bar_chart, legend, line_chart, sparkline
from spikesight.reports.confusions import confusion_matrix, counted
from spikesight.reports.firing_history import firing_history
from spikesight.reports.page import (
    Tile,
    bullets,
    commands,
    facts,
    folded,
    page,
    paragraph,
    percent,
    section,
    table,
    tiles,
)
from tests.reports.reading import Reader, assert_self_contained

NASTY = """<script>alert("x")</script> & 'y' <img src=http://a.b>"""

PARTS: list[Callable[[str], str]] = [
    lambda text: page(text, text),
    lambda text: paragraph(text),
    lambda text: bullets([text, text]),
    lambda text: tiles([Tile(text, text, text)]),
    lambda text: section(text),
    lambda text: folded(text, ""),
    lambda text: table([text, text], [[text, text]], [text, text]),
    lambda text: facts([(text, text)]),
    lambda text: legend([("spike", text)]),
    lambda text: bar_chart([text], [("twin", [1.0])], lambda _: text),
    lambda text: line_chart(text, [Curve(text, "spike", [(0, 1)])], text, lambda _: text),
]


@pytest.mark.parametrize("part", PARTS)
def test_text_comes_out_as_it_went_in(part: Callable[[str], str]) -> None:
    reader = Reader(part(NASTY))
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert NASTY in reader.text


def test_a_page_asks_for_nothing_from_outside() -> None:
    reader = assert_self_contained(page("Title", "Lead", section("A", paragraph("b"))))
    assert reader.tags[0] == "html"
    assert {"Title", "Lead", "A", "b"} <= set(reader.texts)


def test_the_style_serves_dark_rooms_and_phones() -> None:
    html = page("Title", "Lead")
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert "@media (max-width" in html


def test_percent() -> None:
    assert percent(0.1234) == "12.3 %"
    assert percent(0.996, 0) == "100 %"


def widths(html: str) -> list[float]:
    return [float(part.split(")")[0]) for part in html.split("var(--room) * ")[1:]]


def test_bars_are_as_long_as_their_values() -> None:
    html = bar_chart(["a", "b"], [("spike", [1.0, 0.0]), ("twin", [4.0, 2.0])], "{:.1f}".format)
    assert widths(html) == [0.25, 1.0, 0.0, 0.5]
    assert {"1.0", "0.0", "4.0", "2.0"} <= set(Reader(html).texts)


def test_bars_of_nothing() -> None:
    assert widths(bar_chart(["a"], [("spike", [0.0])], str)) == [0.0]
    assert "nan" not in bar_chart([], [("spike", [])], str)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_bars_refuse_what_has_no_length(value: float) -> None:
    with pytest.raises(ValueError, match=r"layer7 is .*; pass values"):
        bar_chart(["layer7"], [("spike", [value])], str)


def test_bars_refuse_another_number_of_names() -> None:
    with pytest.raises(ValueError, match="2 values for 1 names"):
        bar_chart(["a"], [("spike", [1.0, 2.0])], str)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.floats(-1e6, 1e6, allow_subnormal=False)), min_size=1
    )
)
def test_curves_stay_within_the_chart(points: list[tuple[int, float]]) -> None:
    html = line_chart("c", [Curve("a", "spike", sorted(points))], "epoch", "{:g}".format)
    path = html.split('points="')[1].split('"')[0]
    for pair in path.split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 400
        assert 0 <= y <= 250
    assert html.count("<circle") == len(points)
    assert 2 <= html.count("<line") <= 8


def test_higher_values_are_higher_up() -> None:
    html = line_chart("c", [Curve("a", "twin", [(1, 10.0), (2, 90.0)])], "epoch", str)
    first, second = (
        [float(number) for number in pair.split(",")]
        for pair in html.split('points="')[1].split('"')[0].split()
    )
    assert first[0] < second[0]
    assert first[1] > second[1]


@pytest.mark.parametrize("points", [[], [(1.0, float("nan"))]])
def test_curves_refuse_nothing_and_nan(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="'accuracy'"):
        line_chart("accuracy", [Curve("a", "spike", points)], "epoch", str)


def test_commands_come_out_as_they_can_be_typed() -> None:
    line = "spikesight val 'a b' && echo <x>"
    reader = Reader(commands([("Measure it", line)]))
    assert line in reader.texts


def test_a_small_curve_stays_within_its_cell_and_says_what_it_shows() -> None:
    points = [(float(epoch), epoch / 1000) for epoch in range(1, 301)]
    html = sparkline("firing <of> a", points, 0.3)
    path = html.split('points="')[1].split('"')[0].split()
    assert len(path) <= 61
    for pair in path:
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 150
        assert 0 <= y <= 26
    assert "firing &lt;of&gt; a" in html
    assert "nan" not in sparkline("a", [(1, 0.0)], 0.0)


def test_layers_that_fall_silent_are_said_to_be() -> None:
    html = firing_history({"a": [(1, 0.1), (2, 0.0)], "b": [(1, 0.2), (2, 0.4)]})
    text = Reader(html).text
    assert "silent" in text
    assert "up to 40.0 %" in text
    assert "40.0 % after epoch 2" in html


@pytest.mark.parametrize(("classes", "pictures"), [(3, 0), (40, 1), (400, 0)])
def test_confusions_of_any_number_of_classes(classes: int, pictures: int) -> None:
    counts = torch.eye(classes, dtype=torch.int64) * 5
    counts[1, 2] = 7
    reader = Reader(confusion_matrix(counts, [f"<{n}>" for n in range(classes)]))
    assert len(reader.pictures) == pictures
    assert "58.3 %" in reader.text
    assert "<2>" in reader.text


def test_pairs_are_counted_by_truth_and_guess() -> None:
    truths, guesses = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 0, 1])
    assert counted(truths, guesses, 2).tolist() == [[1, 0], [2, 1]]
