"""A causal language model of transformers: built from a folder or from a `.bcap` file, and run on tokens.

In:   a Folder, or an Artifact with an attached config.json.
Out:  a torch module in float32 and evaluation mode; logits.

A file holds the tensors of the module as transformers names them, which may differ from the names in a folder: newer
versions keep the experts of a layer in one tensor. `save_pretrained` turns them back.

Letters: B windows, T positions, V vocabulary.
"""

from __future__ import annotations

import inspect
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bytecap.artifact.load import Artifact
from bytecap.core.errors import DataError, FormatError
from bytecap.core.files import parse_json
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.huggingface.config import FIT_NUMBERS, ModelFacts, read_facts
from bytecap.huggingface.folder import CONFIG, Folder
from bytecap.huggingface.library import OFFLINE, library_errors, transformers

PROBE_TOKENS = 12
"""Tokens of the text on which a model is asked whether it sees what comes."""
SEEN = 1e-3
"""Change of earlier logits over their size from which a model does."""
FLOATS = ("F64", "F32", "F16", "BF16")
MAX_FREE_WEIGHTS = 1 << 24
"""Weights that a config may ask for whatever the file holds."""
MAX_FREE_PARTS = 1024
"""Layers, heads and experts that a config may ask for, however few tensors the file has."""
_REPEATED = re.compile("^(?!.*(size|dim|width|len|window|position|rank)).*(layer|block|expert|head|group|depth)")
"""Keys whose number says how often a part is made."""
EXPERTS = {"experts_implementation": "eager"}
"""Experts one after the other: the way in which calibration sees which inputs each of them had."""


@dataclass(frozen=True)
class CausalModel:
    """A module and what is known of it."""

    module: nn.Module
    facts: ModelFacts
    dtypes: Mapping[str, str]
    """The type that each tensor of the module had, as safetensors names it."""

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """What follows each token, (B, T, V), by what lies before it in its row."""
        return model_logits(self.module, tokens_BT)


def model_logits(module: nn.Module, tokens_BT: Tensor) -> Tensor:
    """Logits (B, T, V) in float32 of a module of transformers."""
    logits_BTV: Tensor = module(input_ids=tokens_BT, use_cache=False).logits
    return logits_BTV.float()


def is_hugging_face(artifact: Artifact) -> bool:
    """Tell a file whose weights are those of a Hugging Face model."""
    return artifact.spec is None and CONFIG in artifact.attached


def load_folder(folder: Folder, progress: Progress) -> CausalModel:
    """The model of a folder; DataError where its weights are not all there or do not fit its config."""
    library = transformers()
    with folder.loadable() as path, _random_kept(), library_errors(library, f"the model in {folder.path}"):
        module, info = library.AutoModelForCausalLM.from_pretrained(
            str(path), dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
            trust_remote_code=folder.trust_code, **OFFLINE, **EXPERTS, **_unmapped(library),
        )  # fmt: skip
    _refuse_incomplete(folder.path, info)
    for name, _ in module.named_parameters():
        if (kind := folder.dtypes.get(name, "F32")) not in FLOATS:
            raise DataError(
                f"tensor {name} of {folder.path} holds whole numbers ({kind}), so the checkpoint is quantized already; "
                f"{FIT_NUMBERS}, or fit the original at 16 or 32 bits",
                tensor=name,
            )
    if unused := sorted(info["unexpected_keys"]):
        progress.note(
            f"{counted(len(unused), 'tensor')} of {folder.path} not used by {type(module).__name__}, and so not in "
            f"the file: {', '.join(unused[:3])}{' ..' if len(unused) > 3 else ''}"
        )
    module.eval().requires_grad_(False)
    refuse_non_causal(module, folder.facts)
    return CausalModel(module, folder.facts, _module_types(module, folder.dtypes, folder.config))


def _unmapped(library: ModuleType) -> dict[str, bool]:
    """What asks for weights that do not lie in a mapped file, which would end the process if it were cut short."""
    known = inspect.signature(library.PreTrainedModel.from_pretrained).parameters
    return {"disable_mmap": True} if "disable_mmap" in known else {}


def load_artifact(artifact: Artifact, *, trust_code: bool = False) -> CausalModel:
    """The model of a file; FormatError where its config and its tensors do not belong together."""
    if not is_hugging_face(artifact):
        raise FormatError("the file holds no Hugging Face model: it has no config.json attached")
    config = read_attached(artifact, CONFIG)
    facts = read_facts(config, trust_code=trust_code)
    _refuse_deep(config, len(artifact.quantized.tensors) + len(artifact.quantized.aliases))
    library, stored = transformers(), artifact.quantized
    shapes = {name: tensor.shape for name, tensor in stored.tensors.items()}
    shapes |= {name: shapes[known] for name, known in stored.aliases.items()}
    with attached_folder(artifact) as path, _random_kept(), library_errors(library, "the model in the file"):
        described = library.AutoConfig.from_pretrained(str(path), trust_remote_code=trust_code, **OFFLINE)

        def build() -> nn.Module:
            built: nn.Module = library.AutoModelForCausalLM.from_config(
                described, dtype=torch.float32, trust_remote_code=trust_code, **EXPERTS
            )
            return built

        _refuse_large(build, sum(map(math.prod, shapes.values())))
        module = build()
    wanted = module.state_dict()
    tied = {name for name in wanted if name not in dict(module.named_parameters()) and name in _tied_names(module)}
    wrong = [name for name, shape in shapes.items() if name not in wanted or wanted[name].shape != shape]
    missing = [name for name in wanted if name not in shapes and name not in tied]
    if wrong or missing:
        what = f"tensor {wrong[0]} does not fit" if wrong else f"tensor {missing[0]} is missing for"
        raise FormatError(f"{what} the model that config.json describes; the file was made with another transformers")
    for name in shapes:  # one at a time, so that not all are there twice
        wanted[name].copy_(torch.from_numpy(stored.tensors[stored.aliases.get(name, name)].weights()))
    return CausalModel(module.eval().requires_grad_(False), facts, dict(artifact.dtypes))


