"""The part of fit_vs_peers.py that runs in a peer's own environment; it needs numpy, safetensors and the peer.

usage: python benchmarks/peer_worker.py FOLDER

In:   FOLDER/job.json (peer, variants) and FOLDER/given.safetensors: `matrix/NAME` to quantize, `vector/NAME` at 16
      bits, `importance/NAME` (mean square of each input), `tokens` (windows to calibrate on),
      `rest/NAME` (what is left as it is).
Out:  for variant I FOLDER/I.own (the tool's own form), FOLDER/I.plain (the same content with one code a byte and the
      scales after it, for a byte compressor; empty where the form is entropy coded), FOLDER/I.safetensors (the floats);
      FOLDER/forward_fn.json with the version, and for each variant its seconds or why it failed.
"""

# ruff: noqa: PLC0415  (each peer is imported where it is run: an environment has only one)

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import files, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file, save, save_file

Arrays = dict[str, np.ndarray[Any, Any]]
Variant = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What is quantized, and with what knowledge."""

    matrices: Arrays
    vectors: Arrays
    """At 16 bits."""
    importance: Arrays
    rest: Arrays
    """What is neither quantized nor counted."""
    tokens: np.ndarray[Any, Any] | None
    folder: Path


@dataclass(frozen=True)
class Made:
    """A quantized model in the tool's own form, plainly, and as floats again."""

    own: bytes
    plain: bytes
    floats: Arrays


class Refused(Exception):
    """The tool cannot do what was asked for."""


class _Enough(Exception):
    """The rest of a forward pass is not needed."""


# ---- formats ----


