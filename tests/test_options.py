from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from spikesight.data import DataConfig, Preprocessing
from spikesight.data.errors import DataError
from spikesight.data.events.config import EventConfig
from spikesight.data.segmentation import SceneConfig
from spikesight.data.segmentation.sources import part_of
from spikesight.errors import UserError
from spikesight.inference import PanopticRules, ViewConfig
from spikesight.losses import DistillationConfig, FiringRateConfig, SegmentationLoss
from spikesight.models import MaskedImageSizes
from spikesight.options import check_options, check_range
from spikesight.training.config import ModelConfig, TrainConfig
from spikesight.training.mixing import MixConfig
from spikesight.training.optimization import EmaConfig, OptimizerConfig, ScheduleConfig
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.options import PredictionOptions

NAN, INF = float("nan"), float("inf")


@dataclass
class Inner:
    value: int = 0


@dataclass
class Options:
    way: Literal["one", "two"] = "one"
    number: Literal[1, 2] = 1
    share: float = 0.5
    count: int | None = None
    flag: bool = False
    text: str = ""
    pair: tuple[float, float] = (0.0, 1.0)
    many: list[float] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    scale: float | Literal["own"] = 1.0
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check_options(self, "options.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("way", "three"),
        ("way", None),
        ("number", True),
        ("number", 3),
        ("share", NAN),
        ("share", INF),
        ("share", "half"),
        ("share", True),
        ("count", 1.5),
        ("count", True),
        ("flag", 1),
        ("text", 3),
        ("pair", (0.0, NAN)),
        ("pair", (0.0,)),
        ("pair", 1.0),
        ("many", [0.0, "x"]),
        ("many", "0.5"),
        ("names", [1]),
        ("names", {"x": NAN}),
        ("names", {"x": [1, {"y": INF}]}),
        ("scale", "other"),
        ("scale", NAN),
        ("inner", {"value": 1}),
    ],
)
def test_a_value_that_no_option_takes_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=rf"^options\.{name} is .*; pass "):
        Options(**{name: value})


def test_values_of_every_kind_are_taken():
    Options(
        way="two",
        number=np.int64(2),
        share=np.float32(0.25),
        count=np.int32(3),
        flag=True,
        pair=[0, 1],
        many=(1, 2.5),
        names={"x": [1.5, None, "nan"]},
        scale="own",
        inner=Inner(3),
    )


def test_a_range_says_its_bounds():
    check_range("size", None, least=1)
    check_range("size", 0.5, above=0, most=1)
    with pytest.raises(UserError, match="size is 2; pass more than 0, at most 1"):
        check_range("size", 2, above=0, most=1)
    with pytest.raises(UserError, match="size is nan; pass a finite number"):
        check_range("size", NAN, above=0)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (DataConfig, "format", "fodler"),
        (DataConfig, "on_corrupt", "stopp"),
        (DataConfig, "validation_fraction", NAN),
        (DataConfig, "horizontal_flip", "no"),
        (EventConfig, "slicing", "counts"),
        (EventConfig, "rotation", NAN),
        (EventConfig, "threshold", INF),
        (SceneConfig, "on_corrupt", "stopp"),
        (SceneConfig, "background", "x"),
        (SceneConfig, "format", "ade"),
        (SceneConfig, "scale_range", (1.0, INF)),
        (SceneConfig, "crop_size", 128),
        (SceneConfig, "crop_size", (128, 128, 3)),
        (ViewConfig, "mode", "half"),
        (ViewConfig, "scales", [1.0, NAN]),
        (PanopticRules, "overlap", NAN),
        (DistillationConfig, "logits", "softt"),
        (DistillationConfig, "temperature", NAN),
        (FiringRateConfig, "weight", NAN),
        (MaskedImageSizes, "ratio", NAN),
        (MixConfig, "mixup", NAN),
        (EmaConfig, "decay", NAN),
        (OptimizerConfig, "name", "adam"),
        (OptimizerConfig, "lr", INF),
        (OptimizerConfig, "betas", (0.9, NAN)),
        (ScheduleConfig, "name", "step"),
        (ScheduleConfig, "warmup_epochs", NAN),
    ],
)
def test_every_configuration_refuses_what_the_command_line_refuses(kind, name, value):
    with pytest.raises(UserError, match=rf"{name} is .*; pass "):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "tracking"),
        ("precision", "fp8"),
        ("device", "tpu"),
        ("clip_norm", NAN),
        ("label_smoothing", NAN),
        ("seed", 1.5),
        ("data", {"format": "digits"}),
    ],
)
def test_a_run_refuses_options_by_name(name, value):
    with pytest.raises(UserError, match=rf"^{name} is .*; pass "):
        TrainConfig(ModelConfig("metaspikformer_nano"), "run", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mask_loss", "focal2"),
        ("mask_weight", -1.0),
        ("class_weight", NAN),
        ("no_object_weight", INF),
        ("points", 0),
        ("points", 2.5),
        ("deep_supervision", "no"),
    ],
)
def test_the_loss_of_a_segmenter_refuses_options_by_name(name, value):
    for build in (SegmentationLoss, SegmentationLoss.panoptic):
        with pytest.raises(UserError, match=rf"{name} is .*; pass "):
            build(3, **{name: value})


@pytest.mark.parametrize(
    ("mean", "std", "named"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "mean"),
        ((0.5, 0.5, 0.5), (58.395, 57.12, 57.375), "std"),
        ((-0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "mean"),
        ((0.5, 0.5, 0.5), (0.5, 0.0, 0.5), "std"),
    ],
)
def test_mean_and_deviation_of_bytes_are_refused(mean, std, named):
    for build in (
        lambda: SceneConfig(mean=mean, std=std),
        lambda: DataConfig(mean=list(mean), std=list(std)),
        lambda: Preprocessing(32, 3, mean, std),
    ):
        with pytest.raises(DataError, match=rf"{named} is .*; pass values .* divided by 255"):
            build()


def test_functions_refuse_what_the_command_line_refuses(tmp_path):
    for call, named in (
        (lambda: PredictionOptions(device="gpu"), "device is 'gpu'"),
        (lambda: PredictionOptions(on_corrupt="stopp"), "on_corrupt is 'stopp'"),
        (lambda: PredictionOptions(batch_size=0), "batch_size is 0"),
        (lambda: PredictionOptions(every=0), "every is 0"),
        (lambda: build_accelerator(precision="fp8"), "precision is 'fp8'"),
        (lambda: part_of("valdation"), "split is 'valdation'"),
    ):
        with pytest.raises(UserError, match=named):
            call()
