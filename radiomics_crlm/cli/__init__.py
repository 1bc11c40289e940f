"""The command line ``crlm``: the only place that writes to the screen, reads the environment and sets exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys

from radiomics_crlm.cli.caches import place_caches

# As shells report a program that Ctrl-C ended.
EXIT_STOPPED = 130


def main() -> None:
    """Entry point of ``crlm`` and ``radiomics-crlm``."""
    _speak_utf8()
    # Before anything imports them: no telemetry, and one thread per worker process, so that results and speed do not
    # depend on how a numerical library was built.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    place_caches(os.environ)
    try:
        from radiomics_crlm.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before a command began, or while it ended
        sys.stderr.write("stopped\n")
        code = EXIT_STOPPED
    # The work is over, and letting go of the worker processes takes a moment that nothing should tear.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _speak_utf8() -> None:
    """Names of files are UTF-8, whatever the locale: libraries in C take them so, and would miss those with umlauts. A
    screen that cannot show a character shows its code.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  (this very program; UTF-8 is decided when Python starts)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
