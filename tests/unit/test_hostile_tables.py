"""Tables that are damaged, endless, or hold what no cell may: each is refused with a reason, quickly."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radiomics_crlm.clinical.vectors import check_vectors
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_blocks, read_packed, read_raw, read_table
from radiomics_crlm.study.anchor import published_grid
from radiomics_crlm.study.rules import read_rules_input


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def described(text: bytes) -> bytes:
    """A table beside which pandas has kept this."""
    return parquet(pa.table({"a": ["1", "2"]}).replace_schema_metadata({b"pandas": text}))


def equal_rows() -> bytes:
    """A hundred million equal rows in a few thousand bytes."""
    buffer = io.BytesIO()
    block = pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(1 << 22, dtype=np.int32), pa.array(["P"]))})
    with pq.ParquetWriter(buffer, block.schema) as writer:
        for _ in range(24):
            writer.write_table(block)
    return buffer.getvalue()


def not_utf8() -> bytes:
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], "<i4")), pa.py_buffer(b"\xff\xfe")]
    )
    return parquet(pa.table({"a": text}))


def of_range() -> bytes:
    kept = {"index_columns": [{"kind": "range", "start": 0}], "column_indexes": [], "columns": [], "creator": {}}
    return described(json.dumps(kept).encode())


UNREADABLE = "cannot be read as a table"
PARQUET: dict[str, tuple[Callable[[], bytes], str]] = {
    "notes that are no JSON": (lambda: described(b"not JSON"), f"{UNREADABLE}; got JSONDecodeError"),
    "notes that are no text": (lambda: described(b"\xff"), f"{UNREADABLE}; got UnicodeDecodeError"),
    "notes that lack a key": (of_range, f"{UNREADABLE}; got KeyError"),
    "day beyond the calendar": (lambda: parquet(pa.table({"a": pa.array([2**31 - 1], pa.date32())})), UNREADABLE),
    "text that is none": (not_utf8, f"{UNREADABLE}; got ArrowInvalid"),
    "list in a cell": (lambda: parquet(pa.table({"a": [[1, 2]]})), "cells that hold several values"),
    "structure in a cell": (lambda: parquet(pa.table({"a": [{"b": 1}]})), "cells that hold several values"),
    "equal rows without end": (equal_rows, "far more rows than its file can hold"),
    "many columns": (lambda: parquet(pa.table({f"c{n}": [1] for n in range(20_001)})), "too many columns"),
    "half a file": (lambda: parquet(pa.table({"a": ["1"]}))[:-9], f"{UNREADABLE}; got ArrowInvalid"),
}


@pytest.mark.parametrize("name", PARQUET)
def test_refused_parquet_files(name: str, tmp_path: Path) -> None:
    make, reason = PARQUET[name]
    path = tmp_path / "clinical.parquet"
    path.write_bytes(make())
    before = time.process_time()
    with pytest.raises(InputError, match=f"clinical table.*{reason}"):
        read_raw(path, what="clinical table")
    with pytest.raises(InputError, match=f"clinical table.*{reason.partition('; got')[0]}"):
        list(read_blocks(path, what="clinical table", size=100))
    assert time.process_time() - before < 2  # both


def test_a_key_of_bytes_is_a_text_like_others(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(parquet(pa.table({"patient_id": [b"\xff\x00"], "stage": ["x"], "code": [None], "reason": [None]})))
    with pytest.raises(
        InputError, match="'exclusions' breaks its schema in 2 cells.*row 2, column code: missing value"
    ):
        read_table(path, "exclusions")


CSV = {
    "many columns": b"," * 20_000,
    "header without end": b"a" * 2_000_000,
    "many columns below empty lines": b"\n" * 500 + b"," * 20_000 + b"\n",
}


@pytest.mark.parametrize("name", CSV)
def test_a_csv_header_beyond_all_tables(name: str, tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_bytes(CSV[name])
    with pytest.raises(InputError, match="clinical table has too many columns.*at most 20000 columns"):
        read_raw(path, what="clinical table")
    with pytest.raises(InputError, match="too many columns"):
        list(read_blocks(path, what="clinical table", size=100))


def test_20000_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes(b",".join(b"c%d" % n for n in range(20_000)) + b"\n" + b"," * 19_999 + b"\n")
    assert read_raw(path, what="table").shape == (1, 20_000)


def test_packed_tables(tmp_path: Path) -> None:
    text = b"ID,f\nA,1\nB,2\n"
    path = tmp_path / "benchmark.csv.gz"
    path.write_bytes(gzip.compress(text))
    assert read_packed(path, what="table")["f"].tolist() == [1, 2]
    for damaged, reason in (
        (gzip.compress(text)[:-4], "cannot be read"),
        (text, "cannot be read"),
        (gzip.compress(text + bytes(1 << 25)), "unpacks to far more than a table"),
        (gzip.compress(b"," * 20_000), "too many columns"),
        (gzip.compress(b"ID\nA,1\n"), "rows with more cells than its header"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"the benchmark.*{reason}"):
            read_packed(path, what="the benchmark")


def test_a_published_grid_with_a_text_for_a_number(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("params_fs_method,params_clf_method,params_N,params_C_LR,value\nANOVA,NaiveBayes,4,,often\n")
    with pytest.raises(InputError, match="grid has a cell that is no number"):
        published_grid(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "cannot be read; got UnicodeDecodeError"),
        (b"vector_id,rule_id,inputs,expected,tolerance\n" + b"a" * 200_000, "cannot be read; got Error"),
        (b"vector_id,rule_id,inputs,expected,tolerance\nv1,fong_crs,{}\n", "row 1: a worked example is not readable"),
        (b"vector_id,rule_id,inputs,expected,tolerance\nv1,fong_crs,{},{},\n", "row 1: a worked example is not"),
        (b"", "columns are absent"),
    ],
)
def test_worked_examples_that_cannot_be_read(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        check_vectors(path)


def test_a_damaged_table_in_the_layout_of_the_collection(tmp_path: Path) -> None:
    from fuzz.tables import Tables

    seed = Tables(tmp_path / "made")._targets["tcia"].seeds[0]
    path = tmp_path / "tcia.csv"
    path.write_text("\n".join(",".join(row) for row in [*seed, [*seed[1], "1", "1"]]))
    with pytest.raises(InputError, match=UNREADABLE):
        read_rules_input(path)


def test_a_key_column_that_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    rows = {"patient_id": ["A", "A"], "stage": ["x", "x"], "code": ["c", "d"], "reason": ["r", "r"]}
    path.write_bytes(parquet(pa.table(rows)))
    assert len(read_table(path, "exclusions")) == 2
    path.write_bytes(parquet(pa.table(rows | {"code": ["c", "c"]})))
    with pytest.raises(InputError, match="'exclusions' holds a key twice"):
        read_table(path, "exclusions")
