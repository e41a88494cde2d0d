"""Text token by token, beyond the context too."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.core.progress import Silent
from bytecap.huggingface.config import ModelFacts
from bytecap.huggingface.generation import NextToken, continue_prompt
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.scored import Opened, Opening, open_model
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.model.sampling import Sampling, sample
from tests.huggingface.models import byte_level_bpe, make_folder, make_model, wrapped
from tests.progress import Notes


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A folder with a model of 64 positions."""
    folder: Path = make_folder(tmp_path_factory.mktemp("model") / "folder", request.param)
    return open_model(Opening(origin=folder), Silent())


@torch.no_grad()
def test_each_token_from_the_whole_text(opened: Opened) -> None:
    """Beyond the context the last positions count alone."""
    says, ids = NextToken(opened.model, 64, Silent()), [0, 5, 9]
    found = says(torch.tensor(ids))
    for token in range(1, 70):
        slowly = opened.model.logits(torch.tensor([ids[-64:]]))[0, -1]
        assert torch.allclose(found, slowly, atol=1e-4), len(ids)
        ids.append(token)
        found = says(torch.tensor([token]))


class OtherCache(torch.nn.Module):
    """A model whose cache is empty, or cannot be taken back."""

    def __init__(self, inner: torch.nn.Module, fails: bool) -> None:
        super().__init__()
        self.inner, self.fails = inner, fails

    def forward(self, cache: object = None, past_key_values: object = None, **words: Any) -> Any:
        """The model as if it had no past."""
        if self.fails and (cache or past_key_values):
            raise ValueError("not this one")
        return self.inner(**words)


@pytest.mark.parametrize(
    ("kind", "wrap", "note"),
    [
        ("mistral", None, ""),
        ("mamba", None, ""),
        ("rwkv", None, ""),
        ("openai-gpt", None, "Some has no cache"),
        ("mistral", False, "Some gives other logits from its cache than from the whole text"),
        ("mistral", True, r"Some cannot continue from its cache \(ValueError\)"),
    ],
)
def test_a_cache_changes_no_token(kind: str, wrap: bool | None, note: str) -> None:
    """Past the window and past the context; where there is none, or one that is wrong, it is said."""
    module, heard = make_model(kind), Notes()
    model = CausalModel(module if wrap is None else OtherCache(module, wrap), ModelFacts(kind, "Some", 290, 64), {})
    says, slowly = NextToken(model, 24, heard), NextToken(model, 24, Silent())
    slowly.caches = False
    sampling = Sampling(tokens=30, temperature=0.0)
    assert sample(says, [0, 5, 9], sampling, stop=-1) == sample(slowly, [0, 5, 9], sampling, stop=-1)
    assert says.caches == (not note) and len(heard.notes) == bool(note)
    assert not note or re.fullmatch(f"{note}, so the whole text is run for each token", heard.notes[0])


def test_the_same_seed_writes_the_same_text(opened: Opened) -> None:
    """The same seed writes the same text, which begins with the prompt; nothing to begin with is refused."""
    first = continue_prompt(opened, "héllo", Sampling(tokens=9, seed=3))
    assert first.startswith("héllo") and first == continue_prompt(opened, "héllo", Sampling(tokens=9, seed=3))
    assert first != continue_prompt(opened, "héllo", Sampling(tokens=9, seed=4))
    assert continue_prompt(opened, "", Sampling(tokens=0)) == ""
    bare = HuggingFaceTokenizer(wrapped(byte_level_bpe().backend_tokenizer))
    with pytest.raises(ConfigError, match="no token that begins a text; give a prompt"):
        continue_prompt(Opened(opened.model, bare, 64), "")
