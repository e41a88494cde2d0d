"""A Hugging Face folder on disk: what is in it, and whether all of it is there.

In:   a path.
Out:  a Folder: config, files of weights, the type of each stored tensor, the small files that make it again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from bytecap.artifact.attached import DTYPE_NAMES
from bytecap.convert.job import INDICES, WHOLE, convert, find_files
from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.core.files import parse_json
from bytecap.huggingface.config import (
    FIT_NUMBERS,
    QUANTIZATION_KEYS,
    ModelFacts,
    read_facts,
    refuse_code,
    what_to_do,
)
from bytecap.huggingface.tokenizer import TOKENIZER_FILES

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
_MODEL_FILES = (CONFIG, "generation_config.json")
_BESIDE_TOKENIZER = (TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
SAFETENSORS = ".safetensors"
QUANTIZED_NAMES = {
    ".qweight": "GPTQ or AWQ", ".qzeros": "GPTQ or AWQ", ".weight_scale_inv": "fp8 with scales", ".SCB": "bitsandbytes",
    ".weight.absmax": "bitsandbytes", ".weight_scale": "compressed-tensors", ".weight_packed": "compressed-tensors",
    "_blocks": "MXFP4", ".W_q": "HQQ",
}  # fmt: skip
"""How names of tensors end that only quantized checkpoints have."""


@dataclass(frozen=True)
class Folder:
    """A checked folder."""

    path: Path
    config: dict[str, Any]
    facts: ModelFacts
    dtypes: dict[str, str]
    """The type of each tensor in safetensors files, in their words; empty where the weights are of another kind."""
    foreign: bool
    """The weights are of PyTorch's own kind."""
    trust_code: bool

    @property
    def model_files(self) -> list[str]:
        """Names of the small files that describe the model."""
        code = sorted(path.name for path in self.path.glob("*.py")) if self.trust_code else []
        return [*(name for name in _MODEL_FILES if (self.path / name).is_file()), *code]

    @property
    def tokenizer_files(self) -> list[str]:
        """Names of the files that make the tokenizer; empty where there is none."""
        return tokenizer_files(self.path)

    @contextmanager
    def loadable(self) -> Iterator[Path]:
        """A folder that can be loaded as safetensors: this one, or for so long a copy with converted weights."""
        if not self.foreign:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as temporary:
            for name in (*self.model_files, *self.tokenizer_files):
                (Path(temporary) / name).write_bytes((self.path / name).read_bytes())
            convert(self.path, Path(temporary) / WHOLE[0])
            yield Path(temporary)


def copy_dequantized(path: Path, into: Path) -> Path:
    """Write a copy of a folder with its quantized weights replaced by the numbers that they stand for; returns it."""
    config = _read_table(path / CONFIG)
    code = [file.name for file in path.glob("*.py")]
    for name in {*(name for name in _MODEL_FILES if (path / name).is_file()), *tokenizer_files(path), *code} - {CONFIG}:
        (into / name).write_bytes((path / name).read_bytes())
    kept = {key: value for key, value in config.items() if key not in QUANTIZATION_KEYS}
    (into / CONFIG).write_text(json.dumps(kept, ensure_ascii=False), "utf-8")
    convert(path, into / WHOLE[0], dequantize=True)
    return into


def tokenizer_files(path: Path) -> list[str]:
    """Names of the files in a folder that make a tokenizer; empty where there is none."""
    has = [name for name in TOKENIZER_FILES if (path / name).is_file()]
    if not has:
        return []
    made = has[:1] if TOKENIZER_FILES[0] in has else has
    return [*made, *(name for name in _BESIDE_TOKENIZER if (path / name).is_file())]


def read_small(path: Path, names: list[str]) -> dict[str, bytes]:
    """The bytes of small files; JSON without what only eyes need."""
    found = {}
    for name in names:
        if name.endswith(".json"):
            found[name] = json.dumps(_read_json(path / name), ensure_ascii=False, separators=(",", ":")).encode()
        else:
            found[name] = (path / name).read_bytes()
    return found


def tokenizer_digest(path: Path) -> str:
    """Digest of the tokenizer in a folder, whatever the spaces in its JSON; empty where there is none."""
    files = read_small(path, tokenizer_files(path))
    return digest_bytes(b"".join(files.values())) if files else ""


def refuse_tokenizer_code(path: Path, *, trust_code: bool) -> None:
    """Raise ConfigError for a tokenizer that wants to run code of its own, unless that was allowed."""
    if (path / TOKENIZER_CONFIG).is_file():
        refuse_code(_read_table(path / TOKENIZER_CONFIG), TOKENIZER_CONFIG, trust_code)


def open_folder(path: Path, *, trust_code: bool = False) -> Folder:
    """Check a folder and take stock of it.

    ConfigError where it wants to run code of its own, DataError where a part of it is missing, damaged or of a kind
    that is not fitted.
    """
    config = _read_table(path / CONFIG)
    facts = read_facts(config, trust_code=trust_code)
    refuse_tokenizer_code(path, trust_code=trust_code)
    if not any((path / name).is_file() for name in (*INDICES, *WHOLE)):
        others = sorted(file.name for file in path.glob(f"*{SAFETENSORS}"))
        found = f"; it has {', '.join(others[:3])}" if others else ""
        raise DataError(
            f"{path} has a {CONFIG} and no weights beside it: one of {', '.join((*WHOLE, *INDICES))} is needed{found}; "
            "get the rest of the folder",
            path=str(path),
        )
    files = find_files(path)
    foreign = not all(file.suffix == SAFETENSORS for file in files)
    dtypes: dict[str, str] = {}
    for file, wanted in files.items() if not foreign else ():
        found_here = _stored_types(file)
        if missing := [name for name in wanted or () if name not in found_here]:
            raise DataError(
                f"the index of {path} says that {missing[0]} is in {file.name}, which does not hold it; get both again",
                path=str(file), tensor=missing[0],
            )  # fmt: skip
        dtypes |= found_here
    _refuse_quantized(path, dtypes)
    return Folder(path, config, facts, dtypes, foreign, trust_code)


def _stored_types(file: Path) -> dict[str, str]:
    """The type of each tensor of a safetensors file; DataError where it is damaged or holds unusual numbers."""
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            found = {name: str(opened.get_slice(name).get_dtype()) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(f"{file} is no whole safetensors file ({error}); get it again", path=str(file)) from error
    for name, kind in found.items():
        if kind not in DTYPE_NAMES:
            raise DataError(
                f"tensor {name} of {file.name} has the type {kind}, so the checkpoint is quantized already; "
                f"{FIT_NUMBERS}, or fit the original at 16 or 32 bits",
                tensor=name,
            )
    return found


def _refuse_quantized(path: Path, names: Collection[str]) -> None:
    """Raise DataError where the names of tensors say that the weights are integers with scales."""
    for name in names:
        if kind := next((kind for end, kind in QUANTIZED_NAMES.items() if name.endswith(end)), None):
            raise DataError(
                f"tensor {name} of {path} belongs to weights that are quantized already ({kind}); {what_to_do(kind)}",
                tensor=name,
            )


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); get it again", path=str(path)) from error


def _read_table(path: Path) -> dict[str, Any]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object; get it again", path=str(path))
    return value
