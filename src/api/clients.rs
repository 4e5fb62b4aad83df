//! Clients of this node: who is there, and sending one away.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::extract::{Answer, Call, list};
use super::options::Api;
use super::problem::{Code, Problem};
use crate::broker::Dismissed;
use crate::model::{ClientId, GroupName};

/// `GET /v1/clients`
pub(super) async fn index(State(api): State<Api>, mut call: Call) -> Answer {
    let limit = call.query.limit()?;
    let cursor = call.query.cursor::<ClientId>("clients")?;
    let group = call.query.parse_as::<GroupName>("group")?;
    call.query.finish()?;
    let page = api.broker.look(move |broker| Ok(broker.clients(cursor, group.as_ref(), limit))).await?;
    Ok(list("clients", &page, |out, client| out.value(client)))
}

/// `DELETE /v1/clients/{id}`: closes a WebSocket.
pub(super) async fn disconnect(State(api): State<Api>, call: Call) -> Answer {
    let id: ClientId = call.path("id")?;
    call.query.finish()?;
    match api.broker.dismiss(id) {
        Dismissed::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        Dismissed::NoSocket => {
            let text = "this client speaks plain HTTP: there is no connection to close. Its leases end by time; to \
                        keep it from getting more, pause the group";
            Err(Problem::new(Code::Conflict, text))
        }
        Dismissed::Unknown => Err(Problem::new(Code::ClientNotFound, format!("no client has the id {id}"))),
    }
}
