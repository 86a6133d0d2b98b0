"""``fenghuo tts voices`` and ``tts weights``: who could speak, who approved it, and why it does not speak
now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from config.schema import Voice as VoiceOptions
from controller.cli import say
from controller.cli.call import table
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w
from tts.voices.choice import Engine, Offer, voices_for

BUILT_IN: Final = ("zm_yunjian", "zf_xiaobei")
_LANGUAGES: Final = ("zh", "yue", "bo", "ug", "kk", "mn", "ko", "ii", "za")
"""Of the templates, in their order; others follow."""
_ONLY_RECORDED: Final = "no voice anywhere: record it (fenghuo bank); until then it is said in Mandarin"


def show(voice: VoiceOptions | None, *, every: bool, as_json: bool) -> Code:
    """The voices of the configuration, those that may speak now first; with `every`, and as JSON, also all
    that could be configured."""
    from controller.voices import offered

    options = voice or VoiceOptions()
    offers = offered(options)
    ours, more = [*_configured(offers, known=voice is not None)], [*_possible(offers)]
    spoken = {row["language"] for row in (*ours, *more)}
    mute = [at for at in _LANGUAGES if at not in spoken]
    order = (*_LANGUAGES, *sorted(spoken.difference(_LANGUAGES)))
    rows = ours
    if every or as_json:
        rows = [*ours, *more, *(_row(Offer(at, Engine.BANK, ""), _ONLY_RECORDED) for at in mute)]
    rows.sort(key=lambda row: (order.index(row["language"]), row["not_now"] != ""))
    columns = {
        w("c_language"): "language",
        w("c_voice"): "voice",
        w("c_where"): "where",
        w("c_approved"): "approved",
        w("c_not_now"): "not_now",
    }
    if not as_json:
        rows = [{**row, "not_now": told(row["not_now"])} for row in rows]
    table(rows, columns, as_json=as_json)
    if not (every or as_json):
        count = Counter(row["language"] for row in more)
        could = w("and_then").join(f"{at} {count[at]}" for at in order if at in count)
        say.talk(w("voices_more", could=could))
        if mute:
            say.talk(w("voices_none", languages=" ".join(mute)))
    return Code.DONE


def _configured(offers: Iterable[Offer], *, known: bool) -> Iterator[dict[str, str]]:
    offers = tuple(offers)
    for language in dict.fromkeys(o.language for o in offers):
        found = voices_for(language, "actual", offers, red=False, fast=False, unapproved=not known)
        why = {out.offer: out.why for out in found.left_out}
        for offer in (*(c.offer for c in found.usable), *why):
            yield _row(offer, why.get(offer, ""))


def _possible(offers: Iterable[Offer]) -> Iterator[dict[str, str]]:
    """What the program knows besides, each with the step that lacks."""
    from tts.voices import edge, espeak

    have = {(o.language, o.name) for o in offers}
    more = [
        Offer("zh", Engine.KOKORO, name, missing="not chosen in the configuration (voice.name)")
        for name in BUILT_IN
    ]
    more += [
        Offer(
            language,
            Engine.EDGE,
            f"edge:{name}",
            online=True,
            missing="not in the configuration: its words would leave the county",
        )
        for language, names in edge.VOICES.items()
        for name in names
    ]
    more += [
        Offer(
            language,
            Engine.ESPEAK,
            f"espeak:{language}",
            missing=espeak.missing(language) or "not in the configuration (voice.others)",
        )
        for language in espeak.LANGUAGES
    ]
    for offer in more:
        if (offer.language, offer.name) not in have:
            yield _row(offer, offer.missing)


def _row(offer: Offer, not_now: str) -> dict[str, str]:
    where = (
        "voice_recorded"
        if offer.engine is Engine.BANK
        else "voice_online"
        if offer.online
        else "voice_offline"
    )
    return {
        "language": offer.language,
        "voice": offer.name,
        "where": w(where),
        "approved": f"{offer.approved_by} {offer.approved_on}".strip(),
        "not_now": not_now,
    }


def weights(*, share: bool, as_json: bool) -> Code:
    """Where the offline voice's weights come from; with `share` also into the folder for all environments."""
    from tts.voice import VoiceError
    from tts.voices import weights as found

    try:
        if share:
            found.share()
        size = len(found.load())
    except VoiceError as error:
        raise Failure(Code.FAILED, told(error.detail)) from None
    shared = found.shared_file()
    about = {
        "from": found.where(),
        "sha256": found.SHA256,
        "bytes": size,
        "shared": str(shared) if shared.is_file() else "",
    }
    if as_json:
        say.data_json(about)
        return Code.DONE
    place = w("from_packages") if about["from"] == "packages" else about["from"]
    say.data(w("weights_at", place=place, megabytes=f"{size / 1e6:.0f}", sha256=found.SHA256))
    if about["shared"]:
        say.data(w("weights_shared", file=shared))
    return Code.DONE
