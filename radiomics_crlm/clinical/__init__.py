"""Rule-based clinical scores for colorectal liver metastases: rules as data and one small engine.

The rules describe published knowledge and are shown next to the models. None of them orders a treatment: the therapy
rules return options and cautions with their origin, and a multidisciplinary team decides.
"""

from __future__ import annotations

from radiomics_crlm.clinical.catalogue import RuleDescription, Source, describe, inputs_with_time, rule, rules
from radiomics_crlm.clinical.engine import evaluate
from radiomics_crlm.clinical.plausibility import warning_texts
from radiomics_crlm.clinical.result import RuleResult
from radiomics_crlm.clinical.table import Block, evaluate_blocks, evaluate_table
from radiomics_crlm.clinical.vectors import Disagreement, VectorReport, check_vectors
from radiomics_crlm.clinical.words import rule_text, shown

__all__ = [
    "Block",
    "Disagreement",
    "RuleDescription",
    "RuleResult",
    "Source",
    "VectorReport",
    "check_vectors",
    "describe",
    "evaluate",
    "evaluate_blocks",
    "evaluate_table",
    "inputs_of",
    "prediction_inputs",
    "rule_ids",
    "rule_text",
    "shown",
    "warning_texts",
]


def rule_ids() -> list[str]:
    """Ids of all rules, in the order of the rule files."""
    return list(rules())


def inputs_of(rule_id: str) -> tuple[str, ...]:
    """Canonical names of every input that a rule may look at (needed, fallback or optional), in its order.

    Raises
    ------
    ConfigError
        If there is no such rule.
    """
    return rule(rule_id).all_inputs


def prediction_inputs(rule_id: str) -> dict[str, str]:
    """When every input of a rule becomes known at the earliest, for the leak guard (``schema.refuse_later``).

    Raises
    ------
    ConfigError
        If there is no such rule.

    Examples
    --------
    >>> prediction_inputs("margin_class")
    {'resection_margin_mm': 'postoperative'}
    """
    return inputs_with_time(rule(rule_id))
