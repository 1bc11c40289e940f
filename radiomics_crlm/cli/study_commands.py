"""Commands on whole studies: run, demo, and the later stages again on a finished run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiomics_crlm.cli import EXIT_STOPPED
from radiomics_crlm.cli.completion import experiment_names
from radiomics_crlm.cli.folders import output_folder
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import resource

if TYPE_CHECKING:
    import pandas as pd

    from radiomics_crlm.study.run import StudyResult

EXIT_PARTIAL = 4

Experiment = Annotated[
    Path,
    typer.Argument(help="Experiment file, or the name of a shipped experiment.", autocompletion=experiment_names),
]
Out = Annotated[
    Path, typer.Option("--out", help="Folder for the results; made if it is missing.", callback=output_folder)
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with the data of a real cohort.")]
MACHINE = "Machine (the results do not depend on it)"
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Processes at a time.", rich_help_panel=MACHINE)]
AllowLeak = Annotated[
    bool, typer.Option("--allow-leak", help="Admit predictors that are known only later; the card says so in red.")
]
Dask = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler (tcp://host:8786) whose workers see the same files.", rich_help_panel=MACHINE
    ),
]
MlflowUri = Annotated[str | None, typer.Option("--mlflow-uri", help="MLflow store; default: sqlite in the out folder.")]
PartFolders = Annotated[
    list[Path] | None,
    typer.Option("--part", help="Folder of 'crlm part', not to be done again; may be given repeatedly."),
]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
RunToChange = Annotated[Path, typer.Argument(help="Folder of a finished run.", callback=output_folder)]


def default_jobs() -> int:
    """Number of usable cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run_command)
    app.command("demo")(demo)
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("explain")(explain)


def run_command(
    experiment: Experiment,
    out: Out,
    data: Data = None,
    jobs: Jobs = default_jobs(),
    allow_leak: AllowLeak = False,
    mlflow_uri: MlflowUri = None,
    dask: Dask = None,
    part: PartFolders = None,
) -> None:
    """Run all stages of an experiment: cohort, features, rules, models, SHAP, card, bundles.

    A run that was stopped or killed goes on where it was when the same command is given again.
    """
    from radiomics_crlm.study.run import run_experiment

    screen = Screen()
    with stoppable(screen):
        result = run_experiment(
            find_experiment(experiment),
            out=out,
            data=data,
            jobs=jobs,
            allow_leak=allow_leak,
            mlflow_uri=mlflow_uri,
            dask=dask,
            parts=part or (),
            progress=screen.progress,
        )
    report(screen, result)
    if result.left_out or result.failed_lesions:
        raise typer.Exit(EXIT_PARTIAL)


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="For the results; an earlier demo is replaced, one that was stopped goes on.",
            callback=output_folder,
        ),
    ] = Path("out/demo"),
    jobs: Jobs = default_jobs(),
) -> None:
    """Watch a whole study on simulated patients, and score a new cohort with what it learned."""
    from radiomics_crlm.study.demo import run_demo

    screen = Screen()
    with stoppable(screen):
        shown = run_demo(find_experiment(Path("demo")), out=out, jobs=jobs, progress=screen.progress)
    report(screen, shown.study)
    for name, account in shown.accounts.items():
        reasons = ", ".join(f"{code} {n}" for code, n in account.abstentions.items())
        screen.line(f"scores:        {shown.scores / name / 'scores.csv'}")
        counts = f"{account.rows} patients in, {account.scored} scored, {account.abstained} abstained"
        screen.line(f"               {counts} ({reasons})")


def train(
    experiment: Experiment,
    out: Out,
    data: Data = None,
    jobs: Jobs = default_jobs(),
    allow_leak: AllowLeak = False,
    dask: Dask = None,
) -> None:
    """Only train: cohort, features, rules, models, SHAP and bundles; goes on like 'run' when it was stopped."""
    from radiomics_crlm.study.run import start_study

    screen = Screen()
    with stoppable(screen):
        start_study(
            find_experiment(experiment),
            out=out,
            data=data,
            jobs=jobs,
            allow_leak=allow_leak,
            dask=dask,
            progress=screen.progress,
        )
    screen.stop()
    screen.line(f"trained: {out}; next: crlm evaluate {out}")


def evaluate(run: RunToChange) -> None:
    """Compute metrics, intervals and paired differences of a trained study again."""
    from radiomics_crlm.report.checklists import write_checklists
    from radiomics_crlm.study.acceptance import accept_study
    from radiomics_crlm.study.evaluate import evaluate_study

    screen = Screen()
    metrics, _ = evaluate_study(run, progress=screen.progress)
    accept_study(run)
    write_checklists(run)
    screen.stop()
    _show_metrics(screen, metrics)
    screen.line(f"evaluated: {run / 'tables'}; next: crlm card {run}")


