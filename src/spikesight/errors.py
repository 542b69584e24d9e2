"""Mistakes in what a user brought, apart from faults of spikesight."""

from __future__ import annotations


class UserError(ValueError):
    """What was asked cannot be done; the message names the file or field and the remedy.

    The command line prints it as one line. Every other exception than this, `OSError` and
    `ImportError` is a fault of spikesight.
    """


class FileError(UserError):
    """A file or folder cannot be read; the message names it and what to do."""
