"""What the image biomarker standard (IBSI) says of the features that the models of this run were offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.features.profiles import load_profiles, profile_for
from radiomics_crlm.modelling.scans import blocks_of, by_block
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.blocks import Part, absent, column, group, names, paragraph, row, section, table, value
from radiomics_crlm.report.participants import clinical_spec

# Aggregates that are counted on masks, not computed from features of the engine.
_COUNTED = frozenset({"burden"})


def standardisation(artefacts: Artefacts, _: Part) -> Part:
    """Per profile: how many of the features used are standardised as computed; the others by name, with the reason."""
    sets = {name: body for name, body in artefacts.experiment.feature_sets.items() if body.selections}
    if not sets:
        return section([absent("Statement on standardisation", "no model of this experiment uses radiomics")])
    if not artefacts.standardisation:
        reason = "no images were measured in this run, so it has no ibsi_statement.json"
        return section([absent("Statement on standardisation", reason)])
    blocks: list[Part] = []
    used: dict[str, set[str]] = {}
    for name, feature_set in sets.items():
        for block, columns in by_block(_offered(artefacts, name), blocks_of(feature_set)).items():
            profile = _profile(artefacts, f"{block.scans.modality}/{block.scans.sequence}")
            of_engine = [c for c in columns if c.removeprefix(block.prefix).partition("__")[0] not in _COUNTED]
            used.setdefault(profile, set()).update(c.rpartition("__")[2] for c in of_engine)
    for profile, offered in used.items():
        body = artefacts.standardisation.get(profile)
        if body is None:
            blocks.append(absent(f"Statement on {profile}", "the record of the run has none for this profile"))
        else:
            blocks += _profile_blocks(profile, body, offered)
    return section(blocks)


def _profile(artefacts: Artefacts, kind: str) -> str:
    """Name of the extraction profile of a kind of scan."""
    stated = list(artefacts.standardisation)
    if kind in artefacts.experiment.profiles:
        return artefacts.experiment.profiles[kind]
    modality, _, sequence = kind.partition("/")
    found = profile_for(load_profiles().for_scans(), modality, sequence)
    return found.name if found is not None else stated[0] if len(stated) == 1 else kind


def _offered(artefacts: Artefacts, feature_set: str) -> list[str]:
    """Radiomic columns that models of a set were offered."""
    columns = [
        str(c)
        for models in artefacts.part("models").values()
        for model, record in models.items()
        if model.partition("/")[0] == feature_set
        for c in record.get("columns", [])
    ]
    return [c for c in dict.fromkeys(columns) if "__" in c and clinical_spec(c) is None]


def _profile_blocks(profile: str, body: Mapping[str, Any], offered: set[str]) -> list[Part]:
    features = [f for f in body.get("features", []) if f["name"] in offered]
    if not features:
        return [absent(f"Statement on {profile}", "no feature of it was offered to a model")]
    standard = [f["name"] for f in features if f["standardised"]]
    others = [f for f in features if not f["standardised"]]
    defined = sum(bool(f["defined"]) for f in features)
    blocks = [
        paragraph(
            f"Profile {profile}: of {len(features)} features offered to the models, {len(standard)} are standardised "
            f"as computed and {defined} follow a definition of the standard. A value that is not standardised must not "
            "be compared with that of another program without looking at the reason."
        )
    ]
    codes = list(dict.fromkeys(code for f in features for code in (*f["deviations"], *f["notes"])))
    if codes:
        blocks.append(_reasons(profile, codes, body, features))
    if others:
        blocks.append(names(f"The {len(others)} features that are not IBSI-standardised, by name", _named(others)))
    if standard:
        blocks.append(names(f"The {len(standard)} standardised features, by name", standard))
    return blocks


def _reasons(profile: str, codes: list[str], body: Mapping[str, Any], features: list[Any]) -> Part:
    counts = {code: sum(code in (*f["deviations"], *f["notes"]) for f in features) for code in codes}
    deviating = {code for f in features for code in f["deviations"]}
    codes = sorted(codes, key=lambda code: (code not in deviating, -counts[code], code))
    lines = [
        row(
            code.replace("_", " "),
            [value(counts[code], 0)],
            under=str(body.get("codes", {}).get(code, "")).replace("`", ""),
        )
        for code in codes
    ]
    titles = ("Deviations from the standard", "To be reported; no deviation")
    groups = [
        group([line for line, code in zip(lines, codes, strict=True) if (code in deviating) == first], title)
        for first, title in zip((True, False), titles, strict=True)
    ]
    return table(
        f"Why features are not standardised as computed: profile {profile}",
        "Reason",
        [column("Features", "of those offered")],
        [g for g in groups if g["rows"]],
        note=f"Settings {body.get('settings_hash', 'not recorded')}, engine {body.get('engine', 'not recorded')}. "
        "IBSI 1: doi:10.1148/radiol.2020191145.",
    )


def _named(features: list[Any]) -> list[str]:
    """Names, with the reasons that not all share."""
    shared = set.intersection(*(set(f["deviations"]) for f in features))
    found = []
    for f in features:
        own = [code.replace("_", " ") for code in f["deviations"] if code not in shared]
        found.append(f["name"] + (f" ({', '.join(own)})" if own else ""))
    return found
