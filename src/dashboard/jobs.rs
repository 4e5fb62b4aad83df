//! `/jobs`: redrives by filter, those that run and the last that have ended.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};

use super::desk::Desk;
use super::fields::address;
use super::form::Form;
use super::format::filters;
use super::frame::{Frame, Section};
use super::named::Named;
use super::visit::Visit;
use super::words::{Common, Lang, Letters, Work};
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
    frame: Frame,
    words: &'static Work,
    jobs: &'a [JobRow],
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobTemplate<'a> {
    frame: Frame,
    words: &'static Work,
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
    fn of(view: JobView, lang: Lang) -> JobRow {
        let percent = match view.ended_at {
            Some(_) if view.state == "done" => 100,
            _ => (view.looked * 100).checked_div(view.total).unwrap_or(0).min(100),
        };
        JobRow { percent, filter: asked_for(&view.filter, lang), view }
    }

    fn runs(&self) -> bool {
        self.view.ended_at.is_none()
    }
}

/// A filter as pairs of a word and a text.
fn asked_for(filter: &DeadLetterFilter, lang: Lang) -> Vec<(&'static str, String)> {
    let (words, common) = (Letters::of(lang), Common::of(lang));
    let texts = [
        (words.reason, filter.reason.map(|reason| reason.as_str().to_owned())),
        (common.topic, filter.topic.as_ref().map(ToString::to_string)),
        (common.tag, filter.tag.as_deref().map(|text| visible(text).into_owned())),
        (common.key, filter.key.as_deref().map(|text| visible(text).into_owned())),
        (words.words_contain, filter.failure_contains.as_deref().map(|text| visible(text).into_owned())),
        (words.dead_from, filter.from.as_ref().map(ToString::to_string)),
        (words.dead_before, filter.to.as_ref().map(ToString::to_string)),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

async fn list(State(desk): State<Desk>, visit: Visit) -> Response {
    let cursor = match visit.fields.parsed::<JobId>("cursor") {
        Ok(cursor) => cursor,
        Err(error) => return visit.unread(&desk, error),
    };
    let found = desk.broker.jobs(cursor, ROWS);
    let jobs: Vec<JobRow> = found.rows.into_iter().map(|view| JobRow::of(view, visit.lang)).collect();
    let next = found.next_cursor.map(|cursor| address("/jobs", [("cursor", Some(cursor.as_str()))]));
    let (frame, words) = (visit.frame(&desk, Section::Jobs), Work::of(visit.lang));
    visit.page(&JobsTemplate { frame, words, jobs: &jobs, next })
}

async fn show(State(desk): State<Desk>, Named(id): Named<JobId>, visit: Visit) -> Response {
    let job = match desk.broker.job(id) {
        Ok(view) => JobRow::of(view, visit.lang),
        Err(error) => return visit.failed(&desk, &error),
    };
    let (frame, words) = (visit.frame(&desk, Section::Jobs), Work::of(visit.lang));
    visit.page(&JobTemplate { frame, words, job: &job })
}

async fn cancel(State(desk): State<Desk>, Named(id): Named<JobId>, form: Form) -> Response {
    match desk.broker.cancel_job(id).await {
        Ok(_) => form.visit.lead_on(&format!("/jobs/{id}")),
        Err(error) => form.visit.failed(&desk, &error),
    }
}
