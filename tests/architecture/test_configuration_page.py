"""docs/configuration.md names every setting there is, with its default, and none that there is not."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
ROWS = dict(re.findall(r"(?m)^\| `HUB_(\w+)` \| ([^|]+?) \|", PAGE.partition("## Not settings")[0]))
UNITS = {"s": 1.0, "min": 60.0, "h": 3_600.0}


def test_the_page_names_every_setting_and_no_other() -> None:
    assert sorted(name.lower() for name in ROWS) == sorted(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_page_tells_the_default(name: str) -> None:
    shown = ROWS[name.upper()]
    default = Settings.model_fields[name].default
    match default:
        case timedelta():
            number, unit = re.fullmatch(r"([\d.]+) (\w+)", shown).groups()  # type: ignore[union-attr]
            assert default.total_seconds() == pytest.approx(float(number) * UNITS[unit])
        case bool():
            assert shown == f"`{str(default).lower()}`"
        case int():
            assert shown.replace(",", "") == str(default)
        case SecretStr() | None | "":
            assert shown in {"*(none)*", "*(unset)*", "*(empty)*"}
        case ():
            assert shown == "`[]`"
        case _:
            assert shown == f"`{default}`"


def test_variables_that_other_pages_name_exist() -> None:
    known = {f"HUB_{name.upper()}" for name in Settings.model_fields}
    known |= set(re.findall(r"HUB_\w+", PAGE.partition("## Not settings")[2]))
    for page in [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for name in re.findall(r"`(HUB_[A-Z_]+[A-Z])\b", page.read_text("utf-8")):
            assert name in known, f"{page.name}: {name}"
