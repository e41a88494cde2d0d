"""The script of a process that opens an exported folder with transformers alone, without bytecap.

In:   a job as JSON on stdin: where modules are found, a folder, tokens, texts, and a folder for what is found.
Out:  `logits.safetensors` and `found.json` there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Load model and tokenizer, ask both; copies of code that the library makes go into the job's folder."""
    out = Path(job["out"])
    modules = out / "modules"
    modules.mkdir()
    (modules / "__init__.py").touch()
    sys.path[:] = [str(modules), *job["paths"]]  # before the place where other runs of the library keep such copies
    sys.modules["bytecap"] = None  # type: ignore[assignment]  # importing it fails
    import torch  # noqa: PLC0415  (found once the path is set)
    import transformers  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    vars(transformers.dynamic_module_utils)["HF_MODULES_CACHE"] = str(modules)
    how = {"trust_remote_code": True, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32, **how).eval()
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor(rows)).logits.contiguous() for rows in job["tokens"]]
    save_file({str(number): value for number, value in enumerate(logits)}, out / "logits.safetensors")
    found: dict[str, Any] = {"model": type(model).__name__, "tokenizer": "", "ids": [], "texts": []}
    if job["texts"]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], **how)
        found["tokenizer"], found["ids"] = type(tokenizer).__name__, [tokenizer.encode(text) for text in job["texts"]]
        found["texts"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in found["ids"]]
    (out / "found.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(json.loads(sys.stdin.read()))
