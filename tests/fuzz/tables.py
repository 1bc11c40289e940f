"""Tables that come in at the door, as CSV and Parquet: charts, manifests of images, features of other programs, scores,
benchmarks and worked examples.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.campaign import Case
from fuzz.damage import bomb, damaged, gzip_damaged, spliced
from radiomics_crlm.clinical.vectors import check_vectors
from radiomics_crlm.cohort.clinical import CleanRows, clean_clinical, clean_imaging, read_cohort_folder
from radiomics_crlm.cohort.foreign_features import with_features
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.provenance.tables import read_raw, read_table
from radiomics_crlm.resources import resource
from radiomics_crlm.schema import ColumnSpec, load_schema
from radiomics_crlm.scoring.source import File, known_keys, survey
from radiomics_crlm.study.anchor import published_grid, read_benchmark
from radiomics_crlm.study.rules import read_rules_input

Rng = np.random.Generator
PLANTED = "Zq7Secret"
_ROWS = 6
_CELLS = (
    PLANTED, PLANTED, f"{PLANTED} 31.01.1950", "", " ", "nan", "NaN", "inf", "-inf", "1e400", "-1e400", "1e308",
    "-0.0", "1e-320",
    "9" * 400, "9" * 20, "-999", "-999.0", "0x10", "1_000", "１２", "٣", "²", "½", "1,5", "1.5.2", "--1", "+1", "1e",
    "5%", "%",
    "=cmd()", "\x00", "a\x00b", "2020-02-30", "99999-01-01", "0000-00-00", "1600-01-01", "2262-04-12",
    "2020-01-31T10:00",
    "31.01.2020", "\u202etxt", "\ufeff", "\u2028", "İ", "ß", "\U0001f600", "a" * 5000, '"', '""', "a\nb", "a\r",
    "a,b", "a;b",
    "true", "TRUE", "yes", "2", "0", "-1", "1", "none", "N/A", "null", "<NA>", "None", "../../etc/passwd",
    "/dev/zero",
    "lesion=*;lesion=*", "CT", "MR", "baseline", "preoperative", "portal_venous", "[]", "{}", '{"a": NaN}', "[1, 2]",
)  # fmt: skip
_HEADERS = (
    "", " ", "Unnamed: 0", "patient_id", "patient_id ", "PATIENT_ID", "patient_id.1", "CEA", "cea_ng_ml", "CEA ",
    "é", "\x00",
    "\u202e", "a" * 5000, '"', "a\nb", "1", "nan", "None", "largest__x", "largest__", "lesion__original_x",
    "index", "level_0",
    "largest_met_cm", "burden__total_volume_ml", "Target", "ID", "months", "event", "status", "row",
)  # fmt: skip


def _value(spec: ColumnSpec, row: int) -> str:
    """A cell that fits its column."""
    if spec.type == "enum":
        return spec.allowed[row % len(spec.allowed)]
    if spec.type == "bool":
        return ("true", "false")[row % 2]
    if spec.type == "date":
        return f"2020-01-{row + 1:02d}"
    if spec.type in ("int", "float"):
        low = 0.0 if spec.min is None else spec.min
        high = low + 10 if spec.max is None else spec.max
        return str(int(np.ceil(low)) + row % max(int(high - low), 1))
    return f"text {row}"


def sound(name: str, columns: list[str], **fixed: list[str]) -> list[list[str]]:
    """Header and rows that obey a schema."""
    schema = load_schema(name)
    rows = [[_value(schema.columns[c], row) for c in columns] for row in range(_ROWS)]
    for column, values in fixed.items():
        for row, value in zip(rows, values, strict=True):
            row[columns.index(column)] = value
    return [columns, *rows]


_KEYS = [f"P{k}" for k in range(_ROWS)]
Table = list[list[str]]


@dataclass(frozen=True)
class Target:
    """A kind of table: sound ones, the name of its file, and the functions that read it."""

    seeds: tuple[Table, ...]
    file: str
    readers: tuple[Callable[[Path], object], ...]
    parquet: bool = True


def _cohort(path: Path) -> object:
    return read_cohort_folder(path.parent)


def _features(path: Path) -> object:
    cohort = read_cohort_folder(path.parent)
    return with_features(cohort, path.name)


def _source(path: Path) -> object:
    """As the scores are made: keys first, then the rows in blocks."""
    source, notes = File(path), CohortNotes()
    source.digest()
    keys = survey(source, notes, size=1000)
    known_keys(source, notes)
    found: tuple[Any, ...] = ()
    for block in source.blocks(1000):
        if len(block):
            found += clean_clinical(block, notes=notes).exclusions
    source.check_unchanged()
    return CleanRows(pd.DataFrame(), found, len(keys))


def _manifest(path: Path) -> object:
    """As ``crlm extract`` reads it."""
    table, exclusions = clean_imaging(read_raw(path, what="imaging manifest"), set(_KEYS))
    return CleanRows(table, exclusions, 0)


def _of_schema(name: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        return read_table(path, name)

    return read


def _targets() -> dict[str, Target]:
    clinical = [name for name in load_schema("clinical").columns if name != "patient_id"]
    charts = tuple(sound("clinical", ["patient_id", *clinical[start::5]], patient_id=_KEYS) for start in range(5))
    scans = list(load_schema("imaging").columns)
    manifest = sound(
        "imaging", scans, patient_id=_KEYS, image=["a.nii.gz"] * _ROWS, mask=["b.nii.gz"] * _ROWS,
        mask_roles=["lesion=*"] * _ROWS,
    )  # fmt: skip
    kinds = {"patient_id": _KEYS, "timepoint": ["baseline"] * _ROWS, "modality": ["CT"] * _ROWS,
             "sequence": ["portal_venous"] * _ROWS}  # fmt: skip
    features = sound("features_patient", list(kinds), **kinds)
    features = [[*row, *more] for row, more in zip(
        features, [["largest__a", "weighted__b", "liver__c"], *([str(k), "0.5", "-1e3"] for k in range(_ROWS))],
        strict=True
    )]  # fmt: skip
    tables = {
        name: sound(name, list(load_schema(name).columns))
        for name in ("features_lesion", "exclusions", "scores", "rule_inputs", "score_attributions", "metrics")
    }
    benchmark = [["ID", "Target", "f1", "f2"], *([f"P{k}", str(k % 2), str(k / 3), str(-k)] for k in range(_ROWS))]
    grid = [
        ["params_fs_method", "params_clf_method", "params_N", "params_C_LR", "value"],
        *(["ANOVA", ("NaiveBayes", "LogisticRegression")[k % 2], "4", "0.5", "0.7"] for k in range(_ROWS)),
    ]
    vectors = [
        ["vector_id", "rule_id", "inputs", "expected", "tolerance"],
        *(
            [f"v{k}", "fong_crs", f'{{"cea_ng_ml": {k}, "largest_met_mm": 60}}', '{"value": 3}', "0"]
            for k in range(_ROWS)
        ),
    ]
    found = {
        "chart": Target(charts, "clinical", (_cohort, _source, read_rules_input)),
        "manifest": Target((manifest,), "imaging", (_cohort, _manifest)),
        "features": Target((features,), "features", (_features, _of_schema("features_patient"))),
        "benchmark": Target((benchmark,), "benchmark", (read_benchmark,)),
        "grid": Target((grid,), "grid", (published_grid,), parquet=False),
        "vectors": Target((vectors,), "vectors", (check_vectors,), parquet=False),
        "tcia": Target((_tcia(),), "tcia", (read_rules_input,), parquet=False),
    }
    for name, rows in tables.items():
        found[name] = Target((rows,), "table", (_of_schema(name),))
    return found


def _tcia() -> Table:
    from radiomics_crlm.config import read_yaml

    layout = read_yaml(resource("configs/layouts/tcia_crlm.yaml"))
    header = [*layout["columns"], *layout["drop"]]
    return [header, *(["1"] * len(header) for _ in range(_ROWS))]


class Tables:
    """Reader ``table``: each table by the functions with which the commands read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "table"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._targets = _targets()
        self._chart = _csv(self._targets["chart"].seeds[0])
        self._all = [_csv(seed) for target in self._targets.values() for seed in target.seeds]

    def case(self, rng: Rng) -> Case:
        """The next input."""
        names = ("chart", "chart", "chart", "manifest", "features", *self._targets)
        name = names[int(rng.integers(len(names)))]
        target = self._targets[name]
        for old in self._folder.iterdir():
            old.unlink()
        if target.file != "clinical":
            (self._folder / "clinical.csv").write_bytes(self._chart)
        seed = target.seeds[int(rng.integers(len(target.seeds)))]
        secrets: tuple[str, ...] = ()
        if target.parquet and rng.random() < 0.4:
            way, ending = "parquet", ".parquet"
            data = _parquet(seed, rng)
        else:
            way = ("cells", "cells", "shape", "shape", "bytes", "text")[int(rng.integers(6))]
            ending = ".csv"
            if way == "cells":
                data, secrets = _csv(_cells(seed, rng)), (PLANTED,)
            else:
                data = self._csv(way, seed, rng)
            if name == "benchmark" and rng.random() < 0.3:
                ending = ".csv.gz"
                data = gzip_damaged(data, rng) if rng.random() < 0.5 else gzip.compress(data, 1, mtime=0)
        path = self._folder / f"{target.file}{ending}"
        path.write_bytes(data)
        read = target.readers[int(rng.integers(len(target.readers)))]
        return Case(f"{name} {way}", lambda: read(path), secrets)

    def _csv(self, way: str, seed: Table, rng: Rng) -> bytes:
        if way == "shape":
            return _csv(_shaped(seed, rng))
        data = _csv(seed)
        if way == "bytes":
            other = self._all[int(rng.integers(len(self._all)))]
            return damaged(data, rng) if rng.random() < 0.7 else spliced(data, other, rng)
        return _written_otherwise(data, rng)


