"""The catalogue of problems as a page: docs/problems.md, which the hub serves too."""

from __future__ import annotations

from hub.api.problem_codes import CATALOGUE


def markdown() -> str:
    """The catalogue as docs/problems.md has it."""
    lines = [
        "# Problems",
        "",
        "Every error of the REST API is a problem document (RFC 9457, `application/problem+json`). `type` is a link to",
        "this list, served by the hub itself; `code` is stable and made for programs; `detail` is for people and may",
        "change. `retryable` says whether the same request may succeed later as it is.",
        "",
        "| code | status | retry | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for code, kind in CATALOGUE.items():
        retry = "yes" if kind.retryable else ""
        lines.append(f"| `{code}` | {kind.status} | {retry} | {kind.title}. {kind.meaning} |")
    return "\n".join(lines) + "\n"
