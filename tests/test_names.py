import re

import pytest

from labcnn.variants import VARIANTS, label
from labreport import names


def test_short_names_are_short_and_differ() -> None:
    found = [names.short_name(variant) for variant in VARIANTS]
    assert len(set(found)) == len(VARIANTS)
    assert max(map(len, found)) <= 13


def test_a_sentence_is_shortened_with_its_spaces() -> None:
    text = (
        f"{label('short_norm')} 的损失比 {label('short_baseline')} 的小，long_all 与 short_all 相同"
    )
    assert names.shortened(text) == (
        "short+归一化的损失比 short 基线的小，long+全部与 short+全部相同"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_label_is_left_half_shortened(variant: str) -> None:
    assert names.shortened(label(variant)) == names.shortened(variant) == names.short_name(variant)


def test_the_glossary_tells_each_switch() -> None:
    rows = names.glossary()
    assert [row[1] for row in rows] == [label(v) for v in VARIANTS if v.startswith("short")]
    assert rows[-1][2] == "、".join(names.FIELDS.values())
    assert not [row for row in rows if re.search("[a-z]{14}", row[0])]
