"""Fields of serialized ``tf.train.Example`` messages, found without decoding the others.

An Example is ``features {feature {key: "image" value {bytes_list {value: ...}}} ...}`` in the
protocol buffers' wire format. Skipping an image by its length makes a scan over the labels of a
large set a matter of minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_DELIMITED, VARINT = 2, 0


def find_feature(record: memoryview, key: str, start: int, end: int) -> tuple[int, int]:
    """Finds the list of values of a feature: where it begins and ends in the record.

    Args:
      record: bytes of the message, or of a file around it.
      key: string, name of the feature.
      start, end: ints, place of the message in ``record``.

    Raises:
      ValueError: there is no such feature, or the bytes are no Example.
    """
    wanted = key.encode()
    for _, a, b in fields(record, start, end):
        for _, c, d in fields(record, a, b):
            name, value = None, None
            for number, e, f in fields(record, c, d):
                if number == 1:
                    name = bytes(record[e:f])
                elif number == 2:
                    value = (e, f)
            if name == wanted and value is not None:
                for _, e, f in fields(record, *value):  # the one list of a Feature
                    return e, f
    raise ValueError(f"no feature '{key}'")


def read_bytes(record: memoryview, key: str, start: int = 0, end: int | None = None) -> bytes:
    """The first value of a feature of bytes."""
    end = len(record) if end is None else end
    for _, a, b in fields(record, *find_feature(record, key, start, end)):
        return bytes(record[a:b])
    raise ValueError(f"feature '{key}' is empty")


def read_integer(record: memoryview, key: str, start: int = 0, end: int | None = None) -> int:
    """The first value of a feature of integers."""
    end = len(record) if end is None else end
    a, b = find_feature(record, key, start, end)
    if a == b:
        raise ValueError(f"feature '{key}' is empty")
    tag, at = _varint(record, a)
    if tag & 7 == LENGTH_DELIMITED:  # packed
        _, at = _varint(record, at)
    value, _ = _varint(record, at)
    return value - 2**64 if value >= 2**63 else value


def fields(record: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields number, beginning and end of each length-delimited field of a message."""
    at = start
    while at < end:
        tag, at = _varint(record, at)
        if tag & 7 != LENGTH_DELIMITED:
            raise ValueError("not an Example")
        length, at = _varint(record, at)
        if at + length > end:
            raise ValueError("a field ends behind its message")
        yield tag >> 3, at, at + length
        at += length


def _varint(record: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(record) or shift > 63:
            raise ValueError("a number ends behind its message")
        byte = record[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
