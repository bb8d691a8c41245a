//! One reader: the rows that are watched in one account and region, and the rounds that keep them up to date.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    SecretUse, Shared,
    list::{self, Found, patiently},
};
use crate::{
    api::Object,
    calls::Calls,
    cloud::{Caller, CloudError, Dated, Instance},
    decide::{LookError, LookFailure, Policy, Seen},
    secrets::Keys,
};

/// New ones that arrive within this time share a round.
const GATHER: Duration = Duration::from_millis(20);
/// So many that the list doesn't show are asked for by themselves in one round.
const ASKED_A_ROUND: usize = 50;
/// The longest wait before one that isn't there is asked for by itself again. (One that is there, and only not listed, is asked for as often
/// as the list is read.)
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// The longest wait before a key that was refused is tried again.
const NEW_KEY: Duration = Duration::from_secs(30);
/// A look of its own may be this much later than a page of the list that was under way. More than that, and its Date was wrong.
const ROUND_AT_MOST: SignedDuration = SignedDuration::from_mins(1);
/// A failure lasts when it has lasted for so many resyncs.
const LASTING: u32 = 3;

pub(super) struct Reader {
    caller: Caller,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// In order, as all else that is asked for one after the other: so a run can be repeated.
    rows: BTreeMap<String, Row>,
    trouble: Option<LookFailure>,
    failures: u32,
    failing_since: Option<Instant>,
    closed: bool,
}

struct Row {
    seen: Seen,
    watchers: HashMap<Object, SecretUse>,
    active: bool,
    failing_since: Option<Instant>,
    /// The latest list did not show it.
    missing: bool,
    /// When one that is missing is asked for by itself, and how long it waits after that.
    ask_at: Instant,
    ask_wait: Duration,
}

impl Reader {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, state: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a fresh look at one instance. Returns its watchers if that is news.
    pub(super) fn saw(&self, redis_id: &str, seen: &Seen) -> Vec<Object> {
        let mut state = self.state.lock();
        let Some(row) = state.rows.get_mut(redis_id) else { return Vec::new() };
        let news = !same_sight(&row.seen, seen);
        row.seen = seen.clone();
        if news { row.watchers.keys().cloned().collect() } else { Vec::new() }
    }

    pub(super) fn set_active(&self, redis_id: &str, active: bool, policy: &Policy) {
        if let Some(row) = self.state.lock().rows.get_mut(redis_id)
            && row.active != active
        {
            row.active = active;
            row.ask_at = row.ask_at.min(Instant::now() + policy.active);
            self.changed.notify_one();
        }
    }

    pub(super) fn leave(&self, object: &Object, redis_id: &str) {
        let mut state = self.state.lock();
        if let Some(row) = state.rows.get_mut(redis_id) {
            row.watchers.remove(object);
            if row.watchers.is_empty() {
                state.rows.remove(redis_id);
            }
        }
        self.changed.notify_one();
    }

