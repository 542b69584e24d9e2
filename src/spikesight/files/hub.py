"""Models on the Hugging Face hub, or on the server that the environment's HF_ENDPOINT names."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from spikesight.errors import FileError, UserError
from spikesight.files.names import show

_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
# All that a model is read from: whatever else somebody put beside it stays there.
_NEEDED = ("config.json", "model.safetensors")
_TAKEN = (*_NEEDED, "run.json", "calibration.safetensors")
_CHUNK = 2**20
# Folders of this project's own commands: a misspelt path must not become a stranger's model.
_FOLDERS = frozenset({"configs", "runs", "weights"})


def is_hub_id(source: str | Path) -> bool:
    """Whether it has the form "owner/name" of models on the hub, and there is no such path here.

    Where there is a folder `owner`, or that is a name of the folders in the documents, a path was
    meant.
    """
    path = Path(source)
    return (
        _ID.fullmatch(path.as_posix()) is not None
        and path.parent.name not in _FOLDERS
        and not path.parent.exists()
    )


@functools.cache
def download_model(name: str) -> Path:
    """Fetches a model's files, or takes them from the cache of earlier times; once per process.

    Args:
        name: "owner/name".

    Returns:
        The folder with config.json and model.safetensors, and with run.json and what its deployment
        asks of data, if the model has them.

    Raises:
        FileNotFoundError: If there is no such model, or the hub cannot be reached.
        FileError: If what came is not what the hub has.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_TAKEN)))
    except Exception as error:  # of its many kinds, and those of its HTTP library
        if "onsistency" in str(error):
            raise FileError(
                f"{name}: a file came from the hub shorter or longer than it is there; try again"
            ) from error
        raise FileNotFoundError(_reason(name, error)) from error
    for file in _NEEDED:
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"{name} on the hub has no {file}, so it is no model of spikesight; pass one that "
                "save_pretrained or push_to_hub wrote"
            )
    for file in _TAKEN:
        if (folder / file).is_file():
            _check_content(name, folder / file)
    return folder


def upload_model(folder: Path, name: str, private: bool) -> str:
    """Puts the files of a folder on the hub, where the model is made if it does not exist.

    Args:
        folder: What to upload.
        name: "owner/name".
        private: Whether a new one is only seen by its owner.

    Returns:
        Its address.

    Raises:
        UserError: If the name is none, or the hub refuses.
    """
    from huggingface_hub import HfApi

    if _ID.fullmatch(name) is None:
        raise UserError(f"{show(name)} is no name on the hub; pass OWNER/NAME")
    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        message = "Upload a spiking network of spikesight"
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except Exception as error:
        raise UserError(
            f"{name} could not be put on the hub ({_first_line(error)}); log in by `hf auth login` "
            "with a token that may write there"
        ) from error
    return str(address)


def _reason(name: str, error: Exception) -> str:
    from huggingface_hub import errors

    here = f"{name} is no folder here and could not be had from the hub: "
    if isinstance(error, errors.GatedRepoError):
        return f"{here}its owner wants to be asked on its page first; then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{here}there is no such model, or a private one; correct it, or `hf auth login`"
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        return f"{here}the hub cannot be reached; go online once, or pass a folder"
    return f"{here}{_first_line(error)}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _check_content(name: str, file: Path) -> None:
    """Compares a file with the hash that the hub has of it.

    The hub's cache calls a file's place by that hash: SHA-256 of large files, git's SHA-1 of
    others. Where a system has no links, the place has another name and nothing is compared.
    """
    place = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", place.name):
        hashed = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", place.name):
        hashed = hashlib.sha1(f"blob {place.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return
    with place.open("rb") as content:
        while chunk := content.read(_CHUNK):
            hashed.update(chunk)
    if hashed.hexdigest() != place.name:
        raise FileError(
            f"{name}: {file.name} is not what the hub has (another hash); delete {show(place)} "
            "and try again"
        )
