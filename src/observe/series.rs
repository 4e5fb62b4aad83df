//! Every series, by name: its kind, its labels, what it means, and what to do when it rises. `docs/METRICS.md` is this
//! table, and a test holds it so.

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How often values fell between bounds.
    Histogram,
}

impl Kind {
    /// Its name in the text format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A family of series.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name, after Prometheus' rules: base units, `_total` for counters.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, and what to do when it rises.
    pub help: &'static str,
}

macro_rules! series {
    ($($constant:ident = $kind:ident $name:literal $labels:tt: $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub static $constant: Series =
                Series { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };
        )*

        /// All of them.
        pub static SERIES: &[&Series] = &[$(&$constant),*];
    };
}

series! {
    // Topics.
    PRODUCED_MESSAGES = Counter "whimbrel_produced_messages_total" ["topic"]:
        "Messages accepted, scheduled ones included. Watch its rate; when it falls to nothing, look at the \
         producers.";
    PRODUCED_BYTES = Counter "whimbrel_produced_bytes_total" ["topic"]:
        "Bytes of the bodies of accepted messages. When it rises faster than the messages, somebody sends \
         larger bodies.";
    KEPT_MESSAGES = Gauge "whimbrel_kept_messages" ["topic"]:
        "Messages in the queues that can still be read, settled or not. Rises with max_age_ms of the topic \
         and with backlog; it is what the disk holds.";
    SCHEDULED_MESSAGES = Gauge "whimbrel_scheduled_messages" ["topic"]:
        "Accepted messages that wait for their time. They count against held_max; a steady rise means that \
         delays are longer than intended.";
    // Subscriptions: a group in one topic.
    GROUP_LAG_MESSAGES = Gauge "whimbrel_group_lag_messages" ["topic", "group"]:
        "Messages that match the filter and are ready, leased or retrying; with a filter and a long backlog \
         an upper bound. When it rises, add consumers or look at why they fail.";
    GROUP_LAG_SECONDS = Gauge "whimbrel_group_lag_seconds" ["topic", "group"]:
        "Age since ready of the oldest message of the lag; 0 without lag. The best single sign that a group \
         does not keep up or that one message is stuck.";
    GROUP_READY_MESSAGES = Gauge "whimbrel_group_ready_messages" ["topic", "group"]:
        "Messages of the lag that nobody holds and that wait for no retry. Above 0 while in_flight is 0: no \
         consumer asks, or the group is paused.";
    GROUP_IN_FLIGHT_MESSAGES = Gauge "whimbrel_group_in_flight_messages" ["topic", "group"]:
        "Messages leased to consumers. At max_in_flight of the group nothing more is handed out: settle \
         faster, or raise it.";
    GROUP_RETRYING_MESSAGES = Gauge "whimbrel_group_retrying_messages" ["topic", "group"]:
        "Messages that wait for their next attempt after a failure. When it rises, look at the reasons of \
         the failures.";
    GROUP_OLDEST_IN_FLIGHT_SECONDS = Gauge "whimbrel_group_oldest_in_flight_seconds" ["topic", "group"]:
        "Age since ready of the oldest message that a consumer holds; 0 when none is held. When it rises, a \
         consumer hangs, or extends its lease again and again.";
    DELIVERED_MESSAGES = Counter "whimbrel_delivered_messages_total" ["topic", "group"]:
        "Messages leased to consumers, every attempt counted. More than acked plus failed plus given back: \
         consumers take and do not settle.";
    DELIVERED_BYTES = Counter "whimbrel_delivered_bytes_total" ["topic", "group"]:
        "Bytes of the bodies of leased messages, every attempt counted.";
    ACKED_MESSAGES = Counter "whimbrel_acked_messages_total" ["topic", "group"]:
        "Messages acked: the work that got done.";
    FAILED_DELIVERIES = Counter "whimbrel_failed_deliveries_total" ["topic", "group", "cause"]:
        "Deliveries that failed: nack, rejected (the consumer asked for the dead letters), lease_expired, \
         connection_lost. A late nack of a lease that ran out counts again as nack. When lease_expired \
         rises, leases are too short or consumers die.";
    RETRIED_MESSAGES = Counter "whimbrel_retried_messages_total" ["topic", "group"]:
        "Messages that became ready for another attempt after a failure. A high share of delivered means \
         that most work is done twice.";
    GIVEN_BACK_MESSAGES = Counter "whimbrel_given_back_messages_total" ["topic", "group"]:
        "Leases that ended without a failure: the consumer left, or never got the answer. When it rises, \
         receivers give up before they are answered.";
    DEAD_LETTERED_MESSAGES = Counter "whimbrel_dead_lettered_messages_total" ["topic", "group", "reason"]:
        "Messages that became dead letters: max_attempts, rejected, expired. Any increase wants a look: \
         whimbrel dlq list GROUP.";
    EXPIRED_MESSAGES = Counter "whimbrel_expired_messages_total" ["topic", "group"]:
        "Messages that outlived their TTL and were dropped for the group (those it keeps are dead letters). \
         When it rises, the group is too slow for the TTL.";
    // Groups.
    GROUP_DEAD_LETTERS = Gauge "whimbrel_group_dead_letters" ["group"]:
        "Dead letters that the group holds. They stay until they are redriven or purged; at \
         dead_letters_max failing messages keep retrying.";
    GROUP_CONSUMERS = Gauge "whimbrel_group_consumers" ["group"]:
        "Clients that consume: WebSockets that subscribe, receives that wait, and who received lately. 0 \
         with messages ready: nobody is there; look at the consumers.";
    GROUP_PAUSED = Gauge "whimbrel_group_paused" ["group"]:
        "1 while the group is paused and hands out nothing, else 0. In the sum of the others, how many are \
         paused.";
    REDRIVEN_MESSAGES = Counter "whimbrel_redriven_messages_total" ["group"]:
        "Dead letters sent back to the end of their lanes, or on to another topic, where they count as produced.";
    // Speed.
    PRODUCE_SECONDS = Histogram "whimbrel_produce_duration_seconds" []:
        "Time inside the broker of produce requests that were accepted, from parsed to durable. When it \
         rises, compare it with the flush time: a slow disk, or a full machine.";
    END_TO_END_SECONDS = Histogram "whimbrel_end_to_end_duration_seconds" []:
        "Time from accepted (or due) until a message is handed out on its first attempt, all groups \
         together, counted to the millisecond. When it rises without backlog, look at the flush time; with \
         backlog, at lag.";
    FSYNC_SECONDS = Histogram "whimbrel_fsync_duration_seconds" []:
        "Time that each flush of the log waited for the disk. Everything durable waits for it; above 0.1 s \
         the disk is the limit, or shared with somebody loud.";
    BATCH_FACTS = Histogram "whimbrel_batch_facts" []:
        "Facts (messages, leases, acks) in each entry of the log, which is one flush. It grows with load; \
         large batches with slow flushes mean that the disk sets the pace.";
    SCHEDULE_LATENESS_SECONDS = Histogram "whimbrel_schedule_lateness_seconds" []:
        "How much later than their time scheduled messages became ready. Milliseconds are normal; seconds \
         mean a full disk, a stopped leader or more due at once than the node can write.";
    SCHEDULE_OVERDUE_SECONDS = Gauge "whimbrel_schedule_overdue_seconds" []:
        "For how long the first scheduled message has been due by now; 0 when none is due. Above a few \
         seconds schedules do not fire: look at /readyz?verbose.";
    // The node.
    SERVING = Gauge "whimbrel_serving" []:
        "1 while the node leads and takes work, else 0. At 0 look at /readyz?verbose.";
    TOPICS = Gauge "whimbrel_topics" []:
        "Topics. At topics_max no more are made.";
    GROUPS = Gauge "whimbrel_groups" []:
        "Consumer groups. At groups_max no more are made.";
    HELD_MESSAGES = Gauge "whimbrel_held_messages" []:
        "Messages scheduled, dead, or handed out and not settled, once for each group; they live in memory. \
         Near held_messages_max, settle, redrive or purge.";
    HELD_MESSAGES_MAX = Gauge "whimbrel_held_messages_max" []:
        "The bound of whimbrel_held_messages; at it schedules are refused and no group looks at new \
         messages.";
    LOG_BYTES = Gauge "whimbrel_log_bytes" []:
        "Bytes of all segments of the log. It shrinks when whole segments are no longer needed: old \
         unsettled messages keep it large.";
    DISK_FREE_BYTES = Gauge "whimbrel_disk_free_bytes" []:
        "Bytes that the file system of the data directory has left, as last measured. Predict when it ends; \
         producers are refused before it does.";
    DISK_TOTAL_BYTES = Gauge "whimbrel_disk_total_bytes" []:
        "Bytes of the file system of the data directory.";
    DISK_REFUSES_PRODUCERS = Gauge "whimbrel_disk_refuses_producers" []:
        "1 while free space is under the reserve and producers get 507, else 0. Free space, or let \
         consumers drain.";
    INDEX_BACKLOG_ENTRIES = Gauge "whimbrel_index_backlog_entries" []:
        "Log entries that were applied and are not in the queue index yet. Above 0 for long after a start: \
         it is being made again; consumers get what is indexed.";
    RAFT_TERM = Gauge "whimbrel_raft_term" []:
        "Term of the agreement. It rises with every election; often means an unsteady leader.";
    RAFT_LEADER = Gauge "whimbrel_raft_leader" []:
        "1 on the node that leads, else 0. The sum over a cluster is 1; 0 for more than seconds means that \
         nothing is accepted.";
    RAFT_LAST_INDEX = Gauge "whimbrel_raft_last_index" []:
        "Index of the last entry in the log.";
    RAFT_COMMITTED_INDEX = Gauge "whimbrel_raft_committed_index" []:
        "Index of the last entry known to be on a quorum. Far behind the last one: the quorum, or the disk, \
         is slow.";
    RAFT_APPLIED_INDEX = Gauge "whimbrel_raft_applied_index" []:
        "Index of the last entry applied to the state. Far behind the committed one: the node is \
         recovering, or overloaded.";
    REQUESTS_WAITING = Gauge "whimbrel_requests_waiting" []:
        "Requests that wait to be decided or written. In the thousands for long, the disk does not keep up; \
         at 65536 they are refused with 503.";
    WAITERS = Gauge "whimbrel_waiters" []:
        "Receives and WebSocket subscriptions that are open. At waiters_max more are refused.";
    CONNECTIONS = Gauge "whimbrel_connections" []:
        "Open HTTP connections, WebSockets not counted. At connections_max more are refused; clients should \
         keep and share them.";
    CONNECTIONS_ACCEPTED = Counter "whimbrel_connections_accepted_total" []:
        "HTTP connections accepted. A high rate means clients that do not keep their connections.";
    CONNECTIONS_REFUSED = Counter "whimbrel_connections_refused_total" []:
        "Connections refused because connections_max were open. Raise --max-connections, or look for a \
         client that leaks them.";
    SOCKETS = Gauge "whimbrel_sockets" []:
        "Open WebSockets. At sockets_max more are refused.";
    FOLDED_OBJECTS = Gauge "whimbrel_metrics_folded_objects" ["kind"]:
        "Topics, subscriptions and groups without series of their own: they are summed up under the name \
         _other. Above 0, ask the API for a single one.";
    ALERTS = Gauge "whimbrel_alerts" ["state"]:
        "Alerts that are pending or firing. Counted on the node that leads; look at /alerts for which they are.";
    ALERTS_LEFT_OUT = Gauge "whimbrel_alerts_left_out" []:
        "Alerts for which there was no room at the last evaluation. Above 0 a rule is true of too many objects: \
         narrow its selector.";
    ALERT_EVALUATIONS = Counter "whimbrel_alert_evaluations_total" []:
        "Times that all rules were held against what there is. When it stands still on the node that leads, nobody watches.";
    ALERT_EVALUATION_SECONDS = Gauge "whimbrel_alert_evaluation_seconds" []:
        "How long the last evaluation of all rules took. Near alert_interval, raise that or have fewer rules.";
    NOTIFICATIONS = Counter "whimbrel_notifications_total" ["receiver", "outcome"]:
        "Tries to deliver a notification, by how they ended: delivered, failed (tried again) or given_up. \
         When failed rises, look at the deliveries of the receiver.";
    NOTIFICATIONS_WAITING = Gauge "whimbrel_notifications_waiting" ["receiver"]:
        "Notifications that a receiver has not taken yet. Above 0 for long, it does not answer.";
    BUILD_INFO = Gauge "whimbrel_build_info" ["version"]:
        "Always 1; the label says which version runs.";
    // The process, under the names every Prometheus client uses.
    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" []:
        "CPU time used, user and system. A rate near the number of cores: the machine is the limit.";
    PROCESS_RESIDENT_MEMORY_BYTES = Gauge "process_resident_memory_bytes" []:
        "Memory in use. It follows the work in progress, not the backlog; a steady rise at steady load is \
         worth a report.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []:
        "Open file descriptors: segments, connections, sockets. Near process_max_fds nothing more can be \
         opened.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []:
        "Most file descriptors the process may open (ulimit -n, LimitNOFILE=).";
    PROCESS_START_TIME_SECONDS = Gauge "process_start_time_seconds" []:
        "When the process started, in seconds since 1970. A change is a restart, and all counters begin at \
         0 again.";
    // Queues; only at `/metrics/per-object`.
    QUEUE_FIRST_KEPT_OFFSET = Gauge "whimbrel_queue_first_kept_offset" ["topic", "queue"]:
        "The lowest offset of the queue that can still be read.";
    QUEUE_NEXT_OFFSET = Gauge "whimbrel_queue_next_offset" ["topic", "queue"]:
        "The offset that the next message of the queue gets. Queues of one topic that grow unevenly: few \
         ordering keys carry most messages.";
    QUEUE_LAG_MESSAGES = Gauge "whimbrel_queue_lag_messages" ["topic", "queue", "group"]:
        "Messages of the queue that the group has not settled; with a filter an upper bound. One queue far \
         above the others: its lane is blocked by a message that fails.";
    QUEUE_CURSOR_OFFSET = Gauge "whimbrel_queue_cursor_offset" ["topic", "queue", "group"]:
        "The lowest offset of the queue that the group has not settled. Standing still with lag: look at \
         that message.";
    QUEUE_SAMPLES_OMITTED = Gauge "whimbrel_metrics_queue_samples_omitted" []:
        "Samples of queues left out of this answer, because it holds at most 20000. Name a topic with \
         ?topic= to see its queues.";
}
