"""The rules: whole tables in blocks, against the same engine asked for one patient at a time.

A result is one patient and one rule. No other package with these rules was found for Python.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from measuring import Absent, Comparison, Entry, Figure, Given, apart, timed

from radiomics_crlm import clinical
from radiomics_crlm.clinical.catalogue import rules
from radiomics_crlm.clinical.table import default_rules
from radiomics_crlm.clinical.vocabulary import vocabulary

_UNKNOWN = 0.15
_OF_BUNDLES = ("fong_crs", "fong_binary", "tbs2018", "mcs2019", "timing_eahpba2023")


def simulated(patients: int, seed: int = 20261121) -> pd.DataFrame:
    """Independent draws of every input that any rule may use, some of them unknown: many distinct patients."""
    rng = np.random.default_rng(seed)
    used = sorted({name for rule in clinical.rule_ids() for name in clinical.inputs_of(rule)})
    out: dict[str, object] = {"patient_id": [f"P{k}" for k in range(patients)]}
    for name in used:
        spec = vocabulary()[name]
        low, high = spec.min or 0.0, min(spec.max or 1.0, 300.0)
        if spec.type == "bool":
            cells = pd.Series(pd.array(rng.random(patients) < 0.4, dtype="boolean"))
        elif spec.type == "enum":
            cells = pd.Series(np.array(spec.allowed, dtype=object)[rng.integers(0, len(spec.allowed), patients)])
        elif spec.type == "date":
            cells = pd.Series(
                np.datetime64("2018-01-01", "s") + rng.integers(0, 900, patients).astype("timedelta64[D]")
            )
        elif spec.type == "int":
            cells = pd.Series(pd.array(rng.integers(int(low), int(min(high, 12)) + 1, patients), dtype="Int64"))
        else:
            cells = pd.Series(np.round(rng.uniform(low, high, patients), 1))
        out[name] = cells.mask(pd.Series(rng.random(patients) < _UNKNOWN))
    return pd.DataFrame(out)


def by_table(table: pd.DataFrame, chosen: Sequence[str]) -> dict[str, object]:
    """Status and numbers of every patient and rule, in their order."""
    long = clinical.evaluate_table(table, chosen)
    return {name: long[name].to_numpy() for name in ("status", "score", "value")}


def one_by_one(rows: Sequence[dict[str, object]], chosen: Sequence[str]) -> dict[str, object]:
    """The same by a loop."""
    found = [clinical.evaluate(name, row) for row in rows for name in chosen]
    numbers = {name: np.array([getattr(one, name) for one in found], dtype=float) for name in ("score", "value")}
    return {"status": np.array([one.status for one in found], dtype=object), **numbers}


def entries(given: Given) -> Iterator[Entry]:
    """Tables against the loop, then rates."""
    count = 50 if given.quick else 500
    few = simulated(count)
    rows = few.to_dict("records")
    additive = [name for name, rule in rules().items() if rule.method == "additive"]
    for title, chosen in ((f"{len(additive)} additive scores", additive), ("all default rules", default_rules())):
        yield Comparison(
            "rules", f"{title}, {count} patients", "one patient at a time", partial(by_table, few, chosen),
            partial(one_by_one, rows, chosen), apart, repeats=3,
        )  # fmt: skip
    yield Absent("rules", "PLATO calculator", "R code of seven of these scores, which describes cohorts")
    table = simulated(1000 if given.quick else 10_000)
    yield partial(rate, "all default rules, one process", len(table), partial(all_rules, table))
    own = table[[name for name in table if any(name in clinical.inputs_of(rule) for rule in _OF_BUNDLES)]]
    words = f"words and numbers of {len(_OF_BUNDLES)} rules, as batch scores show them"
    yield partial(rate, words, len(table), partial(clinical.shown, own, _OF_BUNDLES))


def rate(what: str, patients: int, work: Callable[[], object]) -> Figure:
    """Patients per second, median of three."""
    taken = statistics.median(timed(work).seconds for _ in range(3))
    return Figure("rules", f"{what}, {patients:,} patients", f"{patients / taken:,.0f} patients/s")


def all_rules(table: pd.DataFrame) -> None:
    """All default rules, block by block, as long tables that are thrown away."""
    for block in clinical.evaluate_blocks(table):
        block.long()