    /// `None` when this reader has ended.
    pub(super) fn watch(&self, object: &Object, secret: &SecretUse, redis_id: &str) -> Option<Seen> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let trouble = state.trouble.clone();
        let row = state.rows.entry(redis_id.to_owned()).or_insert_with(|| {
            self.changed.notify_one();
            Row::new()
        });
        row.watchers.insert(object.clone(), secret.clone());
        Some(trouble.map_or_else(|| row.seen.clone(), Seen::Failed))
    }

    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        sleep(GATHER).await;
        loop {
            let began = Instant::now();
            if AssertUnwindSafe(self.round(&shared, began)).catch_unwind().await.is_err() {
                tracing::error!(region = self.caller.region, "a fault of the operator while it read the cloud's list");
                self.state.lock().failures += 1;
            }
            // What comes meanwhile may bring the next round forward, and doesn't put it off.
            let mut due = self.next_round(&shared.policy, began);
            while let Some(moment) = due {
                tokio::select! {
                    biased;
                    () = sleep_until(moment) => break,
                    () = self.changed.notified() => {
                        due = self.next_round(&shared.policy, began).map(|next| next.min(moment));
                    }
                }
            }
            if due.is_none() {
                shared.readers.lock().retain(|_, other| !Arc::ptr_eq(other, &self));
                return;
            }
        }
    }

    async fn round(&self, shared: &Shared, began: Instant) {
        self.wake_those_with_other_keys(shared).await;
        let listed = self.list(&shared.calls).await;
        let woken = self.take(&shared.policy, began, listed);
        shared.wakes.wake(woken);
        self.ask_for_missing(shared).await;
    }

    /// When the next round is due; `None` (and no more watchers are taken) when nobody watches.
    fn next_round(&self, policy: &Policy, began: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        if state.rows.is_empty() {
            state.closed = true;
            return None;
        }
        if state.failures > 0 {
            let wait = policy.active.saturating_mul(1 << state.failures.min(8)).min(policy.resync.max(policy.active));
            // Another key may come any time; whether there is one is looked up at the start of a round.
            let for_a_key = state.trouble.as_ref().is_some_and(LookFailure::is_final);
            return Some(began + if for_a_key { wait.min(NEW_KEY) } else { wait });
        }
        let now = Instant::now();
        let some = |test: &dyn Fn(&Row) -> bool| state.rows.values().any(test);
        Some(match () {
            () if some(&|row| row.seen == Seen::NotYet && !row.missing) => now + GATHER,
            // Something is on its way, or more were missing than could be asked for.
            () if some(&|row| row.active || row.missing && row.ask_at <= now) => {
                began + policy.active.min(policy.resync)
            }
            () => began + policy.resync,
        })
    }

    /// A Secret may hold another key by now: those who use it go to that key's reader.
    async fn wake_those_with_other_keys(&self, shared: &Shared) {
        let namespace = |object: &Object| object.namespace.clone().unwrap_or_default();
        let used: BTreeSet<(String, String)> = {
            let state = self.state.lock();
            let watchers = state.rows.values().flat_map(|row| &row.watchers);
            watchers.map(|(object, secret)| (namespace(object), secret.name.clone())).collect()
        };
        for (of, name) in used {
            let version = match shared.secrets.get(&of, &name).await {
                Ok(Keys { version, .. }) => version,
                // What can't be read now is no news; one that is gone or spoilt is.
                Err(crate::secrets::Error::Api(..)) => continue,
                Err(crate::secrets::Error::Unusable(_)) => String::new(),
            };
            let state = self.state.lock();
            let watchers = state.rows.values().flat_map(|row| &row.watchers);
            let with_another = watchers.filter(|(object, secret)| {
                secret.name == name && secret.version != version && object.namespace.as_deref() == Some(&of)
            });
            shared.wakes.wake(with_another.map(|(object, _)| object.clone()));
        }
    }

    /// The list, and those that are watched and not in it, as far as they can be asked for together.
    async fn list(&self, calls: &Calls) -> Result<Found, CloudError> {
        let mut found = list::whole(calls, &self.caller).await?;
        list::missing(calls, &self.caller, &mut found, |found| self.missing_from(found)).await;
        Ok(found)
    }

    /// One that isn't there is asked for by itself, ever more seldom.
    fn missing_from(&self, found: &Found) -> Vec<String> {
        let state = self.state.lock();
        let there = state.rows.iter().filter(|(_, row)| !matches!(row.seen, Seen::Absent(_)));
        there.map(|(id, _)| id).filter(|id| !found.contains_key(*id)).cloned().collect()
    }

    /// Takes a round's list. Returns those whom it changes something for.
    fn take(&self, policy: &Policy, began: Instant, listed: Result<Found, CloudError>) -> Vec<Object> {
        let mut state = self.state.lock();
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                state.failures += 1;
                let since = *state.failing_since.get_or_insert(began);
                let lasting = since.elapsed() >= policy.resync * LASTING;
                // The 1st, 2nd, 4th, 8th, … time: it is told in the status, too.
                if state.failures.is_power_of_two() {
                    let (failures, secret) = (state.failures, state.a_secret());
                    tracing::warn!(region = self.caller.region, secret, %error, failures, "the cloud's list could not be read");
                }
                let trouble = LookFailure { cause: LookError::Cloud(error), lasting };
                if state.trouble.as_ref().is_some_and(|before| before.is_like(&trouble)) {
                    return Vec::new();
                }
                state.trouble = Some(trouble);
                return state.all();
            }
        };
        let recovered = state.trouble.take().is_some();
        state.failures = 0;
        state.failing_since = None;
        let mut woken = if recovered { state.all() } else { Vec::new() };
        for (redis_id, row) in &mut state.rows {
            let seen = listed.remove(redis_id);
            row.missing = seen.is_none();
            if seen.is_some_and(|seen| row.take(seen)) {
                woken.extend(row.watchers.keys().cloned());
            }
        }
        woken
    }

    /// The list is no proof of absence (invariant B10): those that it doesn't show are asked for one by one.
    async fn ask_for_missing(&self, shared: &Shared) {
        let now = Instant::now();
        let due: Vec<_> = {
            let state = self.state.lock();
            if state.trouble.is_some() {
                return;
            }
            let missing = state.rows.iter().filter(|(_, row)| row.missing && row.ask_at <= now);
            let mut due: Vec<_> = missing.map(|(redis_id, row)| (row.ask_at, redis_id.clone())).collect();
            due.sort();
            due.truncate(ASKED_A_ROUND);
            due
        };
        for (_, redis_id) in due {
            let found = patiently(|| shared.calls.find(&self.caller, &redis_id)).await;
            let mut state = self.state.lock();
            let Some(row) = state.rows.get_mut(&redis_id) else { continue };
            let seen = match found {
                Ok(Dated { value: Some(value), at }) => Seen::Instance(Dated { value, at }),
                Ok(Dated { value: None, at }) => Seen::Absent(at),
                Err(error) => {
                    let since = *row.failing_since.get_or_insert_with(Instant::now);
                    let lasting = since.elapsed() >= shared.policy.resync * LASTING;
                    Seen::Failed(LookFailure { cause: LookError::Cloud(error), lasting })
                }
            };
            if !matches!(seen, Seen::Failed(_)) {
                row.failing_since = None;
            }
            if !same_sight(&row.seen, &seen) {
                shared.wakes.wake(row.watchers.keys().cloned());
            }
            row.seen = seen;
            let in_trouble = matches!(&row.seen, Seen::Failed(failure) if !failure.is_final());
            let longest = match row.seen {
                _ if row.active => shared.policy.active,
                Seen::Instance(_) => shared.policy.resync,
                _ if in_trouble => shared.policy.resync,
                _ => LONGEST_WAIT,
            };
            row.ask_wait = (row.ask_wait * 2).clamp(shared.policy.active, longest.max(shared.policy.active));
            row.ask_at = Instant::now() + row.ask_wait;
            if in_trouble {
                // The others are for the next round: a list must not wait for the time-outs and pauses of each.
                return;
            }
        }
    }
}