def gguf_file(given: Given, blocks: Arrays, types: dict[str, Any], folder: Path) -> bytes:
    """A GGUF file of the quantized blocks and the vectors."""
    import gguf

    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "bytecap")
    for name, data in blocks.items():
        writer.add_tensor(name, data, raw_dtype=types[name])
    for name, values in given.vectors.items():
        writer.add_tensor(name, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def gguf_made(given: Given, variant: Variant, quantize: Callable[[str, np.ndarray[Any, Any], Any], Any]) -> Made:
    """Every matrix through `quantize`, with its type from the variant: `type`, or `embedding` for the embedding."""
    import gguf

    blocks, types, floats, planes = {}, {}, {}, []
    for name, weight in given.matrices.items():
        asked = variant.get("embedding", variant["type"]) if name == "embedding" else variant["type"]
        kind = types[name] = gguf.GGMLQuantizationType[asked]
        size, width = gguf.GGML_QUANT_SIZES[kind]
        if weight.shape[1] % size:
            raise Refused(f"{name} has rows of {weight.shape[1]} weights, {asked} needs a multiple of {size}")
        blocks[name] = quantize(name, weight, kind)
        floats[name] = gguf.quants.dequantize(blocks[name], kind)
        planes.append(blocks[name].reshape(-1, width).T.tobytes())
    own = gguf_file(given, blocks, types, given.folder)
    return Made(own, b"".join(planes) + vector_bytes(given), floats)


def vector_bytes(given: Given) -> bytes:
    """All vectors at 16 bits: first bytes of all numbers, then second bytes."""
    return float16_planes(given.vectors.values())


def float16_planes(arrays: Iterable[np.ndarray[Any, Any]]) -> bytes:
    """First bytes of all 16-bit numbers, then second bytes."""
    data = b"".join(a.astype("<f2").tobytes() for a in arrays)
    return np.frombuffer(data, np.uint8).reshape(-1, 2).T.tobytes()


# ---- peers ----


def run_gguf(given: Given, variant: Variant) -> Made:
    """The `gguf` package's own quantizers."""
    import gguf

    return gguf_made(given, variant, lambda name, weight, kind: gguf.quants.quantize(weight, kind))


def run_ggml(given: Given, variant: Variant) -> Made:
    """llama.cpp's quantizers, from the shared library that the pywhispercpp package carries."""
    paths = [f.locate() for f in files("pywhispercpp") or [] if "libggml-base" in f.name]
    chunk = ctypes.CDLL(str(paths[0])).ggml_quantize_chunk
    pointer, long = ctypes.c_void_p, ctypes.c_int64
    chunk.restype, chunk.argtypes = ctypes.c_size_t, [ctypes.c_int, pointer, pointer, long, long, long, pointer]

    def quantize(name: str, weight: np.ndarray[Any, Any], kind: Any) -> np.ndarray[Any, Any]:
        import gguf

        size, width = gguf.GGML_QUANT_SIZES[kind]
        weight = np.ascontiguousarray(weight, np.float32)
        out = np.zeros((weight.shape[0], weight.shape[1] // size * width), np.uint8)
        importance = np.ascontiguousarray(given.importance[name], np.float32) if variant["importance"] else None
        where = None if importance is None else importance.ctypes.data
        written = chunk(int(kind), weight.ctypes.data, out.ctypes.data, 0, *weight.shape, where)
        assert written == out.nbytes
        return out

    return gguf_made(given, variant, quantize)


def run_nncodec(given: Given, variant: Variant) -> Made:
    """One bit stream of everything, vectors with a finer step."""
    _without_torchvision()
    from nncodec import nnc

    model = {n: np.ascontiguousarray(w, np.float32) for n, w in given.matrices.items()}
    model |= {n: v.astype(np.float32).reshape(-1) for n, v in given.vectors.items()}
    with tempfile.TemporaryDirectory() as folder:
        own = nnc.compress(
            model, bitstream_path=f"{folder}/model.nnc", qp=variant["qp"], nonweight_qp=variant["vector_qp"],
            qp_per_tensor=variant.get("qp_per_tensor"), use_dq=True, opt_qp=variant.get("opt_qp", False),
            lambda_scale=variant.get("lambda_scale", 0), row_skipping=True, return_bitstream=True, verbose=False,
        )  # fmt: skip
    back = nnc.decompress(own)
    shapes = {n: a.shape for n, a in {**given.matrices, **given.vectors}.items()}
    return Made(bytes(own), b"", {n: np.asarray(back[n], np.float32).reshape(s) for n, s in shapes.items()})


def run_hqq(given: Given, variant: Variant) -> Made:
    """Half-quadratic quantization of each matrix, scales and zeros at 16 bits."""
    import torch
    from hqq.core.quantize import Quantizer

    own, floats, codes, numbers = dict(given.vectors), {}, [], []
    for name, weight in given.matrices.items():
        bits = variant.get("embedding", variant["nbits"]) if name == "embedding" else variant["nbits"]
        packed, meta = Quantizer.quantize(
            torch.from_numpy(weight.copy()), nbits=bits, group_size=variant["group"], axis=variant["axis"],
            compute_dtype=torch.float32, device="cpu",
        )  # fmt: skip
        halves = {part: meta[part].half() for part in ("scale", "zero")}
        back = Quantizer.dequantize(packed, {**meta, **{part: value.float() for part, value in halves.items()}})
        floats[name] = back.float().numpy()
        own |= {f"{name}.{part}": value.numpy() for part, value in halves.items()} | {name: packed.numpy()}
        codes.append(Quantizer.unpack[meta["packing"]](packed).to(torch.uint8).numpy().tobytes())
        numbers += [value.numpy() for value in halves.values()]
    return Made(save(own), b"".join(codes) + float16_planes(numbers) + vector_bytes(given), floats)


def run_torchao(given: Given, variant: Variant) -> Made:
    """IntxWeightOnlyConfig on linear layers that hold the matrices, saved with torch.save."""
    import torch
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup
    from torchao.quantization.quant_api import IntxChooseQParamsAlgorithm
    from torchao.quantization.quant_primitives import MappingType

    layers, floats, codes, numbers = torch.nn.ModuleDict(), {}, [], []
    for name, weight in given.matrices.items():
        bits = variant.get("embedding", variant["bits"]) if name == "embedding" else variant["bits"]
        layer = torch.nn.Sequential(torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False))
        layer[0].weight.data = torch.from_numpy(weight.copy())
        config = IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, f"int{bits}"), scale_dtype=torch.float16,
            granularity=PerGroup(variant["group"]) if variant["group"] else PerAxis(0),
            mapping_type=MappingType[variant["mapping"]],
            intx_choose_qparams_algorithm=IntxChooseQParamsAlgorithm[variant["algorithm"]],
        )  # fmt: skip
        quantize_(layer, config)
        found = layer[0].weight
        floats[name] = found.dequantize().float().detach().numpy()
        codes += [found.qdata.numpy().tobytes(), found.zero_point.numpy().tobytes()]
        numbers.append(found.scale.numpy())
        layers[name.replace(".", "_")] = layer
    out = io.BytesIO()
    torch.save({**layers.state_dict(), **{n: torch.from_numpy(v.copy()) for n, v in given.vectors.items()}}, out)
    return Made(out.getvalue(), b"".join(codes) + float16_planes(numbers) + vector_bytes(given), floats)


