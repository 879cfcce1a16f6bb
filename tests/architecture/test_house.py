"""Rules of the house that no linter knows: every file has a purpose, fits in one sitting, and speaks of itself only."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
GENERATED = {"hub/store/migrations/versions/0001_tables.py"}
# No page, lock or source may send a reader or a client to a package index, or name a folder of somebody's machine.
FOREIGN = re.compile(r"registry\.npmjs|files\.pythonhosted|pypi\.org/simple|/work/main|/work/\.|/work/shared")


def tracked(*suffixes: str) -> Iterator[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in names:
        path = ROOT / name
        if name and path.is_file() and (not suffixes or path.suffix in suffixes):
            yield path


def python_files() -> list[Path]:
    return [path for path in tracked(".py") if str(path.relative_to(ROOT)) not in GENERATED]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: there is no list of files")
class TestHouse:
    def test_every_module_says_what_it_is_for(self) -> None:
        silent = [
            str(path.relative_to(ROOT))
            for path in python_files()
            if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
        ]
        assert silent == []

    def test_no_file_is_longer_than_one_sitting(self) -> None:
        long = {
            str(path.relative_to(ROOT)): lines
            for path in python_files()
            if (lines := len(path.read_text().splitlines())) > MAX_LINES
        }
        assert long == {}

    def test_no_file_names_a_registry_or_a_machine(self) -> None:
        found = [
            str(path.relative_to(ROOT))
            for path in tracked()
            if path != Path(__file__).resolve() and FOREIGN.search(path.read_text(errors="ignore"))
        ]
        assert found == []
