"""The configuration of a training run, as a YAML file says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import jsonargparse
import yaml

from spikesight.data import DataConfig
from spikesight.data.detection import ObjectConfig
from spikesight.data.segmentation import SceneConfig
from spikesight.errors import UserError
from spikesight.files import documents
from spikesight.files.names import show
from spikesight.files.ranges import Bits, Count, Licence, Number, Positive, Rate
from spikesight.files.shipped import find_recipe, nearest, recipe_names
from spikesight.inference import DetectionConfig, ViewConfig
from spikesight.losses import DistillationConfig, FiringRateConfig
from spikesight.memory import Memory
from spikesight.models import MaskedImageSizes
from spikesight.options import check_options
from spikesight.parts import name_of
from spikesight.training.data_sections import check_path_is_read, section_of
from spikesight.training.mixing import MixConfig
from spikesight.training.optimization import EmaConfig, OptimizerConfig, ScheduleConfig
from spikesight.training.tasks.table import find_task
from spikesight.training.written_values import as_written

T = TypeVar("T")
Precision = Literal["auto", "no", "bf16", "fp16"]

# Fields of `model` that every model's constructor takes too.
_BUILDING = (*("num_classes", "steps", "levels", "neuron", "neuron_arguments", "drop_path_rate"),)


@dataclass
class ModelConfig:
    """Which model to train.

    Args:
        name: A registered name; see `spikesight models`.
        steps: Time steps T.
        levels: Largest count D of a neuron per time step; the model's own default if omitted.
        neuron: "lif", "i_lif", "ni_lif", "ie_lif", "relu" (the ANN twin) or the name of one of
            your own, for which Python takes the registered class or function too; the model's own
            default if omitted.
        neuron_arguments: What every neuron takes beside steps and levels, such as
            {threshold: 0.5}, {retain: 0.75} or {learnable_tau: true} of a LIF.
        drop_path_rate: Stochastic depth of the last block, in [0, 1).
        num_classes: Classes K; those of the data if omitted.
        arguments: Further arguments of `create_model`, such as the family's sizes.
        weights: Folder of a saved model to start from; a quantised one, as `spikesight quantize`
            writes it, wants the same bits, recipe and power_of_two here. A classifier for another
            number of classes starts fresh; a segmenter also takes the trunk of a classifier's run,
            and everyone that of masked-image pre-training.
        bits: Bits of a weight, 2 to 8, learned as `spikesight.quantize` says; not quantised if
            omitted.
        recipe: Which weights are quantised: "deployable" or "official".
        power_of_two: Whether every quantisation step is a power of two.
        whitened: Whether the first convolution of a fresh model begins with the principal
            directions of the training images' patches.
    """

    name: str
    steps: Number = 1
    levels: Number | None = None
    neuron: str | None = None
    neuron_arguments: dict[str, Any] = field(default_factory=dict)
    drop_path_rate: Rate = 0.0
    num_classes: Number | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    bits: Bits | None = None
    recipe: Literal["deployable", "official"] = "deployable"
    power_of_two: bool = False
    whitened: bool = False

    def __post_init__(self) -> None:
        if callable(self.neuron):
            self.neuron = name_of("neuron", self.neuron) or self.neuron
        if self.neuron is not None and not isinstance(self.neuron, str):
            raise UserError(
                f"model.neuron is {self.neuron!r}, which config.yaml cannot name; register it: "
                "@spikesight.register_neuron on the class or function that builds it"
            )
        check_options(self, "model.")
        if self.weights == "":
            raise UserError("model.weights is empty; pass the folder of a model, or leave it out")
        for name in (*_BUILDING, "in_channels"):
            if name in self.arguments:
                remedy = f"pass model.{name}" if name in _BUILDING else "pass data.channels"
                raise UserError(f"model.arguments has {name!r}; {remedy} instead")


@dataclass
class SegmentationConfig:
    """How a segmenter learns and is validated.

    Args:
        loss: Arguments of `SegmentationLoss` (semantic) or `SegmentationLoss.panoptic`, such as
            their weights.
        view: How photos are shown in validation, and which masks become segments.
    """

    loss: dict[str, Any] = field(default_factory=dict)
    view: ViewConfig = field(default_factory=ViewConfig)

    def __post_init__(self) -> None:
        check_options(self, "segmentation.")


@dataclass
class DetectionLearning:
    """How a detector learns and is validated.

    Args:
        loss: Arguments of `DetectionLoss`, such as its weights; of task instances weights of
            its losses (objectness, proposals, classes, boxes, masks), each 1 if it is not named.
        view: Which boxes are kept in validation and prediction.
    """

    loss: dict[str, Any] = field(default_factory=dict)
    view: DetectionConfig = field(default_factory=DetectionConfig)

    def __post_init__(self) -> None:
        check_options(self, "detection.")


@dataclass
class TrainConfig:
    """A training run.

    Args:
        model: Which model to train.
        output: Folder of the run: config.yaml, metrics.csv, tensorboard/, best/ and last/.
        task: "classification" of images, "semantic" (a class for every pixel) or "panoptic"
            (objects told apart) segmentation, "detection" of objects by boxes, "instances" (boxes
            and masks), or "masked_image" pre-training of a classifier's trunk, which needs no
            labels; or a task of your own.
        data: Which images a classifier or pre-training reads and how they are augmented.
        scenes: Which photos and masks a segmenter reads and how they are augmented.
        objects: Which photos and boxes a detector reads and how they are augmented.
        segmentation: How a segmenter learns and is validated.
        detection: How a detector learns and is validated.
        masked_image: How images are masked in pre-training, and its decoder.
        linear_probe: Whether validation of masked_image also says how well a linear classifier does
            on the frozen trunk's pooled features; it learns from the training images whose labels
            may be read (data.label_fraction).
        optimizer: What moves the weights.
        schedule: How the learning rate changes.
        mix: Mixup and cutmix.
        ema: A moving average of the weights.
        firing_rate: A price on firing.
        distillation: Learning from a teacher.
        epochs: Passes over the training images.
        batch_size: Images per process and forward pass.
        accumulation: Batches whose gradients make one update.
        clip_norm: Largest norm of the gradient; None leaves it as it is.
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1).
        precision: Autocast type: "auto" (bf16 where the device computes it, else float32), "no"
            (float32), "bf16", or "fp16" with loss scaling (GPU only).
        compile: "model" compiles the training forward and backward pass with torch.compile, as one
            graph. On a CPU that brings what channels_last brings, and as good as nothing beside it.
        channels_last: Whether images and weights use the channels-last memory format; "auto" does
            on a CPU, where every classifier measured trained faster with it. Decided when a run
            begins.
        sync_batch_norm: Whether batch normalisation takes its statistics over the images of all
            processes, as one process with all of them would; otherwise each over its own.
        memory: What is kept for the backward pass: all of it ("normal"), spikes in few bits and no
            current of a neuron behind a normalisation ("low"), nor the outputs of convolutions
            ("lowest"). The gradients are the same, the time is not.
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        seed: Seed of the initial weights, of the order and of every random choice.
        resume: Whether to go on from output/last if it is there.
        checkpoint_minutes: Minutes between two writings of last/ within an epoch.
        validate_every: Epochs between two validations; the last epoch is always validated.
        patience: Validations in a row, none of them better than the best, after which the run ends
            before its epochs are over; None for never. The schedule is that of all epochs.
        log_every: Updates between two points in TensorBoard.
        limit_batches: Stop every epoch and validation after so many batches, for quick trials.
        licence: Licence of the trained weights, such as the SPDX identifier CC-BY-4.0, which the
            model and its exports say.
        imports: Files and modules of your own whose models, neurons and other parts the run uses;
            what --import names is added.
    """

    model: ModelConfig
    output: str
    task: str = "classification"
    data: DataConfig = field(default_factory=DataConfig)
    scenes: SceneConfig = field(default_factory=SceneConfig)
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    detection: DetectionLearning = field(default_factory=DetectionLearning)
    masked_image: MaskedImageSizes = field(default_factory=MaskedImageSizes)
    linear_probe: bool = False
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    firing_rate: FiringRateConfig = field(default_factory=FiringRateConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    epochs: Number = 10
    batch_size: Number = 128
    accumulation: Number = 1
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    precision: Precision = "auto"
    compile: Literal["none", "model"] = "none"
    channels_last: bool | Literal["auto"] = "auto"
    sync_batch_norm: bool = True
    memory: Memory = "normal"
    device: Literal["auto", "cpu"] = "auto"
    seed: Count = 0
    resume: bool = False
    checkpoint_minutes: Positive = 10.0
    validate_every: Number = 1
    patience: Number | None = None
    log_every: Number = 20
    limit_batches: int | None = None
    licence: Licence | None = None
    imports: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.output.strip():
            raise UserError("output is empty; pass the folder of the run, such as runs/first")
        if "\0" in self.output or any("\ud800" <= letter <= "\udfff" for letter in self.output):
            raise UserError(f"output {show(self.output)} is no UTF-8 text; pass another name")
        if self.limit_batches is not None and self.limit_batches < self.accumulation:
            raise UserError(
                f"limit_batches is {self.limit_batches}, less than one update of "
                f"{self.accumulation} batch(es); pass {self.accumulation} or more"
            )
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UserError(f"clip_norm is {self.clip_norm}; pass a positive number or null")
        if self.memory != "normal" and self.compile == "model":
            raise UserError(
                f"memory is {self.memory} and compile is model, but a compiled model chooses what "
                "it keeps itself; pass memory=normal or compile=none"
            )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(f"label_smoothing is {self.label_smoothing}; pass one in [0, 1)")
        for section, described in (("data", self.data), ("objects", self.objects)):
            if described.holds_events and self.model.steps != described.events.frames:
                raise UserError(
                    f"model.steps is {self.model.steps} but {section}.events.frames is "
                    f"{described.events.frames}; pass the same number"
                )
        task = find_task(self.task)
        if self.linear_probe and not task.unlabelled:
            raise UserError(
                "linear_probe is for pre-training without labels, task=masked_image, and task is "
                f"{self.task}; leave linear_probe out"
            )
        task.check(self)

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> TrainConfig:
        """Reads a YAML file.

        Args:
            path: The file, or the name of a recipe that comes along.
            **overrides: Values that replace the file's; nested ones as {"optimizer": {"lr": 1}}.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a field is unknown or a value invalid.
        """
        with documents.named(path):
            return from_mapping(cls, merge(read_yaml(path), overrides))

    def to_mapping(self) -> dict[str, Any]:
        """All fields as plain values, as YAML and JSON know them."""
        mapping: dict[str, Any] = _plain(asdict(self))
        return mapping

    def dump(self) -> str:
        """All fields as YAML text."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False)


