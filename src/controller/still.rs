//! Most are still: nothing is due, and their status tells all. Of these the row tells enough, and the object itself is not kept.

use std::sync::Arc;

use kube::{Api, Resource};

use super::{
    Operator,
    reconcile::{Error, View},
};
use crate::{
    api::{Object, RedisInstance},
    api_server::{CALL, within},
    cloud::{Dated, Instance, InstanceState, Layout},
    decide::{Health, Seen, Situation, decide},
    index::Still,
    report::status,
};

impl Operator {
    /// Is it one of those, with the cloud as its status says? Decided as it would be if the cloud said so.
    pub(super) fn still(&self, instance: &RedisInstance) -> Option<Still> {
        let told = instance.status.as_ref()?;
        let (size, redis_id) = (told.mem_size?, &instance.spec.redis_id);
        if instance.meta().deletion_timestamp.is_some() || instance.is_requested() {
            return None;
        }
        let book = self.cache.stamp(redis_id);
        let entries = self.cache.entries(redis_id);
        let now = self.actor.calls.now();
        let supposed = Instance {
            redis_id: redis_id.clone(),
            state: InstanceState::Running,
            size,
            zone_id: None,
            type_id: None,
            layout: Layout::default(),
        };
        let seen = Seen::Instance(Dated { value: supposed, at: now });
        let situation = Situation {
            instance,
            owner: None,
            entries: &entries,
            seen: &seen,
            deal: None,
            secret_version: "",
            balance_low_until: None,
            due: false,
            now,
            dialect: self.actor.calls.dialect,
        };
        let decision = decide(&self.actor.policy, &situation);
        // (Of one that is Ready nothing rests on what is supposed beyond size and state.)
        let rests = decision.step.is_none() && decision.again.is_none() && !decision.active;
        let is_told = || status(instance, &entries, &seen, &decision.verdict, false, now) == *told;
        (rests && decision.verdict.health == Health::Ready && is_told()).then_some(Still { size, book })
    }

    /// Is it still, and is the cloud as its status says, or not heard of just now?
    pub(super) fn is_still(&self, view: &View) -> bool {
        let Some(Still { size, book }) = view.row.still else { return false };
        let as_told = match &view.seen {
            Seen::Instance(seen) => seen.value.state == InstanceState::Running && seen.value.size == size,
            Seen::NotYet => true,
            // A passing trouble is no news.
            Seen::Failed(failure) => !failure.lasting && !failure.is_final(),
            Seen::Absent(_) => false,
        };
        as_told && view.owner.is_none() && book == self.cache.stamp(&view.row.redis_id)
    }

    /// Reads one whose object is not kept; `None` if it is gone.
    pub(super) async fn read(&self, object: &Object) -> Result<Option<Arc<RedisInstance>>, Error> {
        let api: Api<RedisInstance> = Api::namespaced(self.actor.client.clone(), object.namespace());
        let read = within(CALL, api.get_opt(object.name())).await.map_err(Error::Unread)?;
        Ok(read.map(|instance| self.learn(object, instance)))
    }

    /// Takes an object as a call has shown it.
    pub(super) fn learn(&self, object: &Object, instance: RedisInstance) -> Arc<RedisInstance> {
        let (still, instance) = (self.still(&instance), Arc::new(instance.trimmed()));
        self.index.update(object, &instance, still);
        instance
    }
}
