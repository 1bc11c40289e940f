"""Tables on disk: what is refused on reading, packed files, and writing in blocks whole or not at all."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance import tables
from radiomics_crlm.provenance.tables import (
    TableWriter,
    read_blocks,
    read_packed,
    read_raw,
    read_table,
    table_digest,
    write_table,
)

FOLDS = pd.DataFrame({"patient_id": ["a", "b", "c"], "repeat": [0, 0, 0], "fold": [0, 1, 0]})
TEXT = "patient_id,repeat,fold\na,0,0\nb,0,1\nc,0,0\n"


def _blocks(path: Path) -> pd.DataFrame:
    return pd.concat(read_blocks(path, what="the table", size=2), ignore_index=True)


READERS: list[Callable[[Path], pd.DataFrame]] = [
    lambda path: read_raw(path, what="the table"),
    _blocks,
    lambda path: read_packed(path, what="the table"),
]
NAMES = ["whole", "blocks", "packed"]


def test_what_is_written_is_read_again_with_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "deep" / "b.parquet"
    typed = write_table(FOLDS, first, "folds")
    write_table(FOLDS.copy(), second, "folds")
    assert first.read_bytes() == second.read_bytes()
    pd.testing.assert_frame_equal(read_table(first, "folds"), typed)
    assert table_digest(typed) == table_digest(read_table(second, "folds"))
    assert table_digest(typed) != table_digest(typed.iloc[::-1])


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path, read: Callable[[Path], pd.DataFrame]) -> None:
    (tmp_path / "a.csv").write_text(TEXT, encoding="utf-8")
    FOLDS.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read(tmp_path / "a.parquet"), FOLDS)
    assert read(tmp_path / "a.csv").astype(str).to_numpy().tolist() == FOLDS.astype(str).to_numpy().tolist()


def test_cells_of_a_csv_stay_text_and_blocks_may_be_of_some_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV"
    path.write_bytes(b"\xef\xbb\xbfkey,n\n007,NA\n,1e400\n")
    assert read_raw(path, what="it").to_numpy().tolist() == [["007", "NA"], ["", "1e400"]]
    chosen = list(read_blocks(path, what="it", size=1, columns=["n"]))
    assert [block.to_numpy().tolist() for block in chosen] == [[["NA"]], [["1e400"]]]
    FOLDS.to_parquet(tmp_path / "a.parquet")
    blocks = list(read_blocks(tmp_path / "a.parquet", what="it", size=2, columns=["fold"]))
    assert [block["fold"].tolist() for block in blocks] == [[0, 1], [0]]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_without_rows_is_one_empty_block(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".csv":
        path.write_text("patient_id,fold\n")
    else:
        pq.write_table(pa.table({"patient_id": pa.array([], pa.string()), "fold": pa.array([], pa.int64())}), path)
    (block,) = read_blocks(path, what="it", size=5)
    assert (list(block.columns), len(block)) == (["patient_id", "fold"], 0)


@pytest.mark.parametrize("read", READERS[:2], ids=NAMES[:2])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"PK", "the table has an unknown file type; expected .csv or .parquet; got '.xlsx'"),
        ("a.csv", None, "the table is missing; expected a file named a.csv"),
        ("a.csv", b"", "a.csv: the table cannot be read as a table; got EmptyDataError. Save it anew as UTF-8."),
        ("a.csv", b"key\n\xff\xfe\n", "a.csv: the table cannot be read as a table; got UnicodeDecodeError"),
        ("a.csv", b'key,n\n"a,1\n', "a.csv: the table cannot be read as a table; got ParserError"),
        ("a.csv", b"key,n\na,1,2\n", "a.csv: the table has rows with more cells than its header"),
        ("a.parquet", b"PAR1", "a.parquet: the table cannot be read as a table; got Arrow"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame], name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)):
        read(tmp_path / name)


def test_a_table_that_breaks_its_schema_is_neither_written_nor_read(tmp_path: Path) -> None:
    bad = FOLDS.assign(fold=-1)
    with pytest.raises(InputError, match="fold"):
        write_table(bad, tmp_path / "a.parquet", "folds")
    assert list(tmp_path.iterdir()) == []
    bad.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="fold"):
        read_table(tmp_path / "a.parquet", "folds")


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_a_small_file_that_announces_endless_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], pd.DataFrame]
) -> None:
    monkeypatch.setattr(tables, "_FREE_BYTES", 1 << 16)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": pa.array([7] * 2_000_000)}), path, compression="zstd")
    with pytest.raises(InputError, match=r"a\.parquet: the table announces far more rows than its file can hold"):
        read(path)


def test_a_packed_table_is_read_and_a_bomb_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    pd.testing.assert_frame_equal(read_packed(path, what="the table"), FOLDS)
    monkeypatch.setattr(tables, "_FREE_BYTES", 1 << 16)
    path.write_bytes(gzip.compress(b"n\n" + b"7\n" * 4_000_000))
    with pytest.raises(InputError, match=r"a\.csv\.gz: the table unpacks to far more than a table"):
        read_packed(path, what="the table")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv.gz", None, "a.csv.gz: the table is missing"),
        ("a.csv.gz", b"no gzip", "a.csv.gz: the table cannot be read; expected CSV (also .gz) or Parquet"),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-12], "a.csv.gz: the table cannot be read"),
        ("a.csv", b"key,n\n\xff,1\n", "a.csv: the table cannot be read"),
        ("a.csv", b"key,n\na,1,2\nb,1,2\n", "a.csv: the table has rows with more cells than its header"),
    ],
)
def test_what_is_no_packed_table_is_refused(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)):
        read_packed(tmp_path / name, what="the table")


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_blocks_become_one_file_when_all_are_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "deep" / f"folds{ending}"
    with TableWriter(path, "folds") as writer:
        typed = writer.write(FOLDS.iloc[:2])
        writer.write(typed.assign(patient_id=["d", "e"]), checked=True)
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_table(path, "folds")["patient_id"].tolist() == ["a", "b", "d", "e"]
    if ending == ".parquet":
        assert pq.ParquetFile(path).num_row_groups == 2


def test_after_an_error_the_old_table_stays_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folds.parquet"
    write_table(FOLDS, path, "folds")
    before = path.read_bytes()

    def blocks(*written: pd.DataFrame) -> None:
        with TableWriter(path, "folds") as writer:
            for block in written:
                writer.write(block)

    with pytest.raises(InputError, match="fold"):
        blocks(FOLDS, FOLDS.assign(fold=-1))
    blocks()  # without a block there is no table

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        blocks(FOLDS)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {path.name: before}
