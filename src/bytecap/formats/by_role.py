"""Sections of integers with contexts, one for each role: what the formats that use the blocks coder share.

In:   blocks with the role of each; or the rms classes of blocks and the sections of a file.
Out:  a section for each role, in the order of its first block; or the integers of each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from bytecap.coding.blocks import Block, RmsClasses, decode_blocks, encode_blocks, most_bytes
from bytecap.formats.base import CodedSections


def role_order(roles: Sequence[str]) -> list[int]:
    """Places gathered by role: roles in the order of their first place, places of a role in theirs."""
    return [i for role in dict.fromkeys(roles) for i, found in enumerate(roles) if found == role]


def encode_by_role(prefix: str, roles: Sequence[str], blocks: Sequence[Block]) -> dict[str, bytes]:
    """The sections `<prefix><role>`."""
    places: dict[str, list[Block]] = {}
    for role, block in zip(roles, blocks, strict=True):
        places.setdefault(role, []).append(block)
    return {f"{prefix}{role}": encode_blocks(mine) for role, mine in places.items()}


def decode_by_role(
    prefix: str, roles: Sequence[str], classes: Sequence[RmsClasses], coded: CodedSections
) -> list[npt.NDArray[np.int16]]:
    """The integers of each block, (O, I); sections of several roles are decoded side by side."""
    places = {role: [i for i, found in enumerate(roles) if found == role] for role in dict.fromkeys(roles)}
    mine = {role: [classes[i] for i in found] for role, found in places.items()}
    sections = [coded.read(f"{prefix}{role}", at_most=most_bytes(mine[role])) for role in places]
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(decode_blocks, sections, mine.values()))
    symbols = {
        i: one for found, blocks in zip(places.values(), decoded, strict=True)
        for i, one in zip(found, blocks, strict=True)
    }  # fmt: skip
    return [symbols[i] for i in range(len(roles))]
