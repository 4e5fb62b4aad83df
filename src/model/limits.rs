//! Every hard limit, with its unit in the name. Checked at the edge, shown at `GET /v1/limits`.

use super::Millis;

/// Longest name of a topic or group, in bytes.
pub const NAME_BYTES_MAX: usize = 127;
/// Largest message body, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Most messages in one batch request.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Largest batch request body, in bytes. Also the largest log entry an unsplittable request may make.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Largest body of any other JSON request, in bytes.
pub const JSON_BYTES_MAX: usize = 1 << 20;
/// Most properties of one message.
pub const PROPERTIES_MAX: usize = 128;
/// Most bytes of all property names and values of one message together.
pub const PROPERTIES_BYTES_MAX: usize = 16 << 10;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// Most keys of one message.
pub const KEYS_MAX: usize = 16;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest ordering key, in bytes.
pub const ORDERING_KEY_BYTES_MAX: usize = 256;
/// Longest content type, content encoding, `traceparent` or `tracestate` that is kept, in bytes.
pub const HEADER_BYTES_MAX: usize = 512;
/// Longest delay of a scheduled message: 40 days.
pub const DELAY_MS_MAX: Millis = 40 * 86_400_000;
/// Longest time to live: 10 years.
pub const TTL_MS_MAX: Millis = 3_650 * 86_400_000;
/// Shortest lease.
pub const LEASE_MS_MIN: Millis = 1_000;
/// Longest lease: 12 hours.
pub const LEASE_MS_MAX: Millis = 12 * 3_600_000;
/// Most attempts of one round.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Longest retry delay, also of `nack.delay_ms`: 12 hours.
pub const RETRY_MS_MAX: Millis = 12 * 3_600_000;
/// Shortest retry step.
pub const RETRY_MS_MIN: Millis = 100;
/// Most steps of a retry table.
pub const RETRY_STEPS_MAX: usize = 64;
/// Most topics of a node.
pub const TOPICS_MAX: usize = 100_000;
/// Most consumer groups of a node.
pub const GROUPS_MAX: usize = 10_000;
/// Most queues of a topic.
pub const QUEUES_MAX: QueueCount = 256;
/// Most subscriptions of a group.
pub const SUBSCRIPTIONS_MAX: usize = 100;
/// Longest filter expression, in bytes.
pub const FILTER_BYTES_MAX: usize = 4_096;
/// Most tags one filter may name.
pub const FILTER_TAGS_MAX: usize = 64;
/// Most comparisons in one SQL filter.
pub const FILTER_TERMS_MAX: usize = 64;
/// Most brackets and NOTs around one another in an SQL filter.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Longest text that an SQL filter reads as a number, in bytes.
pub const FILTER_NUMBER_BYTES_MAX: usize = 128;
/// Most digits of a number in an SQL filter, zeros at either end left out.
pub const FILTER_NUMBER_DIGITS_MAX: usize = 40;
/// Most values of one IN.
pub const FILTER_LIST_MAX: usize = 256;
/// Most characters of a LIKE pattern between two `%`, when a `_` is among them.
pub const FILTER_STRETCH_CHARS_MAX: usize = 64;
/// Most leases a group may be allowed to hold at once.
pub const IN_FLIGHT_MAX: u32 = 100_000;
/// Most messages one receive may ask for.
pub const RECEIVE_MESSAGES_MAX: u32 = 1_000;
/// Most body bytes one receive may ask for.
pub const RECEIVE_BYTES_MAX: u64 = 16 << 20;
/// Longest wait of a receive.
pub const WAIT_MS_MAX: Millis = 60_000;
/// Most receipts of one settle request.
pub const SETTLE_MAX: usize = 1_000;
/// Longest reason of a nack or dead letter, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Longest client name (`Mq-Client`), in bytes.
pub const CLIENT_BYTES_MAX: usize = 128;
/// Most clients over plain HTTP that are remembered as members; one more is served and not listed.
pub const CLIENTS_MAX: usize = 20_000;
/// Most receives and WebSocket subscriptions that may wait at once.
pub const WAITERS_MAX: usize = 20_000;
/// Most open WebSockets.
pub const SOCKETS_MAX: usize = 10_000;
/// Most messages of a node that are scheduled, dead, or that a group has looked at and not settled (leased, retrying,
/// ready again, parked), counted once for each group. At the bound nothing more is scheduled or looked at.
pub const HELD_MAX: usize = 10_000_000;
/// Most dead letters of a group that its settings may allow.
pub const DEAD_LETTERS_MAX: u64 = 10_000_000;
/// Most jobs that a node remembers, those that run included. Beyond, the oldest that has ended is forgotten.
pub const JOBS_MAX: usize = 1_000;
/// Most jobs that run at once; a group has at most one.
pub const JOBS_RUNNING_MAX: usize = 100;
/// Most dead letters that a job moves in one step, which is one log entry.
pub const JOB_STEP_LETTERS_MAX: usize = 250;
/// Highest `rate_per_s` of a redrive.
pub const REDRIVE_RATE_MAX: u32 = 100_000;
/// Most dead letters that a dry run reads from the log to decide whether they fit.
pub const DRY_RUN_READS_MAX: usize = 100_000;
/// Most reads of the log that one look at the dead letters of a group takes, to show or count them for people.
pub const LETTER_READS_MAX: usize = 2_000;
/// Longest time of such a look; the next goes on.
pub const LETTER_LOOK_MS_MAX: Millis = 40;
/// Most groups whose view of one message is shown.
pub const MESSAGE_GROUPS_MAX: usize = 200;
/// Most exports of dead letters that run at once.
pub const EXPORTS_MAX: usize = 16;
/// Most unsettled messages of one queue that a group has looked at (docs/adr/0010-the-look-ahead-counts-messages.md).
pub const LOOK_AHEAD: u64 = 10_000;
/// Most due items one tick decides.
pub const TICK_ITEMS_MAX: usize = 1_000;
/// Most queue entries read as candidates for one receive and batch.
pub const CANDIDATES_MAX: usize = 512;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Shortest time a topic may remember idempotency keys.
pub const IDEMPOTENCY_WINDOW_MS_MIN: Millis = 1_000;
/// Longest time a topic may remember idempotency keys: 24 hours.
pub const IDEMPOTENCY_WINDOW_MS_MAX: Millis = 24 * 3_600_000;
/// Largest `max_age_ms`: 10 years.
pub const MAX_AGE_MS_MAX: Millis = 3_650 * 86_400_000;
/// Smallest `max_age_ms`: one second.
pub const MAX_AGE_MS_MIN: Millis = 1_000;
/// Most rows a list answers.
pub const LIST_LIMIT_MAX: usize = 1_000;
/// Bytes of log that one page of a trace reads before it stops and says where to go on.
pub const TRACE_BYTES_MAX: u64 = 64 << 20;
/// How long one page of a trace reads before it stops and says where to go on.
pub const TRACE_MS_MAX: Millis = 1_000;
/// Most groups that a trace follows.
pub const TRACE_GROUPS_MAX: usize = 256;
/// Rows a list answers when not told.
pub const LIST_LIMIT_DEFAULT: usize = 100;
/// Most queue entries, or messages with a key, that one search call looks at; the next goes on.
pub const SEARCH_ENTRIES_MAX: u64 = 200_000;
/// Most bytes of bodies that one search call reads.
pub const SEARCH_BYTES_MAX: u64 = 32 << 20;
/// Longest time that one search call looks.
pub const SEARCH_MS_MAX: Millis = 500;
/// Most damaged messages that one search call steps over and names; the next goes on.
pub const SEARCH_DAMAGED_MAX: usize = 100;
/// Longest text a search may look for in bodies, in bytes.
pub const CONTAINS_BYTES_MAX: usize = 1_024;
/// Most tails that may be open at once.
pub const TAILS_MAX: usize = 1_000;
/// Longest time a tail may be asked to last: 24 hours. One that does not say lasts until its client goes.
pub const TAIL_FOR_MS_MAX: Millis = 24 * 3_600_000;

