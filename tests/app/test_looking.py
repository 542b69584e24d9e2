"""What is found of an input, without a browser."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.app import layout
from spikesight.app.looking import Findings, look
from spikesight.app.offers import find_offers
from spikesight.app.sections import answer_part, energy_part, rates_part, speed_part, walk_part
from spikesight.app.spike_walk import walk_spikes
from spikesight.app.style import page_style, scoped
from spikesight.app.subjects import Shelf, Subject
from spikesight.app.uploads import read_drawing, read_photo
from spikesight.data.events import Events, save_events
from spikesight.errors import UserError
from spikesight.files.shipped import weights_names
from tests.app.small_models import save_classifier, save_event_classifier, save_photo
from tests.reports.reading import assert_self_contained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def subject(folder: Path) -> Subject:
    return Shelf(find_offers([folder])).subject(str(folder))


@pytest.fixture(scope="module")
def found(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    photo = save_photo(tmp_path_factory.mktemp("photos") / "a<b>.png")
    *_, last = look(subject, subject.viewer.read(photo))
    return last


def test_the_answer_is_that_of_the_pipeline(subject: Subject, folder: Path, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.png")
    answer = subject.answer(subject.viewer.read(photo))
    net = subject.network
    assert net is not None
    wanted = ss.pipeline(net, run=folder, device="cpu")(photo)
    assert answer.shares == [(guess["label"], guess["score"]) for guess in wanted]
    assert answer.says == wanted[0]["label"]


def test_every_count_of_the_very_input_is_compared(found: Findings) -> None:
    comparison = found.comparison
    assert not isinstance(comparison, str | None)
    assert comparison.equal
    assert comparison.samples == 1
    page = answer_part(found)
    counts = sum(layer.elements for layer in comparison.layers)
    assert f"{counts:,} counts" in page
    assert "integers = spikes" in page
    assert "a&lt;b&gt;.png" in page


def test_spikes_add_up_to_counts(subject: Subject, found: Findings) -> None:
    net = subject.network
    assert net is not None
    walk = walk_spikes(net, found.given.x)
    assert (walk.steps, walk.levels, walk.length) == (1, 3, 3)
    counts, _ = net._executor.observe(found.given.x)
    for layer in walk.layers:
        assert torch.allclose(layer.maps[-1].double(), counts[layer.name][0].double().mean(0))
        assert (layer.maps.diff(dim=0) >= 0).all()
    assert {layer.name for layer in walk.layers} == {
        name for name, count in counts.items() if min(count.shape[-2:]) > 1
    }


def test_all_parts_are_there_and_ask_for_nothing(found: Findings) -> None:
    parts = [part(found) for part in (answer_part, walk_part, energy_part, speed_part, rates_part)]
    for html in parts:
        assert_self_contained(html.replace("url('data:", "('data:"))
    _, walk, energy, speeds, rates = parts
    assert 'type="range" min="1" max="3"' in walk
    assert "ANN of equal bits" in energy
    assert "PyTorch" in speeds
    assert rates.count("<code>") == len(found.report.firing_rates)  # type: ignore[union-attr]


def test_closing_waits_for_what_is_being_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(find_offers([folder]))
    closing = threading.Thread(target=shelf.entrance.close)
    waited: list[bool] = []

    def write(found: Findings) -> str:
        if not waited:
            closing.start()
        closing.join(0.05)
        waited.append(closing.is_alive())
        return rates_part(found)

    monkeypatch.setattr(layout.sections, "rates_part", write)
    photo = save_photo(tmp_path / "a.png")
    looks = list(layout._shown(shelf, str(folder), lambda seen: seen.viewer.read(photo)))
    closing.join()
    assert waited == [True]
    assert len(looks) == 2  # that it looks, and what was found before it closed


def test_what_is_not_known_yet_is_said(found: Findings) -> None:
    early = Findings(found.subject, found.given, found.answer)
    for part in (answer_part, walk_part, energy_part, speed_part, rates_part):
        assert 'role="status"' in part(early)


def test_a_model_that_cannot_be_deployed_answers_and_says_why(tmp_path: Path) -> None:
    torch.manual_seed(0)
    twin = ss.create_model("metaspikformer_nano", num_classes=10, in_channels=1, neuron="relu")
    save_classifier(tmp_path)
    twin.save_pretrained(tmp_path)
    subject = Shelf(find_offers([tmp_path])).subject(str(tmp_path))
    *_, last = look(subject, subject.viewer.read(save_photo(tmp_path / "a.png")))
    assert subject.network is None
    assert last.answer.shares
    assert "Not deployable" in answer_part(last)


def test_recordings_are_for_models_of_events(subject: Subject, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    count = 400
    events = Events(
        t=np.arange(count, dtype=np.int64) * 100,
        x=random.integers(0, 16, count, np.int32),
        y=random.integers(0, 16, count, np.int32),
        polarity=random.integers(0, 2, count) > 0,
        width=16,
        height=16,
    )
    file = tmp_path / "recording.npz"
    save_events(events, file)
    seen = Shelf(find_offers([save_event_classifier(tmp_path / "model")]))
    of_events = seen.subject(seen.names[0])
    *_, last = look(of_events, of_events.viewer.read(file))
    assert not isinstance(last.walk, str | None)
    assert last.walk.steps == 2
    assert not isinstance(last.comparison, str | None)
    assert last.comparison.equal
    photo = save_photo(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is a photo, and this model learned from record"):
        of_events.viewer.read(photo)
    with pytest.raises(UserError, match=r"recording\.npz is no photo by its name"):
        subject.viewer.read(file)
    file.write_bytes(b"no recording")
    with pytest.raises(UserError) as refused:
        of_events.viewer.read(file)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK", "RGB"])
def test_photos_of_every_mode_are_read(mode: str, tmp_path: Path) -> None:
    ending = "jpg" if mode == "CMYK" else "png"
    file = tmp_path / f"photo.{ending}"
    Image.new("RGBA", (3, 5), (255, 0, 0, 128)).convert(mode).save(file)
    photo = read_photo(file)
    assert (photo.mode, photo.size) == ("RGB", (3, 5))
    if mode == "RGBA":  # on white
        assert photo.getpixel((0, 0)) == (255, 127, 127)


def test_bad_photos_are_named_without_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    deep = tmp_path / "deep.png"
    Image.new("I;16", (4, 4)).save(deep)
    large = tmp_path / "large.png"
    Image.new("1", (8000, 8000)).save(large)
    for file, says in (
        (text, "not a readable photo"),
        (empty, "not a readable photo"),
        (deep, "8 bits"),
        (large, "64,000,000 pixels of an upload are more than the 50,000,000"),
        (tmp_path / "gone.png", "gone.png"),
    ):
        with pytest.raises(UserError, match=says) as refused:
            read_photo(file)
        assert str(tmp_path) not in str(refused.value)
    monkeypatch.setenv("SPIKESIGHT_MAX_UPLOAD_BYTES", "10")
    with pytest.raises(UserError, match="bytes of an upload are more than the 10"):
        read_photo(large)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("photo.jpg", "photo.png"):
        mode = "RGB" if name.endswith("jpg") else "RGBA"
        Image.new(mode, (6, 4)).save(tmp_path / name, exif=exif)
        assert read_photo(tmp_path / name).size == (4, 6)


def address(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def test_a_drawing_is_centred() -> None:
    board = Image.new("RGBA", (280, 280), (0, 0, 0, 0))
    board.paste((255, 255, 255, 255), (10, 20, 50, 100))
    drawn = read_drawing(address(board))
    assert (drawn.mode, drawn.size) == ("L", (100, 100))
    assert drawn.getbbox() == (30, 10, 70, 90)
    for bad, says in (
        (address(Image.new("RGBA", (280, 280), (0, 0, 0, 0))), "nothing is drawn"),
        ("data:image/png;base64,AAAA", "not a readable drawing"),
        ("data:image/png;base64,%", "whole"),
        (address(board) + "A" * (1 << 20), "draw less"),
        (None, "did not arrive"),
    ):
        with pytest.raises(UserError, match=says):
            read_drawing(bad)


def test_what_comes_along_is_offered_behind_own_models(folder: Path) -> None:
    names = Shelf(find_offers([folder, folder])).names
    assert names == [str(folder), "digit_scenes", *weights_names()]


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no trained model in"):
        find_offers([tmp_path / "nowhere"])
    (tmp_path / "net.onnx").write_text("")
    with pytest.raises(UserError, match="is an export"):
        find_offers([tmp_path / "net.onnx"])
    with pytest.raises(UserError, match="there is no model 'x' here"):
        Shelf(find_offers()).subject("x")


def test_a_spk_file_can_be_looked_at(subject: Subject, folder: Path, tmp_path: Path) -> None:
    net = subject.network
    assert net is not None
    net.card = (folder / "run.json").read_text()
    net.save(tmp_path / "net.spk")
    again = Shelf(find_offers([tmp_path / "net.spk"])).subject(str(tmp_path / "net.spk"))
    photo = save_photo(tmp_path / "a.png")
    one, other = (each.answer(each.viewer.read(photo)) for each in (subject, again))
    assert one.shares == other.shares


def test_styles_hold_within_the_parts_alone() -> None:
    style = page_style()
    assert "@scope (.sight)" in style
    assert ".dark .sight {" in style
    assert "prefers-color-scheme" not in style
    assert "http" not in style
    assert ":root" not in scoped(
        ":root { a: b }\n@media (prefers-color-scheme: dark) {\n:root {c}}"
    )
