"""Learn the weights that mix the memory of a document into a model's distribution, on training documents of runs.

usage: python benchmarks/memory_prior.py RUN[:TOKENS] [RUN[:TOKENS]...] [--documents-tokens N] [--earlier-documents]

From each finished run folder: about N tokens of its training documents (none of its held-out ones), the model of
`model.bcap`, streaming. With TOKENS, the `tokens` folder of a text of which the run's training text is the beginning,
they are documents behind that, which the model has not read. Every fourth document is held back; their bits per byte
are printed alone, with the weights that the program has and with those that were learned, then the weights for
`scoring/memory_prior.py`. With --earlier-documents each document knows of those before it.
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

from bytecap.artifact.load import load
from bytecap.core.compiled import compiled
from bytecap.run.folder import MODEL
from bytecap.run.folder import TOKENS as TOKENS_FOLDER
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.engine import Engine
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.scoring.memory_candidates import CANDIDATES
from bytecap.scoring.memory_earlier import EarlierDocuments
from bytecap.scoring.memory_mixing import MAX_BOOST, Memory, Mixture, forget_document, new_memory, run_rows
from bytecap.scoring.memory_prior import UNITS, built_in_mixture
from bytecap.scoring.memory_record import PRIOR_COUNT, USE_CLASSES, prior_count, use_class
from bytecap.scoring.memory_states import Likeness, likeness
from bytecap.scoring.memory_tables import TOKENS
from bytecap.scoring.memory_words import Pieces, read_pieces
from bytecap.scoring.past import STREAMING
from bytecap.scoring.state_metric import StateMetric, state_metric
from bytecap.scoring.streaming import streaming_reach
from bytecap.text.byte_counts import build_table
from bytecap.text.tokens import load_tokens

LONGEST, SEED = 12_000, 5
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 8, 512, 1.5e-2, 1e-3

Positions = dict[str, Tensor]
"""By name, a row for each target: features, place, how many candidates, which is the target, the rest's weight by class
of use, the target's class and the log of its weight, its log probability by the model alone."""


@compiled()
def collect(
    memory: Memory, mixture: Mixture, like: Likeness, log_p_TV: Any, ids_N: Any, feature_TMF: Any, place_TC: Any,
    found_T: Any, hit_TM: Any, rest_TR: Any, class_T: Any, target_T: Any,
) -> None:  # fmt: skip
    """What the mixture sees at each position of one document."""
    tables, record, work = memory.tables, memory.record, memory.work
    nothing_TV = np.zeros((0, log_p_TV.shape[1]))
    for t in range(log_p_TV.shape[0]):
        target = ids_N[t + 1]
        found = run_rows(memory, mixture, like, t, log_p_TV[t : t + 1], nothing_TV, ids_N[t : t + 1])
        feature_TMF[t, :found] = work.feature_MF[:found, : feature_TMF.shape[2]]
        place_TC[t] = work.place_C[: place_TC.shape[1]]
        found_T[t] = found
        expected_V = record.expected_V.copy()
        for v in range(log_p_TV.shape[1]):
            p, used = np.exp(log_p_TV[t, v]), tables.count_V[v]
            ratio = (used + prior_count(tables, expected_V, v)) / (expected_V[v] + PRIOR_COUNT)
            if work.rank_V[v] == 0:
                rest_TR[t, use_class(used)] += p * ratio
            if v == target:
                target_T[t] = log_p_TV[t, v] + np.log(ratio)
            record.expected_V[v] += p
        class_T[t] = use_class(tables.count_V[target])
        if work.rank_V[target] > 0:
            hit_TM[t, work.rank_V[target] - 1] = True


class States(Adaptation):
    """Keeps the unit states of the last chunk."""

    metric: StateMetric | None = None

    def raw_logits(self, logits_BTV: Tensor, hidden_BTD: Tensor) -> Tensor:
        """Look at them."""
        states_BTD = nn.functional.normalize(hidden_BTD.float(), dim=-1)
        self.unit_TD = (self.metric.unit_states(hidden_BTD) if self.metric else states_BTD)[0].numpy()
        return logits_BTV


