"""The model card of an experiment, made from saved artefacts only: nothing is fitted, extracted or looked up elsewhere.

``build_card`` gathers every figure the page shows into one JSON object, ``render_card`` turns that object into a
self-contained HTML page, ``write_card`` does both for a run folder. No patient-level value, key, date or path reaches
either.
"""

from __future__ import annotations

from radiomics_crlm.report.card import build_card, write_card
from radiomics_crlm.report.page import render_card

__all__ = ["build_card", "render_card", "write_card"]
