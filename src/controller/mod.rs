//! Watches, queue and reconcile: what is at hand decides first, and only what is due costs calls.

mod reconcile;
mod watches;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
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
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    act::Actor,
    api::{Object, RedisInstance, RedisUpgrade},
    balance::Balances,
    book::Cache,
    claims::Claims,
    observe::Observer,
    secrets::Secrets,
};

/// All that a reconcile needs.
pub struct Operator {
    actor: Arc<Actor>,
    balances: Balances,
    cache: Cache,
    claims: Claims,
    observer: Observer,
    secrets: Secrets,
    /// How many watches there are, and how many of them have shown all that there is.
    watches: usize,
    synced: AtomicUsize,
    known: Mutex<HashMap<Object, Known>>,
    /// By how many seconds the clocks were said to be apart.
    clock_announced: AtomicI64,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
}

#[derive(Default)]
struct Known {
    /// The state that the metric counts it under.
    state: Option<&'static str>,
    /// How often in a row it could not be looked after.
    failures: u32,
}

impl Operator {
    /// `watches`: one for each namespace, and the book's. `random` spreads those that are tried again.
    pub fn new(
        actor: Arc<Actor>,
        balances: Balances,
        cache: Cache,
        observer: Observer,
        secrets: Secrets,
        watches: usize,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            actor,
            balances,
            cache,
            claims: Claims::default(),
            observer,
            secrets,
            watches,
            synced: AtomicUsize::new(0),
            known: Mutex::default(),
            clock_announced: AtomicI64::new(0),
            random: Box::new(random),
        }
    }

    /// Has each watch shown all that there is?
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed) >= self.watches
    }

    /// Runs until `stopping`: then nothing new is begun, and what runs is finished.
    ///
    /// # Errors
    /// The watch of the book has ended by a fault of the operator.
    pub async fn run(
        self: Arc<Self>,
        client: Client,
        namespaces: &[Option<String>],
        book_namespace: &str,
        concurrency: u16,
        stopping: CancellationToken,
    ) -> Result<(), String> {
        let book: Api<DeserializeGuard<RedisUpgrade>> = Api::namespaced(client.clone(), book_namespace);
        let (synced, book_synced) = oneshot::channel();
        let mut watching = AbortOnDropHandle::new(tokio::spawn(self.clone().watch_book(book, synced)));
        // Without the book, what is told would be wrong: it comes first.
        let controllers = async {
            tokio::select! {
                biased;
                synced = book_synced => if synced.is_err() { return },
                () = stopping.cancelled() => return,
            }
            join_all(namespaces.iter().map(|namespace| {
                self.clone().control(client.clone(), namespace.clone(), share(concurrency, namespaces.len()), &stopping)
            }))
            .await;
        };
        tokio::select! {
            biased;
            () = controllers => Ok(()),
            _ = &mut watching => Err("the watch of the account book has ended".into()),
        }
    }

    /// One controller, for one namespace or all.
    async fn control(
        self: Arc<Self>,
        client: Client,
        namespace: Option<String>,
        concurrency: u16,
        stopping: &CancellationToken,
    ) {
        let api = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let (reader, writer) = reflector::store();
        let changes = self.clone().watch_instances(api, namespace.clone(), reader.clone(), writer);
        Controller::for_stream(changes, reader)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(self.actor.wakes.stream(namespace))
            .graceful_shutdown_on(stopping.clone().cancelled_owned())
            .run(reconcile::reconcile, reconcile::on_error, self)
            .for_each(|result| async {
                if let Err(error) = result {
                    tracing::debug!(%error, "a reconcile has failed");
                }
            })
            .await;
    }

    fn appeared(&self, instance: &RedisInstance) {
        self.known().entry(ObjectRef::from_obj(instance)).or_default();
        self.actor.wakes.wake(self.claims.insert(instance));
    }

    fn gone(&self, object: &Object) {
        if let Some(known) = self.known().remove(object) {
            self.actor.metrics.instance(known.state, None);
        }
        self.observer.forget(object);
        self.balances.forget(object);
        self.actor.reporter.forget(object);
        self.actor.wakes.wake(self.claims.remove(object));
    }

    /// After a list: what was deleted while nobody watched.
    fn gone_meanwhile(&self, namespace: Option<&str>, listed: &HashSet<Object>) {
        let watched = |object: &&Object| namespace.is_none() || object.namespace.as_deref() == namespace;
        let known = self.known();
        let gone: Vec<_> = known.keys().filter(watched).filter(|object| !listed.contains(*object)).cloned().collect();
        drop(known);
        for object in gone {
            self.gone(&object);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Object, Known>> {
        self.known.lock()
    }
}

/// Each of several controllers' part of the concurrency, 1 at least.
fn share(concurrency: u16, controllers: usize) -> u16 {
    concurrency.div_ceil(u16::try_from(controllers.max(1)).unwrap_or(u16::MAX))
}
