//! The cloud's time, as its answers tell it.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Follows the `Date` of the latest answer by the monotonic clock, so that the local clock counts for the very first
/// request only, and a step of it never does.
pub(super) struct CloudClock {
    local: Box<dyn Fn() -> Timestamp + Send + Sync>,
    learnt: Mutex<Option<Learnt>>,
}

#[derive(Clone, Copy)]
struct Learnt {
    date: Timestamp,
    when: Instant,
    offset: SignedDuration,
}

impl CloudClock {
    pub(super) fn new(local: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { local: Box::new(local), learnt: Mutex::new(None) }
    }

    pub(super) fn learn(&self, date: Timestamp) {
        let learnt = Learnt { date, when: Instant::now(), offset: date.duration_since((self.local)()) };
        *self.learnt.lock() = Some(learnt);
    }

    pub(super) fn now(&self) -> Timestamp {
        // Past the end of time (a Date of the year 9999) it stands still.
        let follow = |learnt: Learnt| learnt.date.checked_add(learnt.when.elapsed()).unwrap_or(learnt.date);
        self.latest().map_or_else(&self.local, follow)
    }

    pub(super) fn offset(&self) -> Option<SignedDuration> {
        self.latest().map(|learnt| learnt.offset)
    }

    fn latest(&self) -> Option<Learnt> {
        *self.learnt.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_local_clock_counts_only_until_the_first_answer() {
        let local = Arc::new(AtomicI64::new(1_000));
        let read = Arc::clone(&local);
        let clock = CloudClock::new(move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap());
        assert_eq!((clock.now().as_second(), clock.offset()), (1_000, None));

        clock.learn(Timestamp::from_second(1_600).unwrap());
        assert_eq!(clock.offset(), Some(SignedDuration::from_secs(600)));

        local.store(9_999_999, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(clock.now().as_second(), 1_630);
        assert_eq!(clock.offset(), Some(SignedDuration::from_secs(600)));
    }
}
