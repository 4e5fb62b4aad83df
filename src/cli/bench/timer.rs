//! One alarm of a connection.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Sleep;

use crate::cli::CliError;

/// Goes off once at a set time. The runtime's timers round up to whole milliseconds, which is longer than a message
/// may take; a load with times fixed in advance needs the fine one of the kernel.
#[derive(Debug)]
pub(super) struct Alarm {
    at: Instant,
    timer: Timer,
}

#[derive(Debug)]
enum Timer {
    Coarse(Pin<Box<Sleep>>),
    Fine(AsyncFd<OwnedFd>),
}

impl Alarm {
    /// To the millisecond; costs no file descriptor.
    pub(super) fn coarse(at: Instant) -> Alarm {
        Alarm { at, timer: Timer::Coarse(Box::pin(tokio::time::sleep_until(at.into()))) }
    }

    /// To some ten microseconds.
    pub(super) fn fine(at: Instant) -> Result<Alarm, CliError> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let made = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(std::io::Error::from);
        let timer = made.map_err(CliError::io("making a timer"))?;
        arm(&timer, at);
        // An `AsRawFd` that closes or exchanges its descriptor would be unsound there; an `OwnedFd` does neither.
        #[expect(deprecated, reason = "what replaces it is unsafe, for owners other than this one")]
        let timer = AsyncFd::new(timer).map_err(CliError::io("watching a timer"))?;
        Ok(Alarm { at, timer: Timer::Fine(timer) })
    }

    /// Goes off at `at` instead.
    pub(super) fn set(&mut self, at: Instant) {
        if self.at == at {
            return;
        }
        self.at = at;
        match &mut self.timer {
            Timer::Coarse(sleep) => sleep.as_mut().reset(at.into()),
            Timer::Fine(timer) => arm(timer.get_ref(), at),
        }
    }

    /// Ready once the time has come, as often as it is asked then.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let timer = match &mut self.timer {
            Timer::Coarse(sleep) => return sleep.as_mut().poll(context).map(Ok),
            Timer::Fine(timer) => timer,
        };
        loop {
            if Instant::now() >= self.at {
                return Poll::Ready(Ok(()));
            }
            let Poll::Ready(guard) = timer.poll_read_ready(context) else { return Poll::Pending };
            // It went off for a time set before, or a little early: the count is read, so that it can go off again.
            let mut count = [0; 8];
            match rustix::io::read(timer.get_ref(), &mut count) {
                Ok(_) if Instant::now() < self.at => arm(timer.get_ref(), self.at),
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => guard?.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// Sets the timer to go off once. Setting one that exists fails only for arguments that are not possible here.
fn arm(timer: &OwnedFd, at: Instant) {
    // Zero would disarm it.
    let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
    let it_value = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
    let _ = timerfd_settime(timer, TimerfdTimerFlags::empty(), &once);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn went_off(alarm: &mut Alarm) -> Instant {
        std::future::poll_fn(|context| alarm.poll(context)).await.unwrap();
        Instant::now()
    }

    #[tokio::test]
    async fn an_alarm_goes_off_at_its_time_and_again_when_set_again() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for mut alarm in [Alarm::coarse(start + ms(3)), Alarm::fine(start + ms(3)).unwrap()] {
            assert!(went_off(&mut alarm).await >= start + ms(3));
            // A time that has passed, one further away, one that is moved nearer, and the same once more.
            alarm.set(start);
            went_off(&mut alarm).await;
            let now = Instant::now();
            alarm.set(now + ms(3_600_000));
            let far = std::future::poll_fn(|context| Poll::Ready(alarm.poll(context).is_pending())).await;
            assert!(far, "an hour has not passed");
            alarm.set(now + ms(2));
            assert!(went_off(&mut alarm).await >= now + ms(2));
            went_off(&mut alarm).await;
        }
    }
}
