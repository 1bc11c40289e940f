"""Rows per second of the rules: all of them in blocks, and additive scores by table against one patient at a time.

    python benchmarks/rules.py [--patients 20000] [--repeats 3]

One run, medians over the repeats, one process. A result is one patient and one rule.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from radiomics_crlm import clinical
from radiomics_crlm.clinical.catalogue import rules
from radiomics_crlm.clinical.table import default_rules
from radiomics_crlm.clinical.vocabulary import vocabulary

_UNKNOWN = 0.15
_ONE_BY_ONE = 300
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


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def all_rules(table: pd.DataFrame) -> None:
    """All default rules, block by block, as long tables that are thrown away."""
    for block in clinical.evaluate_blocks(table):
        block.long()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=20000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    table = simulated(options.patients)
    count = len(default_rules())
    whole = median_seconds(lambda: all_rules(table), options.repeats)
    rate = options.patients / whole
    print(f"all {count} default rules: {rate:.0f} patients/s, {rate * count:.0f} results/s")
    print(f"100,000 patients at this rate: {100_000 / rate:.0f} s")
    own = table[[name for name in table if any(name in clinical.inputs_of(rule) for rule in _OF_BUNDLES)]]
    words = options.patients / median_seconds(lambda: clinical.shown(own, _OF_BUNDLES), options.repeats)
    print(f"words and numbers of {len(_OF_BUNDLES)} rules, as batch scores show them: {words:.0f} rows/s")
    additive = [name for name, rule in rules().items() if rule.method == "additive"]
    by_table = median_seconds(lambda: clinical.evaluate_table(table, additive), options.repeats) / options.patients
    some = table.head(_ONE_BY_ONE).to_dict("records")
    loop = median_seconds(lambda: [clinical.evaluate(name, row) for row in some for name in additive], options.repeats)
    ratio = loop / len(some) / by_table
    print(f"{len(additive)} additive scores: table {1 / by_table:.0f} patients/s, one patient at a time "
          f"{len(some) / loop:.0f} patients/s, ratio {ratio:.0f}")  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
