"""An audit as text for a terminal.

In:   an AuditReport.
Out:  a table with a row for each rule, and below it where rules are broken.
"""

from __future__ import annotations

from bytecap.auditing.findings import BROKEN, KEPT, NOT_ASKED, RECORDED, AuditReport, Finding
from bytecap.report.tables import columns, paragraph

_SHOWN: dict[str, str] = {BROKEN: "BROKEN"}


def audit_table(report: AuditReport) -> str:
    """Rule, verdict, figure and evidence of each finding, places where there are any, and a sentence at the end."""
    head = ("rule", "verdict", "figure", "what must hold")
    rows = [
        (finding.rule, _SHOWN.get(finding.answer.verdict, finding.answer.verdict), _figure(finding), finding.title)
        for finding in report.findings
    ]
    evidence = "\n".join(_evidence(finding) for finding in report.findings)
    return "\n\n".join([columns([head, *rows], right="llrl"), evidence, last_line(report)])


def last_line(report: AuditReport) -> str:
    """How many rules have which verdict."""
    counts = ", ".join(
        f"{len(report.with_verdict(verdict))} {verdict}" for verdict in (KEPT, RECORDED, NOT_ASKED, BROKEN)
    )
    return f"{report.subject}: {counts} (rules {report.rules}, seed {report.seed}, {report.seconds:.1f} s)"


def _figure(finding: Finding) -> str:
    figure, unit = finding.answer.figure, finding.answer.unit
    if figure is None:
        return ""
    return f"{figure:,} {unit}" if isinstance(figure, int) else f"{figure:.3g} {unit}"


def _evidence(finding: Finding) -> str:
    lines = [paragraph(finding.answer.evidence, f"{finding.rule:<4} ")]
    return "\n".join([*lines, *(paragraph(place, "     - ") for place in finding.answer.places)])
