"""AutoRound on the block matrices."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

from typing import Any

from safetensors.numpy import save

from peers.calibrated import Model
from peers.given import Given, Made, Variant, float16_planes, vector_bytes


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
