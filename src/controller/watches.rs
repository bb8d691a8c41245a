//! The watches: they feed the index, the claims and the cache of the book, and keep one bad object from halting the others.

use std::{collections::HashSet, pin::pin, sync::Arc};

use futures::{StreamExt, future::join};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Client, Resource,
    runtime::watcher::{self, Event},
};
use tokio_util::sync::CancellationToken;

use super::{
    Operator,
    readable::{Readable, Unreadable},
};
use crate::{
    api::{Object, RedisInstance, RedisUpgrade},
    api_server::{plain_watch, watched},
};

/// So much of what has come is taken before those are woken whom it concerns.
const AT_ONCE: usize = 100;

/// The list that a watch begins with, as far as it has come.
#[derive(Default)]
struct List {
    namespace: Option<String>,
    shown: HashSet<Object>,
    /// Those to be woken at its end.
    news: Vec<Object>,
    /// Once, at least.
    has_ended: bool,
}

impl Operator {
    /// Keeps the cache of the book up to date, and wakes those whose entries change.
    pub(super) async fn watch_book(self: Arc<Self>, client: Client, namespace: String, known: CancellationToken) {
        let mut events = pin!(watched::<Readable<RedisUpgrade>>(client, Some(&namespace)));
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
            if done && !known.is_cancelled() {
                self.watch_synced();
                known.cancel();
            }
        }
    }

    /// Keeps the index and the claims up to date, and wakes those that change. In a list nobody of whom there is something to tell is woken
    /// before its end: until then an older one may come that owns the instance.
    pub(super) async fn watch_instances(
        self: Arc<Self>,
        client: Client,
        namespace: Option<String>,
        book_known: CancellationToken,
    ) {
        let mut events = pin!(watched::<Readable<RedisInstance>>(client, namespace.as_deref()).peekable());
        // Without the book, what is told would be wrong: it comes first. What there is may be on its way meanwhile.
        join(events.as_mut().peek(), book_known.cancelled()).await;
        let mut list = List { namespace, ..List::default() };
        let mut at_hand = events.ready_chunks(AT_ONCE);
        while let Some(events) = at_hand.next().await {
            self.queue.wake(events.into_iter().flat_map(|event| self.shown(event, &mut list)));
        }
    }

    /// Takes what a watch shows. Returns whom to wake.
    fn shown(&self, event: watcher::Result<Event<Readable<RedisInstance>>>, list: &mut List) -> Vec<Object> {
        let event = match event {
            Ok(event) => readable(event, |bad| self.unreadable(bad)),
            Err(error) => {
                let error = plain_watch(&error);
                tracing::warn!(error, "the watch of RedisInstances has failed; it is tried again");
                None
            }
        };
        match event {
            None => {}
            Some(Event::Init) => list.shown.clear(),
            Some(Event::InitApply(instance)) => {
                let object = Object::of(&instance);
                list.shown.insert(object.clone());
                match self.appeared(&object, instance, true) {
                    Some(true) => return vec![object],
                    Some(false) => list.news.push(object),
                    None => {}
                }
            }
            Some(Event::InitDone) => {
                let gone = self.index.not_in(&std::mem::take(&mut list.shown), list.namespace.as_deref());
                gone.iter().for_each(|object| self.gone(object));
                if !std::mem::replace(&mut list.has_ended, true) {
                    self.watch_synced();
                }
                return std::mem::take(&mut list.news);
            }
            Some(Event::Apply(instance)) => {
                let object = Object::of(&instance);
                if self.appeared(&object, instance, false).is_some() {
                    return vec![object];
                }
            }
            Some(Event::Delete(instance)) => self.gone(&Object::of(&instance)),
        }
        Vec::new()
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
