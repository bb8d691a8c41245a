//! What is kept of each `RedisInstance`: a small row, and the whole object only while something goes on with it. So memory follows what is
//! going on, and not much of it how many there are.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    api::{Object, RedisInstance},
    api_server::version,
    cloud::Account,
    decide::Health,
    shared::Shared,
};

/// The id of an instance in the cloud, as it is shared.
pub type RedisId = Arc<str>;

/// Through which Secret an instance is asked for, and where.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub namespace: String,
    pub secret: String,
    pub region: String,
}

/// Who has their turns together: all of one account, as far as is known whose a Secret is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    Account(Account),
    Source(Arc<Source>),
}

/// The status tells all there is to tell as long as the cloud shows the instance running with this size, and its book is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Still {
    /// MB.
    pub size: i64,
    /// [`crate::book::Cache::stamp`] of its entries.
    pub book: u64,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub redis_id: RedisId,
    pub source: Arc<Source>,
    pub still: Option<Still>,
    /// Trimmed; not kept of one that is still, nor of more than so many.
    pub whole: Option<Arc<RedisInstance>>,
    /// Somebody asks for a look.
    pub requested: bool,
    /// How often in a row it could not be looked after.
    pub failures: u32,
    /// As what the metric counts it.
    counted: Option<Health>,
    /// Its resourceVersion.
    version: u64,
}

impl Row {
    /// Is the object about the same instance, asked for in the same way?
    pub fn is_about(&self, instance: &RedisInstance) -> bool {
        let (spec, Source { secret, region, .. }) = (&instance.spec, &*self.source);
        *self.redis_id == *spec.redis_id && *secret == spec.credentials_secret_ref.name && *region == spec.region
    }
}

/// What the watch has shown of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing newer than what was known.
    Known,
    New,
    Changed,
    /// Made again under its name, for another instance than this one.
    Moved(RedisId),
}

pub struct Index {
    most_whole: usize,
    state: Mutex<State>,
}

/// So many objects are kept, more than a kilobyte each: one of those beyond is read when its turn comes. (At the first start each of all there
/// are waits to be told of.)
pub const MOST_WHOLE: usize = 10_000;

#[derive(Default)]
struct State {
    rows: HashMap<Object, Row>,
    sources: Shared<Source>,
    accounts: HashMap<Arc<Source>, Account>,
    /// How many of them have the whole object.
    wholes: usize,
}

impl Index {
    pub fn new(most_whole: usize) -> Self {
        Self { most_whole, state: Mutex::default() }
    }

    /// Takes an object as the watch shows it. A list is believed also where it shows something older: the cluster may have been set back.
    pub fn insert(&self, object: &Object, instance: RedisInstance, still: Option<Still>, is_list: bool) -> Shown {
        let mut state = self.state.lock();
        if state.knows(object, &instance, is_list) {
            return Shown::Known;
        }
        state.insert(object, &Arc::new(instance), still, self.most_whole)
    }

    /// Would [`Self::insert`] find nothing new in it?
    pub fn knows(&self, object: &Object, instance: &RedisInstance, is_list: bool) -> bool {
        self.state.lock().knows(object, instance, is_list)
    }

    /// Takes an object as a call has shown it. One that is gone from the watch stays gone.
    pub fn update(&self, object: &Object, instance: &Arc<RedisInstance>, still: Option<Still>) {
        let mut state = self.state.lock();
        if state.rows.get(object).is_some_and(|row| row.version <= version(&instance.metadata)) {
            state.insert(object, instance, still, self.most_whole);
        }
    }

    pub fn get(&self, object: &Object) -> Option<Row> {
        self.state.lock().rows.get(object).cloned()
    }

    pub fn redis_id(&self, object: &Object) -> Option<RedisId> {
        self.state.lock().rows.get(object).map(|row| row.redis_id.clone())
    }

    pub fn line(&self, object: &Object) -> Option<Line> {
        let state = self.state.lock();
        let source = &state.rows.get(object)?.source;
        let account = state.accounts.get(source).cloned();
        Some(account.map_or_else(|| Line::Source(source.clone()), Line::Account))
    }

