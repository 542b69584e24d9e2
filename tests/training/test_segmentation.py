"""Segmenters train, resume, validate and predict like every other model."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spikesight
from spikesight.commands.parser import main
from spikesight.commands.training import val_command
from spikesight.data.segmentation import SceneConfig, read_panoptic_json, read_scenes
from spikesight.inference import PanopticRules, ViewConfig
from spikesight.training import (
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    Trainer,
    TrainingInterrupted,
    from_mapping,
    parameter_groups,
    train,
)
from spikesight.training.runs.card import Card
from spikesight.training.tasks.options import PredictionOptions, ValidationOptions
from spikesight.training.tasks.segmentation.evaluation import PanopticFigures, SemanticFigures
from spikesight.training.tasks.segmentation.prediction import segment_files
from spikesight.training.tasks.validation import sample_images, validate
from tests.training.conftest import stop_after

from .child import start_pair

CLOCK = {"seconds", "images_per_second", "peak_memory"}
WIDTHS = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
TRUNK = {**WIDTHS, "separable_kernel": 3}
SMALL: dict[str, Any] = {
    "model": {
        "name": "spike2former_nano",
        "arguments": {
            "trunk_options": {**TRUNK, "strides": [2, 2, 2, 1, 1]},
            "width": 16,
            "heads": 2,
            "queries": 8,
            "encoder_layers": 1,
            "encoder_hidden": 16,
            "groups": 2,
            "decoder_layers": 1,
            "decoder_hidden": 16,
        },
    },
    "scenes": {
        "format": "digit_scenes",
        "crop_size": [32, 40],
        "scenes": 24,
        "validation_scenes": 6,
        "flip": True,
        "photometric_distortion": True,
    },
    "segmentation": {"loss": {"auxiliary_pixel_loss": 1.0}},
    "schedule": {"name": "poly", "warmup_updates": 0},
    "optimizer": {"trunk_lr_scale": 0.5},
    "epochs": 2,
    "batch_size": 4,
    "limit_batches": 4,
    "log_every": 2,
}
Build = Callable[..., TrainConfig]


@pytest.fixture
def small(tmp_path: Path) -> Build:
    """Builds a quick run; "scenes__workers=1" changes a nested field."""

    def build(task: str, output: str = "run", **changes: Any) -> TrainConfig:
        values = copy.deepcopy(SMALL) | {"output": str(tmp_path / output), "task": task}
        if task == "panoptic":
            values["segmentation"]["loss"]["points"] = 64
        for key, value in changes.items():
            place = values
            *parents, name = key.split("__")
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return from_mapping(TrainConfig, values)

    return build


def rows(config: TrainConfig) -> list[dict[str, str]]:
    with (Path(config.output) / "metrics.csv").open() as file:
        return [{k: v for k, v in r.items() if k not in CLOCK} for r in csv.DictReader(file)]


def tensors(config: TrainConfig) -> dict[str, torch.Tensor]:
    last = Path(config.output) / "last"
    return load_file(last / "model.safetensors") | load_file(last / "training.safetensors")


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_runs_resume_bit_for_bit_and_validate_alike(task: str, small: Build) -> None:
    view: dict[str, Any] = {"flip": True} if task == "semantic" else {"panoptic": {"overlap": 0.5}}
    options: dict[str, Any] = {"segmentation__view": view}
    options |= {"ema__decay": 0.9, "firing_rate__weight": 0.1, "schedule__warmup_updates": 3}
    straight, broken = small(task, "straight", **options), small(task, "broken", **options)
    result = train(straight)
    broken.resume = True
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(6))
    assert train(broken) == type(result)(Path(broken.output), result.best, result.last)
    assert rows(broken) == rows(straight)
    expected, got = tensors(straight), tensors(broken)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []

    kind = SemanticFigures if task == "semantic" else PanopticFigures
    assert isinstance(result.last, kind)
    assert 0 < result.last.firing_rate < 1  # type: ignore[operator]
    again = validate(result.folder / "last", ValidationOptions(batch_size=3))
    assert again.columns() == pytest.approx(result.last.columns(), rel=1e-5, abs=1e-3)
    assert set(kind.COLUMNS) <= {name.removeprefix("val_") for name in rows(straight)[0]}
    with pytest.raises(ValueError, match="holds a segmenter"):
        Card.read(result.folder / "last", "classification")


def test_two_processes_validate_like_one(small: Build, tmp_path: Path) -> None:
    result = train(small("semantic", epochs=1))
    log = tmp_path / "log"
    processes = start_pair(["val", str(result.folder / "last"), "--batch_size=1"], log)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    figures = validate(result.folder / "last")
    text = log.with_suffix(".0").read_text()
    assert f"mIoU {figures.columns()['miou']:.2f} %" in text
    assert "on 6 images" in text
    assert "mIoU" not in log.with_suffix(".1").read_text()


def test_two_processes_train(small: Build, tmp_path: Path) -> None:
    config = small("semantic", epochs=1, limit_batches=2)
    path = tmp_path / "config.yaml"
    path.write_text(config.dump())
    processes = start_pair(["train", str(path)], tmp_path / "log")
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    (row,) = rows(config)
    alone = validate(Path(config.output) / "last")
    assert alone.columns()["pixel_accuracy"] == pytest.approx(
        float(row["val_pixel_accuracy"]), abs=1e-3
    )


def classifier(folder: Path, classes: int = 10) -> spikesight.SpikingModel:
    model: spikesight.SpikingModel = spikesight.create_model(
        "metaspikformer_nano", num_classes=classes, neuron="ni_lif", levels=4, **TRUNK
    )
    model.save_pretrained(folder)
    return model


def test_segmenters_start_from_a_classifier(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = classifier(tmp_path / "classifier")
    config = small("semantic", model__weights=str(tmp_path / "classifier"))
    trainer = Trainer(config)
    saved = first.trunk.state_dict()  # type: ignore[union-attr]
    started = trainer.model.trunk.trunk.state_dict()  # type: ignore[union-attr]
    assert saved.keys() == started.keys()
    assert all(torch.equal(saved[name], started[name]) for name in saved)
    assert "the trunk starts from" in capsys.readouterr().out
    other = small("semantic", "other", model__weights=str(tmp_path / "classifier"))
    other.model.arguments["trunk_options"]["widths"] = [4, 4, 8, 16, 16]
    with pytest.raises(ValueError, match=r"does not fit the trunk: trunk\..*another shape"):
        Trainer(other)


def test_segmenters_take_the_trunk_of_another_kind(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small("semantic", model__weights=str(tmp_path / "pixels"))
    pixels = spikesight.create_model(
        "spike_fpn_nano",
        num_classes=4,
        neuron="ni_lif",
        levels=4,
        trunk_options=config.model.arguments["trunk_options"],
    )
    pixels.save_pretrained(tmp_path / "pixels")
    saved = pixels.trunk.trunk.state_dict()
    started = Trainer(config).model.trunk.trunk.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(saved[name], started[name]) for name in started)
    assert "the trunk starts from" in capsys.readouterr().out


def test_segmenters_start_from_one_with_other_classes(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small("semantic", model__weights=str(tmp_path / "more"))
    wanted = config.model
    spikesight.create_model(
        wanted.name,
        num_classes=13,
        neuron=wanted.neuron,
        levels=wanted.levels,
        **wanted.arguments,
    ).save_pretrained(tmp_path / "more")
    trainer = Trainer(config)
    assert "fresh classifier" in capsys.readouterr().out
    saved = load_file(tmp_path / "more" / "model.safetensors")
    own = trainer.model.state_dict()
    different = [name for name in own if own[name].shape != saved[name].shape]
    assert different
    assert all(torch.equal(own[n], saved[n]) for n in own if n not in different)
    with pytest.raises(ValueError, match=r"model\.num_classes is 13 but the scenes have 11"):
        Trainer(small("semantic", "wide", model__num_classes=13))


def test_learning_rates_and_decay_of_a_segmenter(small: Build) -> None:
    model = Trainer(small("semantic")).model
    groups = parameter_groups(model, 0.1, trunk_lr_scale=0.1)
    scale = {name: group["lr_scale"] for group in groups for name in group["names"]}
    decay = {name: group["weight_decay"] for group in groups for name in group["names"]}
    assert {value for name, value in scale.items() if name.startswith("trunk.")} == {0.1}
    assert {value for name, value in scale.items() if not name.startswith("trunk.")} == {1.0}
    assert model.no_weight_decay()
    assert all(decay[name] == 0 for name in model.no_weight_decay())
    optimizer = OptimizerConfig(lr=0.4, trunk_lr_scale=0.1).build(model, 4)
    schedule = ScheduleConfig(name="poly", power=2.0, warmup_updates=0, min_lr=0.0)
    built = schedule.build(optimizer, 10, 5)
    built.step_update(5)
    rates = sorted({group["lr"] for group in optimizer.param_groups})
    assert rates == pytest.approx([0.4 * 0.25 * 0.1, 0.4 * 0.25])


def test_photos_videos_and_folders_are_segmented(small: Build, tmp_path: Path) -> None:
    import av

    config = small("panoptic", epochs=1, segmentation__view={"panoptic": {"overlap": 0.1}})
    run = train(config).folder
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    source = read_scenes(SceneConfig(crop_size=(50, 61)), "val")
    for file in (photos / "a.png", photos / "deep" / "a.png"):
        Image.fromarray(source.read(0).image.permute(1, 2, 0).numpy()).save(file)
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    with av.open(str(photos / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(5):
            array = np.full((48, 64, 3), 50 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
    output = photos / "out"
    words = ["predict", str(run), str(photos), f"--output={output}", "--every=2"]
    for _ in range(2):  # what is in the output is not segmented the second time
        assert main([*words, "--view.panoptic.object_score=0"]) == 0
    names = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert names == {
        *(f"{stem}_{kind}.png" for stem in ("a", "a_2", "dot") for kind in ("overlay", "classes")),
        "film_overlay.mp4",
        *(f"film_classes/{number:06}.png" for number in (1, 2, 3)),
        *(f"panoptic/{stem}.png" for stem in ("a", "a_2", "dot")),
        *(f"panoptic/film_{number:06}.png" for number in (1, 2, 3)),
        "panoptic.json",
    }
    with Image.open(output / "a_overlay.png") as overlay:
        assert overlay.height >= 240
        assert overlay.width > overlay.height * 61 / 50
    with av.open(str(output / "film_overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3

    photo_files = {name: photos / name for name in ("a.png", "dot.png")}
    for name, file in photo_files.items():
        Image.open(file).save(output / name)
    Image.open(photos / "a.png").save(output / "a_2.png")
    again = read_panoptic_json(output / "panoptic.json", output / "panoptic", output)
    card = json.loads((run / "best" / "run.json").read_text())
    assert list(again.classes.names) == card["preprocessing"]["table"]["names"]
    for index, stem in enumerate(("a", "a_2", "dot")):
        classes = np.asarray(Image.open(output / f"{stem}_classes.png"))
        expected = again.read(index).truth.class_map().numpy() % 256
        # Nothing and void are both 255.
        assert (classes == expected).all()
    # With no demands on scores every photo has a segment.
    assert all(len(again.read(index).truth.segment_classes) for index in range(3))
    assert Card.read(run / "best").seen({"panoptic": {"object_score": 0.1}}) == ViewConfig(
        panoptic=PanopticRules(0.1, 0.1)
    )


def test_a_model_of_pixels_trains_validates_and_predicts(small: Build, tmp_path: Path) -> None:
    trunk = {**TRUNK, "strides": [2, 2, 2, 1, 1]}
    arguments = {"trunk_options": trunk, "width": 8, "head_width": 8}
    model = {"name": "spike_fpn_nano", "arguments": arguments}
    config = small("semantic", model=model, segmentation={}, epochs=1)
    result = train(config)
    again = validate(result.folder / "last")
    assert isinstance(again, SemanticFigures)
    assert again.columns() == pytest.approx(result.last.columns(), rel=1e-5, abs=1e-3)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (41, 30), (200, 30, 90)).save(photo)
    (written,) = segment_files(result.folder, [photo], PredictionOptions(tmp_path / "out"))
    assert Image.open(written.classes).size == (41, 30)
    with pytest.raises(ValueError, match="pictures show queries"):
        val_command(result.folder, pictures=tmp_path / "pictures")
    with pytest.raises(ValueError, match="PixelLoss, which has none"):
        train(small("semantic", "other", model=model))
    with pytest.raises(ValueError, match="cannot tell objects apart; pass task=semantic"):
        train(small("panoptic", "panoptic", model=model, segmentation={}))


def test_corrupt_and_missing_files(small: Build, tmp_path: Path) -> None:
    run = train(small("semantic", epochs=1, limit_batches=1)).folder
    good, bad, film = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "film.mp4"
    Image.new("L", (33, 47)).save(good)
    bad.write_bytes(b"no photo")
    film.write_bytes(b"no film")
    output = tmp_path / "out"
    for file, message in ((bad, "bad.png: not a readable"), (film, "film.mp4: not a readable")):
        with pytest.raises(ValueError, match=message):
            segment_files(run, [file], PredictionOptions(output))
    written = segment_files(run, [bad, good, film], PredictionOptions(output, on_corrupt="skip"))
    assert [result.file for result in written] == [good]
    assert Image.open(written[0].classes).size == (33, 47)
    with pytest.raises(ValueError, match="no such file or folder"):
        segment_files(run, [tmp_path / "nothing"], PredictionOptions(output))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no photo and no video"):
        segment_files(run, [tmp_path / "empty"], PredictionOptions(output))


def test_results_of_files_of_one_name_do_not_meet(small: Build, tmp_path: Path) -> None:
    run = train(small("panoptic", epochs=1, limit_batches=1, precision="bf16")).folder
    files = [tmp_path / "a.png", tmp_path / "x" / "a.png", tmp_path / "a_2.png"]
    files[1].parent.mkdir()
    for file in files:
        Image.new("RGB", (33, 47)).save(file)
    written = segment_files(run, files, PredictionOptions(tmp_path / "out"))
    names = ["a_classes.png", "a_2_classes.png", "a_2_2_classes.png"]
    assert [result.classes.name for result in written] == names
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert len({entry["file_name"] for entry in content["annotations"]}) == 3


def test_videos_are_turned_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    from spikesight.data.segmentation.video import read_frames

    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        array = np.zeros((48, 64, 3), np.uint8)
        array[:, 32:] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
    (flat,) = read_frames(film)
    assert flat.shape == (3, 48, 64)
    monkeypatch.setattr(av.VideoFrame, "rotation", 90)
    (turned,) = read_frames(film)
    # Counterclockwise: what was on the right is on top.
    assert turned.shape == (3, 64, 48)
    assert int(turned[:, :28].min()) > 200 > 50 > int(turned[:, 36:].max())


def test_huge_photo_is_a_result_or_a_clear_error(
    small: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesight.training.tasks.segmentation import prediction as segmentation_prediction

    config = small("semantic", epochs=1, limit_batches=1, scenes__evaluation_size=[32, 40])
    run = train(config).folder
    huge = tmp_path / "huge.png"
    Image.new("RGB", (2000, 1500)).save(huge)
    (written,) = segment_files(run, [huge], PredictionOptions(tmp_path / "out"))
    assert Image.open(written.classes).size == (2000, 1500)
    monkeypatch.setattr(segmentation_prediction, "_LARGEST_PHOTO", 100)
    with pytest.raises(ValueError, match=r"huge\.png: 40x30 pixels are too many.*resize"):
        segment_files(run, [huge], PredictionOptions(tmp_path / "out"))


def test_video_without_pyav_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from spikesight.data.segmentation.video import read_frames

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"pip install 'spikesight\[video\]'"):
        next(read_frames(tmp_path / "film.mp4"))


def test_val_draws_queries_and_sampling_points(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small("semantic", epochs=1, limit_batches=1)).folder
    capsys.readouterr()
    words = ["val", str(run), f"--pictures={tmp_path / 'pictures'}", "--data.validation_scenes=2"]
    assert main([*words, "--view.mode=slide", "--view.flip=true"]) == 0
    shown = capsys.readouterr().out
    assert "on 2 images" in shown
    assert "background" in shown
    for name in ("query_masks.png", "sampling_points.png"):
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert min(picture.size) > 50
    images = sample_images(run, {"validation_scenes": 3}, 2)
    assert images.shape == (2, 3, 32, 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__name": "metaspikformer_nano", "model__arguments": TRUNK}, "is no segmenter"),
        ({"segmentation__loss": {"focus": 1}}, "segmentation.loss: .*focus"),
        (
            {"segmentation__loss": {}, "model__arguments__pixel_heads": True},
            r"model\.arguments\.pixel_heads is true, but segmentation\.loss\.auxiliary_pixel_loss",
        ),
        (
            {"task": "panoptic", "segmentation__loss__assignment": "fixed"},
            "assignment is fixed, which gives every class one query, and task is panoptic",
        ),
        (
            {"segmentation__loss__semantic_map_loss": 1.0},
            "semantic_map_loss stands beside the loss of pixel heads and the model has none",
        ),
        (
            {"compile": "model", "model__arguments__denoised_queries": 4},
            r"compile is model, but model\.arguments\.denoised_queries",
        ),
        ({"mix__mixup": 0.2}, "mix is for classifiers and task is semantic"),
        ({"label_smoothing": 0.1}, "label_smoothing is for classifiers"),
        ({"schedule__name": "linear"}, "schedule"),
        ({"optimizer__trunk_lr_scale": 0}, "optimizer.trunk_lr_scale is 0"),
        ({"ema__decay": None}, "ema.decay is None; pass one in"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str, small: Build) -> None:
    with pytest.raises(ValueError, match=message):
        train(small(**({"task": "semantic"} | changes)))


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_denoised_queries_are_trained_and_forgotten(task: str, small: Build) -> None:
    trainer = Trainer(small(task, epochs=1, model__arguments__denoised_queries=3))
    result = trainer.run()
    assert float(trainer.objective.terms["denoised"]) > 0
    model = spikesight.load(result.folder / "last")
    images = sample_images(result.folder / "last", {"validation_scenes": 2}, 2)
    assert spikesight.verify(model, images).equal


def test_classifiers_refuse_segmenters(small: Build, tmp_path: Path) -> None:
    config = small("classification", data={"format": "digits", "image_size": 32})
    with pytest.raises(ValueError, match="is no classifier: it returns a segmentation"):
        train(config)


def test_segmenters_are_quantised_and_trained_on(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small("panoptic", epochs=1)).folder
    start = tmp_path / "start"
    assert main(["quantize", str(run), str(start), "--bits=4", "--images=8"]) == 0
    shown = capsys.readouterr().out
    card = Card.read(start)
    assert isinstance(card.metrics, PanopticFigures)
    assert f"quantised {card.metrics.pq:.2f} %" in shown
    assert "PQ on 6 validation images: trained" in shown
    assert validate(start).pq == pytest.approx(card.metrics.pq)  # type: ignore[union-attr]
    again = train(small("panoptic", "again", epochs=1, model__weights=str(start), model__bits=4))
    assert spikesight.load(again.folder / "last").recipe["quantization"]["bits"] == 4


def test_verify_compares_a_segmenter_with_its_spikes(
    small: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small("panoptic", epochs=1, limit_batches=1)).folder
    capsys.readouterr()
    assert main(["verify", str(run), "--images=2"]) == 0
    assert "0 mismatches" in capsys.readouterr().out
    pictures = tmp_path / "pictures"
    for words in (["verify", str(run), "--images=2"], ["val", str(run), f"--pictures={pictures}"]):
        assert main([*words, "--split=all"]) == 2
        assert "pass the split validation or test" in capsys.readouterr().err
    assert not list(pictures.glob("*"))
