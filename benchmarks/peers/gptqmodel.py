"""GPTQModel: GPTQ on the block matrices."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

from collections.abc import Iterable

from safetensors.numpy import save

from peers.calibrated import Model
from peers.given import Given, Made, Variant, float16_planes, vector_bytes


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
