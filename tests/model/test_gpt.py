"""The forward pass equals a slow one written out, sees no future and no other document."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.core.settings_writer import to_sparse
from bytecap.model.gpt import GPT, document_numbers
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import ModelConfig, ModelSpec

SPEC = ModelSpec(vocab_size=50, n_layers=3, d_model=16, n_heads=4, n_kv_heads=2, d_ff=24)


def random_model(spec: ModelSpec = SPEC) -> GPT:
    """Every parameter random, so that nothing is hidden by a zero or a one."""
    torch.manual_seed(0)
    model = GPT(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def slow_norm(x: list[float]) -> list[float]:
    root = math.sqrt(sum(v * v for v in x) / len(x) + torch.finfo(torch.float32).eps)
    return [v / root for v in x]


def matvec(weight: Tensor, x: list[float]) -> list[float]:
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight.tolist()]


def slow_rotate(x: list[float], position: int, spec: ModelSpec) -> list[float]:
    turned = spec.rope_dims or len(x)
    half = turned // 2
    out = list(x)
    for i in range(half):
        angle = position * spec.rope_base ** (-2 * i / turned)
        c, s = math.cos(angle), math.sin(angle)
        out[i], out[half + i] = x[i] * c + x[half + i] * s, x[half + i] * c - x[i] * s
    return out


def slow_activation(kind: str, up: float, gate: float) -> float:
    """The four formulas, one number at a time."""
    return {
        "relu2": max(up, 0.0) ** 2,
        "leaky_relu2": (up if up > 0 else up / 2) ** 2,
        "gelu": up * (1 + math.erf(up / math.sqrt(2))) / 2,
        "swiglu": gate / (1 + math.exp(-gate)) * up,
    }[kind]


def slow_mlp(spec: ModelSpec, weights: dict[str, Tensor], block: str, x: list[float]) -> list[float]:
    up = matvec(weights[f"{block}.mlp.up.weight"], x)
    gate = matvec(weights[f"{block}.mlp.gate.weight"], x) if spec.activation == "swiglu" else up
    hidden = [slow_activation(spec.activation, u, g) for u, g in zip(up, gate, strict=True)]
    return matvec(weights[f"{block}.mlp.down.weight"], hidden)


def slow_logits(model: GPT, tokens: list[int], documents: list[int]) -> list[list[float]]:
    """Position by position, head by head, with plain floats."""
    spec, weights = model.spec, {n: p.detach().double() for n, p in model.named_parameters()}
    stream = [slow_norm(weights["embedding"][t].tolist()) for t in tokens]
    first = [list(x) for x in stream]
    saved: list[Any] = []
    for i in range(spec.n_layers):
        skip = i - spec.n_layers // 2
        if 0 <= skip < spec.n_layers // 2:
            w = weights["techniques.unet_skips.weight_SD"][skip].tolist()
            stream = [
                [a + g * b for a, g, b in zip(x, w, y, strict=True)] for x, y in zip(stream, saved.pop(), strict=True)
            ]
        keep, mix = weights["techniques.residual_mix.mix_L2D"][i].tolist()
        stream = [
            [k * a + m * b for k, a, m, b in zip(keep, x, mix, y, strict=True)]
            for x, y in zip(stream, first, strict=True)
        ]
        block = f"blocks.{i}"
        shrink = 1 / math.sqrt(i + 1) if spec.ln_scale else 1.0
        inputs = [[shrink * v for v in slow_norm(x)] for x in stream]
        attended = slow_attention(spec, weights, block, inputs, documents)
        scale = weights[f"{block}.attention_scale"].tolist()
        stream = [
            [a + s * b for a, s, b in zip(x, scale, y, strict=True)] for x, y in zip(stream, attended, strict=True)
        ]
        scale = weights[f"{block}.mlp_scale"].tolist()
        for t, x in enumerate(stream):
            out = slow_mlp(spec, weights, block, [shrink * v for v in slow_norm(x)])
            stream[t] = [a + s * b for a, s, b in zip(x, scale, out, strict=True)]
        if i < spec.n_layers // 2:
            saved.append([list(x) for x in stream])
    logits = [matvec(weights["embedding" if spec.tied else "head"], slow_norm(x)) for x in stream]
    cap = spec.logit_softcap
    return [[cap * math.tanh(z / cap) for z in row] for row in logits] if cap else logits


def slow_attention(
    spec: ModelSpec, weights: dict[str, Tensor], block: str, inputs: list[list[float]], documents: list[int]
) -> list[list[float]]:
    K, per_group = spec.d_head, spec.n_heads // spec.n_kv_heads
    query, key, value = (
        [matvec(weights[f"{block}.attention.{n}.weight"], x) for x in inputs] for n in ("query", "key", "value")
    )
    gain = weights[f"{block}.attention.query_gain"].tolist()
    out = []
    for t in range(len(inputs)):
        joined: list[float] = []
        for h in range(spec.n_heads):
            g = h // per_group
            q = slow_rotate(slow_norm(query[t][h * K : (h + 1) * K]), t, spec)
            seen = [s for s in range(t + 1) if documents[s] == documents[t]]
            scores = []
            for s in seen:
                k = slow_rotate(slow_norm(key[s][g * K : (g + 1) * K]), s, spec)
                scores.append(gain[h] * sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(K))
            top = max(scores)
            chances = [math.exp(z - top) for z in scores]
            total = sum(chances)
            joined += [
                sum(c / total * value[s][g * K + j] for c, s in zip(chances, seen, strict=True)) for j in range(K)
            ]
        out.append(matvec(weights[f"{block}.attention.out.weight"], joined))
    return out


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rope_dims": 2},
        {"activation": "leaky_relu2"},
        {"activation": "gelu"},
        {"activation": "swiglu"},
        {"ln_scale": True},
        {"tied": False},
        {"logit_softcap": 0.0},
    ],
)
def test_equals_the_slow_forward(fields: dict[str, Any]) -> None:
    """Logits and losses, with two documents in one row."""
    model = random_model(dataclasses.replace(SPEC, **fields))
    tokens = [1, 7, 3, 9, 1, 4, 4, 20]
    documents = [1, 1, 1, 1, 2, 2, 2, 2]
    tokens_BT = torch.tensor([tokens])
    assert document_numbers(tokens_BT, 1).tolist() == [documents]
    logits_TV = model.logits(model.hidden(tokens_BT, 1))[0]
    slow_TV = torch.tensor(slow_logits(model, tokens, documents))
    torch.testing.assert_close(logits_TV, slow_TV, atol=2e-4, rtol=1e-4)
    target_BT = torch.tensor([[7, 3, 9, 1, 4, 4, 20, 2]])
    loss_T = model(tokens_BT, target_BT, 1)[0]
    slow_T = slow_TV.logsumexp(1) - slow_TV.gather(1, target_BT.T).squeeze(1)
    torch.testing.assert_close(loss_T, slow_T, atol=2e-4, rtol=1e-4)


def logits_of(model: GPT, tokens_BT: Tensor) -> Tensor:
    return model.logits(model.hidden(tokens_BT, 1))


def test_sees_no_future() -> None:
    """Changing a token changes no earlier position, and does change its own."""
    model = random_model()
    tokens_BT = torch.randint(2, 50, (1, 12))
    changed_BT = tokens_BT.clone()
    changed_BT[0, 7] = 49 if tokens_BT[0, 7] != 49 else 48
    one, other = logits_of(model, tokens_BT), logits_of(model, changed_BT)
    assert torch.equal(one[:, :7], other[:, :7])
    assert not torch.equal(one[:, 7], other[:, 7])


@pytest.mark.parametrize("across", [False, True])
def test_documents_are_isolated_unless_told_otherwise(across: bool) -> None:
    """Changing the first document changes the second only where attention crosses documents."""
    model = random_model(dataclasses.replace(SPEC, across_documents=across))
    tokens_BT = torch.tensor([[1, 5, 6, 7, 1, 8, 9, 10]])
    changed_BT = tokens_BT.clone()
    changed_BT[0, 2] = 30
    same = torch.equal(logits_of(model, tokens_BT)[:, 4:], logits_of(model, changed_BT)[:, 4:])
    assert same is not across


@pytest.mark.parametrize("activation", ["relu2", "swiglu"])
def test_every_parameter_is_live_and_has_a_role(activation: Any) -> None:
    """A loss reaches every parameter; roles are complete."""
    model = random_model(dataclasses.replace(SPEC, activation=activation))
    tokens_BT = torch.randint(2, 50, (2, 9))
    model(tokens_BT[:, :-1], tokens_BT[:, 1:], 1).sum().backward()
    roles = parameter_roles(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert (roles[name] is Role.MATRIX) == (parameter.ndim == 2 and name.startswith("blocks"))
    assert roles["embedding"] is Role.EMBEDDING and "head" not in roles


def test_an_untied_head_starts_at_zero_and_has_a_role() -> None:
    """A fresh model gives every token the same chance; the embedding is read, the head alone is an output map."""
    model = GPT(dataclasses.replace(SPEC, tied=False))
    assert parameter_roles(model)["head"] is Role.HEAD and parameter_roles(model)["embedding"] is Role.EMBEDDING
    tokens_BT = torch.tensor([[1, 5, 6, 7]])
    assert (logits_of(model, tokens_BT) == 0).all()
    changed = random_model(model.spec)
    before = logits_of(changed, tokens_BT)
    with torch.no_grad():
        changed.embedding[9:] += 1.0  # rows that no token reads
    assert torch.equal(logits_of(changed, tokens_BT), before)


def test_starts_as_the_baseline() -> None:
    """Output maps start at zero, so a fresh model predicts from the token alone."""
    model = GPT(SPEC)
    tokens_BT = torch.tensor([[5, 6, 7]])
    alone_BT = torch.tensor([[9, 9, 7]])
    torch.testing.assert_close(logits_of(model, tokens_BT)[0, 2], logits_of(model, alone_BT)[0, 2])


def test_published_size() -> None:
    """The naive baseline at its own scale has the 17,059,912 parameters its authors report."""
    with torch.device("meta"):
        model = GPT(ModelSpec.of(ModelConfig(), 1024))
    assert sum(p.numel() for p in model.parameters()) == 17_059_912


def test_spec_refusals() -> None:
    """Shapes that cannot be built name the setting; a spec survives JSON."""
    for bad, message in (
        ({"d_model": 18}, "multiple of twice model.n_heads"),
        (
            {"rope_dims": 6},
            r"model.rope_dims is 6; .* at most 4, the head width \(model.d_model 16 / model.n_heads 4\)",
        ),
        ({"rope_dims": 3}, "model.rope_dims is 3; it must be an even number"),
        ({"activation": "swish"}, "activation"),
        ({"block": "lama"}, "block must be one of baseline, llama"),
        ({"block": "llama", "qk_gain": 5}, r"model.qk_gain is 5.*, and model.block = llama has no gain"),
        ({"logit_softcap": -1}, "logit_softcap is -1"),
        ({"logit_softcap": 0, "techniques": {"asymmetric_softcap": {}}}, "asymmetric_softcap: .* model.logit_softcap"),
        ({"n_kv_heads": 3}, "multiple of model.n_kv_heads"),
        ({"n_layers": 0}, "n_layers is 0; it must lie between 1 and 256"),
        ({"n_layers": 1}, r"model.techniques.unet_skips: .* needs 2 blocks at least, and model.n_layers is 1; raise "),
        ({"techniques": ["residual_mx"]}, "did you mean residual_mix"),
        ({"techniques": {"residual_mx": {}}}, "did you mean residual_mix"),
        ({"techniques": {"xsa": {"last_block": 1}}}, "techniques.xsa.last_block is not a setting .did you mean"),
        (
            {"techniques": {"xsa": {"last_blocks": 4}}},
            "xsa: last_blocks is 4; .* model.n_layers, which is 3",
        ),
        ({"techniques": {"xsa": 3}}, "techniques.xsa must be a table"),
        ({"techniques": ["unet_skips", "unet_skips"]}, "names one twice"),
        ({"techniques": ["residual_mix", "unet_skips"]}, "to continue with the first, install bytecap 0.1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            GPT(ModelSpec.from_json({**to_sparse(SPEC), **bad}))
    assert ModelSpec.from_json(to_sparse(SPEC)) == SPEC
    for techniques in (["unet_skips", "residual_mix"], {"residual_mix": {}, "unet_skips": True, "xsa": False}):
        assert ModelSpec.from_json({**to_sparse(SPEC), "techniques": techniques}) == SPEC
    for value, message in ((3, "must be a table"), ({**to_sparse(SPEC), "d_modl": 1}, "did you mean d_model"),
                           ({"d_model": 8}, "vocab_size is missing"),
                           ({**to_sparse(SPEC), "d_ff": "x"}, "d_ff must be a whole number"),
                           ({**to_sparse(SPEC), "d_ff": True}, "d_ff must be a whole number")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            ModelSpec.from_json(value)


@pytest.mark.slow
def test_one_graph_under_the_compiler() -> None:
    """The forward pass is one graph without breaks, with the same values."""
    model = random_model()
    tokens_BT = torch.randint(2, 50, (2, 9))
    tokens_BT[0, 4] = 1
    arguments = (tokens_BT[:, :-1], tokens_BT[:, 1:], 1)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*arguments), model(*arguments))
