from pathlib import Path

import numpy as np
import pytest

import spikesight as ss
from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events import event_frames, read_events
from spikesight.data.events.stored import save_events

T, Z, ON = np.arange(4), np.zeros(4, int), np.ones(4, bool)


def _events(**changes: object) -> ss.Events:
    arguments = {"t": T, "x": Z, "y": Z, "polarity": ON, "width": 4, "height": 4}
    return ss.Events(**{**arguments, **changes})


@pytest.mark.parametrize(
    "polarity",
    [
        [-1, 1, -1, 1],
        [0, 1, 0, 1],
        [False, True, False, True],
        [-1.0, 1.0, -1.0, 1.0],
        np.array([0, 1, 0, 1], np.uint8),
    ],
)
def test_darker_and_brighter_in_every_notation(polarity: object) -> None:
    counts = event_frames(_events(polarity=polarity), frames=1).sum((0, 2, 3))
    assert counts.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("name", "values", "named"),
    [
        ("polarity", np.array([-1, 0, 1, 1]), "two words for darker"),
        ("polarity", np.array([0, 255, 0, 1]), "polarity of event 1 is 255"),
        ("polarity", np.array([0.5, 1, 0, 1]), "polarity of event 0 is 0.5"),
        ("polarity", np.array([np.nan, 1, 0, 1]), "polarity of event 0 is nan"),
        ("polarity", np.array(["on", "off", "on", "off"]), "polarity holds <U3"),
        ("t", np.array([0.1, 0.2, 0.3, 0.9]), "t of event 0 is 0.1"),
        ("t", np.array([0, np.nan, 2, 3]), "t of event 1 is nan"),
        ("t", np.array([0, 1, 2, np.inf]), "t of event 3 is inf"),
        ("t", np.array([0, 1, 2, 2**63], np.uint64), "t of event 3 is 9223372036854775808"),
        ("t", np.array([0, 1, 2, 2**25 + 4], np.float32), "t of event 3 .*float32"),
        ("t", np.array([0, 1, 2, 3], "M8[us]"), "t holds datetime64"),
        ("t", np.array([0, 1, 2, None]), "t holds object"),
        ("t", np.ma.array(T, mask=[0, 0, 1, 0]), "t has masked entries"),
        ("t", T[:3], "beside 3 times"),
        ("x", np.array([0.9, 1.9, 0, 0]), "x of event 0 is 0.9"),
        ("x", np.array([2**32, 0, 0, 0]), "x of event 0 is 4294967296"),
        ("y", np.array([0, -(2**40), 0, 0]), "y of event 1 is"),
        ("y", Z[:, None], r"y has shape \(4, 1\)"),
    ],
)
def test_a_value_that_a_cast_would_change_is_refused_by_name(
    name: str, values: np.ndarray, named: str
) -> None:
    with pytest.raises(DataError, match=named):
        _events(**{name: values})


@pytest.mark.parametrize(
    ("name", "value"), [("width", 4.5), ("height", "4"), ("width", 0), ("origin", "lower right")]
)
def test_a_sensor_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(DataError, match=r"lower left|above 0|whole number"):
        _events(**{name: value})


def test_whole_numbers_of_any_type_are_taken() -> None:
    events = _events(t=T.astype(np.float64) * 1e6, x=Z.astype(np.float32), y=Z.astype(np.uint8))
    assert events.t.dtype == np.int64
    assert events.t.tolist() == [0, 1_000_000, 2_000_000, 3_000_000]
    assert (events.x.dtype, events.y.dtype) == (np.int32, np.int32)
    assert len(_events(t=[], x=[], y=[], polarity=[])) == 0


def test_a_file_of_fractions_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "seconds.npz"
    np.savez(file, t=T / 10, x=Z, y=Z, polarity=ON, sensor=np.array([4, 4, 0]))
    with pytest.raises(CorruptRecordingError, match=r"seconds.npz: t of event 1 is 0.1"):
        read_events(file)
    np.savez(file, t=T, x=Z, y=Z, polarity=np.array([-1, 1, 1, 1]), sensor=np.array([4, 4, 0]))
    assert read_events(file).polarity.tolist() == [False, True, True, True]


def test_a_wide_sensor_comes_back_from_a_file(tmp_path: Path) -> None:
    events = _events(x=[0, 70_000, 3, 4], width=80_000)
    save_events(events, tmp_path / "wide.npz")
    assert read_events(tmp_path / "wide.npz").x.tolist() == [0, 70_000, 3, 4]


def test_times_that_leave_64_bits_in_products_are_refused() -> None:
    for t in ([0, 1, 2, 2**62], [-(2**63), 0, 1, 2**63 - 1]):
        with pytest.raises(DataError, match=r"event \d comes \d+ us after the first"):
            _events(t=np.array(t))
    assert event_frames(_events(t=T + 2**62), frames=4, slicing="time").sum() == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("slicing", "counts"), ("frames", 2.5), ("frames", 0), ("channels", 4), ("size", "4")],
)
def test_options_of_frames_are_refused_without_events_too(name: str, value: object) -> None:
    empty = _events(t=[], x=[], y=[], polarity=[])
    for events in (empty, _events()):
        with pytest.raises(DataError, match=name):
            event_frames(events, **{name: value})
