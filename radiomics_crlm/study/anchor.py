"""Reruns published benchmark configurations on a feature table and sets the results beside the published ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.anchor import Classifier, Configuration, pooled_auc, protocol_folds
from radiomics_crlm.provenance.tables import read_packed
from radiomics_crlm.study.prepare import Progress

_CLASSIFIERS: dict[str, Classifier] = {"NaiveBayes": "naive_bayes", "LogisticRegression": "logistic"}
_GRID = ("value", "params_fs_method", "params_clf_method", "params_N", "params_C_LR")
# Published AUCs carry rounding of their own last digits only; four decimals is what the anchor promises.
DECIMALS = 4


def read_benchmark(path: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Features and target of a table in the format of radMLBench: ``ID``, ``Target`` (0 or 1) and numeric features.

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, holds a key twice or a feature that is no number.
    """
    raw = read_packed(path, what="the benchmark table")
    if lacking := {"ID", "Target"} - set(raw.columns):
        raise InputError("the benchmark table lacks columns", where=path.name, expected=", ".join(sorted(lacking)))
    if raw["ID"].duplicated().any():
        raise InputError("the benchmark table holds a key twice", where=path.name, expected="one row per patient")
    table = raw.set_index("ID")
    features = table.drop(columns="Target")
    wrong = [c for c in features if not pd.api.types.is_numeric_dtype(features[c])]
    if wrong or features.isna().any(axis=None):
        raise InputError(
            f"{len(wrong)} columns are no numbers, {int(features.isna().sum().sum())} cells are empty",
            where=path.name, expected="complete numeric features", remedy="remove or fill them",
        )  # fmt: skip
    return features, table["Target"]


def published_grid(path: Path) -> pd.DataFrame:
    """Rows of a published grid that the protocol here covers: ``configuration, published``.

    Covered are the ANOVA selector with naive Bayes or logistic regression.

    Raises
    ------
    InputError
        If the file is no such grid.
    """
    grid = read_packed(path, what="the published grid")
    if lacking := set(_GRID) - set(grid.columns):
        raise InputError("the published grid lacks columns", where=path.name, expected=", ".join(sorted(lacking)))
    covered = grid[(grid["params_fs_method"] == "ANOVA") & grid["params_clf_method"].isin(_CLASSIFIERS)]
    try:
        rows = [
            {
                "configuration": Configuration(
                    int(row["params_N"]),
                    _CLASSIFIERS[row["params_clf_method"]],
                    None if row["params_clf_method"] == "NaiveBayes" else float(row["params_C_LR"]),
                ),
                "published": float(row["value"]),
            }
            for row in covered.to_dict("records")
        ]
    except (ValueError, OverflowError, TypeError):
        raise InputError("the published grid has a cell that is no number", where=path.name) from None
    return pd.DataFrame(rows, columns=["configuration", "published"])


def rerun(
    table: Path, configurations: Sequence[Configuration], published: Sequence[float], *, progress: Progress
) -> pd.DataFrame:
    """Pooled AUC of each configuration: ``configuration, auc, published, agrees``.

    ``agrees`` is None where nothing is published; else whether both are equal to four decimals.

    Raises
    ------
    InputError
        If table and protocol do not fit (see `read_benchmark`, `protocol_folds`, `pooled_auc`).
    """
    features, label = read_benchmark(table)
    folds = protocol_folds(label)
    rows = []
    with warnings.catch_warnings():
        # A feature that is constant in a training fold has no F value and is not selected; the protocol has no filter.
        warnings.filterwarnings("ignore", message="Features .* are constant", category=UserWarning)
        warnings.filterwarnings("ignore", message="invalid value encountered in divide", category=RuntimeWarning)
        for done, (configuration, known) in enumerate(zip(configurations, published, strict=True)):
            progress("anchor", done, len(configurations))
            value = pooled_auc(features, label, folds, configuration)
            agrees = None if np.isnan(known) else bool(round(value, DECIMALS) == round(known, DECIMALS))
            rows.append({"configuration": configuration.name, "auc": value, "published": known, "agrees": agrees})
    progress("anchor", len(configurations), len(configurations))
    return pd.DataFrame(rows)
