"""The supervisor with small children: order, unexpected ends, signals, logs, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from hub.embedded import Trouble, ports
from hub.embedded.bond import PIPE_VARIABLE
from hub.embedded.folder import DataFolder
from hub.embedded.supervisor import LOG_BYTES, Failed, Log, Spec, Stopped, Supervisor
from tests.services.redis import free_port


def spec(name: str, script: str, grace: float = 5) -> Spec:
    return Spec(name, (sys.executable, "-c", textwrap.dedent(script)), timedelta(seconds=grace))


def diligent(name: str, diary: Path) -> Spec:
    """A child that notes when it starts and when it is asked to end."""
    script = f"""
        import signal, sys, time
        def note(word):
            with open({str(diary)!r}, "a") as file: file.write(word + " {name}\\n")
        def end(*_):
            note("end"); sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        note("begin")
        time.sleep(60)
    """
    return spec(name, script)


def supervisor(tmp_path: Path, order: Sequence[str] = ()) -> Supervisor:
    return Supervisor(logs=tmp_path / "logs", environment=os.environ, order=order)


async def until(diary: Path, lines: int) -> list[str]:
    async with asyncio.timeout(10):
        while not diary.exists() or len(diary.read_text().splitlines()) < lines:
            await asyncio.sleep(0.01)
    return diary.read_text().splitlines()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while not gone(pid):
            await asyncio.sleep(0.01)


async def test_children_are_stopped_in_the_given_order(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    async with supervisor(tmp_path, ("web", "worker", "engine")) as children:
        for number, name in enumerate(("engine", "web", "worker"), start=1):
            await children.start(diligent(name, diary))
            await until(diary, number)
    lines = diary.read_text().splitlines()
    assert lines == ["begin engine", "begin web", "begin worker", "end web", "end worker", "end engine"]


async def test_a_child_that_ends_by_itself_ends_all_and_is_named_with_its_last_words(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    async with supervisor(tmp_path) as children:
        await children.start(diligent("web", diary))
        await until(diary, 1)
        await children.start(spec("worker", "print('the broker is unwell'); raise SystemExit(3)"))
        with pytest.raises(
            Failed, match=r"(?s)worker ended with code 3; .*worker\.log.*the broker is unwell"
        ):
            await children.wait()
    assert diary.read_text().splitlines() == ["begin web", "end web"]


async def test_a_killed_child_is_named_with_the_signal(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as children:
        await children.start(spec("engine", "import os; os.kill(os.getpid(), 9)"))
        with pytest.raises(Failed, match="engine was killed by SIGKILL"):
            await children.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_interrupts_whatever_is_going_on(tmp_path: Path, number: signal.Signals) -> None:
    async with supervisor(tmp_path) as children:
        await children.start(spec("web", "import time; time.sleep(60)"))
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped):
            await children.unless_ended(asyncio.sleep(60))


async def test_the_second_signal_kills(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    stubborn = f"""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open({str(diary)!r}, "w").write("deaf\\n")
        time.sleep(60)
    """
    began = time.monotonic()
    async with supervisor(tmp_path) as children:
        await children.start(spec("web", stubborn, grace=60))
        await until(diary, 1)
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
        loop.call_later(0.3, os.kill, os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            await children.wait()
    assert time.monotonic() - began < 30


async def test_a_deaf_child_and_its_own_children_are_killed_when_the_grace_is_over(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    family = f"""
        import signal, subprocess, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "60"])
        open({str(diary)!r}, "w").write(f"{{child.pid}}\\n")
        time.sleep(60)
    """
    async with supervisor(tmp_path) as children:
        await children.start(spec("worker", family, grace=0.2))
        (grandchild,) = await until(diary, 1)
    await until_gone(int(grandchild))


async def test_a_preparation_must_end_well(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as children:
        await children.run(spec("prepare", "pass"))
        with pytest.raises(Failed, match=r"(?s)prepare ended with code 1.*no such table"):
            await children.run(spec("prepare", "raise SystemExit('no such table')"))


async def test_logs_are_echoed_with_their_name(tmp_path: Path) -> None:
    heard: list[str] = []
    chatty = Supervisor(logs=tmp_path / "logs", environment=os.environ, echo=heard.append)
    async with chatty as children:
        await children.run(spec("prepare", "print('one'); print('two')"))
    assert heard == ["prepare | one", "prepare | two"]


async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    script = f"""
        import asyncio, os, sys
        from datetime import timedelta
        from pathlib import Path
        from hub.embedded.supervisor import Spec, Supervisor
        async def main():
            folder = Path({str(tmp_path)!r})
            async with Supervisor(logs=folder, environment=os.environ) as children:
                await children.start(Spec("web", (sys.executable, "-c",
                    f"import os, time; open({{str(folder / 'diary')!r}}, 'w').write(str(os.getpid()) + chr(10));"
                    "time.sleep(60)")))
                await children.wait()
        asyncio.run(main())
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) as parent:
        (child,) = await until(tmp_path / "diary", 1)
        parent.kill()
    await until_gone(int(child))


