"""The pinyin that the Mandarin voice is handed: names and words that its own dictionary says wrong."""

import re
from collections.abc import Callable

import pytest

pytest.importorskip("misaki")

from tts.names import WORDS
from tts.reading import check_readings, pronounced
from tts.voices.kokoro import Kokoro

Handed = Callable[[str], list[str]]

SAID = [
    ("山西省洪洞县", "shan1 xi1 sheng3 hong2 tong2 xian4"),
    ("河南省浚县", "he2 nan2 sheng3 xun4 xian4"),
    ("宕昌", "tan4 chang1"),
    ("山东单县", "shan1 dong1 shan4 xian4"),
    ("大城县", "dai4 cheng2 xian4"),
    ("河南省长垣市", "he2 nan2 sheng3 chang2 yuan2 shi4"),
    ("辽宁省朝阳市", "liao2 ning2 sheng3 chao2 yang2 shi4"),
    ("湖北省长阳县", "hu2 bei3 sheng3 chang2 yang2 xian4"),
    ("安徽省六安市", "an1 hui1 sheng3 lu4 an1 shi4"),
    ("十六安全小组", "shi2 liu4 an1 quan2 xiao3 zu3"),
    ("台州", "tai1 zhou1"), ("丽水", "li2 shui3"), ("蚌埠", "beng4 bu4"), ("番禺", "pan1 yu2"),
    ("荥阳", "xing2 yang2"), ("荥经", "ying2 jing1"), ("铅山县", "yan2 shan1 xian4"),
    ("乐亭", "lao4 ting2"), ("鄱阳", "po2 yang2"), ("阆中", "lang4 zhong1"), ("什邡", "shi2 fang1"),
    ("涡阳", "guo1 yang2"), ("筠连", "jun1 lian2"), ("郫都", "pi2 du1"), ("珲春", "hun2 chun1"),
    ("穆棱", "mu4 ling2"), ("舟曲县", "zhou1 qu3 xian4"), ("玛曲", "ma3 qu3"), ("崆峒", "kong1 tong2"),
    ("华阴", "hua4 yin1"), ("伽师", "jia1 shi1"), ("繁峙", "fan2 shi4"), ("漯河", "luo4 he2"),
    ("阿勒泰", "a1 le4 tai4"), ("任泽", "ren2 ze2"), ("南京六合区", "nan2 jing1 lu4 he2 qu1"),
    ("裂缝长约三十米", "lie4 feng4 chang2 yue1 san1 shi2 mi3"),
    ("长三十米", "chang2 san1 shi2 mi3"), ("县长三人", "xian4 zhang3 san1 ren2"),
    ("长时间", "chang2 shi2 jian1"), ("石块落下", "shi2 kuai4 luo4 xia4"),
    ("水没过膝盖", "shui3 mo4 guo4 xi1 gai4"), ("迅速地撤离", "xun4 su4 de5 che4 li2"),
    ("安全地带", "an1 quan2 di4 dai4"), ("变更为暴雨", "bian4 geng1 wei2 bao4 yu3"),
    ("为防止触电", "wei4 fang2 zhi3 chu4 dian4"), ("因为下雨", "yin1 wei4 xia4 yu3"),
    ("两只羊", "liang3 zhi1 yang2"), ("响应县政府", "xiang3 ying4 xian4 zheng4 fu3"),
]  # fmt: skip


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """The syllables that go to the phoneme tables. The model itself is not loaded."""
    import jieba
    from misaki.zh import ZHG2P

    jieba.dt.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    said: list[str] = []

    class Watched:
        map_punctuation = staticmethod(ZHG2P.map_punctuation)

        @staticmethod
        def py2ipa(pinyin: str) -> str:
            said.append(pinyin)
            return str(ZHG2P.py2ipa(pinyin))

    kokoro = Kokoro.__new__(Kokoro)
    kokoro._g2p, kokoro._cut = Watched, jieba.lcut

    def pinyin(text: str) -> list[str]:
        said.clear()
        assert kokoro.phonemes(text, {})
        return list(said)

    return pinyin


@pytest.mark.parametrize(("text", "want"), SAID)
def test_the_voice_is_handed_the_right_syllables(handed: Handed, text: str, want: str) -> None:
    assert " ".join(handed(text)) == want


def test_every_trap_has_a_syllable_per_character() -> None:
    entries = [line.rsplit("  ", 1) for line in WORDS.strip().splitlines()]
    assert len(entries) > 90
    for pattern, said in entries:
        plain = re.sub(r"\(\?(?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "", pattern.strip())
        assert len(plain) == len(said.split()), (pattern, plain, said)
        assert all(re.fullmatch(r"[a-z]{1,6}[1-5]", s) for s in said.split()), pattern


def test_a_countys_own_reading_goes_before_the_national_one(handed: Handed) -> None:
    assert handed("宕昌") == ["tan4", "chang1"]
    assert dict(pronounced("去宕昌镇", check_readings({"宕昌": "dang4 chang1"})))["宕昌"] == (
        "dang4",
        "chang1",
    )
