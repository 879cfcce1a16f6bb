"""The codes of problem documents about what is done with messages."""

from __future__ import annotations

from collections.abc import Mapping

from hub.api.problem_kind import Kind

CHAT_CODES: Mapping[str, Kind] = {
    "message_not_found": Kind(
        404, "No such message", "There is no such message, or the caller (or the user named) cannot see it."
    ),
    "body_invalid": Kind(
        422,
        "Body not valid",
        "The body is not what messages of its kind say: see the kinds in the protocol's documentation. Kinds that are "
        "not listed there may say anything.",
    ),
    "reply_invalid": Kind(
        422,
        "Cannot be answered",
        "`reply_to` must be a message of the same conversation that the sender sees.",
    ),
    "not_the_sender": Kind(
        403,
        "Not the sender",
        "Only who sent a message may edit it, or take it back where there are no admins.",
    ),
    "edit_window_over": Kind(403, "Too late to edit", "HUB_EDIT_WINDOW is over for this message."),
    "recall_window_over": Kind(
        403,
        "Too late to take back",
        "HUB_RECALL_WINDOW is over for this message. Owners and admins of a group, and the business system, may still.",
    ),
    "message_recalled": Kind(409, "Message was taken back", "Nothing can be done with it any more."),
    "message_is_notification": Kind(
        409,
        "Message is a notification",
        "Notifications are taken back by `POST /v1/notifications/{id}/recall`, and never edited.",
    ),
    "message_not_editable": Kind(
        409, "Message cannot be edited", "What was forwarded is somebody else's word: it is not edited."
    ),
    "emoji_invalid": Kind(
        422, "Not an emoji", "An emoji of at most 32 characters, or one of the product's own as `:name:`."
    ),
    "reaction_limit": Kind(422, "Too many emojis", "There are 20 different emojis at this message already."),
    "pin_limit": Kind(422, "Too many pins", "50 messages are pinned in this conversation. Unpin one first."),
    "messages_apart": Kind(422, "Messages apart", "The messages must be of one conversation."),
    "forward_too_deep": Kind(
        422,
        "Forwarded too often",
        "Merged forwards may be inside each other three times. Forward one by one.",
    ),
}
