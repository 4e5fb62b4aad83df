//! `/dead-letters`: groups that have any; those of one group; one of them.

mod letters;
mod one;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::desk::Desk;
use super::fields::{Fields, address};
use super::form::{Form, confirmed};
use super::format::filters;
use super::frame::{Frame, Section};
use super::named::Named;
use super::visit::{FormError, MOVED, PURGED, Visit};
use super::words;
use crate::broker::BrokerError;
use crate::machine::RedriveOrder;
use crate::model::{DeadLetterFilter, GroupName, JobId, MessageId, SETTLE_MAX};
use letters::{FilterForm, Letters, REASONS, Redriving};

/// Groups of one page.
const GROUPS: usize = 200;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/dead-letters", get(index))
        .route("/dead-letters/{group}", get(list))
        .route("/dead-letters/{group}/redrive", post(redrive))
        .route("/dead-letters/{group}/purge", post(purge))
        .route("/dead-letters/{group}/{id}", get(one::show))
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct IndexTemplate<'a> {
    frame: Frame,
    words: &'static words::Letters,
    groups: &'a [(GroupName, u64)],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "dead_letters_of.html")]
struct ListTemplate<'a> {
    frame: Frame,
    words: &'static words::Letters,
    page: &'a Letters,
    reasons: [&'static str; 3],
    notice: Option<&'a Notice>,
}

/// What became of what was asked for.
#[derive(Clone, Debug)]
enum Notice {
    /// Letters were redriven; those that were not, and why.
    Moved { moved: u64, failed: Vec<(MessageId, String)> },
    /// So many would be.
    WouldMove { count: u64, looked: u64, truncated: bool },
    /// So many were thrown away.
    Purged(u64),
}

/// What was done about a redrive.
enum Done {
    Told(Notice),
    Started(JobId),
}

async fn index(State(desk): State<Desk>, visit: Visit) -> Response {
    let after = match visit.fields.parsed::<GroupName>("cursor") {
        Ok(after) => after,
        Err(error) => return visit.unread(&desk, error),
    };
    let found = desk.broker.groups_with_dead_letters(after.as_ref(), GROUPS);
    let next = found.next_cursor.map(|cursor| address("/dead-letters", [("cursor", Some(cursor.as_str()))]));
    let (frame, words) = (visit.frame(&desk, Section::DeadLetters), words::Letters::of(visit.lang));
    visit.page(&IndexTemplate { frame, words, groups: &found.rows, next })
}

async fn list(State(desk): State<Desk>, Named(group): Named<GroupName>, visit: Visit) -> Response {
    let number = |name| visit.fields.one(name).and_then(|number| number.parse::<u64>().ok());
    let notice = match (number(MOVED), number(PURGED)) {
        (Some(moved), _) => Some(Notice::Moved { moved, failed: Vec::new() }),
        (_, Some(purged)) => Some(Notice::Purged(purged)),
        _ => None,
    };
    listed(&desk, visit, group, notice).await
}

/// The dead letters of a group that fit the fields of the visit, under a notice.
async fn listed(desk: &Desk, mut visit: Visit, group: GroupName, notice: Option<Notice>) -> Response {
    let cursor = || visit.fields.parsed::<MessageId>("cursor");
    let read = FilterForm::read(&visit.fields, desk.broker.now()).and_then(|filter| Ok((filter, cursor()?)));
    let (filter, cursor) = match read {
        Ok(read) => read,
        Err(error) => {
            let fields = visit.fields.clone();
            visit = visit.again(page_of(&group), fields, &error.into());
            (DeadLetterFilter::default(), None)
        }
    };
    let fields = visit.fields.clone();
    let gathered =
        desk.broker.look(move |broker| Letters::gather(broker, group, (&filter, cursor), &fields)).await;
    match gathered {
        Ok(letters) => visit.page(&ListTemplate {
            frame: visit.frame(desk, Section::DeadLetters),
            words: words::Letters::of(visit.lang),
            page: &letters,
            reasons: REASONS.map(crate::model::DeadReason::as_str),
            notice: notice.as_ref(),
        }),
        Err(error) => visit.failed(desk, &error),
    }
}

