"""Everything the operator reads from the program itself, in English and Chinese; and which of them to use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

LANGUAGES: Final = ("en", "zh")


def language(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> str:
    """``--lang`` before the command, else the locale: LC_ALL, LC_MESSAGES, LANG, the first that is set."""
    for index, word in enumerate(arguments):
        if not word.startswith("-") and arguments[index - 1 : index] != ["--lang"]:
            break
        chosen = word.removeprefix("--lang=") if word.startswith("--lang=") else ""
        if word == "--lang":
            chosen = next(iter(arguments[index + 1 : index + 2]), "")
        if chosen in LANGUAGES:
            return chosen
    locale = next((env[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if env.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


_current = "en"


def use(language: str) -> None:
    """From now on `w` speaks it. Help is worded when `controller.cli.program` is imported."""
    global _current
    _current = language


def lang() -> str:
    return _current


def w(key: str, lang: str | None = None, /, **values: object) -> str:
    """The words of `key`, filled in: what of it the controller worded, by `told`. Raises KeyError for a key
    that is not in the table."""
    language = lang or _current
    if language == "zh":
        values = {name: _phrase(value) for name, value in values.items()}
    return TABLE[key][LANGUAGES.index(language)].format(**values)


def _phrase(value: object) -> object:
    """A single word is a name: a feed may be called ``red``."""
    text = str(value) if isinstance(value, str | Exception) else ""
    return told(text, "zh") if " " in text.strip() else value


def told(text: str, lang: str | None = None) -> str:
    """What the controller said, in the operator's language."""
    if (lang or _current) == "en":
        return text
    from controller.cli import reasons

    return reasons.chinese(text)


def reason_words(row: Mapping[str, Any], lang: str) -> str:
    """Why a terminal did not play (`not_reached` of the API), in the operator's language; the machine's word
    for it, by which docs/operations.md says what to do, stands behind."""
    text: str = row["words"]
    reason: str = row["reason"]
    if reason not in _REASONS:
        return told(text, lang)
    found = re.search(r"\((.*)\)$", text)
    detail = "" if found is None or found[1] == reason else found[1]
    words = told(_REASONS[reason], lang)
    if lang == "zh":
        return f"{words}（{reason}{'：' if detail else ''}{told(detail, lang)}）"
    return f"{words} ({reason}{': ' if detail else ''}{detail})"


def problem_words(problems: Mapping[str, int]) -> str:
    """Why so many terminals do not hold what they should, each reason with its number."""
    reasons = ((why, reason_words(_apart(why), lang())) for why in sorted(problems))
    return w("and_then").join(f"{said} × {problems[why]}" for why, said in reasons)


def _apart(why: str) -> dict[str, str]:
    """``fetch``, or a state and what it came of: ``cancelled stopped``."""
    return {"words": why, "reason": why.rpartition(" ")[2]}


def deed_words(what: str) -> str:
    """What somebody did, by its name in the audit."""
    return _DEEDS.get(what, what) if _current == "zh" else what


def who_words(who: str) -> str:
    """Who did it, or whose warning it is: a person by name, else a part of the system (``feed:bureau``)."""
    kind, colon, name = who.partition(":")
    if _current == "en" or kind not in _DOERS:
        return who
    if kind == "operator" and colon:  # a test that runs by itself is sent as one by an operator is
        return who_words(name)
    return f"{_DOERS[kind]}{' ' * bool(colon)}{name}"


_DOERS: Final = {
    "controller": "播控",
    "desk": "播控",
    "feed": "来源",
    "operator": "值班员",
    "terminal": "终端",
    "test": "定期测试",
    "user": "本机账号",
}
_DEEDS: Final = {
    "actual.refused": "实警被拒",
    "actual.send": "发出实警",
    "alert.approve": "核准",
    "alert.cancel": "解除预警",
    "alert.cancelled": "已解除",
    "alert.closed": "存档",
    "alert.continued": "继续有效",
    "alert.duplicate": "重复，不再播",
    "alert.elsewhere": "与本县无关",
    "alert.expired": "过期未审",
    "alert.held": "待审",
    "alert.ignored": "只记录，不播",
    "alert.narrowed": "缩小范围",
    "alert.reject": "驳回",
    "alert.rejected": "已驳回",
    "alert.released": "自动发布",
    "alert.stale": "过时，不播",
    "alert.standing": "存为常备",
    "alert.superseded": "被取代",
    "all-clear.withheld": "不播解除",
    "broadcast.air": "放行可疑音频",
    "broadcast.doubted": "音频可疑",
    "broadcast.stop": "停播",
    "broadcast.stop-all": "全部停播",
    "broadcast.superseded": "播发被取代",
    "broadcast.waits": "可疑音频待定",
    "cancel.closed": "解除存档",
    "cancel.held": "解除待审",
    "cancel.released": "解除生效",
    "exercise.refused": "演练被拒",
    "exercise.send": "发出演练",
    "exercise.siren": "警报演练",
    "stage.drop": "撤下预置",
    "stage.offer": "下发预置",
    "stage.place": "建立预置",
    "standing.by-hand": "手动播放",
    "standing.drop": "撤下常备",
    "standing.send": "存入常备",
    "terminal.certificate": "发给证书",
    "terminal.code": "发入网码",
    "terminal.enrol": "入网",
    "terminal.import": "导入终端",
    "terminal.replace": "更换终端",
    "terminal.retire": "停用终端",
    "terminal.revoke": "吊销证书",
    "test.begin": "测试开始",
    "test.over": "测试结束",
    "test.postponed": "测试推迟",
    "test.refused": "测试被拒",
    "test.send": "发出测试",
}
"""What is in the audit; `--json` and English keep the name itself."""


# The reasons of `terminals.agent.core.Reason`, `terminals.seal.SealReason` and of a terminal's device.
_REASONS: Final = {
    "wrong-role": "sealed with a key of another kind",
    "lifetime": "valid for too long",
    "window": "its times exclude each other",
    "expired": "came too late",
    "replay": "a repeated command",
    "stopped": "told to stop",
    "not-sent": "stopped before it was sent",
    "never-had": "told to stop before it came",
    "replaced": "a newer broadcast took its place",
    "no-variant": "no sound that this terminal can play",
    "fetch": "the sound could not be fetched",
    "hash-mismatch": "the sound that came is not the one that was sent",
    "device-busy": "busy",
    "no-start": "the sound device did not start",
    "stuck": "stuck while playing",
    "unknown-key": "it does not know the signing key",
    "malformed": "the command is malformed",
    "unsigned": "the command is not signed",
    "bad-signature": "the signature is wrong",
    "too-long": "the command is too long",
    "unknown-terminal": "unknown terminal",
    "wrong-terminal": "not for this terminal",
    "amplifier": "the amplifier is dead",
    "storage": "its storage fails",
    "decode": "the sound that came cannot be played",
}


