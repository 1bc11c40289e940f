"""Tasks in order whatever does them, workers that die, clusters that are not there."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

import radiomics_crlm
from radiomics_crlm.errors import CaseError, ConfigError
from radiomics_crlm.parallel import MAX_DEATHS, Lost, machine_memory, memory, peak_memory, pools, run, schedule, workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


def slow_square(number: int) -> int:
    time.sleep(0.02 * (5 - number % 5))
    return number * number


def process_of(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def threads_of(_: int) -> list[int]:
    np.ones((4, 4)) @ np.ones((4, 4))
    return [pool["num_threads"] for pool in threadpool_info()]


def refuse(number: int) -> int:
    if number == 3:
        raise CaseError("some_code", "this case is bad", where="P1", expected="a better one")
    return number


def die_once(task: tuple[int, Path]) -> int:
    """Task 2 kills its worker the first time."""
    number, folder = task
    mark = folder / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def die_always(number: int) -> int:
    """Task 2 kills its worker each time."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def all_threads(_: int) -> tuple[int, int]:
    time.sleep(0.05)
    return os.getpid(), threading.get_ident()


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    seen: dict[int, object] = {}
    assert list(run(slow_square, range(12), jobs=jobs, on_done=seen.__setitem__)) == [n * n for n in range(12)]
    assert seen == {n: n * n for n in range(12)}
    assert list(run(slow_square, (n for n in range(4)), jobs=jobs)) == [0, 1, 4, 9]
    assert list(run(slow_square, [], jobs=jobs)) == []


def test_results_stream() -> None:
    """A result is there before the next task has been taken."""
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = run(slow_square, tasks(), jobs=2)
    assert next(results) == 0
    assert len(taken) < 20
    results.close()  # type: ignore[attr-defined]


def test_one_job_works_in_this_process_and_two_elsewhere() -> None:
    assert set(run(process_of, range(3), jobs=1)) == {os.getpid()}
    elsewhere = set(run(process_of, range(6), jobs=2))
    assert os.getpid() not in elsewhere
    assert len(elsewhere) == 2
    assert set(run(process_of, [1], jobs=8)) == {os.getpid()}


