"""What a confined process cannot do, each tried in one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TRIES = {
    "write": "open({outside!r}, 'w')",
    "append": "open({outside!r}, 'ab')",
    "os.open": "os.open({outside!r}, os.O_RDWR | os.O_CREAT)",
    "climb": "open({inside!r} + '/../outside', 'w')",
    "remove": "os.remove({victim!r})",
    "rename": "os.rename({victim!r}, {victim!r} + '2')",
    "tree": "shutil.rmtree({inside!r})",
    "network": "socket.create_connection(('127.0.0.1', 9))",
    "program": "subprocess.run(['true'])",
    "shell": "os.system('true')",
    "fork": "os.fork()",
    "exec": "os.execv('/bin/true', ['true'])",
    "kill": "os.kill(os.getppid(), 0)",
}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each try, all in one process."""
    folder = tmp_path_factory.mktemp("limits")
    (folder / "inside").mkdir()
    (folder / "victim").write_text("mine")
    names = {"outside": str(folder / "outside"), "inside": str(folder / "inside"), "victim": str(folder / "victim")}
    lines = ["import os, shutil, socket, subprocess, pathlib", "from bytecap.convert.limits import confine"]
    lines += [f"confine(pathlib.Path({names['inside']!r}), 1 << 20)"]
    for name, code in TRIES.items():
        lines += ["try:", f"    {code.format(**names)}", f"    print('{name} DONE')"]
        lines += ["except PermissionError as error:", f"    print('{name}', error)"]
    lines += [f"open({names['inside']!r} + '/x', 'w').write('fine')", f"open({names['victim']!r}).read()"]
    lines += ["import json, wave", "print('end')"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert (folder / "inside" / "x").read_text() == "fine" and (folder / "victim").read_text() == "mine"
    assert not (folder / "outside").exists() and done.stdout.endswith("end\n")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.parametrize("name", TRIES)
def test_what_the_child_process_may_not_do(name: str, tried: dict[str, str]) -> None:
    """Told what it may not do; reading, and writing into its own folder, it may."""
    assert tried[name].startswith("a file that is being converted may not"), tried[name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory otherwise")
@pytest.mark.parametrize(
    ("code", "ends"),
    [("x = bytearray(8 << 30)", 1), ("x = [0]\nwhile True: x = x + x", 1)],
)
def test_a_decompression_bomb_meets_a_memory_error(code: str, ends: int, tmp_path: Path) -> None:
    """A bomb meets a MemoryError, long before the machine does."""
    lines = ["import pathlib", "from bytecap.convert.limits import confine"]
    lines += [f"confine(pathlib.Path({str(tmp_path)!r}), 1 << 20)", code]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == ends and "MemoryError" in done.stderr
