"""Scores that break a rule, made from honest ones: one known cheat, its place, offset, strength drawn at random.

In:   a Subject that breaks no rule, a random generator.
Out:  the Subject with one cheat in it, the rules by which it must be caught, and what was drawn.
"""

from __future__ import annotations

from collections.abc import Callable

from bytecap.auditing.subject import Subject
from planted_cheats.base import Planted, Rng
from planted_cheats.inputs import copied_document, doubled_space, edited, edited_document, long_byte, over_cap
from planted_cheats.models import early_adapter, first_pass, future_token, loose_cache, second_file, smear, target_gate
from planted_cheats.plans import future_chunks, length_order, tail_twice

__all__ = ["CHEATS", "edited"]

CHEATS: dict[str, Callable[[Subject, Rng], Planted]] = {
    plant.__name__: plant
    for plant in (
        future_token, target_gate, smear, early_adapter, first_pass, loose_cache, tail_twice, length_order,
        future_chunks, second_file, over_cap, doubled_space, long_byte, copied_document, edited_document,
    )
}  # fmt: skip
"""Every cheat by its name."""
