//! One reconcile: what is at hand decides; what is due is carried out; what came of it is told.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::{
    Instrument,
    field::{Empty, display},
};

use super::Operator;
use crate::{
    act::{self, Done, Subject},
    api::{Object, RedisInstance},
    api_server::plain,
    balance::Leave,
    book,
    claims::Sight,
    cloud::{Caller, CloudError},
    decide::{Health, LookError, LookFailure, Owner, Seen, Situation, Step, Verdict, decide, sentence},
    index::{Row, Source},
    observe::SecretUse,
    secrets,
};

/// How long before a Secret that can't be used is read again.
const SECRET_AGAIN: Duration = Duration::from_secs(30);
/// A Secret is often made just after what needs it: so for the first minute it is read again this often.
const SECRET_SOON: Duration = Duration::from_secs(2);
const NEW: SignedDuration = SignedDuration::from_mins(1);
/// Soon, where there is news.
const NEWS: Duration = Duration::from_millis(200);
const AGAIN_AT_LEAST: SignedDuration = SignedDuration::from_millis(500);
const AGAIN_AT_MOST: SignedDuration = SignedDuration::from_mins(5);
/// An object that fails waits 1 s, 2 s, 4 s, … and this at most.
const FAILING_AT_MOST: Duration = Duration::from_secs(300);
/// A clock that is off by less needs no mention: the cloud's own may be 30 s apart, and an answer takes its time.
const CLOCK_WORTH_A_WORD: u64 = 40;
/// Nor does it, once told, before it is off by so much more or less: the clocks of the cloud's front ends may differ, and each answer would be
/// news.
const CLOCK_NEWS: u64 = 90;

