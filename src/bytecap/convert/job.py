"""A checkpoint of any usual kind into one safetensors file, by a process that may do nothing else.

In:   a file of any kind in `kinds/` (PyTorch's where no other claims its name), an index of shards, or a folder.
Out:  one `.safetensors` file, and what was taken.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from bytecap.core.errors import BackendError, BytecapError, ConfigError, DataError
from bytecap.core.files import read_json, refuse_place, write_atomic

SAFETENSORS = ".safetensors"
WEIGHTS, REPLY = "weights.safetensors", "reply.json"
"""What the child leaves in the folder that it is given."""
FULL_DISK = 74
"""The child's exit code where it could not write, as there may be no room for a reply."""
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Names of what a published model's folder holds, in the order in which they are looked for."""
_SHOWN_TAIL = 300


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint."""

    file: str
    bytes: int
    key: str
    """Where in the checkpoint the weights were; `.` for the whole."""
    tensors: int
    numbers: int
    renamed: int
    """Names that lost what a wrapper had put into them."""
    left_out: dict[str, str]
    """Names of what is not in the file, with its kind."""
    dequantized: dict[str, int]
    """Weights that were written as the numbers they stand for, by the layout they were in."""
    quantized: list[str]
    """Layouts of weights that were written as they were stored."""


def convert(source: Path, out: Path, key: str | None = None, *, dequantize: bool = False) -> Converted:
    """Write the weights of `source` to `out`, which must not be there yet; those that are quantized as floats if asked.

    ConfigError where `source` holds several sets of weights and `key` (keys joined by dots) chooses none, or nothing
    that could be dequantized, DataError for what cannot be read or held, BackendError where `out` cannot be written.
    """
    if out.suffix != SAFETENSORS:
        raise ConfigError(f"{out} must end in {SAFETENSORS}, as that is what is written; give another name")
    refuse_place(out, replace=False)
    files = find_files(source)
    reply: dict[str, Any] = {}

    def fill(temporary: Path) -> None:
        job = {"files": {str(file.absolute()): wanted for file, wanted in files.items()}, "key": key}
        job["dequantize"] = _quantization(source) if dequantize else None
        reply.update(_run_child(source, job, temporary.parent))
        (temporary.parent / WEIGHTS).replace(temporary)
        _check(temporary, reply)

    write_atomic(out, fill)
    return Converted(file=str(out), bytes=out.stat().st_size, **reply)


def find_files(source: Path) -> dict[Path, list[str] | None]:
    """The files that `source` means, each with the names of the tensors wanted of it, or None for all.

    A folder means the index or the whole file in it, an index its shards.
    """
    if source.is_dir():
        for name in (*INDICES, *WHOLE):
            if (source / name).is_file():
                return find_files(source / name)
        raise ConfigError(f"{source} is a folder without {', '.join((*INDICES, *WHOLE))}; give the checkpoint itself")
    if not source.is_file():
        raise DataError(f"{source} does not exist; give a checkpoint", path=str(source))
    if source.suffix != ".json":
        return {source: None}
    shards = _weight_map(source)
    files: dict[Path, list[str] | None] = {source.parent / shard: [] for shard in dict.fromkeys(shards.values())}
    for name, shard in shards.items():
        wanted = files[source.parent / shard]
        assert wanted is not None, "the dictionary above has a list for each shard"
        wanted.append(name)
    for file in files:
        if not file.is_file():
            raise DataError(f"{source} names {file.name}, which is not there; get all shards", path=str(file))
    return files


def _weight_map(index: Path) -> dict[str, str]:
    value = read_json(index)
    shards = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        raise DataError(f"{index} is no index of shards: it has no weight_map from names to files; give another")
    for shard in shards.values():
        if Path(shard).name != shard or not shard.isprintable():
            raise DataError(f"{index} names the shard {shard!r}, which is not a file beside it; correct the index")
    return shards


def _quantization(source: Path) -> dict[str, Any]:
    """What the config beside the weights says of their quantization; empty where there is none."""
    folder = source if source.is_dir() else source.parent
    for name, key in (("config.json", "quantization_config"), ("quantize_config.json", None)):
        if (folder / name).is_file():
            value = read_json(folder / name)
            found = value.get(key) if key is not None and isinstance(value, dict) else value
            if isinstance(found, dict):
                return found
    return {}


def _run_child(source: Path, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the child says it wrote into `folder`; its errors are raised here, a full disk as OSError."""
    job["folder"] = str(folder)
    code = f"import sys; sys.path[:] = {sys.path!r}; from bytecap.convert.child import main; main(sys.stdin.read())"
    log = folder / "log.txt"
    with log.open("wb") as said:
        child = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=said, stderr=said)
        try:
            with contextlib.suppress(BrokenPipeError):
                child.communicate(json.dumps(job).encode())
        finally:
            child.kill()
            child.wait()
    if child.returncode == FULL_DISK:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if child.returncode != 0 or not (folder / REPLY).is_file():
        raise _died(source, child.returncode, log)
    reply = read_json(folder / REPLY)
    if "error" in reply:
        kind = {"ConfigError": ConfigError, "BackendError": BackendError}.get(reply["error"]["kind"], DataError)
        raise kind(reply["error"]["message"], path=str(source))
    return dict(reply)


def _died(source: Path, code: int, log: Path) -> BytecapError:
    lines = log.read_text("utf-8", errors="replace")[-4096:].strip().splitlines() or [""]
    with contextlib.suppress(ValueError):
        lines.append(f"signal {signal.Signals(-code).name}")
    return DataError(
        f"the process that read {source} ended without a result ({lines[-1][-_SHOWN_TAIL:] or f'exit code {code}'}); "
        "the file is damaged, or no checkpoint, or asks for more memory or time than its size explains",
        path=str(source),
    )


def _check(path: Path, reply: dict[str, Any]) -> None:
    """Raise DataError unless the file made from an untrusted checkpoint is a whole safetensors file."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            if len(file.keys()) == reply["tensors"]:
                return
    except safetensors.SafetensorError:
        pass
    raise DataError("what was written is no safetensors file; the checkpoint is damaged or means harm")
