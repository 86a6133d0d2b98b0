"""Every message of the protocol, found by reflection: it survives the wire and has limits throughout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from terminals.wire import (
    MAX_BODY,
    MESSAGES,
    Command,
    Hello,
    Probe,
    Query,
    Report,
    Staged,
    Upward,
    WireError,
    decode_command,
    decode_upward,
    encode,
)

_UPWARD = (Report, Hello, Probe, Staged)
_WORDS = {
    r"^[A-Za-z0-9._-]+\Z": "abcXYZ019._-",
    r"^[A-Za-z0-9._-]*\Z": "abcXYZ019._-",
    r"^[A-Za-z0-9_-]+\Z": "abcXYZ019_-",
    r"^[0-9a-f]+\Z": "0123456789abcdef",
}


def decode(kind: type, body: bytes) -> Command | Upward:
    return decode_upward(body) if kind in _UPWARD else decode_command(body)


def strategy(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values that `kind` allows; collections short, so that a message stays below MAX_BODY."""
    match kind:
        case inspect.StrType():
            alphabet = _WORDS.get(kind.pattern or "", st.characters(exclude_categories=["Cs"]))
            return st.text(alphabet, min_size=kind.min_length or 0, max_size=min(kind.max_length or 0, 64))
        case inspect.IntType():
            return st.integers(kind.ge, kind.le)
        case inspect.FloatType():
            low = kind.ge if kind.gt is None else kind.gt
            return st.floats(low, kind.le, exclude_min=kind.gt is not None)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType():
            return st.one_of([strategy(t) for t in kind.types])
        case inspect.TupleType():
            return st.tuples(*map(strategy, kind.item_types))
        case inspect.VarTupleType():
            items = st.lists(strategy(kind.item_type), min_size=kind.min_length or 0, max_size=4)
            return items.map(tuple)
        case inspect.DictType():
            return st.dictionaries(strategy(kind.key_type), strategy(kind.value_type), max_size=4)
        case inspect.StructType():
            return st.builds(kind.cls, **{f.name: strategy(f.type) for f in kind.fields})
    raise AssertionError(f"teach this test about {kind}")


def parts(kind: inspect.Type, path: str) -> Iterator[tuple[str, inspect.Type]]:
    """Every type inside `kind`, with the way to it."""
    yield path, kind
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield from parts(field.type, f"{path}.{field.name}")
        case inspect.VarTupleType():
            yield from parts(kind.item_type, f"{path}[]")
        case inspect.TupleType():
            for item in kind.item_types:
                yield from parts(item, f"{path}[]")
        case inspect.DictType():
            yield from parts(kind.key_type, f"{path}{{key}}")
            yield from parts(kind.value_type, f"{path}{{}}")
        case inspect.UnionType():
            for item in kind.types:
                yield from parts(item, path)


ALL_PARTS = [part for kind in MESSAGES for part in parts(inspect.type_info(kind), kind.__name__)]


def test_the_list_of_messages_is_the_union_that_is_decoded() -> None:
    assert set(MESSAGES) == set(Command.__args__) | set(Upward.__args__)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_message_survives_the_wire(kind: type, data: st.DataObject) -> None:
    message = data.draw(strategy(inspect.type_info(kind)))
    assert decode(kind, encode(message)) == message


@pytest.mark.parametrize(("path", "kind"), ALL_PARTS, ids=[path for path, _ in ALL_PARTS])
def test_every_string_list_and_number_has_its_limit(path: str, kind: inspect.Type) -> None:
    match kind:
        case inspect.StrType() | inspect.VarTupleType() | inspect.DictType():
            assert kind.max_length is not None, path
        case inspect.IntType():
            assert kind.ge is not None, path
            assert kind.le is not None, path
        case inspect.FloatType():
            assert (kind.gt is None) != (kind.ge is None), path
            assert kind.le is not None, path
        case inspect.ListType() | inspect.BytesType() | inspect.AnyType() | inspect.SetType():
            pytest.fail(f"{path} is of an unbounded or mutable kind")


def least(kind: inspect.Type) -> Any:
    """A smallest valid value, in JSON's terms."""
    match kind:
        case inspect.StrType():
            return "a" * (kind.min_length or 0)
        case inspect.IntType():
            return kind.ge
        case inspect.FloatType():
            return 1.0
        case inspect.BoolType():
            return False
        case inspect.TupleType():
            return [least(t) for t in kind.item_types]
        case inspect.VarTupleType():
            return [least(kind.item_type) for _ in range(kind.min_length or 0)]
        case inspect.DictType():
            return {}
        case inspect.UnionType():
            return least(next(t for t in kind.types if not isinstance(t, inspect.NoneType)))
        case inspect.StructType():
            tag = {} if kind.tag is None else {"type": kind.tag}
            return tag | {f.name: least(f.type) for f in kind.fields}
    raise AssertionError(f"teach this test about {kind}")


