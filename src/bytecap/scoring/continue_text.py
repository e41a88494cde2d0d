"""A file and a prompt to text, token by token, by the memory that the file's default score has.

In:   an Artifact, a prompt.
Out:  text.

Where the file's score remembers the document, so does the text that it writes; each position sees as many as in a
streaming score. What learns by gradients learns from scored text alone, of which there is none here.
"""

from __future__ import annotations

from torch import Tensor

from bytecap.artifact.generate import DEFAULT_SAMPLING, generate
from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.model.sampling import NextLogits, Sampling
from bytecap.scoring.adaptations import build_adaptations, saved_adaptations
from bytecap.scoring.engine import Engine, EnginePredictor
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.scoring.past import STREAMING
from bytecap.scoring.streaming import streaming_reach
from bytecap.text.byte_counts import build_table
from bytecap.text.tokenizer import Tokenizer


def continue_text(
    artifact: Artifact,
    prompt: str = "",
    sampling: Sampling = DEFAULT_SAMPLING,
    *,
    tokenizer: Tokenizer | None = None,
) -> str:
    """Continue `prompt` with the file's model and those of its adaptations that need no gradient.

    The text returned begins with the prompt. Raises what `artifact.generate.generate` raises.
    """
    tokenizer = artifact_tokenizer(artifact, tokenizer)
    adapted = _adapted_logits(artifact, tokenizer)
    return generate(artifact, prompt, sampling, tokenizer=tokenizer, next_logits=adapted)


def _adapted_logits(artifact: Artifact, tokenizer: Tokenizer) -> NextLogits | None:
    """None where nothing adapts."""
    adapt = saved_adaptations(artifact.adapt, origin="the file's header")
    adaptations = [adaptation for adaptation in build_adaptations(adapt) if not adaptation.needs_gradient]
    if not adaptations:
        return None
    reach = streaming_reach(artifact.context, min(ScoreConfig().stride, artifact.context))
    text_V = build_table(tokenizer).text_V
    engine = Engine(artifact.model(), adaptations, bos=tokenizer.bos, context=reach, strategy=STREAMING, text_V=text_V)
    predictor = EnginePredictor(engine)
    predictor.reset()

    def next_logits(tokens_T: Tensor) -> Tensor:
        return predictor.log_probs(tokens_T)[-1]

    return next_logits
