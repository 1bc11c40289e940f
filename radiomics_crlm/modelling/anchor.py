"""Published benchmark configurations, rerun on the folds, audit and metric that all models here use.

A regression anchor: when a published cross-validated AUC comes out to its last decimal, rows, folds, fitting inside the
fold and the metric are those of the publication. The protocol is that of radMLBench
(doi:10.1016/j.compbiomed.2024.109140): stratified folds, an ANOVA selector and classifier fitted per training fold, no
scaling, predictions pooled over the folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.discrimination import auc
from radiomics_crlm.modelling.audit import FitAudit
from radiomics_crlm.modelling.checks import fold_matrix

Classifier = Literal["naive_bayes", "logistic"]


@dataclass(frozen=True)
class Configuration:
    """One cell of the published grid.

    Parameters
    ----------
    features
        Number of features that the ANOVA F value selects in each training fold.
    classifier
        ``naive_bayes`` (Gaussian) or ``logistic`` (L2, liblinear).
    C
        Inverse penalty of the logistic regression; None for naive Bayes.

    Raises
    ------
    ConfigError
        If a number is not positive, or C does not belong to the classifier.
    """

    features: int
    classifier: Classifier
    C: float | None = None

    def __post_init__(self) -> None:
        if self.features < 1 or (self.C is not None and self.C <= 0):
            raise ConfigError("a benchmark configuration is out of range", expected="features >= 1 and C > 0")
        if (self.classifier == "logistic") != (self.C is not None):
            raise ConfigError("C belongs to the logistic regression, and only to it", got=self.name)

    @property
    def name(self) -> str:
        """``anova4/naive_bayes``, ``anova8/logistic_0.5``."""
        return f"anova{self.features}/{self.classifier}" + ("" if self.C is None else f"_{self.C:g}")

    def pipeline(self) -> Pipeline:
        """Unfitted selector and classifier."""
        learner = GaussianNB() if self.C is None else LogisticRegression(solver="liblinear", C=self.C)
        return Pipeline([("select", SelectKBest(f_classif, k=self.features)), ("learner", learner)])


def protocol_folds(label: pd.Series, *, folds: int = 10, seed: int = 463) -> pd.DataFrame:
    """The folds of the protocol as table ``folds``; they depend on the order of the rows.

    Parameters
    ----------
    label
        0 or 1 per patient (index), in the order of the published table.

    Raises
    ------
    InputError
        If a class has fewer patients than there are folds.
    """
    if not label.isin((0, 1)).all() or label.value_counts().reindex([0, 1]).fillna(0).min() < folds:
        raise InputError("the target does not fit the protocol", expected=f"0 or 1, at least {folds} of each")
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=1, random_state=seed)
    assigned = np.empty(len(label), dtype=np.int64)
    for fold, (_, test) in enumerate(splitter.split(np.zeros((len(label), 1)), label.to_numpy())):
        assigned[test] = fold
    return pd.DataFrame({"patient_id": label.index, "repeat": 0, "fold": assigned})


def pooled_auc(X: pd.DataFrame, label: pd.Series, folds: pd.DataFrame, configuration: Configuration) -> float:
    """AUC of a configuration, out-of-fold probabilities pooled over the folds as the protocol has it.

    Pooling ranks patients of different folds against each other; all other studies here compare within folds.

    Parameters
    ----------
    X
        n x p finite features, indexed by patient.
    label
        0 or 1 per patient, same index.
    folds
        Table ``folds`` of one repeat.

    Raises
    ------
    InputError
        If features are not finite, or fewer than the configuration selects.
    LeakError
        If a fit would see a patient of its test fold.
    """
    values = X.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all() or values.shape[1] < configuration.features:
        raise InputError(
            "the feature table does not fit the configuration", where=configuration.name,
            expected=f"at least {configuration.features} finite columns", got=f"{values.shape[1]} columns",
        )  # fmt: skip
    assigned = fold_matrix(folds, X.index).iloc[:, 0].to_numpy()
    risk = np.empty(len(X))
    for fold in np.unique(assigned):
        test = assigned == fold
        FitAudit(X.index[test]).check(X.index[~test], configuration.name)
        fitted = configuration.pipeline().fit(values[~test], label.to_numpy()[~test])
        risk[test] = fitted.predict_proba(values[test])[:, 1]
    return auc(label.to_numpy(), risk)
