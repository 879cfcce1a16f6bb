"""The two receivers of docs/webhooks.md do what the page says: they take what the hub signs, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.core.webhooks import WebhookEvent, WebhookEventId, new_webhook_secret
from hub.webhooks.sender import body_of
from hub.webhooks.signing import headers_of
from tests.unit.api.harness import MINE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text("utf-8")
ASK = {
    "python": """
import sys

asked = json.loads(sys.argv[1])
try:
    print(event_of(asked["secret"], asked["headers"], asked["body"].encode())["data"]["说"])
except ValueError as error:
    print(error)
""",
    "javascript": """
const asked = JSON.parse(process.argv[2]);
try {
  console.log(eventOf(asked.secret, asked.headers, asked.body).data.说);
} catch (error) {
  console.log(error.message);
}
""",
}


def answer_of(folder: Path, language: str, secret: str, headers: dict[str, str], body: bytes) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    file = folder / {"python": "receiver.py", "javascript": "receiver.mjs"}[language]
    file.write_text(found[1] + "\n" + ASK[language], "utf-8")
    program = sys.executable if language == "python" else shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    asked = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
    done = subprocess.run(
        [program, *(["-X", "utf8"] if language == "python" else []), str(file), asked],
        capture_output=True,
        timeout=30,
        check=True,
    )
    return done.stdout.decode("utf-8").strip()


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_documented_receiver_checks_what_it_gets(tmp_path: Path, language: str) -> None:
    now, secret, old = datetime.now(UTC), new_webhook_secret(), new_webhook_secret()
    body = body_of(WebhookEvent(WebhookEventId("evt_1"), MINE, "delivery.failed", now, '{"说":"好"}'))
    headers = headers_of([secret, old], "evt_1", now, body)
    for known in (secret, old):
        assert answer_of(tmp_path, language, known, headers, body) == "好"
    other = new_webhook_secret()
    assert answer_of(tmp_path, language, other, headers, body) == "not signed by the hub"
    changed = body.replace("好".encode(), "坏".encode())
    assert answer_of(tmp_path, language, secret, headers, changed) == "not signed by the hub"
    late = headers_of([secret], "evt_1", now - timedelta(minutes=6), body)
    assert answer_of(tmp_path, language, secret, late, body) == "too old"
