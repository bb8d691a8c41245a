//! Watches, queue and reconcile: what is at hand decides first, and only what is due costs calls.

mod reconcile;
mod shares;
mod watches;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use futures::{StreamExt, future::join_all};
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::Config,
        reflector::{self, ObjectRef},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    act::Actor,
    api::{RedisInstance, RedisUpgrade},
    book::Cache,
    claims::Claims,
    observe::Observer,
    report::Reporter,
    secrets::Secrets,
    telemetry::Metrics,
    wakes::Wakes,
};

type Object = ObjectRef<RedisInstance>;

/// All that a reconcile needs.
pub struct Operator {
    pub actor: Actor,
    pub cache: Cache,
    pub claims: Claims,
    pub observer: Observer,
    pub secrets: Secrets,
    pub reporter: Reporter,
    pub metrics: Arc<Metrics>,
    pub wakes: Wakes,
    /// How many watches have shown all that there is.
    pub synced: AtomicUsize,
    shares: Arc<shares::Shares>,
    known: Mutex<HashMap<Object, Known>>,
    clock_announced: AtomicBool,
}

#[derive(Default)]
struct Known {
    redis_id: String,
    /// The state that the metric counts it under.
    state: Option<&'static str>,
    failures: u32,
}

impl Operator {
    /// `concurrency`: how many `RedisInstance`s are worked on at the same time.
    pub fn new(actor: Actor, cache: Cache, observer: Observer, secrets: Secrets, concurrency: u16) -> Self {
        Self {
            reporter: actor.reporter.clone(),
            metrics: actor.metrics.clone(),
            wakes: actor.wakes.clone(),
            actor,
            cache,
            claims: Claims::default(),
            observer,
            secrets,
            synced: AtomicUsize::new(0),
            shares: Arc::new(shares::Shares::of(concurrency)),
            known: Mutex::default(),
            clock_announced: AtomicBool::new(false),
        }
    }

    /// Runs until `stopping`: then nothing new is begun, and what runs is finished.
    pub async fn run(
        self: Arc<Self>,
        client: Client,
        namespaces: &[Option<String>],
        book_namespace: &str,
        concurrency: u16,
        stopping: CancellationToken,
    ) {
        let book: Api<DeserializeGuard<RedisUpgrade>> = Api::namespaced(client.clone(), book_namespace);
        let (synced, book_synced) = tokio::sync::oneshot::channel();
        let watching = tokio::spawn(self.clone().watch_book(book, synced));
        tokio::select! {
            _ = book_synced => {}
            () = stopping.cancelled() => return watching.abort(),
        }
        join_all(namespaces.iter().map(|namespace| {
            let api = match namespace {
                Some(namespace) => Api::namespaced(client.clone(), namespace),
                None => Api::all(client.clone()),
            };
            let (reader, writer) = reflector::store();
            let changes = self.clone().watch_instances(api, namespace.clone(), reader.clone(), writer);
            let stopping = stopping.clone();
            Controller::for_stream(changes, reader)
                .with_config(
                    Config::default()
                        .concurrency(concurrency.div_ceil(namespaces.len().clamp(1, usize::from(u16::MAX)) as u16)),
                )
                .reconcile_on(self.wakes.stream(namespace.clone()))
                .graceful_shutdown_on(async move { stopping.cancelled().await })
                .run(reconcile::reconcile, reconcile::on_error, self.clone())
                .for_each(|result| async {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a reconcile has failed");
                    }
                })
        }))
        .await;
        watching.abort();
    }

    fn appeared(&self, instance: &RedisInstance) {
        let object = ObjectRef::from_obj(instance);
        let redis_id = &instance.spec.redis_id;
        let before = std::mem::replace(&mut self.known().entry(object.clone()).or_default().redis_id, redis_id.clone());
        if before != *redis_id {
            // Made again under its name, for another instance, while nobody watched.
            self.wakes.wake(self.claims.remove(&before, &object));
        }
        self.wakes.wake(self.claims.insert(instance));
    }

    fn gone(&self, object: &Object, redis_id: &str) {
        if let Some(known) = self.known().remove(object) {
            self.metrics.instance(known.state, None);
        }
        self.observer.forget(object);
        self.reporter.forget(object);
        self.wakes.wake(self.claims.remove(redis_id, object));
    }

    /// After a list: what was deleted while nobody watched.
    fn gone_meanwhile(&self, namespace: Option<&str>, listed: &HashSet<Object>) {
        let watched = |object: &Object| namespace.is_none() || object.namespace.as_deref() == namespace;
        let gone: Vec<_> = self
            .known()
            .iter()
            .filter(|(object, _)| watched(object) && !listed.contains(*object))
            .map(|(object, known)| (object.clone(), known.redis_id.clone()))
            .collect();
        for (object, redis_id) in gone {
            self.gone(&object, &redis_id);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Object, Known>> {
        // A panic elsewhere leaves at worst a count that is off by one.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::{
        api::testing,
        balance::Balances,
        book::Book,
        calls::Calls,
        cloud::{limits::Limits, v2::V2},
        decide::Policy,
    };

    const NOBODY: &str = "http://127.0.0.1:1";

    /// One that nobody answers.
    fn operator() -> Operator {
        let client = Client::try_from(kube::Config::new(NOBODY.parse().unwrap())).unwrap();
        let cloud = V2::new(Some(NOBODY), || 0, || Timestamp::UNIX_EPOCH).unwrap();
        let policy = Policy {
            lag: SignedDuration::from_secs(60),
            lifetime: SignedDuration::from_secs(330),
            resync: Duration::from_secs(60),
            active: Duration::from_secs(5),
        };
        let (metrics, wakes, cache) = (Arc::new(Metrics::default()), Wakes::new([None]), Cache::default());
        let calls = Calls::new(Arc::new(cloud), Limits::new(0.0, || 0).unwrap(), metrics.clone());
        let secrets = Secrets::new(client.clone());
        let observer = Observer::new(calls.clone(), secrets.clone(), wakes.clone(), policy);
        let actor = Actor {
            book: Book::new(client.clone(), "crs-system", cache.clone()),
            reporter: Reporter::new(client.clone(), "test".into()),
            client,
            calls,
            policy,
            balances: Arc::new(Balances::new(Duration::from_secs(60))),
            metrics,
            wakes,
            orders: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Operator::new(actor, cache, observer, secrets, 32)
    }

    #[tokio::test]
    async fn one_made_again_for_another_instance_while_nobody_watched_owns_the_first_no_more() {
        let operator = operator();
        let of = |name: &str, uid: &str, redis_id: &str, created: i64| {
            let mut instance = testing::instance(name, uid, 1024);
            instance.spec.redis_id = redis_id.into();
            instance.metadata.creation_timestamp = Some(testing::at(created));
            instance
        };
        let young = of("young", "b", "crs-1", 20);
        operator.appeared(&of("old", "a", "crs-1", 10));
        operator.appeared(&young);
        assert_eq!(operator.claims.other_owner(&young).as_deref(), Some("shop/old"));
        // A list after a watch that was cut shows only what it is now.
        operator.appeared(&of("old", "c", "crs-2", 30));
        assert_eq!(operator.claims.other_owner(&young), None);
    }
}
