//! Redrive: dead letters by id at once, or by filter as a job.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::extract::{Answer, Call, json, read_json};
use super::jobs::job_json;
use super::json_out::Json;
use super::options::Api;
use super::problem::Problem;
use crate::broker::{DryRun, RedriveAnswer};
use crate::machine::RedriveOrder;
use crate::model::{
    DeadLetterFilter, GroupName, MessageId, REDRIVE_RATE_MAX, SETTLE_MAX, TopicName, maybe_object,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedriveForm {
    ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "maybe_object")]
    filter: Option<DeadLetterFilter>,
    to: Option<TopicName>,
    rate_per_s: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/groups/{group}/dead-letters/redrive`
pub(super) async fn redrive(State(api): State<Api>, call: Call, body: Body) -> Answer {
    let group: GroupName = call.path("group")?;
    call.query.finish()?;
    let form: RedriveForm = read_json(&api, body).await?;
    let rate_per_s = rate(form.rate_per_s)?;
    match (form.ids, form.filter) {
        (Some(_), None) if rate_per_s.is_some() => {
            Err(Problem::pointer("/rate_per_s", "goes with filter: ids are moved at once"))
        }
        (Some(ids), None) => by_ids(&api, group, &ids, (form.to, form.dry_run)).await,
        (None, Some(filter)) => {
            filter.check().map_err(|(field, text)| Problem::pointer(format!("/filter/{field}"), text))?;
            let order = RedriveOrder { group, filter: Arc::new(filter), to: form.to, rate_per_s };
            by_filter(&api, order, form.dry_run).await
        }
        _ => Err(Problem::pointer("", "needs either ids or filter; {\"filter\": {}} takes all dead letters")),
    }
}

fn rate(rate_per_s: Option<u64>) -> Result<Option<u32>, Problem> {
    let Some(rate) = rate_per_s else { return Ok(None) };
    match u32::try_from(rate) {
        Ok(rate @ 1..=REDRIVE_RATE_MAX) => Ok(Some(rate)),
        _ => Err(Problem::pointer("/rate_per_s", format!("must be 1 to {REDRIVE_RATE_MAX}"))),
    }
}

async fn by_ids(
    api: &Api,
    group: GroupName,
    texts: &[String],
    (to, dry_run): (Option<TopicName>, bool),
) -> Answer {
    if texts.len() > SETTLE_MAX {
        return Err(Problem::too_large("ids in one request", SETTLE_MAX));
    }
    let mut ids: Vec<MessageId> = Vec::with_capacity(texts.len());
    for (at, id) in texts.iter().enumerate() {
        ids.push(id.parse().map_err(|_| Problem::pointer(format!("/ids/{at}"), "is not a message id"))?);
    }
    if dry_run {
        let counted = api.broker.look(move |broker| broker.dry_run_ids(&group, &ids, to.as_ref())).await?;
        return Ok(counts(counted));
    }
    Ok(results(&ids, api.broker.redrive(group, ids.clone(), to).await?))
}

async fn by_filter(api: &Api, order: RedriveOrder, dry_run: bool) -> Answer {
    if dry_run {
        let RedriveOrder { group, filter, to, .. } = order;
        let counted = api.broker.look(move |broker| broker.dry_run(&group, &filter, to.as_ref())).await?;
        return Ok(counts(counted));
    }
    let job = api.broker.start_redrive(order).await?;
    let mut response = job_json(&job, StatusCode::ACCEPTED);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn counts(counted: DryRun) -> Response {
    let mut out = Json::with_capacity(64);
    out.open();
    out.number_field("would_move", counted.would_move);
    out.number_field("looked", counted.looked);
    out.key("truncated");
    out.truth(counted.truncated);
    out.close();
    json(StatusCode::OK, out)
}

/// What became of each, in input order.
fn results(ids: &[MessageId], outcomes: RedriveAnswer) -> Response {
    let mut failed = 0;
    let mut out = Json::with_capacity(64 * ids.len() + 32);
    out.open();
    out.key("results");
    out.open_list();
    for (id, outcome) in ids.iter().zip(outcomes) {
        out.open();
        out.key("id");
        out.plain(id);
        out.key("status");
        match outcome {
            Ok(()) => out.plain("ok"),
            Err(error) => {
                failed += 1;
                out.plain("failed");
                out.key("problem");
                Problem::from(error).write(&mut out, None);
            }
        }
        out.close();
    }
    out.close_list();
    out.number_field("failed", failed);
    out.close();
    json(StatusCode::OK, out)
}
