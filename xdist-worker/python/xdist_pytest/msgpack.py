"""MessagePack, as far as the wire needs it, and a little more: any Python value can be sent, if need be as its repr.

Two kinds of data are told apart. A *message* is built by this package from dicts with text keys, lists, text, numbers
and bytes; text that is not valid Unicode is escaped in it. A `Value` inside a message is whatever a plugin supplied; it
keeps its type through the extension types of `xdist-proto/src/value.rs`, and what cannot be kept becomes its type's
name and its repr. Encoding never raises.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

BIG_INTEGER = 1
TUPLE = 2
SET = 3
FROZEN_SET = 4
COMPLEX = 5
SURROGATE_TEXT = 6
UNSENDABLE = 7

#: Deepest nesting of containers within a `Value`. The wire allows 64 levels, and a message has its own.
MAX_VALUE_DEPTH = 40
#: Longest encoding of one `Value`, in bytes. A frame may have 16 MiB.
MAX_VALUE_BYTES = 8 << 20
#: Longest repr that is sent for what cannot be sent itself, in characters.
MAX_REPR = 2000
#: Deepest nesting that the decoder follows.
MAX_DECODE_DEPTH = 200


class Value:
    """Marks data within a message that is of any Python type."""

    __slots__ = ("data",)

    def __init__(self, data: object) -> None:
        self.data = data


class Packed(bytes):
    """A part of a message that is encoded already."""


class Extension(NamedTuple):
    """An extension of a type that is not known here."""

    code: int
    data: bytes


class Unsendable(NamedTuple):
    """What is left of a value that could not be sent."""

    type_name: str
    text: str


class DecodeError(ValueError):
    """Bytes that are not one MessagePack value."""


class _TooMuch(Exception):
    """A value is nested too deeply, contains itself, or is too long."""


_SENDABLE = (type(None), str, int, float, complex, bytes, bytearray, memoryview, dict, list, tuple, set, frozenset)


def pack(message: object) -> bytes:
    """Encodes a message."""
    out = bytearray()
    _pack_message(message, out)
    return bytes(out)


class Texts:
    """Encodes lists of texts of which most come many times."""

    def __init__(self) -> None:
        self._encoded: dict[str, bytes] = {}

    def pack(self, texts: list[str]) -> Packed:
        """Encodes a list."""
        out = bytearray()
        _pack_length(len(texts), out, 0x90, 0xDC)
        encoded = self._encoded
        for text in texts:
            one = encoded.get(text)
            if one is None:
                one = encoded[text] = pack(text)
            out += one
        return Packed(out)


def pack_value(value: object) -> bytes:
    """Encodes a value of any type."""
    out = bytearray()
    _pack_any(value, out)
    return bytes(out)


def property_value(value: object) -> Value:
    """The value of a recorded property. One that cannot be sent is told by its `str`, as pytest's JUnit XML has it."""
    if isinstance(value, _SENDABLE) and not isinstance(value, enum.Enum):
        return Value(value)
    try:
        text = _limited(str.__str__(str(value)))
    except Exception:
        text = _safe_repr(value)
    return Value(Unsendable(_type_name(value), text))


def plain_text(text: str) -> bytes:
    """UTF-8, with lone surrogates escaped."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _pack_message(data: Any, out: bytearray) -> None:
    kind = type(data)
    if kind is str:
        _pack_text(plain_text(data), out)
    elif kind is int:
        _pack_integer(data, out)
    elif kind is dict:
        _pack_length(len(data), out, 0x80, 0xDE)
        for key, value in data.items():
            _pack_text(plain_text(key), out)
            _pack_message(value, out)
    elif kind is list:
        _pack_length(len(data), out, 0x90, 0xDC)
        for value in data:
            _pack_message(value, out)
    elif kind is Value:
        _pack_any(data.data, out)
    elif kind is bool:
        out.append(0xC3 if data else 0xC2)
    elif data is None:
        out.append(0xC0)
    elif kind is Packed:
        out += data
    elif kind is bytes:
        _pack_bytes(data, out)
    elif kind is float:
        out += _FLOAT.pack(0xCB, data)
    elif isinstance(data, str):
        # A subclass, such as a plugin's name for an outcome.
        _pack_text(plain_text(str.__str__(data)), out)
    elif isinstance(data, int):
        _pack_integer(int.__index__(data), out)
    else:
        raise TypeError(f"{kind.__name__} in a message")


def _pack_any(data: object, out: bytearray) -> None:
    """Encodes a value; if it is too deep, cyclic or too long, all of it becomes its type's name."""
    start = len(out)
    try:
        _ValueEncoder().encode(data, out, MAX_VALUE_DEPTH)
    except (_TooMuch, RecursionError, MemoryError):
        # Its repr would be as long and deep, so there is none.
        del out[start:]
        name = _type_name(data)
        _pack_unsendable(name, f"<{name} that is too large, too deep or contains itself>", out)


