//! All dead letters of a group as one stream, a line each.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::dead_letters::write_dead_letter;
use super::extract::{Answer, Call};
use super::json_out::Json;
use super::message_out::{BodyEncoding, write_stored};
use super::options::Api;
use super::problem::{Code, Problem};
use crate::broker::{Broker, BrokerError, ExportPage};
use crate::model::{EXPORTS_MAX, GroupName, MessageId};

/// `GET /v1/groups/{group}/dead-letters/export`: each line is what `GET …/dead-letters/{id}` answers. The next page is
/// read when the one before was taken, so a slow reader holds one page and nothing else.
///
/// What begins as a 200 and cannot be finished ends without the end that HTTP has for it, which every client notices;
/// `?after=` the last id that came whole goes on from there.
pub(super) async fn export(State(api): State<Api>, mut call: Call) -> Answer {
    let group: GroupName = call.path("group")?;
    let after = call.query.parse_as::<MessageId>("after")?;
    let encoding = call.query.parse_as::<BodyEncoding>("encoding")?.unwrap_or_default();
    call.query.finish()?;
    let place = Arc::clone(&api.options.exports).try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, format!("{EXPORTS_MAX} exports run already, the most at once"))
    })?;
    let first = read_page(&api.broker, &group, after).await?;
    let export =
        Export { broker: api.broker.clone(), group, encoding, read: Some(first), next: None, _place: place };
    let lines = stream::try_unfold(export, Export::lines);
    Ok(ndjson(Body::from_stream(lines)))
}

fn ndjson(body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

async fn read_page(
    broker: &Broker,
    group: &GroupName,
    after: Option<MessageId>,
) -> Result<ExportPage, BrokerError> {
    let group = group.clone();
    broker.look(move |broker| broker.export_dead_letters(&group, after)).await
}

/// An export on its way.
struct Export {
    broker: Broker,
    group: GroupName,
    encoding: BodyEncoding,
    /// A page that is read and not written.
    read: Option<ExportPage>,
    /// Behind which the next page begins; none when there is none.
    next: Option<MessageId>,
    _place: OwnedSemaphorePermit,
}

impl Export {
    /// The lines of the next page.
    async fn lines(mut self) -> Result<Option<(Bytes, Export)>, BrokerError> {
        let page = match (self.read.take(), self.next.take()) {
            (Some(page), _) => page,
            (None, None) => return Ok(None),
            (None, after) => read_page(&self.broker, &self.group, after).await.inspect_err(|error| {
                tracing::warn!(%error, group = %self.group, "an export of dead letters is cut short");
            })?,
        };
        self.next = page.next;
        let mut lines = Vec::new();
        for (view, message) in page.letters {
            let mut line = Json::with_capacity(1_024);
            line.open();
            write_dead_letter(&mut line, &view);
            match message {
                Ok(stored) => {
                    line.key("message");
                    write_stored(&mut line, &stored, self.encoding);
                }
                Err(error) => {
                    line.key("problem");
                    Problem::from(error).write(&mut line, None);
                }
            }
            line.close();
            lines.extend_from_slice(&line.finish_line());
        }
        Ok(Some((Bytes::from(lines), self)))
    }
}
