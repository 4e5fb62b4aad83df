//! `/jobs`: redrives by filter, those that run and the last that have ended.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::assets::{ASSETS, Assets};
use super::desk::Desk;
use super::fields::{Asked, address};
use super::form::Form;
use super::format::filters;
use super::{oops, page};
use crate::broker::JobView;
use crate::dashboard::visible::visible;
use crate::model::{DeadLetterFilter, JobId};

/// Jobs of one page.
const ROWS: usize = 50;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/jobs", get(list))
        .route("/jobs/{id}", get(show))
        .route("/jobs/{id}/cancel", post(cancel))
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsTemplate<'a> {
    assets: &'a Assets,
    jobs: &'a [JobRow],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
    job: &'a JobRow,
}

/// A job, ready to be shown.
#[derive(Clone, Debug)]
struct JobRow {
    view: JobView,
    /// How far it is, in hundredths.
    percent: u64,
    /// What its filter asks for; nothing: all dead letters.
    filter: Vec<(&'static str, String)>,
}

impl JobRow {
    fn of(view: JobView) -> JobRow {
        let percent = match view.ended_at {
            Some(_) if view.state == "done" => 100,
            _ => (view.looked * 100).checked_div(view.total).unwrap_or(0).min(100),
        };
        JobRow { percent, filter: asked_for(&view.filter), view }
    }

    fn runs(&self) -> bool {
        self.view.ended_at.is_none()
    }
}

/// A filter as pairs of a word and a text.
fn asked_for(filter: &DeadLetterFilter) -> Vec<(&'static str, String)> {
    let texts = [
        ("reason", filter.reason.map(|reason| reason.as_str().to_owned())),
        ("topic", filter.topic.as_ref().map(ToString::to_string)),
        ("tag", filter.tag.as_deref().map(|text| visible(text).into_owned())),
        ("key", filter.key.as_deref().map(|text| visible(text).into_owned())),
        ("failure contains", filter.failure_contains.as_deref().map(|text| visible(text).into_owned())),
        ("dead from", filter.from.as_ref().map(ToString::to_string)),
        ("dead before", filter.to.as_ref().map(ToString::to_string)),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

async fn list(State(desk): State<Desk>, Asked(asked): Asked) -> Response {
    let cursor = match asked.parsed::<JobId>("cursor") {
        Ok(cursor) => cursor,
        Err(error) => return oops::refused(StatusCode::BAD_REQUEST, &error.text),
    };
    let found = desk.broker.jobs(cursor, ROWS);
    let jobs: Vec<JobRow> = found.rows.into_iter().map(JobRow::of).collect();
    let next = found.next_cursor.map(|cursor| address("/jobs", [("cursor", Some(cursor.as_str()))]));
    page::respond(page::render(&JobsTemplate { assets: &ASSETS, jobs: &jobs, next }))
}

async fn show(State(desk): State<Desk>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let job = match id.parse::<JobId>().map(|id| desk.broker.job(id)) {
        Ok(Ok(view)) => JobRow::of(view),
        Ok(Err(error)) => return oops::failed(&error),
        Err(_) => return oops::refused(StatusCode::NOT_FOUND, "There is no job of that name."),
    };
    let form = desk.csrf.token(&headers);
    let template = JobTemplate { assets: &ASSETS, token: &form.token, job: &job };
    form.with(page::respond(page::render(&template)))
}

async fn cancel(State(desk): State<Desk>, Path(id): Path<String>, _: Form) -> Response {
    let Ok(id) = id.parse::<JobId>() else {
        return oops::refused(StatusCode::NOT_FOUND, "There is no job of that name.");
    };
    match desk.broker.cancel_job(id).await {
        Ok(_) => Redirect::to(&format!("/jobs/{id}")).into_response(),
        Err(error) => oops::failed(&error),
    }
}
