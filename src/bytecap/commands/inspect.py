"""`bytecap inspect`: where the bytes of a file go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytecap.commands.common import Artifact, Json, Verb, find_artifact
from bytecap.commands.output import print_result, warn
from bytecap.core.errors import DataError
from bytecap.report.tables import tensor_table


def inspect(path: Artifact, *, json: Json = False) -> None:
    """Where the bytes of a .bcap file (or of a run folder's) go: a line for each tensor."""
    from bytecap.artifact.inspect import tensor_report
    from bytecap.artifact.load import load

    file = find_artifact(path)[0]
    artifact = load(file)
    value: dict[str, Any] = {
        "bytes": artifact.size_bytes,
        "made_from": artifact.made_from,
        "model": None if artifact.spec is None else artifact.spec.to_json(),
        "tensors": tensor_report(artifact, _loss_shares(file, artifact.made_from.get("checkpoint"))),
    }
    print_result(value, json, tensor_table(value["tensors"]))


def _loss_shares(file: Path, checkpoint: str | None) -> dict[str, float]:
    """Each tensor's share of the predicted loss, from the report that a fit left beside the file."""
    from bytecap.core.files import read_json
    from bytecap.run.folder import report_path

    path = report_path(file)
    if not path.is_file():
        return {}
    try:
        report = read_json(path)
        return {str(n): float(v) for n, v in report["loss_shares"].items()} if report["made_from"] == checkpoint else {}
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        warn(f"{path} holds no report of a fit, so no share of the loss is shown")
        return {}


VERB = Verb(inspect, ("bytecap inspect runs/demo", "bytecap inspect model.bcap --json"))