def _csv(table: Table) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(table)
    return buffer.getvalue().encode("utf-8", "replace")


def _cells(table: Table, rng: Rng) -> Table:
    """Cells of any column but the key."""
    table = [list(row) for row in table]
    width = len(table[0])
    for _ in range(int(rng.integers(1, 6))):
        column = int(rng.integers(1, width))
        table[int(rng.integers(1, len(table)))][column] = _CELLS[int(rng.integers(len(_CELLS)))]
    return table


def _shaped(table: Table, rng: Rng) -> Table:
    """Columns and rows that are absent, doubled, renamed, moved, too long or too many."""
    table = [list(row) for row in table]
    for _ in range(int(rng.integers(1, 3))):
        how, column = int(rng.integers(12)), int(rng.integers(max(len(table[0]), 1))) if table else 0
        row = int(rng.integers(max(len(table), 1)))
        if not table or not table[0]:
            return table
        if how == 0:
            table = [[c for k, c in enumerate(r) if k != column] for r in table]
        elif how == 1:
            table = [[*r, r[column] if column < len(r) else ""] for r in table]
        elif how in (2, 3):
            table[0][column] = _HEADERS[int(rng.integers(len(_HEADERS)))]
        elif how == 4:
            table = [[*r, "1" if k else _HEADERS[int(rng.integers(len(_HEADERS)))]] for k, r in enumerate(table)]
        elif how == 5:
            table.append(list(table[row]))
        elif how == 6:
            table[row] = [*table[row], "more", "1"][: int(rng.integers(len(table[row]) + 3))]
        else:
            table = _rows_changed(table, how, row, rng)
    return table