def run_gptqmodel(given: Given, variant: Variant) -> Made:
    """GPTQModel's GPTQ, linear map by linear map, each on inputs that went through the maps quantized before it."""
    import torch
    from gptqmodel.looper.named_module import NamedModule
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization.config import QuantizeConfig
    from gptqmodel.quantization.gptq import GPTQ

    config = QuantizeConfig(
        bits=variant["bits"], group_size=variant["group"], sym=variant["symmetric"], desc_act=variant["order"],
        act_group_aware=not variant["order"],
    )  # fmt: skip
    model, quantizers, layers = Model(given), {}, {}
    own, floats, codes, numbers = dict(given.vectors), {}, [], []
    for name, weight in given.matrices.items():
        rows, columns = weight.shape
        if name not in quantizers:
            for other in _sharing(name, given.matrices):
                layer = layers[other] = torch.nn.Linear(*reversed(given.matrices[other].shape), bias=False)
                layer.weight.data = torch.from_numpy(given.matrices[other].copy())
                index = int(name.split(".")[1])
                quantizers[other] = GPTQ(NamedModule(layer, name=other, full_name=other, layer_index=index), config)
                quantizers[other].quantizer.configure(perchannel=True)
            with torch.no_grad():
                for x in model.inputs(name):
                    for other in _sharing(name, given.matrices):
                        quantizers[other].add_batch(x, layers[other](x))
        layer = layers[name]
        values, scales, zeros, groups, *_ = quantizers[name].quantize()
        layer.weight.data = values.to(layer.weight.dtype)
        packed = TorchLinear(
            bits=config.bits, group_size=config.group_size, sym=config.sym, desc_act=config.desc_act,
            in_features=columns, out_features=rows, register_buffers=True,
        )  # fmt: skip
        packed.pack(linear=layer, scales=scales, zeros=zeros, g_idx=groups)
        packed.post_init()
        floats[name] = packed.dequantize_weight().T.float().numpy()
        model.put(name, floats[name])
        own |= {f"{name}.{part}": value.cpu().numpy() for part, value in packed.state_dict().items()}
        each = groups.long()
        codes += [(values / scales[:, each] + zeros[:, each]).round().to(torch.uint8).numpy().tobytes()]
        codes += [zeros.round().to(torch.uint8).numpy().tobytes()]
        codes += [groups.to(torch.uint8).numpy().tobytes()] if variant["order"] else []
        numbers.append(scales.half().numpy())
    return Made(save(own), b"".join(codes) + float16_planes(numbers) + vector_bytes(given), floats)


def _sharing(name: str, names: Iterable[str]) -> list[str]:
    """This weight and those that are given the same inputs: query, key and value of one block."""
    maps = ("query", "key", "value")
    block, _, leaf = name.removesuffix(".weight").rpartition(".")
    return [n for n in names if n in [f"{block}.{m}.weight" for m in maps]] if leaf in maps else [name]


