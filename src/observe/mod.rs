//! What the cloud shows of all instances: one reader for each account and region pages through the list, and wakes those whose instance
//! has changed. So ten thousand instances cost a hundred calls a round, and a burst of new ones costs one round.

mod list;
mod reader;
mod row;

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::{
    api::Object,
    calls::Calls,
    cloud::{Account, Caller, regions},
    decide::{Policy, Seen},
    index::RedisId,
    queue::Queue,
    secrets::Secrets,
};

use reader::Reader;

type Key = (Account, String);

/// Which Secret a key is from, and its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretUse {
    pub namespace: String,
    pub name: String,
    pub version: String,
}

struct Place {
    reader: Arc<Reader>,
    redis_id: RedisId,
}

impl Place {
    fn leave(&self, object: &Object) {
        self.reader.leave(object, &self.redis_id);
    }
}

#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

struct Shared {
    calls: Calls,
    secrets: Secrets,
    queue: Queue,
    policy: Policy,
    readers: Mutex<HashMap<Key, Arc<Reader>>>,
    /// Where each `RedisInstance` watches.
    places: Mutex<HashMap<Object, Place>>,
}

impl Observer {
    pub fn new(calls: Calls, secrets: Secrets, queue: Queue, policy: Policy) -> Self {
        let (readers, places) = Default::default();
        Self { shared: Arc::new(Shared { calls, secrets, queue, policy, readers, places }) }
    }

    /// What is known of an instance. From now on `object` is woken when that changes.
    pub fn watch(&self, object: &Object, secret: SecretUse, caller: &Caller, redis_id: &RedisId) -> Seen {
        let key = key(caller);
        let (reader, seen) = loop {
            let reader = self.reader(&key, caller);
            if let Some(seen) = reader.watch(object, secret.clone(), redis_id) {
                break (reader, seen);
            }
            // That reader has just ended for want of watchers: take a new one.
            self.shared.readers.lock().retain(|_, other| !Arc::ptr_eq(other, &reader));
        };
        let place = Place { reader: reader.clone(), redis_id: redis_id.clone() };
        let before = self.shared.places.lock().insert(object.clone(), place);
        if let Some(before) =
            before.filter(|before| !Arc::ptr_eq(&before.reader, &reader) || before.redis_id != *redis_id)
        {
            before.leave(object);
        }
        seen
    }

    /// Takes a fresh look at one instance into account, if it had an answer. Others that watch it hear of news: to the next list it is none.
    pub fn saw(&self, object: &Object, caller: &Caller, redis_id: &str, seen: &Seen) {
        if matches!(seen, Seen::NotYet { .. } | Seen::Failed(_)) {
            return;
        }
        let reader = self.shared.readers.lock().get(&key(caller)).cloned();
        let watchers = reader.map(|reader| reader.saw(redis_id, seen)).unwrap_or_default();
        self.shared.queue.wake(watchers.into_iter().filter(|other| other != object));
    }

    /// Says whether something is on its way for this one: then it is looked at often.
    pub fn set_active(&self, object: &Object, active: bool) {
        if let Some(Place { reader, redis_id }) = self.shared.places.lock().get(object) {
            reader.set_active(redis_id, active, &self.shared.policy);
        }
    }

    /// Nobody needs to be woken for this one any more.
    pub fn forget(&self, object: &Object) {
        if let Some(place) = self.shared.places.lock().remove(object) {
            place.leave(object);
        }
    }

    fn reader(&self, key: &Key, caller: &Caller) -> Arc<Reader> {
        let mut readers = self.shared.readers.lock();
        let new = || {
            let reader = Arc::new(Reader::new(caller.clone()));
            tokio::spawn(reader.clone().run(self.shared.clone()));
            reader
        };
        readers.entry(key.clone()).or_insert_with(new).clone()
    }
}

/// Both forms of a region's name are one reader's.
fn key(caller: &Caller) -> Key {
    (caller.account.clone(), regions::short(&caller.region).to_owned())
}
