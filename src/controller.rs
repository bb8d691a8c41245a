//! Watches, queue and reconcile: what is at hand decides first, and only what is due costs calls.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, future::join_all};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    act::{self, Actor, Done, Subject, moment},
    api::{RedisInstance, RedisUpgrade},
    book::{self, Cache},
    claims::{Claims, Sight},
    cloud::Caller,
    decide::{Decision, Health, LookError, LookFailure, Seen, Situation, Step, Verdict, decide},
    observe::Observer,
    report::Reporter,
    secrets::{self, Secrets},
    telemetry::Metrics,
    wakes::Wakes,
};

type Object = ObjectRef<RedisInstance>;

/// How long before a Secret that can't be used is read again.
const SECRET_AGAIN: Duration = Duration::from_secs(30);
/// A Secret is often made just after what needs it: so for the first minute it is read again this often.
const SECRET_SOON: Duration = Duration::from_secs(2);
const NEW: SignedDuration = SignedDuration::from_mins(1);
/// After a conflict in the book: somebody has just written, so there is news.
const CONFLICT_AGAIN: Duration = Duration::from_millis(200);
/// An object that fails waits 1 s, 2 s, 4 s, … and this at most.
const FAILING_AT_MOST: Duration = Duration::from_secs(300);
/// A clock that is off by less needs no mention.
const CLOCK_WORTH_A_WORD: f64 = 30.0;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Secret(#[from] secrets::Error),
    #[error("{0}")]
    Act(#[from] act::Trouble),
    #[error("the status could not be written: {0}")]
    Status(#[from] kube::Error),
    #[error("a fault of the operator itself: {0}")]
    Panic(String),
}

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
                .run(reconcile, on_error, self.clone())
                .for_each(|result| async {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a reconcile has failed");
                    }
                })
        }))
        .await;
        watching.abort();
    }

    /// Keeps the cache of the book up to date, and wakes those whose entries change.
    async fn watch_book(
        self: Arc<Self>,
        api: Api<DeserializeGuard<RedisUpgrade>>,
        synced: tokio::sync::oneshot::Sender<()>,
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
                    tracing::warn!(%error, "the watch of the account book has failed; it is tried again");
                    continue;
                }
            };
            let done = matches!(event, Some(Event::InitDone));
            for redis_id in event.map(|event| self.cache.apply(event)).unwrap_or_default() {
                self.wakes.wake(self.claims.of(&redis_id));
            }
            if let Some(synced) = synced.take_if(|_| done) {
                self.synced.fetch_add(1, Ordering::Relaxed);
                // Nobody waits any more when the operator is stopping.
                let _ = synced.send(());
            }
        }
    }

    /// The changes of all `RedisInstance`s, kept in the store, with the claims kept up to date on the way.
    fn watch_instances(
        self: Arc<Self>,
        api: Api<DeserializeGuard<RedisInstance>>,
        namespace: Option<String>,
        store: Store<RedisInstance>,
        writer: reflector::store::Writer<RedisInstance>,
    ) -> impl Stream<Item = Result<RedisInstance, watcher::Error>> + Send + 'static {
        let mut listed = HashSet::new();
        let mut first = true;
        let events = watcher(api, watcher::Config::default().page_size(500))
            .default_backoff()
            .inspect_err(|error| tracing::warn!(%error, "the watch of RedisInstances has failed; it is tried again"))
            .try_filter_map({
                let operator = self.clone();
                move |event| {
                    let event = readable(event, |bad| operator.unreadable(&store, bad));
                    futures::future::ready(Ok(event))
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
                Event::Delete(instance) => self.gone(&ObjectRef::from_obj(instance), &instance.spec.redis_id),
            });
        events.modify(|instance| instance.managed_fields_mut().clear()).reflect(writer).applied_objects()
    }

    /// An object that this version can't read is as good as gone, and it is said; all others go on.
    fn unreadable(
        &self,
        store: &Store<RedisInstance>,
        bad: kube::core::error_boundary::InvalidObject,
    ) -> Option<RedisInstance> {
        let (name, namespace) = (bad.metadata.name.unwrap_or_default(), bad.metadata.namespace.unwrap_or_default());
        tracing::error!(
            namespace,
            name,
            error = bad.error,
            "a RedisInstance can't be read, and is left alone until it is corrected"
        );
        let instance = store.get(&ObjectRef::new(&name).within(&namespace))?;
        self.reporter.event(
            &instance,
            "Warning",
            "Unreadable",
            "Read",
            &format!("This RedisInstance can't be read: {}", bad.error),
            None,
        );
        Some(RedisInstance::clone(&instance))
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

    async fn look_after(&self, instance: &Arc<RedisInstance>) -> Result<Action, Error> {
        let object = ObjectRef::from_obj(&**instance);
        let instance = &self.reporter.fresh(instance);
        if instance.meta().deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let namespace = instance.namespace().unwrap_or_default();
        let secret = &instance.spec.credentials_secret_ref.name;
        let redis_id = &instance.spec.redis_id;
        let mut done = Done { entries: self.cache.entries(redis_id), seen: Seen::NotYet, decision: nothing() };

        let requested = self.situation(instance, &done, None, None, None).is_requested();
        if requested {
            self.secrets.forget(&namespace, secret).await;
        }
        let (caller, version) = match self.secrets.get(&namespace, secret).await {
            Ok(keys) => (Some(Caller::new(keys.credentials, instance.spec.region.clone())), keys.version),
            Err(secrets::Error::Unusable(problem)) => {
                done.seen = Seen::Failed(LookFailure { cause: LookError::Credentials(problem), lasting: true });
                (None, String::new())
            }
            Err(error) => return Err(error.into()),
        };
        match &caller {
            Some(caller) => done.seen = self.observer.watch(&object, secret, caller, redis_id),
            None => self.observer.forget(&object),
        }
        self.wakes.wake(sight(&done.seen).map(|sight| self.claims.sees(instance, sight)).unwrap_or_default());
        let owner = self.claims.other_owner(instance);

        let decide_now = |done: &Done, closed| {
            decide(&self.actor.policy, &self.situation(instance, done, owner.as_deref(), Some(&version), closed))
        };
        done.decision = decide_now(&done, None);
        if let (Some(Step::Order { .. }), Some(caller)) = (&done.decision.step, &caller)
            && !requested
            && let Some(until) = self.actor.balances.closed_until(&caller.account, &object)
        {
            let until = moment(self.actor.calls.now(), until.saturating_duration_since(Instant::now()));
            done.decision = decide_now(&done, Some(until));
        }

        let now = self.actor.calls.now();
        let is_due = done.decision.step.is_some() || done.decision.again.is_some_and(|again| again <= now) || requested;
        let mut looked = false;
        if let (Some(caller), None, true, true) = (&caller, &owner, is_due, done.seen != Seen::NotYet) {
            let subject = Subject { instance, caller, secret_version: &version };
            let ordering = matches!(done.decision.step, Some(Step::Order { .. }));
            match self.actor.carry_out(&subject, ordering).await {
                Ok(after) => done = after,
                Err(act::Trouble::Wait(wait)) => return Ok(Action::requeue(wait)),
                Err(act::Trouble::Book(book::Error::Conflict)) => return Ok(Action::requeue(CONFLICT_AGAIN)),
                Err(error) => {
                    self.tell_of_trouble(instance, &done, &error).await;
                    return Err(error.into());
                }
            }
            looked = true;
            self.observer.saw(caller, redis_id, &done.seen);
        }
        self.announce_clock(instance);
        self.observer.set_active(&object, done.decision.active);
        let handled = requested && (looked || caller.is_none() || owner.is_some());
        self.reporter.status(instance, &done.entries, &done.seen, &done.decision.verdict, handled).await?;
        self.count(&object, &done.decision.verdict);
        Ok(self.next(instance, &done, looked))
    }

    fn situation<'a>(
        &self,
        instance: &'a RedisInstance,
        done: &'a Done,
        owner: Option<&'a str>,
        secret_version: Option<&'a str>,
        balance_low_until: Option<Timestamp>,
    ) -> Situation<'a> {
        Situation {
            instance,
            owner,
            entries: &done.entries,
            seen: &done.seen,
            deal: None,
            secret_version,
            balance_low_until,
            now: self.actor.calls.now(),
        }
    }

    /// The book could not be read or written: people must see why nothing is ordered.
    async fn tell_of_trouble(&self, instance: &Arc<RedisInstance>, done: &Done, error: &act::Trouble) {
        let verdict = Verdict {
            health: Health::Reconciling,
            reason: "BookUnavailable".into(),
            message: format!("Nothing is ordered while the account book can't be written: {error}"),
            error: None,
        };
        if let Err(error) = self.reporter.status(instance, &done.entries, &done.seen, &verdict, false).await {
            tracing::debug!(%error, "the status could not be written either");
        }
    }

    /// Once, when the cloud's clock and ours are found apart.
    fn announce_clock(&self, instance: &RedisInstance) {
        let Some(offset) = self.actor.calls.clock_offset() else { return };
        let off = offset.as_secs_f64().abs() >= CLOCK_WORTH_A_WORD;
        if self.clock_announced.swap(off, Ordering::Relaxed) == off || !off {
            return;
        }
        let (by, way) = (offset.unsigned_abs().as_secs(), if offset.is_negative() { "ahead of" } else { "behind" });
        let note = format!(
            "The operator's clock is {by} s {way} the cloud's. It works on by the cloud's; set the clock of its node right."
        );
        tracing::warn!(offset_seconds = offset.as_secs(), "{note}");
        self.reporter.event(instance, "Warning", "ClockSkew", "Look", &note, None);
    }

    /// Counts it under its state.
    fn count(&self, object: &Object, verdict: &Verdict) {
        let state = match verdict.health {
            Health::Ready => "ready",
            Health::Reconciling => "reconciling",
            Health::Stalled => "stalled",
            Health::Unknown => "unknown",
            Health::AsBefore => return,
        };
        if let Some(known) = self.known().get_mut(object) {
            known.failures = 0;
            if known.state != Some(state) {
                self.metrics.instance(known.state, Some(state));
                known.state = Some(state);
            }
        }
    }

    fn next(&self, instance: &RedisInstance, done: &Done, looked: bool) -> Action {
        let now = self.actor.calls.now();
        let is_new = instance.creation_timestamp().is_some_and(|created| now.duration_since(created.0) < NEW);
        match (&done.seen, done.decision.again) {
            // Whole seconds: the Date of a look is past that moment a second later.
            (_, Some(again)) => {
                let wait = again.duration_since(now) + SignedDuration::from_secs(1);
                Action::requeue(wait.max(SignedDuration::from_millis(500)).unsigned_abs())
            }
            (Seen::Failed(LookFailure { cause: LookError::Credentials(_), .. }), None) => {
                Action::requeue(if is_new { SECRET_SOON } else { SECRET_AGAIN })
            }
            // Readers say when the cloud is back; a look of our own that failed is ours to repeat.
            (Seen::Failed(_), None) if looked => Action::requeue(self.actor.policy.active),
            _ => Action::await_change(),
        }
    }
}

