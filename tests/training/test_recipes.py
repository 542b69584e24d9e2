"""What a configuration asks for is what happens."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import spikesight
from spikesight.data import build_loaders
from spikesight.training import (
    Card,
    EmaConfig,
    Evaluation,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
    Trainer,
    parameter_groups,
    train,
)
from spikesight.training.neuron_checks import find_silent_neurons
from spikesight.training.tasks.classification.prediction import predict
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import validate
from spikesight.training.validation_round import ValidationRound

from .conftest import TINY

Build = Callable[..., TrainConfig]


def tiny_model(**changes: object) -> spikesight.SpikingModel:
    arguments = TINY["model"]["arguments"] | changes
    return spikesight.create_model("metaspikformer_nano", in_channels=1, **arguments)


def test_training_learns_and_averages(tiny: Build) -> None:
    config = tiny(
        epochs=3, limit_batches=None, optimizer__lr=0.03, ema__decay=0.9, model__drop_path_rate=0.0
    )
    result = train(config)
    assert result.best.top1 > 30
    assert result.best.images == 359
    with (result.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert all(0 < float(row["firing_rate"]) < 1 for row in rows)
    assert any(row["ema_top1"] != row["val_top1"] for row in rows)
    best = max((float(r[f"{kind}_top1"]), kind) for r in rows for kind in ("val", "ema"))
    card = Card.read(result.folder / "best")
    assert card.metrics == result.best
    assert result.best.top1 == best[0]


def test_best_holds_the_average_when_it_is_better(tiny: Build) -> None:
    trainer = Trainer(tiny(epochs=1, ema__decay=0.9, limit_batches=2))
    assert trainer.weights.averages
    with torch.no_grad():
        trainer.weights.average().head.linear.bias.fill_(7.0)
    worse, better = _evaluation(10.0), _evaluation(20.0)
    trainer.folder.mkdir()
    trainer._keep_best(ValidationRound(worse, better, {}, None, None))
    best = load_file(trainer.folder / "best" / "model.safetensors")
    assert best["head.linear.bias"].eq(7.0).all()
    assert Card.read(trainer.folder / "best").weights == "ema"
    trainer._keep_best(ValidationRound(_evaluation(30.0), better, {}, None, None))
    best = load_file(trainer.folder / "best" / "model.safetensors")
    assert not best["head.linear.bias"].eq(7.0).any()
    assert Card.read(trainer.folder / "best").weights == "model"


def _evaluation(top1: float) -> Evaluation:

    return Evaluation(top1, 50.0, 1.0, 10, 0.1)


def test_average_follows_the_model_quickly_at_the_start() -> None:
    model = torch.nn.Linear(2, 2)
    ema = EmaConfig(decay=0.9999).build(model)
    assert ema is not None
    decays = [ema.get_decay(step) for step in (1, 10, 1000, 10**7)]
    assert decays == sorted(decays)
    assert decays[0] == 0
    assert 0.99 < decays[2] < 0.995
    assert decays[3] == 0.9999


def test_layer_decay_scales_by_stage() -> None:
    model = tiny_model()
    groups = parameter_groups(model, weight_decay=0.1, layer_decay=0.5)
    scale = {name: group["lr_scale"] for group in groups for name in group["names"]}
    decay = {name: group["weight_decay"] for group in groups for name in group["names"]}
    names = dict(model.named_parameters())
    assert scale.keys() == names.keys()
    stages = model.stages()
    for depth, stage in enumerate(stages):
        for parameter in stage.parameters():
            (name,) = [n for n, p in names.items() if p is parameter]
            assert scale[name] == 0.5 ** (len(stages) - 1 - depth)
    assert scale["head.linear.weight"] == 1.0
    for name, parameter in names.items():
        assert decay[name] == (0.1 if parameter.ndim > 1 else 0.0)
    optimizer = OptimizerConfig(lr=0.4, layer_decay=0.5).build(model, 256)
    ScheduleConfig(warmup_epochs=0).build(optimizer, 10, 5).step_update(0)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert rates == {0.4 * 0.5**d for d in range(len(stages))}


def test_layer_decay_needs_stages() -> None:
    with pytest.raises(ValueError, match=r"leave optimizer\.layer_decay out"):
        parameter_groups(torch.nn.Linear(2, 2), 0.0, 0.5)


def test_schedule_warms_up_and_ends_low() -> None:
    optimizer = OptimizerConfig(lr=1.0).build(torch.nn.Linear(2, 2), 256)
    schedule = ScheduleConfig(warmup_epochs=0.5, warmup_lr=0.0, min_lr=0.1)
    built = schedule.build(optimizer, updates=20, updates_per_epoch=8)
    rates = []
    for update in range(21):
        built.step_update(update)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert rates[12] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[20] == pytest.approx(0.1)


def test_lr_scales_with_the_images_of_an_update() -> None:
    assert OptimizerConfig(lr=1.0, lr_per_256=True).peak_lr(512) == 2.0
    assert OptimizerConfig(lr=1.0).peak_lr(512) == 1.0


def test_accumulated_gradients_are_the_mean(tiny: Build) -> None:
    """Without a norm's batch statistics, two batches of 16 make the update of one of 32."""
    grads = {}
    for name, size, accumulation in (("one", 32, 1), ("two", 16, 2)):
        config = tiny(
            name,
            epochs=1,
            batch_size=size,
            accumulation=accumulation,
            limit_batches=accumulation,
            clip_norm=None,
            model__drop_path_rate=0.0,
            data__random_crop_padding=0,
            schedule__warmup_epochs=0,
        )
        trainer = Trainer(config)
        trainer.model.eval()
        trainer.mark_time, trainer.mark_images = 0.0, 0
        trainer.loaders.train.set_epoch(0)
        batches = iter(trainer.loaders.train)
        for batch in range(accumulation):
            trainer._train_batch(0, batch, *next(batches))
        grads[name] = [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]
    assert len(grads["one"]) == len(grads["two"]) > 0
    for one, two in zip(grads["one"], grads["two"], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert any(one.abs().max() > 1e-4 for one in grads["one"])


@pytest.mark.parametrize("channels_last", [False, True])
def test_bf16_on_cpu(tiny: Build, channels_last: bool) -> None:
    result = train(tiny(epochs=1, precision="bf16", channels_last=channels_last))
    assert math.isfinite(result.last.loss)
    model = spikesight.load(result.folder / "last")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    again = validate(result.folder / "last", ValidationOptions(batch_size=32, limit_batches=4))
    assert again.loss == pytest.approx(result.last.loss, rel=1e-5)


def test_fp16_needs_a_gpu(tiny: Build) -> None:
    with pytest.raises(ValueError, match="fp16, which needs a GPU; pass precision=auto"):
        train(tiny(precision="fp16", device="cpu"))


def test_infinite_loss_stops_the_run(tiny: Build) -> None:
    config = tiny(optimizer__lr=1e30, clip_norm=None, schedule__warmup_epochs=0)
    with pytest.raises(FloatingPointError, match=r"step \d+ .*optimizer\.lr.*precision"):
        train(config)
    assert not (Path(config.output) / "last").exists()


def test_silent_neurons_are_named(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    images = torch.randn(8, 1, 8, 8)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    lively = find_silent_neurons(model, images)
    with torch.no_grad():  # a norm that lets nothing through
        norm = model.trunk[1][0].conv.norm
        norm.weight.zero_()
        norm.bias.fill_(-1.0)
    silent = find_silent_neurons(model, images)
    assert set(silent) > set(lively)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name

    config = tiny("dead", epochs=1, limit_batches=2, schedule__warmup_epochs=0)
    model.save_pretrained(Path(config.output).parent / "start")
    config.model.weights = str(Path(config.output).parent / "start")
    train(config)
    output = capsys.readouterr().out
    assert "never fire on the first batch" in output
    assert all(name in output for name in set(silent) - set(lively))


def test_twin_and_starting_weights(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(tiny("twin", epochs=1, model__neuron="relu"))
    assert first.last.firing_rate is None
    again = tiny("again", model__weights=str(first.folder), model__neuron="relu")
    loaded, saved = Trainer(again).model, load_file(first.folder / "best" / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    more = tiny("more", model__weights=str(first.folder), model__num_classes=12)
    assert Trainer(more).model.head.linear.weight.shape[0] == 12
    assert "fresh classifier" in capsys.readouterr().out
    other = tiny("other", model__weights=str(first.folder))
    other.model.arguments["widths"] = [4, 4, 8, 16, 16]
    with pytest.raises(ValueError, match="does not fit the model"):
        Trainer(other)


def test_predictions_follow_the_model(tiny: Build, tmp_path: Path) -> None:
    from PIL import Image

    config = tiny(epochs=1)
    folder = train(config).folder
    images = build_loaders(config.data, 4, 0).validation
    batch, _ = next(iter(images))
    for index, image in enumerate(batch):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{index}.png")
    predictions = predict(folder, [tmp_path])
    model = spikesight.load(folder / "best")
    transform = Card.read(folder / "best").preprocessing.batch_transform
    expected = model(transform(batch)).detach().softmax(1)
    assert [p.file.name for p in predictions] == ["0.png", "1.png", "2.png", "3.png"]
    for prediction, row in zip(predictions, expected, strict=True):
        assert len(prediction.guesses) == 5
        name, share = prediction.guesses[0]
        assert name == str(int(row.argmax()))
        assert share == pytest.approx(float(row.max()), rel=1e-4)


@pytest.mark.nightly
def test_compiled_training_gives_the_same_figures(tiny: Build) -> None:
    eager = train(tiny("eager", firing_rate__weight=0.1))
    compiled = train(tiny("compiled", firing_rate__weight=0.1, compile="model"))
    assert compiled.last.loss == pytest.approx(eager.last.loss, rel=1e-3)
