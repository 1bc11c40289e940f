"""Checklists of a run: reporting guidelines and quality scores, filled in by machine where a file proves an item.

An item is answered yes, no or not applicable only with evidence: a file of the run, its SHA-256, the place in it and
what stands there. Everything else needs a person.
"""

from __future__ import annotations

from radiomics_crlm.report.checklists.documents import write_checklists
from radiomics_crlm.report.checklists.filled import CHECKLISTS_JSON, build_checklists, verified_checklists

__all__ = ["CHECKLISTS_JSON", "build_checklists", "verified_checklists", "write_checklists"]