def _rows_changed(table: Table, how: int, row: int, rng: Rng) -> Table:
    if how == 7:
        return table[:1] if rng.random() < 0.5 else table[1:]
    if how == 8:
        table.insert(row, [] if rng.random() < 0.5 else [""] * len(table[0]))
    elif how == 9:
        table = [[r[k] if k < len(r) else "" for k in rng.permutation(len(table[0]))] for r in table]
    elif how == 10:
        keys = ("", " ", "-999", "P0", "p0", "\x00", "a" * 3000, "\u202eP", "é", "P\n1", "nan", "None", "(row 2)")
        table[row] = [keys[int(rng.integers(len(keys)))], *table[row][1:]]
    else:
        many = int(rng.integers(1, 4)) ** 6
        table = [[*r, *(f"{'largest__' if rng.random() < 0.999 else ''}x{n}" if not k else "1" for n in range(many))]
                 for k, r in enumerate(table)]  # fmt: skip
    return table


def _written_otherwise(data: bytes, rng: Rng) -> bytes:
    """The same text in other encodings, separators, ends of lines and quotes."""
    text = data.decode()
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: text.encode("utf-16"), lambda: b"\xef\xbb\xbf" + data, lambda: b"\xef\xbb\xbf" * 2 + data,
        lambda: text.replace(",", ";").encode(), lambda: text.replace(",", "\t").encode(),
        lambda: text.replace("\n", "\r").encode(), lambda: text.replace("\n", "\r\n").encode(),
        lambda: data.replace(b"1", "é".encode("latin-1")), lambda: data.replace(b"0", b'"'), lambda: data + b'"',
        lambda: b'"' + data, lambda: data.replace(b"\n", b"\n\n\n"), lambda: b"\n" * 50 + data,
        lambda: b"sep=,\n" + data,
        lambda: b"# comment\n" + data, lambda: b"\x00" * 30 + data, lambda: data.replace(b",", b",\x00"), lambda: b"",
        lambda: b"\n", lambda: b"," * 2000, lambda: b"\n,\n,", lambda: b"\xff" * 100, lambda: b"patient_id",
        lambda: data[:-1],
        lambda: data * 30, lambda: b"patient_id\n" + b"P\n" * 3000, lambda: b"a" * 2_000_000,
        lambda: b"\x00" * 2_000_000,
        lambda: data + b"P9," + b"9" * 1_000_000 + b"\n", lambda: b"," * 200_000 + b"\n" + b"," * 200_000,
        lambda: b"\n" * 1_000_000, lambda: data + b"," * 500_000, lambda: b"\xed\xa0\x80," + data,
    )  # fmt: skip
    return ways[int(rng.integers(len(ways)))]()


