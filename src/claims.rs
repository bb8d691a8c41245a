//! Which `RedisInstance`s are about which instance of the cloud, and of several the one that owns it (invariant B8).

use std::collections::HashMap;

use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{
    api::{Object, RedisInstance},
    index::RedisId,
};

/// Could this `RedisInstance` observe its instance?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Untried,
    Sees,
    /// Its credentials can't see it: it doesn't stand in the way of the others.
    Blind,
}

pub struct Claim {
    object: Object,
    uid: Box<str>,
    /// Seconds since 1970.
    created: i64,
    sight: Sight,
}

impl Claim {
    pub fn new(object: Object, instance: &RedisInstance) -> Self {
        let uid = instance.uid().unwrap_or_default().into();
        let created = instance.meta().creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
        Self { object, uid, created, sight: Sight::Untried }
    }
}

/// The one that owns it comes first. Nearly always it is the only one.
type Claimants = SmallVec<[Claim; 1]>;

#[derive(Default)]
pub struct Claims {
    claimants: Mutex<HashMap<RedisId, Claimants>>,
}

impl Claims {
    /// Takes the claim of a `RedisInstance` that was seen. Returns the others for whom that may change who owns the instance.
    pub fn insert(&self, redis_id: &RedisId, claim: Claim) -> Vec<Object> {
        let mut all = self.claimants.lock();
        let claimants = all.entry(redis_id.clone()).or_default();
        if claimants.iter().any(|known| known.object == claim.object && known.uid == claim.uid) {
            return Vec::new();
        }
        // Made again under its name while nobody watched.
        claimants.retain(|known| known.object != claim.object);
        let others = claimants.iter().map(|known| known.object.clone()).collect();
        claimants.push(claim);
        claimants.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
        others
    }

    /// Is it this one whose claim was taken, and not another one of its name?
    pub fn knows(&self, object: &Object, instance: &RedisInstance) -> bool {
        let all = self.claimants.lock();
        let mut claims = all.get(&*instance.spec.redis_id).into_iter().flatten();
        claims.any(|claim| claim.object == *object && Some(&*claim.uid) == instance.metadata.uid.as_deref())
    }

    /// Forgets a `RedisInstance`. Returns the others on the same instance.
    pub fn remove(&self, object: &Object, redis_id: &str) -> Vec<Object> {
        let mut all = self.claimants.lock();
        let Some(claimants) = all.get_mut(redis_id) else { return Vec::new() };
        claimants.retain(|claim| claim.object != *object);
        let others: Vec<_> = claimants.iter().map(|claim| claim.object.clone()).collect();
        if others.is_empty() {
            all.remove(redis_id);
        }
        others
    }

    /// Notes whether a `RedisInstance` could observe its instance. Returns the others if that is news.
    pub fn sees(&self, object: &Object, redis_id: &str, sight: Sight) -> Vec<Object> {
        let mut all = self.claimants.lock();
        let Some(claimants) = all.get_mut(redis_id) else { return Vec::new() };
        let Some(claim) = claimants.iter_mut().find(|claim| claim.object == *object) else { return Vec::new() };
        if std::mem::replace(&mut claim.sight, sight) == sight {
            return Vec::new();
        }
        claimants.iter().filter(|claim| claim.object != *object).map(|claim| claim.object.clone()).collect()
    }

    /// namespace/name of the one that owns the instance, if it is another than this: of those not blind the oldest, then the one with
    /// the lowest uid. And whether that is sure: it has observed the instance.
    pub fn other_owner(&self, object: &Object, redis_id: &str) -> Option<(String, bool)> {
        let all = self.claimants.lock();
        let owner = all.get(redis_id)?.iter().find(|claim| claim.sight != Sight::Blind)?;
        (owner.object != *object).then(|| (owner.object.to_string(), owner.sight == Sight::Sees))
    }

    /// All that are about this instance.
    pub fn of(&self, redis_id: &str) -> Vec<Object> {
        let all = self.claimants.lock();
        all.get(redis_id).into_iter().flatten().map(|claim| claim.object.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing;

    struct Shop(Claims);

    impl Shop {
        fn made(&self, name: &str, uid: &str, created: i64) -> usize {
            let mut instance = testing::instance(name, uid, 1024);
            instance.metadata.creation_timestamp = Some(testing::at(created));
            self.0.insert(&"crs-1".into(), Claim::new(object(name), &instance)).len()
        }

        fn owner_of(&self, name: &str) -> Option<(String, bool)> {
            self.0.other_owner(&object(name), "crs-1")
        }

        fn sees(&self, name: &str, sight: Sight) -> usize {
            self.0.sees(&object(name), "crs-1", sight).len()
        }
    }

    fn object(name: &str) -> Object {
        Object::new("shop", name)
    }

    #[test]
    fn the_oldest_owns_then_the_lowest_uid() {
        let shop = Shop(Claims::default());
        shop.made("young", "a", 20);
        shop.made("old", "c", 10);
        shop.made("twin", "b", 10);
        assert_eq!(shop.owner_of("twin"), None);
        assert_eq!(shop.owner_of("old"), Some(("shop/twin".into(), false)));
        assert_eq!(shop.owner_of("young"), Some(("shop/twin".into(), false)));
    }

    #[test]
    fn one_that_cannot_observe_blocks_nobody_until_it_can() {
        let shop = Shop(Claims::default());
        shop.made("old", "a", 10);
        assert_eq!(shop.made("young", "b", 20), 1, "the older one hears of it");
        assert_eq!(shop.sees("old", Sight::Blind), 1, "the younger one is woken");
        assert_eq!(shop.owner_of("young"), None);
        assert_eq!(shop.sees("old", Sight::Sees), 1);
        assert_eq!(shop.owner_of("young"), Some(("shop/old".into(), true)));
        assert_eq!(shop.sees("old", Sight::Sees), 0, "nothing new, nobody is woken");
    }

    #[test]
    fn when_the_owner_is_deleted_or_made_again_the_next_one_owns() {
        let shop = Shop(Claims::default());
        shop.made("old", "a", 10);
        shop.made("young", "b", 20);
        let before = testing::instance("old", "a", 1024);
        assert!(shop.0.knows(&object("old"), &before));
        assert_eq!(shop.made("old", "c", 30), 1, "made again under its name, it is the younger one");
        assert!(!shop.0.knows(&object("old"), &before));
        assert_eq!(shop.owner_of("young"), None);
        assert_eq!(shop.0.remove(&object("young"), "crs-1").len(), 1);
        assert_eq!(shop.0.of("crs-1").len(), 1);
        assert_eq!(shop.0.remove(&object("old"), "crs-1").len(), 0);
        assert_eq!(shop.0.of("crs-1").len(), 0);
    }
}
