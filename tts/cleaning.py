"""Free text of a source → sentences fit to be said. Pure.

What sources write around what they mean (markup, addresses, SMS tails, labels, headlines, list numbers) is
taken out; words of substance stay.
"""

from __future__ import annotations

import html
import re
from typing import Final

MAX_SENTENCE: Final = 60
"""Characters; what is longer is cut at a comma."""

_INLINE_TAGS: Final = re.compile(r"</?(?:b|i|u|em|strong|font|span|a|small|big|sub|sup)(?:\s[^<>]*)?>", re.I)
_TAGS: Final = re.compile(
    r"<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|<[/!?a-z][^<>]*>", re.I | re.S
)
"""What begins with a letter: in 气温<5℃、风速>10米 nothing is a tag."""
_URL: Final = re.compile(
    r"(?:https?://|www\.)[^\s\u3000-\u9fff，。；、）】]+|(?<![a-z0-9_.+-])[a-z0-9_.+-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+"
    r"|(?<![a-z0-9.-])(?:[a-z0-9-]+\.)+(?:cn|com|net|org|gov|info|tw|hk)(?![a-z0-9])(?:/[^\s\u3000-\u9fff，。；、）】]*)?",
    re.I,
)
_SOURCE: Final = re.compile(
    r"[（(【\[]?\s*(?:预警)?(?:信息|消息|数据)?来源\s*[：:][^）)】\]。；\n]*(?:[）)】\]]|(?=[。；\n])|$)"
)
_LEVEL: Final = re.compile(r"[\[［【(（]\s*[IVⅠⅡⅢⅣ]{1,3}\s*级?\s*/[^\]］】)）]*[\]］】)）]")
_SMS: Final = re.compile(
    r"[（(]?(?:拒收|退订|回复?)\s*(?:请)?(?:回复?)?\s*[A-Za-z]{1,4}\d?(?:退订)?[）)]?[。.]?\s*$"
    r"|【[^】]{2,20}(?:局|台|办|部|厅|站|中心|府|委|预警|移动|联通|电信)】"
    r"|(?:点击|详情|查看)[^。；]{0,12}(?:链接|网址|公众号|详情)[^。；]*[：:]?\s*"
)
_GLUED: Final = re.compile(
    r"^[^。；，,！？\n]{0,120}?(?:发布|解除|取消)[^。；：，,！？\n]{0,40}?(?:预警|警报|提示)(?:信号|信息)?\s*[：:]\s*"
    r"|^[^。；，,！？\n]{2,30}?\d{1,2}日\d{1,2}[时:：][^。；：，,！？\n]{0,12}(?:发布|解除|取消)"
    r"[^。；：，,！？\n]{0,40}?(?:预警|警报|提示)(?:信号|信息)?\s*[，,]\s*"
)
_ADDRESS: Final = "〔网址〕"
_POINTER: Final = re.compile(
    r"(?:详情|详见|详情|詳見|詳|请上|請上|登录|登入|登陆|关注|關注|搜索|扫码|扫描|下载|查询|查詢|查看|点击|访问)[^。；，]{0,24}"
    r"(?:网站|網站|网址|網址|官网|公众号|二维码|客户端|小程序|App|APP|微博|链接|资讯网|資訊網)"
)
"""Where else to read: nobody at a loudspeaker can follow it."""
_AFTERTHOUGHT: Final = re.compile(r"[（(][^（()）]*[）)]")
_TWICE: Final = re.compile(
    r"[，,](?:[^，,。；：]{1,8}色)(?:预警)?(?:信号)?(?:更新|变更|升级|降级|调整)为[^，,。；：]{1,8}色预警(?:信号)?(?=[，,。])"
)
_VACUOUS: Final = re.compile(
    r"[，,](?:请|并|同时)*(?:有关单位和人员)?(?:注意|做好|作好|加强|特别加强|特别注意)?(?:相关)?防范(?:准备|工作)?(?=[。！]?$)"
)
_ITEM: Final = re.compile(
    r"(?<=[，,；;：:\s])(?=(?:[（(]\d{1,2}[）)]|\d{1,2}[、．](?!\d)|[①-⑳])\s*[\u4e00-\u9fff])"
)
_ELLIPSIS: Final = re.compile(r"(?:\.{3,}|…+)。?$")
_FOR_OFFICES: Final = re.compile(r"^(?:各级)?(?:人民)?(?:政府及|政府和|有关部门|相关部门|有关单位|各有关)")
MAX_SOURCE: Final = 8000
"""Characters of a source's text that are read at all: no forecast is longer, and an attack must be short."""
_STAMP: Final = re.compile(
    r"^[^。；，：\d]{2,30}?(?:\d{4}年)?\d{1,2}月\d{1,2}日\d{1,2}[时:：](?:\d{1,2}分?)?\s*(?=变更|更新|升级)"
)
_HEADLINE_ONLY: Final = re.compile(
    r"^[^。，；]{0,80}?(?:发布|解除|取消)[^。，；]{0,60}?(?:预警|警报)(?:信号)?[。！]?$"
)
_LABEL: Final = re.compile(r"^(?:防御指南|防范建议|防御措施|防范措施|温馨提示|建议)\s*[：:]\s*")
_NUMBERING: Final = re.compile(
    r"^\s*(?:[（(]?\d{1,2}\s*[）)]|\d{1,2}\s*[、．.](?!\d)|[①-⑳]|[一二三四五六七八九十]是)\s*"
)
_EMPTY_PHRASES: Final = frozenset(
    {
        "防御指南",
        "防范建议",
        "防御措施",
        "防范措施",
        "温馨提示",
        "请注意防范",
        "请注意",
        "请做好防范",
        "请加强防范",
        "请有关单位和人员做好防范准备",
        "特此通知",
        "详情见",
        "敬请谅解",
        "敬请见谅",
        "造成您的不便，敬請見諒",
        "造成不便，敬请谅解",
        "给您带来不便，敬请谅解",
        "特此公告",
        "以上",
    }
)


