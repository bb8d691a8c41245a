//! Watches and workers: what is at hand decides first, and only what is due costs calls.

mod readable;
mod reconcile;
mod still;
mod watches;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicI64},
};

use futures::{StreamExt, future::select_all, stream::FuturesUnordered};
use kube::Client;
use parking_lot::Mutex;
use tokio::task::coop::consume_budget;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    act::Actor,
    api::{Object, RedisInstance},
    balance::Balances,
    book::Cache,
    claims::{Claim, Claims},
    index::{Index, Shown},
    observe::Observer,
    queue::Queue,
    secrets::Secrets,
};

#[cfg(test)]
pub(crate) use still::rests_at;

/// All that a reconcile needs.
pub struct Operator {
    actor: Arc<Actor>,
    balances: Balances,
    cache: Cache,
    claims: Claims,
    index: Arc<Index>,
    observer: Observer,
    queue: Queue,
    secrets: Secrets,
    /// `None` when each watch has shown all that there is.
    beginning: Mutex<Option<Beginning>>,
    /// By how many seconds the clocks were said to be apart.
    clock_announced: AtomicI64,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Until all is listed, an older one may own the instance (invariant B8), and nothing is told, but to those that are still.
struct Beginning {
    watches: usize,
    waiting: BTreeSet<Object>,
}

impl Operator {
    /// `watches`: one for each namespace, and the book's. `random` spreads those that are tried again.
    pub fn new(
        actor: Arc<Actor>,
        index: Arc<Index>,
        cache: Cache,
        observer: Observer,
        secrets: Secrets,
        watches: usize,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue: actor.queue.clone(),
            balances: Balances::new(actor.policy.lag.unsigned_abs(), actor.queue.clone()),
            actor,
            cache,
            claims: Claims::default(),
            index,
            observer,
            secrets,
            beginning: Mutex::new(Some(Beginning { watches, waiting: BTreeSet::new() })),
            clock_announced: AtomicI64::new(0),
            random: Box::new(random),
        }
    }

    /// Has each watch shown all that there is?
    pub fn is_synced(&self) -> bool {
        self.beginning.lock().is_none()
    }

    /// Another watch has shown all that there is.
    fn watch_synced(&self) {
        let mut beginning = self.beginning.lock();
        let Some(Beginning { watches, waiting }) = &mut *beginning else { return };
        *watches = watches.saturating_sub(1);
        if *watches == 0 {
            let waiting = std::mem::take(waiting);
            *beginning = None;
            drop(beginning);
            self.queue.wake(waiting);
        }
    }

    /// Must it wait until all is listed? Then it is woken.
    fn waits_for_all(&self, object: &Object) -> bool {
        let mut beginning = self.beginning.lock();
        beginning.as_mut().map(|beginning| beginning.waiting.insert(object.clone())).is_some()
    }

    /// Runs until `stopping`: then nothing new is begun, and what runs is finished.
    ///
    /// # Errors
    /// A watch has ended by a fault of the operator.
    pub async fn run(
        self: Arc<Self>,
        client: Client,
        namespaces: &[Option<String>],
        book_namespace: &str,
        concurrency: u16,
        stopping: CancellationToken,
    ) -> Result<(), String> {
        let book_known = CancellationToken::new();
        let book = self.clone().watch_book(client.clone(), book_namespace.to_owned(), book_known.clone());
        let watching_book = AbortOnDropHandle::new(tokio::spawn(book));
        let watches = namespaces.iter().map(|namespace| {
            let watch = self.clone().watch_instances(client.clone(), namespace.clone(), book_known.clone());
            AbortOnDropHandle::new(tokio::spawn(watch))
        });
        let watching_instances = select_all(watches.collect::<Vec<_>>());
        tokio::select! {
            biased;
            worked = AbortOnDropHandle::new(tokio::spawn(self.clone().work(concurrency, stopping.clone()))) => {
                worked.map_err(|error| format!("the workers have ended: {error}"))
            }
            _ = watching_instances => Err("the watch of RedisInstances has ended".into()),
            _ = watching_book => Err("the watch of the account book has ended".into()),
        }
    }

    /// Looks after one after the other, so many at a time. All in one task: most of them wait for nothing, and to wake another thread for
    /// each would cost more than they do.
    async fn work(self: Arc<Self>, concurrency: u16, stopping: CancellationToken) {
        let mut at_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(()) = at_work.next() => {}
                object = self.queue.next(), if at_work.len() < usize::from(concurrency) => {
                    at_work.push(self.reconcile(object));
                    // Those that wait for nothing would keep all else in this process waiting.
                    consume_budget().await;
                }
            }
        }
        while at_work.next().await.is_some() {}
    }

    /// A `RedisInstance` as the watch shows it. If that is news: is it still?
    fn appeared(&self, object: &Object, instance: RedisInstance, is_list: bool) -> Option<bool> {
        // Most that is shown is the echo of an own write, or listed again: to find out whether that is still costs more than all else.
        if self.index.knows(object, &instance, is_list) {
            return None;
        }
        let (still, claim) = (self.still(&instance), Claim::new(object.clone(), &instance));
        let others = match self.index.insert(object, instance.trimmed(), still, is_list) {
            Shown::Known => return None,
            Shown::New | Shown::Changed => Vec::new(),
            Shown::Moved(before) => self.claims.remove(object, &before),
        };
        self.queue.wake(others);
        if let Some(redis_id) = self.index.redis_id(object) {
            self.queue.wake(self.claims.insert(&redis_id, claim));
        }
        Some(still.is_some())
    }

    fn gone(&self, object: &Object) {
        let Some((redis_id, counted)) = self.index.remove(object) else { return };
        self.actor.metrics.instance(counted.map(reconcile::state), None);
        self.forget(object);
        self.queue.wake(self.claims.remove(object, &redis_id));
    }

    fn forget(&self, object: &Object) {
        self.observer.forget(object);
        self.balances.forget(object);
    }
}
