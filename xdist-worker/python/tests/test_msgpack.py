"""MessagePack: known bytes, round trips, and values that cannot be sent."""

from __future__ import annotations

import collections
import enum
import math
import pathlib
from typing import Any

import pytest
from xdist_pytest import msgpack
from xdist_pytest.msgpack import Extension, Packed, Texts, Unsendable, Value, pack, pack_value, unpack


class Color(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "c0"),
        (False, "c2"),
        (True, "c3"),
        (0, "00"),
        (127, "7f"),
        (128, "cc80"),
        (255, "ccff"),
        (256, "cd0100"),
        (65536, "ce00010000"),
        (1 << 32, "cf0000000100000000"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-128, "d080"),
        (-129, "d1ff7f"),
        (-32769, "d2ffff7fff"),
        (-(1 << 31) - 1, "d3ffffffff7fffffff"),
        (1.5, "cb3ff8000000000000"),
        ("", "a0"),
        ("é", "a2c3a9"),
        ("x" * 32, "d920" + "78" * 32),
        (b"\x00", "c40100"),
        ([], "90"),
        ([1, "a"], "9201a161"),
        ({"a": 1}, "81a16101"),
    ],
)
def test_messages_have_the_bytes_of_the_specification(value: Any, expected: str) -> None:
    assert pack(value).hex() == expected
    assert pack_value(value).hex() == expected
    assert unpack(bytes.fromhex(expected)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 << 64, "c71401" + b"18446744073709551616".hex()),
        ((1, 2), "c70302" + "920102"),
        ((), "d40290"),
        ({5}, "d5039105"),
        (frozenset({5}), "d5049105"),
        (1 + 2j, "c71305" + "92cb3ff0000000000000cb4000000000000000"),
        ("\ud800", "c70306" + "eda080"),
    ],
)
def test_values_keep_their_type_as_extensions(value: Any, expected: str) -> None:
    assert pack_value(value).hex() == expected
    decoded = unpack(bytes.fromhex(expected))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 70_000,
        "x" * 300,
        b"x" * 70_000,
        b"x" * 300,
        list(range(20)),
        [None] * 70_000,
        {str(number): number for number in range(70_000)},
        {1: {"a": (1, [2, {3, 4}])}, None: 2, (1, 2): "tuple", b"k": b"v"},
        -(1 << 70),
        tuple(range(100)),
        ("x" * 70_000,),
        -(1 << 63),
        (1 << 64) - 1,
        math.inf,
        -0.0,
    ],
)
def test_values_survive_the_round_trip(value: Any) -> None:
    assert unpack(pack_value(value)) == value


def test_not_a_number_survives_the_round_trip() -> None:
    assert math.isnan(unpack(pack_value(math.nan)))


def test_subclasses_are_sent_as_what_they_derive_from() -> None:
    ordered = collections.OrderedDict(a=1)
    assert unpack(pack_value([Color.RED, ordered, Point(1, 2)])) == [1, {"a": 1}, (1, 2)]
    assert pack({"code": Color.RED}) == pack({"code": 1})


def test_surrogates_in_a_message_are_escaped() -> None:
    assert unpack(pack({"text": "a\udcff"})) == {"text": "a\\udcff"}


def test_a_value_may_stand_anywhere_in_a_message() -> None:
    message = {"properties": [["name", Value((1, "\ud800"))]]}
    assert unpack(pack(message)) == {"properties": [["name", (1, "\ud800")]]}


def test_what_is_packed_already_may_stand_anywhere_in_a_message() -> None:
    message = {"items": [{"id": "a"}, {"id": "b"}], "total": 2}
    assert pack({**message, "items": [Packed(pack(item)) for item in message["items"]]}) == pack(message)


@pytest.mark.parametrize("count", [0, 3, 20, 70_000])
def test_lists_of_texts_are_packed_as_any_list(count: int) -> None:
    texts = Texts()
    for _ in range(2):
        names = [f"\udcff{number % 7}" for number in range(count)]
        assert texts.pack(names) == pack(names)


def test_what_cannot_be_sent_becomes_its_type_and_repr() -> None:
    path = pathlib.PurePosixPath("/a")
    (sent,) = unpack(pack_value([path]))
    assert isinstance(sent, Unsendable)
    assert sent.type_name.endswith("PurePosixPath")
    assert sent.text == "PurePosixPath('/a')"
    assert unpack(pack_value(sent)) == sent


def test_a_failing_repr_is_no_obstacle() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise KeyError("no repr")

    sent = unpack(pack_value({"odd": Odd()}))["odd"]
    assert "whose repr raises KeyError" in sent.text


def test_a_failing_container_is_no_obstacle() -> None:
    class Odd(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise RuntimeError

    assert unpack(pack_value([1, Odd(a=1), 2])) == [1, Unsendable(_name(Odd), "{'a': 1}"), 2]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def test_what_contains_itself_is_not_followed() -> None:
    cyclic: list[Any] = []
    cyclic.append([cyclic, cyclic])
    assert isinstance(unpack(pack_value(cyclic)), Unsendable)


def test_the_same_object_may_occur_twice() -> None:
    shared = [1]
    assert unpack(pack_value([shared, shared])) == [[1], [1]]


def test_nesting_that_explodes_is_not_followed() -> None:
    nested: list[Any] = []
    for _ in range(35):
        nested = [nested, nested]
    assert isinstance(unpack(pack_value(nested)), Unsendable)
    assert isinstance(unpack(pack_value(tuple(nested))), Unsendable)


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_nesting_too_deep_is_not_followed(depth: int) -> None:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    assert isinstance(unpack(pack_value(nested)), Unsendable)


def test_a_number_of_too_many_digits_is_sent_in_some_form() -> None:
    unpack(pack_value(1 << 100_000))


def test_long_reprs_are_cut() -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    assert len(unpack(pack_value(Long())).text) == msgpack.MAX_REPR


def test_unknown_extensions_are_kept() -> None:
    extension = unpack(bytes.fromhex("d46301"))
    assert extension == Extension(99, b"\x01")
    assert pack_value(extension).hex() == "d46301"


@pytest.mark.parametrize(
    "data",
    ["", "c1", "91", "a2c3", "d9", "0000", "c70302920a", "d50281a1", "d401c1", "a1ff", "81"],
)
def test_what_is_no_value_is_an_error(data: str) -> None:
    with pytest.raises(msgpack.DecodeError):
        unpack(bytes.fromhex(data))


def test_the_decoder_does_not_follow_without_end() -> None:
    with pytest.raises(msgpack.DecodeError):
        unpack(b"\x91" * 100_000 + b"\x00")


def test_keys_that_python_cannot_have_become_text() -> None:
    assert unpack(bytes.fromhex("819101" + "02")) == {"[1]": 2}


class Broken:
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pathlib.PurePosixPath("/a b"), "/a b"),
        (Color.RED, str(Color.RED)),
        (Broken(), repr),
        (math, repr),
    ],
)
def test_a_property_that_cannot_be_sent_is_told_by_its_str(value: Any, text: Any) -> None:
    sent = unpack(pack(msgpack.property_value(value)))
    assert sent.text == (repr(value) if text is repr else text)


def test_a_property_that_can_be_sent_keeps_its_type() -> None:
    assert unpack(pack(msgpack.property_value({"a": (1, 2.5)}))) == {"a": (1, 2.5)}
