//! Answers to what never became a request: a connection too many, and bytes that are no HTTP. The HTTP library answers
//! the latter with a bare status line; here they get a problem document like every other refusal.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::problem::{Code, Problem};

/// A whole answer that is not the library's.
pub(super) type Words = io::Cursor<Vec<u8>>;

/// A whole HTTP/1.1 answer that carries a problem and ends the connection.
pub(super) fn whole_answer(problem: &Problem) -> Vec<u8> {
    let row = problem.code.row();
    let body = problem.body(None);
    let again = if row.retryable { "Retry-After: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {} {}\r\nConnection: close\r\n{again}Content-Type: application/problem+json\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\r\n",
        row.status,
        reason(row.status),
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

fn reason(status: u16) -> &'static str {
    let known = axum::http::StatusCode::from_u16(status).ok();
    known.and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}

/// What to say instead of `answer`, when that is the library's own refusal. Those are the only answers in the four
/// hundreds without a body: every refusal of ours has one.
pub(super) fn instead_of(answer: &[u8]) -> Option<Words> {
    let status = answer.strip_prefix(b"HTTP/1.1 4")?;
    let bare = answer.windows(21).any(|line| line == b"\r\ncontent-length: 0\r\n");
    if !bare || !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    let problem = match status.get(..2)? {
        b"14" => Problem::new(Code::UriTooLong, "the request's path and query are longer than accepted"),
        b"31" => Problem::new(Code::HeadTooLarge, "at most 100 headers and 256 KiB of them are accepted"),
        b"00" => {
            Problem::new(Code::InvalidRequest, "this is no HTTP/1.1 request: a line of its head is malformed")
        }
        _ => return None,
    };
    Some(io::Cursor::new(whole_answer(&problem)))
}

/// Writes what is left of `words`.
///
/// # Errors
/// The connection is gone.
pub(super) fn poll_say(
    context: &mut Context<'_>,
    stream: &mut TcpStream,
    words: &mut Words,
) -> Poll<io::Result<()>> {
    while words.has_remaining() {
        let written = ready!(Pin::new(&mut *stream).poll_write(context, words.chunk()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        words.advance(written);
    }
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_bare_refusals_are_replaced() {
        let bare = |status: &str| {
            let text =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n");
            let words = instead_of(text.as_bytes())?;
            let text = String::from_utf8(words.into_inner()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            Some((head.lines().next().unwrap().to_owned(), problem["code"].as_str().unwrap().to_owned()))
        };
        let found = |line: &str, code: &str| Some((line.to_owned(), code.to_owned()));
        assert_eq!(bare("400 Bad Request"), found("HTTP/1.1 400 Bad Request", "invalid_request"));
        assert_eq!(bare("414 URI Too Long"), found("HTTP/1.1 414 URI Too Long", "uri_too_long"));
        let head = "HTTP/1.1 431 Request Header Fields Too Large";
        assert_eq!(bare("431 Request Header Fields Too Large"), found(head, "head_too_large"));
        assert_eq!((bare("200 OK"), bare("503 Service Unavailable")), (None, None));
        let ours = "HTTP/1.1 400 Bad Request\r\ncontent-length: 10\r\n\r\n{\"a\": 1}\r\n";
        assert!(instead_of(ours.as_bytes()).is_none());
    }
}
