"""Checkpoints: what comes back is what was kept, and nothing damaged is ever believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.errors import CrlmError
from radiomics_crlm.provenance.files import sha256_bytes
from radiomics_crlm.study.checkpoints import Checkpoints, digest

KEY, OTHER = "ab" + "0" * 62, "cd" + "1" * 62
TABLES = {
    "numbers": pd.DataFrame(
        {"a": [0.1, -0.0, 1e-300, np.nan, np.inf], "b": np.arange(5), "c": [True, False] * 2 + [True]}
    ),
    "narrow": pd.DataFrame({"a": np.array([0.1, 2.5], dtype="float32"), "b": np.array([1, -2], dtype="int8")}),
    "texts": pd.DataFrame({"patient_id": ["P1", 'P2\n"ä'], "rule": ["x", None]}),
    "objects": pd.DataFrame({"a": pd.Series([None, "x", 1, 2.5, float("nan"), True], dtype=object)}),
    "one row": pd.DataFrame({"a": [1.0]}),
    "no row": pd.DataFrame({"a": pd.Series(dtype=float), "b": pd.Series(dtype=object)}),
    "no column": pd.DataFrame(index=range(3)),
    "nothing": pd.DataFrame(),
}


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "folds")


def file_of(tmp_path: Path, key: str = KEY) -> Path:
    return tmp_path / "folds" / key[:2] / f"{key}.json"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_come_back_as_they_are(store: Checkpoints, tmp_path: Path, table: pd.DataFrame) -> None:
    store.put(KEY, {"table": table})
    found = Checkpoints(tmp_path / "folds").get(KEY)
    assert found is not None
    pd.testing.assert_frame_equal(found["table"], table, check_exact=True, check_column_type=False)
    for name in table.columns:
        mine, theirs = table[name].tolist(), found["table"][name].tolist()
        assert [repr(value) for value in mine] == [repr(value) for value in theirs]  # -0.0, nan and None, too


def test_random_numbers_come_back_to_the_last_bit(store: Checkpoints) -> None:
    generator = np.random.default_rng(3)
    bits = generator.integers(0, 2**63, 2000, dtype=np.int64).view(np.float64)
    values = np.concatenate((bits[np.isfinite(bits)], generator.normal(size=2000)))
    store.put(KEY, {"table": pd.DataFrame({"risk": values})})
    found = store.get(KEY)
    assert found is not None
    assert found["table"]["risk"].to_numpy().tobytes() == values.tobytes()


def test_plain_values_and_keys(store: Checkpoints) -> None:
    assert store.get(KEY) is None
    store.put(KEY, {"fits": 6, "fold": [0, 3]})
    store.put(OTHER, {"fits": 7})
    assert store.get(KEY) == {"fits": 6, "fold": [0, 3]}
    assert store.get(OTHER) == {"fits": 7}
    assert store.damaged == 0


@pytest.mark.parametrize(
    "column", [pd.array([1, None], dtype="Int64"), pd.Categorical(["a", "b"]), pd.to_datetime(["2001-01-01"] * 2)]
)
def test_columns_that_would_come_back_otherwise_are_refused(store: Checkpoints, column: Any) -> None:
    with pytest.raises(CrlmError, match="cannot hold a column of this type"):
        store.put(KEY, {"table": pd.DataFrame({"a": column})})
    assert store.get(KEY) is None


def _with_head(data: bytes, **changes: Any) -> bytes:
    head, _, body = data.partition(b"\n")
    return json.dumps({**json.loads(head), **changes}).encode() + b"\n" + body


def _rewritten(data: bytes) -> bytes:
    """Not what this program writes, but with the right checksum."""
    body = b'{"table": 5}'
    return _with_head(data.partition(b"\n")[0] + b"\n" + body, sha256=sha256_bytes(body))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in the first line": lambda data: data[:20],
    "without its content": lambda data: data.partition(b"\n")[0],
    "cut in half": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "a byte more": lambda data: data + b" ",
    "a digit changed": lambda data: data.replace(b"0.5", b"0.6"),
    "a bit flipped": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "of another key": lambda data: _with_head(data, key=OTHER),
    "of another version": lambda data: _with_head(data, version=2),
    "of another format": lambda data: _with_head(data, format="crlm extraction cache"),
    "another checksum": lambda data: _with_head(data, sha256="0" * 64),
    "not what is written": _rewritten,
    "zeros, as after a power cut": lambda data: b"\0" * len(data),
    "no text": lambda data: b"\x80\x04\x95" + data,
    "deeply nested": lambda _: b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_removed_and_never_believed(
    store: Checkpoints, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    content = {"table": pd.DataFrame({"risk": [0.5, 0.25]})}
    store.put(KEY, content)
    store.put(OTHER, content)
    path = file_of(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert store.get(KEY) is None
    assert store.damaged == 1
    assert not path.exists()
    assert store.get(OTHER) is not None
    store.put(KEY, content)
    assert store.get(KEY) is not None


def test_a_file_under_another_name_is_not_believed(store: Checkpoints, tmp_path: Path) -> None:
    store.put(OTHER, {"fits": 7})
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_bytes(file_of(tmp_path, OTHER).read_bytes())
    assert store.get(KEY) is None
    assert store.damaged == 1


def test_a_folder_in_the_place_of_a_file_is_not_believed(store: Checkpoints, tmp_path: Path) -> None:
    file_of(tmp_path).mkdir(parents=True)
    assert store.get(KEY) is None
    assert store.damaged == 1


@dataclass(frozen=True)
class Asked:
    number: float = 1.0
    hidden: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class AskedElse:
    number: float = 1.0
    hidden: Any = field(default=None, compare=False)


X = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}, index=pd.Index(["P1", "P2"], name="patient_id"))
DIFFERENT: list[Any] = [
    None, 0, 1, True, 1.5, "1", "None", float("nan"), float("inf"), [], [None], [1, 2], [2, 1], [[1], 2], {}, {"a": 1},
    {"a": 1, "b": 2}, pd.NA,
    np.array([1.0, 2.0]), np.array([1.0, 2.0], dtype="float32"), np.array([[1.0], [2.0]]), np.array([1, 2]),
    np.array(["x", "y"], dtype=object), np.array([(1, 2.0)], dtype=[("event", "i1"), ("months", "f8")]),
    np.array([(1, 2.5)], dtype=[("event", "i1"), ("months", "f8")]),
    pd.Index(["P1", "P2"]), X, X.iloc[::-1], X.rename(columns={"a": "c"}), X.rename(index={"P1": "P3"}), X[["b", "a"]],
    X.assign(a=[1.0, 2.0000000000000004]), X.assign(a=[1, 2]), X.assign(b=["x", ""]), X[["a"]],
    Asked(), Asked(2.0), Asked(hidden=np.zeros(2)), Asked(hidden=np.ones(2)), AskedElse(),
]  # fmt: skip


def test_everything_counts_in_a_digest() -> None:
    digests = [digest(content) for content in DIFFERENT]
    assert len(set(digests)) == len(digests)
    assert digests == [digest(content) for content in DIFFERENT]


def test_a_digest_is_that_of_its_plain_text() -> None:
    """So it depends on no process, no memory layout and no order of insertion into a set."""
    assert digest((1, "a")) == sha256_bytes(b'[1, "a"]')
    assert digest(np.float64(0.1)) == digest(0.1) == sha256_bytes(b"0.1")
    wide = np.arange(12.0).reshape(3, 4)
    assert digest(wide.T) == digest(np.ascontiguousarray(wide.T)) != digest(wide)


@pytest.mark.parametrize(
    "content",
    [object(), {1, 2}, digest, Asked, b"bytes", [lambda: 0]],
    ids=["object", "set", "function", "class", "bytes", "lambda in a list"],
)
def test_what_cannot_be_described_is_refused(content: Any) -> None:
    with pytest.raises(CrlmError, match="a key cannot be made of this"):
        digest(content)
