"""A tokenizer becomes one of the library's own where that gives the same tokens, and brings code where not."""

import json
from pathlib import Path

from bytecap.export.tokenizer_files import write_tokenizer
from bytecap.text.tokenizer import Tokenizer
from tests.export.examples import tokenizer


def test_both_kinds(tmp_path: Path) -> None:
    """The files of each."""
    for transform, name, others in (
        ("none", "LlamaTokenizer", {"tokenizer.json"}),
        ("case", "BytecapTokenizer", {"tokenization_bytecap.py", "bytecap_text_case_transform.py"}),
    ):
        (tmp_path / transform).mkdir()
        notes = write_tokenizer(Tokenizer.from_bytes(tokenizer(320, transform)), tmp_path / transform)
        assert len(notes) == (transform == "case")
        names = {path.name for path in (tmp_path / transform).iterdir()}
        assert names == {"tokenizer.model", "tokenizer_config.json", *others}
        config = json.loads((tmp_path / transform / "tokenizer_config.json").read_text())
        assert config["tokenizer_class"] == name and config["bos_token"] == "<s>"
        assert not {"is_local", "local_files_only"} & config.keys()
        assert (tmp_path / transform / "tokenizer.model").read_bytes() == tokenizer(320, transform)
