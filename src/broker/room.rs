//! Room for requests that wait to be decided: how many, and how many bytes of bodies. Two counters instead of
//! semaphores: nobody waits for room, so nothing needs a queue or a lock, and every request comes by here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left.
#[derive(Debug)]
pub(super) struct Room {
    requests_max: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// One request's share; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    /// Room for so many requests, and so many bytes of them together.
    pub(super) fn new(requests: usize, bytes: usize) -> Arc<Room> {
        let (requests_max, requests) = (requests, AtomicUsize::new(requests));
        Arc::new(Room { requests_max, requests, bytes: AtomicUsize::new(bytes) })
    }

    /// How many requests have a share now.
    pub(super) fn requests_taken(&self) -> usize {
        self.requests_max.saturating_sub(self.requests.load(Ordering::Relaxed))
    }

    /// Takes a share for one request of `bytes`.
    ///
    /// # Errors
    /// Names what there are too many of.
    pub(super) fn take(self: &Arc<Room>, bytes: usize) -> Result<Share, &'static str> {
        let lower = |counter: &AtomicUsize, by: usize| {
            counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(by)).is_ok()
        };
        if !lower(&self.requests, 1) {
            return Err("requests");
        }
        if !lower(&self.bytes, bytes) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            return Err("bytes");
        }
        Ok(Share { room: Arc::clone(self), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.requests.fetch_add(1, Ordering::Relaxed);
        self.room.bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_and_takes_nothing() {
        let room = Room::new(2, 100);
        let first = room.take(60).unwrap();
        assert_eq!(room.take(41).unwrap_err(), "bytes");
        let second = room.take(40).unwrap();
        assert_eq!(room.requests_taken(), 2);
        assert_eq!(room.take(0).unwrap_err(), "requests");
        drop(first);
        assert_eq!(room.take(61).unwrap_err(), "bytes");
        let third = room.take(60).unwrap();
        drop((second, third));
        assert!(room.take(100).is_ok());
    }
}
