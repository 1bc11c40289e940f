"""The application: its commands, how errors become exit codes, and what goes to the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import radiomics_crlm
from radiomics_crlm.cli import (
    EXIT_STOPPED,
    anchor_command,
    bundle_command,
    cohort_commands,
    doctor_command,
    fetch_command,
    imaging_commands,
    part_command,
    report_command,
    robustness_commands,
    rules_commands,
    score_command,
    sheet_command,
    study_commands,
)
from radiomics_crlm.cli.manual import EXIT_CODES, describe
from radiomics_crlm.cli.refusals import refused
from radiomics_crlm.cli.screen import Screen
from radiomics_crlm.errors import CrlmError

EXIT_UNEXPECTED = 1

_STOPPED = "stopped; the same command does it again"


class _Commands(TyperGroup):
    """All commands; Ctrl-C ends any of them with one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            Screen().line(_STOPPED)
            raise typer.Exit(EXIT_STOPPED) from None


app = typer.Typer(
    name="crlm",
    cls=_Commands,
    help="Radiomics prognosis for colorectal liver metastases, always beside the scores surgeons use.",
    epilog=f"First steps: crlm demo; then crlm COMMAND --help.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for module in (
    study_commands,
    part_command,
    report_command,
    cohort_commands,
    fetch_command,
    imaging_commands,
    robustness_commands,
    rules_commands,
    score_command,
    bundle_command,
    sheet_command,
    anchor_command,
    doctor_command,
):
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        Screen().line(radiomics_crlm.__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an unexpected failure.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Radiomics prognosis for colorectal liver metastases, always beside the scores surgeons use."""


@app.command()
def version() -> None:
    """Print the version."""
    Screen().line(radiomics_crlm.__version__)


describe(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("mlflow", "alembic", "radiomics", "matplotlib", "shap", "weasyprint", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    screen = Screen()
    try:
        app(args=list(arguments), prog_name="crlm")
    except SystemExit as leaving:  # how typer ends a command, wrong usage (2) included
        if isinstance(getattr(leaving.__context__, "__cause__", None), KeyboardInterrupt):
            screen.line(_STOPPED)  # before the command began: typer says nothing
        return leaving.code if isinstance(leaving.code, int) else EXIT_UNEXPECTED
    except CrlmError as error:
        screen.error(str(error))
        return error.exit_code
    except OSError as error:  # a full disk, a folder that may not be written
        screen.error(str(refused(error, arguments)))
        if "--debug" in arguments:
            traceback.print_exc()
        return EXIT_UNEXPECTED
    # The last resort of the program: a traceback may hold patient data, so it is shown on request only.
    except Exception as error:  # noqa: BLE001
        screen.error(f"unexpected failure ({type(error).__name__}); run again with 'crlm --debug' for the traceback")
        if "--debug" in arguments:
            traceback.print_exc()
        return EXIT_UNEXPECTED
    return 0
