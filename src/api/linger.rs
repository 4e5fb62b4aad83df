//! Closing so that the last answer arrives. A socket that is closed while bytes wait in it resets the connection (RFC
//! 9293, section 3.10.4), and a client that is still sending may then see the reset and never the answer. So after an
//! early refusal we end our side, and read and discard what still comes: for a while, and not without end (RFC 9112,
//! section 9.6).

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a refused sender is listened to.
const LINGER: Duration = Duration::from_secs(5);
/// How many bytes are discarded at most: twice the largest request there is.
const LINGER_BYTES: usize = 2 * crate::model::BATCH_BYTES_MAX;
/// What one read takes.
const SIP_BYTES: usize = 16 << 10;

/// A connection whose own side is ended and whose other side is discarded.
#[derive(Debug)]
pub(super) struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Linger {
    /// Begins now.
    pub(super) fn begin() -> Linger {
        Linger { until: Box::pin(tokio::time::sleep(LINGER)), left: LINGER_BYTES }
    }

    /// Discards what is there; ready when the other side has ended, or was listened to long enough.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, stream: &mut TcpStream) -> Poll<()> {
        let mut sip = [MaybeUninit::uninit(); SIP_BYTES];
        while self.left > 0 && self.until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut sip);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.left = self.left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(())
    }
}

/// Ends our side of a connection and lingers.
///
/// # Errors
/// The connection is gone already.
pub(super) async fn close(mut stream: TcpStream) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
    let mut linger = Linger::begin();
    poll_fn(|context| linger.poll(context, &mut stream)).await;
    Ok(())
}
