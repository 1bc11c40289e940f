"""Commands under hard use: what each one needs, how it is started, stopped, starved of space, and compared.

A `Work` is a command that writes something over time. `IN` in its arguments stands for the folder of inputs that
`write_inputs` makes, `OUT` for the folder it writes to.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from test_designs import BASE, charts

from radiomics_crlm.cli.app import run
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig

PROGRAM = (
    "import os, sys; from radiomics_crlm.cli import main; "
    "ready = os.environ.pop('HARD_USE_READY', ''); ready and (os.write(int(ready), b'!'), os.close(int(ready))); main()"
)
DONE = (0, 4)
EXPERIMENT: dict[str, Any] = {
    **BASE,
    "name": "hard",
    "endpoints": ["recurrence"],
    "design": {"inner_folds": 3, "seed": 4, "bootstrap_draws": 100, "outer_folds": 3, "repeats": 2, "refits": 3},
    "deliver": {"recurrence": "clinical/ridge"},
}
# What tells of the run and not of the data: times, memory, the tracking store with its times and identifiers.
_OF_THE_RUN = ("mlflow.db", "mlflow.db.lock", "mlflow-artifacts", "extraction.json", ".cache")


@dataclass(frozen=True)
class Work:
    """A command, what lies in its out folder before it begins (below `IN`), and what to leave out of a comparison."""

    name: str
    arguments: Sequence[str]
    before: str = ""
    besides: Sequence[str] = field(default=())

    def command(self, inputs: Path | str, out: Path | str) -> list[str]:
        named = {"IN": str(inputs), "OUT": str(out)}
        return [functools.reduce(lambda a, n: a.replace(n, named[n]), named, text) for text in self.arguments]

    def prepare(self, inputs: Path, out: Path) -> Path:
        """An out folder as it is before the command."""
        shutil.rmtree(out, ignore_errors=True)
        if self.before:
            shutil.copytree(inputs / self.before, out)
        return out


_STUDY = ("IN/experiment.yaml", "--data", "IN/charts", "--out", "OUT", "--jobs", "2")
_NATIVE = ("--profile", "ct-portal-venous-native")
WORKS = (
    Work("simulate", ("simulate", "--patients", "3", "--seed", "3", "--jobs", "2", "--out", "OUT")),
    Work("ingest", ("ingest", "IN/cohort", "--out", "OUT")),
    Work("extract", ("extract", "IN/cohort", "--out", "OUT", *_NATIVE, "--jobs", "2")),
    Work("view", ("view", "IN/cohort", "--out", "OUT", "--jobs", "2")),
    Work("measure", ("measure", "IN/cohort", "--out", "OUT", "--jobs", "2")),
    Work("response", ("response", "IN/cohort", "--out", "OUT", "--jobs", "2")),
    Work(
        "robustness",
        ("robustness", "IN/cohort", "--perturbations", "translate:0.25", "--no-controls", "--out", "OUT", *_NATIVE,
         "--jobs", "2"),
    ),
    Work("rules run", ("rules", "run", "IN/charts", "--out", "OUT")),
    Work("rules docs", ("rules", "docs", "--out", "OUT")),
    Work("run", ("run", *_STUDY)),
    Work("train", ("train", *_STUDY)),
    Work("part", ("part", *_STUDY)),
    Work("part --model", ("part", *_STUDY, "--model", "recurrence/clinical/ridge")),
    Work("evaluate", ("evaluate", "OUT"), before="study"),
    Work("card", ("card", "OUT"), before="study"),
    Work("checklists", ("checklists", "OUT", "--anew"), before="study"),
    Work("report", ("report", "OUT"), before="study"),
    Work("index", ("index", "IN", "--out", "OUT/index.html")),
    Work(
        "score",
        ("score", "--bundle", "IN/study/bundles/recurrence", "--cohort", "IN/patients", "--out", "OUT", "--jobs", "2",
         "--attributions"),
    ),
    Work(
        "sheet",
        ("sheet", "--bundle", "IN/study/bundles/recurrence", "--cohort", "IN/patients", "--scores", "IN/scores",
         "--out", "OUT", "--jobs", "2"),
    ),
    Work("bundle export-mlflow", ("bundle", "export-mlflow", "IN/study/bundles/recurrence", "--out", "OUT/model")),
    Work("anchor", ("anchor", "IN/anchor.csv", "--features", "2", "--to", "OUT")),
)  # fmt: skip
BY_NAME = {work.name: work for work in WORKS}


def write_inputs(folder: Path) -> Path:
    """Two patients with scans at two times, charts, an experiment on them, its finished study, scores, a table."""
    folder.mkdir(parents=True, exist_ok=True)
    two = SimulationConfig(patients=2, seed=3, unresectable_fraction=1, mr_fraction=0)
    simulate_cohort(two, folder / "cohort")
    for name, rows, seed in (("charts", 150, 0), ("patients", 25, 9)):
        (folder / name).mkdir()
        charts(rows, seed, "A").to_csv(folder / name / "clinical.csv", index=False)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    draw = np.random.default_rng(5)
    table = pd.DataFrame(draw.normal(size=(40, 6)), columns=[f"f{i}" for i in range(6)])
    table.insert(0, "ID", [f"P{i}" for i in range(40)])
    table.insert(1, "Target", draw.integers(0, 2, 40))
    table.to_csv(folder / "anchor.csv", index=False)
    for work, out in ((BY_NAME["run"], folder / "study"), (BY_NAME["score"], folder / "scores")):
        assert run([*work.command(folder, out), "--jobs", "1"]) in DONE
    for left in folder.glob("study/mlflow*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return folder


def files(out: Path, besides: Sequence[str] = ()) -> dict[str, bytes]:
    """All that a command leaves, but for what tells of the run."""
    apart = {*_OF_THE_RUN, *besides}
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not apart & set(path.relative_to(out).parts)
    }


def differences(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Names of files that are missing, foreign or of other bytes."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def settings(**more: str) -> dict[str, str]:
    """The environment of a command: that of the tests, with their import path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"} | more