async fn reconcile(instance: Arc<RedisInstance>, operator: Arc<Operator>) -> Result<Action, Error> {
    let began = Instant::now();
    let result = AssertUnwindSafe(operator.look_after(&instance)).catch_unwind().await.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Panic(what.unwrap_or("panic").to_owned()))
    });
    operator.metrics.reconciled(if result.is_ok() { "ok" } else { "error" }, began.elapsed());
    result
}

fn on_error(instance: Arc<RedisInstance>, error: &Error, operator: Arc<Operator>) -> Action {
    let object = ObjectRef::from_obj(&*instance);
    let failures = {
        let mut known = operator.known();
        let Some(known) = known.get_mut(&object) else { return Action::await_change() };
        known.failures += 1;
        known.failures
    };
    let wait = Duration::from_secs(1).saturating_mul(1 << (failures - 1).min(10)).min(FAILING_AT_MOST);
    let wait = wait / 2 + wait.mul_f64(rand::random::<f64>() / 2.0);
    tracing::warn!(namespace = instance.namespace(), name = instance.name_any(), %error, ?wait, "this RedisInstance is tried again");
    if let (Error::Panic(what), 1) = (error, failures) {
        let note = format!("A fault of the operator: {what}. It is tried again; please report it.");
        operator.reporter.event(&instance, "Warning", "InternalError", "Reconcile", &note, None);
    }
    Action::requeue(wait)
}

/// Could it observe its instance? `None` as long as that isn't known.
fn sight(seen: &Seen) -> Option<Sight> {
    match seen {
        Seen::NotYet => None,
        Seen::Instance(_) => Some(Sight::Sees),
        Seen::Absent(_) => Some(Sight::Blind),
        Seen::Failed(failure) if failure.is_final() => Some(Sight::Blind),
        Seen::Failed(_) => None,
    }
}

fn nothing() -> Decision {
    let verdict = Verdict { health: Health::AsBefore, reason: String::new(), message: String::new(), error: None };
    Decision { step: None, verdict, again: None, active: false }
}

/// The event without its guard. An object that can't be read is replaced by what `instead` gives, as deleted, or left out.
fn readable<K: Resource>(
    event: Event<DeserializeGuard<K>>,
    instead: impl FnOnce(kube::core::error_boundary::InvalidObject) -> Option<K>,
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
