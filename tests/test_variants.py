import pytest

from labcnn.errors import ParameterError
from labcnn.variants import ABLATIONS, REPORT_VARIANTS, VARIANTS, Variant, get_variant, label


def test_every_depth_has_every_row_and_thirteen_are_in_the_report():
    assert len(VARIANTS) == 3 * len(ABLATIONS)
    assert len(set(REPORT_VARIANTS)) == 13
    assert set(REPORT_VARIANTS) <= set(VARIANTS)
    assert [v for v in VARIANTS if v.startswith("mid") and v in REPORT_VARIANTS] == ["mid_all"]


def test_a_variant_is_its_baseline_with_exactly_the_named_switches():
    """Of the report's suffixes; whoever adds a row names its switches there."""
    switches = {
        "baseline": set(), "lrdecay": {"lr_decay"}, "norm": {"norm"}, "dropout": {"dropout"},
        "residual": {"residual"}, "all": {"lr_decay", "norm", "dropout", "residual"},
    }  # fmt: skip
    for name in REPORT_VARIANTS:
        depth, suffix = name.split("_")
        assert VARIANTS[name] == Variant(depth, **dict.fromkeys(switches[suffix], True)), name
        assert set(VARIANTS[name].switches) == switches[suffix], name
    depths = [VARIANTS[f"{depth}_baseline"] for depth in ("short", "mid", "long")]
    assert [variant.blocks_per_stage for variant in depths] == [1, 2, 3]


def test_labels_are_the_original_tables():
    assert label("short_baseline") == "Shortbaseline"
    assert label("long_lrdecay") == "Longbaseline+learningratedecay"
    assert label("short_norm") == "Shortbaseline+normalization"
    assert label("long_residual") == "Longbaseline+residualblock"
    assert label("mid_all") == "Midbaseline+all"
    assert len({label(name) for name in VARIANTS}) == 3 * len(ABLATIONS)


def test_an_unknown_variant_is_named_with_the_valid_ones():
    for name in ("shrot_all", "", 7):
        with pytest.raises(ParameterError, match="long_baseline") as error:
            get_variant(name)
        assert repr(name) in str(error.value)
        assert ("did you mean 'short_all'" in str(error.value)) == (name == "shrot_all")
