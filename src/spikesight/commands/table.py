"""The commands: each is one typed function, its options are the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# What a segmenter was trained on is its data.
_SKIPPING: dict[str, tuple[str, ...]] = {"--on_corrupt": ("--data.on_corrupt",)}
_DATA: dict[str, tuple[str, ...]] = {
    **_SKIPPING,
    "--scenes.": ("--data.",),
    "--objects.": ("--data.",),
}


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        target: "module:function", imported when the command is used. The function's parameters
            become options, required ones become positional, and its docstring the help. Where
            none is required, the first one may be given without its name. A function whose only
            parameter is a dataclass has the fields as options instead, and takes YAML files.
        summary: One line for the list of commands.
        examples: Command lines for the help.
        aliases: Short names of options that take a value, and the options that each stands for. A
            name that ends with a dot stands for all that begin with it.
        words: "module:function" that makes options of a dataclass of what the user wrote.
        optional: Lists among the parameters that may be empty.
    """

    target: str
    summary: str
    examples: Sequence[str]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: str = ""
    optional: Sequence[str] = ()


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "spikesight.commands.demo:demo_command",
        "Trains on handwriting, shows the spikes and what they cost.",
        ("spikesight demo", "spikesight demo --epochs=1 --output=trial"),
    ),
    "app": Command(
        "spikesight.commands.app:app_command",
        "Shows a page: drop a photo or draw, see the answer, every spike and what it costs.",
        (
            "spikesight app",
            "spikesight app runs/photos cells.spk",
            "spikesight app --host=0.0.0.0 --port=8080 --browser=false",
        ),
        optional=("models",),
    ),
    "train": Command(
        "spikesight.commands.training:train_command",
        "Trains a model on photos, or as a YAML file says.",
        (
            "spikesight train photos/",
            "spikesight train fashion_mnist_nano",
            "spikesight train cifar10_tiny --optimizer.lr=1e-3 --output=runs/lr",
            "spikesight train configs/cifar10_tiny.yaml --resume",
            "spikesight train configs/cifar10_tiny.yaml --model.neuron=relu --output=runs/twin",
            "spikesight train configs/camvid_small.yaml --from runs/nano_in_colour",
            "spikesight train configs/cifar10_masked_nano.yaml --data.path=cifar10-train.tar",
            "spikesight train configs/cifar10_tiny.yaml --seeds=5 --output=runs/five_seeds",
            "torchrun --nproc_per_node=2 -m spikesight train configs/cifar10_tiny.yaml",
        ),
        {
            "--on_corrupt": ("--data.on_corrupt", "--scenes.on_corrupt", "--objects.on_corrupt"),
            "--from": ("--model.weights",),
        },
        words="spikesight.commands.words:prepare_words",
    ),
    "val": Command(
        "spikesight.commands.training:val_command",
        "Measures a trained model: top-1, mean IoU, panoptic quality, AP.",
        (
            "spikesight val runs/fashion_mnist_nano/best",
            "spikesight val runs/fashion_mnist_nano/best --split=test",
            "spikesight val runs/cifar10/best --split=all --data.format=tar --data.path=test.tar",
            "spikesight val runs/camvid_small/best --view.flip=true --view.scales=[0.75,1,1.25]",
            "spikesight val runs/camvid_small/best --pictures=pictures",
        ),
        _DATA,
    ),
    "predict": Command(
        "spikesight.commands.training:predict_command",
        "Shows what a model sees: guesses, or segments and boxes over photos and videos.",
        (
            "spikesight predict runs/cifar10/best cat.jpg dog.jpg",
            "spikesight predict runs/cifar10/best photos/ --output=guesses.png",
            "spikesight predict cifar.spk photos/ --output=guesses.csv",
            "spikesight predict runs/cifar10/best photos/ --html=guesses.html",
            "spikesight predict cifar.onnx cat.jpg",
            "spikesight predict bccd_nano_4bit blood.jpg",
            "spikesight predict runs/digits_events_nano/best recording.es --output=guesses.png",
            "spikesight predict runs/camvid_small/best street.jpg drive.mp4 --output=overlays "
            "--table=segments.csv",
        ),
    ),
    "shards": Command(
        "spikesight.commands.shards:shards_command",
        "Packs photos into tar files that are read from front to back.",
        (
            "spikesight shards photos/ --output=shards",
            "spikesight train shards",
            "spikesight shards 'imagenet/imagenet1k-train-{0000..1023}.tar'",
        ),
    ),
    "events": Command(
        "spikesight.commands.events:events_command",
        "Says what an event camera recorded; draws it as a GIF.",
        (
            "spikesight events recording.es",
            "spikesight events recording.raw --gif=recording.gif --frames=24",
        ),
    ),
    "saccades": Command(
        "spikesight.commands.events:saccades_command",
        "Turns photos into recordings by small saccades.",
        (
            "spikesight saccades digits_events",
            "spikesight saccades fashion_events --data.format=idx --data.path=fashion --size=32",
        ),
        _SKIPPING,
    ),
    "verify": Command(
        "spikesight.commands.models:verify_command",
        "Proves a trained model equal to its binary spikes.",
        (
            "spikesight verify runs/fashion_mnist_nano/best",
            "spikesight verify weights/cifar10_tiny --data.path=cifar10-train.tar --images=64",
            "spikesight verify fashion.spk --run=runs/fashion_mnist_nano --against=spikes,onnx",
        ),
        _DATA,
    ),
    "quantize": Command(
        "spikesight.commands.models:quantize_command",
        "Makes a low-bit model of a trained one, to be trained on.",
        (
            "spikesight quantize runs/fashion_mnist_nano runs/fashion4_start --bits=4",
            "spikesight train configs/fashion_mnist_nano.yaml --model.weights=runs/fashion4_start "
            "--model.bits=4 --output=runs/fashion4",
            "spikesight quantize weights/cifar10_tiny runs/cifar4_start --rep-conv=spike_driven",
            "spikesight quantize runs/camvid_small runs/camvid4_start --bits=4 --images=128",
        ),
        _DATA,
    ),
    "convert-ann": Command(
        "spikesight.commands.conversion:convert_ann_command",
        "Makes a spiking network of a trained ReLU twin, or of one with more levels.",
        (
            "spikesight convert-ann runs/twin runs/spiking",
            "spikesight convert-ann runs/twin runs/spiking4 --levels=4 --images=1024",
            "spikesight convert-ann runs/twin runs/if --levels=1 --steps=8",
            "spikesight train runs/spiking/config.yaml",
            "spikesight train runs/spiking/config.yaml --resume",
            "spikesight verify runs/spiking",
            "spikesight deploy runs/spiking_tuned spiking.spk",
        ),
        _DATA,
    ),
    "deploy": Command(
        "spikesight.commands.networks:deploy_command",
        "Makes a trained model one integer network, equal to its spikes.",
        (
            "spikesight deploy runs/fashion_mnist_nano/best fashion.spk",
            "spikesight deploy runs/fashion_mnist_nano/best fashion4.spk --weight-bits=4",
            "spikesight deploy weights/cifar10_tiny cifar.spk --photos=photos",
        ),
        _DATA,
    ),
    "audit": Command(
        "spikesight.commands.networks:audit_command",
        "Classes every operation of a deployed network: spike-driven or not.",
        (
            "spikesight audit fashion.spk --run=runs/fashion_mnist_nano",
            "spikesight audit runs/fashion_mnist_nano/best --html=audit.html",
        ),
        _DATA,
    ),
    "export": Command(
        "spikesight.commands.networks:export_command",
        "Writes a deployed network for ONNX, OpenVINO or NIR, or as C.",
        (
            "spikesight export fashion.spk fashion.onnx",
            "spikesight export fashion.spk fashion.xml",
            "spikesight export cifar.spk cifar.onnx --photo-input",
            "spikesight export fashion.spk fashion.c",
            "spikesight export digits_events.spk digits_events.onnx --frames",
        ),
    ),
    "bench": Command(
        "spikesight.commands.networks:bench_command",
        "Times a deployed network in every installed runtime, and an ANN beside it.",
        (
            "spikesight bench fashion.spk --batch=8",
            "spikesight bench cells.spk --size=416 --threads=2 --twin=runs/cells_ann",
        ),
    ),
    "energy": Command(
        "spikesight.commands.energy:energy_command",
        "Counts synaptic operations on real images, and their energy.",
        (
            "spikesight energy runs/fashion_mnist_nano/best --html=energy.html",
            "spikesight energy fashion.spk --run=runs/fashion_mnist_nano",
            "spikesight energy fashion.spk --prices=memory,movement --output=energy.csv",
            "spikesight energy runs/fashion_mnist_nano --prices=my_chip.yaml",
            "spikesight energy runs/cifar10_tiny --beside=runs/cifar10_quiet --html=both.html",
        ),
        _DATA,
    ),
    "check": Command(
        "spikesight.commands.check:check_command",
        "Finds leaks between samples, states, dead parameters and float synapses of any network.",
        (
            "spikesight check net.py:build --input-shape=4,3,32,32",
            "spikesight check net.py:build --photos=photos",
            "spikesight check net.py:build --input-shape=4,2,2,32,32 --axes=TB --reset",
            "spikesight check runs/fashion_mnist_nano",
            "spikesight check spikformer_nano",
        ),
        _SKIPPING,
    ),
    "convert": Command(
        "spikesight.commands.models:convert_command",
        "Writes an authors' checkpoint or a trained run as a small model folder.",
        (
            "spikesight convert runs/cifar10_tiny/best cifar10_tiny_half --half",
            "spikesight convert 15M.pth sdt_15m --family=metaspikformer --configuration.steps=4 "
            "--image_size=224 --crop_fraction=0.875 --classes=names.txt",
        ),
    ),
    "models": Command(
        "spikesight.commands.models:models_command",
        "Lists the architectures that can be trained.",
        ("spikesight models", "spikesight models '*15m*'", "spikesight models --sizes"),
    ),
    "recipes": Command(
        "spikesight.commands.recipes:recipes_command",
        "Lists the recipes and trained models that come along, by name.",
        (
            "spikesight recipes",
            "spikesight recipes '*cifar10*'",
            "spikesight recipes cifar10_tiny > mine.yaml",
        ),
    ),
}