def _arrow_columns() -> tuple[Callable[[int], pa.Array], ...]:
    """Columns of every type that Parquet has, and of values that pandas does not have."""
    day, huge = datetime.date(2020, 1, 31), 2**63 - 1
    return (
        lambda n: pa.nulls(n), lambda n: pa.array([True, None] * n, pa.bool_())[:n], lambda n: pa.array([huge] * n),
        lambda n: pa.array([2**64 - 1] * n, pa.uint64()), lambda n: pa.array([1.5, None] * n)[:n],
        lambda n: pa.array([float("nan"), float("inf")] * n)[:n], lambda n: pa.array([1e308, -1e308] * n)[:n],
        lambda n: pa.array([np.float16(1.5)] * n, pa.float16()), lambda n: pa.array([b"\xff\x00"] * n),
        lambda n: pa.array([[1, 2], None] * n)[:n], lambda n: pa.array([{"a": 1}] * n),
        lambda n: pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        lambda n: pa.array(["1", "0", None] * n)[:n].dictionary_encode(), lambda n: pa.array([day] * n),
        lambda n: pa.array([huge] * n, pa.timestamp("us")), lambda n: pa.array([-(2**62)] * n, pa.timestamp("ms")),
        lambda n: pa.array([0] * n, pa.timestamp("ns", tz="Europe/Berlin")), lambda n: pa.array([0] * n,
        pa.timestamp("us", tz="UTC")),
        lambda n: pa.array([2**31 - 1] * n, pa.date32()), lambda n: pa.array([1] * n, pa.time64("us")),
        lambda n: pa.array([huge] * n, pa.duration("us")),
        lambda n: pa.array([decimal.Decimal("1.50")] * n), lambda n: pa.array([decimal.Decimal(10) ** 37] * n),
        lambda n: pa.array(["\ud7ff", "\x00"] * n)[:n],
        lambda n: pa.array([b"1234"] * n, pa.binary(4)), lambda n: pa.array(["x" * 3000] * n, pa.large_string()),
        lambda n: pa.array([1, 2, None] * n, pa.int8())[:n],
    )  # fmt: skip


