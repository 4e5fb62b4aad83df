//! `/dead-letters/{group}/{id}`: one dead letter: why it died, what it holds, and what can be done with it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::{Broker, BrokerError, DeadLetterView};
use crate::dashboard::desk::Desk;
use crate::dashboard::format::filters;
use crate::dashboard::frame::{Frame, Section};
use crate::dashboard::messages::{Attribute, Payload, PayloadForm, Piece, attributes, properties};
use crate::dashboard::visible::visible;
use crate::dashboard::visit::Visit;
use crate::dashboard::words::{Letters, Messages};
use crate::model::{GroupName, MessageId, Timestamp};

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct LetterTemplate<'a> {
    frame: Frame,
    words: &'static Letters,
    messages: &'static Messages,
    page: &'a LetterFacts,
}

/// A dead letter, ready to be shown.
#[derive(Clone, Debug)]
struct LetterFacts {
    group: GroupName,
    view: DeadLetterView,
    failures: Vec<Failure>,
    accepted_at: Timestamp,
    attributes: Vec<(Attribute, String)>,
    properties: Vec<(String, String)>,
    payload: Payload,
    /// Where the payload is shown in another form.
    here: String,
}

/// One failed delivery.
#[derive(Clone, Debug)]
struct Failure {
    at: Timestamp,
    cause: &'static str,
    words: Option<String>,
}

impl LetterFacts {
    fn gather(
        broker: &Broker,
        (group, id): (GroupName, MessageId),
        form: Option<PayloadForm>,
    ) -> Result<LetterFacts, BrokerError> {
        let (view, stored) = broker.dead_letter(&group, id)?;
        let failure = |failure: &crate::broker::FailureView| Failure {
            at: failure.at,
            cause: failure.cause,
            words: failure.reason.as_deref().map(|words| visible(words).into_owned()),
        };
        Ok(LetterFacts {
            failures: view.failures.iter().map(failure).collect(),
            accepted_at: stored.accepted_at,
            attributes: attributes(&stored),
            properties: properties(&stored),
            payload: Payload::of(&stored.message.body, form),
            here: format!("/dead-letters/{group}/{id}"),
            group,
            view,
        })
    }
}

pub(super) async fn show(
    State(desk): State<Desk>,
    Path((group, id)): Path<(String, String)>,
    visit: Visit,
) -> Response {
    let words = Letters::of(visit.lang);
    let (Ok(group), Ok(id)) = (group.parse::<GroupName>(), id.parse::<MessageId>()) else {
        return visit.oops(&desk, StatusCode::NOT_FOUND, words.no_letter);
    };
    let form = visit.fields.one("as").and_then(PayloadForm::named);
    match desk.broker.look(move |broker| LetterFacts::gather(broker, (group, id), form)).await {
        Ok(facts) => visit.page(&LetterTemplate {
            frame: visit.frame(&desk, Section::DeadLetters),
            words,
            messages: Messages::of(visit.lang),
            page: &facts,
        }),
        Err(error) => visit.failed(&desk, &error),
    }
}
