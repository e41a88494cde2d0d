"""The probes there are: the files of this folder. A file is read only when a rule set uses it."""

from __future__ import annotations

from bytecap.auditing.probes.base import Probe
from bytecap.core.parts import Parts

PROBES = Parts("probe", __name__, __path__, Probe)
