//! The watched copy of the book. It may be stale: it tells what to show, and whether a step may be due. No order rests on it. It also keeps how
//! long an entry has been known, which only makes steps wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{ResourceExt, runtime::watcher::Event};
use parking_lot::RwLock;
use tokio::time::Instant;

use super::in_order;
use crate::{
    api::{Phase, REDIS_ID_LABEL, RedisUpgrade},
    api_server::{number, version},
};

type Entries = BTreeMap<String, Vec<Known>>;

#[derive(Clone)]
struct Known {
    entry: RedisUpgrade,
    /// Since when this process knows it as it is: in that phase, delivered or not.
    since: Instant,
}

impl Known {
    /// The entry as it is kept. `before` are those that were kept until now.
    fn new(mut entry: RedisUpgrade, before: &[Self]) -> Self {
        entry.metadata.managed_fields = None;
        let since = since(before, &entry).unwrap_or_else(Instant::now);
        Self { entry, since }
    }
}

fn since(known: &[Known], entry: &RedisUpgrade) -> Option<Instant> {
    let is_it = |known: &&Known| known.entry.uid() == entry.uid() && stage(&known.entry) == stage(entry);
    known.iter().find(is_it).map(|known| known.since)
}

fn stage(entry: &RedisUpgrade) -> (Phase, bool) {
    (entry.phase(), entry.outcome().delivered_at.is_some())
}

#[derive(Clone, Default)]
pub struct Cache {
    entries: Arc<RwLock<Entries>>,
    /// What a list in progress has shown so far.
    listed: Arc<RwLock<Entries>>,
}

impl Cache {
    /// The entries of an instance, lowest number first.
    pub fn entries(&self, redis_id: &str) -> Vec<RedisUpgrade> {
        let entries = self.entries.read();
        let known = entries.get(redis_id).into_iter().flatten();
        in_order(known.map(|known| known.entry.clone()).collect(), redis_id)
    }

    /// Takes an event of the watch; returns the redisIds whose entries may have changed.
    pub fn apply(&self, event: Event<RedisUpgrade>) -> Vec<String> {
        match event {
            Event::Init => {
                self.listed.write().clear();
                Vec::new()
            }
            Event::InitApply(entry) => {
                let known = known(&self.entries.read(), entry);
                insert(&mut self.listed.write(), known);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut *self.listed.write());
                let mut entries = self.entries.write();
                let before = std::mem::replace(&mut *entries, listed);
                let known: BTreeSet<_> = before.keys().chain(entries.keys()).collect();
                let is_changed = |id: &&&String| stamp(&before, id) != stamp(&entries, id);
                known.iter().filter(is_changed).map(|id| (*id).clone()).collect()
            }
            Event::Apply(entry) => {
                let redis_id = key(&entry);
                self.put(entry);
                vec![redis_id]
            }
            Event::Delete(entry) => {
                let redis_id = key(&entry);
                let mut entries = self.entries.write();
                if let Some(of_instance) = entries.get_mut(&redis_id) {
                    of_instance.retain(|other| other.entry.name_any() != entry.name_any());
                    if of_instance.is_empty() {
                        entries.remove(&redis_id);
                    }
                }
                vec![redis_id]
            }
        }
    }

    /// Takes an entry as it is, unless something newer is there.
    pub(super) fn put(&self, entry: RedisUpgrade) {
        let mut entries = self.entries.write();
        let known = known(&entries, entry);
        insert(&mut entries, known);
    }

    /// Takes what a consistent read of that version has shown; what was written since stays.
    pub(super) fn put_all(&self, redis_id: &str, entries: &[RedisUpgrade], read_at: Option<&str>) {
        let read_at = number(read_at);
        let mut all = self.entries.write();
        let before = all.remove(redis_id).unwrap_or_default();
        for entry in entries {
            insert(&mut all, Known::new(entry.clone(), &before));
        }
        for known in before.into_iter().filter(|known| version(&known.entry.metadata) > read_at) {
            insert(&mut all, known);
        }
    }

    /// Changes whenever an entry of the instance is written or goes.
    pub fn stamp(&self, redis_id: &str) -> u64 {
        stamp(&self.entries.read(), redis_id)
    }

    /// How long this process has known of an entry as it is (in that phase, delivered or not), by no clock but its own monotonic one.
    pub(super) fn known_for(&self, entry: &RedisUpgrade) -> Duration {
        let entries = self.entries.read();
        let since = entries.get(&key(entry)).and_then(|known| since(known, entry));
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

fn stamp(entries: &Entries, redis_id: &str) -> u64 {
    let Some(of_instance) = entries.get(redis_id) else { return 0 };
    let newest = of_instance.iter().map(|known| version(&known.entry.metadata)).max();
    newest.unwrap_or(0).wrapping_add((of_instance.len() as u64) << 56)
}

/// Whose entry it is: by its label, as a consistent read finds it.
fn key(entry: &RedisUpgrade) -> String {
    entry.labels().get(REDIS_ID_LABEL).unwrap_or(&entry.spec.redis_id).clone()
}

fn known(entries: &Entries, entry: RedisUpgrade) -> Known {
    let before = entries.get(&key(&entry)).map_or(&[][..], Vec::as_slice);
    Known::new(entry, before)
}

fn insert(entries: &mut Entries, known: Known) {
    let of_instance = entries.entry(key(&known.entry)).or_default();
    match of_instance.iter_mut().find(|other| other.entry.name_any() == known.entry.name_any()) {
        Some(other) if version(&other.entry.metadata) > version(&known.entry.metadata) => {}
        Some(other) => *other = known,
        None => {
            of_instance.push(known);
            of_instance.sort_by_key(|known| known.entry.number());
        }
    }
}

#[cfg(test)]
mod tests;