def clean(text: str, instruction: str = "") -> list[str]:
    """Free text of a source as sentences fit to be said.

    Out go markup, entities, addresses, SMS tails, level brackets, the note of origin, a headline glued in
    front, labels and list numbers, empty phrases, and what `instruction` or an earlier sentence says
    already. Words of substance stay as they are.
    """
    plain = html.unescape(html.unescape(text[:MAX_SOURCE]))
    plain = _TAGS.sub("\n", _INLINE_TAGS.sub("", plain))
    plain = tidy(_URL.sub(_ADDRESS, plain), keep_breaks=True)  # before patterns that would stumble on blanks
    for pattern in (_SOURCE, _LEVEL, _SMS):
        plain = pattern.sub("", plain)
    plain = _punctuated(plain)
    while (cut := _GLUED.sub("", plain, count=1)) != plain:
        plain = cut
    plain = _STAMP.sub("", plain)
    if re.match(r"(?:变更|更新|升级|降级|调整)[^。；：]*为[^。；：]*：", plain):
        plain = _TWICE.sub("", plain)  # what is said before the colon already
    later = {_gist(s) for s in clean(instruction)} if instruction else set()
    out: list[str] = []
    seen: set[str] = set()
    for raw in _split(_ITEM.sub("\n", plain)):
        sentence = _NUMBERING.sub("", _LABEL.sub("", _NUMBERING.sub("", raw)))
        sentence = _whole(_VACUOUS.sub("", sentence))
        gist = _gist(sentence)
        if (
            len(key(sentence)) < 2
            or key(sentence) in _EMPTY_PHRASES
            or gist in seen
            or gist in later
            or _HEADLINE_ONLY.match(sentence)
            or _POINTER.search(sentence)
        ):
            continue
        seen.add(gist)
        if sentence := sentence.replace(_ADDRESS, ""):
            out.append(sentence)
    return out


