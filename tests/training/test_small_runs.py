"""A first try works: warm-up and batches fit, and what cannot work is refused before it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

import spikesight
from spikesight.training import ScheduleConfig, TrainConfig, Trainer, from_mapping, train

Build = Callable[..., TrainConfig]


@given(st.integers(1, 200), st.integers(1, 50), st.floats(0, 20))
def test_warm_up_fits_into_every_run(updates: int, per_epoch: int, epochs: float) -> None:
    schedule = ScheduleConfig(warmup_epochs=epochs)
    fits = schedule.warmup(updates, per_epoch)
    assert 0 <= fits < updates
    asked = round(epochs * per_epoch)
    if asked < updates:
        assert fits == asked
    else:
        assert fits <= max(1, -(-updates // 10))
        assert f"it takes {fits} here" in (schedule.describe_shortening(updates, per_epoch) or "")
    assert ScheduleConfig(warmup_updates=asked).warmup(updates, per_epoch) == fits


@pytest.mark.parametrize("limit", [1, 2, None])
def test_one_epoch_with_a_warm_up_of_five(
    limit: int | None, tiny: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(epochs=1, limit_batches=limit, batch_size=128, schedule__warmup_epochs=5))
    assert "leaves nothing of a run of" in capsys.readouterr().out


def test_batches_shrink_to_what_is_there(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny(
        epochs=1, batch_size=4096, accumulation=3, mix__mixup=0.2, optimizer__lr_per_256=True
    )
    run = Trainer(config)
    images = len(run.task.train.dataset)
    assert run.batch_size == images // 3 - images // 3 % 2
    assert run.updates_per_epoch == 1
    assert f"batch_size is {run.batch_size} instead of 4096: {images} training images" in (
        capsys.readouterr().out
    )
    assert run.run().last.images == 359


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mix__cutmix": 1.0, "mix__off_epochs": 2}, True),
        ({"mix__cutmix": 1.0, "mix__off_epochs": 1}, False),
        ({"mix__off_epochs": 2}, False),
    ],
)
def test_a_run_too_short_to_mix_says_so(
    fields: dict[str, Any], said: bool, tiny: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(tiny(epochs=2, **fields))
    expected = "nothing is mixed: mix.off_epochs is 2 and the run has 2 epoch(s)"
    assert (expected in capsys.readouterr().out) == said


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"model__name": "metaspikformer_nan"}, "there is no model"),
    ({"model__arguments": {"widht": 3}}, "cannot build metaspikformer_nano"),
    ({"model__name": "spike2former_nano", "model__arguments": {}}, "no classifier.*task=semantic"),
    ({"task": "semantic"}, "no segmenter.*spike2former_nano"),
    ({"data__image_size": 10}, r"data\.image_size is 10.*divisible by 4; pass 8 or 12"),
    ({"data__image_size": 4, "batch_size": 1}, r"batch_size .*larger data\.image_size"),
    ({"task": "masked_image", "data__image_size": 4}, r"masked_image\.ratio=0\.75 hides"),
    ({"model__weights": "absent"}, "there is no trained model in absent"),
    ({"distillation": {"teacher": "absent", "logits": "soft"}}, "no trained model in absent"),
    ({"distillation": {"teacher": "timm:resent", "logits": "soft"}}, "timm has no model"),
]


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in ("images.build_loaders", "segmentation.task.build_scene_loaders"):
        monkeypatch.setattr(
            f"spikesight.training.tasks.{reader}", lambda *_, **__: pytest.fail("data were read")
        )


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE)
def test_what_cannot_work_is_refused_before_data_are_read(
    changes: dict[str, Any], message: str, tiny: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_reading(monkeypatch)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Trainer(tiny(**changes))


def test_of_several_heads_one_is_trained(tiny: Build) -> None:
    model = {"model__name": "espikeformer_nano", "model__arguments": {"head": "both"}}
    with pytest.raises(ValueError, match=r"returns 2 tensors, one for each head.*head: counts"):
        Trainer(tiny(epochs=1, limit_batches=1, **model)).run()


def test_segmentations_that_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_reading(monkeypatch)
    base: dict[str, Any] = {
        "model": {"name": "spike2former_nano"},
        "task": "semantic",
        "output": str(tmp_path / "run"),
        "scenes": {"crop_size": [32, 32]},
        "precision": "no",
    }
    for changes, message in (
        ({"segmentation": {"loss": {"dice": 1}}}, r"segmentation\.loss: .*dice"),
        ({"scenes": {"crop_size": [32, 40]}}, r"scenes\.crop_size is \[32, 40\].* pass 32 or 48"),
        ({"scenes": {"crop_size": [16, 16]}, "batch_size": 1}, r"larger scenes\.crop_size"),
        ({"task": "panoptic", "model": {"name": "spike_fpn_nano"}}, "pass task=semantic"),
        ({"model": {"name": "spike2former_nano", "arguments": {"pixel_heads": True}}}, "nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(from_mapping(TrainConfig, base | changes))


def test_weights_that_do_not_fit_are_refused_before_data_are_read(
    tiny: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spikesight.create_model("metaspikformer_nano", in_channels=1).save_pretrained(tmp_path / "w")
    forbid_reading(monkeypatch)
    with pytest.raises(ValueError, match="does not fit the model"):
        Trainer(tiny(model__weights=str(tmp_path / "w")))


def test_an_output_that_is_a_file_is_refused(tiny: Build, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(ValueError, match="is a file; pass a folder"):
        Trainer(tiny())


def test_a_batch_that_shrank_to_one_value_is_explained(tiny: Build) -> None:
    run = Trainer(tiny(data__image_size=4, batch_size=2))
    with pytest.raises(ValueError, match=r"batch of 1 image.* pass a larger batch_size"):
        run._train_batch(0, 0, torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.zeros(1).long())


def test_a_run_ends_when_validation_stops_rising(
    tiny: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"epochs": 30, "limit_batches": 1, "optimizer__lr": 1e-9, "patience": 2}
    config = tiny("patient", resume=True, **changes)
    result = train(config)
    said = capsys.readouterr().out
    assert "2 validation(s) without a better one: the run ends after epoch" in said
    rows = (result.folder / "metrics.csv").read_text().splitlines()[1:]
    assert 3 <= len(rows) < 30
    # Given again it is at its end, and goes on with more patience.
    assert train(config) == result
    more = train(tiny("patient", resume=True, **changes | {"patience": 3, "epochs": 30}))
    assert len((more.folder / "metrics.csv").read_text().splitlines()[1:]) > len(rows)
