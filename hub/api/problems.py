"""RFC 9457 problem documents: the catalogue of codes, and how errors of every kind become one of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.api.problem_codes import CATALOGUE, FALLBACKS, Kind
from hub.core.errors import Conflict, Forbidden, HubError, NotFound, QueueUnavailable, Refused, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
PAGE: Final = "/docs/problems"
_UNAUTHORIZED: Final = 401
_SERVER_ERROR: Final = 500

# What the design has and this version has not: said so, instead of being taken for a typing error.
NOT_YET: Final = frozenset({"ttl", "topic", "segment", "dedupe_window", "environment"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request: where (a JSON pointer into the body, or a parameter), and what."""

    pointer: str
    code: str
    detail: str
    channel: str = ""
    """The channel that could not say it."""
    fix: str = ""
    """What would mend it, where somebody knows."""

    def shown(self) -> dict[str, str]:
        """The fault in a problem document."""
        more = {name: text for name, text in (("channel", self.channel), ("fix", self.fix)) if text}
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail, **more}


class Problem(HTTPException):
    """Raised in a route to answer with a problem document."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        self.code = code
        self.errors = tuple(errors)
        super().__init__(status or kind_of(code).status, detail, dict(headers or {}))


def kind_of(code: str, error: HubError | None = None) -> Kind:
    """The catalogue's entry; a code that is not in it gets its error class's, so that nothing goes unanswered."""
    known = CATALOGUE.get(code)
    if known is not None:
        return known
    match error:
        case NotFound():
            return FALLBACKS["not_found"]
        case Forbidden():
            return FALLBACKS["forbidden"]
        case Conflict():
            return FALLBACKS["conflict"]
        case Refused():
            return FALLBACKS["refused"]
        case _:
            return FALLBACKS["unavailable"]


def slug_of(code: str) -> str:
    """A code as it stands in the address of its explanation."""
    return code.replace("_", "-").replace(".", "-")


def document(
    request: Request | None,
    code: str,
    detail: str,
    *,
    errors: Sequence[Fault] = (),
    error: HubError | None = None,
) -> dict[str, Any]:
    """The problem as a JSON object."""
    kind = kind_of(code, error)
    body: dict[str, Any] = {
        "type": f"{PAGE}/{slug_of(code)}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "retryable": kind.retryable,
    }
    if request is not None:
        body["instance"] = request.url.path
        body["request_id"] = request_id_of(request)
    if errors:
        body["errors"] = [fault.shown() for fault in errors]
    return body


def request_id_of(request: Request) -> str:
    """The id under which the logs know this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def answer(
    request: Request,
    code: str,
    detail: str,
    *,
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    error: HubError | None = None,
    status: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """The problem as a response; `more` are members of this problem's own."""
    body = document(request, code, detail, errors=errors, error=error) | dict(more or {})
    if status is not None:
        body["status"] = status
    given = dict(headers or {})
    if body["status"] == _UNAUTHORIZED:
        given.setdefault("WWW-Authenticate", 'Bearer realm="hub"')
    return Response(msgspec.json.encode(body), body["status"], given, MEDIA_TYPE)


def of_error(request: Request, error: Exception) -> Response | None:
    """The answer to an error that has one; None for what nobody expected."""
    match error:
        case HTTPException():
            return of_http(request, error)
        case HubError():
            return of_hub_error(request, error)
        case QueueUnavailable():
            text = "Redis cannot be reached right now."
            return answer(request, "queue_unavailable", text, headers={"Retry-After": "1"})
        case _:
            return None


def of_hub_error(request: Request, error: HubError) -> Response:
    """What the core or the store refused or could not do."""
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, round(error.retry_after.total_seconds())))
    return answer(request, error.code, error.detail, headers=headers, error=error)


def of_http(request: Request, error: HTTPException) -> Response:
    """Our own problems, and what the framework says (unknown route, wrong method)."""
    if isinstance(error, Problem):
        status = None if error.code in CATALOGUE else error.status_code
        return answer(
            request, error.code, str(error.detail), errors=error.errors, headers=error.headers, status=status
        )
    code, detail = _FRAMEWORK.get(error.status_code, ("body_malformed", "The request cannot be understood."))
    return answer(request, code, detail, headers=error.headers)


_FRAMEWORK: Mapping[int, tuple[str, str]] = {
    400: ("body_malformed", "The body is not JSON in UTF-8, or is nested too deeply."),
    404: ("route_not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not take this method; see the Allow header."),
    413: ("body_too_large", "The body is larger than this hub takes."),
}


def of_validation(
    request: Request, errors: Sequence[Mapping[str, Any]], body: object, names: frozenset[str]
) -> Response:
    """A request that does not fit its schema: each fault with its place and, for names, the nearest valid one."""
    faults = faults_of(errors, body, names)
    unsupported = [fault for fault in faults if fault.code == "not_supported"]
    if unsupported:
        return answer(request, "not_supported", unsupported[0].detail, errors=faults)
    detail = f"{len(faults)} thing(s) in the request are not as they should be; see `errors`."
    return answer(request, "request_invalid", detail, errors=faults)


def faults_of(errors: Sequence[Mapping[str, Any]], body: object, names: frozenset[str]) -> tuple[Fault, ...]:
    """The validator's errors in our words. What was sent is never repeated: it may be a secret."""
    found: dict[tuple[str, str], Fault] = {}
    for error in errors:
        fault = _fault_of(error, body, names)
        found.setdefault((fault.pointer, fault.code), fault)
    return tuple(found.values())


def _fault_of(error: Mapping[str, Any], body: object, names: frozenset[str]) -> Fault:
    where = list(error["loc"])
    kind = str(error["type"])
    if kind == "missing" and where == ["body"]:
        return Fault("", "missing", "A JSON body is needed, and `Content-Type: application/json`.")
    origin = where.pop(0) if where and where[0] in {"body", "query", "path", "header"} else "body"
    pointer = pointer_of(where, body) if origin == "body" else f"{origin}:{where[0] if where else ''}"
    if kind in _SHAPES:
        return Fault(pointer, *_SHAPES[kind])
    if kind != "extra_forbidden":
        return Fault(pointer, kind, str(error["msg"]).removeprefix("Value error, "))
    name = str(where[-1]) if where else ""
    if name in NOT_YET:
        return Fault(pointer, "not_supported", f"`{name}` is not supported by this version of the hub.")
    near = difflib.get_close_matches(name, sorted(names), n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return Fault(pointer, "unknown_field", f"There is no such field here.{hint}")


# The validator speaks of Python's types.
_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "model_attributes_type": ("object_type", "Expected an object."),
    "model_type": ("object_type", "Expected an object."),
    "dict_type": ("object_type", "Expected an object."),
    "list_type": ("list_type", "Expected a list."),
}


def pointer_of(where: Sequence[Any], body: object) -> str:
    """A JSON pointer from a validator's location, without the names of unions' branches."""
    parts: list[str] = []
    here: Any = body
    for step in where:
        inside = (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if inside:
            here = here[step]
        elif step is not where[-1] or not isinstance(here, dict) or not str(step).isidentifier():
            continue
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(parts) if parts else ""
