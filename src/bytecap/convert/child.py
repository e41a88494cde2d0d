"""The process that opens a stranger's checkpoint: tensors out of it into a safetensors file, and nothing else.

In:   a job: files, a key, a folder to write into.
Out:  `weights.safetensors` and `reply.json` in that folder. Whatever happens to this process, the caller is safe.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bytecap.convert.foreign import stand_in
from bytecap.convert.job import REPLY, WEIGHTS
from bytecap.convert.limits import confine
from bytecap.convert.tables import choose, flatten, unwrap_names
from bytecap.convert.tensors import separate
from bytecap.core.errors import BytecapError, DataError

MAX_GROWTH, SPARE_BYTES = 8, 1 << 20
"""Tensors may take so many times the bytes of their files, for tied ones are written twice, and so many more."""


def main(job: str) -> None:
    """Do a job given as JSON; the reply says what was taken, or what was wrong."""
    asked = json.loads(job)
    folder = Path(asked["folder"])
    torch.set_num_threads(1)
    confine(folder, MAX_GROWTH * _size(asked["files"]) + SPARE_BYTES)
    try:
        reply = convert_files(asked["files"], asked["key"], folder)
    except BytecapError as error:
        reply = {"error": {"kind": type(error).__name__, "message": str(error)}}
    except MemoryError:
        reply = {"error": {"kind": "DataError", "message": "the file asks for more memory than its weights can need"}}
    (folder / REPLY).write_text(json.dumps(reply))


def convert_files(files: Mapping[str, list[str] | None], key: str | None, folder: Path) -> dict[str, Any]:
    """Write the weights of `files` (the names wanted of each, or None for all) into `folder`; what was taken."""
    tensors: dict[str, torch.Tensor] = {}
    left: dict[str, str] = {}
    taken = key
    for path, wanted in files.items():
        root = load_file(path) if path.endswith(".safetensors") else load_tables(Path(path))
        taken, table = choose(root, key)
        found, apart = flatten(table)
        left |= apart | _beside(root, taken)
        if wanted is not None and (missing := sorted(set(wanted) - set(found))):
            raise DataError(f"{path} lacks {missing[0]}, which the index says it has; get the file again")
        tensors |= {name: found[name] for name in (found if wanted is None else wanted)}
    empty = {name for name, value in tensors.items() if value.numel() == 0}
    names = unwrap_names(name for name in tensors if name not in empty)
    held = separate({new: tensors[old] for old, new in names.items()}, MAX_GROWTH * _size(files) + SPARE_BYTES)
    if not held:
        raise DataError("the weights are all empty; give another file")
    save_file(held, folder / WEIGHTS, metadata={"format": "pt"})
    return {
        "key": taken,
        "tensors": len(held),
        "numbers": sum(value.numel() for value in held.values()),
        "renamed": sum(old != new for old, new in names.items()),
        "left_out": left | dict.fromkeys(empty, "empty tensor"),
    }


def load_tables(path: Path) -> Any:
    """What `torch.save` wrote into `path`, on the CPU; objects of classes that are not torch's own are stand-ins."""
    zipped = zipfile.is_zipfile(path)
    try:
        names = _foreign_names(path) if zipped else []
        with torch.serialization.safe_globals([stand_in(name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except (BytecapError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as a PyTorch checkpoint: {_first_line(error)}; if it is one, load it where it was "
            "made and save its state_dict() alone"
        ) from error


def _foreign_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            raise DataError(f"{path} is a TorchScript program, not weights; save its state_dict() where it was made")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise DataError(f"{path} is a compressed archive, which torch.save never writes; unpack it first")
    return torch.serialization.get_unsafe_globals_in_checkpoint(path)


def _beside(root: Any, key: str) -> dict[str, str]:
    """What the file holds beside the table that was chosen."""
    if not isinstance(root, dict) or key == ".":
        return {}
    return {str(name): type(value).__name__ for name, value in root.items() if not f"{key}.".startswith(f"{name}.")}


def _first_line(error: Exception) -> str:
    text = str(error).replace("Weights only load failed.", "").strip() or type(error).__name__
    for line in text.splitlines():
        if "Unsupported" in line or "GLOBAL" in line or "blocked" in line:
            return line.strip().split(" Please use")[0][:200].rstrip(".")
    return text.splitlines()[0][:200].rstrip(".")


def _size(files: Iterable[str]) -> int:
    return sum(Path(path).stat().st_size for path in files)
