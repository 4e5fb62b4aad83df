//! What stands around every page: navigation, search, the state of the node, and what the page says about the form
//! that was just sent.

use super::assets::{ASSETS, Assets};
use super::gather::NodeState;
use super::visit::Visit;
use super::words::{Common, Lang, Theme};
use crate::broker::Broker;
use crate::model::Timestamp;

/// A part of the dashboard. Each has a line in [`SECTIONS`], in the order of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// `/`
    Overview,
    /// `/topics` and below.
    Topics,
    /// `/groups` and below.
    Groups,
    /// `/messages` and below, and `/send`.
    Messages,
    /// `/dead-letters` and below.
    DeadLetters,
    /// `/scheduled` and below.
    Scheduled,
    /// `/jobs` and below.
    Jobs,
    /// `/clients`
    Clients,
    /// `/alerts` and below.
    Alerts,
    /// `/config`
    Config,
    /// Pages that the navigation does not list.
    Elsewhere,
}

/// Where a part is, and what it is called.
type Place = (Section, &'static str, fn(&Common) -> &'static str);

/// The navigation.
const SECTIONS: &[Place] = &[
    (Section::Overview, "/", |words| words.overview),
    (Section::Topics, "/topics", |words| words.topics),
    (Section::Groups, "/groups", |words| words.groups),
    (Section::Messages, "/messages", |words| words.messages),
    (Section::DeadLetters, "/dead-letters", |words| words.dead_letters),
    (Section::Scheduled, "/scheduled", |words| words.scheduled),
    (Section::Jobs, "/jobs", |words| words.jobs),
    (Section::Clients, "/clients", |words| words.clients),
    (Section::Alerts, "/alerts", |words| words.alerts),
    (Section::Config, "/config", |words| words.config),
];

/// What every template gets as `frame`.
#[derive(Debug)]
pub(super) struct Frame {
    /// The static files.
    pub(super) assets: &'static Assets,
    /// The language of the page.
    pub(super) lang: Lang,
    /// The colours of the page.
    pub(super) theme: Theme,
    /// Words that many pages use.
    pub(super) words: &'static Common,
    /// The version of the running binary.
    pub(super) version: &'static str,
    /// The node that answers; none where it is not asked.
    pub(super) node: Option<NodeState>,
    /// Log time when the numbers were taken.
    pub(super) as_of: Option<Timestamp>,
    /// What stands in the field `token` of a form.
    pub(super) token: String,
    /// This very page, for fetching it anew.
    pub(super) here: String,
    /// What went wrong with the form that this page is shown again for.
    pub(super) trouble: Option<String>,
    /// The part of the page that shows what somebody asked to see first, by its id.
    pub(super) found: Option<&'static str>,
    /// Whether a form was just done that led here.
    pub(super) done: bool,
    /// Whether the page says how it is shown, so that the switches can be offered.
    pub(super) switches: Option<Switches>,
    section: Section,
}

/// This page in another language, in other colours.
#[derive(Debug)]
pub(super) struct Switches {
    /// In English, in Chinese.
    pub(super) langs: [(Lang, String); 2],
    /// In each colour.
    pub(super) themes: [(Theme, String); 3],
}

/// One line of the navigation.
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) current: bool,
}

impl Frame {
    /// The frame of a page as the broker stands now.
    pub(super) fn gather(broker: &Broker, section: Section, visit: &Visit) -> Frame {
        let time = broker.node().log_time;
        Frame {
            lang: visit.lang,
            theme: visit.theme,
            words: visit.common(),
            node: Some(NodeState::gather(&broker.readiness())),
            as_of: Some(time).filter(|time| *time > Timestamp(0)),
            token: visit.token.token.clone(),
            here: visit.shown_as(None, None),
            trouble: visit.trouble.clone(),
            found: visit.found,
            done: visit.is_done(),
            switches: Some(Switches {
                langs: [Lang::En, Lang::Zh].map(|lang| (lang, visit.shown_as(Some(lang), None))),
                themes: [Theme::Auto, Theme::Light, Theme::Dark]
                    .map(|theme| (theme, visit.shown_as(None, Some(theme)))),
            }),
            section,
            ..Frame::plain()
        }
    }

    /// The frame of a page that is the same for everybody: in English, without forms.
    pub(super) fn plain() -> Frame {
        Frame {
            assets: &ASSETS,
            lang: Lang::En,
            theme: Theme::Auto,
            words: Common::of(Lang::En),
            version: env!("CARGO_PKG_VERSION"),
            node: None,
            as_of: None,
            token: String::new(),
            here: String::new(),
            trouble: None,
            found: None,
            done: false,
            switches: None,
            section: Section::Elsewhere,
        }
    }

    /// The navigation.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        let link = |(section, path, name): &Place| Link {
            path,
            name: name(self.words),
            current: *section == self.section,
        };
        SECTIONS.iter().map(link)
    }
}
