"""What every technique owes, as checks that take its name: tests/contracts/test_techniques.py runs them over all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.formats.floats import FloatTensor
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT, document_numbers
from bytecap.model.layers import Linear
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES, with_defaults
from bytecap.train.checkpoint import Checkpoint, TrainingState, load_checkpoint, save_checkpoint
from bytecap.train.optimizers import OptimizerConfig, Optimizers
from tests.artifact.example import ABOUT

BASE = {"vocab_size": 40, "n_layers": 4, "d_model": 16, "n_heads": 4, "n_kv_heads": 2, "d_ff": 24}
BOS = 1
TOKENS_BT = torch.tensor([[BOS, 5, 6, 7, 8, BOS, 9, 10, 11, 12], [4, 3, BOS, BOS, 8, 20, 9, BOS, 11, 12]])


def build_random(*names: str) -> GPT:
    """Every parameter random, the same for the skeleton whatever joins it."""
    torch.manual_seed(0)
    model = GPT(ModelSpec(**BASE, techniques=with_defaults(*names)))  # type: ignore[arg-type]
    torch.manual_seed(1)  # techniques come last among parameters, but their start may have drawn numbers too
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def compute_logits(model: GPT, tokens_BT: Tensor = TOKENS_BT) -> Tensor:
    return model.logits(model.hidden(tokens_BT, BOS))


def check_live(name: str) -> None:
    """The logits differ from those without it, and each of its parameters moves them."""
    model, without = build_random(name), build_random()
    logits_BTV = compute_logits(model)
    assert not torch.allclose(logits_BTV, compute_logits(without)), f"{name} changes nothing"
    logits_BTV.square().sum().backward()
    for own, parameter in model.techniques[name].named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, f"{name}.{own} has no gradient"


def check_causal_and_isolated(name: str) -> None:
    """A changed token changes nothing before it and nothing in another document, for every place of a token."""
    model = build_random(name)
    before_BTV, document_BT = compute_logits(model), document_numbers(TOKENS_BT, BOS)
    for row in range(TOKENS_BT.size(0)):
        for place in (TOKENS_BT[row] != BOS).nonzero().flatten().tolist():
            changed_BT = TOKENS_BT.clone()
            changed_BT[row, place] = 30
            differs_BT = (compute_logits(model, changed_BT) != before_BTV).any(-1)
            assert not differs_BT[1 - row].any(), f"{name} reaches another row"
            assert not differs_BT[row, :place].any(), f"{name} looks into the future"
            other_T = document_BT[row] != document_BT[row, place]
            assert not differs_BT[row, other_T].any(), f"{name} reaches another document"


def check_streams(*names: str) -> None:
    """Chunks of any size through a cache give the logits of one pass; gradients reach the last chunk's own tokens."""
    name, model = ", ".join(names), build_random(*names)
    whole_BTV, T = compute_logits(model), TOKENS_BT.size(1)
    for sizes in ([1] * T, [3] * (T // 3) + [T % 3], [T - 1, 1], [T], [2, T - 2]):
        cache = Cache(context=T)
        chunks = TOKENS_BT.split([size for size in sizes if size], dim=1)
        logits_BTV = torch.cat([model.logits(model.hidden(chunk_BT, BOS, cache=cache)) for chunk_BT in chunks], dim=1)
        same = torch.allclose(logits_BTV, whole_BTV, atol=1e-4, rtol=1e-4)
        assert same, f"{name} gives other logits in chunks of {sizes} than in one pass; reach back by Context.previous"
        logits_BTV[:, -1].square().sum().backward()  # of chunks before it nothing is kept


def check_skips(*names: str) -> None:
    """The first positions may be left out, whatever the last block then does not compute."""
    name, model = ", ".join(names), build_random(*names)
    whole_BTV = compute_logits(model)
    for skip in (1, 6, 9):
        skipped_BTV = model.logits(model.hidden(TOKENS_BT, BOS, skip=skip))
        same = torch.allclose(skipped_BTV, whole_BTV[:, skip:], atol=1e-4, rtol=1e-4)
        assert same, f"{name} gives other logits where the first {skip} positions are left out"


def check_roles(name: str) -> None:
    """Every parameter has a role, and its name begins with the technique's."""
    model = build_random(name)
    assert set(parameter_roles(model)) == {n for n, _ in model.named_parameters()}
    own = {n for n, _ in model.named_parameters()} - {n for n, _ in build_random().named_parameters()}
    assert all(n.startswith(f"techniques.{name}.") for n in own)


def check_survives(name: str, folder: Path) -> None:
    """A checkpoint and a `.bcap` file give the same logits to the bit."""
    model = build_random(name)
    path = folder / "checkpoint.safetensors"
    about = {"spec": model.spec, "made_from": "x", "tokens": "t", "context": 8, "progressed": TrainingState()}
    save_checkpoint(path, Checkpoint(**about, weights=model.state_dict()))  # type: ignore[arg-type]
    saved = load_checkpoint(path)
    assert saved.spec == model.spec and torch.equal(compute_logits(saved.model()), compute_logits(model))
    roles = parameter_roles(model)
    weights = {n: FloatTensor(roles[n], p.detach().numpy()) for n, p in model.named_parameters()}
    artifact = loads(pack(model.spec, QuantizedModel(dict(weights)), b"", ABOUT, ArtifactConfig()))
    assert artifact.spec == model.spec and torch.equal(compute_logits(artifact.model()), compute_logits(model))


def check_neutral(name: str) -> None:
    """Where it says so: as it starts, in a model whose other parameters are random, it changes no logit."""
    model = build_random(name)
    if not TECHNIQUES.find(name).starts_neutral:
        return
    model.techniques[name].load_state_dict(GPT(model.spec).techniques[name].state_dict())
    same = torch.allclose(compute_logits(model), compute_logits(build_random()), atol=1e-6)
    assert same, f"{name} claims to start neutral, and changes the logits"


def check_trains(name: str) -> None:
    """Thirty steps from its own start lower the loss on a text that repeats, and move each of its parameters."""
    torch.manual_seed(0)
    model = GPT(ModelSpec(**BASE, techniques=with_defaults(name)))  # type: ignore[arg-type]
    start = {own: parameter.detach().clone() for own, parameter in model.techniques[name].named_parameters()}
    optimizers = Optimizers(model, OptimizerConfig())
    tokens_BT = torch.randint(2, 40, (4, 7)).repeat(1, 3)
    tokens_BT[:, 0] = BOS
    losses = []
    for step in range(30):
        loss = model(tokens_BT[:, :-1], tokens_BT[:, 1:], BOS).mean()
        loss.backward()
        optimizers.step(step / 30)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], f"{name} does not train: {losses[0]:.3f} to {losses[-1]:.3f}"
    for own, parameter in model.techniques[name].named_parameters():
        assert not torch.equal(parameter, start[own]), f"{name}.{own} does not move"


class LikeGPU(TorchFunctionMode):
    """Functions that autocast takes in float32 on a GPU, and on a CPU as they come, are taken in float32."""

    UPCAST = {F.rms_norm, F.normalize, F.softmax, torch.softmax, torch.exp, torch.sum, torch.cumsum, torch.pow} | {
        getattr(Tensor, name) for name in ("square", "pow", "sum", "cumsum", "norm", "softmax", "exp", "rsqrt", "prod")
    }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.UPCAST and torch.is_autocast_enabled("cpu"):
            args = [x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x for x in args]
        return func(*args, **(kwargs or {}))


def check_low_precision(name: str) -> None:
    """Under autocast, that of a GPU too, the stream and what maps read stay in bfloat16; the loss is near float32's."""
    model, read = build_random(name), set[torch.dtype]()
    for module in model.blocks.modules():
        if isinstance(module, Linear):
            module.register_forward_pre_hook(lambda _, given: read.add(given[0].dtype))
    with LikeGPU(), torch.autocast("cpu", torch.bfloat16):
        hidden_BTD = model.hidden(TOKENS_BT, BOS)
        loss_BT = model(TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], BOS)
    assert hidden_BTD.dtype == torch.bfloat16, f"{name} leaves the stream in {hidden_BTD.dtype}"
    assert read == {torch.bfloat16}, f"{name} gives maps {read}"
    exact_BT = model(TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], BOS)
    assert loss_BT.dtype == torch.float32 and (loss_BT - exact_BT).abs().mean() < 0.1 * exact_BT.mean()


def check_compiles(*names: str, backend: str = "eager") -> None:
    """The forward pass is one graph without breaks, with the same values; `aot_eager` traces the backward pass too."""
    model = build_random(*names)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    arguments = TOKENS_BT[:, :-1], TOKENS_BT[:, 1:], BOS
    torch.testing.assert_close(compiled(*arguments), model(*arguments))
    torch.compiler.reset()
