"""JSON files with a checksum: every damaged byte is found out or changes nothing."""

import json

import pytest

from splitnet_tf.storage.json_files import MAX_BYTES, checksum, parse_json, read_json, write_json

DOCUMENT = {"name": "a\u00e9", "numbers": [1, 2.5, None, True], "inner": {"b": 1, "a": 2}}


def test_a_document_comes_back(tmp_path):
    write_json(tmp_path / "x.json", DOCUMENT)
    assert read_json(tmp_path / "x.json") == DOCUMENT
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


def test_the_checksum_is_of_the_content_not_of_the_layout():
    turned = {key: DOCUMENT[key] for key in reversed(DOCUMENT)}
    signed = {"sha256": checksum(DOCUMENT), **turned}
    assert parse_json(json.dumps(signed, indent=7)) == DOCUMENT
    assert parse_json(json.dumps(DOCUMENT)) == DOCUMENT  # written by hand


def test_every_flipped_bit_and_every_cut_is_found_out_or_harmless(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, DOCUMENT)
    content = path.read_bytes()
    damaged = [content[:n] for n in range(len(content))]
    for n in range(len(content)):
        damaged += [content[:n] + bytes([content[n] ^ 1 << b]) + content[n + 1 :] for b in range(8)]
    found_out = 0
    for other in damaged:
        path.write_bytes(other)
        try:
            found = read_json(path)
        except ValueError:
            found_out += 1
        else:  # white space, or the name of the checksum itself
            assert {k: found.get(k) for k in DOCUMENT} == DOCUMENT
    assert found_out > 0.7 * len(damaged)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"a": 1e', "[" * 10**6, '{"a":' * 10**5])
def test_other_texts_are_a_value_error(text):
    with pytest.raises(ValueError, match="not valid JSON|must hold a JSON object"):
        parse_json(text)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "x.json"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="cannot be read"):
        read_json(tmp_path)
