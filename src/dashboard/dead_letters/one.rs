//! `/dead-letters/{group}/{id}`: one dead letter: why it died, what it holds, and what can be done with it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::broker::{Broker, BrokerError, DeadLetterView};
use crate::dashboard::assets::{ASSETS, Assets};
use crate::dashboard::desk::Desk;
use crate::dashboard::fields::Asked;
use crate::dashboard::format::filters;
use crate::dashboard::messages::{Attribute, Payload, PayloadForm, Piece, attributes, properties};
use crate::dashboard::visible::visible;
use crate::dashboard::{oops, page};
use crate::model::{GroupName, MessageId, Timestamp};

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct LetterTemplate<'a> {
    assets: &'a Assets,
    token: &'a str,
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
    Asked(asked): Asked,
    headers: HeaderMap,
) -> Response {
    let (Ok(group), Ok(id)) = (group.parse::<GroupName>(), id.parse::<MessageId>()) else {
        return oops::refused(StatusCode::NOT_FOUND, "There is no such dead letter.");
    };
    let form = asked.one("as").and_then(PayloadForm::named);
    let gathered = desk.broker.look(move |broker| LetterFacts::gather(broker, (group, id), form)).await;
    let facts = match gathered {
        Ok(facts) => facts,
        Err(error) => return oops::failed(&error),
    };
    let token = desk.csrf.token(&headers);
    token.with(page::respond(page::render(&LetterTemplate {
        assets: &ASSETS,
        token: &token.token,
        page: &facts,
    })))
}
