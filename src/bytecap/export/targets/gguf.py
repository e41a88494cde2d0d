"""A file that llama.cpp runs, for Llama-shaped models: weights under GGUF's names, shape and tokenizer as metadata.

A tensor that the `.bcap` file holds as integers with 16-bit scales keeps them where a type of GGUF has the same (Q4_0,
Q8_0: 32 columns with one scale); a matrix whose numbers all fit into 16-bit floats is stored so, and all else in 32
bits. So the weights are exactly those of the file. llama.cpp rounds activations where weights are quantized.

Letters: O rows, I columns, H heads, K head width.
Source:  the `gguf` package; the order of rows of queries and keys is that of llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import NumericsError
from bytecap.core.units import counted
from bytecap.export.gguf_vocabulary import Vocabulary, find_vocabulary
from bytecap.export.llama import ISOLATED, LlamaModel, llama_model
from bytecap.export.source import ExportSource
from bytecap.export.targets.base import Target
from bytecap.formats.base import StoredTensor
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_group import PerGroupQuantized

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate",
    "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
}  # fmt: skip
BLOCK = 32
"""Columns with one scale."""


class GGUF(Target):
    """One file, with everything that llama.cpp needs."""

    makes = "a file of llama.cpp"
    suffix = ".gguf"
    libraries: ClassVar[tuple[str, ...]] = ("gguf",)
    extra = "gguf"

    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Metadata, tokens, tensors."""
        import gguf  # noqa: PLC0415  (an extra)

        model, vocabulary = llama_model(source), find_vocabulary(source)
        writer = gguf.GGUFWriter(place, model.architecture)
        _write_shape(writer, model.config)
        _write_tokens(writer, vocabulary, model.config)
        types = Counter[str]()
        for name, value in model.weights.items():
            stored, kind = _stored(value.numpy(), model.stored[name])
            writer.add_tensor(gguf_name(name), _permuted(name, stored, model), raw_dtype=kind)
            types[kind.name] += 1
        _close(writer)
        notes = [f"{counted(count, 'tensor is', 'tensors are')} {name}" for name, count in types.most_common()]
        said = [f"{', '.join(notes)}, each with exactly the numbers of the file"]
        if vocabulary is None:
            said.append(
                "the file has no tokenizer in it, as llama.cpp would cut texts into other tokens: give it token ids, "
                "or use --to hf"
            )
        is_isolated = not source.is_hugging_face and not source.spec.across_documents
        return [*said, ISOLATED] if is_isolated else said

    def check(self, source: ExportSource, place: Path) -> str:
        """Each tensor, dequantized, number by number."""
        import gguf  # noqa: PLC0415  (an extra)

        model, numbers = llama_model(source), 0
        found = {tensor.name: tensor for tensor in gguf.GGUFReader(place).tensors}
        if found.keys() != {gguf_name(name) for name in model.weights}:
            raise NumericsError("gguf finds other tensors than the file has; nothing was written")
        for name, value in model.weights.items():
            tensor = found[gguf_name(name)]
            expected = _permuted(name, value.numpy(), model)
            numbers += expected.size
            read = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(expected.shape)
            if not np.array_equal(read, expected):
                raise NumericsError(f"gguf finds other numbers in tensor {name} than the file has; nothing was written")
        return f"all {numbers:,} numbers of {counted(len(found), 'tensor')} are those of the file, read back with gguf"


def gguf_name(name: str) -> str:
    """The name of a tensor of a Llama model in GGUF.

    >>> gguf_name("model.layers.2.mlp.up_proj.weight")
    'blk.2.ffn_up.weight'
    """
    if name in NAMES:
        return NAMES[name]
    _, _, block, *inner, last = name.split(".")
    return f"blk.{block}.{NAMES['.'.join(inner)]}.{last}"


def _write_shape(writer: Any, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)


def _write_tokens(writer: Any, vocabulary: Vocabulary | None, config: dict[str, Any]) -> None:
    if vocabulary is None:
        writer.add_tokenizer_model("none")
        if isinstance(config.get("bos_token_id"), int):
            writer.add_bos_token_id(config["bos_token_id"])
        return
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.cut)
    writer.add_token_list([text.encode() for text in vocabulary.texts])
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.kinds)
    for kind, token in vocabulary.special.items():
        getattr(writer, f"add_{kind}_token_id")(token)
    writer.add_add_bos_token(vocabulary.begins)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(vocabulary.space_first)
    writer.add_remove_extra_whitespaces(False)


def _close(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _permuted(name: str, rows_O: npt.NDArray[Any], model: LlamaModel) -> npt.NDArray[Any]:
    """Rows of queries and keys in llama.cpp's order: in a Llama model it turns channels that are neighbours."""
    config = model.config
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2])
    if heads is None or model.architecture != "llama":
        return rows_O
    rows_H2K = rows_O.reshape(heads, 2, len(rows_O) // heads // 2, *rows_O.shape[1:])
    return np.ascontiguousarray(rows_H2K.swapaxes(1, 2)).reshape(rows_O.shape)


def _stored(weight: npt.NDArray[np.float32], stored: StoredTensor) -> tuple[npt.NDArray[Any], Any]:
    """The bytes of a tensor in the smallest type that holds its numbers exactly, and that type."""
    import gguf  # noqa: PLC0415  (an extra)

    kinds = gguf.GGMLQuantizationType
    if weight.ndim < 2:
        return weight, kinds.F32  # as llama.cpp asks
    found = _symbols_and_scales(stored)
    if found is not None:
        symbols, scales = found
        if symbols.min() >= -8 and symbols.max() <= 7:
            return _q4_0(symbols, scales), kinds.Q4_0
        return _q8_0(symbols, scales), kinds.Q8_0
    halves = weight.astype(np.float16)
    return (halves, kinds.F16) if np.array_equal(halves.astype(np.float32), weight) else (weight, kinds.F32)


def _symbols_and_scales(stored: StoredTensor) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float16]] | None:
    """Integers (O, I / 32, 32) of at most 8 bits with a scale for each block, where the tensor is stored so."""
    if isinstance(stored, PerGroupQuantized):
        scales_OI = np.repeat(stored.scales_OG, stored.group_size, axis=1)[:, : stored.shape[1]]
    elif isinstance(stored, PerChannelQuantized):
        scales_OI = np.broadcast_to(stored.scales_O[:, None], stored.shape)
    else:
        return None
    rows, columns = stored.shape
    if columns % BLOCK or np.abs(stored.symbols_OI).max(initial=0) > 127:
        return None
    return stored.symbols_OI.reshape(rows, -1, BLOCK), np.ascontiguousarray(scales_OI[:, ::BLOCK])


def _q8_0(symbols: npt.NDArray[np.int16], scales: npt.NDArray[np.float16]) -> npt.NDArray[np.uint8]:
    """Each block as its scale and 32 signed bytes, (O, bytes of a row)."""
    parts = (scales[..., None].view(np.uint8), symbols.astype(np.int8).view(np.uint8))
    return np.concatenate(parts, axis=-1).reshape(len(symbols), -1)


def _q4_0(symbols: npt.NDArray[np.int16], scales: npt.NDArray[np.float16]) -> npt.NDArray[np.uint8]:
    """Each block as its scale and 16 bytes: the first half of the integers, plus 8, in the lower four bits."""
    shifted = (symbols + 8).astype(np.uint8)
    pairs = shifted[..., : BLOCK // 2] | (shifted[..., BLOCK // 2 :] << 4)
    return np.concatenate((scales[..., None].view(np.uint8), pairs), axis=-1).reshape(len(symbols), -1)