/// Most topics that have series of their own at `/metrics`; the others are summed up as one.
pub const METRICS_TOPICS_MAX: usize = 200;
/// Most subscriptions (a group in a topic) that have series of their own at `/metrics`.
pub const METRICS_SUBSCRIPTIONS_MAX: usize = 200;
/// Most groups that have series of their own at `/metrics`.
pub const METRICS_GROUPS_MAX: usize = 200;
/// Most samples of queues that `/metrics/per-object` answers.
pub const METRICS_QUEUE_SAMPLES_MAX: usize = 20_000;

/// Most topics whose past is remembered, at most 100 KiB each.
pub const HISTORY_TOPICS_MAX: usize = 50;
/// Most groups whose past is remembered, at most 540 KiB each.
pub const HISTORY_GROUPS_MAX: usize = 50;

/// Most rules of alerts that a node holds, besides those that come with it.
pub const ALERT_RULES_MAX: usize = 1_000;
/// Most receivers of notifications.
pub const ALERT_RECEIVERS_MAX: usize = 100;
/// Most silences, those that are over included.
pub const ALERT_SILENCES_MAX: usize = 1_000;
/// Most groups of alerts of which it is known what was told last.
pub const ALERT_GROUPS_MAX: usize = 10_000;
/// Most labels, annotations or matchers of one thing.
pub const ALERT_LABELS_MAX: usize = 32;
/// Longest text of an alert that people write: an annotation, a comment, a URL; in bytes.
pub const ALERT_TEXT_BYTES_MAX: usize = 2_048;
/// Longest time that a rule or a route may ask for: 7 days.
pub const ALERT_MS_MAX: Millis = 7 * 86_400_000;
/// Most routes, and most inhibitions.
pub const ALERT_ROUTES_MAX: usize = 100;
/// Most previews of rules that are made at once: each copies and walks a day of what history remembers.
pub const ALERT_PREVIEWS_MAX: usize = 4;
/// Most labels that a route groups by, or that an inhibition compares.
pub const ALERT_GROUP_BY_MAX: usize = 16;
/// Longest secret of a receiver, in bytes.
pub const ALERT_SECRET_BYTES_MAX: usize = 512;
/// Most alerts that are pending, firing, or remembered as resolved.
pub const ALERTS_MAX: usize = 10_000;
/// Most notifications that wait to be delivered.
pub const NOTIFICATIONS_PENDING_MAX: usize = 10_000;
/// Most notifications that are remembered once they are over.
pub const NOTIFICATIONS_DONE_MAX: usize = 1_000;
/// Most bytes of a receiver's answer that are kept.
pub const NOTIFICATION_EXCERPT_BYTES_MAX: usize = 512;

/// How many queues a topic has.
pub type QueueCount = u16;
