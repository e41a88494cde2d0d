"""HQQ and torchao: weight-only integers that need no data."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

import io

from safetensors.numpy import save

from peers.given import Given, Made, Variant, float16_planes, vector_bytes


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
