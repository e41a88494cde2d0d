"""Who a process is, and what several do together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bytecap.core import distributed
from bytecap.core.distributed import SINGLE, World, torchrun_world
from bytecap.core.errors import ConfigError, DataError
from bytecap.train.loop import METRICS
from bytecap.train.sharding import gather_tensors
from tests.processes import make_stream, torchrun

WHOLE = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_variables_of_torchrun() -> None:
    """All or none; what is missing is named, and so is what is no number."""
    assert torchrun_world({}) == SINGLE == World(0, 1, 0)
    assert torchrun_world(WHOLE) == World(5, 8, 1)
    for name in WHOLE:
        with pytest.raises(ConfigError, match=f"are set and {name} is not; start with torchrun"):
            torchrun_world({key: value for key, value in WHOLE.items() if key != name})
        with pytest.raises(ConfigError, match=f"{name} is set and .* are not"):
            torchrun_world({name: WHOLE[name]})
    for name, value in (("RANK", "-1"), ("WORLD_SIZE", "two"), ("LOCAL_RANK", "1.0"), ("RANK", "²")):
        with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
            torchrun_world({**WHOLE, name: value})
    for changes in ({"RANK": "8"}, {"WORLD_SIZE": "5"}, {"LOCAL_RANK": "6"}, {"WORLD_SIZE": "0"}):
        with pytest.raises(ConfigError, match="a rank lies below WORLD_SIZE"):
            torchrun_world({**WHOLE, **changes})


def test_shares_cover_the_work_once() -> None:
    """Whatever the number of processes."""
    for size in (1, 2, 3, 7):
        shares = [list(World(rank, size).share(5)) for rank in range(size)]
        assert sorted(piece for share in shares for piece in share) == list(range(5))


def test_one_process_does_everything_itself() -> None:
    """Nothing is changed, sent or caught."""
    values = torch.tensor([1.0, 2.0])
    distributed.all_reduce([values])
    distributed.broadcast([values])
    with distributed.joined() as here, distributed.together():
        assert here == distributed.world() == SINGLE and here.is_main
    assert values.tolist() == [1.0, 2.0] and distributed.all_gather(values) is values
    assert distributed.gather({"a": 1}) == [{"a": 1}] and distributed.gather_numbers([3.0]) == [[3.0]]
    assert distributed.from_main(lambda: (1, 2)) == (1, 2)
    assert gather_tensors({"a": values}, torch.device("cpu")) == {"a": values}
    distributed.refuse_differences({"the digest": "x"})
    with pytest.raises(DataError, match="mine"), distributed.together():
        raise DataError("mine")


@pytest.mark.slow
def test_three_processes(tmp_path: Path) -> None:
    """Every collective gives each rank the same; other data on one rank is refused before a step is made; of errors
    that several ranks have, the lowest speaks.
    """
    make_stream(tmp_path)  # once, before the processes read it
    done = torchrun(3, "tests.processes", "collect", tmp_path)
    assert done.stderr.count("rank 1: rank 1 of 3 has failed") == 1 and "rank 2 of 3" not in done.stderr
    found = [json.loads((tmp_path / f"collected_{rank}.json").read_text()) for rank in range(3)]
    assert [one.pop("share") for one in found] == [[0, 3], [1, 4], [2]]
    said = [one.pop("different") for one in found]
    assert "the digest of recipe and tokens is tokens 0 on rank 0 and tokens 1 on rank 1; give all" in said[0]
    assert said[1:] == ["3", "3"] and not (tmp_path / "differ" / METRICS).exists()
    assert found[0] == found[1] == found[2]
    assert found[0] == {
        "words": [{"rank": rank, "text": "é" * rank} for rank in range(3)],
        "numbers": [[0.0, -0.0], [1.0, -1.0], [2.0, -2.0]],
        "sum": [[3.0, 3.0], [6]],
        "stack": [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]],
        "spread": [0.0, 0.0],
        "tensors": {f"of {rank}": ["torch.int64", [rank] * (rank + 1)] for rank in range(3)},
        "from_main": [1, 0],
    }