impl State {
    /// One of the Secrets that the reader's key is from, for the log.
    fn a_secret(&self) -> String {
        let watcher = self.rows.values().find_map(|row| row.watchers.iter().next());
        let name = |(object, secret): (&Object, &SecretUse)| {
            format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), secret.name)
        };
        watcher.map(name).unwrap_or_default()
    }

    fn all(&self) -> Vec<Object> {
        self.rows.values().flat_map(|row| row.watchers.keys().cloned()).collect()
    }
}

impl Row {
    fn new() -> Self {
        Self {
            seen: Seen::NotYet,
            watchers: HashMap::new(),
            active: false,
            failing_since: None,
            missing: false,
            ask_at: Instant::now(),
            ask_wait: Duration::ZERO,
        }
    }

    /// Takes what a list shows; true if that is news. What was seen at the same second or a little later stays.
    fn take(&mut self, seen: Dated<Instance>) -> bool {
        self.ask_wait = Duration::ZERO;
        self.ask_at = Instant::now();
        self.failing_since = None;
        if let Seen::Instance(before) = &self.seen {
            let later = before.at.duration_since(seen.at);
            if !later.is_negative() && later <= ROUND_AT_MOST {
                return false;
            }
        }
        let seen = Seen::Instance(seen);
        let news = !same_sight(&self.seen, &seen);
        self.seen = seen;
        news
    }
}

/// Do both tell the same, whenever they were seen?
fn same_sight(a: &Seen, b: &Seen) -> bool {
    match (a, b) {
        (Seen::Instance(a), Seen::Instance(b)) => a.value == b.value,
        (Seen::Absent(_), Seen::Absent(_)) | (Seen::NotYet, Seen::NotYet) => true,
        (Seen::Failed(a), Seen::Failed(b)) => a.is_like(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
