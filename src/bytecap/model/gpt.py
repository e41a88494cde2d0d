"""The one forward pass: token ids to logits, with hooks where techniques join.

Letters: B sequences, T positions, S positions that may be seen (the T, behind those of a cache), D width, V vocabulary.
Source:  openai/parameter-golf's naive baseline.
Differs: attention is isolated by document unless the spec says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.elementwise import rms_norm
from bytecap.core.products import linear
from bytecap.model.attention_mask import AttentionMask, Visible, attention_mask
from bytecap.model.block import Block
from bytecap.model.cache import Cache
from bytecap.model.hooks import Techniques
from bytecap.model.layers import RMSNorm, activation_dtype
from bytecap.model.loss import blocks_suit, token_losses
from bytecap.model.roles import Role
from bytecap.model.rotary import rotary_table
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, NeighbourNeeded, Visit


class GPT(nn.Module):
    """A decoder-only transformer."""

    roles: ClassVar[dict[str, Role]] = {"embedding": Role.EMBEDDING, "head": Role.HEAD}
    head: nn.Parameter | None
    """None where the embedding is the output map too."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Parameter(torch.empty(spec.vocab_size, spec.d_model))
        if not self.embedding.is_meta:  # there, normal_ would import torch's compiler: seconds for nothing
            nn.init.normal_(self.embedding, std=spec.embedding_std)
        self.head = None if spec.tied else nn.Parameter(torch.zeros(spec.vocab_size, spec.d_model))
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.n_layers))
        self.final_norm: Callable[[Tensor], Tensor] = RMSNorm(spec.d_model) if spec.block == "llama" else rms_norm
        self.techniques = Techniques(spec)
        self._drops = True
        """False once a technique asks for a neighbour behind the last attention: then nothing can be dropped."""

    def hidden(
        self, tokens_BT: Tensor, bos: int, *, cache: Cache | None = None, skip: int = 0,
        max_documents: int | None = None,
    ) -> Tensor:  # fmt: skip
        """The normalised last stream without the first `skip` positions, (B, T - skip, D); documents begin at `bos`.

        With a cache each row goes on where the cache stands, and leaves it behind its last token. Each position then
        sees itself and the `cache.context - 1` before it, of its document unless the spec says otherwise. Gradients
        reach the parameters through these tokens, not through those before them.

        `max_documents` is for a graph that is compiled for variable-length attention (model/attention_mask.py).
        """
        if skip and cache is None and self._drops:
            try:
                return self._pass(self._context(tokens_BT, bos, skip=skip, max_documents=max_documents))
            except NeighbourNeeded:
                self._drops = False
        return self._pass(self._context(tokens_BT, bos, cache, max_documents=max_documents))[:, skip:]

    def _pass(self, context: Context) -> Tensor:
        tokens_BT, techniques = context.tokens_BT, self.techniques
        embedded_BTD = F.embedding(tokens_BT, self.embedding).to(activation_dtype(tokens_BT.device))
        stream_BTD = techniques.embed(embedded_BTD, context)
        if self.spec.block != "llama":
            stream_BTD = rms_norm(stream_BTD)
        context.first_BTD = stream_BTD = techniques.first(stream_BTD, context)
        order = techniques.order(list(range(self.spec.n_layers)))
        for place, block in enumerate(order):
            visit = Visit(place, block, len(order))
            stream_BTD = techniques.before(stream_BTD, visit, context)
            stream_BTD = self.blocks[block](stream_BTD, visit, context, techniques)
            stream_BTD = techniques.after(stream_BTD, visit, context)
        return self.final_norm(stream_BTD)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Softcapped logits of any (..., D) hidden states, float32."""
        raw = self.raw_logits(hidden_BTD)
        cap = self.softcap(raw)
        return raw if cap is None else torch.tanh(raw / cap) * cap

    def raw_logits(self, hidden_BTD: Tensor) -> Tensor:
        """The logits before the softcap, float32."""
        return self.techniques.logits(linear(hidden_BTD, self.output_VD.to(hidden_BTD.dtype)).float())

    def softcap(self, raw_BTV: Tensor) -> float | Tensor | None:
        """The softcap of raw logits: one number or one for each; None for a model without."""
        cap = self.spec.logit_softcap
        return self.techniques.softcap(cap, raw_BTV) if cap else None

    def forward(
        self, tokens_BT: Tensor, target_BT: Tensor, bos: int, *, skip: int = 0, cache: Cache | None = None
    ) -> Tensor:
        """Loss in nats of each target but the first `skip` of a row, (B, T - skip), float32.

        Training takes the mean of all by `mean_loss` (model/mean_loss.py), which is quicker.
        """
        hidden_BTD = self.hidden(tokens_BT, bos, cache=cache, skip=skip)
        hidden_ND, target_N = hidden_BTD.flatten(0, 1), target_BT[:, skip:].flatten()
        if self.loss_in_blocks(hidden_ND) and not torch.is_grad_enabled():
            loss_N = token_losses(hidden_ND, self.output_VD, target_N, self.spec.logit_softcap)
        else:
            loss_N = F.cross_entropy(self.logits(hidden_ND), target_N, reduction="none")
        return loss_N.view(hidden_BTD.shape[:2])

    def loss_in_blocks(self, hidden_ND: Tensor) -> bool:
        """True where model/loss.py can compute the loss: on a CPU, with no technique behind the output map."""
        return blocks_suit(hidden_ND, self.output_VD, self.spec.logit_softcap) and not self.techniques.change(
            "logits", "softcap"
        )

    @property
    def output_VD(self) -> Tensor:
        """The output map: the embedding where they are tied."""
        return self.embedding if self.head is None else self.head

    def _context(
        self, tokens_BT: Tensor, bos: int, cache: Cache | None = None, *, skip: int = 0,
        max_documents: int | None = None,
    ) -> Context:  # fmt: skip
        spec, queries = self.spec, tokens_BT.size(1)
        begin = 0 if cache is None else cache.positions
        cos_TK, sin_TK = rotary_table(queries, spec.rotary_dims, spec.rope_base, tokens_BT.device, begin=begin)
        if spec.block == "llama":
            sin_TK = -sin_TK  # Llama turns the other way, and so do the programs that run its models
        document_BS = document_numbers(tokens_BT, bos)
        if cache is not None:
            document_BS = cache.documents(document_BS)
        visible = Visible(not spec.across_documents, None if cache is None else cache.context, max_documents)
        mask = self._mask(document_BS, queries, visible)
        last_mask = self._mask(document_BS, queries - skip, visible) if skip else None
        return Context(tokens_BT, document_BS, cos_TK, sin_TK, mask, cache, skip=skip, last_mask=last_mask)

    def _mask(self, document_BS: Tensor, queries: int, visible: Visible) -> AttentionMask:
        return attention_mask(document_BS, self.embedding, queries=queries, d_head=self.spec.d_head, visible=visible)


def document_numbers(tokens_BT: Tensor, bos: int) -> Tensor:
    """The running number of each position's document within its row, (B, T)."""
    return (tokens_BT == bos).cumsum(dim=1)
