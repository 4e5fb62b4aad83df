//! The status page at `/`: what this node is, its topics and its groups.

use askama::Template;

use super::assets::{ASSETS, Assets};
use super::format::filters;
use super::page::{self, RenderError};
use crate::model::{GroupName, Millis, Timestamp, TopicName};

/// Most rows of each table that a page shows.
pub const ROWS_MAX: usize = 200;

/// Everything the status page shows. A number that its owner does not know at the moment is `None`, shown as "–".
#[derive(Clone, Debug)]
pub struct StatusPage {
    /// The version of the running binary.
    pub version: &'static str,
    /// Log time when the numbers were taken.
    pub as_of: Option<Timestamp>,
    /// The node that answers.
    pub node: NodeFacts,
    /// The topics, in the order to show them, at most [`ROWS_MAX`].
    pub topics: Vec<TopicRow>,
    /// Whether there are topics that are not among `topics`.
    pub more_topics: bool,
    /// The groups, in the order to show them, at most [`ROWS_MAX`].
    pub groups: Vec<GroupRow>,
    /// Whether there are groups that are not among `groups`.
    pub more_groups: bool,
}

/// One node, as its operator sees it.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// `host:port` that clients reach it at.
    pub address: String,
    /// Where it keeps its data.
    pub data_dir: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Its state in a few words: "ready", "recovering", "draining", "disk full: producers are refused".
    pub state: String,
    /// Time since the process started.
    pub uptime_ms: Option<Millis>,
    /// Bytes of all segments.
    pub log_bytes: Option<u64>,
    /// Bytes that the file system has left.
    pub free_bytes: Option<u64>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicRow {
    /// Its name.
    pub name: TopicName,
    /// How many queues it has.
    pub queues: u16,
    /// Messages that can still be read, in all queues.
    pub kept: Option<u64>,
    /// Messages accepted and not yet due.
    pub scheduled: Option<u64>,
}

/// One consumer group.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// Its name.
    pub name: GroupName,
    /// The topics it reads.
    pub topics: Vec<TopicName>,
    /// Whether it keeps the order of each lane.
    pub ordered: bool,
    /// Whether it takes no new leases.
    pub paused: bool,
    /// Matching messages that are ready, leased or retrying.
    pub lag: Option<u64>,
    /// Whether `lag` still counts messages that may turn out not to match the filter; then it is shown as a bound.
    pub counting: bool,
    /// Age since ready of the oldest message of the lag.
    pub oldest_ms: Option<Millis>,
    /// Messages that could be leased now.
    pub ready: Option<u64>,
    /// Messages leased now.
    pub leased: Option<u64>,
    /// Messages that wait for their next attempt.
    pub retrying: Option<u64>,
    /// Dead letters.
    pub dead: Option<u64>,
}

impl GroupRow {
    fn has_dead(&self) -> bool {
        self.dead.is_some_and(|dead| dead > 0)
    }
}

impl StatusPage {
    /// The page as HTML; every text in it is escaped.
    ///
    /// # Errors
    /// When the template cannot be filled in, which no content leads to.
    pub fn render(&self) -> Result<String, RenderError> {
        page::render(&StatusTemplate { assets: &ASSETS, page: self })
    }
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusTemplate<'a> {
    assets: &'a Assets,
    page: &'a StatusPage,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> StatusPage {
        StatusPage {
            version: "1.2.3",
            as_of: Some(Timestamp(1_700_000_000_123)),
            node: NodeFacts {
                address: "127.0.0.1:8080".to_owned(),
                data_dir: "./data".to_owned(),
                ready: true,
                state: "ready".to_owned(),
                uptime_ms: Some(61_000),
                log_bytes: Some(1_536),
                free_bytes: None,
            },
            topics: Vec::new(),
            more_topics: false,
            groups: Vec::new(),
            more_groups: false,
        }
    }

    fn busy() -> StatusPage {
        let topic: TopicName = "orders".parse().unwrap();
        StatusPage {
            topics: vec![TopicRow { name: topic.clone(), queues: 4, kept: Some(12_345), scheduled: None }],
            more_topics: true,
            groups: vec![GroupRow {
                name: "billing".parse().unwrap(),
                topics: vec![topic],
                ordered: true,
                paused: true,
                lag: Some(30),
                counting: false,
                oldest_ms: Some(2_000),
                ready: None,
                leased: Some(20),
                retrying: Some(10),
                dead: Some(1),
            }],
            ..empty()
        }
    }

    #[test]
    fn an_empty_broker_says_how_to_begin() {
        let html = empty().render().unwrap();
        assert!(html.contains("curl -d 'hello' http://127.0.0.1:8080/v1/topics/greetings/messages"));
        assert!(html.contains("Whimbrel 1.2.3"));
        assert!(html.contains("2023-11-14T22:13:20.123Z"));
        assert!(html.contains("<dd>1 min 1 s</dd>"));
        assert!(!html.contains("<table"));
    }

    #[test]
    fn the_tables_show_numbers_and_a_dash_for_what_is_not_known() {
        let html = busy().render().unwrap();
        assert!(!html.contains("curl"));
        assert!(html.contains("<th scope=\"row\">orders</th><td class=\"n\" data-label=\"Queues\">4</td>"));
        assert!(html.contains("12\u{202f}345</td><td class=\"n\" data-label=\"Scheduled\">–</td>"));
        assert!(html.contains("GET /v1/topics") && !html.contains("GET /v1/groups"));
        for (label, cell) in
            [("Lag", "30"), ("Oldest", "2 s"), ("Ready", "–"), ("Leased", "20"), ("Retrying", "10")]
        {
            assert!(html.contains(&format!("<td class=\"n\" data-label=\"{label}\">{cell}</td>")), "{label}");
        }
        assert!(html.contains("<td class=\"n alarm\" data-label=\"Dead\">1</td>"));
        assert!(html.contains("ordered") && html.contains("paused"));
    }

    #[test]
    fn a_lag_that_is_still_being_counted_is_a_bound() {
        let mut page = busy();
        page.groups[0].counting = true;
        assert!(page.render().unwrap().contains("data-label=\"Lag\">≤ 30</td>"));
    }

    #[test]
    fn a_zero_steps_back_and_an_unknown_number_does_not() {
        let mut page = busy();
        (page.groups[0].retrying, page.groups[0].ready) = (Some(0), None);
        let html = page.render().unwrap();
        assert!(html.contains("<td class=\"n zero\" data-label=\"Retrying\">0</td>"));
        assert!(html.contains("<td class=\"n\" data-label=\"Ready\">–</td>"));
    }

    #[test]
    fn pages_hold_no_script_no_inline_style_and_escape_what_they_show() {
        let mut page = busy();
        page.node.data_dir = "<script>alert(1)</script>".to_owned();
        page.node.state = "\"><img src=x>".to_owned();
        let html = page.render().unwrap();
        for forbidden in ["<script", "<style", " style=", "onclick", "<img src=x"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert!(html.contains(&ASSETS.style) && html.contains(&ASSETS.mark));
    }
}
