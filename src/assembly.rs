//! Puts the operator together, runs it, and ends its work in order. Clock and chance are handed in: the histories turn them themselves.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    act::Actor,
    book::{Book, Cache},
    calls::Calls,
    cloud::{Cloud, limits::Limits},
    controller::Operator,
    decide::Policy,
    failpoint::{Point, pass},
    index::Index,
    observe::Observer,
    queue::Queue,
    report::Reporter,
    secrets::Secrets,
    telemetry::Metrics,
};

/// So long after the signal to stop everything ends. Shorter than the pod's grace period.
const GRACE: Duration = Duration::from_secs(30);

/// What an operator is made of.
pub struct Parts {
    pub client: Client,
    pub cloud: Arc<dyn Cloud>,
    pub limits: Limits,
    pub policy: Policy,
    /// Those whose `RedisInstance`s are looked after; `None`: all.
    pub namespaces: Vec<Option<String>>,
    /// How many are worked on at the same time.
    pub concurrency: u16,
    /// How many objects are kept whole at most.
    pub most_whole: usize,
    pub book_namespace: String,
    /// What nobody else is called, for Events and the log.
    pub identity: String,
    pub metrics: Arc<Metrics>,
    /// After it is cancelled nothing new is begun.
    pub stopping: CancellationToken,
}

/// An operator that is ready to run.
pub struct Assembly {
    operator: Arc<Operator>,
    actor: Arc<Actor>,
    namespaces: Vec<Option<String>>,
    concurrency: u16,
    book_namespace: String,
}

impl Assembly {
    /// `local` is this machine's clock, for what people read; `random` spreads those that are tried again.
    pub fn new(
        parts: Parts,
        local: impl Fn() -> Timestamp + Send + Sync + 'static,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let Parts {
            client,
            cloud,
            limits,
            policy,
            namespaces,
            concurrency,
            most_whole,
            book_namespace,
            identity,
            metrics,
            stopping,
        } = parts;
        let calls = Calls::new(cloud, limits, metrics.clone());
        let index = Arc::new(Index::new(most_whole));
        let queue = Queue::new(index.clone(), concurrency);
        let secrets = Secrets::new(client.clone());
        let observer = Observer::new(calls.clone(), secrets.clone(), queue.clone(), policy);
        let cache = Cache::default();
        let actor = Arc::new(Actor {
            client: client.clone(),
            book: Book::new(client.clone(), &book_namespace, cache.clone()),
            calls,
            policy,
            reporter: Reporter::new(client, identity, local),
            metrics,
            queue,
            orders: TaskTracker::new(),
            stopping,
        });
        let watches = namespaces.len() + 1;
        let operator = Operator::new(actor.clone(), index, cache, observer, secrets, watches, random);
        Self { operator: Arc::new(operator), actor, namespaces, concurrency, book_namespace }
    }

    /// Has each watch shown all that there is?
    pub fn is_synced(&self) -> bool {
        self.operator.is_synced()
    }

    /// Runs until `stopping`; then what was written is sent, what was sent is written down, and what was written down is told, all within the grace.
    ///
    /// # Errors
    /// The operator's own fault: it can't go on.
    pub async fn run(&self) -> Result<(), String> {
        let Self { operator, actor, namespaces, concurrency, book_namespace } = self;
        let stopping = &actor.stopping;
        let work = async {
            let client = actor.client.clone();
            let ended = operator.clone().run(client, namespaces, book_namespace, *concurrency, stopping.clone()).await;
            stopping.cancel();
            pass(Point::Stopping, "");
            for tasks in [&actor.orders, &actor.reporter.tasks] {
                tasks.close();
                tasks.wait().await;
            }
            pass(Point::OrdersEnded, "");
            ended
        };
        let end_of_grace = async {
            stopping.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            ended = work => ended,
            () = end_of_grace => {
                tracing::warn!("something is still under way: what comes of it is found by a later look");
                Ok(())
            }
        }
    }
}
