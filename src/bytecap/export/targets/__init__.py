"""What a `.bcap` file can become: what lies in this folder is found (core/parts.py)."""

from bytecap.core.parts import Parts
from bytecap.export.targets.base import Target

TARGETS = Parts("target of an export", __name__, __path__, Target)  # type: ignore[type-abstract]  # it is only looked up
