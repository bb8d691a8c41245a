//! Watches, queue and reconcile: what is at hand decides first, and only what is due costs calls.

mod reconcile;
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
    pub fn new(actor: Actor, cache: Cache, observer: Observer, secrets: Secrets) -> Self {
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
        self.known().entry(object).or_default().redis_id.clone_from(&instance.spec.redis_id);
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
