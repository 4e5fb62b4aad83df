//! A future beside a busy one, asked only when it is woken itself.
//!
//! Every request wakes its connection several times. Asking each time also for the timer and for the tokens, which all
//! connections share, costs a lock each; what a [`Quiet`] costs is reading a flag.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls `future` once, and then only after its own waker was called. Must not be polled again once it is ready.
pub(super) struct Quiet<'a, F> {
    future: Pin<&'a mut F>,
    bell: Arc<Bell>,
    /// The bell as the future knows it.
    own: Waker,
    /// Whom the bell wakes; kept here too, because comparing must not cost a lock.
    sleeper: Option<Waker>,
}

/// Rung by what the future waits for.
struct Bell {
    rung: AtomicBool,
    /// Stays when it was woken: nobody comes by to set it again before the next ring.
    sleeper: Mutex<Option<Waker>>,
}

impl<F: Future> Quiet<'_, F> {
    /// A future that was not asked yet.
    pub(super) fn new(future: Pin<&mut F>) -> Quiet<'_, F> {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), sleeper: Mutex::default() });
        Quiet { future, own: Waker::from(bell.clone()), bell, sleeper: None }
    }
}

impl<F: Future> Future for Quiet<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.sleeper.as_ref().is_some_and(|sleeper| sleeper.will_wake(context.waker())) {
            this.sleeper = Some(context.waker().clone());
            *this.bell.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = this.sleeper.clone();
        }
        // Looked at after the sleeper is set: a ring that woke the one before it has left its mark here.
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the future is asked: what rings from now on is heard the next time.
        this.bell.rung.store(false, Ordering::SeqCst);
        this.future.as_mut().poll(&mut Context::from_waker(&this.own))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.rung.store(true, Ordering::SeqCst);
        if let Some(sleeper) = &*self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) {
            sleeper.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::AtomicWaker;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// Wakes nobody, and is told apart from others.
    fn nobody() -> Waker {
        struct Nobody(AtomicUsize);
        impl Wake for Nobody {
            fn wake(self: Arc<Nobody>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        Waker::from(Arc::new(Nobody(AtomicUsize::new(0))))
    }

    #[test]
    fn it_is_asked_again_only_when_it_is_woken() {
        let asked = AtomicUsize::new(0);
        let inner = AtomicWaker::new();
        let mut future = pin!(poll_fn(|context| {
            inner.register(context.waker());
            if asked.fetch_add(1, Ordering::Relaxed) < 2 { Poll::Pending } else { Poll::Ready(7) }
        }));
        let mut quiet = Quiet::new(future.as_mut());
        let mut ask = |waker: &Waker| Pin::new(&mut quiet).poll(&mut Context::from_waker(waker));
        let (one, other) = (nobody(), nobody());
        for _ in 0..5 {
            assert!(ask(&one).is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        inner.wake();
        for _ in 0..5 {
            assert!(ask(&other).is_pending(), "a change of the sleeper is no reason to ask");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        inner.wake();
        assert_eq!(ask(&other), Poll::Ready(7));
    }

    #[tokio::test]
    async fn it_wakes_who_waits_for_it() {
        let slept = pin!(async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            "slept"
        });
        assert_eq!(Quiet::new(slept).await, "slept");
    }
}
