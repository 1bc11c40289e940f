"""From lesions and organs to patients: largest lesion, volume-weighted mean, dispersion, organs, tumour burden."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError

SCAN_KEY = ["patient_id", "timepoint", "modality", "sequence"]
_FEATURE_PREFIX = "lesion__"
_REGION_PREFIX = "region__"


def aggregate_patients(
    features_lesion: pd.DataFrame,
    lesions: pd.DataFrame,
    anatomy: pd.DataFrame | None = None,
    features_region: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per patient, time point, modality and sequence.

    Parameters
    ----------
    features_lesion, lesions
        Tables of these names; every lesion must be in both.
    anatomy
        Liver and remnant volumes per scan (``ExtractionResult.anatomy``), where masks of them exist.
    features_region
        Table of this name, if organs were extracted.

    Returns
    -------
    DataFrame
        ``largest__*``: the feature of the lesion of greatest volume among those with status ``ok`` (ties: smallest
        label). ``weighted__*``: mean over the ok lesions, weighted by volume.
        ``dispersion__*``: standard deviation over the ok lesions (population formula, every lesion alike); 0 for one.
        ``burden__*``, from the masks of all lesions whether ok or not: ``n_lesions``, ``total_volume_ml``,
        ``largest_axial_mm``, ``tbs`` (tumour burden score, square root of the squared largest diameter in cm plus the
        squared number, doi:10.1097/SLA.0000000000002064), and with anatomy ``liver_volume_ml`` (lesions included),
        ``remnant_volume_ml`` and ``sflr_pct`` (remnant in percent of the liver without tumour).
        ``liver__*``, ``remnant__*`` and ``ring__*``: features of the organs, for those that any scan shows; null where
        a scan does not show the organ or it could not be measured.
        ``n_lesions_ok`` and ``flags``: ``largest_failed`` (the lesion of greatest volume is not ok),
        ``no_ok_lesion``, ``liver_failed``, ``remnant_failed`` and ``ring_failed``, and ``nan_ignored=K`` (K features
        are null in some ok lesions but not in all; means and dispersions use the others, ``largest__`` stays null if it
        is null in that lesion). A feature that is null in every ok lesion is null.

    Raises
    ------
    InputError
        If the lesions of the two tables differ, or an organ belongs to a scan without lesions or comes twice.
    """
    key = [*SCAN_KEY, "lesion"]
    left = lesions[[*key, "volume_ml", "longest_axial_mm"]]
    # The copy gathers hundreds of single-column blocks, which a merge would otherwise handle one by one.
    merged = left.merge(features_lesion.copy(), on=key, how="outer", indicator=True, sort=False, validate="one_to_one")
    unmatched = int((merged["_merge"] != "both").sum())
    if unmatched:
        raise InputError("lesions and features_lesion do not hold the same lesions", got=f"{unmatched} unmatched")
    names = [c for c in features_lesion.columns if c.startswith(_FEATURE_PREFIX)]
    # back to the order of the table: a merge sorts by key
    order = pd.MultiIndex.from_frame(left[SCAN_KEY].drop_duplicates())
    groups = {k: g.sort_values("lesion", kind="stable") for k, g in merged.groupby(SCAN_KEY, sort=False)}
    rows = [_patient_row(tuple(k), groups[tuple(k)], names, anatomy) for k in order]
    short = [n.removeprefix(_FEATURE_PREFIX) for n in names]
    columns = [f"{kind}__{n}" for kind in ("largest", "weighted", "dispersion") for n in short]
    table = pd.DataFrame(rows, columns=[*SCAN_KEY, "n_lesions_ok", "flags", *_BURDEN_COLUMNS, *columns])
    return table if features_region is None else _with_organs(table, features_region)


def _with_organs(table: pd.DataFrame, features_region: pd.DataFrame) -> pd.DataFrame:
    """Put the features of liver, remnant and ring beside those of the lesions."""
    names = [c for c in features_region.columns if c.startswith(_REGION_PREFIX)]
    scans = pd.MultiIndex.from_frame(table[SCAN_KEY])
    flags, blocks = [text.split(";") for text in table["flags"]], []
    for role in sorted(features_region["region"].unique()):
        found = features_region[features_region["region"] == role].set_index(SCAN_KEY)
        if found.index.has_duplicates or not found.index.isin(scans).all():
            raise InputError("organs and lesions do not fit", where=role, expected="one row per scan with lesions")
        failed = scans.isin(found.index[found["status"] != "ok"])
        flags = [[*own, f"{role}_failed"] if bad else own for own, bad in zip(flags, failed, strict=True)]
        organ = found[names].astype(float).reindex(scans).reset_index(drop=True)
        blocks.append(organ.set_axis([f"{role}__{n.removeprefix(_REGION_PREFIX)}" for n in names], axis=1))
    words = [";".join(filter(None, own)) for own in flags]
    return pd.concat([table.assign(flags=words), *blocks], axis=1)


