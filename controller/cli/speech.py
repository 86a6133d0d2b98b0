"""``fenghuo tts …``: what a text sounds like, on this machine and without a controller."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from alerts.model import Colour
from controller.cli import say
from controller.cli.call import Json, ReadConfig, write
from controller.cli.help import App
from controller.cli.options import check_hazard
from controller.cli.outcome import Code, Failure
from controller.cli.setup import ConfigArgument
from controller.cli.words import w
from tts.voice import DEFAULT_SPEED, DEFAULT_VOICE, Signal, Speaker, Stage

Text = Annotated[str, Argument(metavar="TEXT", help=w("a_text"))]

tts = App(w("h_tts"))


@tts.verb("read", w("h_tts_read"))
def read(text: Text, json: Json = False) -> Code:
    from tts import reading

    spoken = " ".join(reading.read(text).split())
    if json:
        say.data_json({"text": text, "spoken": spoken})
    else:
        say.data(spoken)
    return Code.DONE


@tts.verb("check", w("h_tts_check"))
def check(
    files: Annotated[list[Path] | None, Argument(metavar="FILE", help=w("a_check_files"))] = None,
    voice: Annotated[list[str] | None, Option("--voice", metavar="NAME", help=w("o_voice"))] = None,
    preset: Annotated[list[str] | None, Option("--preset", metavar="NAME", help=w("o_check_preset"))] = None,
    snr: Annotated[list[float] | None, Option("--snr", metavar="DB", help=w("o_check_snr"))] = None,
    speed: Speed = DEFAULT_SPEED,
    json: Json = False,
) -> Code:
    from controller.cli import checks

    return checks.show(
        voice or [DEFAULT_VOICE],
        preset or [Speaker.HORN.value],
        [15.0, 5.0, 0.0] if snr is None else snr,
        files or [],
        speed=speed,
        as_json=json,
    )


@tts.verb("voices", w("h_tts_voices"))
def voices_(
    config: ReadConfig = None,
    every: Annotated[bool, Option("--all", help=w("o_voices_all"))] = False,
    json: Json = False,
) -> Code:
    from controller.cli import voices
    from controller.cli.setup import load_config

    used = None if config is None else load_config(config, on_this_machine=False).voice
    return voices.show(used, every=every, as_json=json)


@tts.verb("weights", w("h_tts_weights"))
def weights(
    share: Annotated[bool, Option("--share", help=w("o_share_weights"))] = False, json: Json = False
) -> Code:
    from controller.cli import voices

    return voices.weights(share=share, as_json=json)


@tts.verb("templates", w("h_tts_templates"))
def templates_(
    lang: Annotated[str | None, Argument(metavar="LANG", help=w("a_language"))] = None,
    config: ReadConfig = None,
    json: Json = False,
) -> Code:
    from controller.cli import templates
    from controller.cli.setup import load_config

    county = None if config is None else load_config(config, on_this_machine=False)
    return templates.show(lang, county, as_json=json)


@tts.verb("sheet", w("h_tts_sheet"))
def sheet(
    lang: Annotated[str, Argument(metavar="LANG", help=w("a_language"))],
    out: Annotated[Path | None, Option("--out", metavar="FILE", help=w("o_sheet_out"))] = None,
    every: Annotated[bool, Option("--all", help=w("o_sheet_all"))] = False,
    import_: Annotated[Path | None, Option("--import", metavar="FILE.csv", help=w("o_sheet_import"))] = None,
    reviewed_by: Annotated[
        str | None, Option("--reviewed-by", metavar="NAME", help=w("o_reviewed_by"))
    ] = None,
    approved_by: Annotated[
        str | None, Option("--approved-by", metavar="NAME", help=w("o_approved_by"))
    ] = None,
    config: ReadConfig = None,
    json: Json = False,
) -> Code:
    from datetime import datetime

    from controller.cli import templates
    from controller.cli.setup import load_config
    from tts.phrases import Status

    county = None if config is None else load_config(config, on_this_machine=False)
    if (out is None) == (import_ is None):
        raise Failure(Code.USAGE, w("lines_what"))
    if out is not None:
        return templates.write(lang, out, county, every=every, as_json=json)
    assert import_ is not None
    if (reviewed_by is None) == (approved_by is None):
        raise Failure(Code.USAGE, w("lines_who"))
    if county is None:
        raise Failure(Code.USAGE, w("lines_no_folder"))
    return templates.take(
        lang,
        import_,
        county,
        by=reviewed_by or approved_by or "",
        status=Status.REVIEWED if approved_by is None else Status.APPROVED,
        today=datetime.now(say.BEIJING).date(),
        as_json=json,
    )


Voice = Annotated[str, Option("--voice", metavar="NAME", help=w("o_voice"))]
Speed = Annotated[float, Option("--speed", min=0.5, max=2, help=w("o_voice_speed"))]
Class = Annotated[Speaker, Option("--speaker", help=w("o_speaker"))]
Codec = Annotated[Literal["mp3", "opus", "wav"], Option("--codec", help=w("o_codec"))]
Folder = Annotated[Path, Option("--out", metavar="FOLDER", help=w("o_out_folder"))]
Of = Annotated[str, Option("--language", metavar="TAG", help=w("o_text_language"))]


def _chime(which: Signal) -> Signal:
    """Raises Failure for a siren of civil defence: it is never made here."""
    if which.siren:
        raise Failure(Code.USAGE, w("no_siren_here", signal=which))
    return which


@tts.verb("say", w("h_tts_say"))
def say_(
    text: Text,
    out: Annotated[Path, Option("--out", metavar="FILE", help=w("o_out"))],
    voice: Voice = DEFAULT_VOICE,
    speed: Speed = DEFAULT_SPEED,
    signal: Annotated[Signal, Option("--signal", help=w("o_signal"))] = Signal.TEST,
    speaker: Class = Speaker.HORN,
    codec: Codec = "mp3",
    language: Of = "zh",
    config: ReadConfig = None,
    json: Json = False,
) -> Code:
    from controller.cli import sounds
    from tts.renderer import Form

    sounds.must_be_there(out.parent, out)
    form = Form(_chime(signal), speaker, codec)
    work = sounds.speak(sounds.split(text), [voice], [form], speed=speed, language=language, config=config)
    [take] = asyncio.run(work)
    write(out, take.made.clip)
    about = take.about(out)
    if json:
        say.data_json(about)
    else:
        say.data(str(out))
        say.talk(w("tts_said", **{k: v for k, v in about.items() if k != "spoken"}))
    return Code.DONE


@tts.verb("compare", w("h_tts_compare"))
def compare(
    text: Text,
    out: Folder,
    voice: Annotated[list[str] | None, Option("--voice", metavar="NAME", help=w("o_voice"))] = None,
    speaker: Annotated[list[Speaker] | None, Option("--speaker", help=w("o_speaker"))] = None,
    codec: Codec = "mp3",
    speed: Speed = DEFAULT_SPEED,
    signal: Annotated[Signal, Option("--signal", help=w("o_signal"))] = Signal.TEST,
    config: ReadConfig = None,
    json: Json = False,
) -> Code:
    from controller.cli import sounds
    from tts.renderer import Form

    sounds.must_be_there(out)
    forms = [Form(_chime(signal), one, codec) for one in speaker or [Speaker.HORN]]
    voices = voice or list(sounds.OFFLINE)
    takes = asyncio.run(sounds.speak(sounds.split(text), voices, forms, speed=speed, config=config))
    return sounds.compared(takes, out, as_json=json)


@tts.verb("preview", w("h_tts_preview"))
def preview(
    config: ConfigArgument,
    hazard: Annotated[str, Option("--hazard", metavar="KEY", help=w("o_hazard"))],
    places: Annotated[list[str], Option("--place", metavar="NAME", help=w("o_said_place"))],
    colour: Annotated[Colour | None, Option("--colour", help=w("o_colour"))] = None,
    stage: Annotated[
        Literal["first", "update", "continuation", "cancel"], Option("--stage", help=w("o_stage"))
    ] = "first",
    kind: Annotated[Literal["actual", "exercise", "test"], Option("--kind", help=w("o_kind"))] = "actual",
    text_: Annotated[str, Option("--text", metavar="TEXT", help=w("o_text"))] = "",
    action: Annotated[str, Option("--action", metavar="TEXT", help=w("o_action"))] = "",
    language: Annotated[list[str] | None, Option("--language", metavar="TAG", help=w("o_languages"))] = None,
    speaker: Class = Speaker.HORN,
    play: Annotated[bool, Option("--play", help=w("o_play"))] = False,
    json: Json = False,
) -> Code:
    from controller.cli import sounds
    from controller.cli.setup import load_config

    found = load_config(config)
    check_hazard(hazard)
    work = sounds.preview(
        found, kind=kind, stage=stage, hazard=hazard, colour=colour, places=tuple(places),
        description=text_, instruction=action, languages=tuple(language or ("zh",)), speaker=speaker,
        play=play, as_json=json,
    )  # fmt: skip
    return asyncio.run(work)


@tts.verb("prepare", w("h_tts_prepare"))
def prepare(
    config: ConfigArgument,
    hazard: Annotated[list[str] | None, Option("--hazard", metavar="KEY", help=w("o_prepare_hazard"))] = None,
    colour: Annotated[list[Colour] | None, Option("--colour", help=w("o_prepare_colour"))] = None,
    stage: Annotated[list[str] | None, Option("--stage", metavar="STAGE", help=w("o_prepare_stage"))] = None,
    kind: Annotated[Literal["actual", "exercise"], Option("--kind", help=w("o_kind"))] = "actual",
    language: Annotated[list[str] | None, Option("--language", metavar="TAG", help=w("o_languages"))] = None,
    speaker: Annotated[list[Speaker] | None, Option("--speaker", help=w("o_speaker"))] = None,
    most: Annotated[int | None, Option("--most", min=1, metavar="N", help=w("o_prepare_most"))] = None,
    check: Annotated[bool, Option("--check", help=w("o_prepare_check"))] = False,
    dry_run: Annotated[bool, Option("--dry-run", help=w("o_prepare_dry"))] = False,
    json: Json = False,
) -> Code:
    import itertools

    from config.counties import load_county
    from controller import prepare as ahead
    from controller.cli import sounds
    from controller.cli.setup import load_config
    from tts.airtime import Profile

    for key in hazard or ():
        check_hazard(key)
    known: tuple[Stage, ...] = ("first", "update", "continuation", "downgrade", "cancel")
    stages = [one for one in known if one in (stage or ahead.STAGES)]
    if unknown := set(stage or ()) - set(known):
        raise Failure(
            Code.USAGE, w("prepare_stage", given=", ".join(sorted(unknown)), known=", ".join(known))
        )
    found = load_config(config)
    wanted = ahead.leads(
        load_county(found.county).county,
        found.issuer.name,
        keys=hazard or ahead.LIKELY,
        colours=colour or tuple(Colour),
        stages=stages,
        kinds=(kind,),
        profiles=[Profile(tuple(language or ("zh",)), one) for one in speaker or [Speaker.HORN]],
    )
    chosen = list(itertools.islice(wanted, most))
    return asyncio.run(sounds.ahead(found, chosen, dry=dry_run, check=check, as_json=json))
