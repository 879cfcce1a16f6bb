"""What README and quickstart tell people to type is typed here, against a hub of its own, and must answer as they say.

How pages are written: `sh` blocks of a page run one after the other in one shell, beside a folder `data` in which a hub
runs. A `text` or `json` block right after one is what it prints: a part for each printed line, parts apart by an empty
line, blanks of no account, `…` for anything, in any order (a client in the background prints beside the commands). A
`python` block is saved under the name in its first line. `console` blocks start and stop things and are not run; their
verbs must exist.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "README.zh-CN.md", "docs/quickstart.md", "docs/zh/quickstart.md")
LANGUAGES = {"sh", "text", "json", "python", "console"}
READY_WITHIN = 60.0
ANSWERED_WITHIN = 30.0
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--- the block has ended ---"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, where it begins, and whether only blank lines stand between it and the one before."""

    language: str
    text: str
    line: int
    follows: bool


def blocks_of(text: str) -> list[Block]:
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        follows = bool(found) and not text[end : fence.start()].strip()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(fence[1], fence[2], line, follows))
        end = fence.end()
    return found


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def promised(block: Block) -> list[re.Pattern[str]]:
    """A pattern for each line that must be printed."""
    parts = [squeezed(part) for part in re.split(r"\n[ \t]*\n", block.text)]
    return [re.compile(".*?".join(map(re.escape, part.split("…")))) for part in parts if part]


def unmatched(printed: Sequence[str], wanted: Sequence[re.Pattern[str]]) -> tuple[list[str], list[str]]:
    """The printed lines that nobody promised, and the promises that nobody kept."""
    left, extra = list(wanted), []
    for line in filter(None, map(squeezed, printed)):
        kept = next((pattern for pattern in left if pattern.fullmatch(line)), None)
        if kept is None:
            extra.append(line)
        else:
            left.remove(kept)
    return extra, [pattern.pattern for pattern in left]


