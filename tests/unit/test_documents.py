"""YAML documents: what is refused, with which words, and that nothing in them is executed or written out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from radiomics_crlm.config import DesignConfig, parse_config, read_yaml
from radiomics_crlm.errors import ConfigError, InputError, printable
from radiomics_crlm.provenance.files import read_json

LAUGHTER = "\n".join(['a0: &a0 "lol"'] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)])
REFUSED = {
    "python object": ("a: !!python/object/apply:os.system ['touch canary']", "ConstructorError in line 1"),
    "billion laughs": (LAUGHTER, "more than 10000 values"),
    "many values": ("[" + "1," * 11_000 + "]", "more than 10000 values"),
    "deep nesting": ("[" * 41 + "]" * 41, "more than 40 levels"),
    "list in itself": ("a: &a [*a]", "a value that holds itself"),
    "mapping in itself": ("a: &a {b: {c: *a}}", "a value that holds itself"),
    "repeated key": ("seed: 1\nrepeats: 2\nseed: 3", r"the key 'seed' twice \(line 3\)"),
    "number without digits": ("a: !!int ''", "IndexError"),
    "no number": ("a: !!int x", "ValueError"),
    "no flag": ("a: !!bool maybe", "KeyError"),
    "no time": ("a: !!timestamp x", "AttributeError"),
    "day that is none": ("a: 2020-02-30", "ValueError"),
    "very long number": ("a: " + "9" * 5000, "ValueError"),
    "character that is none": ('a: "\\U00110000"', "ValueError"),
    "two documents": ("--- 1\n--- 2", "ComposerError in line 2"),
    "not UTF-8": (b"a: \xff", "UnicodeDecodeError"),
    "control characters": ("a: \x00", "ReaderError"),
    "large file": ("a: " + "x" * 200_000, "too large for a configuration"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_documents(name: str, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    path = tmp_path / "given.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = time.process_time()
    with pytest.raises(ConfigError, match=f"given.yaml: .*{reason}"):
        read_yaml(path)
    assert time.process_time() - before < 1
    assert not (tmp_path / "canary").exists()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file is missing"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read; got IsADirectoryError"):
        read_yaml(tmp_path)


def test_references_and_marks_of_byte_order_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_bytes(b"\xef\xbb\xbfbase: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}\n")
    assert read_yaml(path) == {"base": {"x": 1, "y": 2}, "same": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}}


def test_cuts_that_are_no_list_are_a_wrong_field() -> None:
    with pytest.raises(ConfigError, match="cuts: Input should be a valid tuple"):
        parse_config(DesignConfig, {"kind": "temporal", "column": "site", "cuts": 5, "seed": 1}, where="x.yaml")


def test_names_from_a_file_neither_steer_the_screen_nor_fill_it() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(DesignConfig, {"a\x1b[31m\u202e": 1, "x" * 100_000: 2, "seed": 1}, where="x.yaml")
    text = str(refused.value)
    assert "a\\x1b[31m\\u202e: Extra inputs" in text
    assert printable(text) == text
    assert len(text) < 2000


def test_json_with_a_very_long_number(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"a": ' + "9" * 5000 + "}")
    with pytest.raises(InputError, match="the record of the run is not readable as JSON"):
        read_json(path, what="the record of the run")
