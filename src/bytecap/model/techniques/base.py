"""What a technique is: a module with hooks that do nothing unless overridden, and a table of settings.

A technique is one file in this folder: a frozen dataclass of settings, and one subclass of Technique that names it,
declares the roles of its parameters and overrides the hooks it needs. The file's name is the technique's name
everywhere: in a recipe (`[model.techniques.xsa]`), in parameters (`techniques.xsa.…`), on the command line. Nothing
else lists it (docs/extending.md).

Letters: B sequences, T positions, S positions that may be seen (the T, behind those of a cache), D width, H query
         heads, G key/value heads, K head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.elementwise import previous_rows, written_out
from bytecap.model.attention_mask import AttentionMask
from bytecap.model.cache import Cache
from bytecap.model.roles import Role

if TYPE_CHECKING:
    from bytecap.model.spec import ModelConfig, ModelSpec


@dataclass(frozen=True, kw_only=True)
class TechniqueConfig:
    """The settings of a technique; one without any keeps this class empty."""

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for settings that this model's shape does not allow."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """The blocks in which it works, from a selector of `model/selectors.py`; ConfigError for any there are not."""
        return range(model.n_layers)

    def visits(self, blocks: list[int]) -> list[int]:
        """The longest order that the technique's hook `order` ever makes of `blocks`; override both or none.

        Techniques that keep something for each visit are built for it (`ModelConfig.visits`).
        """
        return blocks


class Visit(NamedTuple):
    """One run of one block: blocks may be visited more than once, and in another order."""

    place: int
    """Among all visits of a forward pass, from 0."""
    block: int
    """Which block."""
    total: int
    """How many visits there are."""

    @property
    def last(self) -> bool:
        """True for the one that leaves the pass."""
        return self.place == self.total - 1


class NeighbourNeeded(Exception):
    """A technique asked for the previous position after `Context.drop`."""


class Attended(NamedTuple):
    """The inputs of attention, for techniques that change its output."""

    input_BTD: Tensor
    """The normalised stream that queries, keys and values were made from."""
    value_BGTK: Tensor


@dataclass
class Context:
    """State shared by one forward pass: tokens, documents, rotary tables, attention mask, cache, saved streams."""

    tokens_BT: Tensor
    document_BS: Tensor
    """Running number of each position's document within its row; a document begins at BOS."""
    cos_TK: Tensor
    """The rotary tables have half a head's width."""
    sin_TK: Tensor
    mask: AttentionMask
    """The positions that each position may attend to."""
    cache: Cache | None = None
    """Keys and values of the tokens before these, if they continue a text."""
    first_BTD: Tensor = field(init=False)
    """The stream that enters the first block; there from the hook `before` on."""
    saved: dict[str, list[Tensor]] = field(default_factory=dict)
    """Streams that techniques keep from one hook to another, by a name of their own; T is their second axis."""
    skip: int = 0
    """Positions at the beginning whose hidden states are not needed."""
    last_mask: AttentionMask | None = None
    """The mask of the positions after `skip`; None if `skip` is 0."""
    dropped: int = 0
    """Leading positions that have been dropped."""

    def __post_init__(self) -> None:
        self._starts_BS = F.pad(self.document_BS[:, 1:] != self.document_BS[:, :-1], (1, 0), value=True)

    def drop(self) -> None:
        """Drop the first `skip` positions: at the last visit only their keys and values are needed."""
        if self.last_mask is None:
            return
        self.dropped, self.mask = self.skip, self.last_mask
        kept = slice(self.skip, None)
        self.tokens_BT, self.first_BTD = self.tokens_BT[:, kept], self.first_BTD[:, kept]
        self.cos_TK, self.sin_TK = self.cos_TK[kept], self.sin_TK[kept]
        self.saved = {name: [stream[:, kept] for stream in streams] for name, streams in self.saved.items()}

    def previous(self, x_BTD: Tensor) -> Tensor:
        """The value at the previous position, zero at a document's first token; `x_BTD` may have any axes after T.

        Techniques have no other access to earlier positions, so none can cross the border between two documents, not
        even where attention may look across it.
        """
        if self.dropped:
            raise NeighbourNeeded
        starts_BT = self._starts_BS[:, -x_BTD.size(1) :]
        if self.cache is None and written_out(x_BTD):
            return previous_rows(x_BTD, starts_BT)
        if self.cache is None:
            shifted_BTD = F.pad(x_BTD[:, :-1], (0, 0) * (x_BTD.ndim - 2) + (1, 0))
        else:
            shifted_BTD = torch.cat((self.cache.neighbour(x_BTD), x_BTD[:, :-1]), dim=1)
        return shifted_BTD.masked_fill(starts_BT.view(*starts_BT.shape, *(1,) * (x_BTD.ndim - 2)), 0)


class Technique(nn.Module):
    """Base of all techniques: every hook returns what it gets. A hook that is not overridden is never called."""

    config_class: ClassVar[type[TechniqueConfig]] = TechniqueConfig
    """The settings."""
    roles: ClassVar[dict[str, Role]] = {}
    """The role of each parameter, by its name."""
    runs_after: ClassVar[tuple[str, ...]] = ()
    """Names of techniques that come first at hooks which both join, at `after` last; the rest is alphabetical."""
    starts_neutral: ClassVar[bool] = False
    """True claims that a technique at its start changes no logit; the contract tests hold it to that."""

    def __init__(self, config: TechniqueConfig, spec: ModelSpec) -> None:
        super().__init__()

    def embed(self, embedded_BTD: Tensor, context: Context) -> Tensor:
        """The tokens' embeddings before they are normalised."""
        return embedded_BTD

    def first(self, stream_BTD: Tensor, context: Context) -> Tensor:
        """The normalised stream before the first block, which `context.first_BTD` keeps."""
        return stream_BTD

    def order(self, blocks: list[int]) -> list[int]:
        """The blocks in the order in which they are visited; the same for every row."""
        return blocks

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The stream that a block reads."""
        return stream_BTD

    def query(self, query_BTHK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The queries before they are normalised and rotated."""
        return query_BTHK

    def key(self, key_BTGK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The keys before they are normalised and rotated."""
        return key_BTGK

    def value(self, value_BGTK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The values that attention mixes."""
        return value_BGTK

    def heads(self, heads_BHTK: Tensor, attended: Attended, visit: Visit, context: Context) -> Tensor:
        """The output of each head before the map that joins them."""
        return heads_BHTK

    def attention_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """What attention adds to the stream."""
        return update_BTD

    def mlp_input(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The stream that the MLP reads, not yet normalised."""
        return stream_BTD

    def mlp_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """What the MLP adds to the stream."""
        return update_BTD

    def after(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The stream that a block leaves."""
        return stream_BTD

    def logits(self, logits_V: Tensor) -> Tensor:
        """Logits of any (..., V) positions before the softcap, float32."""
        return logits_V

    def softcap(self, cap: float | Tensor, logits_V: Tensor) -> float | Tensor:
        """The softcap of those logits: one number, or one for each."""
        return cap
