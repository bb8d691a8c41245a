//! The watched copy of the book. It may be stale: it tells what to show, and whether a step may be due. No order rests on it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kube::{ResourceExt, runtime::watcher::Event};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::in_order;
use crate::{
    api::{REDIS_ID_LABEL, RedisUpgrade},
    api_server::{number, version},
};

type Entries = BTreeMap<String, Vec<RedisUpgrade>>;

#[derive(Clone, Default)]
pub struct Cache {
    entries: Arc<RwLock<Entries>>,
    /// What a list in progress has shown so far.
    listed: Arc<RwLock<Entries>>,
    /// Since when this process knows of each entry that isn't settled, by its uid.
    known: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Cache {
    /// The entries of an instance, lowest number first.
    pub fn entries(&self, redis_id: &str) -> Vec<RedisUpgrade> {
        in_order(self.entries.read().get(redis_id).cloned().unwrap_or_default(), redis_id)
    }

    /// Takes an event of the watch; returns the redisIds whose entries may have changed.
    pub fn apply(&self, event: Event<RedisUpgrade>) -> Vec<String> {
        match event {
            Event::Init => {
                self.listed.write().clear();
                Vec::new()
            }
            Event::InitApply(entry) => {
                let entry = self.noted(entry);
                insert(&mut self.listed.write(), entry);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut *self.listed.write());
                let there: HashSet<_> = listed.values().flatten().filter_map(ResourceExt::uid).collect();
                self.known.lock().retain(|uid, _| there.contains(uid));
                let mut entries = self.entries.write();
                let mut changed: Vec<_> = listed.keys().cloned().collect();
                changed.extend(entries.keys().filter(|id| !listed.contains_key(*id)).cloned());
                *entries = listed;
                changed
            }
            Event::Apply(entry) => {
                let redis_id = key(&entry);
                let entry = self.noted(entry);
                insert(&mut self.entries.write(), entry);
                vec![redis_id]
            }
            Event::Delete(entry) => {
                let redis_id = key(&entry);
                self.known.lock().remove(&entry.uid().unwrap_or_default());
                let mut entries = self.entries.write();
                if let Some(of_instance) = entries.get_mut(&redis_id) {
                    of_instance.retain(|other| other.name_any() != entry.name_any());
                    if of_instance.is_empty() {
                        entries.remove(&redis_id);
                    }
                }
                vec![redis_id]
            }
        }
    }

    /// Takes what this process wrote or read, unless something newer is there.
    pub(super) fn put(&self, entry: &RedisUpgrade) {
        let entry = self.noted(entry.clone());
        insert(&mut self.entries.write(), entry);
    }

    /// Takes what a consistent read of that version has shown; what was written since stays.
    pub(super) fn put_all(&self, redis_id: &str, entries: &[RedisUpgrade], read_at: Option<&str>) {
        let read_at = number(read_at);
        let mut all = self.entries.write();
        if let Some(before) = all.get_mut(redis_id) {
            before.retain(|entry| version(&entry.metadata) > read_at);
            if before.is_empty() {
                all.remove(redis_id);
            }
        }
        for entry in entries {
            insert(&mut all, self.noted(entry.clone()));
        }
    }

    /// How long this process has known of an entry that isn't settled, by no clock but its own monotonic one.
    pub(super) fn known_for(&self, entry: &RedisUpgrade) -> Duration {
        self.known.lock().get(&entry.uid().unwrap_or_default()).map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The entry as it is kept, now that it is known.
    fn noted(&self, mut entry: RedisUpgrade) -> RedisUpgrade {
        let (mut known, uid) = (self.known.lock(), entry.uid().unwrap_or_default());
        if entry.phase().is_settled() {
            known.remove(&uid);
        } else {
            known.entry(uid).or_insert_with(Instant::now);
        }
        entry.metadata.managed_fields = None;
        entry
    }
}

/// Whose entry it is: by its label, as a consistent read finds it.
fn key(entry: &RedisUpgrade) -> String {
    entry.labels().get(REDIS_ID_LABEL).unwrap_or(&entry.spec.redis_id).clone()
}

fn insert(entries: &mut Entries, entry: RedisUpgrade) {
    let of_instance = entries.entry(key(&entry)).or_default();
    match of_instance.iter_mut().find(|other| other.name_any() == entry.name_any()) {
        Some(other) if version(&other.metadata) > version(&entry.metadata) => {}
        Some(other) => *other = entry,
        None => {
            of_instance.push(entry);
            of_instance.sort_by_key(RedisUpgrade::number);
        }
    }
}

#[cfg(test)]
mod tests;
