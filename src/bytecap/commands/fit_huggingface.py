"""`bytecap fit` of a Hugging Face folder: from a request to a job.

In:   a FitRequest whose checkpoint is such a folder.
Out:  FitInputs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bytecap.commands.fit_inputs import FitInputs, FitRequest, make_budgets
from bytecap.core.device import choose_device
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.fitting.job import refuse_small_caps
from bytecap.fitting.source import source_from_module
from bytecap.huggingface.fitting import FolderFit, FolderInputs, make_job, measure, refuse_impossible
from bytecap.huggingface.folder import Folder, open_folder
from bytecap.huggingface.model import load_folder
from bytecap.huggingface.own_text import write_own_text
from bytecap.huggingface.texts import TokenizedText, tokenize
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer, refuse_vocabulary
from bytecap.published.scheme_fitter import build_scheme_job, needs_text
from bytecap.run.recipe import Recipe, with_overrides

_CONTEXT = "train.context"


def open_folder_inputs(request: FitRequest, progress: Progress) -> FitInputs:
    """Check, load, tokenize and measure; ConfigError for options that do not apply to a folder."""
    if request.tokenizer is not None:
        raise ConfigError("a Hugging Face folder has its own tokenizer; leave --tokenizer out")
    if request.scheme is not None:
        needs_text(request.scheme.name)  # an unknown name is refused before any work
    recipe = with_overrides(Recipe(), ["score.stride=1", *request.settings])
    budgets = make_budgets(request, None)
    folder = open_folder(request.checkpoint, trust_code=request.trust_code)
    asked = any(word.partition("=")[0].strip() == _CONTEXT for word in request.settings)
    context = folder.facts.context(recipe.train.context if asked else None)
    how = FolderFit(quant=recipe.quant, artifact=recipe.artifact, context=context, seed=recipe.run.seed)
    refuse_impossible(folder, how, budgets)
    text = _text(request, recipe, folder, progress)
    model = load_folder(folder, progress)
    model.module.to(choose_device(request.device))
    inputs = FolderInputs(folder, model, source_from_module(model.module), text, how)
    if request.scheme is None:
        refuse_small_caps(inputs.source, how.quant, inputs.container(), budgets)
    if text is None and recipe.quant.calibration_tokens:
        text = write_own_text(
            model, tokens=recipe.quant.calibration_tokens, context=context, seed=recipe.run.seed, progress=progress
        )
        progress.note(
            f"no text is given, so the model is measured on {counted(len(text.tokens), 'token')} that it wrote itself"
        )
        inputs = dataclasses.replace(inputs, text=text)
    about = _model_facts(folder, text, embedded=recipe.artifact.embed_tokenizer)
    if request.scheme is None:
        return FitInputs(make_job(inputs, progress), budgets, about)
    calibration = measure(inputs, progress, squares=True) if needs_text(request.scheme.name) else None
    job = build_scheme_job(inputs.source, calibration, request.scheme, inputs.container(), inputs.comparison())
    return FitInputs(job, budgets, about)


def _model_facts(folder: Folder, text: TokenizedText | None, *, embedded: bool) -> dict[str, Any]:
    """The model, where its tokenizer is, and why there are no bits per byte."""
    tokenizer = "inside" if embedded else "outside"
    return {
        "model_type": folder.facts.model_type,
        "architecture": folder.facts.architecture,
        "tokenizer": tokenizer if folder.tokenizer_files else "none",
        "no_bits_per_byte": text.lost or None if text is not None else None,
    }


def _text(request: FitRequest, recipe: Recipe, folder: Folder, progress: Progress) -> TokenizedText | None:
    """The given text as the folder's tokens; None where none is given."""
    if not folder.tokenizer_files:
        if request.text:
            raise DataError(
                f"{folder.path} has no tokenizer, so --text cannot be run through its model; put tokenizer.json (or "
                "tokenizer.model, or vocab.json and merges.txt) into the folder, or leave --text out",
                path=str(folder.path),
            )
        return None
    tokenizer = HuggingFaceTokenizer.read(folder.path, str(folder.path), trust_code=folder.trust_code)
    refuse_vocabulary(tokenizer, folder.facts.vocab_size, folder.facts.architecture)
    if not request.text:
        return None
    return tokenize(dataclasses.replace(recipe.text, paths=request.text), tokenizer, progress)
