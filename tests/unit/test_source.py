"""Clinical tables read block by block: the same cells as at once, and every repeated key."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_examples import clinical_raw

from radiomics_crlm.config import CohortNotes
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_blocks, read_raw
from radiomics_crlm.scoring.source import File, Frame, known_keys, survey

NOTES = CohortNotes()


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["a", "b", " a", "A", "", "NA", "-999", "c", "d", "é"]), min_size=1, max_size=30),
    size=st.integers(1, 7),
)
def test_repeated_keys_are_those_of_the_definition(keys: list[str], size: int) -> None:
    plain = [key.strip() for key in keys]
    known = [key if key.casefold() not in ("", "na", "-999") else None for key in plain]
    expected = [key is not None and known.count(key) > 1 for key in known]
    found = survey(Frame(pd.DataFrame({"ID": keys}, dtype="str")), NOTES, size=size)
    assert found.repeated.tolist() == expected
    assert np.concatenate([found.of_block(start, 1) for start in range(len(keys))]).tolist() == expected
    assert known_keys(Frame(pd.DataFrame({"ID": keys}, dtype="str")), NOTES) == set(known) - {None}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_blocks_are_the_whole_table(tmp_path: Path, suffix: str, size: int) -> None:
    table = clinical_raw(20)
    table.loc[3, "patient_id"] = 'two\nlines, and "quotes"'
    path = tmp_path / f"clinical.{suffix}"
    if suffix == "csv":
        path.write_bytes(b"\xef\xbb\xbf" + table.to_csv(index=False).encode())
    else:
        table.to_parquet(path)
    blocks = list(File(path).blocks(size))
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), read_raw(path, what="it"))
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), table)
    keys = pd.concat(list(File(path).blocks(size, ["patient_id"])), ignore_index=True)
    pd.testing.assert_frame_equal(keys, table[["patient_id"]])


def test_whole_numbers_with_gaps_stay_whole_in_every_block(tmp_path: Path) -> None:
    path = tmp_path / "clinical.parquet"
    pq.write_table(pa.table({"patient_id": [7, 8, None, 10]}), path)
    found = [cell for block in File(path).blocks(2) for cell in block["patient_id"]]
    assert list(map(str, found)) == ["7", "8", "None", "10"]
    assert known_keys(File(path), NOTES) == {"7", "8", "10"}


def test_a_table_without_rows(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"clinical.{suffix}"
        if suffix == "csv":
            path.write_text("patient_id,cea_ng_ml\n")
        else:
            clinical_raw(0).to_parquet(path)
        (block,) = File(path).blocks(5)
        assert len(block) == 0
        with pytest.raises(InputError, match="the clinical table has no rows; expected one row per patient; got 0"):
            survey(File(path), NOTES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read as a table"),
        (b"patient_id,sex\nP1,m\xfcnnlich\n", "cannot be read as a table.*UnicodeDecodeError.*UTF-8"),
        (b"patient_id,sex\nP1,male,1\nP2,male,2\n", "rows with more cells than its header"),
        (b"patient_id,sex\nP1,male\nP2,male,3\n", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "clinical.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        list(File(path).blocks(10))
    with pytest.raises(InputError, match=words):
        read_raw(path, what="the clinical table")


def test_kinds_of_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown file type.*'.xlsx'"):
        next(read_blocks(tmp_path / "clinical.xlsx", what="it", size=5))
    with pytest.raises(InputError, match="it is missing"):
        next(read_blocks(tmp_path / "clinical.csv", what="it", size=5))


def test_bytes_that_are_no_text_are_found_before_any_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_bytes(b"patient_id,sex\n" + b"P1,male\n" * 5 + b"P2,m\xfcnnlich\n")
    with pytest.raises(InputError, match="cannot be read as a table"):
        File(path).digest()


def test_a_table_that_changes_while_it_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    clinical_raw(5).to_csv(path, index=False)
    source = File(path)
    before = source.digest()
    assert source.digest() == before
    source.check_unchanged()
    keys = survey(source, NOTES)
    clinical_raw(6).to_csv(path, index=False)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        source.check_unchanged()
    with pytest.raises(InputError, match="changed while it was read"):
        keys.of_block(3, 3)
    assert File(path).digest() != before
