"""The rules as data: definition, inputs, groups, sources and known discrimination of each."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from radiomics_crlm.clinical.conditions import Condition, parse
from radiomics_crlm.clinical.vocabulary import vocabulary
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import shipped_yaml
from radiomics_crlm.schema import AVAILABILITY

_FILES = (
    "timing",
    "scores",
    "stages",
    "recalibrated",
    "transplantation",
    "resectability",
    "remnant",
    "response",
    "therapy",
    "imaging_quality",
)


@dataclass(frozen=True)
class Rule:
    """One rule as it stands in the rule files.

    Parameters
    ----------
    id, title, definition
        Name, one line, and the rule in words.
    method
        ``additive``, ``criteria``, ``steps``, or the name of a function.
    inputs, fallbacks, optional
        Canonical inputs: needed; used only to settle a needed one; used when known. Inputs that a rule does not name
        are never looked at.
    body
        The part that the method reads (items, groups, rows, parameters).
    needs_all
        True for rules that are not assessable as soon as one needed input is unknown.
    by_default
        False for rules that run only when asked for.
    family
        Name of the file in which the rule stands.
    """

    id: str
    title: str
    definition: str
    method: str
    inputs: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    notes: str = ""
    needs_all: bool = False
    by_default: bool = True
    family: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_inputs(self) -> tuple[str, ...]:
        """Every input that the rule may look at, in its order."""
        return tuple(dict.fromkeys(self.inputs + self.fallbacks + self.optional))

    def parameter(self, name: str) -> Any:
        """A number or table of the rule's ``parameters``."""
        return self.body["parameters"][name]


@dataclass(frozen=True)
class Source:
    """A publication behind a rule."""

    cite: str
    doi: str | None = None
    pmid: str | None = None


@dataclass(frozen=True)
class RuleDescription:
    """What to print beside a result.

    ``points`` and ``groups`` are lines of text with their bounds; ``bounds`` is the range of the score;
    ``discrimination`` holds lines ``endpoint: metric value (source)`` from external data; ``available_at`` is
    the moment at which the last of its inputs becomes known (of needed, fallback and optional ones);
    ``missing_policy`` says what happens when an input is unknown; ``parameters`` are the figures of a formula or table.
    """

    id: str
    title: str
    definition: str
    points: tuple[str, ...]
    bounds: tuple[float, float] | None
    groups: tuple[str, ...]
    inputs: Mapping[str, str]
    endpoints: tuple[str, ...]
    sources: tuple[Source, ...]
    discrimination: tuple[str, ...]
    notes: str
    available_at: str
    missing_policy: str
    parameters: tuple[str, ...]
    family: str
    by_default: bool


@functools.cache
def rules() -> Mapping[str, Rule]:
    """All rules, by id, in the order of the files.

    Raises
    ------
    ConfigError
        If two rules share an id, or a rule names an input or a source that does not exist.
    """
    found: dict[str, Rule] = {}
    for name in _FILES:
        for rule_id, entry in _read(name).items():
            if rule_id.startswith("_"):
                continue
            if rule_id in found:
                raise ConfigError("two rules share an id", where=rule_id)
            found[rule_id] = _rule(rule_id, entry, name)
    return found


def rule(rule_id: str) -> Rule:
    """One rule.

    Raises
    ------
    ConfigError
        If there is no such rule; near matches are named.
    """
    try:
        return rules()[rule_id]
    except KeyError:
        near = difflib.get_close_matches(rule_id, rules(), n=3, cutoff=0.4)
        remedy = f"did you mean {' or '.join(near)}?" if near else "see clinical.rule_ids()"
        raise ConfigError("unknown rule", got=repr(rule_id), remedy=remedy) from None


