"""Where the inputs of a result come from: the chart, masks, or another input from which a rule's fallback took it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.derivation import Encoded, Prepared

CHART = "chart"


def origins(
    chosen: Rule, encoded: Encoded, prepared: Prepared, sources: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    """Per patient a code, and per code the origins of the known inputs of a rule.

    ``chart`` stands for every input that is not named; others read ``masks(n_liver_mets,tlv_ml)``, and what a fallback
    settled reads ``derived(dfi_months from synchronous_crlm)``; None if no input is known.
    """
    known = {name: ~np.isnan(encoded.columns[name]) for name in chosen.all_inputs if name in encoded.columns}
    named = _elsewhere(known, sources)
    from_chart = np.zeros(encoded.rows, dtype=bool)
    for name, mask in known.items():
        elsewhere = [there for (_, other), there in named.items() if other == name]
        from_chart |= mask & ~np.any(elsewhere, axis=0) if elsewhere else mask
    masks = [*named.values(), *prepared.derived.values(), from_chart]
    pattern = np.zeros(encoded.rows, dtype=np.int64)
    for mask in masks:
        pattern = pd.factorize(pattern * 2 + mask)[0].astype(np.int64)
    first = np.unique(pattern, return_index=True)[1]
    texts = np.empty(len(first), dtype=object)
    texts[:] = [_text(row, named, prepared.derived, from_chart) for row in first]
    return pattern, texts


def _elsewhere(known: Mapping[str, np.ndarray], sources: pd.DataFrame | None) -> dict[tuple[str, str], np.ndarray]:
    """By origin and input, the patients whose value does not come straight from the chart."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for name, mask in known.items():
        if sources is None or name not in sources.columns:
            continue
        labels = sources[name].astype("str")
        for label in sorted(set(labels.dropna()) - {CHART, "", "unknown"}):
            there = mask & (labels == label).to_numpy(dtype=bool, na_value=False)
            if there.any():
                found[label, name] = there
    return found


def _text(
    row: int, named: Mapping[tuple[str, str], np.ndarray], derived: Mapping[str, np.ndarray], from_chart: np.ndarray
) -> str | None:
    by_origin: dict[str, list[str]] = {}
    for (label, name), mask in named.items():
        if mask[row]:
            by_origin.setdefault(label, []).append(name)
    parts = [CHART] if from_chart[row] else []
    parts += [f"{label}({','.join(names)})" for label, names in sorted(by_origin.items())]
    parts += [f"derived({what})" for what, mask in derived.items() if mask[row]]
    return ";".join(parts) or None