TABLE: Final[dict[str, tuple[str, str]]] = {
    # --- bank: recorded phrases
    "h_bank": (
        "Recorded sentences of an announcer: sheet, import, check, approve.",
        "播音员录音库：录音稿、导入、检查、批准。",
    ),
    "h_bank_new": (
        "Make an empty bank: whose voice, which language, which lines.",
        "建一个空的录音库：谁的声音、哪种语言、要录哪些句子。",
    ),
    "h_bank_update": (
        "Add the lines that the templates and the county need by now.",
        "按现在的模板和县包补上要录的句子。",
    ),
    "h_bank_sheet": ("Write the studio sheet that the announcer reads from.", "生成播音员照着念的录音稿。"),
    "h_bank_import": ("Take recordings in; a file's name is its key.", "导入录音；文件名就是句子的编号。"),
    "h_bank_take": ("Choose which take of a line is used.", "选定一句用第几遍录音。"),
    "h_bank_record": ("Record one line from the microphone.", "用麦克风录一句。"),
    "h_bank_cut": (
        "Cut one long recording at its pauses, in the sheet's order.",
        "把一段长录音按停顿切开，顺序同录音稿。",
    ),
    "h_bank_level": (
        "Make the clips: one loudness, quiet pauses, trimmed.",
        "生成成品：音量一致、停顿安静、掐头去尾。",
    ),
    "h_bank_check": ("What is wrong with the recordings, and what is missing.", "录音有什么问题，还缺什么。"),
    "h_bank_approve": (
        "Say that somebody who speaks the language has listened: only approved clips are aired as actual.",
        "登记懂这种语言的人已经听过：只有批准的录音才会在真实预警中播出。",
    ),
    "h_bank_list": ("The lines of a bank and how far each has come.", "录音库的全部句子和进度。"),
    "h_bank_find": ("The recording of exactly these words.", "查这句话一字不差的录音。"),
    "h_bank_demo": (
        "Make a demo bank: the earthquake countdown, spoken by the offline voice and marked synthetic.",
        "生成演示录音库：离线合成的地震倒计时，标明是合成语音。",
    ),
    "a_bank": ("Folder of the bank.", "录音库文件夹。"),
    "a_bank_key": ("Key of a line, as on the sheet.", "句子编号，见录音稿。"),
    "a_bank_keys": ("Keys of lines; none: all that are ready.", "句子编号；不写：全部已备好的。"),
    "a_bank_files": ("Sound files or folders of them.", "录音文件或文件夹。"),
    "a_bank_session": ("The long recording.", "长录音文件。"),
    "a_bank_number": ("Number of the take.", "第几遍。"),
    "a_bank_text": ("The words.", "要查的话。"),
    "o_bank_language": ("Language, as bo, ug, yue or zh.", "语言，如 bo、ug、yue、zh。"),
    "o_bank_announcer": ("Who speaks.", "播音员姓名。"),
    "o_bank_consent": ("What the announcer agreed to, and the licence.", "播音员同意的用途和授权。"),
    "o_bank_county": ("County pack whose places are read.", "要念地名的县包。"),
    "o_bank_places": ("How far down places are read.", "地名念到哪一级。"),
    "o_bank_hazard": (
        "A hazard to record; may be repeated. None: the usual sixteen.",
        "要录的灾种，可重复；不写：常用的十六种。",
    ),
    "o_bank_issuer": ("Who issues warnings here; may be repeated.", "本地的发布单位，可重复。"),
    "o_bank_times": ("Days, hours and minutes too: 449 short lines.", "日期、小时、分钟也录：449 个短句。"),
    "o_bank_sheet": ("The sheet.", "录音稿文件。"),
    "o_bank_missing": ("Only what is still to be recorded.", "只列还没录的。"),
    "o_bank_key": ("Key of the one file, whatever its name.", "这一个文件的编号，不看文件名。"),
    "o_bank_take": ("Take only files of this take.", "只导入这一遍的文件。"),
    "o_bank_seconds": ("At most so long.", "最长多少秒。"),
    "o_bank_cut_keys": (
        "The lines in it, in order; may be repeated. None: all that are missing.",
        "录音里依次是哪些句子，可重复；不写：全部还没录的。",
    ),
    "o_bank_first": ("It holds the first N missing lines.", "录音里是还没录的前 N 句。"),
    "o_bank_pause": ("Seconds of silence between two lines.", "两句之间停顿多少秒。"),
    "o_bank_below": (
        "What is silence, in dBFS; found by itself otherwise.",
        "低于多少 dBFS 算停顿；不写则自动判断。",
    ),
    "o_bank_drop": (
        "Leave piece N out (a slip, a cough); may be repeated.",
        "去掉第 N 段（念错、咳嗽），可重复。",
    ),
    "o_bank_by": ("Who listened.", "谁听过。"),
    "o_bank_on": ("When; today otherwise.", "哪一天；不写为今天。"),
    "o_bank_withdraw": ("Take approvals back.", "撤销批准。"),
    "o_bank_unapproved": ("Also what nobody has approved.", "没有批准的也算。"),
    "o_bank_demo_out": (
        "Folder for the bank; one that was begun is finished.",
        "录音库文件夹；没做完的接着做。",
    ),
    "o_bank_demo_first": ("Only the first N lines.", "只做前 N 句。"),
    "c_bank_key": ("KEY", "编号"),
    "c_bank_state": ("STATE", "进度"),
    "c_bank_takes": ("TAKES", "遍数"),
    "c_bank_chosen": ("USED", "用第几遍"),
    "c_bank_seconds": ("SECONDS", "秒"),
    "c_bank_approved": ("APPROVED", "批准"),
    "c_bank_text": ("WORDS", "内容"),
    "bank_unwritten": ("no words yet", "还没有译文"),
    "bank_missing": ("missing", "未录"),
    "bank_changed": ("words changed since", "录后改了词"),
    "bank_mic_take": ("{key}: take {number}, {seconds} s.", "{key}：第 {number} 遍，{seconds} 秒。"),
    "bank_recorded": ("recorded, not levelled", "已录，未处理"),
    "bank_levelled": ("levelled, not approved", "已处理，未批准"),
    "bank_approved": ("approved", "已批准"),
    "bank_made": (
        "{folder}: a bank in {language}, {lines} lines.",
        "{folder}：{language} 录音库，{lines} 句。",
    ),
    "bank_updated": (
        "{added} new lines; {idle} that nothing needs any more.",
        "新增 {added} 句；{idle} 句已经用不上。",
    ),
    "bank_totals": (
        "{lines} lines: {counts}. Ready to be aired: {serving}.",
        "共 {lines} 句：{counts}。可以播出：{serving}。",
    ),
    "bank_left": (
        "{count} clauses are left to a voice or wait for words:",
        "{count} 个分句留给合成语音，或等译文：",
    ),
    "bank_no_words": ("{key}: no line of this bank with words.", "{key}：录音库里没有这句，或还没有译文。"),
    "bank_read_now": ("Read now: {text}", "请念：{text}"),
    "bank_recorded_how": (
        "Peak {peak} dBFS, {snr} dB above the room.",
        "峰值 {peak} dBFS，比环境高 {snr} dB。",
    ),
    "bank_chosen": ("{key}: take {number} is used: {state}.", "{key}：用第 {number} 遍：{state}。"),
    "bank_cut_done": ("{count} pieces; listen to some of them.", "切成 {count} 段；请抽听几段。"),
    "bank_cut_dry": ("{count} pieces would be cut.", "会切成 {count} 段。"),
    "bank_more": ("… and {count} more (--json has all)", "……还有 {count} 个（--json 看全部）"),
    "bank_other_pause": ("The number is right with --pause {pauses}.", "用 --pause {pauses} 段数正好。"),
    "bank_no_pause": (
        "No length of pause gives that number: name the lines with --key or --first.",
        "怎么切都对不上：用 --key 或 --first 指明录了哪些句子。",
    ),
    "bank_piece_over": ("(no line left)", "（没有对应的句子）"),
    "bank_levelled_count": ("{made} clips made.", "生成 {made} 个成品。"),
    "bank_skipped": ("left out: {file}: {why}", "跳过：{file}：{why}"),
    "bank_taken": ("{key}: take {number}", "{key}：第 {number} 遍"),
    "bank_again": ("{key}: take {number} was there already", "{key}：第 {number} 遍已经有了"),
    "bank_replaced": (
        "{key}: take {number} is used instead of take {old}",
        "{key}：改用第 {number} 遍，原来是第 {old} 遍",
    ),
    "bank_imported": (
        "{taken} taken, {again} there already, {skipped} left out.",
        "导入 {taken} 个，已有 {again} 个，跳过 {skipped} 个。",
    ),
    "bank_checked": (
        "{errors} errors, {warnings} warnings, {missing} lines to record.",
        "{errors} 个错误，{warnings} 个疑点，{missing} 句待录。",
    ),
    "bank_by_whom": ("Who listened? Give --by NAME.", "谁听过？请写 --by 姓名。"),
    "bank_withdraw_keys": ("Name the lines whose approval is taken back.", "请写明撤销哪些句子的批准。"),
    "bank_approved_count": ("{count} approved.", "批准 {count} 句。"),
    "bank_withdrawn": ("{count} withdrawn.", "撤销 {count} 句。"),
    "bank_is_synthetic": ("A machine speaks in this bank: it is marked synthetic.", "这是合成语音，已标明。"),
    "bank_not_synthetic": (
        "{folder} is a person's bank: no machine speaks in it. Give another folder.",
        "{folder} 是真人录音库，不能放合成语音。请换一个文件夹。",
    ),
    "bank_not_found": (
        "Not recorded, not approved, or not these very words: {text}",
        "没有录、没有批准，或不是原话：{text}",
    ),
    "bank_found": ("{keys}; {seconds} s; approved by {by}", "{keys}；{seconds} 秒；批准：{by}"),
    "bank_nobody": ("nobody", "无"),
    "bank_bad_hazard": ("No such hazards: {keys}.", "没有这些灾种：{keys}。"),
    "bank_demo_consent": (
        "synthetic speech: Kokoro-82M v1.0, Apache-2.0",
        "合成语音：Kokoro-82M v1.0，Apache-2.0",
    ),
    "bank_flaw_damaged": ("damaged: {why}", "损坏：{why}"),
    "bank_flaw_clipped": (
        "clipped: {samples} samples at the top; record it again with less gain",
        "削波：{samples} 个样点到顶；调小增益重录",
    ),
    "bank_flaw_noisy": (
        "noisy: the voice is {snr} dB above the room ({noise} dBFS)",
        "环境吵：人声只比环境高 {snr} dB（{noise} dBFS）",
    ),
    "bank_flaw_dc": (
        "an offset of {dc}: the device is badly set (it is taken out)",
        "直流偏移 {dc}：设备有问题（已消除）",
    ),
    "bank_flaw_low_rate": ("only {rate} Hz: consonants are missing", "采样率只有 {rate} Hz：辅音缺失"),
    "bank_flaw_faint": ("faint: {level} dBFS; record it nearer", "声音太小：{level} dBFS；靠近话筒重录"),
    "bank_flaw_pause": ("{seconds} s of silence inside", "句中停顿 {seconds} 秒"),
    "bank_flaw_too_short": (
        "{seconds} s for about {syllables} syllables: words are missing",
        "{seconds} 秒，约 {syllables} 个音节：话没说全",
    ),
    "bank_flaw_too_long": (
        "{seconds} s for about {syllables} syllables: these are other words",
        "{seconds} 秒，约 {syllables} 个音节：说的不是这句",
    ),
    "bank_flaw_pace": (
        "{times} times the usual pace of this bank: listen to it",
        "语速是全库的 {times} 倍：请听一遍",
    ),
    "bank_flaw_loudness": ("{lufs} LUFS: level it again", "{lufs} LUFS：请重新处理"),
    "bank_flaw_peak": ("a peak of {dbtp} dBTP: level it again", "峰值 {dbtp} dBTP：请重新处理"),
    "bank_flaw_same_sound": (
        "the same sound as {other}, which has other words",
        "和 {other} 是同一段录音，词却不同",
    ),
    "bank_flaw_same_words": ("the same words as {other}", "和 {other} 词相同"),
    "banksheet_title": ("Studio sheet: {language}", "录音稿：{language}"),
    "banksheet_announcer": (
        "Announcer: {name}. Bank version {version}.",
        "播音员：{name}。录音库版本 {version}。",
    ),
    "banksheet_consent": ("Consent and licence: {text}", "同意与授权：{text}"),
    "banksheet_how": (
        "Read calmly and clearly, every line by itself, with two seconds of silence between two lines. "
        "Do not change a word: a line is played exactly where its words are needed. After a slip, wait and "
        "read the whole line again.",
        "平稳清楚地念，一句一句来，两句之间停两秒。一个字也不要改：哪里需要这句话，就原样播放。念错了，停一下，整句重念。",
    ),
    "banksheet_missing": ("to record", "待录"),
    "banksheet_changed": ("record again", "重录"),
    "banksheet_unwritten": ("write it", "先译"),
    "banksheet_done": ("done", "已录"),
    "banksheet_quake": ("Earthquake: seconds left", "地震：还有几秒"),
    "banksheet_line": ("Whole sentences", "整句"),
    "banksheet_part": ("Clauses with names and colours of warnings", "带灾种和颜色的分句"),
    "banksheet_other": ("Places, issuers, days and hours", "地名、发布单位、日期和时间"),
    # --- why, and maps
    "h_why": (
        "Why a terminal is in a warning or not: the rule, code, edge distance or radius that decides.",
        "一台终端为什么在（或不在）一条预警的范围内：依据的规则、代码、到边界的距离或半径。",
    ),
    "o_why_alert": ("The alert's id, in whatever state it is.", "预警的编号，不论处于什么状态。"),
    "y_stands": ("stands at", "位置"),
    "y_now": ("today", "现在"),
    "y_why": ("because", "因为"),
    "y_then": ("planned then", "当时的计划"),
    "y_in": ("IN: it would be sent this warning", "在内：会向它下发这条预警"),
    "y_out": ("OUT: it would not be sent this warning", "不在内：不会向它下发这条预警"),
    "y_then_in": ("it was in", "在内"),
    "y_then_out": ("it was not in", "不在内"),
    "y_then_no_plan": ("there was no plan: nothing of it can sound", "没有计划：这条消息不会播发"),
    "y_sounded": ("heard there", "当地播出"),
    "y_heard": ("some part of it has sounded", "已播出（至少一部分）"),
    "y_unheard": ("nothing of it, as far as we know", "据目前所知没有播出"),
    "y_never": ("never", "从未"),
    "c_facts": ("facts", "经过"),
    "y_attempt": ("attempt {number}", "第 {number} 次"),
    "y_floor": ("only the generic sentence or the signal", "只有通用语句或提示音"),
    "y_resumed": ("again, after it was cut short", "中断后重新播"),
    "y_silent": ("a silent test", "静默测试"),
    "y_unreached": ("our own entry: it did not answer in time", "控制端记录：到期未答复"),
    "y_came_later": (
        "(registered, enrolled or moved since, or the county pack has changed)",
        "（此后才登记、入网或移动，或县数据包有变）",
    ),
    "y_left_since": (
        "(moved or withdrawn since, or the county pack has changed)",
        "（此后移动或停用，或县数据包有变）",
    ),
    "metres": ("{m} m", "{m} 米"),
    "kilometres": ("{km} km", "{km} 公里"),
    "because_code": ("code {code} = {label} names its village", "代码 {code}＝{label}，包含它所在的村"),
    "because_other_code": (
        "code {code} is {label}, it stands in {township}",
        "代码 {code} 是{label}，而它在{township}",
    ),
    "because_no_code": ("code {code} names nobody here: {text}", "代码 {code} 在本县不指任何地方：{text}"),
    "because_more_codes": (
        "{count} further codes do not name its village either",
        "另有 {count} 个代码也不含它所在的村",
    ),
    "because_inside": ("{shape} of {area}, {km} inside its edge", "在 {area} 的 {shape} 内，距边界 {km}"),
    "because_outside": ("{km} beyond the edge of {shape} of {area}", "在 {area} 的 {shape} 外，距边界 {km}"),
    "because_meant": ("its village is meant: {text}", "指的就是它所在的村：{text}"),
    "because_excluded": (
        "{shape} of {area} is taken away from the area, and it stands {km} inside it",
        "{area} 的 {shape} 是排除区，它在其中，距边界 {km}",
    ),
    "because_narrowed": (
        "{area} names its village by code, but its feed declares that shapes narrow codes",
        "{area} 的代码含它所在的村，但该来源声明以图形缩小代码范围",
    ),
    "because_unplaced": (
        "neither it nor its village nor its township has a position: no shape can reach it",
        "它、所在村、所在乡镇都没有位置：图形无法包含它",
    ),
    "because_shaken": (
        "intensity {intensity} is estimated there, {km} from the epicentre of M{magnitude}; warned is from "
        "{threshold}",
        "估计烈度 {intensity}，距 M{magnitude} 震中 {km}；达到 {threshold} 即播发",
    ),
    "because_not_shaken": (
        "intensity {intensity} is estimated there, {km} from the epicentre of M{magnitude}; warned is only "
        "from {threshold}",
        "估计烈度 {intensity}，距 M{magnitude} 震中 {km}；未达到 {threshold}，不播发",
    ),
    "because_small_quake": (
        "M{magnitude} is below the county's floor of M{floor}",
        "M{magnitude} 低于本县的起报震级 M{floor}",
    ),
    "because_problem": ("could not be used: {text}", "无法使用：{text}"),
    "because_nothing": ("the message names no area", "这条消息没有写明地区"),
    "because_not_enrolled": (
        "it is registered and has not enrolled: nothing is sent to it",
        "它已登记但未入网：不会向它下发",
    ),
    "o_circle": (
        "A circle to warn, in degrees WGS-84 and kilometres; 0 km is a point. May be repeated.",
        "圆形区域：纬度,经度,公里（WGS-84）；0 公里为一点。可重复。",
    ),
    "o_polygon": (
        "Polygons to warn, as GeoJSON in WGS-84. May be repeated.",
        "多边形区域，GeoJSON 文件（WGS-84）。可重复。",
    ),
    "o_drawn_datum": (
        "Datum of --circle and --polygon; gcj02 is that of Amap and Tencent maps. wgs84 if absent.",
        "--circle 与 --polygon 的坐标系；高德、腾讯地图为 gcj02。缺省 wgs84。",
    ),
    "o_meant": (
        "I have checked: this unusually large share of the county is meant.",
        "已核对：确实要向全县这么大的范围播发。",
    ),
    "o_map": ("Also draw a map of who hears it.", "另画一张范围图。"),
    "datum_alone": (
        "--datum is for --circle and --polygon.",
        "--datum 只用于 --circle 和 --polygon。",
    ),
    "circle_form": (
        "--circle {given}: write LAT,LON,KM such as 33.78,104.36,5",
        "--circle {given}：应写成 纬度,经度,公里，如 33.78,104.36,5",
    ),
    "circle_nowhere": (
        "--circle {given}: no such place; latitude comes first",
        "--circle {given}：没有这个地方；纬度在前",
    ),
    "circle_size": ("--circle {given}: from 0 to 2000 km", "--circle {given}：半径 0 到 2000 公里"),
    "geojson_not": ("{file} is no GeoJSON that can be read: {why}", "{file} 不是能读的 GeoJSON：{why}"),
    "geojson_crs": (
        "{file} says its coordinates are {crs}; WGS-84 or CGCS2000 in degrees is needed",
        "{file} 的坐标系是 {crs}；需要 WGS-84 或 CGCS2000 经纬度",
    ),
    "geojson_empty": ("{file} holds no polygon", "{file} 里没有多边形"),
    "geojson_kind": (
        "{file} holds a {kind}; only polygons can be warned. Take it out, or use --circle.",
        "{file} 里有 {kind}；只能用多边形。请去掉，或改用 --circle。",
    ),
    "map_form": (
        "--map {file}: the name must end in .svg or .png",
        "--map {file}：文件名须以 .svg 或 .png 结尾",
    ),
    "map_written": ("map: {file}", "范围图：{file}"),
    "no_map": ("no map: {why}", "画不了图：{why}"),
    "c_way": ("by", "依据"),
    "c_terminals": ("terminals", "终端数"),
    "c_population": ("people", "人口"),
    "none_there": ("none", "无"),
    "population_sum": (
        "people: {people} (not known of {unknown} villages); villages without a terminal: {silent}",
        "人口：{people}（{unknown} 个村不详）；没有终端的村：{silent}",
    ),
    "f_ways": ("villages by", "选村方式"),
    "way_count": ("{way} {count}", "{way} {count} 村"),
    # --- the program and its commands
    "h_fenghuo": (
        "Fenghuo 烽火: the county's emergency warnings, from the source to every village loudspeaker.",
        "烽火：县级应急广播预警，从预警来源到每一个村的喇叭。",
    ),
    "h_serve": (
        "Run the controller until it is told to stop (SIGTERM, Ctrl-C).",
        "运行播控服务，直到收到停止信号（SIGTERM、Ctrl-C）。",
    ),
    "h_alert": (
        "Real warnings: send, preview, decide, cancel, look.",
        "实警：发布、预览、审核、解除、查看。",
    ),
    "h_exercise": (
        "Exercises: announced as an exercise, signed with the exercise key.",
        "演练：以“演练”名义播出，用演练密钥签名。",
    ),
    "h_test": (
        "Tests of the loudspeakers: announced as a test, signed with the test key.",
        "测试喇叭：以“测试”名义播出，用测试密钥签名。",
    ),
    "h_broadcast": (
        "What sounds: follow it, look at it, silence it.",
        "播发：跟踪、查看、静音。",
    ),
    "h_standing": (
        "Standing messages: kept by the loudspeakers, sounded by a hand there when no line reaches them.",
        "常备消息：存在终端里，断网时由现场人员手动播放。",
    ),
    "h_standing_send": (
        "Have loudspeakers keep a message for a hand to sound. No sound is made now.",
        "把消息存进终端，供现场手动播放。现在不播。",
    ),
    "h_standing_list": (
        "Standing messages: until when, how many hold each, whose must be sent anew.",
        "常备消息：有效期、多少终端已存、哪些需重新下发。",
    ),
    "h_standing_show": (
        "One standing message: what it says, who holds it by township, whose hand has sounded it.",
        "查看一条常备消息：内容、各乡镇存有情况、谁手动播过。",
    ),
    "h_standing_drop": (
        "Take a standing message from its loudspeakers: no hand can sound it any more.",
        "撤下一条常备消息：不能再手动播放。",
    ),
    "a_standing_id": ("Id of the standing message's broadcast, B…", "常备消息的播发编号 B…"),
    "a_standing_kind": (
        "actual, exercise or test: as what a hand will sound it.",
        "actual、exercise 或 test：手动播放时按哪一类播。",
    ),
    "o_standing_valid": ("How many days a hand may sound it, 1 to 400.", "可手动播放多少天，1 至 400。"),
    "o_standing_reason": ("Why it is dropped; goes into the log.", "撤下原因，记入日志。"),
    "o_stop_standing": (
        "With --all: take the standing messages from their loudspeakers too. Otherwise only one that a hand "
        "sounds now.",
        "与 --all 同用：常备消息也全部撤下。不加则只撤正在手动播放的。",
    ),
    "deed_standing": (
        "These loudspeakers will keep it. Now no sound; whoever stands at one can sound it at any time.",
        "存进这些终端。现在不播；现场人员随时可以手动播放。",
    ),
    "deed_standing_drop": (
        "Drop {id}: no hand can sound it any more, and whoever sounds it now falls silent.",
        "撤下 {id}：不能再手动播放，正在播的也会停。",
    ),
    "deed_stop_all_standing": (
        "The standing messages are taken from the loudspeakers too.",
        "常备消息也从终端全部撤下。",
    ),
    "stop_standing_alone": (
        "--standing only with --all; one alone: fenghuo standing drop ID",
        "--standing 只与 --all 同用；撤一条：fenghuo standing drop 编号",
    ),
    "standing_sent": (
        "{broadcast} goes to its loudspeakers, which make no sound. Who holds it: fenghuo standing show "
        "{broadcast}",
        "{broadcast} 正在存进终端，不播放。谁已存：fenghuo standing show {broadcast}",
    ),
    "standing_dropped": (
        "{id} is dropped. Who is away drops it when it is back: fenghuo standing show {id}",
        "{id} 已撤下。离线的终端上线时撤下：fenghuo standing show {id}",
    ),
    "standing_now": ("SOUNDED BY HAND NOW at {terminals}", "正在手动播放：{terminals}"),
    "hand_line": ("{terminal} · {place} · {times}", "{terminal} · {place} · {times}"),
    "hand_now": ("sounds still", "仍在播"),
    "by_hand_line": (
        "{id} is sounded by hand, for {minutes}: {headline} ({reason}). Not you? fenghuo standing drop {id}",
        "{id} 正被手动播放，已 {minutes}：{headline}（{reason}）。不该播就撤下：fenghuo standing drop {id}",
    ),
    "v_by_hand": (
        "SOUNDED BY HAND: {id} {headline} (fenghuo standing show {id})",
        "正在手动播放：{id} {headline}（fenghuo standing show {id}）",
    ),
    "v_standing": (
        "A standing message until {until}: {holding} of {targeted} loudspeakers hold it; it sounds only at a "
        "hand.",
        "常备消息，有效至 {until}：{targeted} 台终端中 {holding} 台已存；只由现场手动播放。",
    ),
    "v_hands": ("Sounded by hand at {count} loudspeakers:", "{count} 台终端手动播放过："),
    "v_not_held": ("Not held by {count} loudspeakers", "{count} 台终端没有存"),
    "y_by_hand": ("by a hand at the loudspeaker", "现场手动播放"),
    "c_hands": ("by hand", "手动播放"),
    "c_standing": ("standing messages", "常备消息"),
    "st_standing": ("standing messages", "常备消息"),
    "a_standing": ("kept by terminals", "常备"),
    "b_standing": ("kept, makes no sound", "已存，不播"),
    "k_voicing": ("being voiced", "合成语音"),
    "k_kept": ("kept", "已存"),
    "k_dropped": ("dropped", "已撤下"),
    "k_expired": ("expired", "已过期"),
    "h_stage": (
        "What loudspeakers hold beforehand: generic sentences, countdown, the worse that may come.",
        "终端预置：通用语句、地震倒计时、可能升级的预警。",
    ),
    "h_stage_list": ("The sets that terminals hold, and how many do.", "预置的语音组，及有多少终端已存。"),
    "h_stage_now": (
        "Offer every set again to its terminals; or place ahead what a warning may become.",
        "立即重新下发全部预置；或预置某条预警可能升级的语音。",
    ),
    "h_stage_show": (
        "One set: its clips, and who holds it, the worst township first.",
        "查看一组预置：内容，各乡镇存有情况，差的在前。",
    ),
    "h_stage_drop": (
        "Have a set forgotten: its terminals drop it now, or when they next say hello.",
        "撤下一组预置：终端立即删除，离线的在下次上线时删除。",
    ),
    "h_terminal": (
        "The loudspeakers: list, register, enrol.",
        "终端（喇叭）：列表、登记、入网。",
    ),
    "h_feed": (
        "Where warnings come from: is each source well, what did it bring.",
        "预警来源：是否正常，带来了什么。",
    ),
    "h_drill": (
        "Rehearse a disaster in a sandbox of its own; no live controller is ever touched.",
        "在独立沙盒中演练灾难场景，绝不触碰正在运行的系统。",
    ),
    "h_drill_chaos": (
        "Cut lines, replays, forgeries, a killed broker, a storm of documents, an earthquake: what was kept.",
        "断线、重放、伪造、消息服务器被杀、预警风暴、地震：看系统守住了哪些承诺。",
    ),
    "o_chaos": ("The scenario; chaos if none is given.", "演练场景；不给则为 chaos。"),
    "o_chaos_terminals": (
        "How many loudspeakers; the scenario's own number if not given.",
        "终端台数；不给则按场景。",
    ),
    "o_chaos_short": ("A short one, of 300 loudspeakers, for a test.", "简短演练，300台终端，供测试用。"),
    "o_chaos_broker": (
        "best: mosquitto where it is installed; embedded: ours.",
        "best：装了 mosquitto 就用它；embedded：内置的消息服务器。",
    ),
    "o_chaos_keep": (
        "Leave the sandbox's log and state in this folder, which must be empty or new.",
        "把沙盒的日志和数据留在这个文件夹（须为空或不存在）。",
    ),
    "o_chaos_url": (
        "Of a running controller: always refused, a drill starts its own.",
        "正在运行的系统的地址：一律拒绝，演练只用自己的沙盒。",
    ),
    "drill_never_live": (
        "refused: {what} is a running controller; a drill starts its own sandbox and touches no other",
        "拒绝：{what} 是正在运行的系统；演练只启动自己的沙盒，不碰别的系统",
    ),
    "drill_not_empty": (
        "refused: {folder} is not empty; it may be a controller's state. Name a new folder.",
        "拒绝：{folder} 不是空文件夹，可能是某个系统的数据。请给一个新文件夹。",
    ),
    "chaos_does_start": (
        "broker, controller and loudspeakers are starting",
        "正在启动消息服务器、控制器和终端",
    ),
    "chaos_does_calm": ("an earthquake in the calm, and a stop", "平静时的地震预警，然后停播"),
    "chaos_does_links": ("lines are cut, and a warning comes", "切断部分线路，发布预警"),
    "chaos_does_replay": ("everything that was ever said is said again", "重放全部旧指令"),
    "chaos_does_forged": ("forged commands and forged receipts", "伪造指令和伪造回执"),
    "chaos_does_broker": ("the broker is killed, and a warning comes", "杀掉消息服务器，同时发布预警"),
    "chaos_does_storm": ("a storm of documents, and in it an earthquake", "预警文件风暴，其间发生地震"),
    "chaos_does_end": ("waiting for the last outcomes, and comparing", "等待最后的结果并核对"),
    "chaos_title": (
        "Chaos drill {scenario}: {terminals} simulated loudspeakers, seed {seed}, {broker}, voice {voice}; "
        "playing goes {speed} times faster than in reality.",
        "灾难演练 {scenario}：{terminals} 台模拟终端，种子 {seed}，{broker}，声音 {voice}；"
        "播放速度为实际的 {speed} 倍。",
    ),
    "chaos_kept": ("KEPT  ", "守住"),
    "chaos_broken": ("BROKEN", "失守"),
    "chaos_calm": (
        "An earthquake in the calm: {sounding} sounded, the first after {first_s} s, "
        "the last after {last_s} s; {missing} did not.",
        "平静时地震预警：{sounding} 台发声，首台 {first_s} 秒，末台 {last_s} 秒；{missing} 台没有。",
    ),
    "chaos_stop": (
        "A stop: {sounding} were sounding, the last was silent after {slowest_s} s; "
        "{unacknowledged} did not answer.",
        "停播：{sounding} 台正在播，最慢 {slowest_s} 秒静音；{unacknowledged} 台没有确认。",
    ),
    "chaos_links": (
        "{cut} lines cut: {sounding} others sounded within {last_s} s; "
        "{back} that came back, within {back_last_s} s; {missing} heard nothing.",
        "切断 {cut} 条线路：其余 {sounding} 台 {last_s} 秒内发声；"
        "恢复的 {back} 台 {back_last_s} 秒内发声；{missing} 台没有。",
    ),
    "chaos_replay": (
        "{replayed} recorded commands said again: {sounded} sounds.",
        "重放 {replayed} 条旧指令：发声 {sounded} 次。",
    ),
    "chaos_forged": (
        "{forged} forged commands and receipts: {sounded} sounds, {believed} believed.",
        "伪造指令和回执 {forged} 条：发声 {sounded} 次，被采信 {believed} 条。",
    ),
    "chaos_broker": (
        "Broker killed while a warning came: {sounding} sounded, half of them within {median_s} s "
        "of its return, the last after {last_s} s; {missing} did not.",
        "消息服务器被杀时来预警：{sounding} 台发声，"
        "恢复后半数 {median_s} 秒内、末台 {last_s} 秒；{missing} 台没有。",
    ),
    "chaos_storm": (
        "An earthquake in a storm of {documents} documents ({a_second} a second): "
        "the last sounded after {storm_s} s, in the calm {calm_s} s (limit {limit_s} s); {missing} did not.",
        "{documents} 个文件的风暴中（每秒 {a_second} 个）地震预警：末台 {storm_s} 秒，平静时 {calm_s} 秒"
        "（上限 {limit_s} 秒）；{missing} 台没有。",
    ),
    "chaos_right": (
        "Nothing sounded that must not: {sounds} sounds, {wrong} wrong.",
        "不该响的没有响：共发声 {sounds} 次，其中不该响的 {wrong} 次。",
    ),
    "chaos_once": (
        "Nobody heard a message again: {heard} messages heard, {twice} again.",
        "同一条不重复播：播出 {heard} 条次，重复 {twice} 条次。",
    ),
    "chaos_outcomes": (
        "Every outcome is known: {deliveries} deliveries of {broadcasts} broadcasts, {unknown} unknown.",
        "结果全部查明：{broadcasts} 次广播共 {deliveries} 台次，不明 {unknown} 台次。",
    ),
    "chaos_receipts": (
        "No receipt without a sound: {receipts} receipts, {false} false.",
        "没有响就没有回执：回执 {receipts} 份，不实 {false} 份。",
    ),
    "chaos_alive": (
        "The controller lived through it: {connected} loudspeakers connected at the end, {alarms} alarms.",
        "控制器始终运行：结束时 {connected} 台终端在线，告警 {alarms} 条。",
    ),
    "chaos_all_kept": ("Every promise was kept ({seconds} s).", "全部承诺守住（{seconds} 秒）。"),
    "chaos_some_broken": ("{broken} of {count} promises were BROKEN.", "{count} 项承诺中 {broken} 项失守。"),
    "h_simulate": (
        "A simulated world for drills: loudspeakers (only beside a controller in --sandbox) and sources.",
        "模拟环境，供演练用：终端（只能配合 --sandbox 的服务）和预警来源。",
    ),
    "h_tts": ("Speech: how a text is read, and what it sounds like.", "语音：怎么读，听起来怎么样。"),
    "h_tts_read": (
        "Print what will be said: numbers, dates and units written out.",
        "显示实际读法：数字、日期、单位都写成字。",
    ),
    "h_tts_check": (
        "Let a recogniser on this machine write down what the voices say, dry and in the noise outside, and "
        "count the syllables that it heard wrong. Sends nothing. Takes minutes.",
        "用本机的识别程序听写合成的语音（安静时和户外噪声里），数出听错的音节。不发送；需要几分钟。",
    ),
    "a_check_files": (
        "Text files, one sentence a line. Without them, 40 warning sentences.",
        "文本文件，每行一句；不给就用 40 句预警。",
    ),
    "o_check_preset": (
        "Class of loudspeaker: horn, column, indoor; plain is the voice without the loudspeaker chain. "
        "Repeat it for several.",
        "扬声器类别：horn、column、indoor；plain 是不经扬声器处理的原声。可写多次。",
    ),
    "o_check_snr": (
        "Noise at the listener, in dB below what the loudspeaker gives. Repeat it for several.",
        "听者处的噪声，比扬声器的声音低多少 dB。可写多次。",
    ),
    "check_preset": (
        "there is no preset {preset}; there are {known}",
        "没有 {preset} 这一类扬声器处理；有 {known}",
    ),
    "check_no_text": (
        "{file}: no sentences in it; it must be UTF-8 text, one sentence a line",
        "{file}：里面没有句子；要 UTF-8 文本，每行一句",
    ),
    "check_dry": ("dry", "安静"),
    "check_db": ("{db} dB", "{db} 分贝"),
    "check_heard": ("meant: {text}  heard: {heard}", "原文：{text}  听到：{heard}"),
    "c_preset": ("preset", "扬声器处理"),
    "c_noise": ("noise", "噪声"),
    "c_sentences": ("sentences", "句数"),
    "c_syllable_errors": ("syllables heard wrong", "听错音节"),
    "c_misheard": ("numbers, places, actions not heard (sentences)", "数字、地名、动作没听出（句）"),
    "h_tts_say": (
        "Speak a text into a file, as a loudspeaker would play it. Sends nothing.",
        "把文字合成到文件，和大喇叭播出的一样。不发送。",
    ),
    "h_tts_templates": (
        "What each language can say: approved, reviewed, draft or missing; with LANG, line by line.",
        "每种语言能说什么：已批准、已审核、草稿、缺少；给出 LANG 则逐句列出。",
    ),
    "h_tts_sheet": (
        "A sheet for the speakers of a language: what is missing or a draft. --import takes it back.",
        "给该语言使用者填写的表：所有缺少的和草稿的句子。填好后用 --import 收回。",
    ),
    "a_language": (
        "A language: bo ug kk mn ko ii za yue zh.",
        "语言：bo 藏 ug 维 kk 哈 mn 蒙 ko 朝 ii 彝 za 壮 yue 粤 zh。",
    ),
    "o_sheet_out": (
        "Write the sheet into this file (.csv or .html).",
        "把表写到这个文件（.csv 或 .html）。",
    ),
    "o_sheet_all": (
        "All lines, not only those that are missing or drafts.",
        "所有句子，不只是缺少的和草稿。",
    ),
    "o_sheet_import": (
        "Take this filled sheet (.csv) into the county's own words; all or nothing.",
        "把填好的表（.csv）收进本县自己的用语；有一处错就全部不收。",
    ),
    "o_reviewed_by": (
        "Who read the words and answers for them: enough for exercises and tests.",
        "谁审读并负责：可用于演练和测试。",
    ),
    "o_approved_by": (
        "Who approves them for actual warnings in this county.",
        "谁批准在本县用于真实预警。",
    ),
    "line_missing": ("missing", "缺少"),
    "line_stale": ("stale", "过时"),
    "line_draft": ("draft", "草稿"),
    "line_reviewed": ("reviewed", "已审核"),
    "line_approved": ("approved", "已批准"),
    "c_line": ("status", "状态"),
    "c_on": ("on", "日期"),
    "lines_unread": ("{file}: cannot be read: {why}", "{file}：读不了：{why}"),
    "lines_for": ("for", "用途"),
    "lines_zh": ("Mandarin", "普通话"),
    "lines_slots": ("keep these", "原样保留"),
    "lines_example": ("example", "例子"),
    "lines_text": ("translation", "译文"),
    "lines_ok": ("checked (x)", "确认（x）"),
    "lines_note": ("note", "备注"),
    "lines_title": ("Words for village loudspeakers: {language}", "村村响用语：{language}"),
    "lines_how": (
        "Write as people speak. Keep everything in braces as it is, and every number. A draft that is right: "
        "put x beside it. What you cannot say, leave empty: it is said in Mandarin.",
        "请写成平时说的话。大括号里的原样保留，数字不要改。草稿没有问题的，在旁边打 x。"
        "说不好的留空，到时用普通话播。",
    ),
    "lines_save": ("Save as CSV", "保存为 CSV"),
    "lines_kind": ("{file}: the sheet is a .csv or a .html file.", "{file}：表只能是 .csv 或 .html 文件。"),
    "lines_written": ("{count} lines for {language} to fill in.", "{language}：{count} 句待填。"),
    "lines_taken": (
        "{count} lines of {language} taken, {status}.",
        "{language}：收下 {count} 句，{status}。",
    ),
    "lines_no_folder": (
        "The county has no folder for its own words: put templates: FOLDER into its configuration.",
        "本县没有放自己用语的文件夹：在配置里写 templates: 文件夹。",
    ),
    "lines_unknown": (
        "line {line}: {zh}: no line of the templates; make a new sheet",
        "第 {line} 行：{zh}：模板里没有这一句；请重新生成表",
    ),
    "lines_twice": ("line {line}: {zh}: stands here twice", "第 {line} 行：{zh}：重复"),
    "lines_fault": ("line {line}: {zh}: {why}", "第 {line} 行：{zh}：{why}"),
    "lines_nothing_written": ("Nothing was written.", "什么都没有写入。"),
    "lines_empty": ("{file}: no line is filled in or marked.", "{file}：没有填写或确认任何一句。"),
    "lines_not_one": ("{file}:{line}: this is no sheet of ours.", "{file}:{line}：这不是我们的表。"),
    "lines_encoding": (
        "{file}: not UTF-8; save it as “CSV UTF-8”.",
        "{file}：不是 UTF-8；请另存为“CSV UTF-8”。",
    ),
    "lines_who": (
        "--import needs --reviewed-by NAME or --approved-by NAME: somebody answers for the words.",
        "--import 要有 --reviewed-by 姓名 或 --approved-by 姓名：用语要有人负责。",
    ),
    "lines_what": (
        "Give --out FILE to make a sheet, or --import FILE to take one.",
        "给出 --out 文件（生成表）或 --import 文件（收回表）。",
    ),
    "h_tts_voices": (
        "The county's voices: who approved them, and why one does not speak now.",
        "本县有哪些声音，谁批准的，为什么现在不能用。",
    ),
    "o_voices_all": ("Also every voice that could be configured.", "连可以配置而没有配置的也列出。"),
    "voices_more": (
        "More could be configured: {could}. All of them: fenghuo tts voices --all",
        "还可以配置（语言和个数）：{could}。全部列出：fenghuo tts voices --all",
    ),
    "voices_none": (
        "No voice anywhere for {languages}: record one (fenghuo bank); until then Mandarin is spoken.",
        "{languages} 没有任何现成声音：请录音（fenghuo bank）；在此之前用普通话播。",
    ),
    "h_tts_weights": (
        "Where the offline voice's model is, checked; and one copy of it for several environments.",
        "离线声音的模型在哪里，是否完好；也可存一份供多个环境共用。",
    ),
    "h_config": ("The configuration file: check, show, schema.", "配置文件：检查、显示、模式。"),
    "h_county": (
        "County packs: townships, villages, boundary, terminals of a county.",
        "县包：一个县的乡镇、村、县界和终端。",
    ),
    "h_county_new": (
        "Build the pack of any county from the national list, with a list of what the county must supply.",
        "从全国清单生成任何一个县的县包，并列出本县还须提供的资料。",
    ),
    "h_county_check": (
        "What is wrong, doubtful or missing in a county pack, with file and line. Exit code 3 for an error.",
        "检查县包：错误、疑点和缺项，注明文件和行号。有错误时退出 3。",
    ),
    "h_county_import": (
        "Take the county's own files into its pack: CSV, GeoJSON or Shapefile. All or nothing. "
        "Positions that contradict the declared datum, or lie outside the county, are refused with numbers.",
        "把本县自己的资料导入县包：CSV、GeoJSON 或 Shapefile。要么全部导入，要么不动。"
        "坐标与所声明的坐标系不符、或落在县界之外的，列出数字并拒绝。",
    ),
    "h_keys": ("Signing keys.", "签名密钥。"),
    "h_operator": ("People who may use this program.", "值班员账号。"),
    "h_send_actual": (
        "Send a REAL warning: from FILE, or composed with --template and --area. Prints the ids of the alert "
        "and of the broadcast.",
        "发布实警：来自 FILE，或用 --template 和 --area 拟稿。输出预警编号和播发编号。",
    ),
    "h_send_exercise": (
        "Send an EXERCISE. Prints the ids of the alert and of the broadcast.",
        "发布演练。输出预警编号和播发编号。",
    ),
    "h_send_test": (
        "Send a TEST. Prints the ids of the alert and of the broadcast.",
        "发布测试。输出预警编号和播发编号。",
    ),
    "h_preview_actual": (
        "Who would hear it and what would be said, as text and with --out as sound. Sends nothing.",
        "谁会听到、会播什么，文字显示，--out 存成声音。不发布。",
    ),
    "h_preview_exercise": (
        "The same for an exercise. Sends nothing.",
        "演练的预览：谁会听到、会播什么。不发布。",
    ),
    "h_preview_test": (
        "The same for a test. Sends nothing.",
        "测试的预览：谁会听到、会播什么。不发布。",
    ),
    "h_approve": ("Release a warning that is held.", "核准待审的预警，立即播发。"),
    "h_reject": ("End a hold without a sound.", "驳回待审的预警，不播发。"),
    "h_cancel": (
        "Stop a warning, drop what is queued, and air the all-clear only where it had sounded.",
        "解除预警：停播，撤下排队的，只在响过的地方播解除。",
    ),
    "h_alert_list": ("Warnings, newest first.", "预警列表，新的在前。"),
    "h_alert_show": (
        "One warning: what it is, who decided, who hears it.",
        "一条预警的详情：内容、谁审的、谁会听到。",
    ),
    "h_alert_watch": (
        "Follow what waits for a decision; the bell rings until it is answered.",
        "盯住待审的预警；有待审的就响铃，直到有人处理。",
    ),
    "h_lint": (
        "Read a warning file as a feed would, without a controller. Exit code 0 if it would be taken in, "
        "whatever was noted; 6 if it would be refused.",
        "离线检查预警文件。能收就退出 0（有提示也算），会被拒收则退出 6。",
    ),
    "h_watch": (
        "Follow a broadcast live to its end, then the summary.",
        "实时跟踪一次播发到结束，然后显示汇总。",
    ),
    "h_broadcast_show": ("The summary of a broadcast as of now.", "一次播发目前的汇总。"),
    "h_broadcast_why": (
        "What is known of one terminal's part of a broadcast, fact by fact, with times.",
        "一台终端在一次播发中的全部事实，逐条带时间。",
    ),
    "h_alert_why": (
        "Which broadcasts came of a warning, where nothing of it has sounded, and why.",
        "一条预警产生了哪些播发，哪里一点都没响，为什么。",
    ),
    "h_broadcast_list": ("Broadcasts, newest first.", "播发列表，新的在前。"),
    "h_siren": (
        "Sound a siren of civil defence, as an exercise; only where the configuration permits it (sirens:).",
        "试鸣防空警报（演练）；须在配置 sirens: 中获准。",
    ),
    "a_siren": (
        "prepare, raid, clear or disaster",
        "prepare（预先）、raid（空袭）、clear（解除）、disaster（灾情）",
    ),
    "o_siren_place": ("A township or village; repeat for more.", "乡镇或村，可重复。"),
    "siren_shown": ("{pattern}, once, in {places}", "{pattern}，一遍，范围：{places}"),
    "siren_prepare": ("prepare (预先警报)", "预先警报"),
    "siren_raid": ("air raid (空袭警报)", "空袭警报"),
    "siren_clear": ("all clear (解除警报)", "解除警报"),
    "siren_disaster": ("disaster (灾情警报)", "灾情警报"),
    "h_air": (
        "Air a broadcast that waits because no voice says it right. Instead: stop it and send it anew.",
        "照样播出因语音核对不符而等待的播发。否则：停止它，重新发送。",
    ),
    "h_stop": (
        "Silence a broadcast now, without an all-clear.",
        "立即静音一次播发，不播解除。",
    ),
    "h_terminal_list": ("Loudspeakers, or those of one place.", "终端列表，可只看一处的。"),
    "h_terminal_show": ("One loudspeaker and its health.", "一台终端及其状况。"),
    "h_terminal_export": (
        "The register as CSV; an import of it changes nothing.",
        "导出登记表（CSV），原样导入不会有任何改动。",
    ),
    "h_terminal_retire": (
        "Take a loudspeaker down for good: never addressed again, kept in the history.",
        "永久停用一台终端：不再播发，保留记录。",
    ),
    "h_terminal_replace": (
        "A new board in the place of a broken one; prints its enrolment code.",
        "用新终端换下坏的，并给出入网码。",
    ),
    "h_terminal_retired": ("Loudspeakers that were taken down.", "已停用的终端。"),
    "h_readiness": (
        "Which loudspeakers would sound now, worst first; with a township, every one there.",
        "哪些终端现在能响，最差的在前；给出乡镇则逐台列出。",
    ),
    "h_terminal_tests": (
        "Tests that run by themselves: when, what became of the last, when next.",
        "定期测试：时间、上次结果、下次时间。",
    ),
    "h_terminal_import": (
        "Register loudspeakers from a CSV file, all rows or none. Columns: {columns} (the last two may be "
        "missing); several languages or codecs separated by blanks or ';'.",
        "从 CSV 文件登记终端，全部成功或一台也不登记。列：{columns}（最后两列可以没有）；"
        "多种语言或编码用空格或“;”分开。",
    ),
    "h_enrol": (
        "A fresh single-use enrolment code for each loudspeaker, valid 24 hours, shown once.",
        "给每台终端一个新的一次性入网码，24 小时有效，只显示一次。",
    ),
    "h_fleet": (
        "Simulated loudspeakers that speak the real protocol, until Ctrl-C.",
        "用真实协议的模拟终端群，Ctrl-C 结束。",
    ),
    "h_feeds": (
        "Simulated sources of warnings on this machine, with faults if wanted, until Ctrl-C. Prints them "
        "as feeds for a county.yaml.",
        "在本机模拟各种预警来源，可带故障，Ctrl-C 结束。按 county.yaml 的写法输出各来源。",
    ),
    "h_feed_list": (
        "Every source: how far it is trusted, when it was last heard, whether it is stale or in trouble.",
        "全部来源：可信程度、最后联系时间、是否停更或故障。",
    ),
    "h_feed_test": (
        "Ask a source once, as configured, and take nothing in: is it reached, whose certificate does it "
        "show, what does it list, what would each document be. Exit code 1: not reached; 5: not all of it "
        "can be read.",
        "按配置访问一次来源，什么也不收：能否连上、证书是谁的、列出了什么、每份文件会被当成什么。"
        "退出码 1：连不上；5：有的文件读不了。",
    ),
    "h_feed_tail": (
        "Documents as they come, and what became of each, until Ctrl-C.",
        "来一份显示一份，并说明如何处理，Ctrl-C 结束。",
    ),
    "h_feed_replay": (
        "What would be decided today of documents that came before (--since), or of files, and why. Sends "
        "nothing and stores nothing. Each document is judged as if it came at its own time.",
        "以前收到的文件（--since）或指定文件，今天会如何处理、为什么。不播出，也不入库。"
        "每份文件按它自己的时间来判断。",
    ),
    "h_config_check": (
        "Check the file; every problem with its line and what to do.",
        "检查配置文件；逐条列出问题、行号和办法。",
    ),
    "h_config_show": (
        "The effective configuration, defaults filled in. It holds no secret.",
        "实际生效的配置，含默认值；不含机密。",
    ),
    "h_config_schema": ("JSON Schema of the configuration, for editors.", "配置的 JSON Schema，供编辑器用。"),
    "h_broker": (
        "The broker's files, made from the register.",
        "消息服务器（broker）的配置文件，由终端登记生成。",
    ),
    "h_broker_config": (
        "Write mosquitto.conf, its ACL, certificates and passwords for the terminals that are enrolled.",
        "按已入网终端生成 mosquitto.conf、访问控制、证书与口令文件。",
    ),
    "h_broker_revoke": (
        "Take back every certificate of a terminal; `broker config` then puts it on mosquitto's list.",
        "吊销某终端的全部证书；再执行 broker config 后 mosquitto 生效。",
    ),
    "o_broker_out": ("Folder for the files.", "输出文件夹。"),
    "o_broker_check": (
        "Write nothing; say what differs, exit 1 if anything does.",
        "不写入，只列出差异；有差异时退出码 1。",
    ),
    "broker_missing": ("is missing", "缺少"),
    "broker_other": ("is not as the register has it", "与登记不符"),
    "broker_open": ("can be read by others", "他人可读"),
    "broker_written": (
        "Written to {folder}. Give server.key and passwd to mosquitto's group; systemctl restart mosquitto",
        "已写入 {folder}。请把 server.key、passwd 的属组改为 mosquitto，然后：systemctl restart mosquitto",
    ),
    "broker_same": ("{folder} is up to date.", "{folder} 已是最新。"),
    "broker_no_login": (
        "broker.terminals_login is not set; say certificate or password, and terminals_url",
        "没有设置 broker.terminals_login；请写 certificate 或 password，并写 terminals_url",
    ),
    "broker_no_password": (
        "terminals_login: password needs broker.username and password_file for the controller itself",
        "terminals_login: password 时，控制端自己也要有 broker.username 和 password_file",
    ),
    "broker_no_register": (
        "no register in {file}; start the controller once",
        "{file} 不存在；请先启动一次控制端",
    ),
    "broker_nothing_to_revoke": (
        "{terminal} has no certificate that is still good.",
        "{terminal} 没有有效的证书。",
    ),
    "broker_revoked": (
        "{count} certificates of {terminal} revoked. Now: fenghuo broker config, systemctl restart mosquitto",
        "已吊销 {terminal} 的 {count} 张证书。接着执行：fenghuo broker config、systemctl restart mosquitto",
    ),
    "h_keys_new": (
        "Make the signing keys, the root key and the county secret, once. Never overwrites; a folder of an "
        "older version gets the root key it lacks.",
        "一次性生成签名密钥、根密钥与县密钥。从不覆盖；旧版文件夹会补上缺少的根密钥。",
    ),
    "h_keys_show": (
        "The keys that terminals believe, without their private halves.",
        "列出终端所信任的密钥（不含私钥）。",
    ),
    "h_keys_rotate": (
        "A new key of one role; the one before is believed for some days more. Needs the root key.",
        "更换某一类密钥；旧密钥继续有效若干天。需要根密钥。",
    ),
    "h_keys_revoke": (
        "A stolen key is believed no more, at once; what it began falls silent. Needs the root key.",
        "立即废除被盗的密钥，由它发起的播出随即停止。需要根密钥。",
    ),
    "h_keys_ring": (
        "Which terminals hold the latest keys, and which keys seal now.",
        "哪些终端已有最新密钥，现在用哪些密钥签发。",
    ),
    "h_keys_passwd": ("Change the passphrase of all key files.", "更换全部密钥文件的口令。"),
    "h_keys_ca": (
        "The county's own certificate authority, and the certificates of broker and controller.",
        "本县自己的证书机构，以及消息服务器和控制端的证书。",
    ),
    "o_passphrase_file": ("File with the passphrase, mode 0600.", "口令文件，权限 0600。"),
    "o_new_passphrase_file": ("File with the new passphrase, mode 0600.", "新口令文件，权限 0600。"),
    "o_no_passphrase": (
        "Do not encrypt: whoever can read the disk or a backup can make the county sound.",
        "不加密：谁能读到磁盘或备份，谁就能让全县响起来。",
    ),
    "o_root": ("The root key, where it is kept elsewhere.", "根密钥文件（另外保管时）。"),
    "o_root_passphrase_file": ("Its passphrase, if it has its own.", "根密钥单独的口令文件。"),
    "o_overlap": ("How long the older key is still believed.", "旧密钥继续有效的天数。"),
    "o_ca_host": (
        "Name or address at which broker is reached; again for more. By default those of the configuration.",
        "连接消息服务器所用的主机名或地址，可多次；默认取自配置。",
    ),
    "o_ca_renew": ("New certificates of the authority that is there.", "用已有的证书机构重新签发。"),
    "a_role": ("actual, exercise, test or service.", "actual、exercise、test 或 service。"),
    "a_key_id": ("Id of the key, as `keys show` has it.", "密钥编号，见 keys show。"),
    "c_version": ("version", "版本"),
    "c_holding": ("held by", "已持有"),
    "c_waiting": ("not yet", "尚未"),
    "c_ahead": ("newer than ours", "比本机新"),
    "c_sealing": ("sealing", "签发用"),
    "c_problem": ("problem", "问题"),
    "ring_holding": ("{holding} of {enrolled}", "{enrolled} 台中的 {holding} 台"),
    "keys_root": (
        "{file} is needed only to change keys. Move it away from this machine, into a safe.",
        "{file} 只在更换密钥时需要。请移出本机，锁进保险柜。",
    ),
    "keys_rotated": (
        "Ring {version}. The older key is believed for {days} days more; `fenghuo keys ring` shows who has "
        "the new one. Send standing messages anew.",
        "密钥环第 {version} 版。旧密钥再有效 {days} 天；"
        "用 fenghuo keys ring 看哪些终端已更新。常备消息需重新下发。",
    ),
    "keys_revoked": (
        "Ring {version} no longer names {key}. `fenghuo keys ring` shows which terminals know it.",
        "密钥环第 {version} 版不再包含 {key}。用 fenghuo keys ring 看哪些终端已知道。",
    ),
    "keys_sealed": (
        "{files} key files in {folder} have the new passphrase.",
        "{folder} 中 {files} 个密钥文件已换新口令。",
    ),
    "keys_open": (
        "{files} key files in {folder} are NOT encrypted.",
        "{folder} 中 {files} 个密钥文件未加密。",
    ),
    "ca_made": ("In {folder}. Next: fenghuo broker config", "在 {folder}。下一步：fenghuo broker config"),
    "role_actual": ("actual", "实警密钥"),
    "role_exercise": ("exercise", "演练密钥"),
    "role_test": ("test", "测试密钥"),
    "role_service": ("service", "维护密钥"),
    "role_root": ("root", "根密钥"),
    "key_until": ("until {at}", "有效到 {at}"),
    "passphrase_ask": ("Passphrase of the keys: ", "密钥口令："),
    "passphrase_new": ("New passphrase: ", "新口令："),
    "passphrase_again": ("Again: ", "再输一次："),
    "passphrase_differs": ("The two are not the same.", "两次输入不一致。"),
    "passphrase_missing": (
        "A passphrase is needed: --passphrase-file FILE, or --no-passphrase where the command offers it.",
        "需要口令：--passphrase-file FILE；命令允许时也可用 --no-passphrase。",
    ),
    "passphrase_empty": ("An empty passphrase is none.", "口令不能为空。"),
    "root_missing": (
        "--root-passphrase-file goes with --root.",
        "--root-passphrase-file 要和 --root 一起用。",
    ),
    "dt_certificates": ("none ends within {days} days", "{days} 天内没有证书到期"),
    "d_certificates": ("certificates", "证书"),
    "h_operator_new": (
        "A token for a person: the line for county.yaml on stdout, the token once on the terminal or into a "
        "file.",
        "给一个人发令牌：标准输出是写进 county.yaml 的一行；令牌只在屏幕上显示一次或写入文件。",
    ),
    "h_status": ("The desk at a glance.", "值守概况。"),
    "h_audit": ("Who did what, newest first.", "谁做了什么，新的在前。"),
    "h_doctor": (
        "What is missing on this machine, and the command that mends it.",
        "这台机器缺什么，用什么命令补上。",
    ),
    "h_demo": (
        "One warning through a simulated county, visibly: nothing to set up.",
        "演示：一条预警走遍一个模拟的县，无需准备。",
    ),
    "exit_codes": (
        "Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 service not reachable, 5 partly "
        "delivered, 6 refused.",
        "退出码：0 完成，1 失败，2 用法，3 配置，4 连不上服务，5 部分送达，6 被拒绝。",
    ),
    "help_usage": ("Usage: ", "用法："),
    "help_options": ("Options", "选项"),
    "help_arguments": ("Arguments", "参数"),
    "help_commands": ("Commands", "命令"),
    "see_help": ("See: {command} --help", "帮助：{command} --help"),
    # --- arguments and options
    "o_json": ("Data as JSON on stdout, errors as JSON on stderr.", "以 JSON 输出数据和错误。"),
    "o_yes": ("Do it without asking.", "不询问，直接执行。"),
    "o_dry_run": ("Show what would happen and do nothing.", "只显示会发生什么，不执行。"),
    "o_wait": (
        "Follow it to its end: exit code 0 when all played, 5 when not.",
        "跟踪到结束：全部播出退出 0，否则退出 5。",
    ),
    "o_config": (
        "The county's configuration, county.yaml. Else FENGHUO_CONFIG.",
        "本县的配置文件 county.yaml。其次 FENGHUO_CONFIG。",
    ),
    "o_url": (
        "The controller: unix:/PATH or http://127.0.0.1:PORT. Else FENGHUO_URL, else listen.api of --config.",
        "服务地址：unix:/路径 或 http://127.0.0.1:端口。其次 FENGHUO_URL，再次 --config 的 listen.api。",
    ),
    "o_find_config": (
        "county.yaml, to find the controller. Else FENGHUO_CONFIG, else unix:./state/api.sock.",
        "用 county.yaml 找服务。其次 FENGHUO_CONFIG，再次 unix:./state/api.sock。",
    ),
    "o_token_file": (
        "Your token, mode 0600. Else FENGHUO_TOKEN, FENGHUO_TOKEN_FILE, ~/.config/fenghuo/token.",
        "你的令牌文件，权限 0600。其次 FENGHUO_TOKEN、FENGHUO_TOKEN_FILE、~/.config/fenghuo/token。",
    ),
    "o_version": ("Show the version.", "显示版本。"),
    "o_lang": (
        "Language of help and messages, before the command; else the locale decides.",
        "帮助和消息的语言，写在命令之前；否则按系统语言。",
    ),
    "o_sandbox": (
        "Throw-away keys, simulated terminals only; no real loudspeaker obeys.",
        "沙盒：一次性密钥，只接受模拟终端，真喇叭不会响。",
    ),
    "o_template": (
        "Compose from the template of this hazard, e.g. rainstorm.",
        "按灾种模板拟稿，如 rainstorm（暴雨）。",
    ),
    "o_colour": ("Signal colour.", "预警颜色。"),
    "o_area": (
        "A township, a village, or a code of 6, 9 or 12 digits; may be repeated.",
        "乡镇、村，或 6、9、12 位区划代码；可重复。",
    ),
    "o_text": ("What is happening, in your words.", "正在发生什么。"),
    "o_action": ("What to do; the template's own when absent.", "要群众怎么做；不写则用模板里的。"),
    "o_valid": ("Minutes it is valid; the hazard's usual when absent.", "有效分钟数；不写则按灾种惯例。"),
    "o_codes": (
        "Which national list the codes are from: mca (civil affairs) or nbs (statistics).",
        "代码出自哪一套：mca（民政部）或 nbs（国家统计局）。",
    ),
    "a_text": ("What to say.", "要说的话。"),
    "h_tts_compare": (
        "Speak a text with several voices and for several loudspeakers, as files, with a picture of their "
        "waveforms and spectrograms (compare.png). Sends nothing.",
        "用几种声音、几类扬声器合成同一段文字，各存一个文件，并画出波形和频谱图（compare.png）。不发送。",
    ),
    "h_tts_preview": (
        "Make a warning's sound as it would be aired, from the same library: the lead first, which can be "
        "heard while the whole is made. Sends nothing.",
        "按实际播出的做法合成一条预警，用同一个声音库：先出要点，边听边做全文。不发送。",
    ),
    "h_tts_prepare": (
        "Speak ahead the leads (what, where, what to do) of all likely messages of the county; can be "
        "interrupted at any time and goes on there. Run it as the service's user; the controller may be "
        "running.",
        "把本县可能要播的预警要点（什么、哪里、怎么办）提前合成好；随时可以中断，再运行就接着做。"
        "请用服务的用户运行，控制器可以同时开着。",
    ),
    "o_voice": (
        "Voice: zm_yunjian, zf_xiaobei, edge:NAME, or one of the configuration.",
        "声音：zm_yunjian、zf_xiaobei、edge:名称，或配置里的一种。",
    ),
    "o_speaker": ("Class of loudspeaker that it is shaped for.", "为哪类扬声器调音。"),
    "o_codec": (
        "mp3 is what every loudspeaker plays; opus needs an extra; wav is for listening here.",
        "mp3 每台终端都能播；opus 要另装组件；wav 供在本机听。",
    ),
    "o_out_folder": ("Folder for the files; must exist.", "存放文件的文件夹，必须已有。"),
    "o_text_language": ("Language of the text.", "文字的语言。"),
    "o_languages": ("Languages in the order heard; repeat the option.", "按播出顺序的语言，可重复。"),
    "o_hazard": ("Key of the hazard, such as rainstorm.", "灾种代号，例如 rainstorm。"),
    "o_said_place": ("A place as it is said; repeat the option.", "播出的地名，可重复。"),
    "o_stage": ("First message, update, continuation or cancel.", "首次、更新、继续或解除。"),
    "o_kind": ("Actual, exercise or test: which words and signal.", "真实、演练或测试：决定用词和提示音。"),
    "o_play": ("Play it on this machine (needs PyAudio).", "在本机播放（需要 PyAudio）。"),
    "o_prepare_hazard": ("Only these hazards; repeat the option.", "只做这些灾种，可重复。"),
    "o_prepare_colour": ("Only these colours; repeat the option.", "只做这些颜色，可重复。"),
    "o_prepare_stage": ("Only these stages; repeat the option.", "只做这些阶段，可重复。"),
    "o_prepare_most": ("At most so many, the most important first.", "最多做这么多条，最要紧的先做。"),
    "o_prepare_check": (
        "Let the recogniser (extra `check`) listen to every clip, and tell what it heard otherwise.",
        "让识别器（附加组件 check）听每一条，听出来不一样的会报告。",
    ),
    "o_prepare_dry": (
        "Make nothing: how many, how long, how large, estimated.",
        "不合成，只估算有多少条、多长、多大。",
    ),
    "no_such_voice": ("There is no voice {voice} for {language}.", "{language} 没有 {voice} 这种声音。"),
    "check_going": (
        "Speaking and listening: {count} sentences, some seconds each …",
        "正在合成并试听 {count} 句，每句几秒……",
    ),
    "no_siren_here": (
        "{signal} is a civil-defence siren: only an exercise may carry it.",
        "{signal} 是防空警报音，只有演练可以使用。",
    ),
    "no_pyaudio": (
        "PyAudio is not installed (the extra `terminal`): play the file with any player.",
        "没有安装 PyAudio（附加组件 terminal）：请用其他播放器播放文件。",
    ),
    "no_loudspeaker": (
        "This machine has no loudspeaker that works: {why}. Play the file elsewhere.",
        "本机没有能用的扬声器：{why}。请在别处播放文件。",
    ),
    "previewed": (
        "{part}: {seconds} s long, ready after {ready} s",
        "{part}：长 {seconds} 秒，{ready} 秒后做好",
    ),
    "prepare_stage": ("unknown stage {given}; there are: {known}", "没有阶段 {given}；有：{known}"),
    "prepare_nothing": ("There is nothing to make.", "没有要做的。"),
    "prepare_gives_up": ("Too many failed; it stops here:", "失败太多，到此为止："),
    "prepare_going": (
        "{done} of {total} ({known} were there); about {left} minutes left",
        "{done}/{total}（已有 {known}）；大约还要 {left} 分钟",
    ),
    "prepared": (
        "{messages} of {wanted} messages, {minutes} minutes, {megabytes} MB; {known} were there, {failed} "
        "failed; took {took_s} s",
        "{wanted} 条中 {messages} 条，{minutes} 分钟，{megabytes} MB；原有 {known}，失败 {failed}；"
        "用时 {took_s} 秒",
    ),
    "prepare_would": (
        "{messages} messages, about {minutes} minutes and {megabytes} MB (estimated)",
        "{messages} 条，约 {minutes} 分钟、{megabytes} MB（估算）",
    ),
    "prepare_unheard": ("{text}: nobody could listen to it", "{text}：没能听一遍核对"),
    "prepare_over_budget": (
        "The library ({library_megabytes} MB) would exceed voice.library_mb ({budget_megabytes}): raise it, "
        "or what is used least goes again.",
        "声音库（{library_megabytes} MB）会超过 voice.library_mb（{budget_megabytes}）：请调大，"
        "否则最少用的会被删掉。",
    ),
    "c_file": ("file", "文件"),
    "c_seconds": ("seconds", "秒"),
    "o_voice_speed": ("1 is its own pace, less is slower.", "1 为原速，越小越慢。"),
    "o_signal": ("The attention signal before the words.", "话前的提示音。"),
    "c_voice": ("voice", "声音"),
    "c_language": ("language", "语言"),
    "c_where": ("where", "位置"),
    "c_approved": ("approved", "批准"),
    "voice_offline": ("on this machine", "本机"),
    "voice_online": ("online", "联网"),
    "voice_recorded": ("recordings", "录音"),
    "c_not_now": ("why not now", "现在不能用的原因"),
    "o_share_weights": (
        "Also put it into the shared folder (FENGHUO_WEIGHTS, or the user's cache).",
        "同时存入共用文件夹（FENGHUO_WEIGHTS，默认在用户缓存里）。",
    ),
    "from_packages": ("the packages of this environment", "本环境的软件包"),
    "weights_at": (
        "{megabytes} MB, whole, from {place}; sha256 {sha256}",
        "{megabytes} MB，完好，来自{place}；sha256 {sha256}",
    ),
    "weights_shared": ("for all environments: {file}", "各环境共用：{file}"),
    "tts_said": (
        "{seconds} s, {lufs} LUFS, {dbtp} dBTP, voice {voice}: {file}",
        "{seconds} 秒，{lufs} LUFS，{dbtp} dBTP，声音 {voice}：{file}",
    ),
    "o_out": ("Write the sound there.", "把声音存到这个文件。"),
    "o_reason_reject": ("Why; goes into the log.", "理由，记入日志。"),
    "o_reason_cancel": ("Why; goes into the log.", "理由，记入日志。"),
    "o_state": ("Only those in this state.", "只看这一状态的。"),
    "o_limit": ("At most so many.", "最多多少条。"),
    "o_register_out": ("Write the CSV to this file.", "把 CSV 写入此文件。"),
    "o_why_retired": ("Why, for the log.", "原因，记入日志。"),
    "a_new_terminal": ("Id of the new board.", "新终端的编号。"),
    "o_village": ("A township, a village, or a code.", "乡镇、村或代码。"),
    "o_elsewhere": (
        "Do not check the files that it names on this machine.",
        "不检查它在本机引用的文件。",
    ),
    "o_new_token_file": (
        "Write the token there (mode 0600) instead of showing it.",
        "把令牌写入此文件（权限 0600），不显示。",
    ),
    "o_subject": (
        "Only what concerns this alert, broadcast or terminal.",
        "只看与此预警、播发或终端有关的。",
    ),
    "o_format_lint": (
        "The format, as in the feed's configuration; XML says itself what it is.",
        "格式，同预警源配置里的；XML 自己会说明。",
    ),
    "o_certificate_lint": (
        "Demand a signature by this certificate, or by one that it issued. May be repeated.",
        "要求由此证书或它签发的证书签名；可重复。",
    ),
    "o_county_lint": ("Also say who would hear it in this county pack.", "并说明在此县包里谁会听到。"),
    "o_county": ("County pack: a shipped name or a folder.", "县包：自带的名称或文件夹。"),
    "o_pack_out": ("The new folder; else the county's name in pinyin.", "新文件夹；默认用县名拼音。"),
    "o_pack_key": (
        "The county's internal key, for ever: lowercase letters, digits and '-'. Else its name in pinyin.",
        "本县的内部代号，定下后不再改：小写字母、数字和“-”。默认用县名拼音。",
    ),
    "o_villages": (
        "Villages: name, township or 12-digit code, position, population.",
        "村：名称、乡镇或 12 位代码、坐标、人口。",
    ),
    "o_terminals_file": (
        "Terminals: name, village (with its township) or 12-digit code, position.",
        "终端：名称、所在村（和乡镇）或 12 位代码、坐标。",
    ),
    "o_townships": (
        "Seats of townships: name, position; a new township with its code as mca9 or nbs9.",
        "乡镇驻地：名称、坐标；新增乡镇须有 mca9 或 nbs9 代码列。",
    ),
    "o_boundary": ("The county's outline, a polygon.", "县界（面）。"),
    "o_datum": (
        "What the positions in the files are in. Map services of China give gcj02, satellite receivers "
        "wgs84, surveys cgcs2000.",
        "文件里坐标的坐标系。国内地图服务为 gcj02，卫星定位设备为 wgs84，测绘成果为 cgcs2000。",
    ),
    "o_column": (
        "Which column of the files it is, where its name does not say so: lat=Y坐标. May be repeated.",
        "列名看不出含义时指定：lat=Y坐标。可重复。",
    ),
    "o_anyway": (
        "Take what contradicts what is known (datum, outline) all the same; SOURCES.md records it.",
        "明知与已知情况（坐标系、县界）不符仍然导入；SOURCES.md 留记录。",
    ),
    "o_terminals": ("How many.", "多少台。"),
    "speed_is_sandbox": (
        "--speed goes with --sandbox only: real loudspeakers play in real time",
        "--speed 只能与 --sandbox 一起用：真实终端按实际时间播放",
    ),
    "o_serve_speed": (
        "With --sandbox: its loudspeakers play so many times faster.",
        "与 --sandbox 一起用：沙盒终端播放加快多少倍。",
    ),
    "o_speed": ("Playing time runs so many times faster.", "播放时间加快多少倍。"),
    "o_audio": (
        "fetch: each loads its sound; shared: one copy for all.",
        "fetch：各自下载声音；shared：共用一份。",
    ),
    "o_demo_out": ("Folder for the sound, the report and the log.", "存放声音、报告和日志的文件夹。"),
    "o_keep": (
        "Keep the controller's state (database, clips) in the folder as well.",
        "把服务的状态（数据库、声音）也留在该文件夹。",
    ),
    "o_document": ("Which of the two shipped warnings comes.", "用自带的哪一份预警。"),
    "o_scenario": ("Which terminals are faulty, and how; e.g. demo.", "哪些终端有故障、什么故障；如 demo。"),
    "a_feed": ("Name of the feed in county.yaml.", "county.yaml 里的来源名称。"),
    "a_feed_or_all": ("Name of the feed; all of them if left out.", "来源名称；不给则全部。"),
    "a_replay": (
        "A warning, a folder of warnings, or a record of warnings (.jsonl, .jsonl.gz).",
        "一份预警、一个装预警的文件夹，或一份预警记录（.jsonl、.jsonl.gz）。",
    ),
    "o_feed_seconds": ("Give up after so many seconds.", "最多等这么多秒。"),
    "o_last": ("Begin with so many that came before.", "先显示最近这么多份。"),
    "o_once": ("Show those, and do not wait for more.", "只显示这些，不再等待。"),
    "o_since": (
        "What the journal holds since then: 2h, 7d, or a time such as 2026-07-14T08:00.",
        "从什么时候起的记录：2h、7d，或时间，如 2026-07-14T08:00。",
    ),
    "o_feed_as": (
        "Only this feed's documents; files are read and decided as if this feed had brought them.",
        "只看这个来源的；文件则当作由这个来源送来。",
    ),
    "o_replay_now": (
        "Judge each as if it came now, instead of at its own time.",
        "当作现在才收到，而不是按它自己的时间。",
    ),
    "o_within": (
        "Of a record, only division codes that begin so; if left out, those of the county, its prefecture "
        "and its province.",
        "记录里只要以此开头的行政区划代码；不给则取本县、所在市州和省发的。",
    ),
    "o_story": (
        "What the sources tell: five-sources, bad-day, a scenario of your own (YAML), or a record of "
        "warnings (.jsonl or .jsonl.gz).",
        "来源讲什么：five-sources、bad-day、自己的剧本（YAML），或预警记录（.jsonl、.jsonl.gz）。",
    ),
    "o_story_speed": ("How much faster than real time the story runs.", "比实时快多少倍。"),
    "o_seed": (
        "Which requests and messages the faults strike; the scenario's own if left out.",
        "故障落在哪些请求和消息上；不给则用剧本自己的。",
    ),
    "a_warning_file": ("A warning: CAP 1.2 or the national format.", "预警文件：CAP 1.2 或国突格式。"),
    "a_lint_file": (
        "A warning or an index of them: CAP, the national format, Atom, RSS, EDXL-DE.",
        "预警文件或其列表：CAP、国突、Atom、RSS、EDXL-DE。",
    ),
    "a_alert": ("Id of the alert, A…", "预警编号 A…"),
    "a_set": ("Id of the set, s-…", "预置组编号 s-…"),
    "a_broadcast_or_all": ("Id of the broadcast, B…; or --all.", "播发编号 B…；或 --all。"),
    "o_stop_all": (
        "Everything that sounds, waits or is being voiced.",
        "全部：正在播、等待播和正在合成的。",
    ),
    "o_stop_reason": ("Why, for the log.", "原因，记入日志。"),
    "o_stage_alert": ("Id of the warning, A…", "预警编号 A…"),
    "a_broadcast": ("Id of the broadcast, B…", "播发编号 B…"),
    "a_terminal": ("Id of the loudspeaker.", "终端编号。"),
    "a_terminals": ("Ids of the loudspeakers.", "终端编号。"),
    "a_csv": ("The CSV file, UTF-8.", "CSV 文件，UTF-8。"),
    "a_config": (
        "The county's configuration, county.yaml. Else FENGHUO_CONFIG.",
        "本县的配置文件 county.yaml。其次 FENGHUO_CONFIG。",
    ),
    "a_pack": ("Folder of a county pack.", "县包文件夹。"),
    "a_county": (
        "Its six digits or its name (朝阳区 needs 北京市朝阳区).",
        "六位代码或名称（如 北京市朝阳区）。",
    ),
    "a_operator": ("The person's name, as the log will show it.", "姓名，日志里会显示。"),
    # --- kinds and colours
    "kind_actual": ("ACTUAL", "实警"),
    "kind_exercise": ("EXERCISE", "演练"),
    "kind_test": ("TEST", "测试"),
    "kind_actual_means": ("REAL WARNING", "真实预警"),
    "kind_exercise_means": ("not real", "不是真的"),
    "kind_siren": ("SIREN", "警报"),
    "kind_siren_means": ("A SIREN OF CIVIL DEFENCE, as an exercise", "防空警报试鸣（演练）"),
    "kind_test_means": ("not real", "不是真的"),
    "colour_red": ("red", "红色"),
    "colour_orange": ("orange", "橙色"),
    "colour_yellow": ("yellow", "黄色"),
    "colour_blue": ("blue", "蓝色"),
    "colour_none": ("no colour", "无颜色"),
    # --- asking first
    "deed_send": ("The loudspeakers below will sound.", "以下地方的喇叭将会响。"),
    "deed_approve": ("Approve {id}: the loudspeakers below will sound.", "核准 {id}：以下地方的喇叭将会响。"),
    "deed_cancel": (
        "Cancel {id}: it is stopped, and the all-clear airs where it had sounded.",
        "解除 {id}：停播，响过的地方播解除。",
    ),
    "deed_air": (
        "Air {id} although its sound is doubted: {doubt}",
        "照样播出 {id}，尽管语音核对存疑：{doubt}",
    ),
    "deed_stop": (
        "Stop {id}: the loudspeakers below fall silent, without an all-clear.",
        "停止 {id}：以下喇叭静音，不播解除。",
    ),
    "deed_nothing": ("Preview: nothing is sent.", "预览：不发布。"),
    "more_silent": ("and {count} more ({all} in all)", "还有 {count} 个村（共 {all} 个）"),
    "more_why": ("… {count} more", "……还有 {count} 条"),
    "lead_first": (
        "The lead {lead} sounds first (what, where, what to do). The whole follows when it is voiced.",
        "先播先声 {lead}（何事、何地、怎么做）；全文合成好后接着播。",
    ),
    "preparing": (
        "Preparing the preview; the voice may need a minute …",
        "正在准备预览，合成语音可能要一分钟……",
    ),
    "type_word": ("To go on, type {word}:", "确认请输入“{word}”："),
    "not_confirmed": ("Not confirmed; nothing was done.", "未确认；什么也没做。"),
    "nobody_to_ask": (
        "This needs a confirmation and nobody is at a terminal: add --yes to do it, or --dry-run to see it.",
        "这一步要人确认，但这里不是终端：加 --yes 直接执行，或加 --dry-run 只看不做。",
    ),
    "f_headline": ("headline", "标题"),
    "f_hazard": ("hazard", "灾种"),
    "f_places": ("places", "地方"),
    "f_reach": ("reach", "范围"),
    "f_silent": ("nobody hears it in", "没有终端的村"),
    "f_text": ("text", "播文"),
    "f_text_unsaid": ("text, NOT SAID", "播文（未播出）"),
    "f_spoken": ("read aloud as", "读作"),
    "f_original": ("as it came", "原文"),
    "f_omitted": ("not said", "未播内容"),
    "f_play": ("played", "播放"),
    "f_expires": ("valid until", "有效至"),
    "f_why": ("why", "依据"),
    "f_notes": ("languages", "语言"),
    "f_doubt": ("sound in doubt", "语音核对存疑"),
    "f_problems": ("problems", "问题"),
    "f_audio": ("sound", "声音"),
    "reach": ("{villages} villages, {terminals} terminals", "{villages} 个村，{terminals} 台终端"),
    "play": ("{repeats} ×, volume {volume} %", "{repeats} 遍，音量 {volume} %"),
    "audio": ("{seconds} s, voice {voice}", "{seconds} 秒，语音 {voice}"),
    "no_audio": (
        "the voice could not speak it ({why}); the generic clip would go out",
        "语音合成失败（{why}）；将播放通用提示音",
    ),
    "v_doubt": ("Its sound is doubted: {doubt}", "语音核对存疑：{doubt}"),
    "v_waits": (
        "IT WAITS FOR YOU, and is aired as it is at {at}. "
        "Now: fenghuo broadcast air {id}; not at all: fenghuo broadcast stop {id}",
        "等待处理，{at} 将照样播出。立即播出：fenghuo broadcast air {id}；不播：fenghuo broadcast stop {id}",
    ),
    "v_aired_by": ("Aired all the same by {who}.", "由 {who} 决定照样播出。"),
    "v_generic": (
        "What sounds is the generic sentence: it says that there is a warning, not the text.",
        "播放的是通用语句：只说有预警，不含播文内容。",
    ),
    # --- what came of it
    "sent": (
        "Released as {alert}. Follow it with: fenghuo broadcast watch {broadcast}",
        "已发布 {alert}。跟踪：fenghuo broadcast watch {broadcast}",
    ),
    "not_out_yet": (
        "It is stored, and goes out as soon as this is over: {problems}",
        "已保存；以下问题解除后立即下发：{problems}",
    ),
    "refused": ("Refused; nothing was done:", "被拒绝，什么也没做："),
    "aired": ("{id} goes out now.", "{id} 现在播出。"),
    "not_waiting": ("{id} does not wait: it is {state}.", "{id} 没有在等待：{state}。"),
    "rejected": ("{alert} is rejected; nothing sounds.", "{alert} 已驳回，不播出。"),
    "cancelled": (
        "{alert} is cancelled; {stopped} broadcasts told to stop.",
        "{alert} 已解除；{stopped} 次播发已令停止。",
    ),
    "all_clear_airs": ("The all-clear airs where it had sounded.", "响过的地方播解除。"),
    "all_clear_not": ("It had sounded nowhere, so no all-clear airs.", "哪里都没响过，不播解除。"),
    "stopped": ("{id} is told to stop.", "已令 {id} 停止。"),
    "deed_stop_all": (
        "Stop everything: all loudspeakers of the county fall silent, without an all-clear.",
        "全部停止：全县喇叭静音，不播解除。",
    ),
    "stop_which": ("Name a broadcast, or give --all.", "请给出播发编号，或用 --all。"),
    "stop_all_none": ("Nothing sounds and nothing waits.", "没有正在播或等待播的。"),
    "stopped_all": ("{count} broadcasts are told to stop: {ids}", "已令 {count} 次播发停止：{ids}"),
    "stage_offered": ("{count} sets are offered to their terminals.", "已向终端下发 {count} 组预置。"),
    "stage_nothing": ("{alert} can become nothing worse.", "{alert} 没有更高等级可预置。"),
    "stage_dropped": (
        "{id} is dropped. {still} terminals held it and were told to forget it; who is away is told at its "
        "next hello. How many are left: fenghuo stage list",
        "{id} 已撤下。原来 {still} 台终端存有，已通知删除；离线的在下次上线时通知。"
        "剩余台数见：fenghuo stage list",
    ),
    "stage_trouble": ("{count} in trouble", "{count}台有问题"),
    "stage_see": ("Where and why: fenghuo stage show {id}", "在哪里、为什么：fenghuo stage show {id}"),
    "for_floor": ("generic sentences", "通用语句"),
    "for_quake": ("countdown", "地震倒计时"),
    "for_event": ("event {alert}", "事件 {alert}"),
    "for_quake_exercise": ("countdown, exercise", "地震倒计时（演练）"),
    "stage_gone": ("dropped: terminals that still hold it", "已撤下：仍存有的终端数"),
    "already_stopped": ("{id} was stopped already by {who}.", "{id} 已由 {who} 停止。"),
    "wrong_state": ("{id} is already {state} ({who}).", "{id} 已经是“{state}”（{who}）。"),
    "sound_written": ("Sound written to {file}.", "声音已存入 {file}。"),
    "lint_ok": ("{file} would be taken in.", "{file} 可以收。"),
    "lint_silent": (
        "{file} would be taken in and recorded, and would never sound: {why}.",
        "{file} 可以收，会记录，但绝不会响：{why}。",
    ),
    "lint_held": (
        "{file} would be taken in and held: part of it cannot be read.",
        "{file} 可以收，但有读不懂的部分，会待人审。",
    ),
    "no_format": ("There is no format {format}; there are {known}.", "没有格式 {format}；有：{known}。"),
    "no_certificate": ("A certificate cannot be read: {why}", "证书读不了：{why}"),
    "lint_refused": ("{file} would be refused:", "{file} 会被拒收："),
    "lint_area": ("In {county} it concerns {villages} villages:", "在{county}涉及 {villages} 个村："),
    "imported": (
        "{count} terminals registered: {new} new, {moved} moved, {changed} changed.",
        "已登记 {count} 台终端：新增 {new} 台，换村 {moved} 台，改动 {changed} 台。",
    ),
    "would_import": (
        "{count} terminals can be registered: {new} new, {moved} moved, {changed} changed. Nothing was done.",
        "可登记 {count} 台终端：新增 {new} 台，换村 {moved} 台，改动 {changed} 台。尚未登记。",
    ),
    "moved_enrol": (
        "Moved: {terminals}. They follow at their next hello (20 min); enrol them again where the position "
        "counts (earthquakes).",
        "已换村：{terminals}。下次上线（20 分钟内）生效；要按新位置倒计时地震，请重新入网。",
    ),
    "exported": ("{file}: the register.", "已导出登记表：{file}。"),
    "retired": ("{id} is retired: it is never addressed again.", "{id} 已停用，不再向它播发。"),
    "retire_shown": (
        "{id} ({name}, {place}) is taken down for good; its history stays.",
        "{id}（{name}，{place}）将永久停用，记录保留。",
    ),
    "replace_shown": (
        "{id} ({name}, {place}) is taken down for good, and {by} stands there instead.",
        "{id}（{name}，{place}）将永久停用，由 {by} 代替。",
    ),
    "type_id": ("Type {id} to go on:", "请输入 {id} 以继续："),
    "all_ready": ("Nothing is wrong with any of them.", "全部正常。"),
    "more_not_ready": (
        "{count} more are not ready; see one township: fenghuo terminal readiness TOWNSHIP",
        "还有 {count} 台有问题；请看某个乡镇：fenghuo terminal readiness 乡镇",
    ),
    "no_tests": (
        "No test runs by itself; see tests: in county.yaml.",
        "没有定期测试；请在 county.yaml 里设置 tests:。",
    ),
    "everywhere": ("everywhere", "全县"),
    "each_week": ("every {day}", "每{day}"),
    "each_month": ("day {day} of every month", "每月 {day} 日"),
    "day_mon": ("Monday", "周一"),
    "day_tue": ("Tuesday", "周二"),
    "day_wed": ("Wednesday", "周三"),
    "day_thu": ("Thursday", "周四"),
    "day_fri": ("Friday", "周五"),
    "day_sat": ("Saturday", "周六"),
    "day_sun": ("Sunday", "周日"),
    "g_ready": ("ready", "正常"),
    "g_doubtful": ("doubtful", "有疑问"),
    "g_dead": ("DEAD", "不能响"),
    "t_silent": ("silent", "静默"),
    "t_audible": ("audible", "有声"),
    "r_running": ("running", "进行中"),
    "r_postponed": ("postponed", "推迟"),
    "r_done": ("done", "完成"),
    "r_stopped": ("stopped", "被停止"),
    "r_missed": ("MISSED", "错过"),
    "nothing_imported": ("Nothing was registered.", "一台也没有登记。"),
    "codes_once": (
        "Shown once; each is valid 24 hours and for its own terminal.",
        "只显示这一次；各码 24 小时有效，只能用于该终端。",
    ),
    "county_made": (
        "{folder}: {county}, {townships} townships, {seats} with the position of their seat, {hazards} "
        "dangerous codes.",
        "{folder}：{county}，{townships} 个乡镇级单位，{seats} 个有驻地坐标，{hazards} 个危险代码。",
    ),
    "county_clash": (
        "  {digits} is {mca} in the 民政部 list, {nbs} in the 统计局 list",
        "  {digits}：民政部代码为{mca}，统计局代码为{nbs}",
    ),
    "county_todo": ("What the county must supply: {file}", "本县还须提供的资料：{file}"),
    "level_error": ("ERROR", "错误"),
    "level_warning": ("warning", "疑点"),
    "level_missing": ("missing", "缺项"),
    "county_checked": (
        "{pack}: {error} errors, {warning} warnings, {missing} things missing.",
        "{pack}：{error} 个错误，{warning} 个疑点，{missing} 个缺项。",
    ),
    "nothing_to_import": (
        "Name a file: --villages, --terminals, --townships or --boundary.",
        "请指定文件：--villages、--terminals、--townships 或 --boundary。",
    ),
    "import_anyway": (
        "Nothing was changed. Correct the file or its --datum; if it is right all the same: --anyway.",
        "未作任何改动。请更正文件或 --datum；若确实无误，加 --anyway。",
    ),
    "import_boundary": ("boundary", "县界"),
    "import_townships": ("townships", "乡镇"),
    "import_villages": ("villages", "村"),
    "import_terminals": ("terminals", "终端"),
    "import_taken": (
        "{kind} from {file}: {rows} of this county, {added} new, {updated} known; {without_position} without "
        "position; {left_out} of other counties left out.",
        "{kind}，来自 {file}：本县 {rows} 条，新增 {added}，已有 {updated}；{without_position} 条无坐标；"
        "{left_out} 条属外县，未导入。",
    ),
    "import_dry": ("{pack} was not changed (--dry-run).", "{pack} 未作改动（--dry-run）。"),
    "import_done": (
        "{pack} is changed. Then: fenghuo county check {pack}",
        "{pack} 已更新。接着运行：fenghuo county check {pack}",
    ),
    "bad_column": (
        "{text!r} must be ROLE=COLUMN; roles: {roles}",
        "{text!r} 应为 角色=列名；角色有：{roles}",
    ),
    "config_ok": (
        "{file}: right. {county}; {mode}; {townships} townships, {villages} villages, {operators} "
        "operators, {feeds} feeds.",
        "{file}：正确。{county}；{mode}；{townships} 个乡镇，{villages} 个村，{operators} 名值班员，"
        "{feeds} 个来源。",
    ),
    "keys_made": (
        "Keys made in {folder}. Keep a copy in a safe place: without them every terminal must be enrolled "
        "anew.",
        "密钥已生成在 {folder}。请另存一份放保险柜：丢了就要把每台终端重新入网。",
    ),
    "paste_operator": (
        "Put this line below `operators:` in county.yaml and restart the service:",
        "把下面一行放到 county.yaml 的 operators: 之下，然后重启服务：",
    ),
    "token_once": (
        "The token, shown this once; give it to that person alone, who keeps it in ~/.config/fenghuo/token "
        "(mode 0600): {token}",
        "令牌，只显示这一次；只交给本人，存放在 ~/.config/fenghuo/token（权限 0600）：{token}",
    ),
    "token_written": ("The token is in {file}; give it to that person alone.", "令牌在 {file}；只交给本人。"),
    "doubted_line": (
        "{id} has waited {minutes}: {headline} ({reason}). Decide: fenghuo broadcast air|stop {id}",
        "{id} 已等 {minutes}：{headline}（{reason}）。处理：fenghuo broadcast air|stop {id}",
    ),
    "nothing_held": ("Nothing waits for a decision.", "没有待审的。"),
    "held_line": (
        "{id} has waited {minutes}: {headline} ({reason}). Decide: fenghuo alert approve|reject {id}",
        "{id} 已等 {minutes}：{headline}（{reason}）。处理：fenghuo alert approve|reject {id}",
    ),
    "waits": ("({minutes} min)", "（已等 {minutes}）"),
    "aborted": ("Given up.", "已放弃。"),
    "fleet_starts": (
        "{count} simulated terminals begin, towards {address}; Ctrl-C ends them.",
        "{count} 台模拟终端启动，连接 {address}；Ctrl-C 结束。",
    ),
    "fleet_ready": ("{count} are ready.", "{count} 台已就绪。"),
    "feeds_ready": (
        "{count} simulated sources are there, at {speed} × real time; the lines above are for a county.yaml "
        "of a sandbox. Ctrl-C ends them.",
        "{count} 个模拟来源已就绪，{speed} 倍速；以上各行可放进沙盒的 county.yaml。Ctrl-C 结束。",
    ),
    "feed_well": ("well", "正常"),
    "feed_awaited": ("not heard yet", "尚未联系上"),
    "feed_stale": ("STALE: {why}", "停更：{why}"),
    "feed_trouble": ("TROUBLE: {why}", "故障：{why}"),
    "trust_official": ("official", "官方"),
    "trust_relay": ("relay", "转载"),
    "trust_unofficial": ("unofficial", "非官方"),
    "connected": ("connected", "已连接"),
    "tls_public": (
        "{version}, certificate of {subject} by {issuer} (a public authority), valid until {until}",
        "{version}，证书 {subject}，由 {issuer} 签发（公共机构），有效至 {until}",
    ),
    "tls_pinned": (
        "{version}, certificate of {subject} by {issuer} (under ca_file), valid until {until}",
        "{version}，证书 {subject}，由 {issuer} 签发（ca_file 认可），有效至 {until}",
    ),
    "tls_refused": (
        "its certificate is not believed: {why}. Where the chain is broken, pin it with ca_file; never "
        "ignore it",
        "证书不可信：{why}。证书链不全的，用 ca_file 固定，绝不要忽略",
    ),
    "no_contact": ("no answer within {seconds} s", "{seconds} 秒内没有应答"),
    "inbox_listens": (
        "the controller listens; a sender posts with the token",
        "服务在监听；发送方凭令牌投递",
    ),
    "feed_listed": ("{count} documents are there", "现有 {count} 份文件"),
    "doc_taken": ("would be read: {what}; sounds as {sounds}", "能读：{what}；可播类别 {sounds}"),
    "doc_villages": ("; {villages} villages here", "；涉及本县 {villages} 个村"),
    "doc_refused": ("would be refused: {why}", "会被拒收：{why}"),
    "doc_undecided": ("being decided", "正在处理"),
    "o_held": ("held", "待审"),
    "o_released": ("released", "已发布"),
    "o_ignored": ("recorded, nothing sounds", "已存档，不播"),
    "o_refused": ("refused", "拒收"),
    "o_quarantined": ("QUARANTINED", "已隔离"),
    "r_held": ("would be held", "会待审"),
    "r_released": ("WOULD BE CARRIED OUT AT ONCE", "会立即执行"),
    "r_ignored": ("would be recorded, nothing sounds", "会存档，不播"),
    "r_refused": ("would be refused", "会拒收"),
    "r_quarantined": ("WOULD BE QUARANTINED", "会被隔离"),
    "replay_then": (" (then: {was})", "（当时：{was}）"),
    "replay_sum": (
        "{count} documents: {counts}. {differ} would end otherwise than they did. Nothing was sent.",
        "共 {count} 份：{counts}。与当时不同的 {differ} 份。什么也没有发出。",
    ),
    "replay_pretends": (
        "No terminal is registered: each village is given one for this.",
        "没有登记终端：假定每村一台。",
    ),
    "replay_too_many": (
        "{count} documents; at most {limit} at once. Narrow it with --since, --feed or --within.",
        "{count} 份；一次最多 {limit} 份。用 --since、--feed 或 --within 缩小范围。",
    ),
    "file_or_since": ("Give either a FILE or --since.", "请给文件 FILE，或者 --since，二者选一。"),
    "replay_needs_feed": (
        "Say with --feed as whose documents the files count: how they are read and what the release table "
        "says hangs on it.",
        "请用 --feed 说明文件算作哪个来源的：如何读、放行表如何规定，都取决于它。",
    ),
    "bad_since": (
        "{text}: must be such as 30m, 2h, 7d or 2026-07-14T08:00.",
        "{text}：应为 30m、2h、7d 或 2026-07-14T08:00 这样的写法。",
    ),
    "feed_test_ok": ("It works. Nothing was taken in.", "正常。什么也没有收。"),
    "feed_test_not": (
        "Not all is well with {name}. Nothing was taken in.",
        "{name} 有问题。什么也没有收。",
    ),
    "none": ("none", "无"),
    "no_such_feed": (
        "The configuration has no feed {name}; it has: {known}",
        "配置里没有来源 {name}；有：{known}",
    ),
    # --- what went wrong
    "unreachable": (
        "No controller answers at {address} ({why}). Is it running (systemctl status fenghuo), and is that "
        "its address (--url, or -c county.yaml)?",
        "{address} 没有服务应答（{why}）。服务在运行吗（systemctl status fenghuo）？"
        "地址对吗（--url 或 -c county.yaml）？",
    ),
    "no_answer": (
        "The controller at {address} took the request but gave no answer ({why}). It may have been done: "
        "look with fenghuo alert list before you try again.",
        "{address} 的服务收到了请求但没有回答（{why}）。可能已经执行：重试之前先看 fenghuo alert list。",
    ),
    "not_ours": (
        "What answers at {address} is not a Fenghuo controller.",
        "{address} 应答的不是烽火服务。",
    ),
    "no_token": (
        "The controller wants to know who you are: put your token into ~/.config/fenghuo/token (mode 0600) "
        "or FENGHUO_TOKEN. A new one: fenghuo operator new NAME",
        "服务要知道你是谁：把令牌放进 ~/.config/fenghuo/token（权限 0600）或 FENGHUO_TOKEN。"
        "新令牌：fenghuo operator new 姓名",
    ),
    "wrong_token": (
        "The controller does not know this token. Was the operator added to county.yaml and the service "
        "restarted? A new one: fenghuo operator new NAME",
        "服务不认识这个令牌。已写进 county.yaml 并重启服务了吗？新令牌：fenghuo operator new 姓名",
    ),
    "controller_failed": (
        "The controller failed ({status}). See its log: journalctl -u fenghuo",
        "服务内部出错（{status}）。请看日志：journalctl -u fenghuo",
    ),
    "odd_answer": ("The controller answered {status} without a reason.", "服务回答 {status}，没有说明理由。"),
    "bad_url": (
        "{url}: must be unix:/PATH or http://127.0.0.1:PORT; from elsewhere use SSH, so that the token does "
        "not cross the network in clear.",
        "{url}：应为 unix:/路径 或 http://127.0.0.1:端口；从别处请用 SSH，令牌不能明文过网。",
    ),
    "config_unreadable": (
        "{file}: cannot be read ({why}); see: fenghuo config check {file}",
        "{file}：读不了（{why}）；请看 fenghuo config check {file}",
    ),
    "config_no_api": (
        "{file}: has no listen.api; see: fenghuo config check {file}",
        "{file}：没有 listen.api；请看 fenghuo config check {file}",
    ),
    "token_unreadable": ("{file}: the token cannot be read: {why}.", "{file}：令牌读不了：{why}。"),
    "token_open": (
        "{file} can be read by others (mode {mode}); chmod 600 {file}",
        "{file} 别人也能读（权限 {mode}）；chmod 600 {file}",
    ),
    "token_empty": ("{file} holds no token.", "{file} 里没有令牌。"),
    "stream_lost": ("The connection broke off; trying again.", "连接断了，正在重连。"),
    "watch_lost": (
        "The controller stopped telling about {broadcast}. The broadcast goes on; look again with: fenghuo "
        "broadcast show {broadcast}",
        "服务不再回报 {broadcast}。播发仍在进行；再看：fenghuo broadcast show {broadcast}",
    ),
    "file_or_template": (
        "Give either a FILE or --template.",
        "请给一个文件 FILE，或者 --template，二者选一。",
    ),
    "not_with_file": (
        "{options}: only with --template; a file says it all itself.",
        "{options}：只能和 --template 一起用；文件里已写明。",
    ),
    "unknown_hazard": ("No hazard is called {hazard}{hint}.", "没有叫 {hazard} 的灾种{hint}。"),
    "did_you_mean": (" (did you mean {near}?)", "（是不是 {near}？）"),
    "hazards": ("Hazards: {keys}", "灾种：{keys}"),
    "area_missing": (
        "Say where: --area with a township, a village, or a code. The whole county is its 6 digits.",
        "请写明地方：--area 乡镇、村或代码。全县用 6 位代码。",
    ),
    "file_unreadable": ("{file}: cannot be read: {why}.", "{file}：读不了：{why}。"),
    "file_too_large": (
        "{file} is larger than {limit} bytes; no warning is.",
        "{file} 超过 {limit} 字节；预警不会这么大。",
    ),
    "cannot_read": ("{file}: cannot be read: {why}.", "{file}：读不了：{why}。"),
    "nothing_there": ("None.", "没有。"),
    "cannot_write": ("{file}: cannot be written: {why}.", "{file}：写不了：{why}。"),
    "bad_name": ("The name must be 1 to 80 printable characters.", "姓名须为 1 到 80 个可显示的字。"),
    "csv_columns": (
        "the column {column!r} is not known, or is there twice; the columns are {columns}, or their names in "
        "Chinese",
        "不认识列 {column!r}，或者出现了两次；列应为 {columns}，也可以用中文列名",
    ),
    "csv_no_column": ("there is no column for {columns}", "没有这些列：{columns}"),
    "csv_empty": ("no terminal in it", "里面没有终端"),
    "csv_too_many": ("{count} rows; at most {limit} at once", "有 {count} 行；一次最多 {limit} 行"),
    "csv_id": (
        "id {id!r} must be 1 to 40 letters, digits, '.', '_' and '-'",
        "id {id!r} 应为 1 到 40 个字母、数字、“.”、“_”、“-”",
    ),
    "csv_twice": ("id {id} is given twice, first on line {line}", "id {id} 重复，首次在第 {line} 行"),
    "csv_name": ("name has over 80 characters", "name 超过 80 个字"),
    "csv_village": ("village is empty", "village 是空的"),
    "csv_one_of": (
        "{column} {given!r} must be one of: {known}",
        "{column} {given!r} 必须是以下之一：{known}",
    ),
    # --- columns
    "c_retired": ("retired", "停用"),
    "c_replaced_by": ("replaced by", "由谁代替"),
    "c_replaces": ("replaces", "代替"),
    "c_ready": ("ready", "正常"),
    "c_doubtful": ("doubtful", "有疑问"),
    "c_dead": ("dead", "不能响"),
    "c_on_battery": ("on battery", "用电池"),
    "c_sick": ("broken amps", "功放故障"),
    "c_software": ("software", "软件版本"),
    "c_quiet": ("quiet longest since", "最久未播"),
    "c_heard": ("last played whole", "最后一次播完"),
    "c_tested": ("last tested", "最后一次测试"),
    "c_readiness": ("readiness", "完好情况"),
    "c_findings": ("what is wrong", "问题"),
    "c_refused_reports": ("reports not taken", "未采信的上报"),
    "c_groups": ("groups", "所属分组"),
    "c_ring": ("ring of keys", "密钥版本"),
    "c_sets_missing": ("sets not all there", "未备齐的预存音"),
    "c_certificate": ("certificate ends", "证书到期"),
    "c_history": ("history", "经过"),
    "c_test": ("test", "测试"),
    "c_when": ("when", "时间"),
    "c_sound": ("sound", "方式"),
    "c_next": ("next", "下次"),
    "c_broadcast": ("broadcast", "播发编号"),
    "c_id": ("id", "编号"),
    "c_kind": ("kind", "类别"),
    "c_state": ("state", "状态"),
    "c_time": ("time", "时间"),
    "c_source": ("source", "来源"),
    "c_why": ("why", "原因"),
    "c_decided": ("decided", "处理"),
    "c_identifier": ("identifier", "原编号"),
    "c_broadcasts": ("broadcasts", "播发"),
    "c_damage": ("must be looked at", "须人工看"),
    "c_remarks": ("remark", "提示"),
    "c_inferred": ("inferred", "推定"),
    "c_alert": ("alert", "预警"),
    "c_part": ("part", "部分"),
    "c_name": ("name", "名称"),
    "c_purpose": ("purpose", "用途"),
    "c_clips": ("clips", "段数"),
    "c_size": ("size", "大小"),
    "c_holders": ("hold it", "已存"),
    "c_share": ("share", "占比"),
    "c_expires": ("until", "保留到"),
    "c_names": ("names", "内容"),
    "c_township": ("township", "乡镇"),
    "c_village": ("village", "村"),
    "c_place": ("place", "地方"),
    "c_position": ("position", "位置"),
    "c_languages": ("languages", "语言"),
    "c_speaker": ("loudspeaker", "扬声器"),
    "c_class": ("kind", "扬声器"),
    "speaker_horn": ("horn", "号角"),
    "speaker_column": ("column", "音柱"),
    "speaker_indoor": ("indoor", "室内"),
    "c_enrolled": ("enrolled", "已入网"),
    "c_simulated": ("simulated", "模拟"),
    "c_online": ("online", "在线"),
    "c_last_seen": ("last seen", "最后收到"),
    "c_health": ("health", "状况"),
    "hl_software": ("software", "软件版本"),
    "hl_volume": ("volume", "音量"),
    "hl_amplifier_ok": ("amplifier works", "功放正常"),
    "hl_battery": ("battery", "电池"),
    "hl_mains": ("on mains", "市电"),
    "hl_disk_free_mb": ("free on its disk", "存储剩余"),
    "hl_last_sound": ("last sound", "最后一次出声"),
    "hl_clock_error_ms": ("its clock may be off by", "时钟误差不超过"),
    "and_then": ("; ", "；"),
    "and_so": (": ", "："),
    "c_terminal": ("terminal", "终端"),
    "c_who": ("who", "谁"),
    "c_what": ("what", "做了什么"),
    "c_subject": ("subject", "对象"),
    "c_detail": ("detail", "详情"),
    "c_trust": ("trust", "可信程度"),
    "c_contact": ("last contact", "最后联系"),
    "c_document": ("last document", "最后来文"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    # --- states
    "a_held": ("held", "待审"),
    "a_released": ("released", "已发布"),
    "a_rejected": ("rejected", "已驳回"),
    "a_closed": ("closed", "已存档"),
    "a_cancelled": ("cancelled", "已解除"),
    "a_superseded": ("superseded", "已被取代"),
    "b_voicing": ("being voiced", "合成语音"),
    "b_sending": ("sending", "播发中"),
    "b_done": ("done", "已结束"),
    "b_superseded": ("replaced before it was sent", "未发即被取代"),
    "b_stopped": ("stopped", "已停止"),
    "s_targeted": ("targeted", "应播"),
    "s_pending": ("pending", "待发"),
    "s_sent": ("sent", "已下发"),
    "s_refused": ("refused", "拒收"),
    "s_accepted": ("accepted", "已接收"),
    "s_ready": ("ready", "已就绪"),
    "s_playing": ("playing", "播放中"),
    "s_interrupted": ("interrupted", "中断"),
    "s_preempted": ("preempted", "被抢占"),
    "s_expired": ("expired", "过期"),
    "s_failed": ("failed", "失败"),
    "s_cancelled": ("cancelled", "已取消"),
    "s_played": ("played", "已播完"),
    "s_silent": ("silent", "无回报"),
    # --- a broadcast
    "p_lead": ("lead", "先声"),
    "p_all_clear": ("all-clear", "解除"),
    "p_whole": ("whole", "全文"),
    "part_lead": ("lead: what, where, what to do", "先声：何事、何地、怎么做"),
    "part_all_clear": ("all-clear", "解除"),
    "part_whole": ("the whole message", "全文"),
    "v_released": ("released", "发布"),
    "v_being_voiced": ("being voiced until now", "正在合成语音，已到现在"),
    "v_voiced": ("sound ready, {seconds} s; first command out", "声音就绪，{seconds} 秒；开始下发"),
    "v_done": ("every outcome known", "结果全部明确"),
    "v_stage": (
        "{state}: first after {first}, last after {last}",
        "{state}：最早 {first}，最晚 {last}",
    ),
    "v_stopped_by": ("stopped by {who}", "由 {who} 停止"),
    "v_total": ("all", "合计"),
    "v_counts": ("Terminals", "终端"),
    "v_latency": ("Time since the first command", "自首条命令起的时间"),
    "v_first": ("first", "最早"),
    "v_median": ("median", "中位"),
    "v_last": ("last", "最晚"),
    "v_not_reached": ("Not played: {count}", "未播完：{count} 台"),
    "v_more": (
        "… and {count} more: fenghuo {command} --json",
        "…… 还有 {count} 项：fenghuo {command} --json",
    ),
    "v_mute": (
        "Nothing has sounded in {count} targeted villages",
        "{count} 个应播村没有任何喇叭响过",
    ),
    "v_unheard": (
        "Nothing of it has sounded at {count} terminals",
        "{count} 台终端一点都没播出",
    ),
    "v_unheard_none": (
        "Some part of it has sounded at every terminal that was to sound it.",
        "应播的终端都至少播出了一部分。",
    ),
    "v_no_broadcast": ("No broadcast came of it: nobody has heard it.", "没有产生任何播发：没有人听到。"),
    "v_ask_why": (
        "One terminal, fact by fact: fenghuo broadcast why {broadcast} {terminal}; why it was meant at all: "
        "fenghuo why {terminal} --alert {alert}",
        "逐条看一台终端：fenghuo broadcast why {broadcast} {terminal}；为何应播："
        "fenghuo why {terminal} --alert {alert}",
    ),
    "v_no_terminal": ("no terminal there", "没有终端"),
    "v_ms": ("{count} ms", "{count} 毫秒"),
    "v_unknown": ("unknown", "未知"),
    "v_floor": (
        "{count} terminals sounded only the generic sentence: the message did not reach them.",
        "{count} 台终端只播了通用语句：正文没有送到。",
    ),
    "v_together": (
        "Start together at {at}: {started} on time, {late} later; first to last {spread}; clocks off by "
        "{error} at most, {unmeasured} not measured.",
        "约定 {at} 同时开始：{started} 台准时，{late} 台晚；首末相差 {spread}；时钟误差最大 {error}，"
        "{unmeasured} 台未测。",
    ),
    "v_silent_villages": ("Targeted villages without a terminal: {names}", "没有终端的应播村：{names}"),
    "v_all_played": ("All {count} terminals played.", "{count} 台终端全部播完。"),
    "v_not_all": (
        "{missing} of {targeted} terminals have not played.",
        "{targeted} 台终端中 {missing} 台未播完。",
    ),
    "v_held_sound": (
        "WAITING FOR YOU, no voice says it right: {id} {headline} (fenghuo broadcast show {id})",
        "等待处理，语音核对不符：{id} {headline}（fenghuo broadcast show {id}）",
    ),
    "v_held": (
        "WAITING FOR YOU: {id} {headline} (fenghuo alert show {id})",
        "待审：{id} {headline}（fenghuo alert show {id}）",
    ),
    # --- the desk
    "st_county": ("county", "县"),
    "st_mode": ("mode", "模式"),
    "mode_actual": ("actual", "实战"),
    "mode_drill": ("drill: no actual warning can sound", "演习：不能播实警"),
    "mode_sandbox": ("sandbox: simulated terminals only", "沙盒：只有模拟终端"),
    "st_operator": ("you are", "你是"),
    "st_broker": ("broker", "消息代理"),
    "st_there": ("there", "正常"),
    "st_not_there": ("NOT THERE: nothing can be sent", "断开：无法下发"),
    "st_voice": ("voice", "语音"),
    "st_approved": ("approved", "已认可"),
    "st_unapproved": ("not approved", "未认可"),
    "st_terminals": ("terminals", "终端"),
    "st_counts": (
        "{terminals}, {enrolled} enrolled, {online} online",
        "{terminals} 台，已入网 {enrolled}，在线 {online}",
    ),
    "st_terminals_url": ("enrolment and audio", "入网与取音频"),
    "st_ring": ("keys", "密钥"),
    "st_ring_held": (
        "{holding} of {enrolled} enrolled terminals hold the newest ring (version {version})",
        "{enrolled} 台入网终端中 {holding} 台持有最新密钥环（第 {version} 版）",
    ),
    "st_ring_ahead": (
        "{ahead} HOLD A NEWER ONE THAN OURS: see fenghuo keys ring",
        "{ahead} 台持有比我们更新的密钥环：见 fenghuo keys ring",
    ),
    "st_sets": ("held ahead", "预置"),
    "st_set": (
        "{purpose}: {whole} of {terminals} terminals hold all of it",
        "{purpose}：{terminals} 台中 {whole} 台已存全",
    ),
    "st_held": ("held", "待审"),
    "st_doubted": ("sound in doubt", "语音存疑"),
    "st_sending": ("sounding", "播发中"),
    "st_feeds": ("feeds", "来源"),
    "st_alarms": ("alarms", "告警"),
    "st_version": ("version", "版本"),
    # --- the doctor
    "d_config": ("configuration", "配置"),
    "d_python": ("Python", "Python"),
    "d_packages": ("package names", "包名"),
    "d_voice": ("voice", "语音"),
    "d_mosquitto": ("mosquitto", "mosquitto"),
    "d_files": ("open files", "打开文件数"),
    "d_clock": ("clock", "时钟"),
    "d_disk": ("disk", "磁盘"),
    "d_keys": ("keys", "密钥"),
    "d_controller": ("controller", "服务"),
    "dt_python": ("{version}; 3.11 or 3.12 is needed", "{version}；需要 3.11 或 3.12"),
    "dt_package": (
        "{top} belongs also to {name}; install Fenghuo into an environment of its own",
        "{top} 也属于 {name}；请把烽火装进单独的环境",
    ),
    "dt_packages_free": ("{names} are ours alone", "{names} 只属于烽火"),
    "dt_other_approved": (
        "{language} · {voice}: approved by {by} on {on}",
        "{language} · {voice}：{by} 于 {on} 批准",
    ),
    "dt_other_unapproved": (
        "{language} · {voice}: nobody of the county has approved it; it is never aired as actual",
        "{language} · {voice}：本县无人批准，不会用于真实预警",
    ),
    "dt_approve_mend": (
        "let a native speaker listen, then set approved_by and approved_on",
        "请母语者试听，再填写 approved_by 和 approved_on",
    ),
    "dt_voice": ("model {digest}…, {names}", "模型 {digest}…，{names}"),
    "dt_no_mosquitto": ("the broker is not on this machine", "本机没有安装"),
    "dt_files": ("{limit}", "{limit}"),
    "dt_files_few": ("{limit}; {wanted} for 10,000 terminals", "{limit}；一万台终端要 {wanted}"),
    "dt_files_mend": ("LimitNOFILE={wanted} in the systemd unit", "systemd 单元里 LimitNOFILE={wanted}"),
    "dt_clock": ("synchronised", "已同步"),
    "dt_clock_off": ("not synchronised", "未同步"),
    "dt_clock_unknown": ("cannot be judged here (no systemd)", "无法判断（没有 systemd）"),
    "dt_clock_mend": ("see that chrony or ntpd runs", "请确认 chrony 或 ntpd 在运行"),
    "dt_disk": ("{free} GiB free at {folder}", "{folder} 剩余 {free} GiB"),
    "dt_disk_mend": ("make room: {wanted} GiB at least", "腾出空间：至少 {wanted} GiB"),
    "dt_keys_mend": ("fenghuo keys new -c FILE", "fenghuo keys new -c FILE"),
    "dt_ready": ("ready at {address}", "就绪：{address}"),
}