def test_without_a_death_signal_the_end_of_a_pipe_ends_a_module(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text("import sys, time; print(sys.argv[1:], flush=True); time.sleep(60)")
    reading, writing = os.pipe()
    environment = {
        **os.environ,
        PIPE_VARIABLE: str(reading),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
    }
    command = [sys.executable, "-m", "hub.embedded.bond", "patient", "a", "b"]
    with subprocess.Popen(command, env=environment, pass_fds=[reading], stdout=subprocess.PIPE) as child:
        os.close(reading)
        assert child.stdout is not None
        assert child.stdout.readline() == b"['a', 'b']\n"
        os.close(writing)
        assert child.wait(10) == -signal.SIGTERM


def test_logs_are_rotated_at_each_start_and_bounded_between(tmp_path: Path) -> None:
    log = Log(tmp_path, "web")
    for number in range(6):
        log.rotate()
        log.path.write_text(f"{number}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "web.log",
        "web.log.1",
        "web.log.2",
        "web.log.3",
    ]
    assert (tmp_path / "web.log.3").read_text() == "2\n"
    with log.path.open("a") as child:
        child.write("x" * (LOG_BYTES + 1))
        child.flush()
        log.trim()
        child.write("on it goes")
    assert log.path.read_text() == "on it goes"


def test_a_data_folder_has_one_hub_and_is_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with folder.held():
        assert folder.path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Trouble, match=f"already running on the data folder .*process {os.getpid()}"):
            DataFolder(tmp_path / "data").held().__enter__()
    with folder.held():
        key = folder.secret_key()
        assert key == folder.secret_key()
        assert len(key) == 44
        assert (folder.path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_data_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="cannot write to the data folder"):
        DataFolder(tmp_path / "file" / "data").held().__enter__()


def test_an_address_of_a_killed_hub_is_forgotten(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    (tmp_path / "address").write_text("http://127.0.0.1:1\n")
    with folder.held():
        assert folder.address() is None
        with folder.reachable_at("http://127.0.0.1:2"):
            assert folder.address() == "http://127.0.0.1:2"
        assert folder.address() is None


def test_a_taken_port_is_refused_when_asked_for_and_passed_over_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setattr(ports, "FIRST", port)
    monkeypatch.setattr(ports, "LAST", port + 20)
    assert ports.choose("127.0.0.1", None) == port
    with socket.create_server(("127.0.0.1", port)):
        assert port < ports.choose("127.0.0.1", None) <= port + 20
        with pytest.raises(Trouble, match=f"port {port} on 127.0.0.1 cannot be used"):
            ports.choose("127.0.0.1", port)
    assert ports.choose("127.0.0.1", 0) > 0


def test_a_hub_for_all_addresses_is_shown_by_one_that_can_be_opened() -> None:
    assert ports.address("0.0.0.0", 8080) == "http://127.0.0.1:8080"
    assert ports.address("::", 8080) == "http://[::1]:8080"
    assert ports.address("192.0.2.1", 8080) == "http://192.0.2.1:8080"
