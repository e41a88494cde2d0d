"""What was compiled is not used again when a function that went into it has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HELPER = "from bytecap.core.compiled import compiled\n@compiled()\ndef helper(x):\n    return x + {}\n"
CALLER = (
    "from bytecap.core.compiled import compiled\nfrom helper import helper\n"
    "@compiled()\ndef caller(x):\n    return helper(x)\n"
)


def called(folder: Path) -> str:
    """What a fresh process finds, and whether it has to compile for that."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from caller import caller; "
        "from bytecap.core.compiled import compiles_first as first; print(first(caller), caller(1), first(caller))"
    )
    made = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    return made.stdout.strip()


def test_a_changed_function_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    """The caller's own file stays as it was, to the second that it was written in."""
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    assert [called(tmp_path) for _ in range(2)] == ["True 2 False", "False 2 False"]
    (tmp_path / "helper.py").write_text(HELPER.format(20))
    os.utime(tmp_path / "helper.py", (1e9, 1e9))
    assert called(tmp_path) == "True 21 False"
