//! `/dead-letters`: groups that have any; those of one group; one of them.

mod letters;
mod one;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::assets::{ASSETS, Assets};
use super::desk::Desk;
use super::fields::{Asked, FieldError, Fields, address};
use super::form::Form;
use super::format::filters;
use super::{oops, page};
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
    assets: &'a Assets,
    groups: &'a [(GroupName, u64)],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "dead_letters_of.html")]
struct ListTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
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
    /// A field cannot be read.
    Wrong(FieldError),
}

/// What was done about a redrive.
enum Done {
    Told(Notice),
    Started(JobId),
}

async fn index(State(desk): State<Desk>, Asked(asked): Asked) -> Response {
    let after = match asked.parsed::<GroupName>("cursor") {
        Ok(after) => after,
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let found = desk.broker.groups_with_dead_letters(after.as_ref(), GROUPS);
    let next = found.next_cursor.map(|cursor| address("/dead-letters", [("cursor", Some(cursor.as_str()))]));
    page::respond(page::render(&IndexTemplate { assets: &ASSETS, groups: &found.rows, next }))
}

async fn list(
    State(desk): State<Desk>,
    Path(group): Path<String>,
    Asked(asked): Asked,
    headers: HeaderMap,
) -> Response {
    let Ok(group) = group.parse::<GroupName>() else { return no_group() };
    let number = |name| asked.one(name).and_then(|number| number.parse::<u64>().ok());
    let notice = match (number("moved"), number("purged")) {
        (Some(moved), _) => Some(Notice::Moved { moved, failed: Vec::new() }),
        (_, Some(purged)) => Some(Notice::Purged(purged)),
        _ => None,
    };
    listed(&desk, &headers, (group, &asked), notice).await
}

/// The dead letters of a group that fit the fields, under a notice.
async fn listed(
    desk: &Desk,
    headers: &HeaderMap,
    (group, fields): (GroupName, &Fields),
    mut notice: Option<Notice>,
) -> Response {
    let read =
        FilterForm::read(fields).and_then(|filter| Ok((filter, fields.parsed::<MessageId>("cursor")?)));
    let (filter, cursor) = read.unwrap_or_else(|error| {
        notice = Some(Notice::Wrong(error));
        (DeadLetterFilter::default(), None)
    });
    let form = FilterForm::of(fields);
    let gathered =
        desk.broker.look(move |broker| Letters::gather(broker, group, (form, &filter), cursor)).await;
    let letters = match gathered {
        Ok(letters) => letters,
        Err(error) => return oops::failed(&error),
    };
    let token = desk.csrf.token(headers);
    let template = ListTemplate {
        assets: &ASSETS,
        token: &token.token,
        page: &letters,
        reasons: REASONS.map(crate::model::DeadReason::as_str),
        notice: notice.as_ref(),
    };
    let answer = token.with(page::respond(page::render(&template)));
    if matches!(notice, Some(Notice::Wrong(_))) {
        return (StatusCode::UNPROCESSABLE_ENTITY, answer).into_response();
    }
    answer
}

async fn redrive(State(desk): State<Desk>, Path(group): Path<String>, form: Form) -> Response {
    let Ok(group) = group.parse::<GroupName>() else { return no_group() };
    let fields = &form.fields;
    let read = Redriving::read(fields).and_then(|wish| Ok((wish, FilterForm::read(fields)?)));
    let done = match read {
        Ok((wish, filter)) => redriven(&desk, &group, wish, filter).await,
        Err(error) => Ok(Done::Told(Notice::Wrong(error))),
    };
    match done {
        Ok(Done::Started(id)) => Redirect::to(&format!("/jobs/{id}")).into_response(),
        // Whoever reloads does not send the form again.
        Ok(Done::Told(Notice::Moved { moved, failed })) if failed.is_empty() => {
            let moved = moved.to_string();
            let page = address(&format!("/dead-letters/{group}"), [("moved", Some(moved.as_str()))]);
            Redirect::to(&page).into_response()
        }
        Ok(Done::Told(notice)) => listed(&desk, &form.headers, (group, fields), Some(notice)).await,
        Err(error) => oops::failed(&error),
    }
}

async fn redriven(
    desk: &Desk,
    group: &GroupName,
    wish: Redriving,
    filter: DeadLetterFilter,
) -> Result<Done, BrokerError> {
    let Redriving { to, rate_per_s, dry_run, ids } = wish;
    let (group, broker) = (group.clone(), &desk.broker);
    let counted = match (ids, dry_run) {
        (Some(ids), false) => {
            let ids: Vec<MessageId> = ids.into_iter().take(SETTLE_MAX).collect();
            let outcomes = broker.redrive(group, ids.clone(), to).await?;
            let failed = ids
                .iter()
                .zip(&outcomes)
                .filter_map(|(id, outcome)| outcome.as_ref().err().map(|error| (*id, error.to_string())));
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

async fn purge(State(desk): State<Desk>, Path(group): Path<String>, form: Form) -> Response {
    let Ok(group) = group.parse::<GroupName>() else { return no_group() };
    if form.fields.one("confirm").map(str::trim) != Some(group.as_str()) {
        let wrong = FieldError::new(
            "confirm",
            format!("type {group} to throw its dead letters away; nothing was done"),
        );
        return listed(&desk, &form.headers, (group, &Fields::default()), Some(Notice::Wrong(wrong))).await;
    }
    match desk.broker.purge_dead_letters(group.clone()).await {
        Ok(purged) => {
            let purged = purged.to_string();
            let page = address(&format!("/dead-letters/{group}"), [("purged", Some(purged.as_str()))]);
            Redirect::to(&page).into_response()
        }
        Err(error) => oops::failed(&error),
    }
}

fn no_group() -> Response {
    oops::refused(StatusCode::NOT_FOUND, "There is no group of that name.")
}