class _ValueEncoder:
    """Encodes one value, and knows how much of it there may still be."""

    def __init__(self) -> None:
        self._parents: set[int] = set()
        self._budget = MAX_VALUE_BYTES

    def encode(self, data: object, out: bytearray, depth: int) -> None:
        """Appends the value; `depth` is how many containers may be within each other.

        Raises `_TooMuch` if it is not to be sent.
        """
        start = len(out)
        try:
            if _pack_scalar(data, out):
                # Many small values take long, even where they take little space.
                self._budget -= len(out) - start + 15
            else:
                self._budget -= 16
                self._encode_container(data, out, depth)
            if self._budget < 0:
                raise _TooMuch
        except (_TooMuch, RecursionError, MemoryError):
            raise
        except Exception:
            # A subclass with methods that fail, or a container that is being changed.
            del out[start:]
            _pack_unsendable(_type_name(data), _safe_repr(data), out)

    def _encode_container(self, data: object, out: bytearray, depth: int) -> None:
        identity = id(data)
        if depth == 0 or identity in self._parents:
            raise _TooMuch
        self._parents.add(identity)
        try:
            self._encode_contents(data, out, depth - 1)
        finally:
            self._parents.discard(identity)

    def _encode_contents(self, data: object, out: bytearray, depth: int) -> None:
        if isinstance(data, dict):
            entries = list(data.items())
            _pack_length(len(entries), out, 0x80, 0xDE)
            for key, value in entries:
                self.encode(key, out, depth)
                self.encode(value, out, depth)
        elif isinstance(data, list):
            self._encode_array(data, out, depth)
        elif isinstance(data, Extension):
            _pack_extension(data.code, data.data, out)
        elif isinstance(data, Unsendable):
            _pack_unsendable(data.type_name, data.text, out)
        elif isinstance(data, (tuple, set, frozenset)):
            inner = bytearray()
            self._encode_array(data, inner, depth)
            kinds = ((tuple, TUPLE), (set, SET), (frozenset, FROZEN_SET))
            _pack_extension(next(code for kind, code in kinds if isinstance(data, kind)), inner, out)
        else:
            _pack_unsendable(_type_name(data), _safe_repr(data), out)

    def _encode_array(self, data: Iterable[object], out: bytearray, depth: int) -> None:
        values = list(data)
        _pack_length(len(values), out, 0x90, 0xDC)
        for value in values:
            self.encode(value, out, depth)


def _pack_scalar(data: Any, out: bytearray) -> bool:
    """Encodes what holds no other values; answers whether it was that."""
    if data is None:
        out.append(0xC0)
    elif isinstance(data, bool):
        out.append(0xC3 if data else 0xC2)
    elif isinstance(data, str):
        text = str.__str__(data)
        try:
            _pack_text(text.encode(), out)
        except UnicodeEncodeError:
            _pack_extension(SURROGATE_TEXT, text.encode("utf-8", "surrogatepass"), out)
    elif isinstance(data, int):
        _pack_integer(int.__index__(data), out)
    elif isinstance(data, float):
        out += _FLOAT.pack(0xCB, float.__float__(data))
    elif isinstance(data, (bytes, bytearray, memoryview)):
        _pack_bytes(bytes(data), out)
    elif isinstance(data, complex):
        _pack_extension(COMPLEX, b"\x92" + _FLOAT.pack(0xCB, data.real) + _FLOAT.pack(0xCB, data.imag), out)
    else:
        return False
    return True