def read_attached(artifact: Artifact, name: str) -> dict[str, Any]:
    """An attached file of JSON; FormatError where it is none."""
    try:
        value = parse_json(artifact.attached[name])
    except ValueError as error:
        raise FormatError(f"the attached {name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"the attached {name} holds no JSON object")
    return value


@contextmanager
def attached_folder(artifact: Artifact) -> Iterator[Path]:
    """A folder with the attached files, for as long as the block runs."""
    with tempfile.TemporaryDirectory() as temporary:
        for name, data in artifact.attached.items():
            (Path(temporary) / name).write_bytes(data)
        yield Path(temporary)


@torch.no_grad()
def refuse_non_causal(module: nn.Module, facts: ModelFacts) -> None:
    """Raise DataError for a model whose logits depend on later tokens."""
    most = min(PROBE_TOKENS, facts.max_positions or PROBE_TOKENS)
    size = max(2, min(facts.vocab_size or 2, 1 << 16))
    device = next(module.parameters()).device
    tokens_1T = (torch.arange(most, device=device)[None] * 7 + 1) % size
    other_1T = tokens_1T.clone()
    other_1T[0, -1] = (int(tokens_1T[0, -1]) + 1) % size
    first_TV, second_TV = (model_logits(module, each)[0, :-1] for each in (tokens_1T, other_1T))
    if float((first_TV - second_TV).abs().max()) > SEEN * max(float(first_TV.std()), 1e-6):
        raise DataError(
            f"{facts.architecture} is not causal: its logits change with a later token; what is fitted from "
            "a folder must predict the next token from those before it"
        )


def _refuse_incomplete(path: Path, info: Mapping[str, Any]) -> None:
    """Raise DataError for tensors that are missing or of another shape."""
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise DataError(
            f"{path} is half a checkpoint: {counted(len(missing), 'tensor')} of the model missing, such as {missing[0]}"
            "; get all of its files again",
            path=str(path), tensor=missing[0],
        )  # fmt: skip
    if info["mismatched_keys"]:
        name, found, needed = sorted(info["mismatched_keys"], key=str)[0]
        raise DataError(
            f"tensor {name} of {path} has shape {tuple(found)}, its config.json asks for {tuple(needed)}; they do not "
            "belong together",
            path=str(path), tensor=name,
        )  # fmt: skip
    if info["error_msgs"]:
        raise DataError(f"the weights of {path} cannot be read: {str(info['error_msgs'][0])[:300]}; get them again")


def _module_types(module: nn.Module, stored: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    """The type of each tensor of the module: that under its own name, else the usual one of the folder."""
    names = {str(torch.bfloat16): "BF16", str(torch.float16): "F16"}
    declared = names.get(f"torch.{config.get('dtype', config.get('torch_dtype'))}", "F32")
    floats = [kind for kind in stored.values() if kind in FLOATS]
    usual = Counter(floats).most_common(1)[0][0] if floats else declared
    held = dict.fromkeys([*(name for name, _ in module.named_parameters()), *module.state_dict()])
    return {name: stored.get(name, usual) for name in held}


def _tied_names(module: nn.Module) -> set[str]:
    """Names of tensors that are others under a second name."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name for name, parameter in every if first[id(parameter)] != name}


def _refuse_deep(config: Mapping[str, Any], tensors: int) -> None:
    """Raise FormatError before time is taken for a config of more layers or experts than the file has tensors."""
    for name, value in config.items():
        if isinstance(value, dict):
            _refuse_deep(value, tensors)
        count = len(value) if isinstance(value, list) else value
        if type(count) is int and count > max(tensors, MAX_FREE_PARTS) and _REPEATED.search(name):
            raise FormatError(f"config.json has {name[:60]!a} of {value!s:.30}, the file {tensors:,} tensors")


def _refuse_large(build: Callable[[], nn.Module], held: int) -> None:
    """Raise FormatError before memory is taken for a config that asks for more weights than the file has."""
    with torch.device("meta"):
        empty = build()
    asked = sum(parameter.numel() for parameter in empty.parameters())
    masks = sum(buffer.numel() for buffer in empty.buffers())
    if masks > max(held, MAX_FREE_WEIGHTS):
        raise FormatError(f"config.json describes a model that makes {masks:,} numbers by itself, as for a huge mask")
    if asked > max(held, MAX_FREE_WEIGHTS):
        raise FormatError(f"config.json describes a model of {asked:,} weights, the file holds {held:,}")


@contextmanager
def _random_kept() -> Iterator[None]:
    """Restores random states and the default type afterwards."""
    default = torch.get_default_dtype()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            torch.set_default_dtype(default)