_BURDEN_COLUMNS = [
    "burden__n_lesions",
    "burden__total_volume_ml",
    "burden__largest_axial_mm",
    "burden__tbs",
    "burden__liver_volume_ml",
    "burden__remnant_volume_ml",
    "burden__sflr_pct",
]


def _patient_row(
    key: tuple[Hashable, ...], group: pd.DataFrame, names: list[str], anatomy: pd.DataFrame | None
) -> dict[str, object]:
    """One scan of one patient; ``group`` is sorted by label."""
    ok = group[group["status"] == "ok"]
    flags = []
    if ok.empty:
        flags.append("no_ok_lesion")
    elif group["volume_ml"].idxmax() != ok["volume_ml"].idxmax():
        flags.append("largest_failed")
    values = ok[names].to_numpy(dtype=float)
    some_null = np.isnan(values).any(axis=0) & ~np.isnan(values).all(axis=0) if len(ok) else np.zeros(0, dtype=bool)
    if some_null.any():
        flags.append(f"nan_ignored={int(some_null.sum())}")
    row: dict[str, object] = dict(zip(SCAN_KEY, key, strict=True))
    row |= {"n_lesions_ok": len(ok), "flags": ";".join(flags)} | _burden(key, group, anatomy)
    for kind, vector in _aggregates(values, ok["volume_ml"].to_numpy(dtype=float)).items():
        row |= {f"{kind}__{n.removeprefix(_FEATURE_PREFIX)}": v for n, v in zip(names, vector.tolist(), strict=True)}
    return row


def _aggregates(values: np.ndarray, volumes: np.ndarray) -> dict[str, np.ndarray]:
    """Aggregates of a matrix ``(lesions, features)``, null-aware.

    Examples
    --------
    >>> a = _aggregates(np.array([[1.0], [5.0]]), np.array([3.0, 1.0]))
    >>> [a[k].tolist() for k in ("largest", "weighted", "dispersion")]
    [[1.0], [2.0], [2.0]]
    """
    null = np.full(values.shape[1], np.nan)
    if not len(values):
        return {"largest": null, "weighted": null, "dispersion": null}
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    weights = known * volumes[:, None]
    count = known.sum(axis=0)
    some = count > 0
    weighted = np.divide((filled * weights).sum(axis=0), weights.sum(axis=0), out=null.copy(), where=some)
    mean = np.divide(filled.sum(axis=0), count, out=null.copy(), where=some)
    squares = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
    spread = np.sqrt(np.divide(squares, count, out=null.copy(), where=some))
    return {"largest": values[np.argmax(volumes)], "weighted": weighted, "dispersion": spread}


def _burden(key: tuple[Hashable, ...], group: pd.DataFrame, anatomy: pd.DataFrame | None) -> dict[str, float]:
    """Tumour burden and liver volumes of one scan."""
    count = len(group)
    longest = float(group["longest_axial_mm"].max())
    burden = {
        "burden__n_lesions": count,
        "burden__total_volume_ml": float(group["volume_ml"].sum()),
        "burden__largest_axial_mm": longest,
        "burden__tbs": float(np.hypot(longest / 10.0, count)),
    }
    if anatomy is None:
        return burden
    here = anatomy[(anatomy[SCAN_KEY] == list(key)).all(axis=1)]
    if here.empty:
        return burden
    liver, remnant, tumour = (float(here.iloc[0][f"{n}_volume_ml"]) for n in ("liver", "remnant", "tumour"))
    healthy = liver - tumour
    percent = 100.0 * remnant / healthy if healthy > 0 else np.nan
    return burden | {
        "burden__liver_volume_ml": liver,
        "burden__remnant_volume_ml": remnant,
        "burden__sflr_pct": percent,
    }
