"""Text token by token, beyond the context too."""

from pathlib import Path

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.core.progress import Silent
from bytecap.huggingface.generation import NextToken, continue_prompt
from bytecap.huggingface.scored import Opened, Opening, open_model
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from tests.huggingface.models import byte_level_bpe, make_folder, wrapped


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A folder with a model of 64 positions."""
    folder: Path = make_folder(tmp_path_factory.mktemp("model") / "folder", request.param)
    return open_model(Opening(origin=folder), Silent())


@torch.no_grad()
def test_each_token_from_the_whole_text(opened: Opened) -> None:
    """Beyond the context the last positions count alone."""
    says, ids = NextToken(opened.model, 64), [0, 5, 9]
    found = says(torch.tensor(ids))
    for token in range(1, 70):
        slowly = opened.model.logits(torch.tensor([ids[-64:]]))[0, -1]
        assert torch.allclose(found, slowly, atol=1e-4), len(ids)
        ids.append(token)
        found = says(torch.tensor([token]))


def test_texts(opened: Opened) -> None:
    """The same seed writes the same text, which begins with the prompt; nothing to begin with is refused."""
    first = continue_prompt(opened, "héllo", tokens=9, seed=3)
    assert first.startswith("héllo") and first == continue_prompt(opened, "héllo", tokens=9, seed=3)
    assert first != continue_prompt(opened, "héllo", tokens=9, seed=4)
    assert continue_prompt(opened, "", tokens=0) == ""
    bare = HuggingFaceTokenizer(wrapped(byte_level_bpe().backend_tokenizer))
    with pytest.raises(ConfigError, match="no token that begins a text; give a prompt"):
        continue_prompt(Opened(opened.model, bare, 64), "")
    with pytest.raises(ConfigError, match="the temperature is -1"):
        continue_prompt(opened, "a", temperature=-1)
