"""Place names in the Chinese text of a warning → a proposal for the operator, never a decision.

A code or a shape in the message always wins; this is for warnings that have neither. Method and traps:
`geo.md` §5. Only names of the home county are ever proposed. What is excluded, lies in another county,
is where people are told to go, or cannot be told apart is shown with its reason and not proposed; what
the text leaves open ("等乡镇", "沿江", "南部") is a flag. Nothing is widened: a name that we do not know is
reported, and a part of a township is proposed as the township only with a flag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

from alerts.regions import County

MAX_TEXT: Final = 20_000
"""Characters; the longest description of a live warning seen has under 3,000."""


class Use(StrEnum):
    """What a place in the text was taken for."""

    NAMED = "named"
    EXCLUDED = "excluded"
    QUALIFIER = "qualifier"
    """Only says where the next name lies: the county of a township, the township of a village."""
    ELSEWHERE = "elsewhere"
    """In another county, or that county itself."""
    DESTINATION = "destination"
    """Where people are sent, or told to drive round; not where the danger is."""
    ISSUER = "issuer"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


class Flag(StrEnum):
    """Why a person must read the text, whatever was proposed."""

    WHOLE = "whole"
    """It speaks of the whole county (全县, 各乡镇)."""
    VAGUE = "vague"
    """It leaves open which part (境内, 部分, 局地, 其余乡镇)."""
    OPEN = "open"
    """Its list goes on (等镇, 等地)."""
    COUNT = "count"
    """It counts more or fewer places than it names."""
    ALONG = "along"
    """A river, a road or a height decides (沿江, 路段, 至)."""
    COMPASS = "compass"
    EXCLUSION = "exclusion"
    OLD = "old"
    """A name that was given up."""
    AMBIGUOUS = "ambiguous"
    FOREIGN = "foreign"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Mention:
    """One place in the text: ``text[start:end]``, and what it was taken for."""

    start: int
    end: int
    text: str
    use: Use
    label: str
    """As an operator types it for ``--area``; empty where it names nothing of ours."""
    reason: str
    villages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the text seems to name. To be confirmed by a person."""

    villages: frozenset[str]
    """Keys; what is excluded is already taken away."""
    areas: tuple[str, ...]
    """The fewest names (county, townships, ``township/village``) that are exactly `villages`."""
    mentions: tuple[Mention, ...]
    excluded: tuple[str, ...]
    flags: tuple[tuple[Flag, str], ...]
    """Each with its words; one kind may come several times."""
    unknown: tuple[str, ...]
    """Names of townships or villages that are not on our list: an alarm, not a skip."""

    @property
    def text(self) -> str:
        """One line for the operator."""
        parts = [
            f"the text seems to name {'、'.join(self.areas)}" if self.areas else "the text names no place"
        ]
        if self.excluded:
            parts.append(f"without {'、'.join(self.excluded)}")
        if self.unknown:
            parts.append(f"unknown here: {'、'.join(self.unknown)}")
        parts += [words for _, words in self.flags]
        return "; ".join(parts)


def propose(text: str, county: County, foreign: Iterable[str] = ()) -> Proposal:
    """The places of `county` that `text` names. `foreign`: names of other counties, to notice them.

    Reads `MAX_TEXT` characters; a longer text is flagged.
    """
    reader = _Reader(text[:MAX_TEXT], _lexicon(county, frozenset(foreign)), county)
    if len(text) > MAX_TEXT:
        reader.flags[Flag.VAGUE, f"only its first {MAX_TEXT} characters were read"] = None
    return reader.proposal()


# --- words ----------------------------------------------------------------------------------------------

