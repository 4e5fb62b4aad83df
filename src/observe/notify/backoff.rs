//! When a notification that was not taken is tried again.

use crate::model::Millis;

/// A notification that nobody took for this long, since it was made or wanted again, is given up: whoever should have
/// heard of it has heard otherwise, or will see it on the page.
pub const GIVE_UP_AFTER_MS: Millis = 24 * 3_600_000;

/// Waits between tries; the last one repeats.
const STEPS_MS: [Millis; 6] = [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000];

/// A receiver that asks for more patience than this is asked again sooner.
const RETRY_AFTER_MS_MAX: Millis = 3_600_000;

/// How long to wait after `failures` tries (1 is the first) that failed. `chance` is any number: it takes or adds up to
/// a fifth, so that many notifications do not come back at one moment. A receiver's `Retry-After` is heeded when it is
/// longer.
#[must_use]
pub fn next_try_ms(failures: u32, retry_after_ms: Option<Millis>, chance: u64) -> Millis {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let step = STEPS_MS.get(place).or(STEPS_MS.last()).copied().unwrap_or_default();
    let spread = step / 5;
    let spread_step = step - spread + chance % (2 * spread + 1);
    spread_step.max(retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_heed_the_receiver() {
        for chance in [0, 1, 12_345, u64::MAX] {
            let first = next_try_ms(1, None, chance);
            assert!((4_000..=6_000).contains(&first), "{first}");
            for late in [6, 7, 1_000, u32::MAX] {
                let wait = next_try_ms(late, None, chance);
                assert!((2_880_000..=4_320_000).contains(&wait), "{wait}");
            }
            assert_eq!(next_try_ms(1, Some(90_000), chance), 90_000);
            assert_eq!(next_try_ms(1, Some(Millis::MAX), chance), RETRY_AFTER_MS_MAX);
            assert!(next_try_ms(1, Some(1), chance) >= 4_000, "never sooner than without");
        }
        assert_ne!(next_try_ms(1, None, 0), next_try_ms(1, None, 999));
    }
}