    /// Whose the Secret is, by its key.
    pub fn belongs(&self, source: &Arc<Source>, account: &Account) {
        let accounts = &mut self.state.lock().accounts;
        if accounts.get(source) == Some(account) {
            return;
        }
        // Before it grows: one reference is this map's own, and one its interner's.
        if accounts.len() == accounts.capacity() {
            accounts.retain(|source, _| Arc::strong_count(source) > 2);
        }
        accounts.insert(source.clone(), account.clone());
    }

    /// Returns its redisId, and as what the metric counted it.
    pub fn remove(&self, object: &Object) -> Option<(RedisId, Option<Health>)> {
        let mut state = self.state.lock();
        let row = state.rows.remove(object)?;
        state.wholes -= usize::from(row.whole.is_some());
        Some((row.redis_id, row.counted))
    }

    /// Those of a namespace, or of all, that are not in its list.
    pub fn not_in(&self, listed: &HashSet<Object>, namespace: Option<&str>) -> Vec<Object> {
        let state = self.state.lock();
        let of_it = state.rows.keys().filter(|object| namespace.is_none_or(|of| object.namespace() == of));
        let mut gone: Vec<_> = of_it.filter(|object| !listed.contains(*object)).cloned().collect();
        gone.sort();
        gone
    }

    /// Notes how a reconcile has ended. Returns how often in a row it has failed now; `None` if the object is gone.
    pub fn ended(&self, object: &Object, well: bool) -> Option<u32> {
        let mut state = self.state.lock();
        let row = state.rows.get_mut(object)?;
        row.failures = if well { 0 } else { row.failures.saturating_add(1) };
        Some(row.failures)
    }

    /// Counts it under a state, and returns the one before; `None` if that is the same, or it is gone.
    pub fn count(&self, object: &Object, health: Health) -> Option<Option<Health>> {
        let before = self.state.lock().rows.get_mut(object)?.counted.replace(health);
        (before != Some(health)).then_some(before)
    }
}

impl State {
    fn knows(&self, object: &Object, instance: &RedisInstance, is_list: bool) -> bool {
        let version = version(&instance.metadata);
        let row = self.rows.get(object).filter(|row| row.version > 0);
        row.is_some_and(|row| row.version == version || row.version > version && !is_list)
    }