_H: Final = "\u4e00-\u9fff"
_HAN: Final = re.compile(f"[{_H}]")
# Between a place and what lies in it.
_INSIDE: Final = re.compile(r"(?:境内|辖区内?|所辖|所属|下辖)?[的（(：:]?")
# Between the items of a list; empty where one name qualifies the next.
_SEP: Final = re.compile(r"\s*(?:、|，|,|；|;|/|以及|及其|和|及|与|或|跟|暨)\s*|\s+")
_HARD: Final = frozenset("，,；;。！!？?\n：:（）()")
# Characters that end a phrase before a name. They also occur in names, so a separator counts for more.
_FUNCTION: Final = frozenset(
    "在于和及与对至到往从由将请的为以是有使致除含括县市区州省旗等内外边岸段日时分后受因经过向或跟令距达计让给发测"
)
# 北部曲瓦, 下游大川: the name stands behind a part of the county.
_PART: Final = re.compile(r"[东南西北中]部$|[上中下]游$|一带$")
_NUMBER: Final = r"(?:[0-9０-９]{1,3}|[一二两三四五六七八九十]{1,3})"
_TAIL: Final = re.compile(
    rf"\s*(?P<open>等)?\s*(?P<count>{_NUMBER}(?![带线]))?\s*(?:个|座)?\s*(?P<what>县市区|县区|县市|县|市|区|乡镇|镇乡|镇|乡|街道|"
    rf"村社区|村组|村|社区|一带|部分地区|局部地区|地区|片区|境内|辖区|沿线|方向|交界|附近|周边|局地|部分|地(?![{_H}]))?"
)
_COUNTIES: Final = frozenset({"县市区", "县区", "县市", "县", "市", "区"})
_TOWNS: Final = frozenset({"乡镇", "镇乡", "镇", "乡", "街道"})
_HAMLETS: Final = frozenset({"村社区", "村组", "村", "社区"})
# What may follow the last short name of a list.
_VERB: Final = re.compile(
    r"\s*(?:[，,。；;！!？?：:（(）)]|$|将|有|出|发|注意|请|降|受|的|会|可|预|仍|均|都|强|暴|大[雨风雪到]|中到|雷|冰|群众|两地)"
)
_ISSUER: Final = re.compile(
    r"(?:气象|应急|人民政府|政府|自然资源|国土|水务|水利|防汛|抗旱|地震|林草|林业|消防|公安|交通|县?委|农业|生态)"
)
_TOWN_ISSUER: Final = re.compile(
    r"(?:人民)?政府(?:办公室)?\s*(?:发布|公告|通告|通知|提醒|[0-9]{4}年|[，,。]?\s*$)"
)
_WHOLE: Final = re.compile(
    r"全[县市区旗](?!大部|部分|局部|多|局地|域|平均|面雨|面平均|最大|最高|最低|共|累计|已有|有[0-9])|全境|(?:各|所有|全部)(?:乡镇(?:场|街道)?|镇乡|街镇|镇街|乡(?!村)|镇)"
)
_ALL: Final = frozenset({"全县", "全市", "全区", "全旗", "全境"})
# 大川镇有暴雨，请各乡镇做好防范: whom it asks, not where the rain is.
_ASKING: Final = ("请", "望", "要求", "通知", "提醒")
_ADDRESSED: Final = re.compile(
    r"[、和及与，]?(?:各|有关|相关|县直|成员)?(?:部门|单位|人民政府|政府|村|社区)|[：:]|请|[要应]"
)
# 内陆所有乡镇, 沿江各乡镇: any word right before narrows it.
_EVERY_OF: Final = re.compile(r"(?:^|[县市区旗内请对在及和与、]|范围内?|辖区内?)$")
_NOT_WHOLE: Final = re.compile(
    r"沿|部|以[东南西北]|流域|其余|其他|其它|相关|上述|以上|有关|影响|附近|周边|两岸|涉及|等$"
)
_PARTLY: Final = re.compile(r"的?(?:部分|局部|大部|个别|多个|境内|多地|局地|[东南西北中]{1,2}部|沿)")
_FLAGGED: Final = (
    (
        Flag.ALONG,
        re.compile(
            r"沿[江河岸线路山海湖]|沿[^，。；、]{1,6}(?:一线|各)|两岸|流域|[上下]游|[江河镇乡路]段|海拔"
        ),
    ),
    (Flag.COMPASS, re.compile(r"以[东南西北]{1,2}|[东南西北]{1,2}部|中部|偏[东南西北]")),
    (
        Flag.VAGUE,
        re.compile(
            r"部分|局部|局地|大部|个别|多个乡镇|境内|周边|附近|其余|其[他它]乡|相关乡镇|有关乡镇|山区|县城(?![关镇])"
        ),
    ),
)
_NOT_MINUS: Final = r"(?<![解排清消拆免扣铲废开根驱])"
_MINUS: Final = (
    re.compile(rf"{_NOT_MINUS}除(?:了|去|开)?(?P<in>[^。；;！!\n]{{1,80}}?)(?:以外|之外|外)"),
    re.compile(r"(?<=[（(])除(?:了|去|开)?(?P<in>[^）)\n]{1,80})(?=[）)])"),
    re.compile(rf"{_NOT_MINUS}除(?:了|去|开)?(?P<in>[^。；;，,！!\n]{{1,80}})[，,]?(?=其余|其[他它](?!灾))"),
    re.compile(r"(?:^|(?<=[，,。；;（(：:\n]))(?P<in>[^，,。；;（(：:\n除]{1,80}?)(?:除外|以外|之外)"),
    re.compile(r"(?:不含|不包括|不包含|不涉及|不影响|未涉及|剔除)(?P<in>[^。；;，,）)！!\n]{1,80})"),
    re.compile(
        r"对(?P<in>[^。；;，,\n]{1,60}?)(?:没有|基本没有|无|不会造成|不造成|未造成)(?:明显|太大|直接)?影响"
    ),
)
# "除A外，B也…" adds A; "除A外，其余…" takes it away.
_ADDS: Final = re.compile(
    r"^[，,]?(?![^。；;]*(?:其余|其[他它]|全县|各乡|均|都))[^。；;]*?(?:还|也|另|同时|亦)"
)
_TOWARDS: Final = (
    re.compile(
        r"(?:转移|撤离|撤|疏散|搬迁|安置|避险|迁|转运|送|前往|赶往)(?:到|至|往|在|于|向)?(?P<in>[^。；;，,！!\n]{1,40})"
    ),
    re.compile(
        r"[向往到至](?P<in>(?:(?!群众|居民|村民|人员|发)[^。；;，,！!\n]){1,20}?)(?:方向)?(?:转移|撤离|疏散|避险|安置|集中)"
    ),
    re.compile(r"[从经由](?P<in>[^。；;，,！!\n]{1,30}?)绕行"),
    re.compile(r"绕行(?P<in>[^。；;，,！!\n]{1,30})"),
)
_GENERIC: Final = re.compile(
    r"(?:各|镇|你|贵|本|该|全|乡|城|村|集|场|古|重|我|两|个|等|多|家|下|其他|其它|其余|部分|建制|上述|有关|相关|所有|中心|[0-9一二三四五六七八九十])$"
)
_AFTER_TOWN: Final = frozenset("村镇长干民区亲土愁间办道")
_PREFIXES: Final = frozenset("上下大小老新东西南北前后")
_NOT_COUNTY: Final = frozenset("我全本该各两三几多邻外地山灾库景城牧林辖片新小社农险矿园州市省个等")
_VILLAGE_ENDS: Final = ("社区", "村")
_TOWN_ENDS: Final = ("街道办事处", "街道", "民族乡", "镇", "乡")
_COUNTY_ENDS: Final = ("自治县", "自治旗", "县", "旗", "市", "区")
_NO_NAMES: Final = frozenset({"城区", "郊区", "矿区", "东区", "西区"})
"""Real districts whose names are ordinary words."""
# 国家民委's list of the 55 minority peoples, as township names carry them: 回族彝族, 蒙古族, 畲族…
_PEOPLES: Final = re.compile(
    r"(?:(?:蒙古|回|藏|维吾尔|苗|彝|壮|布依|朝鲜|满|侗|瑶|白|土家|哈尼|哈萨克|傣|黎|傈僳|佤|畲|高山|拉祜|水|东乡|纳西|景颇|"
    r"柯尔克孜|土|达斡尔|仫佬|羌|布朗|撒拉|毛南|仡佬|锡伯|阿昌|普米|塔吉克|怒|乌孜别克|俄罗斯|鄂温克|德昂|保安|裕固|京|"
    r"塔塔尔|独龙|鄂伦春|赫哲|门巴|珞巴|基诺)族)+$"
)
# 距大川镇58公里, 大川镇以北: near it, not in it.
_AWAY: Final = re.compile(r"(?:县城|镇区|政府|驻地)?[^，,。；;、]{0,4}?[0-9.０-９]+\s*(?:公里|千米|米|km|KM)")
_BESIDE: Final = re.compile(r"以[东南西北]")
_DIGITS: Final = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2}


