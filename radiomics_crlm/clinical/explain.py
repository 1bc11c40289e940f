"""A rule in words: one text for the terminal, the sheet of a patient and the documentation pages."""

from __future__ import annotations

from dataclasses import dataclass

from radiomics_crlm.clinical.catalogue import RuleDescription, Source, describe, rule, rules
from radiomics_crlm.clinical.vocabulary import vocabulary

TEAM = "These results inform; a multidisciplinary team decides."
NO_SOURCE = "Stated in review articles on colorectal liver metastases without a single primary publication."
FAMILIES = {
    "timing": "Timing",
    "scores": "Prognostic scores",
    "stages": "Tumour burden and stages",
    "recalibrated": "Recalibrated probabilities of recurrence",
    "transplantation": "Transplantation and cytoreduction",
    "resectability": "Definitions of resectability",
    "remnant": "Remnant volume and liver function",
    "response": "Response, conversion and pathology",
    "therapy": "Therapy information",
    "imaging_quality": "Imaging quality and work-up",
}
_ROLES = ("needed", "fallback", "optional")


@dataclass(frozen=True)
class Section:
    """A heading and its lines; ``items`` says that each line is one of several."""

    heading: str
    lines: tuple[str, ...]
    items: bool = True


def sections(rule_id: str) -> tuple[Section, ...]:
    """Definition, points, groups, figures, inputs, missing-data policy, endpoints, discrimination and sources.

    Raises
    ------
    ConfigError
        If there is no such rule.
    """
    told = describe(rule_id)
    found = [
        Section("Definition", (told.definition,), items=False),
        Section("Points" if told.bounds else "Items", told.points),
        Section("Range", (f"{told.bounds[0]:g} to {told.bounds[1]:g}",) if told.bounds else (), items=False),
        Section("Groups", told.groups),
        Section("Figures used", told.parameters),
        Section("Inputs", tuple(_input_lines(told))),
        Section("When something is unknown", (told.missing_policy,), items=False),
        Section("Known at the earliest", (told.available_at,), items=False),
        Section("Informs on", (", ".join(told.endpoints),), items=False),
        Section("Discrimination outside the derivation cohort", _discrimination(told)),
        Section("Notes", (told.notes,) if told.notes else (), items=False),
        Section("Sources", tuple(source_text(source) for source in told.sources) or (NO_SOURCE,)),
    ]
    if not told.by_default:
        found.insert(1, Section("Optional", ("Runs only when it is asked for by name.",), items=False))
    return tuple(section for section in found if section.lines)


def _discrimination(told: RuleDescription) -> tuple[str, ...]:
    return told.discrimination or (("none known",) if told.bounds else ())


def source_text(source: Source) -> str:
    """A publication with its identifiers."""
    marks = [f"doi:{source.doi}" if source.doi else "", f"PMID {source.pmid}" if source.pmid else ""]
    return ", ".join([source.cite, *(mark for mark in marks if mark)])


def _input_lines(told: RuleDescription) -> list[str]:
    chosen = rule(told.id)
    lines = []
    for role, names in zip(_ROLES, (chosen.inputs, chosen.fallbacks, chosen.optional), strict=True):
        for name in names:
            spec = vocabulary()[name]
            lines.append(f"{name} ({role}): {spec.rule()}, known at {spec.available_at}")
    return list(dict.fromkeys(lines))


def family_rules(family: str) -> list[str]:
    """Rules of a family, in their order."""
    return [rule_id for rule_id, one in rules().items() if one.family == family]


def pages() -> dict[str, str]:
    """The documentation pages in Markdown, by file name: an index and one page per family."""
    return {"index.md": _index(), **{f"{name}.md": _page(name, title) for name, title in FAMILIES.items()}}


def _index() -> str:
    lines = [
        "# Clinical rules",
        "",
        f"{len(rules())} rules, written by `crlm rules docs` from the rule files. {TEAM}",
        "",
    ]
    for name, title in FAMILIES.items():
        lines += [f"## [{title}]({name}.md)", "", "| rule | what it returns | known at the earliest |", "|---|---|---|"]
        for rule_id in family_rules(name):
            told = describe(rule_id)
            lines.append(f"| [`{rule_id}`]({name}.md#{rule_id}) | {told.title} | {told.available_at} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _page(family: str, title: str) -> str:
    lines = [f"# {title}", "", f"Written by `crlm rules docs` from the rule files. {TEAM}", ""]
    for rule_id in family_rules(family):
        lines += [f'<a id="{rule_id}"></a>', "", f"## {describe(rule_id).title}", "", f"`{rule_id}`", ""]
        for section in sections(rule_id):
            lines += [f"**{section.heading}**", ""]
            lines += [f"- {_escaped(line)}" if section.items else _escaped(line) for line in section.lines]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _escaped(text: str) -> str:
    """Signs that Markdown would read as its own, in the running text of a rule."""
    for sign in ("\\", "*", "<", ">", "["):
        text = text.replace(sign, f"\\{sign}")
    return text
