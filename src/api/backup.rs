//! `POST /v1/backup`: the data directory as a tar archive, streamed while the broker goes on.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::extract::{Answer, Call, read_json};
use super::options::Api;
use crate::broker::{Backup, BrokerError};

/// Nothing can be asked for yet; an empty object is fine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Streams a backup. The length is known beforehand, so every client notices a cut; and an archive that was cut lacks
/// its last file.
pub(super) async fn take(State(api): State<Api>, call: Call, body: Body) -> Answer {
    call.query.finish()?;
    let Nothing {} = read_json(&api, body).await?;
    let backup = api.broker.backup().await?;
    Ok(stream_of(backup, api.options.draining.clone()))
}

fn stream_of(backup: Backup, draining: CancellationToken) -> Response {
    let (bytes, name) = (backup.bytes, file_name(&backup.taken_at));
    let pieces = stream::unfold((backup, draining), |(mut backup, draining)| async move {
        let piece = tokio::select! {
            biased;
            () = draining.cancelled() => Some(Err(BrokerError::NotReady("the broker stops".to_owned()))),
            piece = backup.pieces.recv() => piece,
        };
        piece.map(|piece: Result<Bytes, BrokerError>| (piece, (backup, draining)))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// `whimbrel-20260131T120000Z.tar`, out of `2026-01-31T12:00:00.000Z`.
fn file_name(taken_at: &str) -> String {
    let to_the_second = taken_at.split('.').next().unwrap_or_default();
    let plain: String = to_the_second.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("whimbrel-{plain}Z.tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_after_its_time() {
        assert_eq!(file_name("2026-01-31T12:00:00.123Z"), "whimbrel-20260131T120000Z.tar");
    }
}
