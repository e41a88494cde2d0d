"""`bytecap inspect`: where the bytes of a file go."""

from __future__ import annotations

from typing import Any

from bytecap.commands.common import Artifact, Json, Verb, find_artifact
from bytecap.commands.output import print_result, warn
from bytecap.core.errors import DataError
from bytecap.core.settings_writer import to_sparse
from bytecap.report.tables import tensor_table


def inspect(path: Artifact, *, json: Json = False) -> None:
    """Where the bytes of a .bcap file (or of a run folder's) go: a line for each tensor."""
    from bytecap.artifact.inspect import tensor_report
    from bytecap.artifact.load import load
    from bytecap.fitting.report import loss_shares

    file = find_artifact(path)[0]
    artifact = load(file)
    try:
        shares = loss_shares(file, artifact.made_from.get("checkpoint"))
    except DataError as error:
        warn(f"{error}; no share of the loss is shown")
        shares = {}
    value: dict[str, Any] = {
        "bytes": artifact.size_bytes,
        "made_from": artifact.made_from,
        "model": None if artifact.spec is None else to_sparse(artifact.spec),
        "attached": {name: len(data) for name, data in artifact.attached.items()},
        "tensors": tensor_report(artifact, shares),
    }
    print_result(value, json, tensor_table(value["tensors"]))


VERB = Verb(inspect, ("bytecap inspect runs/demo", "bytecap inspect model.bcap --json"))