def explain(run: RunFolder, top: Annotated[int, typer.Option(min=1, help="Inputs to show per model.")] = 15) -> None:
    """Show which inputs the delivered models rely on (mean absolute SHAP value, out of fold)."""
    screen = Screen()
    with screen.doing("reading the attributions"):
        from radiomics_crlm.explanation import global_importance
        from radiomics_crlm.provenance.tables import read_table

        importance = global_importance(read_table(run / "tables" / "attributions.parquet", "attributions"))
    for (endpoint, model), rows in importance.groupby(["endpoint", "model"], sort=False):
        screen.table(
            f"{endpoint}: {model}",
            ("input", "mean |SHAP|"),
            [(row["feature"], f"{row['importance']:.3f}") for row in rows.head(top).to_dict("records")],
        )


@contextmanager
def stoppable(screen: Screen) -> Iterator[None]:
    """Work that Ctrl-C ends without harm."""
    try:
        yield
    except KeyboardInterrupt:
        screen.stop()
        screen.line("stopped; what is finished is kept, the same command goes on from there")
        raise typer.Exit(EXIT_STOPPED) from None


def find_experiment(named: Path) -> Path:
    """An experiment file, or a shipped experiment by its name.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    if named.is_file():
        return named
    shipped = resource("experiments")
    candidate = shipped / f"{named}.yaml"
    if len(named.parts) == 1 and candidate.is_file():
        return candidate
    raise ConfigError(
        "there is no such experiment",
        expected="a file, or one of " + ", ".join(sorted(p.stem for p in shipped.glob("*.yaml"))),
        got=str(named),
    )


def report(screen: Screen, result: StudyResult) -> None:
    """Say what a finished study found and where everything is."""
    from radiomics_crlm.provenance.tables import read_table

    screen.stop()
    _show_metrics(screen, read_table(result.out / "tables" / "metrics.parquet", "metrics"))
    if not result.leak_admitted:
        _show_answers(screen, result.out / "tables" / "answers.parquet")
    account = result.flow["cohort"]
    screen.line(f"patients:      {account['in']} in, {account['out']} in the study")
    screen.line(f"left out:      {result.left_out} patients or scans, {result.failed_lesions} lesions without features")
    if not result.performance_claim:
        screen.line("NOTE: by its design this study makes no claim about performance; the card says why", style="bold")
    if result.leak_admitted:
        screen.line("LEAK: predictors that are known only later were let in; the card says which", style="bold red")
    show_crosscheck(screen, result.out / "tables")
    screen.line(f"card:          {result.card}")
    screen.line(f"MLflow store:  {result.tracking_uri}")
    for name, bundle in result.bundles.items():
        screen.line(f"bundle:        {bundle} ({name})")


def show_crosscheck(screen: Screen, tables: Path) -> None:
    """Say how the masks and the charts of a finished run agree, if both exist."""
    from radiomics_crlm.provenance.tables import read_table

    path = tables / "crosscheck.parquet"
    if not path.is_file():
        return
    checked = read_table(path, "crosscheck")
    differ = checked[checked["verdict"] == "disagree"]
    compared = int(checked["verdict"].isin(("agree", "disagree")).sum())
    patients = differ["patient_id"].nunique()
    screen.line(f"chart = masks: {compared} values compared, {len(differ)} disagree in {patients} patients")


def _show_answers(screen: Screen, path: Path) -> None:
    """Say of each endpoint what radiomics adds, if the experiment asked."""
    from radiomics_crlm.provenance.tables import read_table
    from radiomics_crlm.report.verdicts import answer_sentence

    if path.is_file():
        for endpoint, table in read_table(path, "answers").groupby("endpoint", sort=False):
            rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
            screen.line(f"answer:        {endpoint}: {answer_sentence(rows)}")


def _show_metrics(screen: Screen, metrics: pd.DataFrame) -> None:
    shown = metrics[metrics["metric"].isin(("auc", "c_index"))]
    screen.table(
        "discrimination within folds, 95 % interval",
        ("endpoint", "model or score", "metric", "estimate", "interval", "n", "events"),
        [
            (
                m["endpoint"],
                m["model"],
                m["metric"],
                f"{m['estimate']:.3f}",
                f"{m['lower']:.3f} to {m['upper']:.3f}",
                str(m["n"]),
                str(m["events"]),
            )
            for m in shown.to_dict("records")
        ],
    )
