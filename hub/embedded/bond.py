"""A child does not outlive its parent: by signal on Linux, by the end of a pipe elsewhere.

`python -m hub.embedded.bond MODULE ARGUMENTS...` runs a module that way where there is no such signal.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from threading import Thread

PIPE_VARIABLE = "HUB_PARENT_PIPE"
_PR_SET_PDEATHSIG = 1


def parent_death_signal() -> Callable[[], None] | None:
    """What a child calls between fork and exec, or None where the system has no such signal."""
    if sys.platform != "linux":
        return None
    import ctypes

    # Looked up before the fork: after it only the call itself is safe.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the tie was there
            os._exit(1)

    return tie


def end_with_parent() -> None:
    """Ends this process, gently, when the pipe named in the environment ends; without a name, nothing."""
    pipe = os.environ.pop(PIPE_VARIABLE, "")
    if pipe:
        Thread(target=_wait_for_the_end, args=(int(pipe),), name="parent", daemon=True).start()


def _wait_for_the_end(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Runs the named module as `python -m` would."""
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