class Reader:
    """Reads documents one after the other, by an engine whose only adaptation is States."""

    def __init__(self, engine: Engine, pieces: Pieces, *, earlier_documents: bool) -> None:
        self._engine, self._vocab_size = engine, engine.model.spec.vocab_size
        (states,) = engine.adaptations
        assert isinstance(states, States)
        self._states, self._mixture = states, built_in_mixture(earlier_documents=earlier_documents)
        self._memory = new_memory(self._mixture, self._vocab_size, LONGEST, pieces)
        self._earlier = EarlierDocuments(self._vocab_size, pieces) if earlier_documents else None
        if earlier_documents:
            states.metric = state_metric(engine.model, engine.bos)

    def read(self, ids_N: npt.NDArray[np.int64]) -> Positions:
        """All positions of one document."""
        engine, T, V = self._engine, len(ids_N) - 1, self._vocab_size
        found = self._empty(T)
        if self._earlier is not None:
            self._memory = self._memory._replace(earlier=self._earlier.source)
        forget_document(self._memory, self._mixture)
        unit_LD, aligned_L = np.zeros((T, engine.model.spec.d_model), np.float32), np.zeros(T, np.float32)
        log_p_TV = np.zeros((T, V), np.float32)
        engine.begin(1)
        engine.reset(0)
        for begin in range(0, T, engine.chunk):
            end = min(T, begin + engine.chunk)
            log_p_TV[begin:end] = engine.log_probs(torch.from_numpy(ids_N[None, begin:end]))[0].numpy()
            unit_LD[begin:end] = self._states.unit_TD
            rows = (values[begin:end] for values in found.values())
            like = likeness(unit_LD, aligned_L, begin, end)
            collect(self._memory, self._mixture, like, log_p_TV[begin:end], ids_N[begin : end + 1], *rows)
        if self._earlier is not None:
            self._earlier.add(self._memory.tables.history_L[: self._memory.tables.numbers_5[TOKENS]])
        found["alone"] = log_p_TV[np.arange(T), ids_N[1:]]
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def _empty(self, T: int) -> dict[str, npt.NDArray[Any]]:
        feature, place = self._mixture.feature_HF.shape[1], self._mixture.place_HC.shape[1]
        return {
            "feature": np.zeros((T, CANDIDATES, feature), np.float32), "place": np.zeros((T, place), np.float32),
            "found": np.zeros(T, np.int64), "hit": np.zeros((T, CANDIDATES), np.bool_),
            "rest": np.zeros((T, USE_CLASSES), np.float32), "class": np.zeros(T, np.int64),
            "target": np.zeros(T, np.float32),
        }  # fmt: skip


def run_documents(given: str, tokens: int, *, earlier_documents: bool) -> tuple[list[Positions], list[int]]:
    """Documents of a run's training text, or behind it, drawn at random, and the bytes of each."""
    folder, _, longer = given.partition(":")
    artifact, made = load(Path(folder) / MODEL), load_tokens(Path(folder) / TOKENS_FOLDER)
    context = streaming_reach(artifact.context, min(ScoreConfig().stride, artifact.context))
    bos = made.tokenizer.bos
    engine = Engine(artifact.model(), [States(AdaptationConfig())], bos=bos, context=context, strategy=STREAMING)
    read = len(made.train_stream())
    stream = load_tokens(Path(longer)).train_stream() if longer else made.train_stream()
    ids_N = stream.read(read, len(stream)) if longer else stream.read(0, read)
    table = build_table(made.tokenizer)
    pieces = read_pieces(table.text_V, artifact.model().spec.vocab_size)
    reader = Reader(engine, pieces, earlier_documents=earlier_documents)
    begins = [*np.flatnonzero(ids_N == bos).tolist(), len(ids_N)]
    found: list[Positions] = []
    counts: list[int] = []
    done = 0
    for i in np.random.default_rng(SEED).permutation(len(begins) - 1):
        document_N = ids_N[begins[i] : begins[i + 1]]
        if not 2 <= len(document_N) <= LONGEST or done >= tokens:
            continue
        found.append(reader.read(document_N))
        counts.append(int(table.count(document_N[:-1], document_N[1:]).sum()))
        done += len(document_N)
    return found, counts


