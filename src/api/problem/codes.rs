//! The table of problems: what each code means, what status it has, whether trying again helps, and what to do.

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The code on the wire, and the last part of `type`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
    /// A short sentence, the same for every occurrence.
    pub title: &'static str,
    /// What it means, for `/problems/{code}`.
    pub meaning: &'static str,
    /// What to do, for the same page.
    pub remedy: &'static str,
}

impl Row {
    /// All of it as plain text, for a terminal.
    pub(crate) fn text(&self) -> String {
        let again = if self.retryable {
            "Trying again later may help."
        } else {
            "Trying again unchanged does not help."
        };
        let Row { name, status, title, meaning, remedy, .. } = self;
        format!("{name}\n\nStatus {status}. {title}.\n\n{meaning}\n\n{remedy}\n\n{again}\n")
    }
}

/// One line of the table makes the variant, its place in [`Code::ALL`] and its row, so that none can be forgotten.
macro_rules! codes {
    ($(
        $code:ident $name:literal $status:literal $again:literal:
        $title:literal, $meaning:literal, $remedy:literal;
    )*) => {
        /// What a client may rely on: the stable name of a kind of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// Every code, for the pages and the tests.
            pub(crate) const ALL: &'static [Code] = &[$(Code::$code,)*];

            /// What the table says about it.
            pub(crate) const fn row(self) -> Row {
                let (name, status, retryable, title, meaning, remedy) = match self {
                    $(Code::$code => ($name, $status, $again, $title, $meaning, $remedy),)*
                };
                Row { name, status, retryable, title, meaning, remedy }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" 400 false: "The body is not the JSON this call expects",
        "The body is no JSON object, a field has the wrong type, or a field is not one of this call. Unknown fields \
         are refused, never ignored.",
        "errors[] points at the place: a JSON pointer, with line and column in the text. Mend it and send it again.";
    InvalidRequest "invalid_request" 400 false: "A name, header, parameter or value is malformed",
        "The request reached the right call, but one of its parts cannot be understood or is not one of this call.",
        "errors[] names the header, query parameter, path segment or field, and says what is accepted.";
    NotSupported "not_supported" 400 false: "This is not supported yet",
        "The feature is described but does not work in this version. It is refused, because ignoring it would break a \
         promise.",
        "Leave it out, or use a version that has it; /openapi.yaml lists all that works.";
    ForeignOrigin "foreign_origin" 403 false: "A page of another origin may not do this",
        "A browser sent a request that changes something, or a WebSocket upgrade, from a page of a foreign origin.",
        "If that page is yours, start the broker with --allowed-origin and the page's scheme://host:port.";
    NotFound "not_found" 404 false: "There is nothing at this path",
        "No call of the interface has this path.",
        "Look for a typing mistake; every path is in /openapi.yaml, and /docs shows them all.";
    TopicNotFound "topic_not_found" 404 false: "There is no such topic",
        "The topic was never made, or was deleted, and this call does not make it.",
        "Make it with PUT /v1/topics/{topic}, or let a produce make it (auto_create).";
    GroupNotFound "group_not_found" 404 false: "There is no such group",
        "The group was never made, or was deleted.",
        "Name a topic in the receive (?topic=) to make it with defaults, or PUT /v1/groups/{group}.";
    QueueNotFound "queue_not_found" 404 false: "The topic has no such queue",
        "Queues are counted from 0, and the number is not below the topic's queues.",
        "GET /v1/topics/{topic} shows how many there are. Leave the queue out and the broker chooses.";
    MessageNotFound "message_not_found" 404 false: "There is no such message",
        "The id is well-formed, but no message has it.",
        "Check that the id comes from this broker and was not cut.";
    DeadLetterNotFound "dead_letter_not_found" 404 false: "The group has no such dead letter",
        "It was never there, was redriven, or was purged.",
        "GET /v1/groups/{group}/dead-letters lists what is there.";
    JobNotFound "job_not_found" 404 false: "There is no such job",
        "No job was started under this id, or it ended long ago: a node remembers a thousand jobs.",
        "GET /v1/jobs lists those that are remembered, the newest first.";
    AlertObjectNotFound "alert_object_not_found" 404 false: "There is no such rule, receiver, silence or delivery",
        "It was never made, was deleted, or is a delivery that was over long ago: a node remembers a thousand.",
        "GET /v1/alerts/rules, /receivers, /silences and /deliveries list what there is.";
    ReceiptNotFound "receipt_not_found" 404 false: "This is not a receipt of a lease",
        "A receipt comes with a received message and belongs to one group. This text is none, or belongs to another \
         group.",
        "Send the receipt exactly as it came, to the group it came from.";
    ClientNotFound "client_not_found" 404 false: "There is no such client",
        "No client has this id: it went away, or the broker was started again since.",
        "GET /v1/clients lists who is there.";
    MethodNotAllowed "method_not_allowed" 405 false: "This path does not take this method",
        "The path exists, but not with this method.",
        "The Allow header of the answer lists the methods it takes.";
    RequestTimeout "request_timeout" 408 true: "The request came too slowly",
        "The body did not arrive within the transfer timeout, or a WebSocket answered no ping. Nothing was stored.",
        "Send it again; on a slow line, in smaller pieces.";
    NotSubscribed "not_subscribed" 409 false: "The group does not subscribe to this topic",
        "A receive never changes an existing group, so a topic it names must be one of the group's.",
        "Add the subscription with PUT or PATCH /v1/groups/{group}.";
    FilterDiffers "filter_differs" 409 false: "The filter is not the group's",
        "A filter given with a receive is only compared with the group's own, so that two workers of one group cannot \
         quietly want different things.",
        "Leave the filter out, or change the group with PUT or PATCH /v1/groups/{group}.";
    Disconnected "disconnected" 409 true: "An operator disconnected this client",
        "Somebody called DELETE /v1/clients/{id}. The socket is closed with 4409 and its leases are given back.",
        "Connect again, unless you were told not to.";
    NotScheduled "not_scheduled" 409 false: "The message is not scheduled any more",
        "Only a message that waits for its time can be cancelled. This one was never scheduled, or is ready and goes to \
         the groups that subscribe; or it was cancelled so long ago that this cannot be told any more.",
        "GET /v1/messages/{id} shows where it stands.";
    Conflict "conflict" 409 false: "The present state does not allow this",
        "The request is in order, but something stands in its way; the detail says what.",
        "Wait until it is gone, or remove it.";
    BackupRunning "backup_running" 409 true: "Another backup is being taken",
        "A backup reads the whole log, so there is one at a time. This one was not begun.",
        "Wait until the other one is done, and try again.";
    ConfirmNeeded "confirm_needed" 409 false: "This would throw messages away",
        "What is to be deleted still holds messages or dead letters; the detail counts them.",
        "If that is meant, repeat the call with ?confirm= and the name of the thing.";
    LimitReached "limit_reached" 409 false: "The node holds as many as it can",
        "There is a hard limit on how many of these a node holds, and it is reached.",
        "Delete what is not needed; GET /v1/limits shows every limit.";
    TopicGone "topic_gone" 409 false: "The dead letter cannot go back to its topic",
        "The topic was deleted, or the group no longer subscribes to it.",
        "Subscribe the group to it again, or read the dead letter and produce it elsewhere.";
    Gone "gone" 410 false: "It was there, and retention removed it",
        "Messages are kept for the topic's max_age_ms, and as long as a group has not settled them.",
        "It does not come back. Give the topic a longer max_age_ms if messages are needed longer.";
    LeaseExpired "lease_expired" 410 false: "The lease is over",
        "The message was leased again, settled, or moved; this receipt changes nothing any more.",
        "Drop the work, or make it safe to be done twice. Extend leases in time, or give the group a longer lease_ms.";
    Exists "exists" 412 false: "It exists already",
        "If-None-Match: * only makes what is not there, and it is there.",
        "GET it; to change it, leave If-None-Match out.";
    Stale "stale" 412 false: "It is not what If-Match says",
        "The entity tag in If-Match is not that of the settings as they are now: somebody else changed them, or they are \
         gone. Nothing was changed.",
        "GET it again, look at what is different, and repeat the change with the new ETag.";
    TooLarge "too_large" 413 false: "The request is larger than accepted",
        "A body, a batch or a list is over its limit; limit in the answer says how much is accepted.",
        "Send less at a time, or keep large things elsewhere and send their address. GET /v1/limits shows every limit.";
    UriTooLong "uri_too_long" 414 false: "The path and query are longer than accepted",
        "The first line of a request holds at most 65,534 bytes of path and query.",
        "Send long values in the body where the call takes one.";
    UnsupportedMediaType "unsupported_media_type" 415 false: "This kind of body is not accepted here",
        "The Content-Type names a form that this call does not read.",
        "Send JSON, or one message object a line with Content-Type: application/x-ndjson.";
    ForeignHost "foreign_host" 421 false: "The Host header names another host",
        "On a loopback address only localhost and loopback addresses are answered, against DNS rebinding.",
        "Call the broker as localhost or 127.0.0.1. Behind a proxy, name the public origin with --allowed-origin.";
    InvalidSettings "invalid_settings" 422 false: "The settings are refused",
        "The JSON is well-formed, but a value is out of its range or does not go with another.",
        "errors[] names the field and its range.";
    InvalidFilter "invalid_filter" 422 false: "The filter is refused",
        "The filter is no tag expression, or no SQL expression; errors[] gives the column in characters from 1.",
        "Write {\"tag\": \"a || b\"} or {\"sql\": \"price > 5 AND colour = 'red'\"}; docs/FILTERS.md has the language.";
    IdempotencyMismatch "idempotency_mismatch" 422 false: "The key was used for another request",
        "Within the topic's idempotency_window_ms a key stands for one request: the same body, content type and Mq- \
         headers. Nothing was stored by this one.",
        "Use a new key for a new request, and send a request again exactly as it was.";
    HeadTooLarge "head_too_large" 431 false: "The request's headers are more than accepted",
        "A request has at most 100 headers and 256 KiB of them.",
        "Send fewer or shorter headers; a message's properties may also be sent as JSON.";
    Internal "internal" 500 false: "The broker made a mistake",
        "Handling this request failed in a way that nobody foresaw; other requests go on. What it was to change may \
         have happened or not.",
        "The broker's log holds the place, under the request_id of the answer. Please report it.";
    Fault "fault" 500 false: "The broker found damage or a failing disk",
        "A checksum did not fit or the disk answered with an error. Nothing false is served.",
        "The broker's log says which file. Check the disk before anything else.";
    NotReady "not_ready" 503 true: "The broker does not take this now",
        "It starts, stops, or has no leader. The request was definitely not stored.",
        "Try again after Retry-After; GET /readyz?verbose says what it waits for.";
    Overloaded "overloaded" 503 true: "Too much is waiting already",
        "A bounded queue is full: requests, waiting receives, connections or unready messages. The request was \
         definitely not stored.",
        "Try again after Retry-After, with fewer requests at once.";
    IdempotencyFull "idempotency_full" 503 true: "Too many idempotency keys are remembered",
        "The node remembers as many keys as it is set to, and none is forgotten before its time. Nothing was stored by \
         this request.",
        "Try again after Retry-After. Shorten idempotency_window_ms of busy topics, or start with a larger \
         --idempotency-keys-max.";
    OutcomeUnknown "outcome_unknown" 504 true: "It may be stored or not",
        "The request was submitted, and its confirmation did not come in time.",
        "Send it again under the same Idempotency-Key; without one look before, for a second time may store it twice.";
    DiskFull "disk_full" 507 true: "The disk is too full to take messages",
        "Free space is under the reserve. The request was definitely not stored. Receive and settle still work.",
        "Free space, settle messages, or shorten max_age_ms; then try again.";
}

impl Code {
    /// The code with this name.
    pub(crate) fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.row().name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_a_valid_status() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.row().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let row = code.row();
            assert!((400..600).contains(&row.status), "{}", row.name);
            assert_eq!(Code::named(row.name), Some(*code));
            assert!(row.title.len() < 80 && !row.title.ends_with('.'), "{}", row.name);
            assert!(row.meaning.ends_with('.') && row.remedy.ends_with('.'), "{}", row.name);
        }
    }
}
