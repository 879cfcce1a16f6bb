"""The codes of problem documents that groups and threads may carry."""

from __future__ import annotations

from collections.abc import Mapping

from hub.api.problem_kind import Kind

GROUP_CODES: Mapping[str, Kind] = {
    "role_too_low": Kind(
        403,
        "Role too low",
        "The caller is in the conversation, but their role does not allow this, or not towards this member: admins act "
        "on members, the owner acts on admins too.",
    ),
    "member_silenced": Kind(
        403, "Silenced", "This member may not speak before a time, which `detail` says. Reading goes on."
    ),
    "group_silenced": Kind(
        403, "Group silenced", "Only the owner and the admins of this group speak at the moment."
    ),
    "conversation_dissolved": Kind(
        409, "Dissolved", "The group was dissolved. Its members read on; nothing is said or changed any more."
    ),
    "conversation_full": Kind(
        409,
        "Conversation full",
        "The conversation has as many members as it takes: its own `max_members`, or HUB_GROUP_LIMIT.",
    ),
    "owner_must_transfer": Kind(
        409,
        "Owner must hand over",
        "The owner of a group with other members hands it over (`PUT /v1/conversations/{id}/owner`) or dissolves it "
        "before leaving it or becoming something else.",
    ),
    "owner_already": Kind(409, "Owner already", "The group belongs to this user already."),
    "one_owner": Kind(
        409,
        "One owner",
        "A group has one owner at a time. Hand it over with `PUT /v1/conversations/{id}/owner`.",
    ),
    "removed_before": Kind(
        403,
        "Removed before",
        "Who was taken out does not come back by themselves: an admin can bring them back.",
    ),
    "thread_not_found": Kind(404, "No such thread", "Your app has no thread of this subject."),
}
