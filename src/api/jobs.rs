//! Jobs: list, look at one, cancel. `redrive.rs` starts them.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json, list};
use super::json_out::Json;
use super::options::Api;
use crate::broker::JobView;
use crate::model::JobId;

/// `GET /v1/jobs`: the newest first.
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<JobId>("jobs")?;
    call.query.finish()?;
    Ok(list("jobs", &api.broker.jobs(cursor, limit), write_job))
}

/// `GET /v1/jobs/{id}`
pub(super) async fn show(State(api): State<Api>, call: Call) -> Answer {
    let id: JobId = call.path("id")?;
    call.query.finish()?;
    Ok(job_json(&api.broker.job(id)?, StatusCode::OK))
}

/// `DELETE /v1/jobs/{id}`: cancels; what it moved stays moved.
pub(super) async fn cancel(State(api): State<Api>, call: Call) -> Answer {
    let id: JobId = call.path("id")?;
    call.query.finish()?;
    Ok(job_json(&api.broker.cancel_job(id).await?, StatusCode::OK))
}

/// An answer that is one job.
pub(super) fn job_json(view: &JobView, status: StatusCode) -> axum::response::Response {
    let mut out = Json::with_capacity(512);
    write_job(&mut out, view);
    json(status, out)
}

fn write_job(out: &mut Json, view: &JobView) {
    out.open();
    out.key("id");
    out.plain(view.id);
    out.text_field("kind", "redrive");
    out.key("group");
    out.plain(&view.group);
    out.key("filter");
    out.value(&*view.filter);
    out.key("to");
    out.maybe_text(view.to.as_ref().map(|name| name.as_str()));
    out.key("rate_per_s");
    out.maybe_number(view.rate_per_s.map(u64::from));
    out.text_field("state", view.state);
    out.key("error");
    out.maybe_text(view.error);
    out.number_field("total", view.total);
    out.number_field("looked", view.looked);
    out.number_field("moved", view.moved);
    out.number_field("failed", view.failed);
    out.number_field("moved_per_s", view.moved_per_s);
    out.key("eta_ms");
    out.maybe_number(view.eta_ms);
    out.key("started_at");
    out.plain(view.started_at);
    out.key("ended_at");
    match view.ended_at {
        Some(at) => out.plain(at),
        None => out.null(),
    }
    out.close();
}