fn page_of(group: &GroupName) -> String {
    format!("/dead-letters/{group}")
}

/// The page again after a form that cannot be done: what it was about, and what is wrong.
async fn again(
    desk: &Desk,
    visit: Visit,
    (group, fields): (GroupName, Fields),
    error: &FormError,
) -> Response {
    let visit = visit.again(page_of(&group), fields, error);
    listed(desk, visit, group, None).await
}

async fn redrive(State(desk): State<Desk>, Named(group): Named<GroupName>, form: Form) -> Response {
    let Form { fields, mut visit, .. } = form;
    let read =
        Redriving::read(&fields).and_then(|wish| Ok((wish, FilterForm::read(&fields, desk.broker.now())?)));
    let (wish, filter) = match read {
        Ok(read) => read,
        Err(error) => return again(&desk, visit, (group, fields), &error.into()).await,
    };
    match redriven(&desk, &visit, &group, (wish, filter)).await {
        Ok(Done::Started(id)) => Redirect::to(&format!("/jobs/{id}")).into_response(),
        // Whoever reloads does not send the form again.
        Ok(Done::Told(Notice::Moved { moved, failed })) if failed.is_empty() => {
            let (form, moved) = (FilterForm::of(&fields), moved.to_string());
            let more = [("cursor", fields.one("cursor")), (MOVED, Some(moved.as_str()))];
            Redirect::to(&form.address(&group, more)).into_response()
        }
        Ok(Done::Told(notice)) => {
            (visit.path, visit.fields) = (page_of(&group), fields);
            listed(&desk, visit, group, Some(notice)).await
        }
        Err(error) => again(&desk, visit, (group, fields), &error.into()).await,
    }
}

async fn redriven(
    desk: &Desk,
    visit: &Visit,
    group: &GroupName,
    (wish, filter): (Redriving, DeadLetterFilter),
) -> Result<Done, BrokerError> {
    let Redriving { to, rate_per_s, dry_run, ids } = wish;
    let (group, broker) = (group.clone(), &desk.broker);
    let counted = match (ids, dry_run) {
        (Some(ids), false) => {
            let ids: Vec<MessageId> = ids.into_iter().take(SETTLE_MAX).collect();
            let outcomes = broker.redrive(group, ids.clone(), to).await?;
            let failed = ids.iter().zip(&outcomes).filter_map(|(id, outcome)| {
                outcome.as_ref().err().map(|error| (*id, visit.told(&error.to_string())))
            });
            let failed: Vec<_> = failed.collect();
            let moved = (outcomes.len() - failed.len()) as u64;
            return Ok(Done::Told(Notice::Moved { moved, failed }));
        }
        (None, false) => {
            let order = RedriveOrder { group, filter: filter.into(), to, rate_per_s };
            return Ok(Done::Started(broker.start_redrive(order).await?.id));
        }
        (Some(ids), true) => broker.look(move |broker| broker.dry_run_ids(&group, &ids, to.as_ref())).await?,
        (None, true) => broker.look(move |broker| broker.dry_run(&group, &filter, to.as_ref())).await?,
    };
    let (count, looked, truncated) = (counted.would_move, counted.looked, counted.truncated);
    Ok(Done::Told(Notice::WouldMove { count, looked, truncated }))
}

async fn purge(State(desk): State<Desk>, Named(group): Named<GroupName>, form: Form) -> Response {
    let Form { fields, visit, .. } = form;
    if let Err(error) = confirmed(&fields, &visit, group.as_str()) {
        return again(&desk, visit, (group, fields), &error).await;
    }
    match desk.broker.purge_dead_letters(group.clone()).await {
        Ok(purged) => {
            let purged = purged.to_string();
            Redirect::to(&address(&page_of(&group), [(PURGED, Some(purged.as_str()))])).into_response()
        }
        Err(error) => visit.failed(&desk, &error),
    }
}
