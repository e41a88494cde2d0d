"""Old names of parameters become today's, and back."""

from bytecap.model.renames import current_name, first_name


def test_there_and_back() -> None:
    """By the order of the old list; what came later or is no technique keeps its name."""
    both = ["smear_gate", "unet_skips", "residual_mix"]
    for old, new, techniques in (
        ("route.0.weight_SD", "techniques.unet_skips.weight_SD", both),
        ("route.1.mix_L2D", "techniques.residual_mix.mix_L2D", both),
        ("route.0.mix_L2D", "techniques.residual_mix.mix_L2D", ["residual_mix"]),
        ("route.1.mix_L2D/exp_avg", "techniques.residual_mix.mix_L2D/exp_avg", both),
    ):
        assert current_name(old, techniques) == new
        assert first_name(new, techniques) == old
        assert current_name(new, techniques) == new
    for name in ("blocks.0.route.0", "embedding", "techniques.smear_gate.gate_D", "route.2.x"):
        assert current_name(name, both) == name == first_name(name, both)