class _Kind(StrEnum):
    TOWN = "town"
    OLD_TOWN = "old town"
    VILLAGE = "village"
    STEM = "stem"
    HOME = "home"
    ABOVE = "above"
    OTHER = "other county"
    OTHER_STEM = "stem of another county"
    NO_TOWN = "unknown town"
    NO_VILLAGE = "unknown village"
    NO_ITEM = "unknown item"


_PLACES: Final = frozenset(
    {_Kind.TOWN, _Kind.OLD_TOWN, _Kind.VILLAGE, _Kind.STEM, _Kind.NO_TOWN, _Kind.NO_VILLAGE, _Kind.NO_ITEM}
)
_FULL: Final = frozenset({_Kind.TOWN, _Kind.OLD_TOWN, _Kind.VILLAGE, _Kind.HOME})
_TOWNSHIPS: Final = frozenset({_Kind.TOWN, _Kind.OLD_TOWN})
_STEMS: Final = frozenset({_Kind.STEM, _Kind.OTHER_STEM, _Kind.NO_ITEM})


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    kind: _Kind
    towns: tuple[str, ...] = ()
    """Township keys it may mean."""
    villages: tuple[str, ...] = ()
    home: bool = False
    """A stem of another county that is our own county's as well."""


@dataclass(frozen=True, slots=True)
class _Lexicon:
    names: dict[str, _Token]
    """Name → what it is, without a place."""
    longest: int

    @classmethod
    def of(cls, county: County, foreign: Iterable[str]) -> _Lexicon:
        names: dict[str, _Token] = {}

        def put(name: str, kind: _Kind, towns: tuple[str, ...] = (), villages: tuple[str, ...] = ()) -> None:
            known = names.get(name)
            if known is None:
                names[name] = _Token(0, 0, kind, towns, villages)
            elif known.kind is kind:
                names[name] = replace(
                    known, towns=(*known.towns, *towns), villages=(*known.villages, *villages)
                )

        for unit in county.townships:
            put(unit.name, _Kind.TOWN, (unit.key,))
        for village in county.villages:
            put(village.name, _Kind.VILLAGE, (), (village.key,))
        for name in (*_spoken(county.name), f"我{county.name[-1]}", f"本{county.name[-1]}"):
            put(name, _Kind.HOME)
        for name in (*_spoken(county.province), *_spoken(county.prefecture)):
            put(name, _Kind.ABOVE)
        for unit in county.townships:
            for name in unit.old_names:
                put(name, _Kind.OLD_TOWN, (unit.key,))
        others = [
            name
            for name in (*county.neighbours, *foreign)
            if name and name != county.name and name not in _NO_NAMES
        ]
        for name in (short for other in others for short in _spoken(other)):
            put(name, _Kind.OTHER)
        for unit in county.townships:
            stem = _without(unit.name, _TOWN_ENDS)
            plain = _PEOPLES.sub("", stem)
            if plain != stem:  # 向海蒙古族乡 is written 向海乡
                put(plain + unit.name.removeprefix(stem).removeprefix("民族"), _Kind.TOWN, (unit.key,))
            if len(plain) > 1:
                put(plain, _Kind.STEM, (unit.key,))
        for village in county.villages:
            if len(stem := _without(village.name, _VILLAGE_ENDS)) > 1:
                put(stem, _Kind.STEM, (), (village.key,))
        if len(stem := _without(_spoken(county.name)[-1], _COUNTY_ENDS)) > 1 and stem not in names:
            names[stem] = _Token(0, 0, _Kind.OTHER_STEM, home=True)
        for name in others:
            if len(stem := _without(_spoken(name)[-1], _COUNTY_ENDS)) > 1:
                put(stem, _Kind.OTHER_STEM)
        return cls(names, max(map(len, names)))


