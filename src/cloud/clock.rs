//! The cloud's time, as its answers tell it.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What one answer's `Date` may be away from what the one before it promised. The cloud's front ends are no more than 30 s apart
/// (`--request-lifetime` counts on that); and a Date has whole seconds, and a slow answer's is from before it came.
const EVEN: SignedDuration = SignedDuration::from_secs(70);
/// Jumps that are no further apart are counted together.
const SERIES: Duration = Duration::from_secs(600);

/// The cloud's clock did not go on from where it was: it was set, or the answers come from clocks that are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// How far, in whole seconds; negative: back.
    pub by: SignedDuration,
    pub when: Instant,
    /// The how-manieth, one soon after the other: a single wrong Date makes two.
    pub times: u32,
    /// Away from this machine's clock, by the first answer: one of the two is wrong, and no one knows which.
    pub at_start: bool,
    /// A later answer has gone on from there: it isn't a single wrong Date.
    pub confirmed: bool,
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at_start {
            true => write!(f, "the cloud's clock and this machine's are apart by {:#}", self.by),
            false => write!(f, "the cloud's clock has jumped by {:#}", self.by),
        }
    }
}

/// Follows the `Date` of the latest answer by the monotonic clock, so that the local clock counts for the very first
/// request only, and a step of it never does.
pub struct CloudClock {
    local: Box<dyn Fn() -> Timestamp + Send + Sync>,
    learnt: Mutex<Option<Learnt>>,
}

#[derive(Clone, Copy)]
struct Learnt {
    date: Timestamp,
    when: Instant,
    /// The latest one.
    jump: Option<Jump>,
}

impl Learnt {
    fn now(&self) -> Timestamp {
        // Past the end of time (a Date of the year 9999) it stands still.
        self.date.checked_add(self.when.elapsed()).unwrap_or(self.date)
    }

    fn jump_to(&self, date: Timestamp) -> Option<Jump> {
        let by = date.duration_since(self.now());
        let soon = self.jump.filter(|before| before.when.elapsed() <= SERIES);
        let times = soon.map_or(0, |before| before.times).saturating_add(1);
        jump(by, times, false)
    }
}

/// Is that more than clocks that are right are apart, and what lies between two answers?
pub fn is_far(by: SignedDuration) -> bool {
    by.abs() > EVEN
}

fn jump(by: SignedDuration, times: u32, at_start: bool) -> Option<Jump> {
    let whole = SignedDuration::from_secs(by.as_secs());
    is_far(by).then(|| Jump { by: whole, when: Instant::now(), times, at_start, confirmed: false })
}

impl CloudClock {
    pub(crate) fn new(local: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { local: Box::new(local), learnt: Mutex::new(None) }
    }

    pub(crate) fn learn(&self, date: Timestamp) {
        let mut learnt = self.learnt.lock();
        // Before the first answer nothing is known of the cloud's clock but what ours says: mostly the one that is wrong, but not always.
        let jump = match *learnt {
            Some(before) => before.jump_to(date).or(before.jump.map(|jump| Jump { confirmed: true, ..jump })),
            None => jump(date.duration_since((self.local)()), 0, true),
        };
        *learnt = Some(Learnt { date, when: Instant::now(), jump });
    }

    /// The cloud's time, as far as known.
    pub(crate) fn now(&self) -> Timestamp {
        self.latest().map_or_else(&self.local, |learnt| learnt.now())
    }

    /// How far the cloud's clock is ahead of the local one as that is now: a step of the local one shows in it at once.
    pub(crate) fn offset(&self) -> Option<SignedDuration> {
        self.latest().map(|learnt| learnt.now().duration_since((self.local)()))
    }

    /// Is it what the answers before promised?
    pub(crate) fn is_even(&self, date: Timestamp) -> bool {
        self.latest().is_none_or(|learnt| learnt.jump_to(date).is_none())
    }

    pub(crate) fn jump(&self) -> Option<Jump> {
        self.latest()?.jump
    }

    fn latest(&self) -> Option<Learnt> {
        *self.learnt.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_local_clock_counts_only_until_the_first_answer_and_its_steps_never() {
        let local = Arc::new(AtomicI64::new(1_000));
        let read = Arc::clone(&local);
        let clock = CloudClock::new(move || at(read.load(Ordering::SeqCst)));
        assert_eq!((clock.now(), clock.offset()), (at(1_000), None));

        clock.learn(at(1_600));
        assert_eq!(clock.offset(), Some(SignedDuration::from_secs(600)));
        let at_start = clock.jump();
        assert!(at_start.is_some_and(|jump| jump.at_start && jump.by.as_secs() == 600));

        for step in [9_999_999, -9_999_999] {
            local.store(step, Ordering::SeqCst);
            let before = clock.now();
            tokio::time::advance(Duration::from_secs(30)).await;
            assert_eq!(clock.now(), before + SignedDuration::from_secs(30));
            // Who adds the offset to the local clock comes to the cloud's time all the same.
            assert_eq!(at(step) + clock.offset().unwrap(), clock.now());
        }
        assert_eq!(clock.jump(), at_start, "no other answer has said so");
        clock.learn(clock.now());
        assert!(clock.jump().is_some_and(|jump| jump.at_start && jump.confirmed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_the_ones_before_did_not_promise_is_a_jump_and_front_ends_half_a_minute_off_are_none() {
        let clock = CloudClock::new(|| at(1_000_000));
        let began = Instant::now();
        let true_second = || 1_000_000 + began.elapsed().as_secs() as i64;
        clock.learn(at(true_second()));
        assert_eq!(clock.jump(), None, "as late as here");
        for off in [30, -30, 30, 0, -30] {
            tokio::time::advance(Duration::from_secs(100)).await;
            clock.learn(at(true_second() + off));
        }
        assert_eq!(clock.jump(), None);

        let ahead = at(true_second() + 3 * 3600);
        assert!(!clock.is_even(ahead) && clock.is_even(at(true_second())));
        clock.learn(ahead);
        let jump = clock.jump().unwrap();
        assert_eq!((jump.by.as_secs(), jump.times), (3 * 3600 + 30, 1));
        tokio::time::advance(Duration::from_secs(100)).await;
        clock.learn(ahead + SignedDuration::from_secs(100));
        assert_eq!(clock.jump(), Some(Jump { confirmed: true, ..jump }), "evenly from there on");
        clock.learn(at(true_second()));
        assert_eq!(clock.jump().map(|jump| (jump.by.as_secs(), jump.times)), Some((-3 * 3600, 2)), "there and back");
        tokio::time::advance(SERIES * 2).await;
        clock.learn(ahead);
        assert_eq!(clock.jump().map(|jump| jump.times), Some(1), "that was long ago");
        for edge in [Timestamp::MIN, Timestamp::MAX, Timestamp::MAX] {
            clock.learn(edge);
            assert!(clock.now() >= edge);
        }
    }
}
