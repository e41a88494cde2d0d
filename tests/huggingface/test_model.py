"""A model of a folder is that of transformers, and that of a file the same."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from bytecap.artifact.attached import Attached
from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.errors import ConfigError, DataError, FormatError
from bytecap.core.progress import Silent
from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import FloatTensor
from bytecap.formats.tensor import QuantizedModel
from bytecap.huggingface.folder import open_folder, read_small
from bytecap.huggingface.model import is_hugging_face, load_artifact, load_folder, refuse_non_causal
from tests.artifact.example import ABOUT
from tests.huggingface.models import make_folder

TOKENS_BT = torch.arange(40).reshape(2, 20) * 7 % 290


def unquantized(folder: Path, *left_out: str) -> Artifact:
    """A file with the weights of a folder as they are."""
    opened = open_folder(folder)
    model = load_folder(opened, Silent())
    tensors: dict[str, StoredTensor] = {
        name: FloatTensor("matrix", value.numpy())
        for name, value in model.module.named_parameters()
        if name not in left_out
    }
    files = Attached(read_small(folder, opened.model_files), {name: model.dtypes[name] for name in tensors})
    return loads(pack(None, QuantizedModel(tensors), b"", ABOUT, ArtifactConfig(compressor="zlib"), files))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mixtral"])
def test_the_same_logits(tmp_path: Path, kind: str) -> None:
    """Of the library, of the folder, of a file; pickled weights too; types are kept."""
    folder = make_folder(tmp_path / "model", kind, dtype=torch.bfloat16)
    state = torch.random.get_rng_state()
    model = load_folder(open_folder(folder), Silent())
    assert torch.equal(state, torch.random.get_rng_state())
    wanted = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(TOKENS_BT).logits
    assert torch.allclose(model.logits(TOKENS_BT), wanted, atol=1e-5)
    artifact = unquantized(folder)
    assert is_hugging_face(artifact) and set(artifact.dtypes.values()) == {"BF16"}
    assert torch.equal(load_artifact(artifact).logits(TOKENS_BT), model.logits(TOKENS_BT))


def test_pickled_weights(tmp_path: Path) -> None:
    """Read in the process that may do nothing else; tied ones once."""
    folder = make_folder(tmp_path / "model", "gpt2")
    wanted = load_folder(open_folder(folder), Silent()).logits(TOKENS_BT)
    module = transformers.AutoModelForCausalLM.from_pretrained(folder)
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    opened = open_folder(folder)
    assert opened.foreign and torch.equal(load_folder(opened, Silent()).logits(TOKENS_BT), wanted)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    """A tensor that is missing; a config of a larger model; no config; one that cannot be read."""
    folder = make_folder(tmp_path / "model")
    with pytest.raises(FormatError, match="is missing for the model that config"):
        load_artifact(unquantized(folder, "model.norm.weight", "lm_head.weight"))
    artifact = unquantized(folder)
    config = artifact.attached["config.json"]
    for data, said in (
        (config.replace(b'"intermediate_size":48', b'"intermediate_size":4800000'), "describes a model of 921,6"),
        (config.replace(b'"intermediate_size":48', b'"intermediate_size":50'), "does not fit the model that config"),
        (b"[]", "holds no JSON object"),
        (b"{", "cannot be read"),
        (config.replace(b'"llama"', b'"lama"'), "does not know the model_type"),
        (config.replace(b'"hidden_size":32', b'"hidden_size":"x"'), "cannot be opened"),
    ):
        forged = loads(
            pack(
                None, artifact.quantized, b"", ABOUT, ArtifactConfig(compressor="zlib"), Attached({"config.json": data})
            )
        )
        with pytest.raises((FormatError, DataError), match=said):
            load_artifact(forged)
    bare = loads(pack(None, artifact.quantized, b"", ABOUT, ArtifactConfig(compressor="zlib")))
    assert not is_hugging_face(bare)
    with pytest.raises(FormatError, match=r"no config\.json attached"):
        load_artifact(bare)


def test_code_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs where it is trusted and nowhere else; a file brings it along."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = make_folder(tmp_path / "own")
    for name, of in (("configuration_own", "Config"), ("modeling_own", "ForCausalLM")):
        known = "from .configuration_own import OwnConfig\n" if of == "ForCausalLM" else ""
        body = "config_class = OwnConfig" if known else "model_type = 'own'"
        text = f"import transformers\n{known}class Own{of}(transformers.Llama{of}):\n    {body}\n"
        (folder / f"{name}.py").write_text(text)
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": code}))
    with pytest.raises(ConfigError, match="has an auto_map"):
        open_folder(folder)
    opened = open_folder(folder, trust_code=True)
    model = load_folder(opened, Silent())
    assert type(model.module).__name__ == "OwnForCausalLM"
    tensors: dict[str, StoredTensor] = {
        name: FloatTensor("matrix", value.numpy()) for name, value in model.module.named_parameters()
    }
    files = Attached(read_small(folder, opened.model_files))
    artifact = loads(pack(None, QuantizedModel(tensors), b"", ABOUT, ArtifactConfig(compressor="zlib"), files))
    with pytest.raises(ConfigError, match="has an auto_map"):
        load_artifact(artifact)
    assert torch.equal(load_artifact(artifact, trust_code=True).logits(TOKENS_BT), model.logits(TOKENS_BT))


def test_looking_ahead(tmp_path: Path) -> None:
    """A model that sees the next token is none that predicts it."""
    model = load_folder(open_folder(make_folder(tmp_path / "model", "gpt2")), Silent())
    embed = model.module.get_input_embeddings()  # type: ignore[operator]
    embed.register_forward_hook(lambda _, __, out: out + out.roll(-1, 1))
    with pytest.raises(DataError, match="is not causal"):
        refuse_non_causal(model.module, model.facts)
