"""What the program says to the person on the ladder, in English and Chinese, by the board's locale."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "help": (
        "The program of a Fenghuo loudspeaker.",
        "烽火村级大喇叭终端程序。",
    ),
    "help.enrol": ("Enrol this terminal with the code from the office.", "用县里给的注册码注册本终端。"),
    "help.run": ("Run the terminal (systemd does this).", "运行终端（由 systemd 启动）。"),
    "help.status": ("How this terminal is.", "查看本终端状态。"),
    "help.test": ("Test the way to the loudspeaker.", "测试到喇叭的通路。"),
    "help.play": ("Sound a standing message by hand.", "人工播放预存消息。"),
    "help.log": ("The last lines of the log.", "查看最近日志。"),
    "help.upgrade": ("Go over to a new version when nothing plays.", "在不播音时切换到新版本。"),
    "help.state": ("State folder", "状态目录"),
    "help.settings": ("Settings file", "设置文件"),
    "help.controller": ("Address of the county's controller, http(s)://host:port", "县控制中心地址"),
    "help.terminal": ("Id of this terminal", "本终端编号"),
    "help.code": ("Enrolment code; asked for if left out", "注册码；不写则提示输入"),
    "help.ca": ("Who signed the controller's certificate (PEM)", "控制中心证书的签发者（PEM）"),
    "help.json": ("As JSON", "输出 JSON"),
    "help.how": ("silent: nothing is heard; audible: a few soft notes", "silent 无声；audible 轻声提示音"),
    "help.broadcast": (
        "Id of the standing message; the newest if left out",
        "预存消息编号；不写则播放最新一条",
    ),
    "help.stop": ("Stop what was started by hand", "停止人工播放"),
    "help.lines": ("How many lines", "行数"),
    "help.new": ("Folder of the new version (a virtual environment)", "新版本目录（虚拟环境）"),
    "help.link": ("Link that systemd starts from", "systemd 启动用的链接"),
    "help.patience": ("Seconds in which the new version must answer", "新版本须在几秒内应答"),
    "help.wait": ("Seconds to wait until nothing plays", "等待不播音的最长秒数"),
    "no-address": (
        "{address} is no address of a controller; it looks like http://10.1.0.2:8470",
        "{address} 不是控制中心地址；应写成 http://10.1.0.2:8470",
    ),
    "no-answer": (
        "{address} does not answer ({why}). Is the network plugged in? Is the address that of the office?",
        "{address} 没有应答（{why}）。请检查网线，并核对县里给的地址",
    ),
    "code-mistyped": (
        "This is no enrolment code ({why}). It has 16 letters and digits in four groups; type it again",
        "注册码写错了（{why}）。注册码共 16 位，分四组；请重新输入",
    ),
    "code-wrong": (
        "The office does not take this code for {terminal}. Look at id and code again. A code is good once "
        "and for 24 hours; for a new one the office runs: fenghuo terminal enrol {terminal}",
        "县里不认 {terminal} 的这个注册码。请核对终端编号和注册码。注册码只能用一次，24 小时内有效；"
        "要新的，请县里运行：fenghuo terminal enrol {terminal}",
    ),
    "too-often": (
        "Too many wrong codes from here; wait a minute, then try again",
        "从此处输错注册码次数过多；请等一分钟再试",
    ),
    "office-refused": ("The office refused: HTTP {status}: {why}", "县里拒绝注册：HTTP {status}：{why}"),
    "code?": ("Enrolment code: ", "注册码："),
    "enrolled": (
        "Enrolled: {terminal} of county {county}; broker {broker}",
        "注册成功：{terminal}，县 {county}，消息服务器 {broker}",
    ),
    "start": (
        "Start it: systemctl enable --now fenghuo-terminal",
        "请启动：systemctl enable --now fenghuo-terminal",
    ),
    "terminal": ("Terminal", "终端"),
    "not-enrolled": ("not enrolled; run: fenghuo-terminal enrol", "未注册；请运行：fenghuo-terminal enrol"),
    "enrolled-yes": ("enrolled, county {county}", "已注册，县 {county}"),
    "program": ("Program", "程序"),
    "nobody": (
        "The program does not run on {folder} ({why}); look at: systemctl status fenghuo-terminal",
        "{folder} 上的终端程序没有运行（{why}）；请查看：systemctl status fenghuo-terminal",
    ),
    "not-yours": (
        "{folder} is the program's own user's; run: sudo -u fenghuo-terminal fenghuo-terminal {command}",
        "{folder} 只归程序专用账户；请运行：sudo -u fenghuo-terminal fenghuo-terminal {command}",
    ),
    "no-standing": ("There is no standing message here.", "本机没有可人工播放的预存消息。"),
    "no-time-yet": ("not known: the controller has not answered", "未知：控制中心尚未应答"),
    "no-device": (
        "{problem}; see it with: aplay -l",
        "找不到声卡或声卡不能用（{problem}）；可用 aplay -l 查看",
    ),
    "running": ("running, version {version}", "运行中，版本 {version}"),
    "not-running": (
        "NOT RUNNING; look at: journalctl -u fenghuo-terminal",
        "未运行！请查看：journalctl -u fenghuo-terminal",
    ),
    "connection": ("Connection", "连接"),
    "connected": ("connected to {broker}", "已连接 {broker}"),
    "not-connected": ("NOT CONNECTED to {broker}: {why}", "未连接 {broker}：{why}"),
    "time": ("Time", "时间"),
    "time-known": ("{time} UTC, right within {error} ms", "{time} UTC，误差不超过 {error} 毫秒"),
    "time-unknown": (
        "NOT KNOWN: nothing can sound until the controller answers",
        "未知！控制中心应答之前不能播音",
    ),
    "sound": ("Sound", "声音"),
    "device": (
        "device {device}, volume {volume} %, {underruns} underruns",
        "设备 {device}，音量 {volume}%，断流 {underruns} 次",
    ),
    "amplifier": ("Amplifier", "功放"),
    "well": ("well", "正常"),
    "not-well": ("NOT WELL", "异常！"),
    "playing": ("Playing", "正在播放"),
    "nothing": ("nothing", "无"),
    "last": ("Last sound", "最近播音"),
    "last-at": ("{time} UTC, {broadcast} ({state})", "{time} UTC，{broadcast}（{state}）"),
    "never": ("never, or forgotten", "无记录"),
    "queued": ("Queued", "待办"),
    "queue": (
        "{messages} messages to sound, {reports} reports to send",
        "待播 {messages} 条，待发回执 {reports} 条",
    ),
    "sets": ("Held sets", "预存音频组"),
    "set": ("{set}: {held} of {wanted} clips", "{set}：{held}/{wanted} 个"),
    "standing": ("By hand", "可人工播放"),
    "standing-one": ("{broadcast} ({event}), until {time} UTC", "{broadcast}（{event}），有效至 {time} UTC"),
    "not-whole": ("{broadcast} ({event}): not whole yet", "{broadcast}（{event}）：尚未下载完整"),
    "disk": ("Disk", "磁盘"),
    "disk-use": (
        "{clips} clips, {mb} of {budget} MB; {free} MB free",
        "音频 {clips} 个，{mb}/{budget} MB；剩余 {free} MB",
    ),
    "power": ("Power", "供电"),
    "mains-on": ("mains", "市电"),
    "mains-off": ("NO MAINS", "市电中断！"),
    "battery": ("battery {percent} %", "电池 {percent}%"),
    "trouble": ("Trouble", "故障"),
    "test-well": ("{part}: well", "{part}：正常"),
    "test-bad": ("{part}: {problem}", "{part}：{problem}"),
    "part.sound": ("sound device", "声卡"),
    "part.amplifier": ("amplifier", "功放"),
    "part.link": ("connection", "连接"),
    "part.time": ("signed time", "可信时间"),
    "part.disk": ("disk", "磁盘"),
    "sounding": ("{broadcast} sounds now", "正在播放 {broadcast}"),
    "stopped": ("Stopped.", "已停止。"),
    "waiting": ("A message plays or is due; waiting for its end …", "正在播音或即将播音，等待结束……"),
    "upgraded": ("Running now: {version}", "已切换，当前版本：{version}"),
    "upgrade-later": (
        "The program does not run; it will start as {version}",
        "程序未运行；下次启动使用 {version}",
    ),
    "rolled-back": (
        "The new version did not come up within {seconds} s; the old one is back",
        "新版本 {seconds} 秒内未能启动，已恢复旧版本",
    ),
    "busy": ("Still busy after {seconds} s; nothing was changed", "等待 {seconds} 秒后仍在播音，未作更改"),
    "no-version": ("{path} does not run: {why}", "{path} 无法运行：{why}"),
}


def chinese(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the locale is Chinese: the first of LC_ALL, LC_MESSAGES, LANG that is set decides."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return value.lower().startswith("zh")
    return False


class Words:
    def __init__(self, *, chinese: bool) -> None:
        self._column = int(chinese)

    def __call__(self, word: str, **values: object) -> str:
        return _WORDS[word][self._column].format(**values)


WORDS: Final = frozenset(_WORDS)
