//! Which `RedisInstance` is about which instance of the cloud, and of several the one that owns it (invariant B8).

use std::collections::HashMap;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use parking_lot::Mutex;

use crate::api::{Object, RedisInstance};

/// Could this `RedisInstance` observe its instance?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Untried,
    Sees,
    /// Its credentials can't see it: it doesn't stand in the way of the others.
    Blind,
}

struct Claim {
    object: Object,
    uid: String,
    created: Timestamp,
    sight: Sight,
}

#[derive(Default)]
pub struct Claims {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_redis_id: HashMap<String, Vec<Claim>>,
    redis_ids: HashMap<Object, String>,
}

impl Claims {
    /// Takes a `RedisInstance` that was seen. Returns the others for whom that may change who owns their instance.
    pub fn insert(&self, instance: &RedisInstance) -> Vec<Object> {
        let object = ObjectRef::from_obj(instance);
        let redis_id = &instance.spec.redis_id;
        let uid = instance.uid().unwrap_or_default();
        let created = instance.meta().creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        let mut state = self.state.lock();
        let claims = state.by_redis_id.get(redis_id);
        if claims.is_some_and(|claims| claims.iter().any(|claim| claim.object == object && claim.uid == uid)) {
            return Vec::new();
        }
        // Made again under its name, maybe for another instance, while nobody watched.
        let mut others = state.remove(&object);
        state.redis_ids.insert(object.clone(), redis_id.clone());
        let claims = state.by_redis_id.entry(redis_id.clone()).or_default();
        others.extend(claims.iter().map(|claim| claim.object.clone()));
        others.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        others.dedup();
        claims.push(Claim { object, uid, created, sight: Sight::Untried });
        claims.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        others
    }

    /// Forgets a `RedisInstance`. Returns the others on the same instance.
    pub fn remove(&self, object: &Object) -> Vec<Object> {
        self.state.lock().remove(object)
    }

    /// Notes whether a `RedisInstance` could observe its instance. Returns the others if that is news.
    pub fn sees(&self, instance: &RedisInstance, sight: Sight) -> Vec<Object> {
        let object = ObjectRef::from_obj(instance);
        let mut state = self.state.lock();
        let Some(claims) = state.by_redis_id.get_mut(&instance.spec.redis_id) else { return Vec::new() };
        let Some(claim) = claims.iter_mut().find(|claim| claim.object == object) else { return Vec::new() };
        if std::mem::replace(&mut claim.sight, sight) == sight {
            return Vec::new();
        }
        claims.iter().filter(|claim| claim.object != object).map(|claim| claim.object.clone()).collect()
    }

    /// namespace/name of the one that owns the instance, if it is another than this: of those not blind the oldest, then the one with
    /// the lowest uid. And whether that is sure: it has observed the instance.
    pub fn other_owner(&self, instance: &RedisInstance) -> Option<(String, bool)> {
        let state = self.state.lock();
        let owner = state.by_redis_id.get(&instance.spec.redis_id)?.iter().find(|claim| claim.sight != Sight::Blind)?;
        let name = || format!("{}/{}", owner.object.namespace.as_deref().unwrap_or_default(), owner.object.name);
        (owner.object != ObjectRef::from_obj(instance)).then(|| (name(), owner.sight == Sight::Sees))
    }

    /// All that are about this instance.
    pub fn of(&self, redis_id: &str) -> Vec<Object> {
        let state = self.state.lock();
        state
            .by_redis_id
            .get(redis_id)
            .map(|claims| claims.iter().map(|claim| claim.object.clone()).collect())
            .unwrap_or_default()
    }
}

impl State {
    fn remove(&mut self, object: &Object) -> Vec<Object> {
        let Some(redis_id) = self.redis_ids.remove(object) else { return Vec::new() };
        let Some(claims) = self.by_redis_id.get_mut(&redis_id) else { return Vec::new() };
        claims.retain(|claim| claim.object != *object);
        let others: Vec<_> = claims.iter().map(|claim| claim.object.clone()).collect();
        if others.is_empty() {
            self.by_redis_id.remove(&redis_id);
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing;

    fn instance(name: &str, uid: &str, created: i64) -> RedisInstance {
        let mut instance = testing::instance(name, uid, 1024);
        instance.metadata.creation_timestamp = Some(testing::at(created));
        instance
    }

    #[test]
    fn the_oldest_owns_then_the_lowest_uid() {
        let claims = Claims::default();
        let (young, old, twin) = (instance("young", "a", 20), instance("old", "c", 10), instance("twin", "b", 10));
        for each in [&young, &old, &twin] {
            claims.insert(each);
        }
        assert_eq!(claims.other_owner(&twin), None);
        assert_eq!(claims.other_owner(&old), Some(("shop/twin".into(), false)));
        assert_eq!(claims.other_owner(&young), Some(("shop/twin".into(), false)));
    }

    #[test]
    fn one_that_cannot_observe_blocks_nobody_until_it_can() {
        let claims = Claims::default();
        let (old, young) = (instance("old", "a", 10), instance("young", "b", 20));
        claims.insert(&old);
        assert_eq!(claims.insert(&young).len(), 1, "the older one hears of it");
        assert_eq!(claims.sees(&old, Sight::Blind).len(), 1, "the younger one is woken");
        assert_eq!(claims.other_owner(&young), None);
        assert_eq!(claims.sees(&old, Sight::Sees).len(), 1);
        assert_eq!(claims.other_owner(&young), Some(("shop/old".into(), true)));
        assert_eq!(claims.sees(&old, Sight::Sees).len(), 0, "nothing new, nobody is woken");
    }

    #[test]
    fn when_the_owner_is_deleted_or_made_again_the_next_one_owns() {
        let claims = Claims::default();
        let (old, young) = (instance("old", "a", 10), instance("young", "b", 20));
        claims.insert(&old);
        claims.insert(&young);
        assert_eq!(
            claims.insert(&instance("old", "c", 30)).len(),
            1,
            "made again under its name, it is the younger one"
        );
        assert_eq!(claims.other_owner(&young), None);
        assert_eq!(claims.remove(&ObjectRef::from_obj(&young)).len(), 1);
        assert_eq!(claims.of("crs-1").len(), 1);
    }

    #[test]
    fn one_made_again_for_another_instance_while_nobody_watched_owns_the_first_no_more() {
        let claims = Claims::default();
        let (old, young) = (instance("old", "a", 10), instance("young", "b", 20));
        claims.insert(&old);
        claims.insert(&young);
        let mut again = instance("old", "c", 30);
        again.spec.redis_id = "crs-2".into();
        assert_eq!(claims.insert(&again), [ObjectRef::from_obj(&young)], "it hears of it");
        assert_eq!(claims.other_owner(&young), None);
    }
}