def conditions(raw: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions of a mapping from inputs to tests, in its order."""
    return tuple(parse(vocabulary()[name], test) for name, test in raw.items())


def clauses(raw: Mapping[str, Any]) -> tuple[tuple[Condition, ...], ...]:
    """Alternatives (any may hold) of conditions (all must hold) of an item or row; none means otherwise.

    ``when: {a, b}`` asks for both, ``any: {a, b}`` for one of them, ``any: [{a, b}, {c}]`` for the first
    pair or for the last.
    """
    if "when" in raw:
        return (conditions(raw["when"]),)
    alternatives = raw.get("any", {})
    if isinstance(alternatives, list):
        return tuple(conditions(alternative) for alternative in alternatives)
    return tuple((test,) for test in conditions(alternatives))


def _read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = shipped_yaml(f"clinical/data/{name}.yaml")
    return loaded


def _rule(rule_id: str, entry: dict[str, Any], family: str) -> Rule:
    own = {name: entry.pop(name) for name in list(entry) if name in _PLAIN}
    lists = {name: tuple(entry.pop(name, ())) for name in _LISTS}
    made = Rule(**{"id": rule_id, "family": family, "body": entry, **own, **lists})
    strangers = [name for name in made.all_inputs if name not in vocabulary()]
    strangers += [key for key in made.sources if key not in _sources()]
    if strangers:
        raise ConfigError("a rule names an unknown input or source", where=rule_id, got=", ".join(strangers))
    return made


_PLAIN = ("title", "definition", "method", "notes", "needs_all", "by_default")
_LISTS = ("inputs", "fallbacks", "optional", "endpoints", "sources")


@functools.cache
def _sources() -> Mapping[str, Source]:
    return {key: Source(**entry) for key, entry in _read("sources").items()}


@functools.cache
def _discrimination() -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(lines) for key, lines in _read("discrimination").items()}


def inputs_with_time(chosen: Rule) -> dict[str, str]:
    """When each input of a rule becomes known, at the earliest."""
    return {name: vocabulary()[name].available_at for name in chosen.all_inputs}


def describe(rule_id: str) -> RuleDescription:
    """Title, definition, points, bounds, groups, sources and known external discrimination of a rule.

    Raises
    ------
    ConfigError
        If there is no such rule.

    Examples
    --------
    >>> describe("fong_crs").points[1]
    'dfi_months < 12: 1'
    """
    chosen = rule(rule_id)
    span = chosen.body.get("range")
    known = inputs_with_time(chosen)
    return RuleDescription(
        id=chosen.id,
        title=chosen.title,
        definition=chosen.definition,
        points=tuple(line for item in chosen.body.get("items", ()) for line in item_lines(item)),
        bounds=None if span is None else (span[0], span[1]),
        groups=_group_lines(chosen),
        inputs=known,
        endpoints=chosen.endpoints,
        sources=tuple(_sources()[key] for key in chosen.sources),
        discrimination=_discrimination().get(rule_id, ()),
        notes=chosen.notes,
        available_at=max(known.values(), key=AVAILABILITY.index),
        missing_policy=missing_policy(chosen),
        parameters=_parameter_lines(chosen.body.get("parameters", {})),
        family=chosen.family,
        by_default=chosen.by_default,
    )


@functools.cache
def _policies() -> Mapping[str, str]:
    return {key: str(text) for key, text in _read("missing_policies").items()}


def missing_policy(chosen: Rule) -> str:
    """What a rule does when an input is unknown, in words."""
    if chosen.needs_all:
        return _policies()["_needs_all"]
    key = "_override" if "override" in chosen.body else chosen.method
    return _policies().get(key, _policies()["_otherwise"])


def _parameter_lines(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {_plain(value)}" for name, value in parameters.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return (
            ", ".join(f"({_plain(entry)})" if isinstance(entry, list) else _plain(entry) for entry in value) or "none"
        )
    return str(value)


def item_lines(item: Mapping[str, Any]) -> list[str]:
    """An item in words, one line per bin of points."""
    if "bins" in item:
        quantity = item.get("input") or item["quantity"]
        return [f"{quantity} {test}: {points:g}" for test, points in item["bins"]]
    text = _clause_text(item)
    if "rule" in item:
        by_rule = f"{item['rule']} is {' or '.join(item.get('groups', ['met']))}"
        text = f"{text} or {by_rule}" if text else by_rule
    text = text or item.get("text", "always")
    outcome = item.get("option") or item.get("caution") or item.get("flag")
    if outcome:
        return [f"{text}: {outcome}"]
    return [f"{text}: {item['points']:g}" if "points" in item else text]


def _group_lines(chosen: Rule) -> tuple[str, ...]:
    lines, below = [], None
    for name, upper in chosen.body.get("groups", ()):
        lines.append(f"{name}: {'' if below is None else f'above {below:g} and '}up to {upper:g}")
        below = upper
    rows = (row for row in chosen.body.get("rows", ()) if "group" in row)
    return (*lines, *(f"{row['group']}: {_clause_text(row) or 'otherwise'}" for row in rows))


def _clause_text(raw: Mapping[str, Any]) -> str:
    return " or ".join(" and ".join(test.text for test in alternative) for alternative in clauses(raw))
