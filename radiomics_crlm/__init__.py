"""Radiomics prognosis for colorectal liver metastases, always beside the rule-based scores that surgeons use.

The way through the house is in ``docs/architecture.md``: tables flow one way, from a cohort to a card and a bundle.
"""

__version__ = "0.1.0"
