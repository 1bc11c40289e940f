"""The leak guard: what becomes known only after a model speaks is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from radiomics_crlm.errors import ConfigError, LeakError
from radiomics_crlm.schema.specs import AVAILABILITY


@dataclass(frozen=True)
class Refusal:
    """A column that a model may not use, and why."""

    column: str
    available_at: str
    speaks_at: str

    def sentence(self) -> str:
        """The reason in words."""
        return f"{self.column} is known only at {self.available_at}, but the model speaks at {self.speaks_at}"


def is_later(available_at: str, speaks_at: str) -> bool:
    """Whether something becomes known only after the moment at which a model speaks.

    >>> is_later("postoperative", "preoperative"), is_later("baseline", "baseline")
    (True, False)
    """
    for moment in (available_at, speaks_at):
        if moment not in AVAILABILITY:
            raise ConfigError("unknown moment", expected=", ".join(AVAILABILITY), got=repr(moment))
    return AVAILABILITY.index(available_at) > AVAILABILITY.index(speaks_at)


def later_than(available_at: Mapping[str, str], speaks_at: str) -> list[Refusal]:
    """All columns of ``available_at`` that a model speaking at ``speaks_at`` must not see."""
    return [Refusal(c, when, speaks_at) for c, when in available_at.items() if is_later(when, speaks_at)]


def refuse_later(available_at: Mapping[str, str], speaks_at: str, *, allow: bool = False) -> list[Refusal]:
    """Refuse what becomes known later than the model speaks.

    Parameters
    ----------
    available_at
        Moment at which each wanted column becomes known.
    speaks_at
        Moment at which the model speaks.
    allow
        Let the leak in; the caller must then say so on the card.

    Returns
    -------
    list of Refusal
        Empty, or the leaking columns if ``allow`` is set.

    Raises
    ------
    LeakError
        Naming each column and when it is known, unless ``allow`` is set.
    """
    refusals = later_than(available_at, speaks_at)
    if refusals and not allow:
        raise LeakError(
            "predictors that are known only later are refused: " + "; ".join(r.sentence() for r in refusals),
            remedy="remove them, or pass --allow-leak to study the leak (the card will say so)",
        )
    return refusals
