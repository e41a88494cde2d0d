"""Learn the weights that mix the memory of a document into a model's distribution, on training documents of runs.

usage: python benchmarks/memory_prior.py RUN [RUN...] [--documents-tokens N]

From each finished run folder: about N tokens of its training documents (none of its held-out ones), the model of
`model.bcap`, windows of the file's context that move on by 64. A quarter of the documents is held back; its bits per
byte are printed with and without the memory, then the weights for `scoring/memory_prior.py`.
"""

from __future__ import annotations

import argparse
import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bytecap.artifact.load import Artifact, load
from bytecap.core.compiled import compiled
from bytecap.run.folder import MODEL, TOKENS
from bytecap.scoring.memory_candidates import (
    CANDIDATES,
    N_FEATURES,
    N_PLACE,
    USE_CLASSES,
    Candidates,
    Likeness,
    consider,
    forget,
    likeness,
    no_candidates,
    use_class,
)
from bytecap.scoring.memory_prior import UNITS
from bytecap.scoring.memory_tables import Tables, absorb, new_tables
from bytecap.scoring.windows import windows
from bytecap.text.byte_counts import build_table
from bytecap.text.tokens import load_tokens

LONGEST, STRIDE, SEED = 12_000, 64, 5
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 8, 512, 1.5e-2, 1e-3

Positions = dict[str, Tensor]
"""By name, a row for each target: features, place, how many candidates, which is the target, the rest's probability by
class of use, the target's class, its log probability, its bytes."""


@compiled()
def collect(
    tables: Tables, work: Candidates, like: Likeness, log_p_TV: Any, ids_N: Any, feature_TMF: Any, place_TC: Any,
    found_T: Any, hit_TM: Any, rest_TR: Any, class_T: Any,
) -> None:  # fmt: skip
    """What the mixture sees at each position of one document."""
    for t in range(log_p_TV.shape[0]):
        absorb(tables, ids_N[t])
        found = consider(tables, work, like, t, log_p_TV[t])
        feature_TMF[t, :found] = work.feature_MF[:found]
        place_TC[t] = work.place_C
        found_T[t] = found
        for v in range(log_p_TV.shape[1]):
            if work.rank_V[v] == 0:
                rest_TR[t, use_class(tables.count_V[v])] += np.exp(log_p_TV[t, v])
        class_T[t] = use_class(tables.count_V[ids_N[t + 1]])
        if work.rank_V[ids_N[t + 1]] > 0:
            hit_TM[t, work.rank_V[ids_N[t + 1]] - 1] = True
        forget(work, found)


@torch.no_grad()
def predictions(artifact: Artifact, ids_N: npt.NDArray[np.int64], bos: int) -> tuple[Tensor, Tensor]:
    """Log probabilities (T, V) and unit states (T, D) of a document, at stride 64."""
    model, log_p, states = artifact.model(), [], []
    for window in windows(len(ids_N) - 1, context=artifact.context, stride=STRIDE):
        tokens_BT = torch.from_numpy(ids_N[None, window.start : window.start + window.length])
        hidden_TD = model.hidden(tokens_BT, bos)[0, window.skip :]
        log_p.append(model.logits(hidden_TD).log_softmax(dim=-1))
        states.append(nn.functional.normalize(hidden_TD, dim=-1))
    return torch.cat(log_p), torch.cat(states)


def document_positions(artifact: Artifact, ids_N: npt.NDArray[np.int64], bos: int) -> Positions:
    """All positions of one document."""
    log_p_TV, states_TD = predictions(artifact, ids_N, bos)
    T, V = log_p_TV.shape
    found: dict[str, npt.NDArray[Any]] = {
        "feature": np.zeros((T, CANDIDATES, N_FEATURES), np.float32), "place": np.zeros((T, N_PLACE), np.float32),
        "found": np.zeros(T, np.int64), "hit": np.zeros((T, CANDIDATES), np.bool_),
        "rest": np.zeros((T, USE_CLASSES), np.float32), "class": np.zeros(T, np.int64),
    }  # fmt: skip
    tables, work = new_tables(V, T + 1), no_candidates(V)
    states_LD, aligned_L, together = states_TD.numpy(), np.zeros(T, np.float32), 64
    for begin in range(0, T, together):
        part, like = slice(begin, begin + together), likeness(states_LD, aligned_L, begin, min(T, begin + together))
        rows = (values[part] for values in found.values())
        collect(tables, work, like, log_p_TV[part].numpy(), ids_N[begin : begin + together + 1], *rows)
    targets_T1 = torch.from_numpy(ids_N[1:, None])
    return {name: torch.from_numpy(values) for name, values in found.items()} | {
        "target": log_p_TV.gather(1, targets_T1).squeeze(1)
    }


