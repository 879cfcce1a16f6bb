"""The codes of files and of removals, with what they mean and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping

from hub.api.problem_kind import Kind

KEEPING_CODES: Mapping[str, Kind] = {
    "media_not_found": Kind(
        404,
        "No such file",
        "There is no such file, its upload was not completed, or it is not the caller's to see.",
    ),
    "media_unknown": Kind(
        422,
        "A file that cannot be shown",
        "The message names a file that does not exist, or that its sender neither uploaded nor can read.",
    ),
    "media_invalid": Kind(
        422,
        "Not the id of a file",
        "`media` in a body is the id of an uploaded file, or a list of at most 9.",
    ),
    "media_too_large": Kind(
        413, "File too large", "The bound is `HUB_MEDIA_MAX_BYTES`, or the app's own `media_max_bytes`."
    ),
    "media_empty": Kind(422, "Empty file", "Nothing was sent."),
    "media_type_invalid": Kind(422, "Not a type", "Give the file's type as `Content-Type: image/png`."),
    "media_type_mismatch": Kind(
        422,
        "The bytes are something else",
        "The file does not begin like what it is called. Send its real type.",
    ),
    "media_not_direct": Kind(
        409,
        "No uploads past the hub",
        "The hub keeps files itself: send the bytes to `POST /v1/media`.",
    ),
    "media_incomplete": Kind(
        422,
        "Upload not complete",
        "Put the bytes to the URL first, as many as were announced.",
        retryable=True,
    ),
    "media_link_invalid": Kind(
        403,
        "Link not valid",
        "Its time is over, or it was changed. Ask for a new one (`GET /v1/media/{id}/link`).",
    ),
    "media_unavailable": Kind(
        503, "Files are away", "Where files are kept cannot be reached, or is full.", retryable=True
    ),
    "range_invalid": Kind(416, "No such stretch", "The file is shorter than the range that was asked for."),
    "removal_not_found": Kind(404, "No such removal", "No removal of a user of this app has this id."),
}