def _pack_integer(number: int, out: bytearray) -> None:
    if 0 <= number < 0x80 or -0x20 <= number < 0:
        out.append(number & 0xFF)
    elif number >= 0:
        if number < 0x100:
            out += bytes((0xCC, number))
        elif number < 0x10000:
            out += _U16.pack(0xCD, number)
        elif number < 0x1_0000_0000:
            out += _U32.pack(0xCE, number)
        elif number < 1 << 64:
            out += _U64.pack(0xCF, number)
        else:
            _pack_extension(BIG_INTEGER, _decimal(number), out)
    elif number >= -0x80:
        out += bytes((0xD0, number & 0xFF))
    elif number >= -0x8000:
        out += _I16.pack(0xD1, number)
    elif number >= -0x8000_0000:
        out += _I32.pack(0xD2, number)
    elif number >= -(1 << 63):
        out += _I64.pack(0xD3, number)
    else:
        _pack_extension(BIG_INTEGER, _decimal(number), out)


def _decimal(number: int) -> bytes:
    # Raises ValueError beyond 4300 digits on newer Pythons, and is then sent as unsendable.
    return str(number).encode()


def _pack_text(text: bytes, out: bytearray) -> None:
    length = len(text)
    if length < 32:
        out.append(0xA0 | length)
    elif length < 0x100:
        out += bytes((0xD9, length))
    elif length < 0x10000:
        out += _U16.pack(0xDA, length)
    else:
        out += _U32.pack(0xDB, length)
    out += text


def _pack_bytes(data: bytes, out: bytearray) -> None:
    length = len(data)
    if length < 0x100:
        out += bytes((0xC4, length))
    elif length < 0x10000:
        out += _U16.pack(0xC5, length)
    else:
        out += _U32.pack(0xC6, length)
    out += data


def _pack_length(length: int, out: bytearray, fix: int, marker: int) -> None:
    """The head of an array or a map; `marker` is that of the 16-bit form, and the 32-bit form follows it."""
    if length < 16:
        out.append(fix | length)
    elif length < 0x10000:
        out += _U16.pack(marker, length)
    else:
        out += _U32.pack(marker + 1, length)


def _pack_extension(code: int, data: bytes | bytearray, out: bytearray) -> None:
    length = len(data)
    fixed = _FIXED_EXTENSIONS.get(length)
    if fixed is not None:
        out.append(fixed)
    elif length < 0x100:
        out += bytes((0xC7, length))
    elif length < 0x10000:
        out += _U16.pack(0xC8, length)
    else:
        out += _U32.pack(0xC9, length)
    out.append(code & 0xFF)
    out += data


def _pack_unsendable(type_name: str, text: str, out: bytearray) -> None:
    inner = bytearray(b"\x92")
    _pack_text(plain_text(type_name), inner)
    _pack_text(plain_text(text), inner)
    _pack_extension(UNSENDABLE, inner, out)


def _type_name(data: object) -> str:
    kind = type(data)
    try:
        module, name = str(kind.__module__), str(kind.__qualname__)
    except Exception:
        return "object"
    return name if module == "builtins" else f"{module}.{name}"


def _safe_repr(data: object) -> str:
    try:
        text = str.__str__(repr(data))
    except Exception as error:
        text = f"<{_type_name(data)} whose repr raises {type(error).__name__}>"
    return _limited(text)


def _limited(text: str) -> str:
    return text if len(text) <= MAX_REPR else text[: MAX_REPR - 3] + "..."


