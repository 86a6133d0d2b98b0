"""A code of the declared list, beside words that name what it means in the other list, is held."""

from __future__ import annotations

import pytest

from alerts import placenames
from alerts.area import cut
from alerts.model import Area, CodeScheme, RegionCode
from config.counties import load_county

COUNTY = load_county("zhouqu").county
CODE = RegionCode(CodeScheme.MCA, "623023209")
"""南峪乡 in the MCA list, 果耶乡 in an older one."""


@pytest.mark.parametrize(
    ("words", "held"),
    [
        ("果耶镇", True),
        ("果耶乡", True),
        ("南峪乡", False),
        ("果耶镇、南峪乡", False),
        ("舟曲县", False),
        ("", False),
    ],
)
def test_words_that_name_the_other_meaning_hold_a_declared_code(words: str, held: bool) -> None:
    found = cut([Area(words, (CODE,))], COUNTY)
    assert {COUNTY.village(key).township_key for key in found.village_keys} == {
        unit.key for unit in COUNTY.townships if unit.mca == CODE.digits
    }
    assert bool(found.problems) is held


@pytest.mark.parametrize(
    ("text", "excluded"),
    [("舟曲县巴藏镇（除大川镇）有雨", "大川镇"), ("除大川镇、江盘镇，其余乡镇有暴雨", "江盘镇")],
)
def test_an_exclusion_without_its_second_half_is_one(text: str, excluded: str) -> None:
    proposal = placenames.propose(text, COUNTY)
    assert excluded not in proposal.areas
    assert any(flag is placenames.Flag.EXCLUSION and excluded in why for flag, why in proposal.flags)
