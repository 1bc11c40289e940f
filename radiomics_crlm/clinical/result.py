"""The result of one rule for one patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

OK = "ok"
PARTIAL = "partial"
NOT_ASSESSABLE = "not_assessable"
INVALID = "invalid"
STATUSES = (OK, PARTIAL, NOT_ASSESSABLE, INVALID)


@dataclass(frozen=True)
class RuleResult:
    """What a rule says about one patient; nothing is ever filled in for an unknown input.

    Parameters
    ----------
    status
        ``ok``: computed, or the known inputs already decide; ``partial``: answered but for options that wait for a
        test; ``not_assessable``: see ``missing`` and ``bounds``; ``invalid``: see ``reason``.
    score, group, value
        Points of a score, class name, number of a formula (unit in the rule's definition); None where not defined.
    bounds
        Smallest and largest possible score when something is missing; None at an end without limit.
    group_certain
        Group of both ends of ``bounds``, if it is the same.
    missing
        Unknown inputs, in the order of the rule (criteria name their items, recalibrated probabilities their terms).
    reason
        Why the input is invalid; never a value of the patient.
    boundary
        Inputs exactly on a bound on which sources disagree; they do not change the result.
    extra
        Further keys of the rule, for example ``met``, ``failed``, ``options`` or ``p_1y``.
    """

    status: str
    score: float | None = None
    group: str | None = None
    value: float | None = None
    bounds: tuple[float | None, float | None] | None = None
    group_certain: str | None = None
    missing: tuple[str, ...] = ()
    reason: str | None = None
    boundary: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Keys that apply, with plain lists; a key that does not apply is left out."""
        plain: dict[str, Any] = {
            "status": self.status,
            "score": self.score,
            "group": self.group,
            "value": self.value,
            "bounds": None if self.bounds is None else list(self.bounds),
            "group_certain": self.group_certain,
            "missing": list(self.missing) if self.status == NOT_ASSESSABLE else None,
            "reason": self.reason,
            "boundary": list(self.boundary) or None,
        }
        kept = {key: entry for key, entry in plain.items() if entry is not None}
        return kept | {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in self.extra.items()}


def unknown(missing: Iterable[str], **extra: Any) -> RuleResult:
    """A result that waits for the inputs ``missing``."""
    return RuleResult(NOT_ASSESSABLE, missing=tuple(missing), extra=extra)


def invalid(reason: str) -> RuleResult:
    """A refused input; ``reason`` names the input and what is allowed."""
    return RuleResult(INVALID, reason=reason)