    fn insert(
        &mut self,
        object: &Object,
        instance: &Arc<RedisInstance>,
        still: Option<Still>,
        most_whole: usize,
    ) -> Shown {
        let version = version(&instance.metadata);
        let before = self.rows.get(object);
        let (redis_id, shown) = match before {
            None => (RedisId::from(&*instance.spec.redis_id), Shown::New),
            Some(row) if *row.redis_id == *instance.spec.redis_id => (row.redis_id.clone(), Shown::Changed),
            Some(row) => (RedisId::from(&*instance.spec.redis_id), Shown::Moved(row.redis_id.clone())),
        };
        let (failures, counted) = before.map_or((0, None), |before| (before.failures, before.counted));
        self.wholes -= usize::from(before.is_some_and(|before| before.whole.is_some()));
        let whole = (still.is_none() && self.wholes < most_whole).then(|| instance.clone());
        self.wholes += usize::from(whole.is_some());
        let requested = instance.is_requested();
        let source = self.sources.get(Source {
            namespace: object.namespace().to_owned(),
            secret: instance.spec.credentials_secret_ref.name.clone(),
            region: instance.spec.region.clone(),
        });
        self.rows.insert(object.clone(), Row { redis_id, source, still, whole, requested, failures, counted, version });
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing;

    fn instance(version: u64, redis_id: &str) -> RedisInstance {
        let mut instance = testing::instance("sessions", "uid", 1024);
        instance.metadata.resource_version = Some(version.to_string());
        instance.spec.redis_id = redis_id.into();
        instance
    }

    fn object() -> Object {
        Object::new("shop", "sessions")
    }

    const STILL: Still = Still { size: 1024, book: 0 };

    #[test]
    fn only_what_is_newer_than_what_is_known_is_news() {
        let index = Index::new(MOST_WHOLE);
        assert_eq!(index.insert(&object(), instance(5, "crs-1"), None, false), Shown::New);
        assert_eq!(index.insert(&object(), instance(5, "crs-1"), None, false), Shown::Known, "listed again");
        assert_eq!(index.insert(&object(), instance(4, "crs-1"), None, false), Shown::Known, "a watch that is behind");
        assert_eq!(index.insert(&object(), instance(6, "crs-1"), None, false), Shown::Changed);
        assert_eq!(index.insert(&object(), instance(7, "crs-2"), None, false), Shown::Moved("crs-1".into()));
        assert_eq!(index.get(&object()).unwrap().redis_id, "crs-2".into());
        assert_eq!(index.insert(&object(), instance(7, "crs-2"), None, true), Shown::Known);
        assert_eq!(
            index.insert(&object(), instance(3, "crs-2"), None, true),
            Shown::Changed,
            "the cluster was set back"
        );
        assert_eq!(index.insert(&object(), instance(4, "crs-2"), None, false), Shown::Changed);
    }

    #[test]
    fn a_line_is_an_accounts_as_soon_as_it_is_known_whose_the_secret_is() {
        let index = Index::new(MOST_WHOLE);
        let (a, b) = (Object::new("shop", "a"), Object::new("bank", "b"));
        index.insert(&a, instance(5, "crs-1"), None, false);
        index.insert(&b, instance(5, "crs-2"), None, false);
        assert_ne!(index.line(&a), index.line(&b), "Secrets of two namespaces");
        for object in [&a, &b] {
            let row = index.get(object).unwrap();
            index.belongs(&row.source, &testing::account("AKID1"));
        }
        assert_eq!(index.line(&a), index.line(&b), "with the same key");
        index.belongs(&index.get(&b).unwrap().source, &testing::account("AKID2"));
        assert_ne!(index.line(&a), index.line(&b), "until one gets another");
    }

    #[test]
    fn of_one_that_is_still_the_object_is_not_kept() {
        let index = Index::new(MOST_WHOLE);
        index.insert(&object(), instance(5, "crs-1"), None, false);
        assert!(index.get(&object()).unwrap().whole.is_some());
        index.insert(&object(), instance(6, "crs-1"), Some(STILL), false);
        let row = index.get(&object()).unwrap();
        assert!(row.whole.is_none() && row.still == Some(STILL));
    }

    #[test]
    fn no_more_objects_are_kept_than_so_many_and_one_that_goes_or_rests_makes_room() {
        let index = Index::new(MOST_WHOLE);
        let object = |number: usize| Object::new("shop", &number.to_string());
        let is_kept = |number: usize| index.get(&object(number)).is_some_and(|row| row.whole.is_some());
        for number in 0..=MOST_WHOLE {
            index.insert(&object(number), instance(5, "crs-1"), None, false);
            index.insert(&object(number), instance(6, "crs-1"), None, false);
        }
        assert!(is_kept(MOST_WHOLE - 1) && !is_kept(MOST_WHOLE));
        index.insert(&object(1), instance(7, "crs-1"), Some(STILL), false);
        index.insert(&object(MOST_WHOLE), instance(7, "crs-1"), None, false);
        assert!(is_kept(MOST_WHOLE));
        index.remove(&object(2));
        index.insert(&object(1), instance(8, "crs-1"), None, false);
        assert!(is_kept(1));
        index.insert(&object(2), instance(5, "crs-1"), None, false);
        assert!(!is_kept(2));
    }

    #[test]
    fn what_a_call_has_shown_counts_if_it_is_not_older_and_brings_none_back_that_is_gone() {
        let index = Index::new(MOST_WHOLE);
        index.insert(&object(), instance(5, "crs-1"), Some(STILL), false);
        index.update(&object(), &Arc::new(instance(4, "crs-1")), None);
        assert_eq!(index.get(&object()).unwrap().still, Some(STILL));
        index.update(&object(), &Arc::new(instance(5, "crs-1")), None);
        assert_eq!(index.get(&object()).unwrap().still, None, "the same, seen with another book");
        index.remove(&object());
        index.update(&object(), &Arc::new(instance(6, "crs-1")), None);
        assert!(index.get(&object()).is_none());
    }
}
