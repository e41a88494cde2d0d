"""The digest of 0.1.0 is known for ever."""

import dataclasses

from bytecap.core.digest import digest_json
from bytecap.run import recipe as recipes
from bytecap.run.recipe import Recipe
from bytecap.run.recipe_0_1 import DEFAULTS, digest_0_1


def test_known_digests() -> None:
    """As version 0.1.0 computed them."""
    assert digest_0_1(Recipe()) == digest_json(DEFAULTS) == "fc2b2d8ca525c85e"
    baseline = recipes.resolve("baseline", track="laptop")
    source = {"source": {"url": "u", "missing": ["a"]}, "run": {"summary": "s", "recipe": "r"}}
    described = recipes.validate({**source, "train": {"seconds": 195}, "score": {"context": 512}}, origin="test")
    assert digest_0_1(described) == "26dcc20d2a11ef94"
    assert baseline.known_digests[0] == baseline.digest != digest_0_1(baseline)


def test_what_0_1_did_not_know_has_no_digest() -> None:
    """A setting of a later version changes what is made, so no old product can be of this recipe."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(Recipe):
        glow: float = 0.0

    assert digest_0_1(Later()) == digest_0_1(Recipe())
    assert digest_0_1(Later(glow=0.5)) is None
