//! Most are still: nothing is due, and their status tells all. Of these the row tells enough, and the object itself is not kept.

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Api, Resource};

use super::{
    Operator,
    reconcile::{Error, View},
};
use crate::{
    act::Actor,
    api::{Object, RedisInstance, RedisUpgrade},
    api_server::{CALL, within},
    cloud::{Dated, Dialect, Instance, InstanceState, Layout},
    decide::{Decision, Health, Policy, Seen, Situation, decide},
    index::Still,
    report::status,
};

/// The size with which the cloud must show it running so that nothing is due and nothing is to be told, whatever else it shows: decided and told as
/// it would be if the cloud did. `None` if there is none.
pub(crate) fn rests_at(
    policy: &Policy,
    dialect: Dialect,
    instance: &RedisInstance,
    entries: &[RedisUpgrade],
    now: Timestamp,
) -> Option<i64> {
    let told = instance.status.as_ref()?;
    let (size, redis_id) = (told.mem_size?, instance.spec.redis_id.clone());
    if instance.meta().deletion_timestamp.is_some() || instance.is_requested() {
        return None;
    }
    let (state, zone_id, type_id, layout) = (InstanceState::Running, None, None, Layout::default());
    let supposed = Instance { redis_id, state, size, zone_id, type_id, layout };
    let seen = Seen::Instance(Dated { value: supposed, at: now });
    let situation = Situation {
        instance,
        owner: None,
        entries,
        seen: &seen,
        deal: None,
        secret_version: "",
        balance_low_until: None,
        due: false,
        now,
        dialect,
    };
    let Decision { step, verdict, again, active } = decide(policy, &situation);
    // Nothing that is told of one that is Ready rests on what was supposed beyond size and state.
    let rests = step.is_none() && again.is_none() && !active && verdict.health == Health::Ready;
    (rests && status(instance, entries, &seen, &verdict, false, now) == *told).then_some(size)
}

impl Operator {
    pub(super) fn still(&self, instance: &RedisInstance) -> Option<Still> {
        let redis_id = &instance.spec.redis_id;
        // Before the entries: what comes in between only makes it look closer.
        let book = self.cache.stamp(redis_id);
        let Actor { policy, calls, .. } = &*self.actor;
        let size = rests_at(policy, calls.dialect, instance, &self.cache.entries(redis_id), calls.now())?;
        Some(Still { size, book })
    }

    /// Is it still, and is the cloud as its status says, or not heard of just now?
    pub(super) fn is_still(&self, view: &View) -> bool {
        let Some(Still { size, book }) = view.row.still else { return false };
        let as_told = match &view.seen {
            Seen::Instance(seen) => seen.value.state == InstanceState::Running && seen.value.size == size,
            Seen::NotYet { .. } => true,
            // A passing trouble is no news.
            Seen::Failed(failure) => !failure.lasting && !failure.is_final(),
            Seen::Absent(_) => false,
        };
        as_told && view.owner.is_none() && book == self.cache.stamp(&view.row.redis_id)
    }

    /// Reads one whose object is not kept; `None` if that is another one than the view is about: the watch is about to show it, or just has,
    /// and then it has its turn.
    pub(super) async fn read(&self, view: &mut View) -> Result<Option<Arc<RedisInstance>>, Error> {
        let object = &view.object;
        let api: Api<RedisInstance> = Api::namespaced(self.actor.client.clone(), object.namespace());
        let read = within(CALL, api.get_opt(object.name())).await.map_err(Error::Unread)?;
        let is_same = |instance: &RedisInstance| view.row.is_about(instance) && self.claims.knows(object, instance);
        let Some(instance) = read.filter(is_same) else { return Ok(None) };
        let instance = self.learn(object, instance);
        if instance.is_requested() && !view.row.requested {
            // The view is by a Secret that was read before.
            self.queue.wake([object.clone()]);
            return Ok(None);
        }
        // Made again meanwhile, it is younger than the one that it was.
        view.owner = self.claims.other_owner(object, &view.row.redis_id);
        Ok(Some(instance))
    }

    /// Takes an object as a call has shown it.
    pub(super) fn learn(&self, object: &Object, instance: RedisInstance) -> Arc<RedisInstance> {
        let (still, instance) = (self.still(&instance), Arc::new(instance.trimmed()));
        self.index.update(object, &instance, still);
        instance
    }
}
