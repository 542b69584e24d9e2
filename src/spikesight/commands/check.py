"""The command line's view of the check of a network: find it, call, print."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, Literal

from spikesight.data.config import Split
from spikesight.errors import ResultError, UserError, is_wrong_call
from spikesight.files.names import show
from spikesight.lazy_names import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

_MEAN, _STD = 0.5, 0.25
_USUAL = (4, 3, 32, 32)


def check_command(
    target: str,
    input_shape: str = "",
    axes: Literal["auto", "B", "TB", "BT", "folded"] = "auto",
    steps: int | None = None,
    reset: bool = False,
    photos: Path | None = None,
    images: int = 8,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
) -> None:
    """Examines a network, of this library or any other, and fails where it finds a fault.

    Does a sample depend on its batch-mates, a time step on later ones, a call on earlier ones? Does
    training compute something else than evaluation? Which synapses read neither spikes nor counts,
    which parameters get no gradient, which neurons are silent or saturated? Faults are named by the
    module that causes them.

    Args:
        target: FILE.py:function, which returns a module, or a module and an example of its input;
            or the folder of a run; or the name of a registered model.
        input_shape: Shape of an input of random numbers, such as 4,3,32,32, where the function
            gives no example and there are no photos.
        axes: Leading axes of the input: B, TB, BT, or folded for T*B; auto finds out.
        steps: Time steps T of folded axes.
        reset: Whether reset() of every submodule that has one precedes each call, as in loops with
            SpikingJelly's reset_net.
        photos: A photo, or a folder of them, to take as input instead of random numbers.
        images: Number of images, of photos or of a run's data.
        data: Fields of a run's data configuration that differ from training: --data.path=… and so
            on.
        split: Which images of a run.
    """
    from spikesight.checks import check
    from spikesight.registry import create_model, is_registered

    file, colon, function = target.rpartition(":")
    if colon:
        module, example = _made(file, function)
    elif Path(target).is_dir():
        module, example = _of_run(Path(target), input_shape, photos, images, data, split)
    elif is_registered(target):
        module, example = create_model(target), None
    else:
        raise UserError(
            f"there is no model and no folder {show(target)}; pass FILE.py:function, the folder of "
            "a run, or a name that spikesight models lists"
        )
    if photos is not None and not Path(target).is_dir():
        shape = _shape(input_shape) or getattr(example, "shape", _USUAL)
        example = _photos(photos, tuple(shape), images)
    elif input_shape or example is None:
        example = _random(_shape(input_shape) or (_USUAL if not colon else ()))
    report = check(module, example, axes=axes, steps=steps, reset=reset)
    print(report.table())
    if not report.ok:
        count = len(report.findings)
        raise ResultError(f"{count} finding{'s' * (count > 1)}; the table names the modules")


def _made(file: str, function: str) -> tuple[nn.Module, Any]:
    """The module that a function of a user's file makes, and its example; None if it has none."""
    from torch import nn

    from spikesight.parts import import_part

    import_part(file)
    source = sys.modules.get(file if file in sys.modules else Path(file).stem)
    made = getattr(source, function, None)
    place = f"{show(file)}:{show(function)}"
    if made is None:
        own = [n for n, v in vars(source).items() if _is_own(v, source)]
        there = f"it has {', '.join(own)}" if own else "it has none"
        raise UserError(f"{show(file)} has no function {function!r}; {there}")
    if not isinstance(made, nn.Module) and callable(made):
        try:
            made = made()
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, TypeError) and is_wrong_call(error):
                raise UserError(f"{place} takes arguments ({error}); pass one without") from error
            said = f"{type(error).__name__}: {error}"
            raise UserError(f"{place} fails with {said}; mend it first") from error
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise UserError(
            f"{place} is a {type(module).__name__}; have it return a torch.nn.Module, or a module "
            "and an example of its input"
        )
    return module, example


def _is_own(value: object, source: object) -> bool:
    """Whether a function or class is a file's own."""
    is_made = inspect.isfunction(value) or inspect.isclass(value)
    return is_made and getattr(value, "__module__", "") == getattr(source, "__name__", None)


def _of_run(
    folder: Path,
    input_shape: str,
    photos: Path | None,
    images: int,
    data: dict[str, Any] | None,
    split: Split,
) -> tuple[nn.Module, Any]:
    from spikesight.pretrained import load
    from spikesight.training.runs.folder import resolve_model_folder
    from spikesight.training.tasks.validation import sample_images

    model = load(resolve_model_folder(folder))
    return model, None if input_shape else sample_images(folder, data, images, split, photos)


def _shape(text: str) -> tuple[int, ...]:
    """The numbers of a shape."""
    words = [word for word in text.strip("[]() ").replace("x", ",").split(",") if word.strip()]
    try:
        shape = tuple(int(word) for word in words)
    except ValueError:
        shape = (0,)
    if any(side < 1 for side in shape):
        raise UserError(f"input_shape is {text!r}; pass whole numbers such as 4,3,32,32")
    return shape


def _random(shape: tuple[int, ...]) -> Tensor:
    import torch

    if not shape:
        raise UserError(
            "there is no example of the input; pass --input-shape=4,3,32,32, or have the function "
            "return a module and an example"
        )
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _photos(photos: Path, shape: tuple[int, ...], images: int) -> Tensor:
    """Photos as a network of that input takes them, with a mean of about 0."""
    from spikesight.data.photos.preprocessing import Preprocessing
    from spikesight.data.prediction import PredictionImages
    from spikesight.options import check_range

    check_range("images", images, least=1)
    if len(shape) != 4 or shape[2] != shape[3] or shape[1] not in (1, 3):
        raise UserError(
            f"photos are [B, 1 or 3, H, H] and the input is {list(shape)}; pass another "
            "--input-shape, or have the function return a module and an example"
        )
    channels = shape[1]
    steps = Preprocessing(shape[2], channels, (_MEAN,) * channels, (_STD,) * channels)
    _, batch = next(iter(PredictionImages(photos, steps, images)))
    return batch