def unpack(data: bytes) -> Any:
    """Decodes one value that takes up all of `data`.

    Raises `DecodeError` if it is not that.
    """
    decoder = _Decoder(data)
    try:
        value = decoder.value(0)
    except (IndexError, struct.error, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from error
    if decoder.position != len(data):
        raise DecodeError(f"{len(data) - decoder.position} bytes follow the value")
    return value


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def value(self, depth: int) -> Any:
        if depth > MAX_DECODE_DEPTH:
            raise DecodeError("nested too deeply")
        marker = self.data[self.position]
        self.position += 1
        if marker < 0x80:
            return marker
        if marker >= 0xE0:
            return marker - 0x100
        if marker < 0x90:
            return self.map(marker & 0x0F, depth)
        if marker < 0xA0:
            return self.array(marker & 0x0F, depth)
        if marker < 0xC0:
            return self.take(marker & 0x1F).decode()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker in _NUMBERS:
            form = _NUMBERS[marker]
            return form.unpack(self.take(form.size))[0]
        if marker in _FIXED_LENGTHS:
            return self.extension(_FIXED_LENGTHS[marker], depth)
        if marker not in _LENGTHS:
            raise DecodeError(f"byte {marker:#x} begins no value")
        kind, form = _LENGTHS[marker]
        length = form.unpack(self.take(form.size))[0]
        if kind == "text":
            return self.take(length).decode()
        if kind == "bytes":
            return self.take(length)
        if kind == "extension":
            return self.extension(length, depth)
        return self.array(length, depth) if kind == "array" else self.map(length, depth)

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise DecodeError("cut off")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def array(self, length: int, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(length)]

    def map(self, length: int, depth: int) -> dict[Any, Any]:
        entries = {}
        for _ in range(length):
            key = self.value(depth + 1)
            value = self.value(depth + 1)
            try:
                entries[key] = value
            except TypeError:
                # Another implementation's map with, say, an array for a key.
                entries[repr(key)] = value
        return entries

    def extension(self, length: int, depth: int) -> Any:
        code = _I8.unpack(self.take(1))[0]
        data = self.take(length)
        if code == BIG_INTEGER:
            try:
                return int(data)
            except ValueError as error:
                raise DecodeError(str(error)) from error
        if code == SURROGATE_TEXT:
            return data.decode("utf-8", "surrogatepass")
        if code not in (TUPLE, SET, FROZEN_SET, COMPLEX, UNSENDABLE):
            return Extension(code, data)
        inner = _Decoder(data)
        values = inner.value(depth + 1)
        if inner.position != length or not isinstance(values, list):
            raise DecodeError(f"malformed extension {code}")
        try:
            return _EXTENSIONS[code](values)
        except TypeError as error:
            raise DecodeError(f"malformed extension {code}") from error


_I8 = struct.Struct(">b")
_FLOAT = struct.Struct(">Bd")
_U16 = struct.Struct(">BH")
_U32 = struct.Struct(">BI")
_U64 = struct.Struct(">BQ")
_I16 = struct.Struct(">Bh")
_I32 = struct.Struct(">Bi")
_I64 = struct.Struct(">Bq")

_FIXED_EXTENSIONS = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
_FIXED_LENGTHS = {marker: length for length, marker in _FIXED_EXTENSIONS.items()}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_LENGTHS = {
    0xC4: ("bytes", struct.Struct(">B")),
    0xC5: ("bytes", struct.Struct(">H")),
    0xC6: ("bytes", struct.Struct(">I")),
    0xC7: ("extension", struct.Struct(">B")),
    0xC8: ("extension", struct.Struct(">H")),
    0xC9: ("extension", struct.Struct(">I")),
    0xD9: ("text", struct.Struct(">B")),
    0xDA: ("text", struct.Struct(">H")),
    0xDB: ("text", struct.Struct(">I")),
    0xDC: ("array", struct.Struct(">H")),
    0xDD: ("array", struct.Struct(">I")),
    0xDE: ("map", struct.Struct(">H")),
    0xDF: ("map", struct.Struct(">I")),
}
_EXTENSIONS: dict[int, Any] = {
    TUPLE: tuple,
    SET: set,
    FROZEN_SET: frozenset,
    COMPLEX: lambda parts: complex(*parts),
    UNSENDABLE: lambda parts: Unsendable(*parts),
}