def first_line(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def test_workers_work_where_the_program_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(folder, encoding="utf-8")
        monkeypatch.chdir(tmp_path / folder)
        assert list(run(first_line, ["name"] * 3, jobs=2)) == [folder] * 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_inner_threads_are_capped(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with threadpool_limits(2):
        assert 2 in threads_of(0)
        found = list(run(threads_of, range(3), jobs=jobs))
    assert found[0]
    assert {count for pools in found for count in pools} == {1}


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_of_a_task_ends_the_run_and_keeps_its_fields(jobs: int) -> None:
    with pytest.raises(CaseError, match="P1: this case is bad; expected a better one") as caught:
        list(run(refuse, range(30), jobs=jobs))
    assert (caught.value.code, caught.value.where) == ("some_code", "P1")
    assert list(run(slow_square, range(3), jobs=jobs)) == [0, 1, 4]


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    assert list(run(die_once, [(n, tmp_path) for n in range(8)], jobs=2)) == list(range(8))
    assert (tmp_path / "died").exists()


def test_a_task_that_kills_its_workers_is_given_up_alone() -> None:
    expected = [0, 1, Lost(MAX_DEATHS), *range(3, 8)]
    assert list(run(die_always, range(8), jobs=2)) == expected


def test_joblib_beside_it() -> None:
    """Whoever uses joblib itself gets along, before, between and after."""
    work = [joblib.delayed(slow_square)(n) for n in range(3)]
    assert joblib.Parallel(n_jobs=2)(work) == [0, 1, 4]
    results = run(slow_square, range(6), jobs=2)
    assert next(results) == 0
    assert joblib.Parallel(n_jobs=2)(work) == [0, 1, 4]
    assert list(results) == [1, 4, 9, 16, 25]
    assert joblib.Parallel(n_jobs=2)(work) == [0, 1, 4]


def test_large_arrays_are_handed_over() -> None:
    arrays = [np.full(400_000, float(n)) for n in range(4)]
    assert list(run(np.sum, arrays, jobs=2)) == [n * 400_000.0 for n in range(4)]


def test_leaving_early_stops_the_workers() -> None:
    results = run(process_of, range(1000), jobs=2)
    worker = next(results)
    assert isinstance(worker, int)
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_interrupted_by_the_keyboard(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group of processes; nothing of it stays, and nothing is printed by the workers."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys, time
        from radiomics_crlm.parallel import run
        from waiting import wait_long
        if __name__ == "__main__":
            try:
                for pid in run(wait_long, [0] * 2 + [60] * 20, jobs=2):
                    print(pid, flush=True)
            except KeyboardInterrupt:
                print("stopped", flush=True)
        """)
    )
    (tmp_path / "waiting.py").write_text(
        "import os, time\n\ndef wait_long(s):\n    time.sleep(s)\n    return os.getpid()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        # a shell that runs the tests in the background has them ignore the interrupt, and children inherit that
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.stdout.readline()
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "stopped"
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_peak_memory_is_that_of_this_process() -> None:
    before = peak_memory()
    assert before is not None
    block = np.ones(before // 8 + 20_000_000)
    after = peak_memory()
    assert after is not None
    assert after - before >= 100_000_000
    del block
    small = subprocess.run(
        [sys.executable, "-c", "from radiomics_crlm.parallel import peak_memory; print(peak_memory())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(small.stdout) < after  # not handed on from the parent
    usual = memory._peak_by_rusage()
    assert usual is not None
    assert usual >= after * 0.9


def test_workers_and_their_memory(cluster: Any) -> None:
    total = machine_memory()
    assert total is not None
    assert total > 2**28
    here = workers(4)
    assert (here.count, here.total, here.each) == (4, total, total // 4)
    there = workers(4, cluster.scheduler_address)
    assert there.count == 2
    assert there.total is not None
    assert there.each is not None
    assert 0 < there.each <= there.total


def test_dask_gives_the_same_results(cluster: Any) -> None:
    seen: dict[int, object] = {}
    results = list(run(slow_square, range(12), dask=cluster.scheduler_address, on_done=seen.__setitem__))
    assert results == [n * n for n in range(12)]
    assert seen == {n: n * n for n in range(12)}
    pools = list(run(threads_of, range(3), dask=cluster.scheduler_address))
    assert {count for found in pools for count in found} == {1}


def test_dask_exceptions_arrive(cluster: Any) -> None:
    with pytest.raises(CaseError, match="P1: this case is bad"):
        list(run(refuse, range(6), dask=cluster.scheduler_address))


def test_a_killed_dask_worker_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    tasks = [(n, tmp_path) for n in range(8)]
    assert list(run(die_once, tasks, dask=cluster.scheduler_address)) == list(range(8))
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_a_task_that_kills_dask_workers_is_given_up_alone(cluster: Any) -> None:
    assert list(run(die_always, range(5), dask=cluster.scheduler_address)) == [0, 1, Lost(MAX_DEATHS), 3, 4]


@pytest.mark.slow
def test_dask_worker_with_threads_does_one_task_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=True, dashboard_address=":0", silence_logs=50
    ) as made:
        began = time.monotonic()
        found = list(run(all_threads, range(6), dask=made.scheduler_address))
        assert time.monotonic() - began >= 6 * 0.05
    assert len({pid for pid, _ in found}) == 1  # type: ignore[misc]
    assert "several threads, of which one is used" in caplog.text


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "nonsense", "", "http://127.0.0.1:80", "tls://127.0.0.1:9", "tcp://127.0.0.1:x"]
)
def test_no_scheduler_at_the_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    assert pools._CONNECT_S <= 10
    monkeypatch.setattr(pools, "_CONNECT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers.*Check the address"):
        list(run(slow_square, [1], dask=address))
    assert time.monotonic() - began < 25  # Dask by itself has more patience than that


def test_something_else_at_the_address(cluster: Any) -> None:
    """A server that speaks another language, and a worker instead of its scheduler."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with closing(connection):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ConfigError, match="no Dask scheduler answers"):
            list(run(slow_square, [1], dask=f"tcp://127.0.0.1:{server.getsockname()[1]}"))
    with importlib.import_module("distributed").Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)  # those of an earlier test may just have been killed
        worker = next(iter(client.scheduler_info(n_workers=-1)["workers"]))
    with pytest.raises(ConfigError, match="no Dask scheduler answers.*Worker"):
        list(run(slow_square, [1], dask=worker))


def test_a_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(pools, "_WORKERS_S", 0.3)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as made,
        pytest.raises(ConfigError, match="has no worker"),
    ):
        list(run(slow_square, [1], dask=made.scheduler_address))


def test_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"not installed.*radiomics-crlm\[cluster\]"):
        list(run(slow_square, [1], dask="tcp://127.0.0.1:8786"))


def test_workers_of_another_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="another version of radiomics_crlm; expected 9.9"):
        schedule.guarded(slow_square, 1, "9.9")
    monkeypatch.setattr(radiomics_crlm, "__version__", "8.8")
    with pytest.raises(ConfigError, match="another version of radiomics_crlm; expected 8.8"):
        list(run(slow_square, range(3), jobs=2))


def test_joblib_works_before_and_after() -> None:
    """Both build on the same pool of processes; one must not get the other's."""
    for _ in range(2):
        assert list(run(slow_square, [1, 2, 3], jobs=2)) == [1, 4, 9]
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(slow_square)(n) for n in (1, 2, 3)) == [1, 4, 9]
