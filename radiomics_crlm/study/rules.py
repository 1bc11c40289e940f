"""The rules of a cohort on their own: results in blocks, a long and a wide table, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from radiomics_crlm import clinical as rule_engine
from radiomics_crlm.clinical import Block
from radiomics_crlm.cohort.clinical import CleanRows, clean_clinical, find_table
from radiomics_crlm.cohort.exclusions import Exclusion, exclusion_table
from radiomics_crlm.cohort.tcia import find_tcia_clinical, is_tcia_clinical, read_tcia_table
from radiomics_crlm.config import CohortNotes, load_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.provenance.files import write_text
from radiomics_crlm.provenance.tables import TableWriter, read_raw, read_table, write_table
from radiomics_crlm.study.prepare import Progress

Layout = Literal["auto", "canonical", "tcia-crlm"]
# A long table as text is for reading; beyond this many rows only Parquet is written.
_MOST_CSV_ROWS = 1_000_000
_WARNINGS = ["warning", "patients", "meaning"]


@dataclass(frozen=True)
class RulesSummary:
    """What a run of the rules left: counts of the statuses by rule, the exclusions, and the reported Fong score.

    ``fong`` counts the agreement of a delivered Fong score with the computed one; None where none is delivered.
    """

    patients: int
    statuses: dict[str, dict[str, int]]
    warnings: dict[str, int]
    exclusions: tuple[Exclusion, ...]
    fong: dict[str, int] | None
    files: tuple[str, ...]


def check_layout(name: str) -> Layout:
    """The layout of that name.

    Raises
    ------
    ConfigError
        If there is no such layout.
    """
    for layout in get_args(Layout):
        if layout == name:
            known: Layout = layout
            return known
    raise ConfigError("unknown layout", expected=", ".join(get_args(Layout)), got=repr(name))


def read_rules_input(source: Path, layout: Layout = "auto") -> CleanRows:
    """Clinical rows for the rules: a cohort folder, a clinical table, or a table in the layout of the TCIA collection.

    A cell that breaks its rule keeps its patient: the rules that use the cell are ``invalid`` then, with the reason.

    Raises
    ------
    InputError
        If the table is absent or unusable as a whole.
    """
    folder = source.is_dir()
    canonical = folder and any((source / f"clinical{suffix}").is_file() for suffix in (".csv", ".parquet"))
    if layout == "tcia-crlm" or (layout == "auto" and (is_tcia_clinical(source) or (folder and not canonical))):
        return read_tcia_table(find_tcia_clinical(source) if folder else source, keep_bad_cells=True)
    notes_path = source / "cohort.yaml"
    notes = load_config(CohortNotes, notes_path) if folder and notes_path.is_file() else CohortNotes()
    table = find_table(source, "clinical") if folder else source
    if layout == "auto" and is_tcia_clinical(table):
        return read_tcia_table(table, keep_bad_cells=True)
    raw = read_raw(table, what="clinical table")
    return clean_clinical(raw, ignore=notes.ignore_columns, notes=notes, keep_bad_cells=True)


def with_masks(rows: CleanRows, masks: Path | None) -> CleanRows:
    """Clinical rows with their gaps filled from masks; a value of the chart is never replaced.

    Parameters
    ----------
    rows
        Clinical rows.
    masks
        Folder that ``crlm measure`` wrote (``rule_inputs.parquet``), or None for none.

    Raises
    ------
    InputError
        If the table is absent or breaks its schema.
    """
    if masks is None:
        return rows
    found = read_table(masks / "rule_inputs.parquet", "rule_inputs")
    found = found[(found["source"] == "masks") & found["value"].notna()]
    table, origins = rows.table.copy(), rows.origins.reindex(rows.table.index).copy()
    for name, part in found.groupby("input"):
        column = str(name)
        values = part.set_index("patient_id")["value"].reindex(table["patient_id"]).to_numpy(dtype=float)
        cells = table[column] if column in table else pd.Series(np.nan, index=table.index)
        gap = cells.isna().to_numpy() & ~np.isnan(values)
        if gap.any():
            table[column] = cells.astype(object).where(~gap, pd.Series(values, index=table.index, dtype=object))
            before = origins[column] if column in origins else pd.Series(np.nan, index=table.index).astype("str")
            origins[column] = before.mask(gap, "masks")
    return replace(rows, table=table, origins=origins)


def patient_row(
    source: Path, patient: str, layout: Layout = "auto", *, masks: Path | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Inputs of one patient and where they come from, if not from the chart (``masks`` as in :func:`with_masks`).

    Raises
    ------
    InputError
        If the table is unusable as a whole, or has no such patient.
    """
    rows = with_masks(read_rules_input(source, layout), masks)
    found = np.flatnonzero((rows.table["patient_id"] == patient).to_numpy(dtype=bool))
    if not len(found):
        left_out = next((e for e in rows.exclusions if e.patient_id == patient), None)
        raise InputError(
            "the table has no usable row of that patient",
            expected="a key of the column patient_id",
            got="no such key" if left_out is None else left_out.reason,
        )
    position = int(found[0])
    origins = rows.origins.iloc[position].dropna().to_dict() if len(rows.origins.columns) else {}
    cells = {str(name): rows.table[name].iloc[position] for name in rows.table.columns}
    return cells, {str(name): str(text) for name, text in origins.items()}


