"""Response between two scans as numbers: target sums, volumes, what became of each lesion. Verdicts are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from radiomics_crlm.imaging.matching import Group

# RECIST 1.1 (doi:10.1016/j.ejca.2008.10.026): at most two targets in one organ, of at least 10 mm on CT slices of 5 mm.
MAX_TARGETS = 2
MIN_TARGET_MM = 10.0


@dataclass(frozen=True)
class Response:
    """What changed from one scan to another; sums in mm, volumes in mL.

    ``targets`` are labels of the first scan. ``baseline_sum_mm`` and ``current_sum_mm`` are None where the first scan
    has no measurable lesion. ``current_sum_mm`` follows RECIST 1.1: the parts of a split target are added up, merged
    targets count once with their common diameter, a disappeared one counts 0.
    """

    targets: tuple[int, ...]
    baseline_sum_mm: float | None
    current_sum_mm: float | None
    ttv_baseline_ml: float
    ttv_current_ml: float
    new: tuple[int, ...]
    disappeared: tuple[int, ...]
    flags: tuple[str, ...]


def choose_targets(
    lesions: pd.DataFrame, *, max_targets: int = MAX_TARGETS, min_mm: float = MIN_TARGET_MM
) -> tuple[int, ...]:
    """Target lesions of a first scan: the longest axial diameters from ``min_mm`` up (ties: smaller label first).

    Parameters
    ----------
    lesions
        Columns ``lesion`` and ``longest_axial_mm`` (`measure_lesions`).
    """
    large = lesions[lesions["longest_axial_mm"] >= min_mm]
    order = large.sort_values(["longest_axial_mm", "lesion"], ascending=[False, True], kind="stable")
    return tuple(int(n) for n in order["lesion"].head(max_targets))


def compare_scans(
    before: pd.DataFrame, after: pd.DataFrame, groups: Sequence[Group], *, targets: Sequence[int]
) -> Response:
    """Numbers of the response.

    Parameters
    ----------
    before, after
        Lesions of the two scans: ``lesion, longest_axial_mm, volume_ml``. ``after`` may be empty.
    groups
        From `matching.match_lesions`.
    targets
        Labels of the first scan, as from `choose_targets`.
    """
    start, now = (dict(zip(t["lesion"], t["longest_axial_mm"], strict=True)) for t in (before, after))
    hit = [g for g in groups if set(g.before) & set(targets)]
    flags = [] if targets else ["no_measurable_lesion"]
    flags += [f"target_{fate}" for fate in ("merged", "split", "regrouped") if any(g.fate == fate for g in hit)]
    return Response(
        targets=tuple(targets),
        baseline_sum_mm=float(sum(start[n] for n in targets)) if targets else None,
        current_sum_mm=float(sum(now[n] for g in hit for n in g.after)) if targets else None,
        ttv_baseline_ml=float(before["volume_ml"].sum()),
        ttv_current_ml=float(after["volume_ml"].sum()),
        new=tuple(n for g in groups if g.fate == "new" for n in g.after),
        disappeared=tuple(n for g in groups if g.fate == "disappeared" for n in g.before),
        flags=tuple(flags),
    )


def group_rows(groups: Sequence[Group], before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, object]]:
    """What became of the lesions, one row per group: labels, fate, and diameters (largest) and volumes (summed)."""
    rows = []
    for number, group in enumerate(groups, start=1):
        old, new = (t[t["lesion"].isin(labels)] for t, labels in ((before, group.before), (after, group.after)))
        rows.append(
            {
                "group": number,
                "lesions_before": ",".join(map(str, group.before)),
                "lesions_after": ",".join(map(str, group.after)),
                "fate": group.fate,
                "found_by": group.by,
                "longest_axial_before_mm": float(old["longest_axial_mm"].max()) if len(old) else None,
                "longest_axial_after_mm": float(new["longest_axial_mm"].max()) if len(new) else None,
                "volume_before_ml": float(old["volume_ml"].sum()),
                "volume_after_ml": float(new["volume_ml"].sum()),
            }
        )
    return rows


def deltas(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, float]:
    """Change of every number: ``delta__NAME`` is the later minus the earlier value, null where one is unknown.

    What neither scan has, and what is no number, is left out.

    Examples
    --------
    >>> deltas({"a": 2.0, "b": None, "c": "x"}, {"a": 5.0, "b": 1.0, "c": "y", "d": 4})
    {'delta__a': 3.0, 'delta__b': nan}
    """
    found = {}
    for name, start in before.items():
        if name not in after or any(isinstance(v, (str, bool)) for v in (start, after[name])):
            continue
        if start is None and after[name] is None:
            continue
        numbers = [float("nan") if v is None or v is pd.NA else float(v) for v in (start, after[name])]  # type: ignore[arg-type]
        found[f"delta__{name}"] = numbers[1] - numbers[0]
    return found


def delta_table(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Change of every numeric column between two scans of a patient.

    Parameters
    ----------
    table
        One row per patient, time point, modality and sequence, such as ``features_patient``.
    pairs
        ``patient_id, modality, sequence, baseline_timepoint, timepoint``, one row per comparison.

    Returns
    -------
    DataFrame
        The pairs of which both scans are in ``table``, with ``delta__*`` columns; what they hold is known at
        ``timepoint``.
    """
    key = ["patient_id", "modality", "sequence"]
    kept = [c for c in table.columns if c not in (*key, "timepoint")]
    numbers = [c for c in kept if pd.api.types.is_any_real_numeric_dtype(table[c])]
    values = table.set_index([*key, "timepoint"])[numbers].astype(float)
    first, second = (
        pd.MultiIndex.from_frame(pairs[[*key, moment]].rename(columns={moment: "timepoint"}))
        for moment in ("baseline_timepoint", "timepoint")
    )
    both = first.isin(values.index) & second.isin(values.index)
    change = values.loc[second[both]].to_numpy() - values.loc[first[both]].to_numpy()
    head = pairs.loc[both, [*key, "baseline_timepoint", "timepoint"]].reset_index(drop=True)
    return pd.concat([head, pd.DataFrame(change, columns=[f"delta__{c}" for c in numbers])], axis=1)
