"""The codes of problem documents that contacts and search may carry."""

from __future__ import annotations

from collections.abc import Mapping

from hub.api.problem_kind import Kind

CONTACT_CODES: Mapping[str, Kind] = {
    "contact_not_found": Kind(404, "No such contact", "The user has no such contact."),
    "contact_self": Kind(422, "Not a contact", "Nobody is among their own contacts."),
    "contacts_full": Kind(409, "Too many contacts", "A user has at most 10,000 contacts."),
    "blocked": Kind(
        403,
        "Cannot be reached",
        "This user takes no direct messages from the sender, and is not brought into a group by them. The hub does not "
        "say why; groups that both are in are not affected.",
    ),
    "search_empty": Kind(422, "Nothing to search for", "`q` has no letter, digit, ideograph or emoji in it."),
    "not_searchable": Kind(
        422,
        "No search here",
        "Messages are kept outside the database (HUB_STORE=redis), which cannot search them.",
    ),
}
