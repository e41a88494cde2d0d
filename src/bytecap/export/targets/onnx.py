"""A graph from token ids to logits in ONNX, for any number of rows and positions.

Input `input_ids` (batch, positions) int64, output `logits` (batch, positions, vocabulary) float32. A text that grows is
read again from its beginning: there is no cache.
Source:  `torch.onnx.export` with `dynamo=True`; run and compared with onnxruntime.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from bytecap.core.errors import BytecapError, ConfigError, NumericsError
from bytecap.export.source import ExportSource, compare_logits
from bytecap.export.targets.base import Target

OPSET = 18
MAX_BYTES = 2_000_000_000
"""A protocol buffer holds less than 2 GiB."""
PROBES = ((1, 1), (2, 7), (1, 16), (3, 33))
_LOGGERS = ("torch.onnx", "torch.fx", "torch.export", "torch._export", "torch._dynamo")
TOLERANCE = 1e-4
"""Difference of two logits over the largest of them: onnxruntime fuses and sums in an order of its own."""


class ONNX(Target):
    """Tokens in, logits out; the tokenizer is not in it."""

    makes = "a graph from tokens to logits"
    suffix = ".onnx"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"

    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Trace the model once with both axes left open."""
        module = source.module
        inner: Any = source.causal.module if source.is_hugging_face else None
        if hasattr(inner, "set_experts_implementation"):
            inner.set_experts_implementation("batched_mm")  # one after the other is no graph
        numbers = sum(value.numel() for value in source.weights.values())
        if 4 * numbers > MAX_BYTES:
            raise ConfigError(
                f"the model has {numbers:,} numbers, {4 * numbers:,} bytes in ONNX's 32-bit floats, and one file holds "
                f"{MAX_BYTES:,}; export --to safetensors or --to hf"
            )
        try:
            with _quiet():
                _trace(module, source.probes([(2, 9)])[0], place)
        except (BytecapError, MemoryError):
            raise
        except Exception as error:  # whatever a tracer says
            raise ConfigError(
                f"torch.onnx cannot write this model as a graph ({_cause(error)}); export --to hf or --to safetensors"
            ) from error
        return [
            "input_ids (batch, positions) int64 to logits (batch, positions, vocabulary); tokens are made outside of it"
        ]

    def check(self, source: ExportSource, place: Path) -> str:
        """Logits from onnxruntime against those of the model, at several lengths and numbers of rows."""
        import onnxruntime  # noqa: PLC0415  (an extra)

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        errors, shape = [], "any"
        try:
            session = onnxruntime.InferenceSession(place, options, providers=["CPUExecutionProvider"])
            for tokens_BT in source.probes(PROBES):
                shape = " x ".join(map(str, tokens_BT.shape))
                (found_BTV,) = session.run(["logits"], {"input_ids": tokens_BT.numpy()})
                errors.append(
                    compare_logits(torch.from_numpy(found_BTV), source.logits(tokens_BT), "onnxruntime", TOLERANCE)
                )
        except BytecapError:
            raise
        except Exception as error:  # its errors share no class
            raise NumericsError(
                f"onnxruntime cannot run the graph on {shape} tokens ({_cause(error)}); nothing was written. Export "
                "--to hf or --to safetensors"
            ) from error
        shapes = ", ".join(f"{rows} x {positions}" for rows, positions in PROBES)
        return f"logits of onnxruntime are those of the file within {max(errors):.1g} of the largest on {shapes} tokens"


def _trace(module: torch.nn.Module, tokens_BT: torch.Tensor, place: Path) -> None:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("positions")}
    program: Any = torch.onnx.export(
        module, (tokens_BT,), dynamo=True, dynamic_shapes=(axes,), input_names=["input_ids"], output_names=["logits"],
        opset_version=OPSET, verbose=False,
    )  # fmt: skip
    program.save(str(place))


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of the exporter's own on the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _cause(error: BaseException) -> str:
    """The first line of what began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
