"""What predict prints, draws and writes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.data import DataConfig, EventPreprocessing, Preprocessing
from spikesight.data.events import save_events
from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.inference import PanopticRules, ViewConfig
from spikesight.reports.overlays import draw_overlay
from spikesight.training.runs.card import Card
from spikesight.training.tasks.classification.prediction import (
    Prediction,
    _thumbnail,
    draw_contact_sheet,
)
from tests.reports.reading import assert_self_contained

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
HALVES = (0.5, 0.5, 0.5)
Run = Callable[..., Path]


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Writes an untrained classifier to run/best of a fresh current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def write(*names: str) -> Path:
        model = ss.create_model("metaspikformer_nano", num_classes=len(names), **SIZES).eval()
        model.save_pretrained("run/best")
        preprocessing = Preprocessing(16, 3, HALVES, HALVES, 1.0, names)
        Card(DataConfig(), preprocessing, 1, "model", None).write(Path("run/best"))
        return Path("run")

    return write


@pytest.fixture
def segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Writes an untrained panoptic segmenter to run/best of a fresh current folder."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> Path:
        model = ss.create_model("spike2former_nano", num_classes=len(names)).eval()
        model.save_pretrained("run/best")
        table = table_of(names, (1,))
        preprocessing = ScenePreprocessing(HALVES, HALVES, (64, 64), None, table)
        view = ViewConfig(panoptic=PanopticRules(0.0, 0.0))
        data = SceneConfig(format="digit_scenes")
        Card(data, preprocessing, 1, "model", None, "panoptic", view=view).write(Path("run/best"))
        return Path("run")

    return write


def photo(path: str | bytes, size: tuple[int, int] = (20, 16)) -> None:
    Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(os.fsdecode(path))


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_names_are_printed_and_drawn_as_they_are(
    classifier: Run, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    names = (
        "cat [tabby]",
        "cat [/b]",
        "two\nlines",
        "$\\frac$",
        "café 猫",
    )
    classifier(*names)
    files = [
        "p/photo [copy].png",
        "p/bad$\\frac$.png",
        "p/\x1b[31m.png",
        "p/" + "long" * 60 + ".png",
    ]
    for file in files:
        photo(file)
    assert main(["predict", "run", "p", "--output=new/sheet.png", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    for name in (*files[:2], "p/\\x1b[31m.png", files[3], *names[:2]):
        assert name in out
    for name in ("two\\nlines", "$\\frac$", "café 猫"):
        assert name in out
    assert "\x1b" not in out
    assert Image.open("new/sheet.png").size[0] > 300
    assert not [w for w in recwarn if "layout" in str(w.message) or "Glyph" in str(w.message)]

    assert main(["predict", "run", *files, "--output=guesses.csv", "--device=cpu"]) == 0
    rows = rows_of("guesses.csv")
    assert {row["file"] for row in rows} >= {*files[:2], "p/\\x1b[31m.png"}
    assert not Path("predictions.png").exists()

    photo(b"caf\xe9.png")
    capsys.readouterr()
    assert main(["predict", "run", os.fsdecode(b"caf\xe9.png")]) == 2
    assert "the name caf\\xe9.png is not UTF-8; rename it" in capsys.readouterr().err


def test_photos_are_upright_in_the_sheet(tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 40))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "phone.jpg", exif=exif)
    assert _thumbnail(Prediction(tmp_path / "phone.jpg", [("a", 1.0)])).size == (40, 80)


def test_guesses_are_written_as_tables(classifier: Run, capsys: pytest.CaptureFixture[str]) -> None:
    classifier("cat", "dog", "cow")
    photo("photos/a.png")
    photo("photos/deep/b.png")
    words = ["predict", "run", "photos", "--device=cpu"]
    assert main([*words, "--output=o/g.json"]) == 0
    assert main([*words, "--output=o/sheet.png", "--table=o/g.csv"]) == 0
    assert "guesses in o/g.csv" in capsys.readouterr().out
    records = json.loads(Path("o/g.json").read_text())
    assert [record["file"] for record in records] == ["photos/a.png", "photos/deep/b.png"]
    for row, record in zip(rows_of("o/g.csv"), records, strict=True):
        guesses = record["guesses"]
        assert len(guesses) == 3
        assert sum(guess["probability"] for guess in guesses) == pytest.approx(1, abs=1e-5)
        assert (row["class"], float(row["probability"])) == tuple(guesses[0].values())
        assert (row["class_3"], float(row["probability_3"])) == tuple(guesses[2].values())
    assert main([*words, "--output=a.csv", "--table=b.csv"]) == 2
    assert "pass one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--output=guesses", "--output=there", "--output=g.txt", "--table=t.png"]
)
def test_places_are_checked_first(
    option: str, classifier: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier("cat", "dog")
    Path("there").mkdir()
    assert main(["predict", "run", "missing.png", option]) == 2
    assert option.partition("=")[2] in capsys.readouterr().err


def test_cut_sheets_say_so(classifier: Run, capsys: pytest.CaptureFixture[str]) -> None:
    classifier("cat", "dog")
    for number in range(43):
        photo(f"photos/{number}.png")
    assert main(["predict", "run", "photos", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "pictures in predictions.png (the first 40 of 43)" in out
    assert out.count("photos/") == 43


def test_own_pictures_are_no_photos(classifier: Run, capsys: pytest.CaptureFixture[str]) -> None:
    classifier("cat", "dog")
    photo("a.png")
    photo("old.png")  # as an earlier version wrote it, without a mark
    for output in ("first.png", "old.png", "old.png"):
        assert main(["predict", "run", ".", f"--output={output}", "--device=cpu"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", ".", "first.png", "--output=x.png", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "a.png" in out
    assert "first.png" not in out
    assert "old.png" not in out
    assert main(["predict", "run", "first.png"]) == 2
    assert "holds only pictures that predict wrote" in capsys.readouterr().err


def test_recordings_of_one_name_have_a_gif_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ss.create_model(
        "metaspikformer_nano", num_classes=2, in_channels=2, steps=2, **SIZES
    ).save_pretrained("run")
    preprocessing = EventPreprocessing(16, 2, 2, classes=("x", "y"), saccades=True)
    Card(DataConfig(), preprocessing, 1, "model", None).write(Path("run"))
    for number, folder in enumerate(("x", "y")):
        n = 20 + number
        events = ss.Events(
            np.arange(n), np.full(n, number), np.zeros(n, int), np.ones(n, bool), 16, 16
        )
        save_events(events, f"{folder}/rec.npz")
    for _ in range(2):  # GIFs of the first time are no photos the second time
        assert main(["predict", "run", ".", "--output=g.png", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "x/rec.npz" in out
    assert "y/rec.npz" in out
    assert sorted(p.name for p in Path().glob("*.gif")) == ["g_rec.gif", "g_rec_2.gif"]


def test_segments_are_written_as_tables(segmenter: Run, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter("ground", "ball", "wall [old]")
    photo("photos/a.png", (64, 64))
    photo("photos/sub/a.png", (32, 32))
    words = ["predict", "run", str(Path("photos").resolve()), "--device=cpu"]
    assert main([*words, "--output=photos/seen", "--table=photos/s.csv"]) == 0
    out = capsys.readouterr().out
    assert "photos/sub/a.png: photos/seen/a_2_overlay.png, photos/seen/a_2_classes.png" in out
    assert main([*words, "--output=s.json"]) == 0  # what the first call wrote is no photo
    records = json.loads(Path("s.json").read_text())
    assert {record["file"] for record in records} == {"photos/a.png", "photos/sub/a.png"}
    rows = rows_of("photos/s.csv")
    assert [row["pixels"] for row in rows] == [str(record["pixels"]) for record in records]
    annotation = json.loads(Path("photos/seen/panoptic.json").read_text())["annotations"][0]
    info = {segment["id"]: segment for segment in annotation["segments_info"]}
    first = [record for record in records if record["file"] == "photos/a.png"]
    assert first
    for record in first:
        segment = info[record["segment"]]
        assert record["pixels"] == segment["area"] == round(record["share"] * 64 * 64)
        assert [record[k] for k in ("left", "top", "width", "height")] == segment["bbox"]
        assert record["object"] == (record["class"] == "ball")
        assert record["frame"] is None


def test_own_videos_are_no_videos(segmenter: Run, capsys: pytest.CaptureFixture[str]) -> None:
    av = pytest.importorskip("av")
    segmenter("ground", "ball")
    Path("films").mkdir()
    with av.open("films/v.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    photo("films/v_000001.png", (64, 64))
    for output in ("films/first", "films/second"):
        capsys.readouterr()
        assert main(["predict", "run", "films", f"--output={output}", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "films/v.mp4",
        "films/v_000001.png",
    ]
    annotations = json.loads(Path("films/second/panoptic.json").read_text())["annotations"]
    names = [annotation["file_name"] for annotation in annotations]
    assert len(set(names)) == len(names) == 2


def test_a_sheet_of_no_ending_is_not_written(tmp_path: Path) -> None:
    photo(str(tmp_path / "a.png"))
    draw_contact_sheet([Prediction(tmp_path / "a.png", [("a", 1.0)])], tmp_path / "deep" / "s.pdf")
    assert (tmp_path / "deep" / "s.pdf").is_file()


def test_a_class_called_like_the_remainder_has_its_colour() -> None:
    import torch

    from spikesight.data.segmentation import semantic_truth

    table = table_of(("and grass", os.fsdecode(b"caf\xe9")))
    truth = semantic_truth(torch.zeros(64, 64, dtype=torch.int32), 2)
    picture = np.asarray(draw_overlay(torch.zeros(3, 64, 64, dtype=torch.uint8), truth, table))
    legend = picture[:, 64 * 4 :].reshape(-1, 3)
    assert (legend == table.colours[0]).all(1).sum() > 20


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_outputs_replace_no_photo_and_no_model(
    name: str, classifier: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier("cat", "dog")
    photo(f"p/{name}")
    photo("p/b.png")
    before = Path(f"p/{name}").read_bytes()
    words = ["predict", "run", "p", "--device=cpu"]
    assert main(["predict", "run", "p", f"p/{name}", f"--output=p/{name}"]) == 2
    assert f"p/{name}: is to be looked at and would be replaced" in capsys.readouterr().err
    assert Path(f"p/{name}").read_bytes() == before
    sheet = Path(name).with_stem("sheet")
    for _ in range(2):  # the second time its own sheet lies there
        assert main([*words, f"--output=p/{sheet}"]) == 0
    card = Path("run/best/config.json").read_text()
    for option in ("output", "table"):
        assert main([*words, f"--{option}=run/best/config.json"]) == 2
        assert "config.json is part of a model or run" in capsys.readouterr().err
    assert Path("run/best/config.json").read_text() == card


def test_guesses_are_written_as_a_page(classifier: Run, capsys: pytest.CaptureFixture[str]) -> None:
    classifier("<cat>", "dog")
    for number in range(62):
        photo(f"photos/{number:02}.png")
    assert main(["predict", "run", "photos", "--html=pages/seen.html", "--device=cpu"]) == 0
    assert "page in pages/seen.html" in capsys.readouterr().out
    page = assert_self_contained(Path("pages/seen.html").read_text(encoding="utf-8"))
    assert len(page.pictures) == 60
    assert "62 file(s), of which 60 pictures are shown" in page.text
    assert "<cat>" in page.text
    assert not Path("predictions.png").exists()
    assert main(["predict", "run", "photos/00.png", "--html=a.htm", "--output=g.csv"]) == 0
    assert Path("a.htm").exists()
    assert len(rows_of("g.csv")) == 1
    for html in ("page.png", "photos", "run/best/config.json"):
        assert main(["predict", "run", "photos", f"--html={html}"]) == 2
        assert "html" in capsys.readouterr().err


def test_segments_are_written_as_a_page(segmenter: Run) -> None:
    segmenter("ground", "ball")
    photo("photos/a.png", (64, 64))
    assert main(["predict", "run", "photos", "--html=seen.html", "--device=cpu"]) == 0
    page = assert_self_contained(Path("seen.html").read_text(encoding="utf-8"))
    assert len(page.pictures) == 1
    assert "photos/a.png" in page.text
    assert not Path("predictions").exists()