def run_autoround(given: Given, variant: Variant) -> Made:
    """AutoRound on the whole stack as one block, so that nothing between the blocks is lost on it."""
    import torch
    from auto_round import AutoRound

    model = Model(given)
    rows = [{"input_ids": r, "attention_mask": torch.ones_like(r)} for r in model.rows]
    rounder = AutoRound(
        _as_transformer(model), tokenizer=object(), bits=variant["bits"], group_size=variant["group"],
        sym=variant["symmetric"], iters=variant["iterations"], nsamples=len(rows), seqlen=model.rows.shape[1],
        batch_size=8, dataset=torch.utils.data.DataLoader(rows, batch_size=8), device_map="cpu",
        enable_torch_compile=False, amp=False, low_cpu_mem_usage=False,
    )  # fmt: skip
    found, _ = rounder.quantize()
    own, floats, codes, numbers = dict(given.vectors), {}, [], []
    for name in given.matrices:
        layer = found.layers[0].get_submodule(name.removesuffix(".weight"))
        scales = layer.scale.half().reshape(layer.weight.shape[0], -1)
        zeros = torch.as_tensor(layer.zp, dtype=torch.float32).expand_as(scales).contiguous()
        wide, shift = (t.float().repeat_interleave(variant["group"], dim=1) for t in (scales, zeros))
        symbols = (layer.weight.detach() / torch.where(wide == 0, 1.0, wide) + shift).round()
        floats[name] = ((symbols - shift) * wide).numpy()
        whole = [symbols.to(torch.uint8).numpy(), zeros.round().to(torch.uint8).numpy()]
        own |= dict(zip((name, f"{name}.zeros"), whole, strict=True)) | {f"{name}.scales": scales.numpy()}
        codes += [part.tobytes() for part in whole]
        numbers.append(scales.numpy())
    return Made(save(own), b"".join(codes) + float16_planes(numbers) + vector_bytes(given), floats)


