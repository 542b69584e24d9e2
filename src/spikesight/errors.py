"""Mistakes in what a user brought, apart from faults of spikesight."""

from __future__ import annotations

_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


class UserError(ValueError):
    """What was asked cannot be done; the message names the file or field and the remedy.

    The command line prints it as one line. Every other exception than this and `OSError` is a
    fault of spikesight, which is shown whole and asks to be reported.
    """


class MissingPackageError(UserError, ImportError):
    """An optional package is not installed; the message names it and the extra that brings it."""


def missing_package(purpose: str, package: str, extra: str) -> MissingPackageError:
    """The error that says which extra brings a package.

    Args:
        purpose: What cannot be done without it, such as "exporting to .nir".
        package: Its name.
        extra: One of pyproject.toml's optional dependencies.
    """
    return MissingPackageError(f"{purpose} needs the package {package}; {installing(extra)}")


def installing(extra: str) -> str:
    """What to type for an extra; in quotes, since brackets mean something to some shells."""
    return f"pip install 'spikesight[{extra}]'"


class ResultError(UserError, ArithmeticError):
    """What was asked was carried out and came out wrong, such as logits that differ."""


class DivergenceError(ResultError, FloatingPointError):
    """Training left the finite numbers; the message says what to change."""


def is_wrong_call(error: TypeError) -> bool:
    """Whether a call lacked an argument or had one too many; not whether something in it failed.

    Args:
        error: What was raised.
    """
    return "argument" in str(error)


def lack_of_memory(error: BaseException) -> str | None:
    """What to say of an error that means too little memory, of Python's or PyTorch's; else None.

    Args:
        error: What was raised.
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)
    ):
        return None
    said = " ".join(text.split())[:200]
    return (
        "there is too little memory for that" + (f" ({said})" if said else "") + "; pass a smaller "
        "batch_size or image size, or a smaller model"
    )


class FileError(UserError):
    """A file or folder cannot be read; the message names it and what to do."""


class WriteError(FileError, OSError):
    """A file or folder cannot be written; the message names it and what to do."""
