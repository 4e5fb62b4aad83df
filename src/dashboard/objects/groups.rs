//! `/groups` and `/groups/{group}`.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::ROWS;
use super::cells::GroupRow;
use super::seek::{self, SeekForm};
use crate::broker::{Broker, BrokerError, ClientView, Deaths, Explanation, Failures, GroupTopicView};
use crate::dashboard::chart::{self, Charts};
use crate::dashboard::desk::Desk;
use crate::dashboard::editor::{self, Edited, Editor, InputValue};
use crate::dashboard::fields::{Fields, address};
use crate::dashboard::form::{Form, confirmed};
use crate::dashboard::format::{self, filters};
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::named::Named;
use crate::dashboard::visit::{FormError, Visit};
use crate::dashboard::words::Objects;
use crate::machine::Expected;
use crate::model::{Filter, GroupName, GroupSettings, Millis, TopicName};
use crate::observe::history::{Measure, Subject, Window};

/// Most members that the page of a group names.
const MEMBERS_MAX: usize = 50;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/groups", get(list).post(create))
        .route("/groups/{group}", get(show))
        .route("/groups/{group}/settings", post(save))
        .route("/groups/{group}/pause", post(pause))
        .route("/groups/{group}/resume", post(resume))
        .route("/groups/{group}/seek", post(seek_to))
        .route("/groups/{group}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage {
    frame: Frame,
    words: &'static Objects,
    rows: Vec<GroupRow>,
    asked_name: String,
    asked_topic: String,
    asked_ordered: bool,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    frame: Frame,
    words: &'static Objects,
    group: GroupRow,
    /// Where it stands in each of its topics.
    topics: Vec<GroupTopicView>,
    charts: Charts,
    /// What the lag does, and when it is gone.
    trend: String,
    clear: String,
    explanation: Explanation,
    members: Vec<ClientView>,
    /// Not for a part that renews itself: it reads a part of the log.
    past: Option<Past>,
    editor: Editor,
    seek: SeekForm,
    /// Places that it may be moved to.
    places: [(&'static str, &'static str); 4],
    /// Where the forms go.
    save_to: String,
    delete_at: String,
}

/// What went wrong in a group.
struct Past {
    deaths: Deaths,
    failures: Failures,
}

impl Past {
    fn of(broker: &Broker, name: &GroupName) -> Result<Past, BrokerError> {
        Ok(Past { deaths: broker.deaths(name)?, failures: broker.failures(name)? })
    }
}

/// Where the lag is going, out of the last minute of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Trend {
    /// Messages a second that it grows by; negative: it shrinks.
    pub(super) per_s: Option<f32>,
    /// How long until there is none, at that pace.
    pub(super) clear_ms: Option<Millis>,
}

impl Trend {
    /// Over the values of the last minute, one a second, the oldest first.
    fn of(values: &[Option<f32>]) -> Trend {
        let minute = values.get(values.len().saturating_sub(60)..).unwrap_or_default();
        let mut known = minute.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?)));
        let (Some((from, first)), Some((to, last))) = (known.next(), known.next_back()) else {
            return Trend::default();
        };
        let per_s = (last - first) / (to - from) as f32;
        let clear_ms =
            (per_s < 0.0 && last > 0.0).then(|| chart::whole(f64::from(last) / f64::from(-per_s) * 1e3));
        Trend { per_s: Some(per_s), clear_ms }
    }
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let gather = |broker: &Broker, frame, visit: &Visit| {
        let cursor = visit.fields.one("cursor");
        let found = broker.groups(cursor, ROWS);
        let next = found.next_cursor.as_deref();
        Ok(GroupsPage {
            frame,
            words: Objects::of(visit.lang),
            next: next.map(|next| address("/groups", [("cursor", Some(next))])),
            rows: found.rows.iter().map(GroupRow::from).collect(),
            asked_name: visit.fields.kept("name").to_owned(),
            asked_topic: visit.fields.kept("topic").to_owned(),
            asked_ordered: visit.fields.one("ordered").is_some(),
            first: cursor.map(|_| "/groups".to_owned()),
        })
    };
    visit.show(&desk, Section::Groups, gather).await
}

