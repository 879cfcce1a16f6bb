"""The growth bench runs, small: what it measures is for people to read, not for a test to judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("plan", ["sql", "redis"])
def test_a_small_growth_run_reports_every_figure(tmp_path: Path, plan: str) -> None:
    report = tmp_path / "growth.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "growth",
        "--messages",
        "2000",
        "--users",
        "20",
        "--rounds",
        "3",
    ]
    done = subprocess.run(
        [*command, "--plan", plan, "--json", str(report), "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(report.read_text())
    assert told["plan"] == plan
    assert told["end"]["messages"] == 2_000
    assert len(told["medians_ms"]) == 6
    assert all(row["end"] > 0 for row in told["medians_ms"].values())
    assert told["end"]["entries_of_longest_queue"] > told["start"]["entries_of_longest_queue"]
    assert "2,000 messages" in done.stdout
    assert "load: [" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "the data is removed"