@dataclass
class Started:
    """A command in a process group of its own."""

    process: subprocess.Popen[str]

    def end(self, timeout: float = 300) -> tuple[int, str, str]:
        """Exit code and what it said."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def signal(self, number: signal.Signals) -> None:
        """To all processes of the group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def alive(self, within: float = 15) -> list[int]:
        """Processes of the group that do not end within so many seconds."""
        deadline = time.monotonic() + within
        while (found := members(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


def members(group: int) -> list[int]:
    """Living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def start(arguments: Sequence[str], *, before: Sequence[str] = (), **options: Any) -> Started:
    """Start a command; returns when the program itself has begun, not merely Python."""
    read, write = os.pipe()
    environment = options.pop("env", None) or settings()
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        env=environment | {"HARD_USE_READY": str(write)},
        pass_fds=(write,),
        # a shell that runs the tests in the background has them ignore the interrupt, and children inherit that
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        **options,
    )
    os.close(write)
    os.read(read, 1)
    os.close(read)
    return Started(process)


def finish(arguments: Sequence[str], **options: Any) -> tuple[int, str, str]:
    """Run a command to its end."""
    return start(arguments, **options).end(timeout=1200)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes, mounted at a folder; OSError where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def change_disk(folder: Path, options: str) -> None:
    """Another size, or ``ro``."""
    _mount("-o", f"remount,{options}", str(folder))


def can_mount(folder: Path) -> bool:
    try:
        with small_disk(folder, 1 << 16):
            return True
    except OSError:
        return False


def _mount(*arguments: str) -> None:
    program = shutil.which("mount")
    if program is None:
        raise OSError("no mount")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr)


def used(folder: Path) -> int:
    """Bytes of a disk that are taken."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize
