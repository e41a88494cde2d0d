"""Documents as segments equal attention with a mask of all pairs, with an obvious twin in the kernel's place."""

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import varlen

from bytecap.model import attention_mask, attention_segments
from bytecap.model.attention_choice import AttentionChoice, check_varlen
from bytecap.model.attention_segments import attend_segments, document_segments
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT
from bytecap.model.mean_loss import mean_loss
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults

CPU = torch.device("cpu")


def obvious_varlen(
    query_PHK: Tensor, key_PGK: Tensor, value_PGK: Tensor, query_offsets: Tensor, key_offsets: Tensor,
    longest_query: int, longest_key: int, *, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Query by query, by the documentation of the library's function; as strict as the kernel about its arguments."""
    assert query_offsets.dtype == key_offsets.dtype == torch.int32 and len(query_offsets) == len(key_offsets)
    assert query_PHK.dtype == key_PGK.dtype == value_PGK.dtype and window_size[1] == 0
    assert enable_gqa or query_PHK.size(1) == key_PGK.size(1)
    assert int(query_offsets[-1]) == len(query_PHK) and int(key_offsets[-1]) == len(key_PGK)
    shared = query_PHK.size(1) // key_PGK.size(1)
    rows = []
    for segment in range(len(query_offsets) - 1):
        first, end = query_offsets[segment : segment + 2].tolist()
        first_key, end_key = key_offsets[segment : segment + 2].tolist()
        assert end - first <= longest_query and end_key - first_key <= longest_key
        for query in range(first, end):
            last = end_key - (end - query)  # the mask ends at the last key: its lower right corner
            begin = first_key if window_size[0] < 0 else max(first_key, last - window_size[0])
            heads = []
            for head in range(query_PHK.size(1)):
                keys_LK, values_LK = (x[begin : last + 1, head // shared] for x in (key_PGK, value_PGK))
                scores_L = keys_LK @ query_PHK[query, head] / query_PHK.size(-1) ** 0.5
                heads.append(torch.softmax(scores_L, 0) @ values_LK)
            rows.append(torch.stack(heads))
    return torch.stack(rows)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The obvious function in the library's place."""
    monkeypatch.setattr(varlen, "varlen_attn", obvious_varlen)


def test_the_library_has_what_is_asked_of_it() -> None:
    """The arguments by position and by name, and groups of heads where the version says so."""
    parameters = inspect.signature(varlen.varlen_attn).parameters
    assert list(parameters)[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert "window_size" in parameters and ("enable_gqa" in parameters) is attention_segments._GROUPED


def test_offsets_of_documents_in_rows() -> None:
    """Two rows of two documents and one, with empty slots; each row begins a document, whatever its tokens."""
    document_BS = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    found = document_segments(document_BS, queries=5, max_documents=6)
    assert found.key_offsets.tolist() == [0, 2, 5, 10, 10, 10, 10] and found.query_offsets is found.key_offsets
    assert document_segments(document_BS, queries=5).key_offsets.tolist() == [0, 2, 5, 10]
    found = document_segments(document_BS, queries=2)  # the first document has no queries
    assert found.query_offsets.tolist() == [0, 0, 2, 4] and found.positions == (2, 5)
    assert document_segments(document_BS, queries=5, isolated=False).key_offsets.tolist() == [0, 5, 10]


@pytest.mark.parametrize("sizes", [(2, 1, 1, 11, 8), (3, 4, 2, 7, 8)])
@pytest.mark.parametrize(("queries", "reach"), [(11, None), (3, None), (5, 4)])
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_values_and_gradients(
    sizes: tuple[int, ...], queries: int, reach: int | None, isolated: bool, grouped: bool, twin: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Heads that share keys or not, all positions as queries or the last ones, windows, empty slots; also for a
    version of the library that knows no groups."""
    monkeypatch.setattr(attention_segments, "_GROUPED", grouped)
    torch.manual_seed(0)
    sequences, heads, groups, positions, width = sizes
    queries = min(queries, positions)
    document_BS = (torch.rand(sequences, positions) < 0.3).cumsum(1)
    query, key, value = (
        torch.randn(sequences, n, length, width).requires_grad_()
        for n, length in ((heads, queries), (groups, positions), (groups, positions))
    )
    first = positions - queries
    seen_BTS = torch.ones(sequences, queries, positions, dtype=torch.bool).tril(first)
    if reach is not None:
        seen_BTS = seen_BTS.triu(first - reach + 1)
    if isolated:
        seen_BTS = seen_BTS & (document_BS[:, first:, None] == document_BS[:, None])
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen_BTS[:, None], enable_gqa=True)
    segments = document_segments(document_BS, queries=queries, isolated=isolated, reach=reach, max_documents=40)
    found = attend_segments(query, key, value, segments)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((one * weight).sum(), (query, key, value)) for one in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_the_check_of_the_kernel(monkeypatch: pytest.MonkeyPatch, twin: None) -> None:
    """It passes for the twin and not for a kernel whose causal mask begins at the first key."""
    assert check_varlen(CPU, torch.bfloat16, 8) < 0.05
    monkeypatch.setattr(varlen, "varlen_attn", lambda *given, **options: obvious_varlen(*given, **options).flip(0))
    assert check_varlen(CPU, torch.float32, 8) > 0.5


TECHNIQUES = ("query_key_convolution", "value_embedding", "head_gate", "xsa", "smear_gate", "parallel_lanes")


@pytest.mark.parametrize("across", [False, True])
def test_a_model_is_the_same(across: bool, twin: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients in one pass, hidden states behind `skip` and through a cache, with the techniques that change
    attention, groups of heads, gains and positions for a part of the head."""
    techniques = with_defaults("depth_recurrence", *TECHNIQUES)
    spec = ModelSpec(
        n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_ff=16, rope_dims=4, vocab_size=30, techniques=techniques,
        across_documents=across,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT(spec)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    rows_BT = torch.randint(0, 12, (2, 14))
    found = []
    for kind in ("sdpa with a document mask", "varlen"):
        choice = AttentionChoice(kind)
        monkeypatch.setattr(attention_mask, "choose_attention", lambda *_, c=choice, **__: c)
        loss = mean_loss(model, rows_BT[:, :-1], rows_BT[:, 1:], 1)
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        cache = Cache(5)
        chunks = [model.hidden(part_BT, 1, cache=cache) for part_BT in rows_BT.split(4, dim=1)]
        found.append((loss, [g for g in gradients if g is not None], model.hidden(rows_BT, 1, skip=9), chunks))
    torch.testing.assert_close(*found, atol=2e-5, rtol=1e-4)


def test_one_graph_for_any_number_of_documents() -> None:
    """The library's own function stands in the graph; with room for them, other numbers of documents bring no second
    graph, and more room does."""
    graphs: list[list[str]] = []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return lambda *_: (torch.zeros(()),)  # there is no GPU to run it

    spec = ModelSpec(n_layers=2, d_model=16, n_heads=2, n_kv_heads=1, d_ff=16, vocab_size=30, techniques={})
    model = GPT(spec)
    torch.compiler.reset()
    compiled: Any = torch.compile(mean_loss, backend=count, dynamic=False, fullgraph=True)
    first, second = [[5, 1, 6, 7, 1, 8], [1, 3, 4, 2, 5, 6]], [[1, 3, 4, 6, 5, 6], [1, 3, 4, 1, 5, 6]]
    for tokens, slots, expected in ((first, 8, 1), (second, 8, 1), (second, 16, 2)):
        rows_BT = torch.tensor(tokens)
        compiled(model, rows_BT[:, :-1], rows_BT[:, 1:], 1, max_documents=slots)
        assert len(graphs) == expected
    torch.compiler.reset()
    assert sum("varlen_attn" in target for target in graphs[0]) == 2
