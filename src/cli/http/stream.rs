use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{ANSWER_BYTES_MAX, Call, CliError, Client, Problem, retry_after};

/// An answer that is read while it comes.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    what: String,
}

impl Client {
    /// Sends one request and hands its answer over once the head is there. The connection is not used again.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn open(&mut self, call: Call) -> Result<Stream, CliError> {
        let what = format!("{} {}", call.method, call.path);
        let mut sender = self.connection().await?;
        let request = self.request(call)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| self.lost(&what, &error))?;
            let (head, body) = response.into_parts();
            if head.status.is_success() {
                return Ok(Stream { body, what: what.clone() });
            }
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body =
                body.map_err(|error| CliError::Broken { what: what.clone(), reason: error.to_string() })?;
            let mut problem = Problem::read(head.status.as_u16(), &body.to_bytes());
            problem.retry_after = retry_after(&head.headers);
            Err(CliError::Refused(Box::new(problem)))
        };
        let limit = self.timeout;
        let answered = tokio::time::timeout(limit, exchange).await;
        answered.map_err(|_| CliError::TimedOut { what: what.clone(), waited: limit })?
    }
}

impl Stream {
    /// The next part; none at the end. Cancel-safe.
    ///
    /// # Errors
    /// [`CliError::Broken`] when the connection ends before the answer does, [`CliError::TimedOut`] when nothing comes
    /// for `patience`.
    pub(crate) async fn chunk(&mut self, patience: Duration) -> Result<Option<Bytes>, CliError> {
        let what = || self.what.clone();
        loop {
            let frame = tokio::time::timeout(patience, self.body.frame()).await;
            let frame =
                frame.map_err(|_| CliError::TimedOut { what: self.what.clone(), waited: patience })?;
            match frame.transpose() {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Err(error) => return Err(CliError::Broken { what: what(), reason: error.to_string() }),
            }
        }
    }
}