def _spoken(name: str) -> tuple[str, ...]:
    """The name, and how it is said where it is long: 镇沅县 for 镇沅彝族哈尼族拉祜族自治县."""
    if "自治" not in name:
        return (name,) if name else ()
    stem = _PEOPLES.sub("", name[: name.index("自治")])
    return (name, stem + name[-1]) if stem else (name,)


def _without(name: str, ends: tuple[str, ...]) -> str:
    return next((name.removesuffix(end) for end in ends if name.endswith(end) and name != end), name)


@lru_cache(maxsize=4)
def _lexicon(county: County, foreign: frozenset[str]) -> _Lexicon:
    return _Lexicon.of(county, foreign)


# --- reading --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    text: str
    lexicon: _Lexicon
    county: County
    mentions: list[Mention] = field(default_factory=list)
    flags: dict[tuple[Flag, str], None] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)

    def proposal(self) -> Proposal:
        minus, adds = self._minus()
        towards = [(m.start("in"), m.end("in")) for p in _TOWARDS for m in p.finditer(self.text)]
        tokens = self._with_unknown(list(self._scan()))
        for run in self._runs(tokens):
            self._read(run)
        self._whole(minus)
        found = [self._placed(mention, minus, towards) for mention in self.mentions]
        if adds:
            self._flag(Flag.EXCLUSION, f"“{adds}” adds to what it names; check")
        self._words()
        named = {key for mention in found if mention.use is Use.NAMED for key in mention.villages}
        out = [mention for mention in found if mention.use is Use.EXCLUDED]
        for mention in out:
            named -= mention.villages
            self._flag(Flag.EXCLUSION, f"{mention.label or mention.text} is excluded in the text; check")
        for mention in found:
            if mention.use is Use.DESTINATION:
                self._flag(
                    Flag.DESTINATION, f"{mention.text} is where people are sent, so it is not proposed"
                )
        villages = frozenset(named)
        return Proposal(
            villages,
            _cover(villages, self.county),
            tuple(sorted(found, key=lambda m: (m.start, m.end))),
            tuple(dict.fromkeys(mention.label or mention.text for mention in out)),
            tuple(self.flags),
            tuple(self.unknown),
        )

    # --- tokens ---

    def _scan(self) -> Iterator[_Token]:
        """Known names, longest first at each place, never overlapping."""
        text, at = self.text, 0
        while at < len(text):
            for length in range(min(self.lexicon.longest, len(text) - at), 1, -1):
                known = self._known(at, at + length)
                if known is not None and not self._runs_into(known, at, at + length):
                    yield replace(known, start=at, end=at + length)
                    at += length
                    break
            else:
                at += 1

    def _known(self, start: int, end: int) -> _Token | None:
        known = self.lexicon.names.get(self.text[start:end])
        return known if known is not None and self._fits(known, start, end) else None

    def _runs_into(self, known: _Token, start: int, end: int) -> bool:
        """Whether a short name only looks like one because a full name of ours begins inside it."""
        if known.kind not in (_Kind.STEM, _Kind.OTHER_STEM):
            return False
        return any(
            (other := self._known(at, to)) is not None and other.kind in _FULL
            for at in range(start + 1, end)
            for to in range(end + 1, min(at + self.lexicon.longest, len(self.text)) + 1)
        )

    def _fits(self, known: _Token, start: int, end: int) -> bool:
        """Whether the name stands for itself here and is no part of a longer word."""
        after = self.text[end : end + 1]
        if known.kind is _Kind.STEM or known.kind is _Kind.OTHER_STEM:
            return after not in ("镇", "乡", "县") or self._right(end)
        if known.kind is _Kind.OTHER and end - start == 2:  # 内容县… is not 容县
            before = self.text[start - 1 : start]
            return not _HAN.match(before) or before in _FUNCTION
        if known.kind is _Kind.VILLAGE and end - start == 2:
            return after not in ("民", "庄", "委", "干") and not self.text[start - 1 : start].isdigit()
        return True

    def _right(self, end: int) -> bool:
        """Whether what follows a short name ends the list that it is in."""
        if _SEP.match(self.text, end):
            return True
        tail = _TAIL.match(self.text, end)
        if tail is None or tail.end() == end:
            return bool(_VERB.match(self.text, end))
        return (
            tail["open"] is not None or tail["count"] is not None or tail["what"] not in (*_TOWNS, *_HAMLETS)
        )

    def _bounded(self, start: int, tokens: list[_Token]) -> bool:
        """Whether a name begins at `start`: after a separator, another name or a word that ends a phrase."""
        if start == 0 or (tokens and tokens[-1].end == start):
            return True
        before = self.text[start - 1]
        part = _PART.search(self.text, max(start - 2, 0), start)
        return part is not None or not _HAN.match(before) or before in _FUNCTION

    def _with_unknown(self, known: list[_Token]) -> list[_Token]:
        """The tokens, with names of townships and villages between them that are not on any list."""
        tokens: list[_Token] = []
        for token in known:
            floor = tokens[-1].end if tokens else 0
            tokens += self._unknown_between(floor, token.start, tokens)
            longer = self._longer(token, tokens)
            tokens.append(longer or token)
        tokens += self._unknown_between(tokens[-1].end if tokens else 0, len(self.text), tokens)
        return self._with_other_counties(tokens)

    def _longer(self, token: _Token, tokens: list[_Token]) -> _Token | None:
        """The unknown name that a known one is only the end of (小三江镇, 亚喀萨依村), if it is."""
        start = token.start
        floor = tokens[-1].end if tokens else 0
        if token.kind is _Kind.VILLAGE:
            if self._bounded(start, tokens):
                return None
            return replace(token, start=self._back(start, floor), kind=_Kind.NO_VILLAGE, villages=())
        if token.kind in (_Kind.TOWN, _Kind.OLD_TOWN) and start - 1 >= floor:
            prefix, before = self.text[start - 1], self.text[max(start - 2, 0) : start - 1]
            # 以东大川镇 and 目前大川镇 are 大川镇; 小三江镇 is another place.
            if prefix in _PREFIXES and (not _HAN.match(before) or before in "请对在和及与将向至到"):
                return replace(token, start=start - 1, kind=_Kind.NO_TOWN, towns=())
        return None

    def _unknown_between(self, low: int, high: int, tokens: list[_Token]) -> list[_Token]:
        found: list[_Token] = []
        text = self.text
        for at in range(low, high):
            floor = found[-1].end if found else low
            last = found[-1] if found else (tokens[-1] if tokens else None)
            after = text[at + 1 : at + 2]
            if text[at] in "镇乡" and after not in _AFTER_TOWN:
                start = self._back(at, floor)
                if last is not None and last.kind is _Kind.OTHER and last.end == floor and at - floor < 7:
                    start = floor
                stem = text[start:at]
                river = stem.endswith(("江", "河", "溪")) and after == "段"
                if not stem or _GENERIC.search(stem) or river or not _HAN.match(stem):
                    continue
                found.append(_Token(start, at + 1, _Kind.NO_TOWN))
            elif text.startswith(_VILLAGE_ENDS, at) and after not in ("民", "庄", "委", "干", "组", "镇"):
                # Villages are too many to notice everywhere: only where a list of places stands.
                end = at + (2 if text[at] == "社" else 1)
                listed = last is not None and last.kind in (
                    _Kind.TOWN, _Kind.OLD_TOWN, _Kind.VILLAGE, _Kind.NO_VILLAGE, _Kind.NO_TOWN,
                )  # fmt: skip
                gap = _SEP.match(text, floor) if last is not None and last.end == floor else None
                start = gap.end() if gap else floor
                stem = text[start:at]
                if listed and last is not None and last.end == floor and 0 < len(stem) < 8:
                    plain = all(_HAN.match(c) and c not in "的等有在请将各所被受" for c in stem)
                    if plain and not _GENERIC.search(stem) and stem not in ("行政", "自然", "农"):
                        found.append(_Token(start, end, _Kind.NO_VILLAGE))
        return found

    def _back(self, end: int, floor: int) -> int:
        """Where a name that ends at `end` begins, at most six characters before it."""
        start = end
        while start > max(floor, end - 6) and _HAN.match(self.text[start - 1]):
            if self.text[start - 1] in _FUNCTION:
                # 、对坝乡: what stands alone between separators is the name, whatever its characters.
                whole = start - 1
                while whole > max(floor, end - 4) and _HAN.match(self.text[whole - 1]):
                    whole -= 1
                if whole == 0 or whole == floor or self.text[whole - 1] != "、":
                    break
                return whole
            start -= 1
        return start

    def _with_other_counties(self, tokens: list[_Token]) -> list[_Token]:
        """A county that no list of ours has, written before a name (井陉县威州镇)."""
        result: list[_Token] = []
        for token in tokens:
            floor = result[-1].end if result else 0
            if token.kind in _PLACES and token.start > floor:
                end = token.start
                last, before = self.text[end - 1], self.text[end - 2 : end - 1]
                if last in "县市旗区" and _HAN.match(before or " ") and before not in _NOT_COUNTY:
                    start = end - 1
                    while start > max(floor, end - 8) and _HAN.match(self.text[start - 1]):
                        if self.text[start - 1] in _FUNCTION - frozenset("市"):
                            break
                        start -= 1
                    name = self.text[start:end]
                    if last != "区" or "市" in name[:-1]:
                        result.append(_Token(start, end, _Kind.OTHER))
            result.append(token)
        return result

    def _runs(self, tokens: list[_Token]) -> Iterator[list[_Token]]:
        """Tokens that form one list or one address. Unknown short names between known ones are items too."""
        run: list[_Token] = []
        for token in tokens:
            if run:
                gap = self.text[run[-1].end : token.start]
                if not _SEP.fullmatch(gap) and not self._joins(run[-1], token):
                    item = re.fullmatch(rf"[、，,]([{_H}]{{2,5}})[、和及与]", gap)
                    if item and run[-1].kind in _STEMS and token.kind in _STEMS:
                        start = run[-1].end + item.start(1)
                        run.append(_Token(start, run[-1].end + item.end(1), _Kind.NO_ITEM))
                    else:
                        yield run
                        run = []
            run.append(token)
        if run:
            yield run

    def _joins(self, one: _Token, other: _Token) -> bool:
        """Whether `one` says where `other` lies: 城关镇三眼村, 城关镇的三眼村, 城关镇（三眼村、月园村）."""
        gap = self.text[one.end : other.start]
        if not gap:
            return True
        if not _INSIDE.fullmatch(gap):
            return False
        if one.kind in (_Kind.HOME, _Kind.OTHER):
            return other.kind in _PLACES
        own = {self.county.village(key).township_key for key in other.villages}
        return one.kind in _TOWNSHIPS and other.kind is _Kind.VILLAGE and not own.isdisjoint(one.towns)

    # --- meaning ---

    def _read(self, run: list[_Token]) -> None:
        """One list: who qualifies whom, whose suffix is shared, how many were announced."""
        run, tail = self._tail(run)
        what = tail["what"] if tail else None
        stems = self._stems_accepted(run, tail)
        away = ""  # the other county that the names after it lie in
        town: str | None = None  # the township that the villages after it lie in
        items = 0
        for number, token in enumerate(run):
            name = self.text[token.start : token.end]
            following = run[number + 1] if number + 1 < len(run) else None
            before = run[number - 1] if number else None
            joined = following is not None and self._joins(token, following)
            inside = before is not None and self._joins(before, token)
            if (
                before is not None
                and not inside
                and not _HARD.isdisjoint(self.text[before.end : token.start])
            ):
                away = ""
            match token.kind:
                case _Kind.ABOVE:
                    self._mention(token, Use.QUALIFIER, "", "a larger unit of ours")
                case _Kind.HOME:
                    away, town = "", None
                    self._home(token, run, joined=joined)
                case _Kind.OTHER:
                    town = None
                    away = name if joined and following is not None and following.kind in _PLACES else ""
                    self._mention(token, Use.ELSEWHERE, "", f"{name} is another county")
                    self._flag(Flag.FOREIGN, f"{name} is another county")
                case _Kind.OTHER_STEM:
                    self._other_stem(token, run, what, joined=joined)
                case _ if away:
                    items += 1
                    self._mention(token, Use.ELSEWHERE, "", f"written after {away}, another county")
                case _Kind.TOWN | _Kind.OLD_TOWN:
                    villages = (
                        joined
                        and following is not None
                        and (
                            following.kind in (_Kind.VILLAGE, _Kind.NO_VILLAGE)
                            or (following.kind is _Kind.STEM and what in _HAMLETS)
                        )
                    )
                    if villages and following is not None:
                        town = self._parent(token, following)
                        self._qualifies(token, town)
                        continue
                    items += 1
                    town = None
                    self._town(token, token.towns)
                case _Kind.VILLAGE:
                    items += 1
                    strictly = inside and before is not None and before.kind in _TOWNSHIPS
                    self._village(token, token.villages, town, strictly=strictly)
                case _Kind.STEM if stems and what in _HAMLETS:
                    items += 1
                    self._village(token, token.villages, town, strictly=town is not None)
                case _Kind.STEM if stems and token.towns:
                    items += 1
                    town = None
                    suffixed = [
                        key for key in token.towns if self.county.township(key).name.endswith(what or "")
                    ]
                    self._town(token, tuple(suffixed) or token.towns, short=True)
                case _Kind.STEM:
                    self._lone_stem(token)
                case _Kind.NO_ITEM:
                    if stems:
                        items += 1
                        self._unknown(token, name)
                case _:
                    items += 1
                    self._unknown(token, name)
        self._announced(run, tail, items)

    def _tail(self, run: list[_Token]) -> tuple[list[_Token], re.Match[str] | None]:
        """The run with unknown short names after it (威州、三岔等镇), and what closes it."""
        end = run[-1].end
        if run[-1].kind in _STEMS:
            more = re.match(rf"((?:[、和及与][{_H}]{{2,4}}?)+)(?=等)", self.text[end : end + 60])
            if more:
                at = end
                for part in re.split(r"(?=[、和及与])", more[1])[1:]:
                    run = [*run, _Token(at + 1, at + len(part), _Kind.NO_ITEM)]
                    at += len(part)
                end = at
        tail = _TAIL.match(self.text, end)
        return run, tail if tail and tail.end() > end else None

    def _stems_accepted(self, run: list[_Token], tail: re.Match[str] | None) -> bool:
        """Whether the short names of this list are townships (or villages) of ours."""
        first = next((t for t in run if t.kind is _Kind.STEM), None)
        if first is None:
            return False
        left = self._bounded(first.start, [t for t in run if t.start < first.start])
        what = tail["what"] if tail else None
        if not left or what in _COUNTIES:
            return False
        if tail is not None and (what is not None or tail["open"]):
            # 三江村 is no list: the suffix must be shared, counted or after 等.
            alone = sum(t.kind in _PLACES for t in run) == 1
            closed = what in (*_TOWNS, *_HAMLETS) and not (tail["open"] or tail["count"])
            inside = run[run.index(first) - 1] if run.index(first) else None
            return not (alone and closed) or (inside is not None and inside.kind is _Kind.TOWN)
        places = [t for t in run if t.kind in (_Kind.TOWN, _Kind.STEM) and t.towns]
        last = run[-1]
        ended = last.kind is not _Kind.STEM or bool(_VERB.match(self.text, last.end))
        return len(places) > 1 and ended

    def _home(self, token: _Token, run: list[_Token], *, joined: bool) -> None:
        if joined:
            self._mention(token, Use.QUALIFIER, "", "our county, before a name in it")
            return
        if _ISSUER.match(self.text, token.end):
            self._mention(token, Use.ISSUER, "", "who speaks")
            return
        listed = any(t.kind in (_Kind.OTHER, _Kind.OTHER_STEM) for t in run if t is not token)
        partly = _PARTLY.match(self.text, run[-1].end)
        if listed and not partly and run[-1] is not token:
            partly = _PARTLY.match(self.text, token.end)
        if listed and not partly:
            self._county(token, "named among counties")
        elif not _WHOLE.match(self.text, token.end):
            name = self.county.name
            self._mention(token, Use.AMBIGUOUS, "", "the county by name, not which part of it")
            self._flag(Flag.VAGUE, f"it names the county, not which part; if all is meant: {name}")

    def _other_stem(self, token: _Token, run: list[_Token], what: str | None, *, joined: bool) -> None:
        """宕昌、舟曲两县: short names of counties count only where 县 closes the list."""
        name = self.text[token.start : token.end]
        if token.home:
            if what in _COUNTIES and len(run) > 1:
                self._county(token, "named among counties")
            elif joined:
                self._mention(token, Use.QUALIFIER, "", "our county, before a name in it")
        elif what in _COUNTIES:
            self._mention(token, Use.ELSEWHERE, "", f"{name} is another county")
            self._flag(Flag.FOREIGN, f"{name} is another county")

    def _county(self, token: _Token, why: str) -> None:
        self._mention(token, Use.NAMED, self.county.name, why, self.county.whole().villages)
        self._flag(Flag.WHOLE, f"it speaks of all of {self.county.name}")

    def _qualifies(self, token: _Token, town: str) -> None:
        self._mention(token, Use.QUALIFIER, self.county.township(town).name, "says where the village lies")
        self._old(token, town)

    def _parent(self, token: _Token, village: _Token) -> str:
        """Which township a name before a village means, where two have had it: the one with that village."""
        own = {self.county.village(key).township_key for key in village.villages}
        return next((key for key in token.towns if key in own), token.towns[0])

    def _town(self, token: _Token, towns: tuple[str, ...], *, short: bool = False) -> None:
        """A whole township; where two have the name, both are shown and neither is taken."""
        if len(set(towns)) > 1:
            name = self.text[token.start : token.end]
            options = "、".join(self.county.township(key).name for key in towns)
            self._mention(token, Use.AMBIGUOUS, "", f"may be {options}")
            self._flag(Flag.AMBIGUOUS, f"{name} may be {options}")
            return
        town = towns[0]
        unit = self.county.township(town)
        if _TOWN_ISSUER.match(self.text, token.end):
            self._mention(token, Use.ISSUER, "", "who speaks")
            return
        why = "short name in a list" if short else "by name"
        if token.kind is _Kind.OLD_TOWN:
            why = f"is now {unit.name}"
        self._mention(token, Use.NAMED, unit.name, why, self.county.villages_of(town))
        self._old(token, town)

    def _old(self, token: _Token, town: str) -> None:
        if token.kind is _Kind.OLD_TOWN:
            unit = self.county.township(town)
            name = self.text[token.start : token.end]
            same = _without(name, _TOWN_ENDS) == _without(unit.name, _TOWN_ENDS)
            more = "" if same else ", which is more than it was"
            self._flag(Flag.OLD, f"{name} is now {unit.name}{more}; check")

    def _village(self, token: _Token, keys: tuple[str, ...], town: str | None, *, strictly: bool) -> None:
        """`strictly`: the township was written with it, so that a village elsewhere is another one."""
        name = self.text[token.start : token.end]
        inside = [key for key in keys if self.county.village(key).township_key == town]
        fits = inside or ([] if strictly else list(keys))
        if not fits:
            where = f" in {self.county.township(town).name}" if town else ""
            self._unknown(token, name, f"no {name}{where} on our list")
        elif len(fits) > 1:
            options = "、".join(_label(key, self.county) for key in fits)
            self._mention(token, Use.AMBIGUOUS, "", f"may be {options}")
            self._flag(Flag.AMBIGUOUS, f"{name} may be {options}")
        else:
            self._mention(token, Use.NAMED, _label(fits[0], self.county), "by name", frozenset(fits))

    def _lone_stem(self, token: _Token) -> None:
        """A short name on its own may be a river, a mountain or a road: shown where it may be a township."""
        if not token.towns or not _HAN.match(self.text[token.end : token.end + 1] or " "):
            return
        unit = self.county.township(token.towns[0])
        self._mention(token, Use.AMBIGUOUS, "", f"may or may not be {unit.name}")
        self._flag(
            Flag.AMBIGUOUS, f"“{self.text[token.start : token.end + 3]}” may or may not be {unit.name}"
        )

    def _unknown(self, token: _Token, name: str, why: str = "not on our list") -> None:
        self._mention(token, Use.UNKNOWN, "", why)

    def _announced(self, run: list[_Token], tail: re.Match[str] | None, items: int) -> None:
        if tail is None or not items or run[-1].kind not in _PLACES:
            return
        what = tail["what"]
        if tail["count"] and what in (*_TOWNS, *_HAMLETS):
            number = _number(tail["count"])
            if number != items:
                left = f": {number - items} remain unnamed" if number > items else ""
                self._flag(Flag.COUNT, f"it counts {number} {what} and names {items}{left}")
        elif tail["open"]:
            self._flag(Flag.OPEN, f"its list goes on: “{self.text[run[-1].start : tail.end()]}”")

    def _whole(self, minus: list[tuple[int, int]]) -> None:
        """全县, 各乡镇: every village, unless the words around it narrow it or only address somebody."""
        every, name = self.county.whole().villages, self.county.name
        named = any(mention.use is Use.NAMED for mention in self.mentions)
        for match in _WHOLE.finditer(self.text):
            start, end = match.span()
            clause = self.text[max(start - 12, 0) : start]
            clause = clause[max(clause.rfind(c) for c in _HARD) + 1 :]
            if match[0][:2] not in _ALL and (
                _NOT_WHOLE.search(clause)
                or not _EVERY_OF.search(clause)
                or (named and (clause.endswith(_ASKING) or _ADDRESSED.match(self.text, end)))
            ):
                self._flag(Flag.VAGUE, f"it leaves open which part: “{clause[-6:]}{match[0]}”")
            elif not any(low <= start < high for low, high in minus):
                self.mentions.append(
                    Mention(start, end, match[0], Use.NAMED, name, "the whole county", every)
                )
                self._flag(Flag.WHOLE, f"it speaks of all of {name}: “{match[0]}”")

    # --- around the names ---

    def _minus(self) -> tuple[list[tuple[int, int]], str]:
        """Where the text takes places away, and the words of a 除…外 that adds instead."""
        found: list[tuple[int, int]] = []
        adds = ""
        for pattern in _MINUS:
            for match in pattern.finditer(self.text):
                span = match.span("in")
                if match[0].startswith("除") and _ADDS.match(self.text[match.end() : match.end() + 60]):
                    adds = match[0]
                elif not (adds and adds in match.string[max(0, span[0] - 2) : match.end()]):
                    found.append(span)
        return found, adds

    def _placed(
        self, mention: Mention, minus: list[tuple[int, int]], towards: list[tuple[int, int]]
    ) -> Mention:
        """The mention as its surroundings make it: excluded, a destination, or what it was."""
        out = any(low <= mention.start < high for low, high in minus)
        there = any(low <= mention.start < high for low, high in towards)
        if mention.use is Use.UNKNOWN and not there:
            self.unknown.setdefault(mention.text)
        if mention.use not in (Use.NAMED, Use.UNKNOWN, Use.AMBIGUOUS):
            return mention
        if out and mention.use is Use.NAMED:
            return replace(mention, use=Use.EXCLUDED, reason="the text excludes it")
        if there:
            return replace(mention, use=Use.DESTINATION, reason="where people are sent")
        if mention.use is Use.NAMED and self._only_near(mention):
            self._flag(Flag.AMBIGUOUS, f"{mention.text} only says where it is near; check")
            return replace(
                mention, use=Use.AMBIGUOUS, villages=frozenset(), reason="only says where it is near"
            )
        return mention

    def _only_near(self, mention: Mention) -> bool:
        measured = self.text[: mention.start].endswith(("距", "距离", "离"))
        away = measured and _AWAY.match(self.text, mention.end) is not None
        return away or _BESIDE.match(self.text, mention.end) is not None

    def _words(self) -> None:
        for flag, pattern in _FLAGGED:
            words = dict.fromkeys(match[0] for match in pattern.finditer(self.text))
            if words:
                self._flag(flag, f"{_FLAG_WORDS[flag]}: “{'”, “'.join(list(words)[:3])}”")
        named = sorted((m.start, m.end) for m in self.mentions if m.use is Use.NAMED)
        for (_, end), (start, _) in pairwise(named):
            if self.text[end:start].strip() in ("至", "到", "—", "－", "-", "~", "～"):
                self._flag(Flag.ALONG, f"what lies between is not named: “{self.text[end - 3 : start + 3]}”")

    def _mention(
        self, token: _Token, use: Use, label: str, reason: str, villages: frozenset[str] = frozenset()
    ) -> None:
        text = self.text[token.start : token.end]
        self.mentions.append(Mention(token.start, token.end, text, use, label, reason, villages))

    def _flag(self, flag: Flag, words: str) -> None:
        self.flags.setdefault((flag, words))


_FLAG_WORDS: Final = {
    Flag.ALONG: "a river, road or height decides",
    Flag.COMPASS: "a compass direction decides",
    Flag.VAGUE: "it leaves open which part",
}


def _label(village: str, county: County) -> str:
    unit = county.village(village)
    return f"{county.township(unit.township_key).name}/{unit.name}"


def _cover(villages: frozenset[str], county: County) -> tuple[str, ...]:
    """The fewest names that are exactly these villages."""
    if villages and len(villages) == len(county.villages):
        return (county.name,)
    names: list[str] = []
    for unit in county.townships:
        own = county.villages_of(unit.key)
        inside = own & villages
        if inside and inside == own:
            names.append(unit.name)
        else:
            names += [_label(key, county) for key in sorted(inside)]
    return tuple(names)


def _number(text: str) -> int:
    """``8``, ``８``, ``两``, ``十二``, ``二十`` → int."""
    if text.isdigit():
        return int(text)
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _DIGITS.get(text[-1], 0)
    return 10 * _DIGITS.get(tens or "一", 1) + _DIGITS.get(ones, 0)
