"""`block = "llama"` is the model that other programs know: their names, their formulas, written out here."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.export.llama import llama_name
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES, with_defaults

EPS = torch.finfo(torch.float32).eps
SPEC = ModelSpec(
    vocab_size=50, n_layers=3, d_model=16, n_heads=4, n_kv_heads=2, d_ff=24,
    block="llama", activation="swiglu", logit_softcap=0.0, tied=False, techniques={},
)  # fmt: skip


def their_weights(model: GPT) -> dict[str, Tensor]:
    """The weights of a model under the names that other programs look for."""
    return {llama_name(name): parameter.detach().double() for name, parameter in model.named_parameters()}


def random_llama(**fields: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(SPEC, **fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def rms_norm(x_TD: Tensor, weight_D: Tensor) -> Tensor:
    return x_TD / (x_TD.square().mean(-1, keepdim=True) + EPS).sqrt() * weight_D


def rotate_half(x: Tensor) -> Tensor:
    half = x.size(-1) // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def attend(w: dict[str, Tensor], layer: str, x_TD: Tensor, n_heads: int, n_kv_heads: int, base: float) -> Tensor:
    """One head after the other, one position after the other."""
    T, D = x_TD.shape
    K = D // n_heads
    angle_TK = torch.outer(
        torch.arange(T, dtype=torch.float64), base ** (-torch.arange(0, K, 2, dtype=torch.float64) / K)
    ).repeat(1, 2)
    heads = []
    for h in range(n_heads):
        g = h // (n_heads // n_kv_heads)
        q = x_TD @ w[f"{layer}.self_attn.q_proj.weight"][h * K : (h + 1) * K].T
        k = x_TD @ w[f"{layer}.self_attn.k_proj.weight"][g * K : (g + 1) * K].T
        v = x_TD @ w[f"{layer}.self_attn.v_proj.weight"][g * K : (g + 1) * K].T
        q, k = (y * angle_TK.cos() + rotate_half(y) * angle_TK.sin() for y in (q, k))
        mixed = [torch.softmax(k[: t + 1] @ q[t] / math.sqrt(K), dim=0) @ v[: t + 1] for t in range(T)]
        heads.append(torch.stack(mixed))
    return torch.cat(heads, dim=1) @ w[f"{layer}.self_attn.o_proj.weight"].T


def their_logits(w: dict[str, Tensor], tokens: list[int], spec: ModelSpec) -> Tensor:
    """The forward pass of a Llama model, (T, V)."""
    x_TD = w["model.embed_tokens.weight"][tokens]
    for i in range(spec.n_layers):
        layer = f"model.layers.{i}"
        normed = rms_norm(x_TD, w[f"{layer}.input_layernorm.weight"])
        x_TD = x_TD + attend(w, layer, normed, spec.n_heads, spec.n_kv_heads, spec.rope_base)
        normed = rms_norm(x_TD, w[f"{layer}.post_attention_layernorm.weight"])
        gate, up = (normed @ w[f"{layer}.mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        x_TD = x_TD + (gate / (1 + (-gate).exp()) * up) @ w[f"{layer}.mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return rms_norm(x_TD, w["model.norm.weight"]) @ head.T


@pytest.mark.parametrize("tied", [False, True])
def test_equals_the_model_of_other_programs(tied: bool) -> None:
    """One document, logit by logit; the weights are handed over under other names and not changed."""
    model = random_llama(tied=tied)
    tokens = [1, 7, 3, 9, 4, 4, 20]
    found = model.logits(model.hidden(torch.tensor([tokens]), 1))[0]
    expected = their_logits(their_weights(model), tokens, model.spec)
    torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=1e-4)


def test_holds_nothing_else() -> None:
    """Every parameter has a name of theirs and a role, the norms' weights are scalars, and each is live."""
    model = random_llama()
    assert len(their_weights(model)) == 2 + 9 * SPEC.n_layers + 1
    roles = parameter_roles(model)
    assert {roles[n] for n in roles if "norm" in n} == {Role.SCALAR}
    tokens_BT = torch.randint(2, 50, (2, 9))
    model(tokens_BT[:, :-1], tokens_BT[:, 1:], 1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_techniques_join_it_too(name: str) -> None:
    """Each runs and changes the logits; the asymmetric softcap asks for a softcap and says so."""
    fields: dict[str, Any] = {"n_layers": 4, "techniques": with_defaults(name)}
    if name == "asymmetric_softcap":
        with pytest.raises(ConfigError, match=r"start at model\.logit_softcap, which is 0"):
            random_llama(**fields)
        fields["logit_softcap"] = 30.0
    tokens_BT = torch.tensor([[1, 7, 3, 9, 4, 4, 20]])
    torch.manual_seed(0)
    model = random_llama(**fields)
    plain = GPT(dataclasses.replace(model.spec, techniques={}))
    plain.load_state_dict({n: p for n, p in model.state_dict().items() if not n.startswith("techniques")})
    found, without = (m.logits(m.hidden(tokens_BT, 1)) for m in (model, plain))
    assert not torch.allclose(found, without)
