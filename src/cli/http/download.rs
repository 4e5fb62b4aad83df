use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ANSWER_BYTES_MAX, Call, Client};
use crate::cli::error::CliError;
use crate::cli::problem::Problem;

impl Client {
    /// Sends one request and writes the body of its answer to `output` as it comes, however long it is; answers its
    /// length. The timeout is for each piece. Never sends a request twice.
    ///
    /// # Errors
    /// As [`Client::send`], and [`CliError::Io`] when `output` takes no more.
    pub async fn download(
        &mut self,
        call: Call,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, CliError> {
        let what = format!("{} {}", call.method, call.path);
        let timeout = self.timeout;
        let mut sender = self.connection().await?;
        let request = self.request(call)?;
        let answer = within(timeout, &what, sender.send_request(request)).await?;
        let answer = answer.map_err(|error| self.lost(&what, &error))?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            let mut problem = Problem::read(head.status.as_u16(), &whole(timeout, &what, body).await?);
            problem.retry_after = super::retry_after(&head.headers);
            return Err(CliError::Refused(Box::new(problem)));
        }
        let mut length = 0;
        while let Some(frame) = within(timeout, &what, body.frame()).await? {
            let broken =
                |error: hyper::Error| CliError::Broken { what: what.clone(), reason: error.to_string() };
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            output.write_all(&piece).await.map_err(CliError::io("writing what came"))?;
            length += piece.len() as u64;
        }
        output.flush().await.map_err(CliError::io("writing what came"))?;
        Ok(length)
    }
}

async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> Result<T, CliError> {
    let late = |_| CliError::TimedOut { what: what.to_owned(), waited: limit };
    tokio::time::timeout(limit, work).await.map_err(late)
}

async fn whole(limit: Duration, what: &str, body: Incoming) -> Result<bytes::Bytes, CliError> {
    let body = within(limit, what, Limited::new(body, ANSWER_BYTES_MAX).collect()).await?;
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| CliError::Broken {
        what: what.to_owned(),
        reason: error.to_string(),
    };
    Ok(body.map_err(broken)?.to_bytes())
}