class Shell:
    """`sh -e` that is told block after block; whatever it has started ends with it."""

    def __init__(self, folder: Path) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HUB_") and not name.lower().endswith("_proxy")
        }
        self._process = subprocess.Popen(
            ["/bin/sh", "-e"],
            cwd=folder,
            env={**environment, "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._rest = b""

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, commands: str, wanted: Sequence[re.Pattern[str]]) -> None:
        """Types the commands. AssertionError where one fails, or where they do not print what was promised."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{commands}\nprintf '\\n%s\\n' '{_MARK}'\n".encode())
        self._process.stdin.flush()
        printed: list[str] = []
        ended = False
        deadline = time.monotonic() + ANSWERED_WITHIN
        while not ended or unmatched(printed, wanted)[1]:
            line = self._line(deadline)
            if line is None:
                break
            if line == _MARK:
                ended = True
            else:
                # Two programs write to one terminal: a line may end between an answer and its line feed.
                printed += re.sub(r'\}(?=\{"|[0-9]{3}$)', "}\n", line).split("\n")
        said = "\n".join(printed)
        assert ended, f"a command failed or did not end:\n{commands}\nprinted:\n{said}"
        extra, missing = unmatched(printed, wanted)
        assert not missing, f"promised and not printed: {missing}\nby:\n{commands}\nprinted:\n{said}"
        assert not extra, f"printed and not promised: {extra}\nby:\n{commands}"

    def _line(self, deadline: float) -> str | None:
        """The next line; None where none comes in time, or the shell is gone."""
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 65_536)
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")


@contextmanager
def hub_in(folder: Path) -> Iterator[None]:
    """A hub as `./run` starts it, with its data folder where the pages say, on any free port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hub.cli", "up", "--data", str(folder / "data"), "--port", "0"],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + READY_WITHIN
        while not (folder / "data" / "address").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A checkout as far as the pages look at it: a running hub's `data`, and the installed `.venv`."""
    if shutil.which("curl") is None:
        if os.environ.get("HUB_REQUIRE_SERVICES") == "1":
            pytest.fail("no curl on PATH")
        pytest.skip("no curl on PATH")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with hub_in(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page: str, folder: Path) -> None:
    blocks = blocks_of((ROOT / page).read_text("utf-8"))
    executed = 0
    with Shell(folder) as shell:
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            if block.language == "python":
                name = re.match(r"# (\w+\.py)\b", block.text)
                assert name, f"{page}:{block.line}: a python block begins with its file's name"
                (folder / name[1]).write_text(block.text, "utf-8")
            if block.language == "sh":
                answer = after if after and after.follows and after.language in {"text", "json"} else None
                try:
                    shell.run(block.text, promised(answer) if answer else [])
                except AssertionError as error:
                    raise AssertionError(f"{page}:{block.line}: {error}") from None
                executed += 1
    assert executed >= 5


@pytest.mark.parametrize("page", PAGES)
def test_no_command_of_a_page_escapes(page: str) -> None:
    blocks = blocks_of((ROOT / page).read_text("utf-8"))
    scripts = [match[1] for block in blocks if (match := re.match(r"# (\w+\.py)\b", block.text))]
    commands = "\n".join(block.text for block in blocks if block.language == "sh")
    assert scripts
    assert all(f"python {script}" in commands for script in scripts)
    for block in blocks:
        assert block.language in LANGUAGES, f"{page}:{block.line}: {block.language!r}"
        if block.language == "console":
            assert all(line.startswith("./run") for line in block.text.splitlines()), f"{page}:{block.line}"


@pytest.mark.parametrize(("english", "chinese"), [PAGES[:2], PAGES[2:]])
def test_both_languages_type_the_same(english: str, chinese: str) -> None:
    """Texts in the commands may differ, and comments; what is called may not."""

    def calls(page: str) -> list[str]:
        text = "".join(b.text for b in blocks_of((ROOT / page).read_text("utf-8")) if b.language == "sh")
        return re.findall(r"\$HUB(/[^\s\"]*)|(-X \w+)|(python \w+\.py)", text)

    assert calls(english) == calls(chinese)


def test_verbs_that_are_written_about_exist() -> None:
    pages = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CHANGELOG.md")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    helped = subprocess.run(
        [sys.executable, "-IS", str(ROOT / "run"), "--help"], capture_output=True, text=True, check=True
    )
    verbs = set(re.findall(r"^  ([a-z]+)\b", helped.stdout, re.MULTILINE))
    for page in pages:
        for verb in re.findall(r"\./run ([a-z]+)\b", page.read_text("utf-8")):
            assert verb in verbs, f"{page.name}: ./run {verb}"


# -- the reading of pages ------------------------------------------------------------------------------------

_PAGE = """\
```sh
echo one
```

```text
on…

two
```

Words between.

```json
{}
```
"""


def test_an_answer_belongs_to_the_block_right_before_it() -> None:
    first, second, third = blocks_of(_PAGE)
    assert (first.language, first.line, first.follows) == ("sh", 1, False)
    assert (second.language, second.follows) == ("text", True)
    assert (third.language, third.follows) == ("json", False)


def test_a_promise_is_kept_by_its_line_and_by_no_other() -> None:
    wanted = promised(blocks_of(_PAGE)[1])
    assert unmatched(["two", "o ne"], wanted) == ([], [])
    assert unmatched(["one", "onto"], wanted) == (["onto"], ["two"])
    assert unmatched(["one two"], wanted) == ([], ["two"])


def test_a_failing_command_and_a_broken_promise_are_failures(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.run("echo one", [re.compile("one")])
        shell.run("(sleep 0.2; echo late) &", [re.compile("late")])
        with pytest.raises(AssertionError, match="not promised"):
            shell.run("echo three", [])
        with pytest.raises(AssertionError, match="a command failed"):
            shell.run("false\necho four", [])