def mixture_nats(rows: Positions, boost_TM: Tensor, used_R: Tensor) -> Tensor:
    """Loss at each position, (T,), of a mixture with these boosts of candidates."""
    there_TM = torch.arange(CANDIDATES) < rows["found"][:, None]
    raised_TM = rows["feature"][:, :, 0] + boost_TM.clamp(-MAX_BOOST, MAX_BOOST)
    raised_TM = raised_TM.masked_fill(~there_TM, -1e4)
    rest_TR = rows["rest"].clamp_min(1e-9).log() + used_R
    total_T = torch.logsumexp(torch.cat([raised_TM, rest_TR], dim=1), dim=1)
    of_candidate_T = raised_TM.masked_fill(~rows["hit"], 0.0).sum(dim=1)
    return total_T - torch.where(rows["hit"].any(dim=1), of_candidate_T, rows["target"] + used_R[rows["class"]])


def built_in_nats(rows: Positions, *, earlier_documents: bool) -> Tensor:
    """Loss at each position by the weights that the program has."""
    weights = built_in_mixture(earlier_documents=earlier_documents)
    feature_HF, place_HC, bias_H, output_H, used_R = (torch.from_numpy(values) for values in weights)
    hidden_TMH = rows["feature"] @ feature_HF.T + (rows["place"] @ place_HC.T + bias_H)[:, None]
    return mixture_nats(rows, torch.relu(hidden_TMH).square() @ output_H, used_R)


class Network(nn.Module):
    """The mixture's weights, on features of mean 0 and deviation 1."""

    def __init__(self, positions: Positions) -> None:
        super().__init__()
        torch.manual_seed(0)
        there_TM = torch.arange(CANDIDATES) < positions["found"][:, None]
        feature_NF, place_TC = positions["feature"][there_TM], positions["place"]
        self.feature_mean, self.feature_std = feature_NF.mean(0), feature_NF.std(0) + 1e-2
        self.place_mean, self.place_std = place_TC.mean(0), place_TC.std(0) + 1e-2
        self.feature = nn.Linear(feature_NF.size(1), UNITS, bias=False)
        self.place = nn.Linear(place_TC.size(1), UNITS)
        self.output_H = nn.Parameter(torch.randn(UNITS) * 0.02)
        self.used_R = nn.Parameter(torch.zeros(USE_CLASSES))

    def nats(self, rows: Positions) -> Tensor:
        """Loss of the mixture at each position, (T,)."""
        hidden_TMH = self.feature((rows["feature"] - self.feature_mean) / self.feature_std)
        hidden_TMH = hidden_TMH + self.place((rows["place"] - self.place_mean) / self.place_std)[:, None]
        return mixture_nats(rows, torch.relu(hidden_TMH).square() @ self.output_H, self.used_R)

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
    parser.add_argument("runs", nargs="+", metavar="RUN[:TOKENS]")
    parser.add_argument("--documents-tokens", type=int, default=160_000, metavar="N")
    parser.add_argument("--earlier-documents", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    how = {"earlier_documents": options.earlier_documents}
    runs = {given: run_documents(given, options.documents_tokens, **how) for given in options.runs}
    network = learned(joined([d for documents, _ in runs.values() for i, d in enumerate(documents) if i % 4 != 3]))
    for given, (documents, counts) in runs.items():
        held, size = documents[3::4], sum(counts[3::4]) * math.log(2)
        with torch.no_grad():
            alone, built_in, mixed = (
                sum(float(nats(d).double().sum()) for d in held) / size
                for nats in (lambda d: -d["alone"], lambda d: built_in_nats(d, **how), network.nats)
            )
        print(f"{given}: {alone:.4f} bits per byte, with the program's weights {built_in:.4f}, learned {mixed:.4f}")
    text = network.text()
    for start in range(0, len(text), 112):
        print(f'    "{text[start : start + 112]}"')


if __name__ == "__main__":
    main()
