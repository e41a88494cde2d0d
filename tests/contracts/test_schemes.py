"""Every published scheme, found by itself: it plans any model, says where it comes from, and does what it declares."""

import ast
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

from bytecap.core.errors import ConfigError
from bytecap.formats.floats import FLOAT16, FLOAT32
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.per_group import PER_GROUP
from bytecap.formats.plan import BitPlan
from bytecap.published import schemes
from bytecap.published.rounding import row_scales
from bytecap.published.scheme_plan import SchemeOptions, scheme_plan
from bytecap.published.schemes import SCHEMES
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration, Curvature
from tests.runs import call

SHAPES = [
    Shape("embedding", "embedding", (300, 64)),
    *(
        Shape(f"blocks.{number}.{name}.weight", "matrix", (64, 64))
        for number in range(6)
        for name in ("attention.query", "attention.out", "mlp.up", "mlp.down")
    ),
    Shape("blocks.0.mlp_scale", "scalar", (64,)),
    Shape("techniques.bigram_hash.projection.weight", "matrix", (64, 24)),
]
FILES = [name.rpartition(".")[2] for name in sys.modules if name.startswith(f"{schemes.__name__}.")]
FAMILIES = {name: file for file in FILES for name in getattr(sys.modules[f"{schemes.__name__}.{file}"], "FAMILY", ())}
every_scheme = pytest.mark.parametrize("name", [n for n in SCHEMES if n not in FAMILIES or n == "int4_group64"])


def make_plan(name: str, step_scale: float = 1.0) -> BitPlan:
    rng = np.random.default_rng(0)
    nothing = np.zeros((1, 1), np.float32)
    tensors = {
        entry.name: Curvature(inputs_II=nothing, outputs=nothing, gradient_square=float(rng.random()))
        for entry in SHAPES
        if entry.role != "scalar"
    }
    calibration = Calibration(source_digest="x", tokens=1, loss=1.0, unigram=2.0, tensors=tensors)
    return scheme_plan(SchemeOptions(name, keep_small=0), SHAPES, calibration, "x", step_scale)


def test_every_file_is_a_scheme() -> None:
    """The table holds each file of the folder, by its name or by those of its family."""
    folder = Path(schemes.__file__).parent
    families = {name: getattr(sys.modules[f"{schemes.__name__}.{name}"], "FAMILY", {name: None}) for name in FILES}
    assert set(SCHEMES) == {name for family in families.values() for name in family}
    assert set(FILES) == {path.stem for path in folder.glob("*.py")} - {"__init__"} and len(SCHEMES) >= 9


@every_scheme
def test_it_says_what_it_is(name: str) -> None:
    """One line for lists, a source in the docstring, and its name in the help of `fit`."""
    assert 10 < len(SCHEMES[name].summary) < 90
    document = ast.get_docstring(
        ast.parse(inspect.getsource(sys.modules[f"{schemes.__name__}.{FAMILIES.get(name, name)}"]))
    )
    assert document is not None and "Source:" in document


@every_scheme
def test_every_tensor_has_a_format(name: str) -> None:
    """Matrices are quantized by a rule that fits the scheme's needs, scalars are floats."""
    scheme, plan = SCHEMES[name], make_plan(name)
    assert plan.scheme == name and [tensor.name for tensor in plan.tensors] == [entry.name for entry in SHAPES]
    for tensor in plan.tensors:
        assert (tensor.rule is None) == (tensor.format != PER_CHANNEL)
        assert (scheme.group or (0, 0)) == (tensor.bits, tensor.group_size) or tensor.format in (FLOAT16, FLOAT32)
        if tensor.role == "scalar":
            assert tensor.format == scheme.scalars in (FLOAT16, FLOAT32)
        if tensor.role == "matrix":
            assert tensor.format == PER_GROUP or (
                tensor.rule is not None and tensor.rule.lowest < 0 < tensor.rule.levels
            )
            assert tensor.rule is None or not tensor.rule.feedback or scheme.calibrated, "feedback needs curvature"


@every_scheme
def test_a_step_scale_multiplies_every_step(name: str) -> None:
    """Two scales apart by a factor of 2 give steps apart by 2; what a scale of 1 leaves at 16 bits has steps too."""
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for one, two in zip(make_plan(name, 2.0).tensors, make_plan(name, 4.0).tensors, strict=True):
        if one.role == "scalar":
            assert one == two
        elif one.bits:
            assert (one.bits, one.step_scale, two.step_scale) == (two.bits, 2.0, 4.0)
        else:
            assert one.rule is not None and two.rule is not None
            fine, coarse = (row_scales(weight, rule).astype(np.float64) for rule in (one.rule, two.rule))
            assert np.allclose(coarse, 2 * fine, rtol=2e-3)
    assert make_plan(name).step_scale == 1.0


@every_scheme
def test_it_is_calibrated_as_it_declares(name: str) -> None:
    """Without a calibration it plans, or says that it needs one."""
    if SCHEMES[name].calibrated:
        with pytest.raises(ConfigError, match="needs curvature measured on text"):
            scheme_plan(SchemeOptions(name), SHAPES, None, "x")
    else:
        assert scheme_plan(SchemeOptions(name), SHAPES, None, "x").tensors


def test_the_help_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks `bytecap fit --help` reads every name."""
    assert call("fit", "--help") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in SCHEMES if name not in FAMILIES) and "int4_group64" in said
