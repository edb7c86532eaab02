"""Parquet files that lie about themselves: footers and page headers taken apart, changed and put together again; and bombs.

Thrift's compact protocol, as far as Parquet needs it (doc/specs/thrift-compact-protocol.md of Apache Thrift): a struct is a
dict from field number to (type, value), a list is a pair (type of its elements, values). Field numbers are those of
parquet.thrift.
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pyarrow as pa

MAGIC = b"PAR1"
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
Struct = dict[int, tuple[int, Any]]


class Reader:
    """Reads structs from bytes; ``at`` is where the next one begins."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.content, self.at = content, at

    def take(self, count: int) -> bytes:
        self.at += count
        return self.content[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def number(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):  # an element of a list; a field has its value in its type
            return self.take(1)[0] == TRUE
        if kind in (I16, I32, I64):
            return self.number()
        if kind == BYTE:
            return self.take(1)[0]
        if kind == DOUBLE:
            return struct.unpack("<d", self.take(8))[0]
        if kind == BINARY:
            return self.take(self.varint())
        if kind in (LIST, SET):
            head = self.take(1)[0]
            count = head >> 4 if head >> 4 < 15 else self.varint()
            return head & 15, [self.value(head & 15) for _ in range(count)]
        assert kind == STRUCT, kind
        return self.struct()

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while head := self.take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self.number()
            kind = head & 15
            found[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self.value(kind))
        return found


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(value: int) -> bytes:
    return varint((value << 1) ^ (value >> 63))


def written(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE):
        return bytes([TRUE if value else FALSE])
    if kind in (I16, I32, I64):
        return number(value)
    if kind == BYTE:
        return bytes([value])
    if kind == DOUBLE:
        return struct.pack("<d", value)
    if kind == BINARY:
        return varint(len(value)) + value
    if kind in (LIST, SET):
        inner, values = value
        head = bytes([len(values) << 4 | inner]) if len(values) < 15 else bytes([0xF0 | inner]) + varint(len(values))
        return head + b"".join(written(inner, one) for one in values)
    out, last = bytearray(), 0
    for field, (inner, content) in sorted(value.items()):
        inner = (TRUE if content else FALSE) if inner in (TRUE, FALSE) else inner
        out += bytes([(field - last) << 4 | inner]) if 0 < field - last < 16 else bytes([inner]) + number(field)
        out += b"" if inner in (TRUE, FALSE) else written(inner, content)
        last = field
    return bytes(out) + b"\0"


def read_footer(content: bytes) -> Struct:
    (length,) = struct.unpack("<I", content[-8:-4])
    return Reader(content, len(content) - 8 - length).struct()


def with_footer(pages: bytes, footer: Struct) -> bytes:
    raw = written(STRUCT, footer)
    return pages + raw + struct.pack("<I", len(raw)) + MAGIC


# --- lies -------------------------------------------------------------------------------------------------------------

ROWS, GROUPS = 3, 4  # of the footer
COLUMNS, GROUP_ROWS = 1, 3  # of a row group
META = 3  # of a column chunk
VALUES, UNCOMPRESSED, COMPRESSED, DATA_AT, DICTIONARY_AT, STATISTICS, SIZES = 5, 6, 7, 9, 11, 12, 16  # of its metadata
LARGEST = 2**31 - 1
PLAIN, RLE, BY_DICTIONARY = 0, 3, 8


def body_of(content: bytes) -> bytes:
    return content[: len(content) - 8 - int.from_bytes(content[-8:-4], "little")]


def groups_of(footer: Struct) -> list[Struct]:
    return footer[GROUPS][1][1]


def column_of(footer: Struct, place: int) -> Struct:
    """Metadata of a column of the first row group."""
    return groups_of(footer)[0][COLUMNS][1][1][place][META][1]


def with_rows(content: bytes, rows: int) -> bytes:
    footer = read_footer(content)
    footer[ROWS] = (I64, rows)
    return with_footer(body_of(content), footer)


def with_size_statistics(content: bytes, place: int) -> bytes:
    """A column of numbers that says how many bytes of text it has: pyarrow ends the program when it is asked about it."""
    footer = read_footer(content)
    column_of(footer, place)[SIZES] = (STRUCT, {1: (I64, 5)})
    return with_footer(body_of(content), footer)


def with_column(content: bytes, place: int, pages: list[bytes], *, dictionary: bool = False, **says: int) -> bytes:
    """Other pages for a column, and what its metadata says of them: at most ``values`` and ``size``."""
    footer, body = read_footer(content), body_of(content)
    meta = column_of(footer, place)
    for field in (DICTIONARY_AT, STATISTICS, SIZES):
        meta.pop(field, None)
    meta[DATA_AT] = (I64, len(body) + (len(pages[0]) if dictionary else 0))
    if dictionary:
        meta[DICTIONARY_AT] = (I64, len(body))
    meta[COMPRESSED] = (I64, sum(map(len, pages)))
    meta[UNCOMPRESSED] = (I64, says.get("size", 100))
    if "values" in says:
        meta[VALUES] = (I64, says["values"])
    return with_footer(body + b"".join(pages), footer)


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def zeros(count: int) -> bytes:
    """Frames of zstd that unpack to so many zeros, without that anybody has them in memory."""
    step = 1 << 24
    return zstd(bytes(step)) * (count // step) + zstd(bytes(count % step))


def page(packed: bytes, unpacked: int, values: int, encoding: int = PLAIN) -> bytes:
    header = {1: (I32, values), 2: (I32, encoding), 3: (I32, RLE), 4: (I32, RLE)}
    return written(STRUCT, {1: (I32, 0), 2: (I32, unpacked), 3: (I32, len(packed)), 5: (STRUCT, header)}) + packed


def dictionary_page(packed: bytes, unpacked: int, values: int) -> bytes:
    header = {1: (I32, values), 2: (I32, PLAIN)}
    return written(STRUCT, {1: (I32, 2), 2: (I32, unpacked), 3: (I32, len(packed)), 7: (STRUCT, header)}) + packed


def run(count: int, value: int) -> bytes:
    return varint(count << 1) + bytes([value])


def levels(*runs: bytes) -> bytes:
    raw = b"".join(runs)
    return struct.pack("<I", len(raw)) + raw


def many_words(words: int, rows: int) -> list[bytes]:
    """Pages of a column of text whose dictionary has so many empty words, of which all rows have the first."""
    places = levels(run(rows, 1)) + bytes([1]) + run(rows, 0)
    return [dictionary_page(zeros(4 * words), 4 * words, words), page(zstd(places), len(places), rows, BY_DICTIONARY)]


def bombs(content: bytes, rows: int, scale: int) -> dict[str, bytes]:
    """Small files that ask for some ``scale`` bytes; ``content`` is a submission of ``rows`` rows, packed with zstd.

    Its columns are sample_id, gaze_lon_deg, gaze_lat_deg and heatmap, as :func:`srgaze360.predictions.write_predictions` orders
    them.
    """
    made = {}
    # a page of zeros, behind the levels that it needs
    start = levels(run(rows, 1))
    made["page"] = with_column(content, 1, [page(zstd(start) + zeros(scale), len(start) + scale, rows)])
    made["page that is not there"] = with_column(content, 1, [page(zstd(start), LARGEST, rows)])
    # ids: a dictionary of empty words, sixteen bytes each in memory
    made["dictionary"] = with_column(content, 0, many_words(scale // 16, rows), dictionary=True)
    # one heatmap of equal values without end
    values = scale // 8
    flat = levels(run(1, 0), run(values - 1, 1)) + levels(run(values, 3)) + bytes([1]) + run(values, 0)
    one = struct.pack("<e", 1.0)
    pages = [dictionary_page(zstd(one), 2, 1), page(zstd(flat), len(flat), values, BY_DICTIONARY)]
    made["runs"] = with_column(content, 3, pages, dictionary=True)
    # a footer of column chunks that say nothing
    footer = read_footer(content)
    groups_of(footer)[0][COLUMNS] = (LIST, (STRUCT, [{2: (I64, 0)}] * (scale // 600)))
    made["footer"] = with_footer(body_of(content), footer)
    return made


# --- lies drawn at random ---------------------------------------------------------------------------------------------

NUMBERS = (-(2**63), -(2**31), -1, 0, 1, 2, 3, 5, 100, LARGEST, 2**31, 2**40, 2**62, 2**63 - 1)


def mutated(rng: random.Random, kind: int, value: Any, depth: int = 0) -> Any:
    """A value with something changed in it, as deep as chance goes."""
    if kind == STRUCT and value and (depth == 0 or rng.random() < 0.93):
        field = rng.choice(sorted(value))
        inner, content = value[field]
        return {**value, field: (inner, mutated(rng, inner, content, depth + 1))}
    if kind in (LIST, SET) and value[1] and rng.random() < 0.9:
        place = rng.randrange(len(value[1]))
        return value[0], [mutated(rng, value[0], one, depth + 1) if i == place else one for i, one in enumerate(value[1])]
    if kind == STRUCT:
        gone = rng.choice([*sorted(value), None])
        return {field: content for field, content in value.items() if field != gone}
    if kind in (LIST, SET):
        inner, values = value
        return inner, rng.choice([[], values + values, values[:-1], values * 50, values[::-1]])
    if kind == BINARY:
        return rng.choice([b"", value + value, value[:-1], b"x" * 1000])
    if kind in (TRUE, FALSE):
        return not value
    largest = {BYTE: 255, I16: 2**15 - 1, I32: LARGEST}.get(kind, 2**63 - 1)
    return rng.choice([one for one in NUMBERS if (0 if kind == BYTE else -largest - 1) <= one <= largest])


def lie(content: bytes, rng: random.Random) -> bytes:
    """A file with a changed footer, or with a changed header of one of its pages."""
    footer, body = read_footer(content), body_of(content)
    if rng.random() < 0.6:
        for _ in range(rng.choice([1, 1, 2, 3])):
            footer = mutated(rng, STRUCT, footer)
        return with_footer(body, footer)
    columns = [chunk[META][1] for chunk in groups_of(footer)[0][COLUMNS][1][1]]
    starts = sorted(meta.get(DICTIONARY_AT, meta[DATA_AT])[1] for meta in columns)
    meta = rng.choice(columns)
    start = meta.get(DICTIONARY_AT, meta[DATA_AT])[1]
    end = min((other for other in starts if other > start), default=len(body))
    at = rng.choice([start, meta[DATA_AT][1]])
    reader = Reader(body, at)
    header = written(STRUCT, mutated(rng, STRUCT, reader.struct()))
    chunk = body[start:at] + header + body[reader.at : end]
    # the changed chunk stands at the end; what lies behind its first page may be a little further on
    later = len(header) - (reader.at - at) if at < meta[DATA_AT][1] else 0
    meta[DATA_AT] = (I64, meta[DATA_AT][1] - start + len(body) + later)
    if DICTIONARY_AT in meta:
        meta[DICTIONARY_AT] = (I64, len(body))
    meta[COMPRESSED] = (I64, len(chunk))
    return with_footer(body + chunk, footer)
