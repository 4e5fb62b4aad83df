//! Why a delivery did not end with an ack.

/// How a delivery failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailCause {
    /// The lease ran out.
    RanOut,
    /// The connection that held the lease broke.
    Broken,
    /// The consumer said so.
    Nacked {
        /// The consumer's words, if any.
        reason: Option<Box<str>>,
    },
    /// The consumer asked for the dead letters.
    Rejected {
        /// The consumer's words, if any.
        reason: Option<Box<str>>,
    },
}

impl FailCause {
    /// What it is called where it is shown, and the consumer's words.
    #[must_use]
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            FailCause::RanOut => ("lease_expired", None),
            FailCause::Broken => ("connection_lost", None),
            FailCause::Nacked { reason } => ("nack", reason.as_deref()),
            FailCause::Rejected { reason } => ("rejected", reason.as_deref()),
        }
    }
}