def too_much(kind: inspect.Type) -> Iterator[Any]:
    """Values just outside what `kind` allows."""
    match kind:
        case inspect.StrType():
            assert kind.max_length is not None
            yield "a" * (kind.max_length + 1)
            if kind.min_length:
                yield "a" * (kind.min_length - 1)
            if kind.pattern:
                for mark in ("\n", "/", "+", "#", " ", "村"):
                    yield "a" * max((kind.min_length or 1) - 1, 1) + mark
        case inspect.IntType():
            assert kind.ge is not None
            assert kind.le is not None
            yield from (kind.ge - 1, kind.le + 1, 0.5, "1", None)
        case inspect.FloatType():
            assert kind.le is not None
            low = kind.ge if kind.gt is None else kind.gt
            assert low is not None
            yield from (low - 1, kind.le * 1.01, "1", True)
            if kind.gt is not None:
                yield kind.gt
        case inspect.VarTupleType():
            assert kind.max_length is not None
            yield [least(kind.item_type)] * (kind.max_length + 1)
            for bad in too_much(kind.item_type):
                yield [least(kind.item_type)] * max((kind.min_length or 1) - 1, 0) + [bad]
        case inspect.TupleType():
            good = least(kind)
            yield from (good[:-1], [*good, 0])
            for bad in too_much(kind.item_types[0]):
                yield [bad, *good[1:]]
        case inspect.DictType():
            assert kind.max_length is not None
            yield {f"k{n}": least(kind.value_type) for n in range(kind.max_length + 1)}
            for bad in too_much(kind.key_type):
                yield {bad: least(kind.value_type)}
            for bad in too_much(kind.value_type):
                yield {"k": bad}
        case inspect.UnionType():
            for option in kind.types:
                if not isinstance(option, inspect.NoneType):
                    yield from (bad for bad in too_much(option) if bad is not None)
        case inspect.StructType():
            for field in kind.fields:
                for bad in too_much(field.type):
                    yield least(kind) | {field.name: bad}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_limit_is_enforced_when_decoding(kind: type) -> None:
    info = inspect.type_info(kind)
    decode(kind, msgspec.json.encode(least(info)))
    cases = [msgspec.json.encode(bad) for bad in too_much(info)]
    assert len(cases) > 3
    for body in cases:
        with pytest.raises(WireError):
            decode(kind, body)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_unknown_fields_are_ignored_and_unknown_kinds_refused(kind: type) -> None:
    body = least(inspect.type_info(kind))
    newer = msgspec.json.encode(body | {"something_new": [1, {"a": None}]})
    assert decode(kind, newer) == decode(kind, msgspec.json.encode(body))
    with pytest.raises(WireError):
        decode(kind, msgspec.json.encode(body | {"type": "dance"}))
    other = decode_command if kind in _UPWARD else decode_upward
    with pytest.raises(WireError):
        other(msgspec.json.encode(body))


@given(st.binary(max_size=400) | st.text(max_size=100).map(lambda t: f'{{"type":"query","x":"{t}"'.encode()))
def test_any_bytes_at_all_are_only_ever_a_wire_error(noise: bytes) -> None:
    for decoder in (decode_command, decode_upward):
        with pytest.raises(WireError):
            decoder(noise)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"query","broadcast":"\xff","issued":1}',
        b'{"type":"q\xfe"}',
        b'{"type":"query","broadcast":"a","issued":' + b"9" * 9_000 + b"}",
        b"[" * 16_000,
        b'{"a":' * 3_000,
        b'{"type":"query","broadcast":"\\ud800","issued":1}',
        b" " * (MAX_BODY + 1),
    ],
    ids=["not UTF-8", "kind not UTF-8", "long number", "deep list", "deep object", "lone surrogate", "long"],
)
def test_hostile_bytes_are_a_wire_error(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_command(body)


def test_a_body_over_the_limit_is_neither_made_nor_read() -> None:
    long = Hello("t", "b", 0, "n" * 16, 0, holds=("a" * 64,) * 300)
    with pytest.raises(WireError, match=str(MAX_BODY)):
        encode(long)
    with pytest.raises(WireError, match=str(MAX_BODY)):
        decode_command(encode(Query("b", 1)) + b" " * MAX_BODY)
