"""Inputs of a rule as columns: encoded, checked against each other, and completed by the rule's own fallbacks.

A fallback applies only where the rule names it. It never invents a value: each follows from the definition of the
input (a node-negative primary is pN0), and an unknown stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import compare
from radiomics_crlm.clinical.vocabulary import requirement, vocabulary

DAYS_PER_MONTH = 30.4375

Column = np.ndarray
Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Encoded:
    """Encoded inputs of ``rows`` patients: float columns (NaN unknown) and, per input, the refused cells and those of
    which a negative interval was read as 0.
    """

    rows: int
    columns: Columns
    refused: Columns
    clipped: Columns = field(default_factory=dict)

    def column(self, name: str) -> Column:
        """Codes of an input; an absent column is unknown for all."""
        return self.columns.get(name, np.full(self.rows, np.nan))


@dataclass(frozen=True)
class Prepared:
    """Columns of one rule after its fallbacks, and the reason (None if fine) for which a patient is invalid.

    ``derived`` names what a fallback settled (``target from sources``), with the patients in whom it did.
    """

    columns: Columns
    reasons: np.ndarray
    derived: Columns = field(default_factory=dict)


def months_between(start: Column, end: Column) -> Column:
    """Disease-free interval in months of 30.4375 days between ordinal days; never negative."""
    return np.maximum(end - start, 0.0) / DAYS_PER_MONTH


def _category(name: str, value: str) -> float:
    return float(vocabulary()[name].allowed.index(value))


def _where(condition: Column, known: Column, then: float, otherwise: float = np.nan) -> Column:
    return np.where(np.isnan(known), np.nan, np.where(condition, then, otherwise))


def _mutant_in_either(kras: Column, nras: Column) -> Column:
    mutant, wild = _category("ras_status", "mutant"), _category("ras_status", "wild_type")
    either = (kras == mutant) | (nras == mutant)
    neither = (kras == wild) & (nras == wild)
    return np.where(either, mutant, np.where(neither, wild, np.nan))


def _category_of_count(count: Column) -> Column:
    return np.where(np.isnan(count), np.nan, np.digitize(count, (1, 4)).astype(float))


# Target, sources, function of the source columns. The order matters: the first that settles an unknown target wins.
_DERIVATIONS: tuple[tuple[str, tuple[str, ...], Callable[..., Column]], ...] = (
    ("node_positive_primary", ("primary_pn_category",), lambda pn: _where(pn > 0, pn, 1.0, 0.0)),
    ("node_positive_primary", ("primary_positive_nodes",), lambda count: _where(count > 0, count, 1.0, 0.0)),
    ("primary_pn_category", ("primary_positive_nodes",), _category_of_count),
    ("primary_pn_category", ("node_positive_primary",), lambda positive: _where(positive == 0, positive, 0.0)),
    ("extrahepatic_present", ("extrahepatic_status",), lambda status: _where(status > 0, status, 1.0, 0.0)),
    ("ras_status", ("kras_status", "nras_status"), _mutant_in_either),
    ("kras_status", ("ras_status",), lambda ras: _where(ras == _category("ras_status", "wild_type"), ras, 0.0)),
    ("resection_margin_mm", ("expected_margin_mm",), lambda margin: margin),
    ("margin_positive", ("resection_margin_mm",), lambda margin: _where(compare(margin, "<", 1), margin, 1.0, 0.0)),
    ("dfi_months", ("primary_diagnosis_date", "crlm_diagnosis_date"), months_between),
    ("dfi_months", ("primary_resection_date", "crlm_diagnosis_date"), months_between),
    ("dfi_months", ("synchronous_crlm",), lambda flag: _where(flag == 1, flag, 0.0)),
)

# Pairs that cannot both be true of one patient. A synchronous flag beside a positive interval is not among them: it
# may follow another convention, and the known interval is used.
_CONTRADICTIONS: tuple[tuple[str, str, Callable[[Column, Column], Column]], ...] = (
    ("node_positive_primary", "primary_pn_category", lambda positive, pn: (positive == 0) != (pn == 0)),
    ("node_positive_primary", "primary_positive_nodes", lambda positive, count: (positive == 0) & (count > 0)),
    # Tumour deposits without a positive node are pN1, hence no contradiction at zero nodes.
    (
        "primary_pn_category",
        "primary_positive_nodes",
        lambda pn, count: (count > 0) & (_category_of_count(count) != pn),
    ),
    ("extrahepatic_present", "extrahepatic_status", lambda present, status: (present == 0) != (status == 0)),
    ("n_liver_mets", "multiple_metastases", lambda count, multiple: (count > 1) != (multiple == 1)),
    ("ras_status", "kras_status", lambda ras, gene: (ras == 0) & (gene == 1)),
    ("ras_status", "nras_status", lambda ras, gene: (ras == 0) & (gene == 1)),
    ("cea_ng_ml", "cea_max_ng_ml", lambda now, highest: compare(now, ">", highest)),
    ("lung_mets_present", "n_lung_mets", lambda present, count: (present == 0) != (count == 0)),
    ("lung_mets_present", "lung_mets_bilateral", lambda present, both: (present == 0) & (both == 1)),
)


def prepare(rule: Rule, encoded: Encoded) -> Prepared:
    """Columns of a rule after its fallbacks, and which patients contradict themselves or leave the allowed range."""
    names = rule.all_inputs
    columns = {name: encoded.column(name) for name in names}
    reasons = np.full(encoded.rows, None, dtype=object)
    for first, second, clash in _CONTRADICTIONS:
        if first in columns and second in columns:
            left, right = columns[first], columns[second]
            both = ~np.isnan(left) & ~np.isnan(right) & clash(left, right)
            reasons[both] = f"{first} contradicts {second}"
    for name in reversed(names):
        if name in encoded.refused:
            reasons[encoded.refused[name]] = requirement(vocabulary()[name])
    own = rule.inputs + rule.fallbacks
    derived: dict[str, Column] = {}
    for target, sources, settle in _DERIVATIONS:
        if target in rule.inputs and all(source in own for source in sources):
            current = columns[target]
            columns[target] = np.where(np.isnan(current), settle(*(columns[name] for name in sources)), current)
            settled = np.isnan(current) & ~np.isnan(columns[target])
            if settled.any():
                derived[f"{target} from {' and '.join(sources)}"] = settled
    return Prepared(columns, reasons, derived)
