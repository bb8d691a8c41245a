//! The world that the processes share: what the API server and the cloud keep, its time, its chance, and what was seen of it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

use super::{chance::Chance, counts::Counts, judge::Judge, people::Named, plan::Plan, store::Store, vendor::Vendor};

/// Of the world's time, since the history began.
pub(super) type Millis = u64;

/// Of one history: more is a loop without pauses.
const MOST_NOTES: u64 = 20_000;

const BEGINNING: i64 = 1_790_000_000;

/// The moment, by the cloud's clock and everybody's.
pub(super) fn at(now: Millis) -> Timestamp {
    let since = SignedDuration::from_millis(i64::try_from(now).unwrap_or(0));
    Timestamp::constant(BEGINNING, 0).checked_add(since).unwrap_or(Timestamp::MAX)
}

/// When that was, in whole seconds of the Unix clock, since the history began.
pub(super) fn millis_of(second: i64) -> Millis {
    u64::try_from((second - BEGINNING) * 1000).unwrap_or(0)
}

/// The world's time for one process: its own runtime's, which stands still while others have their turn.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    origin: Millis,
    start: Instant,
}

impl Clock {
    /// In the runtime of the process.
    pub(super) fn starting(now: Millis) -> Self {
        Self { origin: now, start: Instant::now() }
    }

    /// When the process began.
    pub(super) fn origin(&self) -> Millis {
        self.origin
    }

    pub(super) fn now(&self) -> Millis {
        self.origin + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0)
    }

    pub(super) fn instant(&self, moment: Millis) -> Instant {
        self.start + std::time::Duration::from_millis(moment.saturating_sub(self.origin))
    }
}

pub(super) struct World {
    state: Mutex<State>,
    /// The API server has news for its watches.
    pub(super) changed: Notify,
}

pub(super) struct State {
    pub(super) now: Millis,
    pub(super) plan: Plan,
    pub(super) chance: Chance,
    pub(super) store: Store,
    pub(super) vendor: Vendor,
    pub(super) judge: Judge,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    /// The API server, the cloud can't be reached before.
    pub(super) api_away_until: Millis,
    pub(super) cloud_away_until: Millis,
    /// About which instance each RedisInstance is, or was at last.
    pub(super) redis_ids: BTreeMap<Named, &'static str>,
    /// How many seconds the last wild Date was off.
    pub(super) wild: i64,
    /// Each watch that began before ends.
    pub(super) watches_cut_at: Millis,
}

impl World {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// The world at that moment: all that happens by itself has happened.
    pub(super) fn at(&self, now: Millis) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.now = state.now.max(now);
        let State { vendor, judge, now, chance, .. } = &mut *state;
        for order in vendor.advance(*now, chance) {
            judge.charged(vendor, order);
        }
        state
    }

    pub(super) fn now(&self) -> MutexGuard<'_, State> {
        self.at(0)
    }
}

impl State {
    /// Faults strike until then.
    pub(super) fn is_calm(&self) -> bool {
        self.now >= self.plan.calm_at
    }

    pub(super) fn struck(&mut self, fault: &'static str) {
        self.counts.one(fault);
    }

    pub(super) fn note(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, who, what);
        if self.trace.count == MOST_NOTES {
            self.judge.broken(format!("a hot loop: {who} does ever more, {what} at last"));
        }
    }
}

/// All that happened, as a hash, and in words if somebody reads them.
pub(super) struct Trace {
    hash: DefaultHasher,
    count: u64,
    readable: bool,
    line: String,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Self {
        Self { hash: DefaultHasher::new(), count: 0, readable, line: String::new() }
    }

    fn note(&mut self, now: Millis, who: &str, what: std::fmt::Arguments<'_>) {
        use std::fmt::Write;
        self.count += 1;
        self.line.clear();
        // Writing into a String can't fail.
        let _ = write!(self.line, "{:>9.3} {who:<5} {what}", now as f64 / 1000.0);
        self.line.hash(&mut self.hash);
        if self.readable {
            println!("{}", self.line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}
