//! The deadlines of one connection: first byte, request head, silence between requests, a write nobody reads.
//!
//! A timer for every request would cost more than parsing it. So the connection only notes when things happen, in plain
//! atomics, and one timer per connection wakes now and then to look. It may be late by up to one header timeout, never
//! early.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::linger::Linger;
use super::options::Options;
use super::unasked::{self, Words};

/// What a connection is doing, seen from outside. Times are milliseconds since it opened, plus one; 0 is "not".
#[derive(Debug)]
pub(super) struct Meter {
    opened: Instant,
    /// Requests whose answer is not yet finished.
    busy: AtomicU32,
    /// Since when it is silent between requests.
    silent_since: AtomicU64,
    /// Since when a request head is coming in.
    head_since: AtomicU64,
    /// Since when a write waits for the other end to read.
    stuck_since: AtomicU64,
    /// Whether the last request was answered before all of it was read.
    unread: AtomicBool,
}

impl Meter {
    /// For a connection that opens now.
    pub(super) fn new() -> Arc<Meter> {
        Arc::new(Meter {
            opened: Instant::now(),
            busy: AtomicU32::new(0),
            silent_since: AtomicU64::new(0),
            // The first byte is awaited like the rest of the first head.
            head_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
            unread: AtomicBool::new(false),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// A request head is complete.
    pub(super) fn begin(self: &Arc<Meter>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        self.unread.store(false, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn bytes_came(&self) {
        if self.busy.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn write_waits(&self) {
        if self.stuck_since.load(Ordering::Relaxed) == 0 {
            self.stuck_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn write_went(&self) {
        if self.stuck_since.load(Ordering::Relaxed) != 0 {
            self.stuck_since.store(0, Ordering::Relaxed);
        }
    }

    /// Whether no request is being read or answered.
    pub(super) fn is_idle(&self) -> bool {
        let head = self.head_since.load(Ordering::Relaxed);
        // 1 is a connection on which nothing came at all.
        self.busy.load(Ordering::Relaxed) == 0 && head <= 1
    }

    /// Whether the other end may still be sending something that nobody will read: a body, or a head that was refused.
    fn is_sent_to(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || self.head_since.load(Ordering::Relaxed) != 0
    }

    /// How long until the next look; none when a deadline has passed.
    fn next_look(&self, options: &Options) -> Option<Duration> {
        let now = self.now();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let left = |since: &AtomicU64, timeout: Duration| match since.load(Ordering::Relaxed) {
            0 => u64::MAX,
            since => since.saturating_add(millis(timeout)).saturating_sub(now),
        };
        let mut least = left(&self.stuck_since, options.transfer_timeout);
        if self.busy.load(Ordering::Relaxed) == 0 {
            least = least.min(left(&self.head_since, options.header_timeout));
            if self.head_since.load(Ordering::Relaxed) == 0 {
                least = least.min(left(&self.silent_since, options.idle_timeout));
            }
        }
        if least == 0 { None } else { Some(Duration::from_millis(least).min(options.header_timeout)) }
    }

    /// Ends when the connection has outlived a deadline.
    pub(super) async fn watch(&self, options: &Options) {
        while let Some(wait) = self.next_look(options) {
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}

/// Held while a request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Meter>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.silent_since.store(self.0.now(), Ordering::Relaxed);
        }
    }
}

/// A request's body; one that is dropped before its end is remembered.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    /// Whether its end was seen; a chunked body does not know by itself.
    ended: bool,
    meter: Arc<Meter>,
}

impl RequestBody {
    /// The body of a request on the connection of `meter`.
    pub(super) fn new(body: Incoming, meter: Arc<Meter>) -> RequestBody {
        RequestBody { body, ended: false, meter }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !hyper::body::Body::is_end_stream(self) {
            self.meter.unread.store(true, Ordering::Relaxed);
        }
    }
}

/// An answer's body; the request counts as being answered until it is gone.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    _busy: Busy,
}

impl AnswerBody {
    /// Ties the two together.
    pub(super) fn new(body: Body, busy: Busy) -> AnswerBody {
        AnswerBody { body, _busy: busy }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Pieces that have at most this many bytes together are written as one.
const JOINED_BYTES_MAX: usize = 512;

/// All pieces behind each other in `space`, when they fit.
fn joined<'a>(slices: &[io::IoSlice<'_>], space: &'a mut [u8; JOINED_BYTES_MAX]) -> Option<&'a [u8]> {
    let mut end = 0;
    for slice in slices {
        space.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    space.get(..end)
}

/// The socket, noting what happens on it.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    meter: Arc<Meter>,
    /// What is being said instead of the library's own refusal.
    words: Option<Words>,
    /// Set once our side is ended and the other side is still being discarded.
    linger: Option<Linger>,
}

impl Watched {
    /// A socket that tells `meter`.
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>) -> Watched {
        Watched { stream, meter, words: None, linger: None }
    }

    /// Whether `answer` is the library's own refusal, or a better one is under way already.
    fn has_words(&mut self, answer: &[u8]) -> bool {
        if self.words.is_none() {
            self.words = unasked::instead_of(answer);
        }
        self.words.is_some()
    }

    /// Writes the better refusal; once it is out, all `bytes` of the library's own count as written.
    fn poll_words(&mut self, context: &mut Context<'_>, bytes: usize) -> Poll<io::Result<usize>> {
        let Some(words) = &mut self.words else { return Poll::Ready(Ok(0)) };
        ready!(unasked::poll_say(context, &mut self.stream, words))?;
        self.words = None;
        Poll::Ready(Ok(bytes))
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.meter.write_waits(),
            Poll::Ready(_) => self.meter.write_went(),
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.meter.bytes_came();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = if self.has_words(bytes) {
            self.poll_words(context, bytes.len())
        } else {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        };
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [whole] = slices
            && self.has_words(whole)
        {
            let written = self.poll_words(context, whole.len());
            return self.noted(written);
        }
        let stream = Pin::new(&mut self.stream);
        // Head and body of a short answer: copying them together costs less than a call with two pieces.
        let mut space = [0; JOINED_BYTES_MAX];
        let written = match joined(slices, &mut space) {
            Some(bytes) => stream.poll_write(context, bytes),
            None => stream.poll_write_vectored(context, slices),
        };
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends our side. When the other end may still be sending, it goes on to discard that, so that the answer arrives.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.linger = this.meter.is_sent_to().then(Linger::begin);
        }
        let Some(linger) = &mut this.linger else { return Poll::Ready(Ok(())) };
        linger.poll(context, &mut this.stream).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_written_as_one_and_long_ones_as_they_are() {
        let mut space = [0; JOINED_BYTES_MAX];
        let long = [b'x'; JOINED_BYTES_MAX];
        let pieces =
            |pieces: &[&'static [u8]]| pieces.iter().map(|piece| io::IoSlice::new(piece)).collect::<Vec<_>>();
        assert_eq!(joined(&pieces(&[b"head", b"", b"body"]), &mut space), Some(&b"headbody"[..]));
        assert_eq!(joined(&pieces(&[]), &mut space), Some(&b""[..]));
        assert_eq!(joined(&[io::IoSlice::new(&long)], &mut space), Some(&long[..]));
        assert_eq!(joined(&[io::IoSlice::new(&long), io::IoSlice::new(b"y")], &mut space), None);
    }
}