async fn create(State(desk): State<Desk>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let read = || -> Result<(GroupName, GroupSettings), FormError> {
        let (name, topic) = (fields.needed::<GroupName>("name")?, fields.needed::<TopicName>("topic")?);
        let subscriptions = vec![crate::model::Subscription { topic, filter: Filter::All }];
        let ordered = fields.one("ordered").is_some();
        Ok((name, GroupSettings { subscriptions, ordered, ..GroupSettings::default() }))
    };
    let made = match read() {
        Ok((name, settings)) => {
            let put = desk.broker.put_group(name.clone(), settings, Expected::Missing, true).await;
            put.map(|_| name).map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(name) => visit.lead_on(&page_of(&name)),
        Err(error) => list(State(desk), visit.again("/groups", fields, &error)).await,
    }
}

fn page_of(name: &GroupName) -> String {
    format!("/groups/{name}")
}

async fn show(State(desk): State<Desk>, Named(name): Named<GroupName>, visit: Visit) -> Response {
    shown(&desk, visit, name, Forms::default()).await
}

/// Forms as they were sent.
#[derive(Default)]
struct Forms {
    settings: Option<Editor>,
    seek: SeekForm,
}

async fn shown(desk: &Desk, visit: Visit, name: GroupName, forms: Forms) -> Response {
    let gather = move |broker: &Broker, frame, visit: &Visit| page(broker, (frame, visit), &name, forms);
    visit.show(desk, Section::Groups, gather).await
}

fn page(
    broker: &Broker,
    (frame, visit): (Frame, &Visit),
    name: &GroupName,
    forms: Forms,
) -> Result<GroupPage, BrokerError> {
    let words = Objects::of(visit.lang);
    let group = broker.group(name)?;
    let subject = Subject::Group(name.clone());
    let wanted = [
        (Measure::LagMessages, words.lag_messages),
        (Measure::LagSeconds, words.lag_age),
        (Measure::AckedMessages, words.acked),
        (Measure::FailedDeliveries, words.failed),
    ];
    let past = broker.history(&subject, &[Measure::LagMessages], Window::TenMinutes)?;
    let trend = Trend::of(past.curves.values(Measure::LagMessages));
    Ok(GroupPage {
        frame,
        words,
        charts: Charts::gather(broker, visit, &subject, &wanted)?,
        trend: trend.per_s.map_or_else(
            || "–".to_owned(),
            |rate| format::with(words.trend_rate, &[&format!("{:+.1}", (rate * 10.0).round() / 10.0 + 0.0)]),
        ),
        clear: match (trend.clear_ms, trend.per_s) {
            (Some(clear_ms), _) => format::with(words.clear_in, &[&format::duration(Some(clear_ms))]),
            (None, Some(_)) if group.lag() > 0 => words.not_clearing.to_owned(),
            _ => String::new(),
        },
        explanation: broker.explain(name)?,
        members: broker.clients(None, Some(name), MEMBERS_MAX).rows,
        past: if visit.renews { None } else { Some(Past::of(broker, name)?) },
        editor: match forms.settings {
            Some(editor) => editor,
            // As they were set: a view also tells what an unset one comes to, and that is not to be saved.
            None => {
                let (settings, version) = broker.group_settings(name)?;
                Editor::of(&*settings, version, visit.lang)
            }
        },
        seek: forms.seek,
        places: [
            ("earliest", words.earliest),
            ("latest", words.latest),
            ("time", words.a_time),
            ("offset", words.an_offset),
        ],
        save_to: format!("{}/settings", page_of(name)),
        delete_at: format!("{}/delete", page_of(name)),
        group: GroupRow::from(&group),
        topics: group.topics,
    })
}

async fn save(State(desk): State<Desk>, Named(name): Named<GroupName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let (path, broker) = (page_of(&name), &desk.broker);
    let present = || {
        let (settings, version) = broker.group_settings(&name).ok()?;
        Some((GroupSettings::clone(&settings), version))
    };
    let put = |settings, expected| broker.put_group(name.clone(), settings, expected, true);
    let (visit, editor) = match editor::submit(&fields, (visit.lang, broker.now()), present, put).await {
        Edited::Saved => return visit.lead_on(&path),
        Edited::Shown(editor) => (visit.at(path).with_found("diff"), editor),
        Edited::Refused(error, editor) => (visit.again(path, Fields::default(), &error), editor),
    };
    shown(&desk, visit, name, Forms { settings: Some(editor), ..Forms::default() }).await
}

async fn pause(State(desk): State<Desk>, Named(name): Named<GroupName>, form: Form) -> Response {
    set_paused(&desk, name, form, true).await
}

async fn resume(State(desk): State<Desk>, Named(name): Named<GroupName>, form: Form) -> Response {
    set_paused(&desk, name, form, false).await
}

async fn set_paused(desk: &Desk, name: GroupName, form: Form, paused: bool) -> Response {
    match desk.broker.pause_group(name.clone(), paused).await {
        Ok(()) => form.visit.lead_on(&page_of(&name)),
        Err(error) => form.visit.failed(desk, &error),
    }
}

async fn seek_to(State(desk): State<Desk>, Named(name): Named<GroupName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let path = page_of(&name);
    let kept = SeekForm::of(&fields);
    let done = match seek::read(&fields, desk.broker.now()) {
        Ok(wish) => {
            let moved = desk.broker.seek(name.clone(), wish.topic, wish.to, wish.is_trial).await;
            moved.map(|counts| (wish.is_trial, wish.to, counts)).map_err(FormError::from)
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok((false, ..)) => visit.lead_on(&path),
        Ok((true, to, counts)) => {
            let (visit, seek) = (visit.at(path).with_found("would"), kept.with_counts(to, counts));
            shown(&desk, visit, name, Forms { seek, ..Forms::default() }).await
        }
        Err(error) => {
            let visit = visit.again(path, Fields::default(), &error);
            shown(&desk, visit, name, Forms { seek: kept, ..Forms::default() }).await
        }
    }
}

async fn delete(State(desk): State<Desk>, Named(name): Named<GroupName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    let done = match confirmed(&fields, &visit, name.as_str()) {
        Ok(()) => {
            desk.broker.delete_group(name.clone(), true, Expected::Anything).await.map_err(FormError::from)
        }
        Err(error) => Err(error),
    };
    let error = match done {
        Ok(()) => return visit.lead_on("/groups"),
        Err(error) => error,
    };
    shown(&desk, visit.again(page_of(&name), Fields::default(), &error), name, Forms::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_says_how_long_it_takes_and_nothing_when_it_is_not_known() {
        let falling: Vec<Option<f32>> = (0..11).map(|second| Some(100.0 - 5.0 * second as f32)).collect();
        assert_eq!(Trend::of(&falling), Trend { per_s: Some(-5.0), clear_ms: Some(10_000) });
        let rising = [Some(1.0), None, Some(5.0)];
        assert_eq!(Trend::of(&rising), Trend { per_s: Some(2.0), clear_ms: None });
        let gone = [Some(4.0), Some(0.0)];
        assert_eq!(Trend::of(&gone), Trend { per_s: Some(-4.0), clear_ms: None }, "there is none to clear");
        assert_eq!(Trend::of(&[None, Some(3.0)]), Trend::default());
        assert_eq!(Trend::of(&[]), Trend::default());
    }
}
