"""What the name of a tensor says about it."""

import pytest

from bytecap.core.errors import ConfigError
from bytecap.published.scheme import block_number, locate_tensor, tensor_class
from bytecap.quant.allocation import Shape


@pytest.mark.parametrize(
    ("name", "role", "place"),
    [
        ("blocks.3.attention.query.weight", "matrix", ("attention", 3)),
        ("blocks.13.mlp.up.weight", "matrix", ("mlp", 13)),
        ("embedding", "embedding", ("embedding", None)),
        ("whatever.7", "embedding", ("embedding", 7)),
        ("transformer.h.2.attn.c_attn.weight", "matrix", ("attention", 2)),
        ("model.layers.0.self_attn.q_proj.weight", "matrix", ("attention", 0)),
        ("head", "head", ("embedding", None)),
        ("lm_head.weight", "matrix", ("embedding", None)),
        ("blocks.3.mlp_scale", "matrix", ("other", 3)),
        ("layer3.dense", "matrix", ("other", None)),
    ],
)
def test_names_match_by_whole_parts(name: str, role: str, place: tuple[str, int | None]) -> None:
    """Whole parts of a name count, pieces of a part do not."""
    assert locate_tensor(Shape(name, role, (2, 2))) == place


def test_matrices_of_techniques() -> None:
    """One of ours that lies in no block counts as attention of the first; a stranger's is refused by name."""
    ours, strange = (Shape(name, "matrix", (2, 2)) for name in ("techniques.bigram_hash.projection.weight", "dense"))
    assert (tensor_class(ours), block_number(ours)) == ("attention", 0)
    for find in (tensor_class, block_number):
        with pytest.raises(ConfigError, match=r"cannot tell .* dense"):
            find(strange)
