"""The code that goes into a folder: all of what is needed, nothing of bytecap itself, and it runs."""

import ast
import sys

import pytest
import torch

from bytecap.export.clean_process import open_in_clean_process
from bytecap.export.remote_code import code_files
from bytecap.export.source import ExportSource
from bytecap.export.targets.hf import HuggingFace
from bytecap.export.tokenizer_files import TEXTS
from bytecap.model.techniques import TECHNIQUES
from tests.export.examples import OTHER, make_file


def test_files_stand_alone() -> None:
    """Imports lead to files beside them, to torch, transformers and the standard library; techniques in use alone."""
    files = code_files("modeling_bytecap", ["xsa"])
    assert "bytecap_model_techniques_xsa.py" in files and "bytecap_model_techniques_smear_gate.py" not in files
    allowed = {*sys.stdlib_module_names, "torch", "transformers", "numpy"}
    for name, text in files.items():
        assert text.startswith("# bytecap.") and "MIT License" in text.splitlines()[0]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert f"{node.module}.py" in files, (name, node.module)
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in allowed, (name, node.module)
            elif isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, name
    assert set(code_files("tokenization_bytecap", ())) == {"tokenization_bytecap.py", "bytecap_text_case_transform.py"}


@pytest.mark.slow
def test_every_technique_runs_where_bytecap_is_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model with all of them and a tokenizer of text without case: logits to the bit, and our tokens."""
    source = ExportSource(make_file(OTHER, transform="case"))
    place = tmp_path_factory.mktemp("folder") / "hf"
    notes = HuggingFace().write(source, place)
    assert len(notes) == 2 and all("trust_remote_code=True" in note for note in notes)
    assert len(list(place.glob("bytecap_model_techniques_*.py"))) == 1 + len(TECHNIQUES.names())
    (rows_BT,) = source.probes([(2, 12)])
    rows_BT[1, 6] = source.tokenizer.bos  # a second document in the same row
    opened = open_in_clean_process(place, [rows_BT], TEXTS)
    assert opened.model == "BytecapForCausalLM" and opened.tokenizer == "BytecapTokenizer"
    assert torch.equal(opened.logits[0], source.logits(rows_BT))
    assert opened.ids == [[source.tokenizer.bos, *source.tokenizer.encode(text)] for text in TEXTS]
    assert opened.texts == list(TEXTS)