def run_documents(folder: Path, tokens: int) -> tuple[list[Positions], list[int]]:
    """Documents of a run's training text, drawn at random, and the bytes of each."""
    artifact, made = load(folder / MODEL), load_tokens(folder / TOKENS)
    stream, bos = made.train_stream(), made.tokenizer.bos
    ids_N = np.asarray(stream.read(0, len(stream))).astype(np.int64)
    table = build_table(made.tokenizer)
    begins = [*np.flatnonzero(ids_N == bos).tolist(), len(ids_N)]
    found: list[Positions] = []
    counts: list[int] = []
    done = 0
    for i in np.random.default_rng(SEED).permutation(len(begins) - 1):
        document_N = ids_N[begins[i] : begins[i + 1]]
        if not 2 <= len(document_N) <= LONGEST or done >= tokens:
            continue
        found.append(document_positions(artifact, document_N, bos))
        counts.append(int(table.count(document_N[:-1], document_N[1:]).sum()))
        done += len(document_N)
    return found, counts


class Network(nn.Module):
    """The mixture's weights, on features of mean 0 and deviation 1."""

    def __init__(self, positions: Positions) -> None:
        super().__init__()
        torch.manual_seed(0)
        there_TM = torch.arange(CANDIDATES) < positions["found"][:, None]
        feature_NF, place_TC = positions["feature"][there_TM], positions["place"]
        self.feature_mean, self.feature_std = feature_NF.mean(0), feature_NF.std(0) + 1e-2
        self.place_mean, self.place_std = place_TC.mean(0), place_TC.std(0) + 1e-2
        self.feature = nn.Linear(N_FEATURES, UNITS, bias=False)
        self.place = nn.Linear(N_PLACE, UNITS)
        self.output_H = nn.Parameter(torch.randn(UNITS) * 0.02)
        self.used_R = nn.Parameter(torch.zeros(USE_CLASSES))

    def nats(self, rows: Positions) -> Tensor:
        """Loss of the mixture at each position, (T,)."""
        hidden_TMH = self.feature((rows["feature"] - self.feature_mean) / self.feature_std)
        hidden_TMH = hidden_TMH + self.place((rows["place"] - self.place_mean) / self.place_std)[:, None]
        raised_TM = rows["feature"][:, :, 0] + torch.relu(hidden_TMH).square() @ self.output_H
        there_TM = torch.arange(CANDIDATES) < rows["found"][:, None]
        raised_TM = raised_TM.masked_fill(~there_TM, -1e4)
        rest_TR = rows["rest"].clamp_min(1e-9).log() + self.used_R
        total_T = torch.logsumexp(torch.cat([raised_TM, rest_TR], dim=1), dim=1)
        of_candidate_T = raised_TM.masked_fill(~rows["hit"], 0.0).sum(dim=1)
        of_rest_T = rows["target"] + self.used_R[rows["class"]]
        return total_T - torch.where(rows["hit"].any(dim=1), of_candidate_T, of_rest_T)

    @torch.no_grad()
    def text(self) -> str:
        """All weights on the features as they are, float16 in base 85. Units are scaled to a largest weight of 1."""
        feature_HF, place_HC = self.feature.weight / self.feature_std, self.place.weight / self.place_std
        bias_H = self.place.bias - feature_HF @ self.feature_mean - place_HC @ self.place_mean
        size_H = feature_HF.abs().amax(dim=1).clamp_min(1e-3)
        parts = (feature_HF / size_H[:, None], place_HC / size_H[:, None], bias_H / size_H, self.output_H * size_H**2)
        numbers = torch.cat([part.flatten() for part in (*parts, self.used_R)]).numpy().astype("<f2")
        return base64.b85encode(numbers.tobytes()).decode()


def learned(positions: Positions) -> Network:
    """By AdamW with a rate that falls to zero."""
    network = Network(positions)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    rows = len(positions["found"])
    steps = EPOCHS * rows // BATCH
    random = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        drawn = torch.randint(rows, (BATCH,), generator=random)
        loss = network.nats({name: values[drawn] for name, values in positions.items()}).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def joined(documents: list[Positions]) -> Positions:
    """All positions in a row."""
    return {name: torch.cat([document[name] for document in documents]) for name in documents[0]}


def main() -> None:
    """Print bits per byte with and without the memory, then the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--documents-tokens", type=int, default=160_000, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = {folder: run_documents(folder, options.documents_tokens) for folder in options.runs}
    quarter = {folder: max(1, len(documents) // 4) for folder, (documents, _) in runs.items()}
    network = learned(joined([d for folder, (found, _) in runs.items() for d in found[quarter[folder] :]]))
    for folder, (documents, counts) in runs.items():
        held, size = joined(documents[: quarter[folder]]), sum(counts[: quarter[folder]]) * math.log(2)
        with torch.no_grad():
            mixed = sum(float(network.nats(joined([d])).double().sum()) for d in documents[: quarter[folder]])
        print(f"{folder}: {-float(held['target'].double().sum()) / size:.4f} bits per byte, mixed {mixed / size:.4f}")
    text = network.text()
    for start in range(0, len(text), 112):
        print(f'    "{text[start : start + 112]}"')


if __name__ == "__main__":
    main()
