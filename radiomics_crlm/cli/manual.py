"""What the help says of each command beside its options: where it belongs, examples, and what exit code 4 means."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from typer.models import CommandInfo

EXIT_CODES = (
    "Exit codes: 0 all good, 1 unexpected failure, 2 wrong usage or configuration, 3 invalid input, 4 finished with "
    "failed or excluded cases, 130 stopped with Ctrl-C (the same command goes on)."
)
_STUDY, _COHORT, _USE, _TOOLS = "Studies", "Cohorts and images", "Models in use", "Tools"
_LEFT_OUT = "patients or scans were left out, with reasons"


@dataclass(frozen=True)
class Entry:
    """Panel of the help, command lines that serve as examples, and what exit code 4 says of this command."""

    panel: str
    examples: tuple[str, ...]
    partial: str = ""

    @property
    def text(self) -> str:
        """The end of the help of the command."""
        lines = [f"Example: {line}" for line in self.examples]
        return "\n\n".join([*lines, f"Exit code 4: {self.partial}."] if self.partial else lines)


ENTRIES = {
    "run": Entry(
        _STUDY,
        ("crlm run my_study.yaml --data my_cohort --out out/my_study", "crlm run simulated_recurrence --out out/sim"),
        _LEFT_OUT + ", or lesions have no features",
    ),
    "demo": Entry(_STUDY, ("crlm demo --out out/demo",)),
    "train": Entry(_STUDY, ("crlm train my_study.yaml --data my_cohort --out out/my_study",)),
    "evaluate": Entry(_STUDY, ("crlm evaluate out/my_study",)),
    "explain": Entry(_STUDY, ("crlm explain out/my_study --top 5",)),
    "part": Entry(
        _STUDY,
        (
            "crlm part my_study.yaml --data my_cohort --out out/cohort",
            "crlm part my_study.yaml --model recurrence/clinical/ridge --part out/cohort --out out/ridge",
        ),
    ),
    "card": Entry(_STUDY, ("crlm card out/my_study --open", "crlm card out/my_study --against out/last_year")),
    "checklists": Entry(_STUDY, ("crlm checklists out/my_study",)),
    "report": Entry(_STUDY, ("crlm report out/my_study --to reports/my_study",)),
    "index": Entry(_STUDY, ("crlm index out --out out/index.html --open",)),
    "simulate": Entry(_COHORT, ("crlm simulate --patients 20 --seed 1 --out out/phantoms",)),
    "validate": Entry(_COHORT, ("crlm validate my_cohort",), _LEFT_OUT),
    "ingest": Entry(
        _COHORT,
        (
            "crlm ingest my_cohort --out out/ingested",
            "crlm ingest --patient P1 --image series --mask seg.dcm --roles 'lesion=Tumor*;liver=1' --out out/p1",
        ),
        _LEFT_OUT,
    ),
    "extract": Entry(
        _COHORT,
        (
            "crlm extract my_cohort --out out/features",
            "crlm extract my_cohort --out out/f --profile mr-t1-hbp --jobs 8",
        ),
        _LEFT_OUT + ", or lesions failed",
    ),
    "view": Entry(_COHORT, ("crlm view my_cohort --out out/view",), _LEFT_OUT),
    "measure": Entry(_COHORT, ("crlm measure my_cohort --out out/measured --ring 10",), _LEFT_OUT),
    "response": Entry(_COHORT, ("crlm response my_cohort --out out/response",), _LEFT_OUT),
    "robustness": Entry(
        _COHORT,
        ("crlm robustness my_cohort --out out/robust --perturbations rotate:6,noise,grow:0.15 --repeats 3",),
        _LEFT_OUT + ", or measurements failed",
    ),
    "score": Entry(
        _USE,
        ("crlm score --bundle out/my_study/bundles/recurrence_24m --cohort new --out out/scores",),
        "some patients were not scored; their rows say why",
    ),
    "sheet": Entry(
        _USE,
        ("crlm sheet --bundle out/my_study/bundles/recurrence_24m --cohort new --scores out/scores --out out/sheets",),
        "some sheets failed, or a scan could not be shown",
    ),
    "bundle": Entry(_USE, ()),
    "bundle check": Entry(_USE, ("crlm bundle check out/my_study/bundles/recurrence_24m",)),
    "bundle export-mlflow": Entry(
        _USE, ("crlm bundle export-mlflow out/my_study/bundles/recurrence_24m --out out/served",)
    ),
    "rules": Entry(_USE, ()),
    "rules run": Entry(_USE, ("crlm rules run my_cohort --out out/rules --rule fong_crs --rule tbs2018",), _LEFT_OUT),
    "rules list": Entry(_USE, ("crlm rules list",)),
    "rules explain": Entry(_USE, ("crlm rules explain fong_crs",)),
    "rules show": Entry(_USE, ("crlm rules show P1 --cohort my_cohort --html out/p1.html",)),
    "rules docs": Entry(_USE, ("crlm rules docs --out docs/rules",)),
    "rules check": Entry(_USE, ("crlm rules check vectors.csv",), "some worked examples disagree; they are listed"),
    "fetch": Entry(_COHORT, ()),
    "fetch idc": Entry(
        _COHORT, ("crlm fetch idc --collection colorectal_liver_metastases --patients 5 --out data --yes",)
    ),
    "anchor": Entry(
        _TOOLS,
        ("crlm anchor features.csv --grid published.csv --to out/anchor",),
        "a published configuration was not met to four decimals",
    ),
    "doctor": Entry(_TOOLS, ("crlm doctor",)),
    "version": Entry(_TOOLS, ("crlm version",)),
}


def describe(app: typer.Typer, before: str = "") -> None:
    """Add panels and examples to all commands of an application, and to those of its groups."""
    for command in app.registered_commands:
        entry = ENTRIES[f"{before}{_name(command)}"]
        command.epilog, command.rich_help_panel = entry.text, None if before else entry.panel
    for group in app.registered_groups:
        group.rich_help_panel = ENTRIES[str(group.name)].panel
        if group.typer_instance is not None:
            describe(group.typer_instance, f"{group.name} ")


def _name(command: CommandInfo) -> str:
    return command.name or str(getattr(command.callback, "__name__", ""))
