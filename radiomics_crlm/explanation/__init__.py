"""Why a model says what it says: SHAP values of patients it did not see, how stable they are, and partial dependence.

``explainers`` is the only importer of shap.
"""

from radiomics_crlm.explanation.attributions import (
    Explained,
    explain_out_of_fold,
    global_importance,
    out_of_fold_attributions,
    readable_inputs,
)
from radiomics_crlm.explanation.explainers import ADDITIVITY, check_additivity
from radiomics_crlm.explanation.tables import TABLES, explanation_tables

__all__ = [
    "ADDITIVITY",
    "TABLES",
    "Explained",
    "check_additivity",
    "explain_out_of_fold",
    "explanation_tables",
    "global_importance",
    "out_of_fold_attributions",
    "readable_inputs",
]