def rules_of_cohort(
    source: Path,
    out: Path,
    *,
    rules: Sequence[str] | None,
    layout: Layout = "auto",
    masks: Path | None = None,
    progress: Progress,
) -> RulesSummary:
    """Evaluate rules for a clinical table and write the results to ``out`` (``masks`` as in :func:`with_masks`).

    Writes ``rules.parquet`` (one row per patient and rule), ``rules_wide.parquet`` and ``.csv`` (one row per patient),
    ``rules.csv`` for tables that a person may read, ``warnings.csv`` (what each warning means), the exclusions, and
    ``fong_reported_vs_bounds`` where a Fong score is delivered. Memory holds the clinical table and one block.

    Raises
    ------
    ConfigError
        For an unknown rule.
    InputError
        If the table is unusable as a whole.
    """
    rows = with_masks(read_rules_input(source, layout), masks)
    blocks = rule_engine.evaluate_blocks(rows.table, rules or None, sources=rows.origins)
    statuses, warned = _write_blocks(blocks, rows.table, out, progress)
    write_table(exclusion_table(rows.exclusions), out / "exclusions.parquet", "exclusions")
    texts = rule_engine.warning_texts()
    meaning = pd.DataFrame([(code, n, texts[code]) for code, n in sorted(warned.items())], columns=_WARNINGS)
    write_text(out / "warnings.csv", meaning.to_csv(index=False, lineterminator="\n"))
    files = ["rules.parquet", "rules_wide.parquet", "rules_wide.csv", "warnings.csv", "exclusions.parquet"]
    files += ["rules.csv"] if (out / "rules.csv").is_file() else []
    fong = None
    if "fong_score_reported" in rows.table and rows.table["fong_score_reported"].notna().any():
        compared = compare_fong(rows.table, rows.origins)
        write_table(compared, out / "fong_reported_vs_bounds.parquet", "fong_reported_vs_bounds")
        write_text(out / "fong_reported_vs_bounds.csv", compared.to_csv(index=False, lineterminator="\n"))
        fong = {str(word): int(n) for word, n in compared["agreement"].value_counts().items()}
        files += ["fong_reported_vs_bounds.parquet", "fong_reported_vs_bounds.csv"]
    return RulesSummary(len(rows.table), statuses, warned, rows.exclusions, fong, tuple(files))


def _write_blocks(
    blocks: Iterator[Block], table: pd.DataFrame, out: Path, progress: Progress
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    statuses: dict[str, Counter[str]] = {}
    warned: Counter[str] = Counter()
    done = 0
    with ExitStack() as stack:
        long = stack.enter_context(TableWriter(out / "rules.parquet", "rules"))
        wide = stack.enter_context(TableWriter(out / "rules_wide.parquet", "rules_wide"))
        wide_csv = stack.enter_context(TableWriter(out / "rules_wide.csv", "rules_wide"))
        csv: TableWriter | None = None
        progress("rules", 0, len(table))
        for block in blocks:
            if not done and len(table) * len(block.rules) <= _MOST_CSV_ROWS:
                csv = stack.enter_context(TableWriter(out / "rules.csv", "rules"))
            shown = long.write(block.long())
            if csv is not None:
                csv.write(shown, checked=True)
            wide_csv.write(wide.write(block.wide()), checked=True)
            _count(block, shown, statuses, warned)
            done += len(block.patients)
            progress("rules", done, len(table))
    return {rule: dict(counts) for rule, counts in statuses.items()}, dict(warned)


def _count(block: Block, shown: pd.DataFrame, statuses: dict[str, Counter[str]], warned: Counter[str]) -> None:
    for one, part in zip(block.rules, block.parts, strict=True):
        names, numbers = np.unique(part.values["status"][part.index].astype(str), return_counts=True)
        statuses.setdefault(one.id, Counter()).update(dict(zip(names.tolist(), numbers.tolist(), strict=True)))
    here = shown.loc[shown["warnings"].notna(), ["patient_id", "warnings"]].drop_duplicates()
    words = here.assign(warnings=here["warnings"].str.split(";")).explode("warnings").drop_duplicates()
    warned.update({str(code): int(n) for code, n in words["warnings"].value_counts().items()})


def compare_fong(table: pd.DataFrame, origins: pd.DataFrame | None = None) -> pd.DataFrame:
    """The delivered Fong score beside the computed one and its bounds, one row per patient.

    ``status``, ``computed``, ``lower`` and ``upper`` are those of the rule ``fong_crs``; the delivered score is never
    overwritten.
    """
    computed = rule_engine.evaluate_table(table, ["fong_crs"], sources=origins)
    reported = pd.to_numeric(table["fong_score_reported"], errors="coerce").astype("Float64").reset_index(drop=True)
    lower, upper = computed["lower"].fillna(computed["score"]), computed["upper"].fillna(computed["score"])
    conditions = {
        "not_reported": reported.isna(),
        "not_computed": computed["status"] == "invalid",
        "below_bounds": reported < lower,
        "above_bounds": reported > upper,
        "equal": reported == computed["score"],
    }
    flags = [mask.fillna(False).to_numpy(dtype=bool) for mask in conditions.values()]
    return pd.DataFrame(
        {
            "patient_id": computed["patient_id"],
            "reported": reported.astype("Int64"),
            "status": computed["status"],
            "computed": computed["score"],
            "lower": computed["lower"],
            "upper": computed["upper"],
            "missing": computed["missing"],
            "agreement": pd.Series(np.select(flags, list(conditions), "within_bounds"), dtype="str"),
        }
    )
