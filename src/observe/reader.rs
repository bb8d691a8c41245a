//! One reader: the rows that are watched in one account and region, and the rounds that keep them up to date.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    SecretUse,
    list::{self, patiently},
    row::{LONGEST_WAIT, Row, Rows, Shape, Sight},
};
use crate::{
    api::Object,
    cloud::{Caller, CloudError, Dated, Instance},
    decide::{LookError, LookFailure, Policy, Seen},
    index::RedisId,
    secrets::Keys,
    shared::Shared,
};

/// What arrives within this time is looked at together; new ones share a round.
const GATHER: Duration = Duration::from_millis(20);
/// So many that the list doesn't show are asked for by themselves in one round.
const ASKED_A_ROUND: usize = 50;
/// The longest wait before a key that was refused is tried again.
const NEW_KEY: Duration = Duration::from_secs(30);
/// A failure lasts when it has lasted for so many resyncs.
const LASTING: u32 = 3;

pub(super) struct Reader {
    caller: Caller,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    rows: Rows,
    shapes: Shared<Shape>,
    secrets: Shared<SecretUse>,
    /// What the latest list has shown so far that nobody has watched: who comes to watch it needs no list of its own.
    unwatched: HashMap<String, Sight>,
    trouble: Option<LookFailure>,
    failures: u32,
    failing_since: Option<Instant>,
    closed: bool,
}

impl Reader {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, state: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a fresh look at one instance. Returns its watchers if that is news.
    pub(super) fn saw(&self, redis_id: &str, seen: &Seen) -> Vec<Object> {
        let State { rows, shapes, .. } = &mut *self.state.lock();
        let Some(row) = rows.get_mut(redis_id) else { return Vec::new() };
        if row.see(Sight::new(seen.clone(), shapes)) { row.objects().collect() } else { Vec::new() }
    }

    pub(super) fn set_active(&self, redis_id: &str, active: bool, policy: &Policy) {
        if let Some(row) = self.state.lock().rows.get_mut(redis_id)
            && row.active != active
        {
            row.set_active(active, policy);
            self.changed.notify_one();
        }
    }

    pub(super) fn leave(&self, object: &Object, redis_id: &str) {
        let mut state = self.state.lock();
        if let Some(row) = state.rows.get_mut(redis_id) {
            row.watchers.retain(|watcher| watcher.object != *object);
            if row.watchers.is_empty() {
                state.rows.remove(redis_id);
            }
        }
        self.changed.notify_one();
    }

    /// `None` when this reader has ended.
    pub(super) fn watch(&self, object: &Object, secret: SecretUse, redis_id: &RedisId) -> Option<Seen> {
        let State { rows, secrets, unwatched, trouble, closed, .. } = &mut *self.state.lock();
        if *closed {
            return None;
        }
        let row = rows.entry(redis_id.clone()).or_insert_with(|| {
            Row::new(unwatched.remove(&**redis_id).unwrap_or_else(|| {
                self.changed.notify_one();
                Sight::NotYet(Instant::now())
            }))
        });
        row.watch(object, secrets.get(secret));
        Some(trouble.clone().map_or_else(|| row.seen.seen(redis_id), Seen::Failed))
    }