def _as_transformer(model: Model) -> Any:
    """The model as the tool wants it: one layer that maps hidden states (and document numbers) to hidden states."""
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from bytecap.model.techniques.base import Visit

    gpt = model.gpt

    class Stack(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks, self.techniques = gpt.blocks, gpt.techniques
            for name, module in list(self.blocks.named_modules()):
                if type(module).__name__ == "Linear":
                    layer = torch.nn.Linear(*reversed(module.weight.shape), bias=False)
                    layer.weight.data = module.weight.data.clone()
                    parent, _, leaf = name.rpartition(".")
                    setattr(self.blocks.get_submodule(parent), leaf, layer)

        def forward(self, hidden_states: Any, **_: Any) -> Any:
            stream = hidden_states[..., :-1]
            # Tokens that number the documents: only where they differ matters to the techniques in use here.
            number = hidden_states[..., -1].round().long()
            starts = torch.nn.functional.pad(number[:, 1:] != number[:, :-1], (1, 0), value=True).long()
            context = gpt._context(starts, 1)
            context.first_BTD = stream
            for place, block in enumerate(self.blocks):
                visit = Visit(place, place, len(self.blocks))
                stream = self.techniques.before(stream, visit, context)
                stream = block(stream, visit, context, self.techniques)
                stream = self.techniques.after(stream, visit, context)
            return stream

    class Whole(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self) -> None:
            super().__init__(PretrainedConfig(hidden_size=gpt.spec.d_model, num_hidden_layers=1))
            self.embedding = torch.nn.Embedding.from_pretrained(gpt.embedding.data.clone())
            self.layers = torch.nn.ModuleList([Stack()])

        def forward(self, input_ids: Any = None, **_: Any) -> Any:
            stream = torch.nn.functional.rms_norm(self.embedding(input_ids), (gpt.spec.d_model,))
            number = model.document_numbers(input_ids, model.bos)[..., None]
            return self.layers[0](torch.cat([stream, number.to(stream.dtype)], dim=-1))

    return Whole()


class Model:
    """The model around the weights, for peers that calibrate; the package is read from the sources beside this file."""

    def __init__(self, given: Given) -> None:
        import torch

        sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
        from bytecap.model.gpt import GPT, document_numbers
        from bytecap.model.spec import ModelSpec

        job = json.loads((given.folder / "job.json").read_text())
        self.gpt = GPT(ModelSpec.from_json(job["model"])).eval()
        weights = {**given.rest, **given.vectors, **given.matrices}
        self.gpt.load_state_dict({n: torch.from_numpy(w.astype(np.float32)) for n, w in weights.items()})
        assert given.tokens is not None
        self.bos, self.document_numbers = job["bos"], document_numbers
        self.rows = torch.from_numpy(given.tokens[:, :-1])
        self.batches = list(self.rows.split(16))

    def inputs(self, name: str) -> Iterator[Any]:
        """What the linear map with this weight is given, batch by batch."""
        import torch

        seen: list[Any] = []

        def look(_: Any, arguments: Any) -> None:
            seen.append(arguments[0])
            raise _Enough

        hook = self.gpt.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(look)
        try:
            for tokens in self.batches:
                with torch.no_grad(), contextlib.suppress(_Enough):
                    self.gpt.hidden(tokens, self.bos)
                yield seen.pop()
        finally:
            hook.remove()

    def put(self, name: str, weight: np.ndarray[Any, Any]) -> None:
        """Replace a weight."""
        import torch

        self.gpt.get_parameter(name).data = torch.from_numpy(weight.copy())


def _without_torchvision() -> None:
    """nncodec imports torchvision for image data sets, which are not used here and must fit torch's build."""

    class Absent(types.ModuleType):
        __path__: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {"__init__": lambda self, *a, **k: None})

    parts = {part: Absent(f"torchvision.{part}") for part in ("datasets", "transforms", "models")}
    whole = sys.modules["torchvision"] = Absent("torchvision")
    for part, module in parts.items():
        setattr(whole, part, module)
        sys.modules[module.__name__] = module


PEERS: dict[str, tuple[Callable[[Given, Variant], Made], tuple[str, ...]]] = {
    "nncodec": (run_nncodec, ("nncodec", "torch")),
    "hqq": (run_hqq, ("hqq", "torch")),
    "gguf": (run_gguf, ("gguf",)),
    "ggml": (run_ggml, ("pywhispercpp", "gguf")),
    "autoround": (run_autoround, ("auto-round", "torch")),
    "gptqmodel": (run_gptqmodel, ("gptqmodel", "torch")),
    "torchao": (run_torchao, ("torchao", "torch")),
}


def main() -> None:
    """Every variant of the job."""
    folder = Path(sys.argv[1])
    job, tensors = json.loads((folder / "job.json").read_text()), load_file(folder / "given.safetensors")
    parts: dict[str, Arrays] = {"matrix": {}, "vector": {}, "importance": {}, "rest": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind in parts:
            parts[kind][rest] = value
    given = Given(parts["matrix"], parts["vector"], parts["importance"], parts["rest"], tensors.get("tokens"), folder)
    run, packages = PEERS[job["peer"]]
    forward_fn: dict[str, Any] = {"versions": {package: version(package) for package in packages}, "variants": []}
    for index, variant in enumerate(job["variants"]):
        begin = time.perf_counter()
        try:
            made = run(given, variant)
        except Exception as error:  # whatever it is, the report says it
            forward_fn["variants"].append({"failed": f"{type(error).__name__}: {error}"})
            continue
        forward_fn["variants"].append({"seconds": time.perf_counter() - begin})
        (folder / f"{index}.own").write_bytes(made.own)
        (folder / f"{index}.plain").write_bytes(made.plain)
        save_file({n: np.ascontiguousarray(w) for n, w in made.floats.items()}, folder / f"{index}.safetensors")
    (folder / "forward_fn.json").write_text(json.dumps(forward_fn))


if __name__ == "__main__":
    main()