_COLUMNS = _arrow_columns()
_CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")


def _parquet(seed: Table, rng: Rng) -> bytes:
    """A Parquet file: strange columns, a strange file, or damaged bytes."""
    header, rows = seed[0], seed[1:]
    columns = {name: pa.array([row[k] for row in rows], pa.string()) for k, name in enumerate(header)}
    way = int(rng.integers(10))
    if way < 4:
        for _ in range(int(rng.integers(1, 4))):
            name = header[int(rng.integers(len(header)))]
            columns[name] = _COLUMNS[int(rng.integers(len(_COLUMNS)))](len(rows))
    table = pa.table(columns)
    if way == 4:
        table = _odd_table(table, rng)
    elif way == 5:
        table = _odd_metadata(table, rng)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=_CODECS[int(rng.integers(len(_CODECS)))],
                   use_dictionary=bool(rng.random() < 0.5), version=("1.0", "2.6")[int(rng.integers(2))])  # fmt: skip
    data = buffer.getvalue()
    if way == 6:
        return damaged(data, rng, last=len(data) // 2)
    if way == 7:
        return damaged(data, rng, first=-int.from_bytes(data[-8:-4], "little") - 8, most=2)
    if way == 8:
        return damaged(data, rng, first=-12, most=1)
    if way == 9:
        others = (lambda: data[: int(rng.integers(len(data)))], lambda: b"PAR1" * 3, lambda: b"", lambda: _csv(seed),
                  lambda: bomb(b"", 1 << 26), lambda: data + data, lambda: b"PARE" + data[4:-4] + b"PARE",
                  _constant)  # fmt: skip
        return others[int(rng.integers(len(others)))]()
    return data


@cache
def _constant() -> bytes:
    """Few bytes that stand for very many equal rows."""
    buffer = io.BytesIO()
    block = pa.table({"patient_id": pa.DictionaryArray.from_arrays(np.zeros(1 << 22, dtype=np.int32), pa.array(["P"]))})
    with pq.ParquetWriter(buffer, block.schema, compression="zstd") as writer:
        for _ in range(24):
            writer.write_table(block)
    return buffer.getvalue()


def _odd_table(table: pa.Table, rng: Rng) -> pa.Table:
    how = int(rng.integers(7))
    if how == 0:
        return table.slice(0, 0)
    if how == 1:
        return pa.table({})
    if how == 2:
        return table.append_column(table.column_names[0], table.column(0))
    if how == 3:
        return table.rename_columns([_HEADERS[int(rng.integers(len(_HEADERS)))], *table.column_names[1:]])
    if how == 4:
        return pa.concat_tables([table] * 300)
    if how == 5:
        return table.select(rng.permutation(table.num_columns)[: int(rng.integers(table.num_columns + 1))].tolist())
    frame = table.to_pandas()
    frame.index = pd.Index(range(5, 5 + len(frame)), name=None if rng.random() < 0.5 else frame.columns[0])
    return pa.Table.from_pandas(frame)


def _odd_metadata(table: pa.Table, rng: Rng) -> pa.Table:
    """What pandas keeps of a table beside it, damaged."""
    own = pa.Table.from_pandas(table.to_pandas()).schema.metadata[b"pandas"]
    choices = (b"", b"{}", b"null", b"[]", b"not JSON", b"\xff", damaged(own, rng), damaged(own, rng),
    own.replace(b"null", b"{}"),
               own.replace(b'"columns"', b'"column"'), own.replace(b"object", b"datetime64[ns]"),
               own.replace(b"unicode", b"categorical"),
               own.replace(b"range", b"serialized"), own.replace(b"object", b"os.system"))  # fmt: skip
    return table.replace_schema_metadata({b"pandas": choices[int(rng.integers(len(choices)))]})
