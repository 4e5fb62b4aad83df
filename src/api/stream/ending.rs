//! Why a socket ends, and what that means for its leases.

use axum::extract::ws::CloseFrame;
use tokio_tungstenite::tungstenite;

use crate::api::problem::{Code, Problem};
use crate::broker::CloseHow;
use crate::model::{BATCH_BYTES_MAX, beginning};

/// RFC 6455, section 7.4.1, and the IANA registry for 1013.
const GOING_AWAY: u16 = 1001;
const UNSUPPORTED_DATA: u16 = 1003;
const INVALID_TEXT: u16 = 1007;
const TRY_AGAIN_LATER: u16 = 1013;
/// Fatal errors that HTTP has a status for.
const MIRRORED: u16 = 4_000;
/// A close frame's reason must fit a control frame of 125 bytes, of which 2 are the code.
const REASON_BYTES_MAX: usize = 123;

/// Why a socket ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client closed; in order or not.
    Closed { orderly: bool },
    /// The connection is no more.
    Gone,
    /// The client did something that the socket cannot go on after.
    Fatal { problem: Problem, code: u16 },
    /// An operator wants the client gone.
    Dismissed { problem: Problem },
    /// The client reads nothing.
    Stalled,
    /// This node stops.
    Drained,
}

impl Ending {
    /// The client closed. No code at all is what `close()` without arguments sends in most libraries, so it counts as
    /// orderly; a client that crashes sends no close frame.
    pub(super) fn closed(frame: Option<&CloseFrame>) -> Ending {
        Ending::Closed { orderly: frame.is_none_or(|frame| matches!(frame.code, 1000 | 1001 | 1005)) }
    }

    /// A fatal error, closed with the code that mirrors its status.
    pub(super) fn fatal(problem: Problem) -> Ending {
        let code = MIRRORED + problem.code.row().status;
        Ending::Fatal { problem, code }
    }

    /// An operator disconnected the client.
    pub(super) fn dismissed() -> Ending {
        let text = "an operator disconnected this client; its leases are given back";
        Ending::Dismissed { problem: Problem::new(Code::Disconnected, text) }
    }

    /// What to say before the socket is closed.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Ending::Fatal { problem, .. } | Ending::Dismissed { problem } => Some(problem),
            Ending::Closed { .. } | Ending::Gone | Ending::Stalled | Ending::Drained => None,
        }
    }

    /// A binary frame.
    pub(super) fn binary() -> Ending {
        let text = "binary frames are not part of mq.v1.json; send JSON text";
        Ending::Fatal { problem: Problem::new(Code::InvalidRequest, text), code: UNSUPPORTED_DATA }
    }

    /// What reading failed with.
    pub(super) fn of_read(error: axum::Error) -> Ending {
        match error.into_inner().downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => {
                Ending::fatal(Problem::too_large("bytes of one frame", BATCH_BYTES_MAX))
            }
            Some(tungstenite::Error::Utf8(_)) => {
                let problem = Problem::new(Code::InvalidJson, "a text frame is not UTF-8");
                Ending::Fatal { problem, code: INVALID_TEXT }
            }
            _ => Ending::Gone,
        }
    }

    /// What becomes of the leases. Whoever an operator disconnects has not failed,
    /// and neither have the messages.
    pub(super) fn close_how(&self) -> CloseHow {
        match self {
            Ending::Closed { orderly: true } | Ending::Drained | Ending::Dismissed { .. } => {
                CloseHow::GiveBack
            }
            Ending::Closed { orderly: false } | Ending::Gone | Ending::Fatal { .. } | Ending::Stalled => {
                CloseHow::Broken
            }
        }
    }

    /// The close frame to send, when there is still somebody to send it to.
    pub(super) fn close_frame(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Ending::Closed { .. } | Ending::Gone => return None,
            Ending::Fatal { problem, code } => (*code, cut(&problem.detail)),
            Ending::Dismissed { problem } => (MIRRORED + problem.code.row().status, cut(&problem.detail)),
            Ending::Stalled => (TRY_AGAIN_LATER, "nothing was read for too long"),
            Ending::Drained => (GOING_AWAY, "this node stops"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

fn cut(text: &str) -> &str {
    beginning(text, REASON_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_orderly_close_gives_back() {
        let closed = |code: u16| Ending::closed(Some(&CloseFrame { code, reason: "".into() })).close_how();
        assert_eq!(closed(1000), CloseHow::GiveBack);
        assert_eq!(closed(1001), CloseHow::GiveBack);
        assert_eq!(closed(1011), CloseHow::Broken);
        assert_eq!(closed(4000), CloseHow::Broken);
        assert_eq!(Ending::closed(None).close_how(), CloseHow::GiveBack);
        assert_eq!(Ending::Gone.close_how(), CloseHow::Broken);
        assert_eq!(Ending::Stalled.close_how(), CloseHow::Broken);
        assert_eq!(Ending::Drained.close_how(), CloseHow::GiveBack);
        assert_eq!(Ending::dismissed().close_how(), CloseHow::GiveBack);
    }

    #[test]
    fn fatal_errors_mirror_http_and_their_reason_fits() {
        let ending = Ending::fatal(Problem::new(Code::TooLarge, "ä".repeat(100)));
        let frame = ending.close_frame().unwrap();
        assert_eq!(frame.code, 4413);
        assert_eq!(frame.reason.len(), 122);
        assert_eq!(Ending::binary().close_frame().unwrap().code, 1003);
        assert_eq!(Ending::Stalled.close_frame().unwrap().code, 1013);
        assert_eq!(Ending::dismissed().close_frame().unwrap().code, 4409);
    }
}
