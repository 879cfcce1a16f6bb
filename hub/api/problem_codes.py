"""Every code that a problem document may carry, with what it means and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from hub.api.problem_codes_chat import CHAT_CODES
from hub.api.problem_codes_contacts import CONTACT_CODES
from hub.api.problem_codes_groups import GROUP_CODES
from hub.api.problem_codes_keeping import KEEPING_CODES
from hub.api.problem_kind import Kind as Kind

CATALOGUE: Mapping[str, Kind] = {
    # Who is calling
    "auth_required": Kind(
        401,
        "Authentication required",
        "Send `Authorization: Bearer …` with an API key (`hub_…`) or an end user's token.",
    ),
    "key_invalid": Kind(
        401,
        "API key not valid",
        "The key is unknown, revoked or expired. The hub does not say which; make a new key with `POST /v1/keys` "
        "or `./run key create`.",
    ),
    "token_invalid": Kind(
        401,
        "Token not valid",
        "The token is malformed, not signed by a key of this hub, meant for another audience or app, or not valid "
        "yet. `detail` says which.",
    ),
    "token_expired": Kind(
        401, "Token expired", "Ask the business system for a new token (`POST /v1/tokens`)."
    ),
    "token_revoked": Kind(
        401,
        "Token revoked",
        "The user was signed out after this token was issued. Ask for a new one, if the user may have it.",
    ),
    "scope_missing": Kind(
        403, "Scope missing", "The key or token is valid but was not given the scope that this route needs."
    ),
    "scope_exceeded": Kind(403, "Scope exceeded", "A key can only make keys with scopes that it has itself."),
    "key_required": Kind(
        403, "API key required", "This route is for business systems; an end user's token cannot call it."
    ),
    "user_token_required": Kind(
        403, "User token required", "This route is for end users about themselves; call it with their token."
    ),
    "not_yourself": Kind(
        403,
        "Not yourself",
        "An end user's token speaks for its own user only; leave out `user` and `sender`.",
    ),
    # The request
    "request_invalid": Kind(
        422,
        "Request not valid",
        "The request does not fit its schema. Each entry of `errors` has a JSON pointer into the body (or "
        "`query:name`, `path:name`, `header:name`), a code and a sentence.",
    ),
    "not_supported": Kind(
        422,
        "Not supported yet",
        "The field belongs to the design but not to this version. It is refused, because ignoring it would "
        "promise what does not happen.",
    ),
    "body_malformed": Kind(
        400,
        "Body malformed",
        "The body is not JSON in UTF-8, or is nested too deeply. NaN and Infinity are not JSON.",
    ),
    "body_too_large": Kind(
        413, "Body too large", "The body is larger than HUB_REQUEST_MAX_BYTES. Send a batch in parts."
    ),
    "content_too_large": Kind(
        422,
        "Content too large",
        "The `body` or `content` of a message is larger than HUB_BODY_MAX_BYTES when encoded as JSON. Put large "
        "things in your own storage and send a link.",
    ),
    "media_type_unsupported": Kind(
        415, "Media type not supported", "Send the body as `Content-Type: application/json`."
    ),
    "route_not_found": Kind(404, "No such path", "There is nothing at this path. The paths are at `/docs`."),
    "method_not_allowed": Kind(
        405,
        "Method not allowed",
        "The path exists but does not take this method; the Allow header says which it takes.",
    ),
    "cursor_invalid": Kind(
        422, "Cursor not valid", "`after` must be the `next` of an earlier page of the same list."
    ),
    "user_required": Kind(
        422,
        "User required",
        "With an API key this route needs `?user=`: whose queue, conversations or devices.",
    ),
    "sender_required": Kind(
        422,
        "Sender required",
        "A direct conversation has two people: name the `sender`, or send a notification.",
    ),
    "recipients_required": Kind(422, "Recipients required", "`to` must name somebody."),
    "expired_already": Kind(422, "Expired already", "`expires_at` or `until` lies in the past."),
    "channel_unknown": Kind(
        422,
        "Channel unknown",
        "A policy names a channel that this hub does not have; `detail` names the nearest.",
    ),
    "policy_unknown": Kind(
        422, "Policy unknown", "The notification names a policy that this app does not have."
    ),
    # Templates: what is said, and whether a channel could say it
    "template.text_invalid": Kind(
        422,
        "Template not valid",
        "A text of the template has a placeholder that is malformed, a filter that does not exist, or a variable that "
        "is not declared in `variables`. Each entry of `errors` points at one.",
    ),
    "template.mapping_invalid": Kind(
        422,
        "Template mapping not valid",
        "A mapping does not fit the provider's template: it must fill exactly the fields that the template has. "
        "Synchronise the account's templates if they have changed.",
    ),
    "template.data_invalid": Kind(
        422,
        "Template data not valid",
        "`data` must give every variable of the template, each of its declared type.",
    ),
    "template.field_invalid": Kind(
        422,
        "Template field not acceptable for channel",
        "What these data make of the template would be refused by a channel of the policy. Each entry of `errors` has "
        "the channel and, where the hub knows one, a fix.",
    ),
    "template_unknown": Kind(
        422,
        "Template unknown",
        "The notification, or a step of its policy, names a template or a version that this app does not have.",
    ),
    "template_not_found": Kind(
        404, "No such template", "There is no template of this key in your app, or it is archived."
    ),
    "not_a_notification": Kind(
        422, "Not a notification", "Only notifications can be sent later; a chat message is sent at once."
    ),
    "being_sent": Kind(
        503,
        "Being sent",
        "The `send_at` of this notification has just come: nobody can say yet whether it can be stopped.",
        retryable=True,
    ),
    "webhook_unknown": Kind(
        422,
        "Webhook endpoint unknown",
        "`callback` names an endpoint that this app does not have, or that is disabled.",
    ),
    "public_key_invalid": Kind(
        422,
        "Public key not valid",
        "Register a PEM public key (`BEGIN PUBLIC KEY`): Ed25519 for EdDSA, P-256 for ES256, RSA of at least 2,048 "
        "bits for RS256.",
    ),
    "webhook_url_refused": Kind(
        422,
        "Webhook URL refused",
        "The hub does not post there; `detail` says why. Give an https:// URL with a public host, without user name, "
        "password and fragment. For development, whoever runs the hub can let more through with HUB_WEBHOOK_ALLOW.",
    ),
    "device_invalid": Kind(422, "Device not valid", "A device id has 1 to 128 printable characters."),
    "seq_beyond_head": Kind(
        422,
        "Number beyond the queue",
        "What has not been sent cannot be acknowledged: `seq` is past the newest number.",
    ),
    "action_unknown": Kind(
        422, "Action unknown", "The task has no such action; `detail` names those it has."
    ),
    "comment_required": Kind(422, "Comment required", "This action needs a comment."),
    "actor_required": Kind(
        422, "Actor required", "With an API key this route needs to know for whom it acts."
    ),
    "transfer_pointless": Kind(
        422, "Transfer pointless", "The part can only go to somebody who is not asked yet."
    ),
    "transfer_back": Kind(
        422, "Transfer back", "A part cannot go back to somebody who has had the task before."
    ),
    "transfer_not_allowed": Kind(
        403,
        "Transfer not allowed",
        "Those who are asked may not hand this task on: its actions have no `transfer`.",
    ),
    "not_the_applicant": Kind(
        403, "Not the applicant", "Only who applied, or the business system, may do this."
    ),
    # Things that are not there, or not yours
    "app_not_found": Kind(404, "No such app", "There is no app of this id, or it is not yours."),
    "key_not_found": Kind(404, "No such API key", "There is no key of this id in your app."),
    "signing_key_not_found": Kind(
        404, "No such signing key", "There is no signing key of this id in your app."
    ),
    "user_not_found": Kind(
        404,
        "No such user",
        "There is no user of this id in your app. Chat needs an existing user; a notification makes unknown ones.",
    ),
    "device_kicked": Kind(403, "Device shown out", "Its token is from before that: sign in again on it."),
    "device_not_found": Kind(404, "No such device", "The user has no device of this id."),
    "conversation_not_found": Kind(
        404,
        "No such conversation",
        "There is no such conversation, or the caller is not in it: the answer is the same.",
    ),
    "member_not_found": Kind(404, "Not a member", "This user is not in the conversation."),
    "message_not_found": Kind(
        404, "No such message", "There is no such message, or the caller cannot see it."
    ),
    "webhook_not_found": Kind(404, "No such webhook", "There is no webhook endpoint of this id in your app."),
    "webhook_event_not_found": Kind(
        404,
        "No such webhook event",
        "There is no event of this id in your app: it is older than HUB_WEBHOOK_RETENTION, or no endpoint wanted it.",
    ),
    "policy_not_found": Kind(404, "No such policy", "This app has no policy of this name."),
    "account_not_found": Kind(404, "No such account", "There is no account of this id in your app."),
    "binding_not_found": Kind(
        404, "Not bound", "Nobody has proved who this user is at the account; see the routes of bindings."
    ),
    "account_taken": Kind(
        409, "Account exists", "Your app has this appid on this channel already. Change that account instead."
    ),
    "account_limit": Kind(409, "Too many accounts", "An app has at most 50 accounts."),
    "account_disabled": Kind(409, "Account disabled", "Enable the account first (`PATCH`, `enabled`)."),
    "not_for_this_account": Kind(
        409,
        "Not for this kind of account",
        "Only official accounts invite by page or QR code; only mini programs bind by login code.",
    ),
    "grants_from_events": Kind(
        409,
        "Subscriptions come by events",
        "This account learns of subscriptions by WeChat's events. Counting reports as well would count twice; set "
        "`grants_from` to `client` where the events do not reach this hub.",
    ),
    "address_invalid": Kind(
        422, "Not an address", "An openid or union id has 1 to 128 printable ASCII characters."
    ),
    "return_to_invalid": Kind(
        422,
        "Not a place to return to",
        "`return_to` is a path at this hub, or an address of an origin that HUB_RETURN_ORIGINS names: links that "
        "lead anywhere else would serve those who deceive people.",
    ),
    "provider_refused": Kind(
        422,
        "WeChat refused",
        "`detail` has WeChat's own words and code, and what to do about it.",
    ),
    "provider_unavailable": Kind(
        503,
        "WeChat away",
        "WeChat cannot be reached, is busy, or the account's quota of this call is used up.",
        retryable=True,
    ),
    "notification_not_found": Kind(
        404, "No such notification", "There is no notification of this id in your app."
    ),
    "delivery_not_found": Kind(404, "No such delivery", "There is no delivery of this id in your app."),
    "task_not_found": Kind(
        404, "No such task", "There is no task of this id in your app, or it is not the caller's to see."
    ),
    "action_not_found": Kind(404, "No such action", "The task has no action of this id."),
    "link_invalid": Kind(
        404, "Link not valid", "The link is not one of this hub's, its time is over, or it leads nowhere."
    ),
    # What contradicts what is there
    "webhook_disabled": Kind(
        409,
        "Webhook disabled",
        "The endpoint answered 410 Gone, or was disabled by hand: `disabled_reason` says which. Enable it with PATCH.",
    ),
    "webhooks_full": Kind(
        409,
        "Too many webhooks",
        "An app has at most 50 webhook endpoints. Remove one that nobody listens at.",
    ),
    "app_exists": Kind(409, "App exists", "There is an app of this id already."),
    "not_a_group": Kind(
        409,
        "Not a group",
        "Only groups have members to change; a direct conversation has two people for good.",
    ),
    "policy_builtin": Kind(
        409, "Policy is built in", "A built-in policy cannot be removed; one of your own under its name can."
    ),
    "task_already_decided": Kind(
        409,
        "Task already decided",
        "Somebody was first, or the task is over. `decision` says who, what and when.",
    ),
    "task_closed": Kind(
        409, "Task closed", "A task that is over is not opened again: put the new question under another id."
    ),
    "action_settled": Kind(
        409, "Action settled", "The action was settled otherwise before; its state is in `detail`."
    ),
    "precondition_failed": Kind(
        412,
        "Precondition failed",
        "The task has changed since: `If-Match` does not name its ETag. Get it again.",
    ),
    "idempotency_mismatch": Kind(
        422,
        "Idempotency-Key used before",
        "This Idempotency-Key was used with another request. Use a new key for a new request.",
    ),
    "inbox_not_writable": Kind(403, "Inbox not writable", "Only notifications go to the inbox."),
    "read_only": Kind(403, "Read only", "This member may read in the conversation, but not write."),
    # Sockets (`/v1/ws`), before they are open
    "upgrade_required": Kind(426, "Upgrade required", "This path is for WebSockets."),
    "origin_refused": Kind(
        403, "Origin refused", "Pages of this origin may not open sockets: HUB_WS_ORIGINS."
    ),
    "subprotocol_missing": Kind(400, "Subprotocol missing", "Offer the WebSocket subprotocol `hub.v1`."),
    **CHAT_CODES,
    **GROUP_CODES,
    **CONTACT_CODES,
    **KEEPING_CODES,
    # Come back later
    "rate_limited": Kind(
        429,
        "Too many requests",
        "The key, user or address has used up its rate; the RateLimit and Retry-After headers say when to come back.",
        retryable=True,
    ),
    "overloaded": Kind(
        503, "Overloaded", "Too many messages are waiting to be stored. Nothing was accepted.", retryable=True
    ),
    "commit_timeout": Kind(
        503,
        "Storing took too long",
        "The message may yet be stored: repeat with the same Idempotency-Key or client_msg_id, which is safe.",
        retryable=True,
    ),
    "contention": Kind(
        503, "Too many writers", "Others were changing the same thing. A repeat will do.", retryable=True
    ),
    "store_unavailable": Kind(
        503,
        "Database away",
        "The database cannot be used right now. Nothing was acknowledged.",
        retryable=True,
    ),
    "queue_unavailable": Kind(503, "Queue away", "Redis cannot be reached right now.", retryable=True),
    "presence_unavailable": Kind(
        503, "Presence away", "Presence is kept in Redis, which cannot be reached right now.", retryable=True
    ),
    "secret_unreadable": Kind(
        503,
        "Stored secret unreadable",
        "What is encrypted in the database cannot be opened with this HUB_SECRET_KEY. Was it replaced? Set the old "
        "key behind the new one, separated by a comma.",
        retryable=True,
    ),
    "wrong_role": Kind(
        404,
        "Another role serves this",
        "This process runs as `api` or `gateway` (HUB_ROLE) and the path belongs to the other. Behind a load balancer "
        "`/v1/ws` and `/v1/queue` go to gateways and everything else to the API.",
    ),
    "too_many_polls": Kind(
        429,
        "Too many long polls",
        "As many requests as are allowed wait for news of this user, or on this node. Give up some.",
        retryable=True,
    ),
    "starting": Kind(503, "Starting", "The hub is not ready yet, or is shutting down.", retryable=True),
    "internal": Kind(
        500,
        "Internal error",
        "Something went wrong that should not have. The log has the details under `request_id`.",
        retryable=True,
    ),
}

FALLBACKS: Mapping[str, Kind] = {
    "not_found": Kind(404, "Not found", "There is no such thing, or it is not the caller's to see."),
    "forbidden": Kind(403, "Forbidden", "The caller may not do this."),
    "conflict": Kind(409, "Conflict", "It contradicts something that was accepted earlier."),
    "refused": Kind(422, "Refused", "The request cannot be done as it stands."),
    "unavailable": Kind(
        503, "Unavailable", "A part that the hub needs is away. Nothing was acknowledged.", retryable=True
    ),
}
