"""All techniques of a model by name, with every hook as one call.

In:   a ModelSpec.
Out:  a module dictionary; each hook runs, in order, the techniques that override it, and nothing else.
"""

from __future__ import annotations

import inspect

from torch import Tensor, nn

from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES
from bytecap.model.techniques.base import Attended, Context, Technique, Visit

HOOKS = tuple(name for name, hook in vars(Technique).items() if inspect.isfunction(hook) and not name.startswith("_"))
"""Every method that a technique may override."""


class Techniques(nn.ModuleDict):
    """What joins a model's forward pass; the methods are the hooks of Technique."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__({name: TECHNIQUES.find(name)(config, spec) for name, config in spec.techniques.items()})
        self._by_hook: dict[str, list[Technique]] = {
            hook: [t for t in self.values() if isinstance(t, Technique) and _overrides(t, hook)] for hook in HOOKS
        }

    def change(self, *hooks: str) -> bool:
        """True where a technique overrides one of these hooks."""
        return any(self._by_hook[hook] for hook in hooks)

    def embed(self, embedded_BTD: Tensor, context: Context) -> Tensor:
        for technique in self._by_hook["embed"]:
            embedded_BTD = technique.embed(embedded_BTD, context)
        return embedded_BTD

    def first(self, stream_BTD: Tensor, context: Context) -> Tensor:
        for technique in self._by_hook["first"]:
            stream_BTD = technique.first(stream_BTD, context)
        return stream_BTD

    def order(self, blocks: list[int]) -> list[int]:
        for technique in self._by_hook["order"]:
            blocks = technique.order(blocks)
        return blocks

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["before"]:
            stream_BTD = technique.before(stream_BTD, visit, context)
        return stream_BTD

    def query(self, query_BTHK: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["query"]:
            query_BTHK = technique.query(query_BTHK, visit, context)
        return query_BTHK

    def key(self, key_BTGK: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["key"]:
            key_BTGK = technique.key(key_BTGK, visit, context)
        return key_BTGK

    def value(self, value_BGTK: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["value"]:
            value_BGTK = technique.value(value_BGTK, visit, context)
        return value_BGTK

    def heads(self, heads_BHTK: Tensor, attended: Attended, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["heads"]:
            heads_BHTK = technique.heads(heads_BHTK, attended, visit, context)
        return heads_BHTK

    def attention_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["attention_output"]:
            update_BTD = technique.attention_output(update_BTD, visit, context)
        return update_BTD

    def mlp_input(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["mlp_input"]:
            stream_BTD = technique.mlp_input(stream_BTD, visit, context)
        return stream_BTD

    def mlp_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in self._by_hook["mlp_output"]:
            update_BTD = technique.mlp_output(update_BTD, visit, context)
        return update_BTD

    def after(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        for technique in reversed(self._by_hook["after"]):  # who comes first on the way in is last on the way out
            stream_BTD = technique.after(stream_BTD, visit, context)
        return stream_BTD

    def logits(self, logits_V: Tensor) -> Tensor:
        for technique in self._by_hook["logits"]:
            logits_V = technique.logits(logits_V)
        return logits_V

    def softcap(self, cap: float | Tensor, logits_V: Tensor) -> float | Tensor:
        for technique in self._by_hook["softcap"]:
            cap = technique.softcap(cap, logits_V)
        return cap


def _overrides(technique: Technique, hook: str) -> bool:
    return getattr(type(technique), hook) is not getattr(Technique, hook)