    pub(super) async fn run(self: Arc<Self>, shared: Arc<super::Shared>) {
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
                        // Much of it comes at once, and all rows are looked through for it.
                        sleep(GATHER).await;
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

    async fn round(&self, shared: &super::Shared, began: Instant) {
        self.wake_those_with_other_keys(shared).await;
        let listed = self.list(shared).await;
        shared.queue.wake(self.end_list(&shared.policy, began, listed));
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
            () if some(&|row| matches!(row.seen, Sight::NotYet(_)) && !row.missing) => now + GATHER,
            // Something is on its way, or more were missing than could be asked for.
            () if some(&|row| row.active || row.asked_by(now).is_some()) => began + policy.active.min(policy.resync),
            () => began + policy.resync,
        })
    }

    /// A Secret may hold another key by now: those who use it go to that key's reader.
    async fn wake_those_with_other_keys(&self, shared: &super::Shared) {
        let mut used: Vec<_> = self.state.lock().secrets.iter().cloned().collect();
        used.sort();
        for secret in used {
            let version = match shared.secrets.get(&secret.namespace, &secret.name).await {
                Ok(Keys { version, .. }) => version,
                // What can't be read now is no news; one that is gone or spoilt is.
                Err(crate::secrets::Error::Api(..)) => continue,
                Err(crate::secrets::Error::Unusable(_)) => String::new(),
            };
            if version != secret.version {
                let state = self.state.lock();
                let watchers = state.rows.values().flat_map(|row| &row.watchers);
                shared.queue.wake(in_order(
                    watchers.filter(|watcher| watcher.secret == secret).map(|watcher| watcher.object.clone()),
                ));
            }
        }
    }

    /// The list, and those that are watched and not in it, as far as they can be asked for together.
    async fn list(&self, shared: &super::Shared) -> Result<(), CloudError> {
        self.begin_list();
        let take = |instance| shared.queue.wake(self.take(instance));
        list::whole(&shared.calls, &self.caller, take).await?;
        list::missing(&shared.calls, &self.caller, || self.not_listed(), take).await;
        Ok(())
    }

    fn begin_list(&self) {
        let mut state = self.state.lock();
        state.unwatched = HashMap::new();
        state.rows.values_mut().for_each(|row| row.listed = false);
    }

    /// Takes what the list shows of one instance. Returns those whom it changes something for.
    fn take(&self, instance: Dated<Instance>) -> Vec<Object> {
        let State { rows, shapes, unwatched, .. } = &mut *self.state.lock();
        let redis_id = instance.value.redis_id.clone();
        let sight = Sight::new(Seen::Instance(instance), shapes);
        let Some(row) = rows.get_mut(&*redis_id) else {
            unwatched.insert(redis_id, sight);
            return Vec::new();
        };
        if row.take(sight) { row.objects().collect() } else { Vec::new() }
    }

    /// One that isn't there is asked for by itself, ever more seldom.
    fn not_listed(&self) -> Vec<String> {
        let state = self.state.lock();
        let rows = state.rows.iter().filter(|(_, row)| !row.listed && !row.seen.is_absent());
        in_order(rows.map(|(redis_id, _)| redis_id.to_string()))
    }

    /// Returns those whom it changes something for that the list has ended so.
    fn end_list(&self, policy: &Policy, began: Instant, listed: Result<(), CloudError>) -> Vec<Object> {
        let mut state = self.state.lock();
        if let Err(error) = listed {
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
        let recovered = state.trouble.take().is_some();
        state.failures = 0;
        state.failing_since = None;
        state.rows.values_mut().for_each(|row| row.missing = !row.listed);
        if recovered { state.all() } else { Vec::new() }
    }

    /// The list is no proof of absence (invariant B10): those that it doesn't show are asked for one by one.
    async fn ask_for_missing(&self, shared: &super::Shared) {
        let now = Instant::now();
        let due: Vec<_> = {
            let state = self.state.lock();
            if state.trouble.is_some() {
                return;
            }
            let due = state.rows.iter().filter_map(|(redis_id, row)| Some((row.asked_by(now)?, redis_id.clone())));
            let mut due = in_order(due);
            due.truncate(ASKED_A_ROUND);
            due
        };
        for (_, redis_id) in due {
            let found = patiently(|| shared.calls.find(&self.caller, &redis_id)).await;
            let State { rows, shapes, .. } = &mut *self.state.lock();
            let Some(row) = rows.get_mut(&redis_id) else { continue };
            let seen = match found {
                Ok(Dated { value: Some(value), at }) => Seen::Instance(Dated { value, at }),
                Ok(Dated { value: None, at }) => Seen::Absent(at),
                Err(error) => {
                    let lasting = row.fails().elapsed() >= shared.policy.resync * LASTING;
                    Seen::Failed(LookFailure { cause: LookError::Cloud(error), lasting })
                }
            };
            let in_trouble = matches!(&seen, Seen::Failed(failure) if !failure.is_final());
            let longest = match seen {
                _ if row.active => shared.policy.active,
                Seen::Instance(_) => shared.policy.resync,
                _ if in_trouble => shared.policy.resync,
                _ => LONGEST_WAIT,
            };
            row.was_asked(matches!(seen, Seen::Failed(_)), longest, &shared.policy);
            if row.see(Sight::new(seen, shapes)) {
                shared.queue.wake(row.objects());
            }
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
        let secret = self.secrets.iter().min();
        secret.map(|secret| format!("{}/{}", secret.namespace, secret.name)).unwrap_or_default()
    }

    fn all(&self) -> Vec<Object> {
        in_order(self.rows.values().flat_map(Row::objects))
    }
}

/// As all that is asked for one after the other: so a run can be repeated.
fn in_order<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests;
