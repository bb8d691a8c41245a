//! The watches: they feed the store, the claims and the cache of the book, and keep one bad object from halting the others.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use futures::{Stream, StreamExt, TryStreamExt, future::ready};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource, ResourceExt,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::oneshot;

use super::Operator;
use crate::{
    api::{RedisInstance, RedisUpgrade},
    api_server::plain_watch,
};

impl Operator {
    /// Keeps the cache of the book up to date, and wakes those whose entries change.
    pub(super) async fn watch_book(
        self: Arc<Self>,
        api: Api<DeserializeGuard<RedisUpgrade>>,
        synced: oneshot::Sender<()>,
    ) {
        let mut synced = Some(synced);
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => readable(event, |bad| {
                    tracing::error!(
                        entry = bad.metadata.name,
                        error = bad.error,
                        "an entry of the account book can't be read: nothing is ordered for its instance"
                    );
                    None
                }),
                Err(error) => {
                    tracing::warn!(
                        error = plain_watch(&error),
                        "the watch of the account book has failed; it is tried again"
                    );
                    continue;
                }
            };
            let done = matches!(event, Some(Event::InitDone));
            for redis_id in event.map(|event| self.cache.apply(event)).unwrap_or_default() {
                self.actor.wakes.wake(self.claims.of(&redis_id));
            }
            if let Some(synced) = synced.take_if(|_| done) {
                self.synced.fetch_add(1, Ordering::Relaxed);
                // Nobody waits any more when the operator is stopping.
                let _ = synced.send(());
            }
        }
    }

    /// The changes of all `RedisInstance`s, kept in the store, with the claims kept up to date on the way.
    pub(super) fn watch_instances(
        self: Arc<Self>,
        api: Api<DeserializeGuard<RedisInstance>>,
        namespace: Option<String>,
        store: Store<RedisInstance>,
        writer: Writer<RedisInstance>,
    ) -> impl Stream<Item = Result<RedisInstance, watcher::Error>> + Send + 'static {
        let mut listed = HashSet::new();
        let mut first = true;
        let events = watcher(api, watcher::Config::default().page_size(500))
            .default_backoff()
            .inspect_err(|error| {
                tracing::warn!(error = plain_watch(error), "the watch of RedisInstances has failed; it is tried again");
            })
            .try_filter_map({
                let operator = self.clone();
                move |event| {
                    let event = readable(event, |bad| operator.unreadable(&store, bad));
                    ready(Ok(event))
                }
            })
            .inspect_ok(move |event| match event {
                Event::Init => listed.clear(),
                Event::InitApply(instance) => {
                    listed.insert(ObjectRef::from_obj(instance));
                    self.appeared(instance);
                }
                Event::InitDone => {
                    self.gone_meanwhile(namespace.as_deref(), &std::mem::take(&mut listed));
                    if std::mem::take(&mut first) {
                        self.synced.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Event::Apply(instance) => self.appeared(instance),
                Event::Delete(instance) => self.gone(&ObjectRef::from_obj(instance)),
            });
        events.modify(|instance| instance.managed_fields_mut().clear()).reflect(writer).applied_objects()
    }

    /// An object that this version can't read is as good as gone, and it is said; all others go on.
    fn unreadable(&self, store: &Store<RedisInstance>, bad: InvalidObject) -> Option<RedisInstance> {
        let ObjectMeta { name, namespace, uid, generation, .. } = bad.metadata;
        let error = bad.error;
        tracing::error!(
            namespace,
            name,
            error,
            "a RedisInstance can't be read, and is left alone until it is corrected"
        );
        let object = ObjectReference {
            api_version: Some(RedisInstance::api_version(&()).into()),
            kind: Some(RedisInstance::kind(&()).into()),
            name: name.clone(),
            namespace: namespace.clone(),
            uid: uid.clone(),
            ..ObjectReference::default()
        };
        let once =
            Some(format!("unreadable.{}.{:x}", uid.as_deref().unwrap_or_default(), generation.unwrap_or_default()));
        self.actor.reporter.event(
            object,
            "Warning",
            "Unreadable",
            "Read",
            &format!("This RedisInstance can't be read: {error}"),
            once,
        );
        let last_read = store.get(&ObjectRef::new(&name?).within(&namespace?))?;
        Some(RedisInstance::clone(&last_read))
    }
}

/// The event without its guard. An object that can't be read is replaced by what `instead` gives, as deleted, or left out.
fn readable<K: Resource>(
    event: Event<DeserializeGuard<K>>,
    instead: impl FnOnce(InvalidObject) -> Option<K>,
) -> Option<Event<K>> {
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(DeserializeGuard(Ok(object))) => Some(Event::InitApply(object)),
        Event::Apply(DeserializeGuard(Ok(object))) => Some(Event::Apply(object)),
        Event::Delete(DeserializeGuard(Ok(object))) => Some(Event::Delete(object)),
        Event::InitApply(DeserializeGuard(Err(bad))) => {
            instead(bad);
            None
        }
        Event::Apply(DeserializeGuard(Err(bad))) | Event::Delete(DeserializeGuard(Err(bad))) => {
            instead(bad).map(Event::Delete)
        }
    }
}
