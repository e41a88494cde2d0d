"""What Python code calls, in addition to `bytecap.load`: fit any torch module, score and continue text with a file.

In:   a module, batches, a loss, a cap; or a file and a text.
Out:  an Artifact; a Score; text.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bytecap.artifact.load import Artifact
from bytecap.core.budget import FileBudget
from bytecap.core.errors import ConfigError
from bytecap.core.progress import Progress, Silent
from bytecap.core.units import parse_bytes
from bytecap.fitting.module_job import ModuleInputs, make_module_job
from bytecap.huggingface.generation import continue_prompt
from bytecap.huggingface.scored import find_model, open_model, score_model
from bytecap.model.sampling import Sampling
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.calibration import evaluating
from bytecap.quant.spill import spilling
from bytecap.scoring.adaptations import chosen_adaptations
from bytecap.scoring.continue_text import continue_text
from bytecap.scoring.evaluate import Score
from bytecap.scoring.predictor import Predictor, checked_predictor
from bytecap.scoring.score_text import TextScoring, score_predictor, score_text
from bytecap.text.config import TextConfig
from bytecap.text.tokenizer import Tokenizer


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Callable[[nn.Module, Any], Any],
    cap_bytes: int | str,
    config: QuantConfig | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    low_memory: bool = False,
) -> Artifact:
    """Fit any `torch.nn.Module` into a file of at most `cap_bytes` bytes with the least loss.

    `loss(model, batch)` returns (logits (N, V), labels (N,)), and labels are drawn from the model; (outputs (N, K),
    None) of a model of real numbers, each divided by an error that would matter, and targets are drawn around them,
    with half the squared error as the loss; or a tensor with the loss of each position in nats, and the data's labels
    are used. Batches are read until `config.calibration_tokens` positions are measured, few inputs best several times,
    as other labels or targets are drawn each time; with 0 nothing is measured, and the steps of a matrix follow the
    size of its own weights. Without labels at hand, give the model's own most likely classes; of several heads, the
    sums of their logits for all combinations of their classes.

    Weights used by linear maps, convolutions of any kind, products of matrices (also `einsum`, and stacked experts),
    recurrent layers and embeddings, themselves, by slices or through elementwise functions such as weight norm, are
    rounded with feedback along measured curvature, tied or not; other weights of 1,024 numbers or more along the
    squares of their own gradients; all else has one step for each tensor, or 16 bits where the loss does not reach it.
    With `low_memory` curvature lies in files of the temporary folder and one tensor at a time is rounded: the same
    file in more time. Buffers of the state dict are kept exactly. The model, its gradients and all random states are
    left as they were. Read the file back with `bytecap.load_state_dict`.

    Where the loss of the fitted model is not what curvature predicts, each tensor's curvature is corrected by the
    loss that rounding it alone costs; where it still is not, or calibration is thin, the file is compared with one that
    follows no calibration, and the better is taken and noted in `progress`. Of thin calibration a quarter of the
    batches is kept apart for that, where they can be read again.

    Raises BudgetError when the cap cannot be met, ConfigError for arguments that cannot be used, DataError and
    NumericsError for weights that cannot be fitted.

    >>> import bytecap, torch
    >>> model = torch.nn.Sequential(torch.nn.Embedding(20, 16), torch.nn.Linear(16, 20))
    >>> batches = [torch.randint(20, (8, 33)) for _ in range(4)]
    >>> def loss(model, batch):
    ...     return model(batch[:, :-1]), batch[:, 1:]  # logits and labels
    >>> config = bytecap.QuantConfig(calibration_tokens=1024)
    >>> artifact = bytecap.fit(model, batches, loss=loss, cap_bytes="1kB", config=config)
    >>> artifact.size_bytes <= 1000
    True
    >>> artifact.save("small.bcap")
    >>> model.load_state_dict(bytecap.load_state_dict("small.bcap"))
    <All keys matched successfully>
    """
    config, progress = config or QuantConfig(), progress or Silent()
    _refuse_inputs(model, batches, loss, config)
    _refuse_progress(progress)
    budget = FileBudget(_parse_cap(cap_bytes))
    with _undisturbed(model), spilling(low_memory):
        job = make_module_job(_unwrapped(model), ModuleInputs(batches, loss, config, seed), budget, progress)
        return job.fit(budget, progress).artifact


def _refuse_inputs(model: object, batches: object, loss: object, config: object) -> None:
    """Raise ConfigError for what cannot be fitted, or not with these batches and settings."""
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ConfigError("the model is no torch module with parameters, so there is nothing to fit")
    if not (callable(loss) and isinstance(batches, Iterable) and isinstance(config, QuantConfig)):
        raise ConfigError("fit needs batches to go through, a function loss(model, batch), and a QuantConfig if any")
    if isinstance(batches, str | bytes | Mapping):
        raise ConfigError(f"batches is a {type(batches).__name__}; it must be a list of batches, or a loader of them")
    if config.adapts and iter(batches) is batches:
        raise ConfigError("distillation and compensation read the batches again; give a list of them, not an iterator")


def _refuse_progress(progress: object) -> None:
    if not (callable(getattr(progress, "update", None)) and callable(getattr(progress, "note", None))):
        raise ConfigError(
            "progress needs the methods update(done, total, text) and note(text); leave it out for silence"
        )


def score(
    file: Artifact | Predictor | str | Path,
    *,
    text: str | Path | Sequence[str | Path] | TextConfig,
    stride: int | None = None,
    adapt: Sequence[str] | Mapping[str, Any] | None = None,
    tokenizer: Tokenizer | str | Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> Score:
    """Bits per byte of a file's language model on any text, as `bytecap score FILE --text TEXT` prints them.

    The file may hold a Hugging Face model, and `file` be the folder of one (`pip install 'bytecap[hf]'`).
    `text` is a file, folder or glob, or several; a TextConfig says also how they are read. Each window after the first
    scores `stride` new positions of the context that the file names; None means 64, or the context where that is less.
    The bytes that the tokens stand for are compared with the text itself before anything is scored.

    `adapt` names what the model adapts by while it is scored, or gives settings by name; None means what the file says,
    and an empty list the model as it is. The static scores are given too, in `static`. Any object with the members of
    `bytecap.Predictor` can be scored too, with the `tokenizer` that its tokens are of: a SentencePiece model, or a
    path to one. It is scored 64 tokens at a time, on its own device, and adapts in its own `learn`.

    Raises DataError for text that cannot be used or that the tokenizer changes and for a file that holds weights
    without a model, FormatError for a damaged file, ConfigError for an invalid `stride`, `device` or `adapt`, for
    an object that is no predictor and for answers of the wrong type or shape, NumericsError, naming the position, for
    predictions that are no numbers or do not sum to one.

    >>> import bytecap
    >>> from pathlib import Path
    >>> _ = Path("my.txt").write_text("The model reads a small text.\\n")
    >>> found = bytecap.score("model.bcap", text="my.txt")
    >>> found.text_bytes
    30
    >>> 0 < found.bits_per_byte < 8
    True
    """
    _refuse_progress(progress or Silent())
    text, device = _text_config(text), str(device)
    if stride is not None and (not isinstance(stride, Integral) or isinstance(stride, bool)):
        raise ConfigError(f"stride is {stride!r}; it must be a whole number of positions")
    if adapt is not None and not isinstance(adapt, Iterable):
        raise ConfigError(f"adapt is {adapt!r}; it must be a list of names, or settings by name")
    read = Tokenizer.read(Path(tokenizer)) if isinstance(tokenizer, (str, Path)) else tokenizer
    if not isinstance(file, (Artifact, str, Path)):
        predictor = checked_predictor(file)
        if read is None:
            raise ConfigError("a predictor is scored by tokens; give the tokenizer that they are of")
        if stride is not None or adapt is not None:
            raise ConfigError(
                "stride and adapt are for the model of a file; a predictor adapts in its own learn(scored)"
            )
        return score_predictor(predictor, text, read, progress=progress).score
    how = TextScoring(stride=stride, adapt=None if adapt is None else chosen_adaptations(adapt, origin="adapt"))
    origin = find_model(file, device)
    if isinstance(origin, Artifact):
        return score_text(origin, text, how, device=device, tokenizer=read, progress=progress).score
    if tokenizer is not None or adapt:
        raise ConfigError("a Hugging Face model is scored as it is, with its own tokenizer; leave both arguments out")
    return score_model(origin, text, progress or Silent(), stride=stride).known()


def _text_config(text: str | Path | Sequence[str | Path] | TextConfig) -> TextConfig:
    """How a text is read that is given by its paths; ConfigError for what is no path."""
    if isinstance(text, TextConfig):
        return text
    paths = list(text) if isinstance(text, Iterable) and not isinstance(text, str | bytes) else [text]
    if not paths or not all(isinstance(path, str | os.PathLike) and str(path).strip() for path in paths):
        raise ConfigError("text names no file; give the path of a file, folder or glob, or several")
    return TextConfig(paths=tuple(map(str, paths)))


def generate(
    file: Artifact | str | Path, prompt: str = "", *, tokens: int = 200, temperature: float = 0.8, seed: int = 0
) -> str:
    """Continue `prompt` by at most `tokens` tokens; the text returned begins with it.

    At temperature 0 the likeliest token is taken, at 1 they are drawn as the model says; the same seed writes the same
    text. Raises ConfigError for numbers out of bounds, FormatError for a damaged file, DataError for one without a
    tokenizer or with weights alone.

    >>> import bytecap
    >>> text = bytecap.generate("model.bcap", "the model", tokens=20, seed=1)
    >>> text.startswith("the model") and text == bytecap.generate("model.bcap", "the model", tokens=20, seed=1)
    True
    """
    sampling = Sampling(tokens=tokens, temperature=temperature, seed=seed)
    origin = find_model(file, "cpu")
    if isinstance(origin, Artifact):
        return continue_text(origin, prompt, sampling)
    return continue_prompt(open_model(origin, Silent()), prompt, sampling)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, with gradients and float32 by default; modes, default type and random states are afterwards
    as before."""
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices), evaluating(model), torch.inference_mode(False), torch.enable_grad():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def _unwrapped(model: Any) -> Any:
    """The module without what `torch.compile` and data parallelism put around it; no other code knows their names."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return _unwrapped(model.module)
    inner = getattr(model, "_orig_mod", None)
    return model if inner is None else _unwrapped(inner)


def _parse_cap(cap_bytes: int | str) -> int:
    """A cap from Python: anything that is a whole number, or a size in words."""
    try:
        cap = parse_bytes(cap_bytes) if isinstance(cap_bytes, str) else operator.index(cap_bytes)
    except TypeError:
        cap = -1
    if cap < 1 or isinstance(cap_bytes, bool):
        raise ConfigError(
            f'cap_bytes is {cap_bytes!r}; it must be a whole number of bytes above 0, or a size such as "16MB"'
        )
    return cap