/// The cloud's clock may jump so often, there and back for a single wrong Date, before somebody is called.
const PATIENCE: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Secret(#[from] secrets::Error),
    #[error("{0}")]
    Act(#[from] act::Trouble),
    #[error("the instance could not be looked at: {0}")]
    Look(CloudError),
    #[error("it could not be read: {}", plain(.0))]
    Unread(#[source] kube::Error),
    #[error("the status could not be written: {}", plain(.0))]
    Status(#[from] kube::Error),
    #[error("a fault of the operator itself: {0}")]
    Panic(String),
}

/// What is at hand before anything is asked for one `RedisInstance`.
pub(super) struct View {
    pub(super) object: Object,
    pub(super) row: Row,
    /// `None` without usable credentials.
    caller: Option<Caller>,
    secret_version: String,
    /// The other one that owns the instance, and whether that is sure.
    pub(super) owner: Option<(String, bool)>,
    pub(super) seen: Seen,
}

/// As the metric calls it.
pub(super) fn state(health: Health) -> &'static str {
    match health {
        Health::Ready => "ready",
        Health::Reconciling => "reconciling",
        Health::Stalled => "stalled",
        Health::Unknown | Health::AsBefore => "unknown",
    }
}

impl Operator {
    pub(super) async fn reconcile(&self, object: Object) {
        let Some(row) = self.index.get(&object) else { return self.queue.done(object, None) };
        let began = Instant::now();
        let span = tracing::debug_span!(
            "reconcile",
            k8s.namespace.name = object.namespace(),
            k8s.object.kind = "RedisInstance",
            k8s.object.name = object.name(),
            crs.redis_id = &*row.redis_id,
            cloud.region = row.source.region,
            otel.status_description = Empty,
        );
        let looked_after = AssertUnwindSafe(self.look_after(&object, row)).catch_unwind().instrument(span.clone());
        let result = looked_after.await.unwrap_or_else(|panic| {
            let what =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Error::Panic(what.unwrap_or("panic").to_owned()))
        });
        if let Err(error) = &result {
            span.record("otel.status_description", display(error));
        }
        self.actor.metrics.reconciled(if result.is_ok() { "ok" } else { "error" }, began.elapsed());
        let again = match self.index.ended(&object, result.is_ok()) {
            // Deleted meanwhile: what this reconcile has left behind goes too.
            None => {
                self.forget(&object);
                if let Err(error) = result {
                    tracing::info!(namespace = object.namespace(), name = object.name(), %error, "this RedisInstance is gone");
                }
                None
            }
            Some(failures) => result.unwrap_or_else(|error| Some(self.tried_again(&object, &error, failures))),
        };
        self.queue.done(object, again);
    }

    /// How long until one that has failed is tried again.
    fn tried_again(&self, object: &Object, error: &Error, failures: u32) -> Duration {
        let wait = match error {
            // Somebody has just written, or the watch is about to tell of a change: there is news.
            Error::Act(act::Trouble::Changed) if failures <= 1 => NEWS,
            Error::Act(act::Trouble::Book(error)) if failures <= 1 && error.is_news() => NEWS,
            Error::Act(act::Trouble::ClockJumped { left, .. } | act::Trouble::ClocksApart { left, .. }) => *left + NEWS,
            _ => {
                let wait =
                    Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(10)).min(FAILING_AT_MOST);
                wait / 2 + (wait / 2).mul_f64((self.random)() as f64 / u64::MAX as f64)
            }
        };
        tracing::warn!(namespace = object.namespace(), name = object.name(), %error, ?wait, "this RedisInstance is tried again");
        if let (Error::Panic(what), Some(instance)) = (error, self.index.get(object).and_then(|row| row.whole)) {
            let note = format!("A fault of the operator: {what}. It is tried again; please report it.");
            let once = Some(format!("fault.{:x}", instance.metadata.generation.unwrap_or_default()));
            self.actor.reporter.event(instance.object_ref(&()), "Warning", "InternalError", "Reconcile", &note, once);
        }
        wait
    }

    /// Returns when to look again, if not just when something changes.
    async fn look_after(&self, object: &Object, row: Row) -> Result<Option<Duration>, Error> {
        let mut view = self.view(object, row).await?;
        if self.is_still(&view) && self.clock_news().is_none() {
            self.observer.set_active(object, false);
            if matches!(view.seen, Seen::Instance(_)) {
                self.count(object, Health::Ready);
            }
            return Ok(None);
        }
        if self.waits_for_all(object) {
            return Ok(None);
        }
        let instance = match &view.row.whole {
            Some(instance) => instance.clone(),
            None => match self.read(&mut view).await? {
                Some(instance) => instance,
                // Gone, or made again: the watch is about to say so.
                None => return Ok(None),
            },
        };
        if instance.meta().deletion_timestamp.is_some() {
            return Ok(None);
        }
        // In a box: for most, who are still, all before it is little.
        Box::pin(self.look_closer(&view, &instance)).await
    }

    /// Something may be due, or to be told.
    async fn look_closer(&self, view: &View, instance: &Arc<RedisInstance>) -> Result<Option<Duration>, Error> {
        let requested = instance.is_requested();
        let (mut done, leave) = self.decide_at_hand(view, instance, requested);
        let due = self.is_due(view, &done, requested);
        if let (Some(caller), true) = (&view.caller, due) {
            let subject =
                Subject { instance, caller, secret_version: &view.secret_version, due: done.decision.step.is_some() };
            match self.actor.carry_out(&subject, leave).await {
                Ok(after) => done = after,
                Err(act::Trouble::Wait(wait)) => {
                    self.tell(view, instance, &done, false).await?;
                    return Ok(Some(wait));
                }
                Err(error) => {
                    self.tell_of_trouble(view, instance, &done, &error).await;
                    return Err(error.into());
                }
            }
            self.observer.saw(&view.object, caller, &view.row.redis_id, &done.seen);
        }
        if view.owner.is_none() {
            // One that stands by must not send its owner's reader to sleep.
            self.observer.set_active(&view.object, done.decision.active);
        }
        self.announce_clock(instance);
        self.tell(view, instance, &done, requested && sight(&done.seen).is_some()).await?;
        match done.seen {
            // Readers say when the cloud is back; a look of our own that failed is ours to repeat.
            Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) if due => Err(Error::Look(error)),
            _ => Ok(self.again(instance, &done)),
        }
    }

    /// Credentials, the latest list, and who owns the instance.
    async fn view(&self, object: &Object, row: Row) -> Result<View, Error> {
        let Source { namespace, secret, region } = &*row.source;
        if row.requested {
            self.secrets.forget(namespace, secret);
        }
        let (caller, secret_version, seen) = match self.secrets.get(namespace, secret).await {
            Ok(keys) => {
                let caller = keys.caller(region);
                self.index.belongs(&row.source, &caller.account);
                let used =
                    SecretUse { namespace: namespace.clone(), name: secret.clone(), version: keys.version.clone() };
                let seen = self.observer.watch(object, used, &caller, &row.redis_id);
                (Some(caller), keys.version, seen)
            }
            Err(secrets::Error::Unusable(problem)) => {
                self.observer.forget(object);
                let failure = LookFailure { cause: LookError::Credentials(problem), lasting: true };
                (None, String::new(), Seen::Failed(failure))
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(sight) = sight(&seen) {
            self.queue.wake(self.claims.sees(object, &row.redis_id, sight));
        }
        let owner = self.claims.other_owner(object, &row.redis_id);
        Ok(View { object: object.clone(), row, caller, secret_version, owner, seen })
    }

    /// Decides with the watched book and the latest list. An order also needs leave: while its account's balance is known to be too low, it
    /// waits, but for one probe.
    fn decide_at_hand(&self, view: &View, instance: &Arc<RedisInstance>, requested: bool) -> (Done, Option<Leave>) {
        let seen = view.seen.clone();
        // What another one ordered is not shown as this one's.
        let owner = view.owner.as_ref().map(|(name, is_sure)| Owner { name, is_sure: *is_sure });
        let is_others = owner.is_some_and(|owner| owner.is_sure);
        let entries = if is_others { Vec::new() } else { self.cache.entries(&view.row.redis_id) };
        let now = self.actor.calls.now();
        let situation = Situation {
            instance,
            owner,
            entries: &entries,
            seen: &seen,
            deal: None,
            secret_version: &view.secret_version,
            balance_low_until: None,
            due: false,
            now,
            dialect: self.actor.calls.dialect,
        };
        let mut decision = decide(&self.actor.policy, &situation);
        let Some(Caller { account, .. }) = &view.caller else { return (Done { entries, seen, decision }, None) };
        // Somebody's word goes for what only the fresh look calls for, too.
        let mut leave = requested.then(|| self.balances.leave(account));
        if leave.is_none() && matches!(decision.step, Some(Step::Order { .. })) {
            match self.balances.ask_leave(account, &view.object) {
                Ok(given) => leave = Some(given),
                Err(until) => {
                    let until = later(now, until.saturating_duration_since(Instant::now()));
                    decision = decide(&self.actor.policy, &Situation { balance_low_until: Some(until), ..situation });
                }
            }
        }
        (Done { entries, seen, decision }, leave)
    }

    /// Is there something to do, or has the moment come at which a look tells more?
    fn is_due(&self, view: &View, done: &Done, requested: bool) -> bool {
        let has_come = done.decision.again.is_some_and(|again| again <= self.actor.calls.now());
        let due = done.decision.step.is_some() || has_come || requested;
        due && view.owner.is_none() && !matches!(done.seen, Seen::NotYet { .. })
    }

    /// Tells what was decided. `handled`: the look that somebody asked for was made.
    async fn tell(&self, view: &View, instance: &Arc<RedisInstance>, done: &Done, handled: bool) -> Result<(), Error> {
        self.write_status(view, instance, done, &done.decision.verdict, handled).await
    }

    async fn write_status(
        &self,
        view: &View,
        instance: &Arc<RedisInstance>,
        done: &Done,
        verdict: &Verdict,
        handled: bool,
    ) -> Result<(), Error> {
        let written = self.actor.reporter.status(instance, &done.entries, &done.seen, verdict, handled).await?;
        if let Some(written) = written {
            self.learn(&view.object, written);
        }
        self.count(&view.object, verdict.health);
        Ok(())
    }

    /// What was to be done could not be done: people must see why.
    async fn tell_of_trouble(&self, view: &View, instance: &Arc<RedisInstance>, done: &Done, error: &act::Trouble) {
        let said = sentence(&error.to_string());
        let (reason, message) = match error {
            // Passing: there is news, or a limit.
            act::Trouble::Wait(_) | act::Trouble::Changed | act::Trouble::Stopping => return,
            act::Trouble::Book(error) if error.is_news() && view.row.failures == 0 => return,
            act::Trouble::Book(book::Error::TooSlow) => (
                "CloudUnavailable",
                format!("Nothing is ordered while the cloud or the API server is too slow: {said}"),
            ),
            act::Trouble::Book(_) | act::Trouble::Unconfirmed(_) => {
                ("BookUnavailable", format!("Nothing is ordered while the book can't be read and written: {said}"))
            }
            act::Trouble::ClockJumped { jump, .. } if jump.at_start => (
                "ClockSkew",
                format!(
                    "The cloud's clock and this operator's are apart, and one of them is wrong: no order is given up until the cloud's has run evenly for {:#}. Set the clock of the operator's node right.",
                    self.actor.policy.open()
                ),
            ),
            act::Trouble::ClocksApart { entry, .. } => (
                "ClockSkew",
                format!(
                    "The clocks of cloud and cluster are apart, or were when {entry} was signed: it is given up only when this operator has known of it for {:#}. Set the clocks of the cluster's nodes right.",
                    self.actor.policy.open()
                ),
            ),
            act::Trouble::ClockJumped { .. } => (
                "ClockSkew",
                format!(
                    "The cloud's clock has jumped: nothing is ordered, and no order given up, until it has run evenly for {:#}. If it jumps again and again, the clocks of the cloud's servers are apart: tell its support.",
                    self.actor.policy.open()
                ),
            ),
        };
        // That the clock is waited for is news also where only the fresh look has called for a step.
        if done.decision.step.is_none()
            && !matches!(error, act::Trouble::ClockJumped { .. } | act::Trouble::ClocksApart { .. })
        {
            return;
        }
        let health = match error {
            act::Trouble::ClockJumped { jump, .. } if jump.times > PATIENCE => Health::Stalled,
            _ => Health::Reconciling,
        };
        let verdict = Verdict { health, reason: reason.into(), message, error: None };
        if let Err(error) = self.write_status(view, instance, done, &verdict, false).await {
            tracing::debug!(%error, "the status could not be written either");
        }
    }

    /// By how many seconds the cloud's clock was said to be ahead of ours, is, and is to be told to be, if that is news: once when they are
    /// found apart, and again when they are by much more or less.
    fn clock_news(&self) -> Option<[i64; 3]> {
        let offset = self.actor.calls.clock_offset()?.as_secs();
        let (known, by) = (self.clock_announced.load(Ordering::Relaxed), offset.unsigned_abs());
        let told = if by < CLOCK_WORTH_A_WORD { 0 } else { offset };
        let is_news = match (known, told) {
            (0, 0) => false,
            (0, _) => true,
            // Well below what is worth a word: else it would be right and wrong again by turns.
            (_, 0) => by < CLOCK_WORTH_A_WORD / 3,
            _ => told.abs_diff(known) >= CLOCK_NEWS,
        };
        is_news.then_some([known, offset, told])
    }

    fn announce_clock(&self, instance: &RedisInstance) {
        let Some([known, offset, told]) = self.clock_news() else { return };
        // Of several at once one tells it.
        if self.clock_announced.swap(told, Ordering::Relaxed) != known {
            return;
        }
        if told == 0 {
            return tracing::info!(offset_seconds = offset, "the operator's clock is right again");
        }
        let way = if offset < 0 { "ahead of" } else { "behind" };
        let by = offset.unsigned_abs();
        let note = format!(
            "The operator's clock is {by} s {way} the cloud's. It works on by the cloud's. Set the clock of its node right, if it is that one."
        );
        tracing::warn!(offset_seconds = offset, "{note}");
        let once = Some("clock".to_owned());
        self.actor.reporter.event(instance.object_ref(&()), "Warning", "ClockSkew", "Look", &note, once);
    }

    fn count(&self, object: &Object, health: Health) {
        if health != Health::AsBefore
            && let Some(before) = self.index.count(object, health)
        {
            self.actor.metrics.instance(before.map(state), Some(state(health)));
        }
    }

    fn again(&self, instance: &RedisInstance, done: &Done) -> Option<Duration> {
        let now = self.actor.calls.now();
        let is_new = instance.creation_timestamp().is_some_and(|created| now.duration_since(created.0).abs() < NEW);
        match (&done.seen, done.decision.again) {
            // What was found to do on the way is done by the next one.
            _ if done.decision.step.is_some() => Some(NEWS),
            (_, Some(again)) => {
                // Whole seconds: the Date of a look is past that moment a second later. Not too far ahead: the Date that it was
                // reckoned from may be wrong, and to decide again costs nothing.
                let wait = again.duration_since(now) + SignedDuration::from_secs(1);
                Some(wait.clamp(AGAIN_AT_LEAST, AGAIN_AT_MOST).unsigned_abs())
            }
            (Seen::Failed(LookFailure { cause: LookError::Credentials(_), .. }), None) => {
                Some(if is_new { SECRET_SOON } else { SECRET_AGAIN })
            }
            _ => None,
        }
    }
}

/// A moment of the cloud's clock, later by so much.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

/// Could it observe its instance? `None` as long as that isn't known.
fn sight(seen: &Seen) -> Option<Sight> {
    match seen {
        Seen::NotYet { .. } => None,
        Seen::Instance(_) => Some(Sight::Sees),
        Seen::Absent(_) => Some(Sight::Blind),
        Seen::Failed(failure) if failure.is_final() => Some(Sight::Blind),
        Seen::Failed(_) => None,
    }
}
