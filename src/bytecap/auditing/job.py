"""The whole audit: each rule of a set is asked of a subject.

In:   a Subject, a RuleSet, a seed.
Out:  an AuditReport.
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from typing import Any

import numpy as np

from bytecap.auditing.findings import Answer, AuditReport, Finding
from bytecap.auditing.probes.base import not_asked
from bytecap.auditing.rules import Rule, RuleSet
from bytecap.auditing.subject import Question, Subject
from bytecap.core.errors import ConfigError
from bytecap.core.progress import Progress
from bytecap.core.stopwatch import Stopwatch
from bytecap.model.spec import MAX_SEED


def audit_subject(subject: Subject, rules: RuleSet, *, seed: int, progress: Progress) -> AuditReport:
    """Ask every rule of a set. `seed` decides which positions, tokens and documents are asked about.

    ConfigError for a seed that no generator takes.
    """
    if not 0 <= seed < MAX_SEED:
        raise ConfigError(f"the seed is {seed}; it must lie between 0 and {MAX_SEED - 1:,}")
    stopwatch, memory, found = Stopwatch(), dict[str, Any](), dict[str, Finding]()
    for number, rule in enumerate(sorted(rules.rules, key=lambda rule: rule.probe.asked_last)):
        progress.update(number, len(rules.rules), f"{rule.id} {rule.config.probe}")
        rng = np.random.default_rng([seed, zlib.crc32(rule.id.encode())])
        before = stopwatch.seconds
        answer = _answer(rule, Question(subject=subject, rng=rng, memory=memory))
        found[rule.id] = Finding(
            rule=rule.id, title=rule.config.title, probe=rule.config.probe, answer=answer,
            seconds=stopwatch.seconds - before,
        )  # fmt: skip
    findings = tuple(found[rule.id] for rule in rules.rules)
    return AuditReport(subject=subject.name, rules=rules.name, seed=seed, findings=findings, seconds=stopwatch.seconds)


def _answer(rule: Rule, question: Question) -> Answer:
    """What the probe says; a rule that is only recorded makes no accusation."""
    missing = [part for part in rule.probe.needs if getattr(question.subject, part) is None]
    if missing:
        return not_asked("; ".join(map(question.subject.why_missing, missing)))
    answer, model = rule.probe.ask(question), question.subject.model
    if model is not None and model.tolerance and re.search(r"\bbit\b", answer.evidence):
        told = f"; numbers within {model.tolerance:g} count as equal, for {model.why_inexact}"
        answer = dataclasses.replace(answer, evidence=answer.evidence + told)
    if answer.verdict == "broken":
        return dataclasses.replace(answer, verdict=rule.config.when_broken)
    return answer