def from_mapping(kind: type[T], mapping: dict[str, Any]) -> T:
    """Builds a configuration dataclass from plain values, checking names and types.

    Args:
        kind: A dataclass.
        mapping: Its fields; nested ones as nested mappings.

    Raises:
        ValueError: If a field is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(mapping, dict):
        raise UserError(f"{kind.__name__}: {mapping!r} holds no fields; pass names and values")
    mapping = as_written(kind, mapping)
    parser = jsonargparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(kind, "value")
    try:
        parsed = parser.parse_object({"value": mapping})
    except Exception as error:
        message = re.sub(r"(?<![\w.])value\.(?=\w)", "", str(error))
        raise UserError(f"{kind.__name__}: {message}") from error
    built: T = parser.instantiate(parsed)["value"]
    return built


def read_yaml(path: str | Path, *, readers: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a YAML file; numbers and dates as YAML 1.2 has them.

    With `base: OTHER.yaml`, a path from the file's own folder or the name of a recipe that comes
    along, they are that file's fields with this one's in their place, field by field.

    Args:
        path: The file, or the name of a recipe that comes along.
        readers: Files whose base this is.

    Raises:
        FileNotFoundError: If there is no such file.
        UserError: If it cannot be read or holds no fields, or is its own base.
    """
    path = find_configuration(path)
    remedy = "correct it; a configuration has lines such as 'epochs: 10'"
    fields = documents.read_yaml(path, dict[Any, Any], remedy=remedy)
    base = fields.pop("base", None)
    if base is None:
        return fields
    readers = (*readers, path.resolve())
    if not isinstance(base, str):
        raise UserError(f"{path}: base is {base!r}; pass the path of a YAML file, or leave it out")
    beside = path.parent / base
    recipe = None if beside.exists() else find_recipe(base)
    if (recipe or beside).resolve() in readers:
        raise UserError(f"{path}: base {base} leads back to this file; pass another")
    return merge(read_yaml(recipe or beside, readers=readers), fields)


def find_configuration(name: str | Path) -> Path:
    """The YAML file that is meant.

    Args:
        name: A file, or the name of a recipe that comes along; a file is preferred.

    Raises:
        FileNotFoundError: If there is neither; says which names are near.
    """
    if Path(name).is_file():
        return Path(name)
    recipe = None if Path(name).exists() else find_recipe(name)
    if recipe is None:
        near = nearest(name, recipe_names())
        raise FileNotFoundError(
            f"there is no configuration file {show(name)}, nor a folder or recipe of that name; "
            + (f"near: {', '.join(near)}; " if near else "")
            + "`spikesight recipes` lists what comes along"
        )
    return recipe


def override(config: T, changes: Mapping[str, Any]) -> T:
    """A configuration with some fields changed.

    Args:
        config: The configuration of the training.
        changes: New values, as YAML or a command line gives them; nested ones leave their
            neighbours as they are.

    Raises:
        ValueError: If a field is unknown or a value invalid.
    """
    if "path" in changes:
        fields = {**asdict(config), **changes}  # type: ignore[call-overload]
        check_path_is_read(section_of(config), fields)
    return from_mapping(type(config), merge(asdict(config), changes))  # type: ignore[call-overload]


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings with some values replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