def _punctuated(text: str) -> str:
    """With the marks that a Chinese sentence has, without empty brackets and without remarks in brackets that
    only say where else to read."""
    text = re.sub(rf"[（(\[【]\s*(?:{_ADDRESS})?\s*[）)\]】]", "", text)
    text = _AFTERTHOUGHT.sub(lambda m: "" if _POINTER.search(m[0]) else m[0], text)
    text = re.sub(r"(?m)^[\[【]([^\]】\n]{2,20})[\]】]\s*(?=\S)", r"\1，", text)
    text = re.sub(r"(?<=[^\x00-\x7f])\s*,\s*|\s*,\s*(?=[^\x00-\x7f])", "，", text)
    text = re.sub(r"(?<=[\u4e00-\u9fff])\.(?=[\u4e00-\u9fff]|\s|$)", "。", text)
    return re.sub(r"(?<=[\u4e00-\u9fff]):(?=[\u4e00-\u9fff])", "：", text)


def _whole(sentence: str) -> str:
    """A sentence that its source has cut off, without the clause it was cut in; empty if that was all."""
    if not _ELLIPSIS.search(sentence):
        return sentence
    kept = sentence[: max(sentence.rfind("，"), 0)]
    return f"{kept}。" if len(key(kept)) >= 12 else ""


def _gist(sentence: str) -> str:
    return re.sub(r"^(?:请|要|应当|应)+", "", key(sentence))


def tidy(text: str, *, keep_breaks: bool = False) -> str:
    """Without control characters, emoji and doubled blanks."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    kept = re.sub("(?<=\\d)\ufe0f?\u20e3", "、", kept)
    kept = re.sub("[\u200b-\u200f\ufe0e\ufe0f\ufeff]+", "", kept)
    kept = _BULLETS.sub("\n", kept)
    kept = re.sub("[\U0001f000-\U0001faff\u2600-\u27bf*#|_~^`\\\\]+", _sign, kept)
    kept = re.sub(r"[ \t\u3000\xa0]+", " ", kept)
    kept = re.sub(r"(?<=[^\x00-\x7f]) | (?=[^\x00-\x7f])", "", kept)
    return re.sub(r"\s*\n\s*", "\n" if keep_breaks else "", kept).strip()


_BULLETS: Final = re.compile(r"[●■◆▲▶►◇□△▼▽▪◾◼•※]+|[=-]{3,}|(?<!\d)[*_]{3,}")


def _sign(m: re.Match[str]) -> str:
    """Ornament goes; a sign that belongs to a number stays (6~8, 3*4, 10^3, 3#楼, 139****1234), and two
    numbers never grow into one."""
    before, after = m.string[m.start() - 1 : m.start()], m.string[m.end() : m.end() + 1]
    if set(m[0]) == {"~"}:
        return "~"
    if re.fullmatch(r"\*+|[_^]", m[0]) and before.isdigit() and (after.isdigit() or len(m[0]) > 1):
        return m[0]
    if m[0] == "#" and (before.isdigit() or after.isdigit()):
        return m[0]
    return "，" if before.isdigit() and after.isdigit() else ""


def _split(text: str) -> list[str]:
    """Sentences, each ending in 。！？; over-long ones are cut at a comma."""
    out: list[str] = []
    for part in re.findall(r"[^。！？!?；;\n]+[。！？!?；;]?", text):
        sentence = part.strip(" ，,、：:；;")
        while len(sentence) > MAX_SENTENCE:
            cut = max(sentence.rfind(c, 0, MAX_SENTENCE) for c in "，,：")
            if cut < 10:  # a list is torn apart only where there is nothing else
                cut = sentence.rfind("、", 0, MAX_SENTENCE)
            if cut < 10:
                break
            out.append(sentence[:cut].rstrip("，,、：") + "，")
            sentence = sentence[cut + 1 :]
        if key(sentence):
            out.append(sentence if sentence[-1] in "。！？!?" else sentence + "。")
    return out


def limited(sentences: list[str], limit: int) -> tuple[list[str], list[str]]:
    """The first sentences up to `limit` characters, and the rest. What is longer without a place to cut it is
    no language that a voice could speak."""
    total = 0
    for index, sentence in enumerate(sentences):
        total += len(sentence)
        if total > limit and (index or len(sentence) > limit):
            return sentences[:index], sentences[index:]
    return sentences, []


def for_offices(sentence: str) -> bool:
    """Orders to authorities: no villager can follow them."""
    return _FOR_OFFICES.match(sentence) is not None


def key(sentence: str) -> str:
    """Its words alone: what two sentences that say the same have in common."""
    return re.sub(r"[\W_]+", "", sentence)
