//! `GET /v1/history`: the recent past as columns, as charts want them.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json};
use super::json_out::Json;
use super::options::Api;
use super::problem::Problem;
use crate::broker::Remembered;
use crate::model::{GroupName, TopicName};
use crate::observe::history::{Measure, Subject, Window};

/// `GET /v1/history`: of the node, or of the topic or group that is named.
pub(super) async fn show(State(api): State<Api>, mut call: Call) -> Answer {
    let topic = call.query.parse_as::<TopicName>("topic")?;
    let group = call.query.parse_as::<GroupName>("group")?;
    let window = call.query.parse_as("window")?.unwrap_or(Window::TenMinutes);
    let series = call.query.text("series");
    call.query.finish()?;
    let subject = match (topic, group) {
        (None, None) => Subject::Node,
        (Some(topic), None) => Subject::Topic(topic),
        (None, Some(group)) => Subject::Group(group),
        (Some(_), Some(_)) => return Err(Problem::parameter("group", "cannot be given together with topic")),
    };
    let measures = measures(series.as_deref(), &subject)?;
    // A week of everything is a quarter of a million numbers to write: not on an async thread.
    let looked = api.broker.look(move |broker| Ok(written(&broker.history(&subject, &measures, window)?)));
    Ok(json(StatusCode::OK, looked.await?))
}

/// The series that are asked for, each once; all that there are when none is named.
fn measures(named: Option<&str>, subject: &Subject) -> Result<Vec<Measure>, Problem> {
    let kind = subject.kind();
    let Some(named) = named else { return Ok(Measure::of(kind).collect()) };
    let mut measures = Vec::new();
    for name in named.split(',') {
        let known = name.parse::<Measure>().ok().filter(|measure| measure.kinds().contains(&kind));
        let Some(measure) = known else {
            let all: Vec<&str> = Measure::of(kind).map(Measure::as_str).collect();
            let name: String = name.chars().take(80).collect();
            let text = format!("'{}' is none of {}", name.escape_debug(), all.join(", "));
            return Err(Problem::parameter("series", text));
        };
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    Ok(measures)
}

fn written(found: &Remembered) -> Json {
    let curves = &found.curves;
    let values: usize = curves.columns.iter().map(|(_, values)| values.len()).sum();
    let mut out = Json::with_capacity(128 + values * 8);
    out.open();
    out.key("kept");
    out.truth(found.kept);
    out.key("from");
    out.plain(curves.from);
    out.number_field("step_ms", curves.step_ms);
    out.key("series");
    out.open();
    for (measure, values) in &curves.columns {
        out.key(measure.as_str());
        out.value(values);
    }
    out.close();
    out.close();
    out
}
