"""What is known of one patient, as the rules that are not additive see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiomics_crlm.clinical.catalogue import Rule
from radiomics_crlm.clinical.conditions import Condition
from radiomics_crlm.clinical.result import OK, RuleResult
from radiomics_crlm.clinical.vocabulary import decode, vocabulary


class RefusedInputError(Exception):
    """Inputs that contradict each other in a formula; the text becomes the reason of an ``invalid`` result."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Facts:
    """Inputs of one rule for one patient, after its fallbacks.

    Parameters
    ----------
    codes
        Float code of each input (NaN unknown).
    judge
        Evaluates another rule on the same codes.
    """

    codes: Mapping[str, float]
    judge: Callable[[str, Mapping[str, float]], RuleResult]

    def __getitem__(self, name: str) -> Any:
        """The value of an input (bool, category, number or date), None if unknown."""
        code = self.codes.get(name, np.nan)
        return decode(vocabulary()[name], code)

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of ``names`` that are unknown, in the order given."""
        return tuple(name for name in names if np.isnan(self.codes.get(name, np.nan)))

    def result(self, rule_id: str, **instead: str) -> RuleResult:
        """Another rule on these inputs; ``instead`` names the input to read in place of one of its own."""
        codes = {**self.codes, **{name: self.codes.get(other, np.nan) for name, other in instead.items()}}
        return self.judge(rule_id, codes)

    def state(self, alternatives: Iterable[Iterable[Condition]]) -> bool | None:
        """Three-valued truth of alternatives of conditions: True, False, or None when open."""
        return any_of(all_of(self._holds(test) for test in tests) for tests in alternatives)

    def _holds(self, test: Condition) -> bool | None:
        code = self.codes.get(test.name, np.nan)
        return None if np.isnan(code) else bool(test.holds(code))


Method = Callable[[Rule, Facts], RuleResult]


def any_of(states: Iterable[bool | None]) -> bool | None:
    """Three-valued OR.

    Examples
    --------
    >>> any_of([None, True]), any_of([None, False]), any_of([False, False])
    (True, None, False)
    """
    seen = set(states)
    return True if True in seen else (None if None in seen else False)


def all_of(states: Iterable[bool | None]) -> bool | None:
    """Three-valued AND.

    Examples
    --------
    >>> all_of([None, True]), all_of([None, False]), all_of([True, True])
    (None, False, True)
    """
    seen = set(states)
    return False if False in seen else (None if None in seen else True)


def falls_in(result: RuleResult, groups: Iterable[str]) -> bool | None:
    """Whether a result lies in one of ``groups``; its remaining classes may decide that before it is assessable."""
    wanted = set(groups)
    if result.status == OK:
        return result.group in wanted
    possible = set(result.extra.get("possible", ()))
    if not possible:
        return None
    return True if possible <= wanted else (None if possible & wanted else False)


def is_met(result: RuleResult) -> bool | None:
    """Whether a criterion or a formula with a limit is met."""
    return bool(result.extra["met"]) if result.status == OK else None
