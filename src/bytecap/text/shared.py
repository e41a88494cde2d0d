"""Tokens that several runs have in common: prepared once, present in each run folder.

In:   the folder of prepared tokens.
Out:  the same files in another folder, linked or copied.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from bytecap.core.files import make_folder, write_atomic
from bytecap.text.tokens import MANIFEST


def share_tokens(source: Path, folder: Path) -> None:
    """Put the files of prepared tokens into another run's folder, as links where the disk has them, else as copies.

    No stage writes into a file that is there, so a link is as good as a copy. The manifest, which makes them tokens, is
    the last.
    """
    make_folder(folder)
    files = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in sorted(files, key=lambda path: path.name == MANIFEST):
        write_atomic(folder / path.name, partial(_link, path))


def _link(source: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, place)
