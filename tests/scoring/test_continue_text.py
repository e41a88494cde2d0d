"""A text goes on as the file's score predicts it."""

from __future__ import annotations

import dataclasses

import torch

from bytecap.artifact.generate import generate
from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.model.sampling import Sampling
from bytecap.scoring.adaptations import build_adaptations, chosen_adaptations
from bytecap.scoring.continue_text import continue_text
from bytecap.scoring.engine import Engine, EnginePredictor
from bytecap.scoring.streaming import streaming_reach
from tests.artifact.example import example_file

PROMPT = "the cap the model the cap the model the"


def file_with(*names: str) -> Artifact:
    """A file whose default score adapts so."""
    return dataclasses.replace(loads(example_file()), adapt={name: {} for name in names})


def test_without_adaptations_it_is_the_models_own() -> None:
    """Also where all of them would need gradients, and so scored text."""
    sampling = Sampling(tokens=12, seed=3)
    expected = generate(loads(example_file()), PROMPT, sampling)
    assert continue_text(loads(example_file()), PROMPT, sampling) == expected
    assert continue_text(file_with("sgd"), PROMPT, sampling) == expected


def test_the_likeliest_token_of_the_mixture() -> None:
    """At temperature zero each token is the one that the engine, shown all tokens before, finds likeliest."""
    artifact = file_with("document_memory")
    tokenizer = artifact_tokenizer(artifact, None)
    ids = [tokenizer.bos, *tokenizer.encode(PROMPT)]
    adaptations = build_adaptations(chosen_adaptations(["document_memory"], origin="a test"))
    for _ in range(6):
        reach = streaming_reach(artifact.context, min(64, artifact.context))
        engine = EnginePredictor(
            Engine(artifact.model(), adaptations, bos=tokenizer.bos, context=reach, strategy="streaming")
        )
        engine.reset()
        choice = int(engine.log_probs(torch.tensor(ids))[-1].argmax())
        if choice == tokenizer.bos:
            break
        ids.append(choice)
    written = continue_text(artifact, PROMPT, Sampling(tokens=6, temperature=0.0))
    assert written == tokenizer.decode(ids[1:])
    assert written != generate(artifact, PROMPT, Sampling(tokens=6, temperature=0.0))
