//! The watches: they feed the index, the claims and the cache of the book, and keep one bad object from halting the others.

use std::{
    collections::HashSet,
    fmt::Debug,
    future::ready,
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{
    Operator,
    readable::{Readable, Unreadable},
};
use crate::{
    api::{Object, RedisInstance, RedisUpgrade},
    api_server::plain_watch,
};

/// Objects in one answer of a list.
const PAGE: u32 = 500;

impl Operator {
    /// Keeps the cache of the book up to date, and wakes those whose entries change.
    pub(super) async fn watch_book(self: Arc<Self>, api: Api<Readable<RedisUpgrade>>, synced: oneshot::Sender<()>) {
        let mut synced = Some(synced);
        let mut events = pin!(watched(api));
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => readable(event, |bad| {
                    tracing::error!(
                        entry = bad.metadata.name,
                        error = bad.error,
                        "an entry of the account book can't be read: nothing is ordered for its instance"
                    );
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
                self.queue.wake(self.claims.of(&redis_id));
            }
            if let Some(synced) = synced.take_if(|_| done) {
                self.synced.fetch_add(1, Ordering::Relaxed);
                // Nobody waits any more when the operator is stopping.
                let _ = synced.send(());
            }
        }
    }

    /// Keeps the index and the claims up to date, and wakes those that change. In a list nobody of whom there is something to tell is woken
    /// before its end: until then an older one may come that owns the instance.
    pub(super) async fn watch_instances(self: Arc<Self>, client: Client, namespace: Option<String>) {
        let api: Api<Readable<RedisInstance>> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let (mut listed, mut news) = (HashSet::new(), Vec::new());
        let mut is_first = true;
        let mut events = pin!(watched(api));
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => readable(event, |bad| self.unreadable(bad)),
                Err(error) => {
                    tracing::warn!(
                        error = plain_watch(&error),
                        "the watch of RedisInstances has failed; it is tried again"
                    );
                    continue;
                }
            };
            match event {
                None => {}
                Some(Event::Init) => listed.clear(),
                Some(Event::InitApply(instance)) => {
                    let object = Object::of(&instance);
                    if self.appeared(&object, instance) {
                        match self.index.get(&object) {
                            Some(row) if row.still.is_some() => self.queue.wake([object.clone()]),
                            _ => news.push(object.clone()),
                        }
                    }
                    listed.insert(object);
                }
                Some(Event::InitDone) => {
                    self.gone_meanwhile(namespace.as_deref(), &std::mem::take(&mut listed));
                    if std::mem::take(&mut is_first) {
                        self.synced.fetch_add(1, Ordering::Relaxed);
                    }
                    self.queue.wake(std::mem::take(&mut news));
                }
                Some(Event::Apply(instance)) => {
                    let object = Object::of(&instance);
                    if self.appeared(&object, instance) {
                        self.queue.wake([object]);
                    }
                }
                Some(Event::Delete(instance)) => self.gone(&Object::of(&instance)),
            }
        }
    }

    /// An object that this version can't read is as good as gone, and it is said; all others go on.
    fn unreadable(&self, bad: Unreadable) {
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
        self.gone(&Object::new(&namespace.unwrap_or_default(), &name.unwrap_or_default()));
    }
}

/// A watch that begins with all there is: in a stream, so that neither side holds it all at once, or in pages, where the API server refuses
/// that (it is without `WatchList`, the default from Kubernetes 1.34 on).
fn watched<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static>(
    api: Api<K>,
) -> impl Stream<Item = watcher::Result<Event<K>>> {
    let pages = watcher(api.clone(), watcher::Config::default().page_size(PAGE)).default_backoff();
    let stream = watcher(api, watcher::Config::default().streaming_lists()).default_backoff();
    let is_refused = |event: &watcher::Result<_>| matches!(event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 422);
    stream.take_while(move |event| ready(!is_refused(event))).chain(pages)
}

/// The event of an object that can be read.
fn readable<K>(event: Event<Readable<K>>, unreadable: impl FnOnce(Unreadable)) -> Option<Event<K>> {
    let (event, object): (fn(K) -> Event<K>, _) = match event {
        Event::Init => return Some(Event::Init),
        Event::InitDone => return Some(Event::InitDone),
        Event::InitApply(Readable(object)) => (Event::InitApply, object),
        Event::Apply(Readable(object)) => (Event::Apply, object),
        Event::Delete(Readable(object)) => (Event::Delete, object),
    };
    object.map(event).map_err(unreadable).ok()
}
