//! One reconcile: what is at hand decides; what is due is carried out; what came of it is told.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Resource, ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
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
    #[error("the status could not be written: {}", plain(.0))]
    Status(#[from] kube::Error),
    #[error("a fault of the operator itself: {0}")]
    Panic(String),
}

pub(super) async fn reconcile(instance: Arc<RedisInstance>, operator: Arc<Operator>) -> Result<Action, Error> {
    let began = Instant::now();
    let span = tracing::debug_span!(
        "reconcile",
        k8s.namespace.name = instance.metadata.namespace,
        k8s.object.kind = "RedisInstance",
        k8s.object.name = instance.metadata.name,
        crs.redis_id = instance.spec.redis_id,
        cloud.region = instance.spec.region,
        otel.status_description = Empty,
    );
    let looked_after = AssertUnwindSafe(operator.look_after(&instance)).catch_unwind().instrument(span.clone());
    let result = looked_after.await.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Panic(what.unwrap_or("panic").to_owned()))
    });
    if let Err(error) = &result {
        span.record("otel.status_description", display(error));
    }
    operator.actor.metrics.reconciled(if result.is_ok() { "ok" } else { "error" }, began.elapsed());
    let object = ObjectRef::from_obj(&*instance);
    match operator.known().get_mut(&object) {
        Some(known) => known.failures = if result.is_ok() { 0 } else { known.failures.saturating_add(1) },
        // Deleted meanwhile: what this reconcile has left behind goes too.
        None => {
            operator.observer.forget(&object);
            operator.balances.forget(&object);
            operator.actor.reporter.forget(&object);
        }
    }
    result
}

pub(super) fn on_error(instance: Arc<RedisInstance>, error: &Error, operator: Arc<Operator>) -> Action {
    let object = ObjectRef::from_obj(&*instance);
    let Some(failures) = operator.known().get(&object).map(|known| known.failures) else {
        return Action::await_change();
    };
    let wait = match error {
        // Somebody has just written, or the watch is about to tell of a change: there is news.
        Error::Act(act::Trouble::Changed) if failures <= 1 => NEWS,
        Error::Act(act::Trouble::Book(error)) if failures <= 1 && error.is_news() => NEWS,
        Error::Act(act::Trouble::ClockJumped { left, .. } | act::Trouble::ClocksApart { left, .. }) => *left + NEWS,
        _ => {
            let wait =
                Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(10)).min(FAILING_AT_MOST);
            wait / 2 + (wait / 2).mul_f64((operator.random)() as f64 / u64::MAX as f64)
        }
    };
    tracing::warn!(namespace = instance.namespace(), name = instance.name_any(), %error, ?wait, "this RedisInstance is tried again");
    if let Error::Panic(what) = error {
        let note = format!("A fault of the operator: {what}. It is tried again; please report it.");
        let once = Some(format!("fault.{:x}", instance.metadata.generation.unwrap_or_default()));
        operator.actor.reporter.event(instance.object_ref(&()), "Warning", "InternalError", "Reconcile", &note, once);
    }
    Action::requeue(wait)
}

/// What is known of one `RedisInstance` before anything is asked for it.
struct View<'a> {
    instance: &'a Arc<RedisInstance>,
    object: Object,
    /// `None` without usable credentials.
    caller: Option<Caller>,
    secret_version: String,
    /// The other one that owns the instance, and whether that is sure.
    owner: Option<(String, bool)>,
    /// Somebody asks for a look now.
    requested: bool,
}

impl Operator {
    async fn look_after(&self, instance: &Arc<RedisInstance>) -> Result<Action, Error> {
        let instance = &self.actor.reporter.fresh(instance);
        if instance.meta().deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let (view, seen) = self.view(instance).await?;
        let (mut done, leave) = self.decide_at_hand(&view, seen);
        let due = self.is_due(&view, &done);
        if let (Some(caller), true) = (&view.caller, due) {
            let subject =
                Subject { instance, caller, secret_version: &view.secret_version, due: done.decision.step.is_some() };
            match self.actor.carry_out(&subject, leave).await {
                Ok(after) => done = after,
                Err(act::Trouble::Wait(wait)) => {
                    self.tell(&view, &done, false).await?;
                    return Ok(Action::requeue(wait));
                }
                Err(error) => {
                    self.tell_of_trouble(&view, &done, &error).await;
                    return Err(error.into());
                }
            }
            self.observer.saw(&view.object, caller, &instance.spec.redis_id, &done.seen);
        }
        if view.owner.is_none() {
            // One that stands by must not send its owner's reader to sleep.
            self.observer.set_active(&view.object, done.decision.active);
        }
        self.announce_clock(instance);
        self.tell(&view, &done, view.requested && sight(&done.seen).is_some()).await?;
        match done.seen {
            // Readers say when the cloud is back; a look of our own that failed is ours to repeat.
            Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) if due => Err(Error::Look(error)),
            _ => Ok(self.next(instance, &done)),
        }
    }

    /// Credentials, the latest list, and who owns the instance.
    async fn view<'a>(&self, instance: &'a Arc<RedisInstance>) -> Result<(View<'a>, Seen), Error> {
        let object = ObjectRef::from_obj(&**instance);
        let namespace = instance.namespace().unwrap_or_default();
        let secret = &instance.spec.credentials_secret_ref.name;
        let requested = instance.is_requested();
        if requested {
            self.secrets.forget(&namespace, secret);
        }
        let (caller, secret_version, seen) = match self.secrets.get(&namespace, secret).await {
            Ok(keys) => {
                let caller = Caller::new(keys.credentials, instance.spec.region.clone());
                let used = SecretUse { name: secret.clone(), version: keys.version.clone() };
                let seen = self.observer.watch(&object, used, &caller, &instance.spec.redis_id);
                (Some(caller), keys.version, seen)
            }
            Err(secrets::Error::Unusable(problem)) => {
                self.observer.forget(&object);
                let failure = LookFailure { cause: LookError::Credentials(problem), lasting: true };
                (None, String::new(), Seen::Failed(failure))
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(sight) = sight(&seen) {
            self.actor.wakes.wake(self.claims.sees(instance, sight));
        }
        let owner = self.claims.other_owner(instance);
        Ok((View { instance, object, caller, secret_version, owner, requested }, seen))
    }

    /// Decides with the watched book and the latest list. An order also needs leave: while its account's balance is known to be too low, it
    /// waits, but for one probe.
    fn decide_at_hand(&self, view: &View<'_>, seen: Seen) -> (Done, Option<Leave>) {
        // What another one ordered is not shown as this one's.
        let owner = view.owner.as_ref().map(|(name, is_sure)| Owner { name, is_sure: *is_sure });
        let is_others = owner.is_some_and(|owner| owner.is_sure);
        let entries = if is_others { Vec::new() } else { self.cache.entries(&view.instance.spec.redis_id) };
        let now = self.actor.calls.now();
        let situation = Situation {
            instance: view.instance,
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
        let mut leave = view.requested.then(|| self.balances.leave(account));
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
    fn is_due(&self, view: &View<'_>, done: &Done) -> bool {
        let has_come = done.decision.again.is_some_and(|again| again <= self.actor.calls.now());
        let due = done.decision.step.is_some() || has_come || view.requested;
        // Before all namespaces are listed, an older one may own the instance.
        due && view.owner.is_none() && done.seen != Seen::NotYet && self.is_synced()
    }

    /// Tells what was decided. `handled`: the look that somebody asked for was made.
    async fn tell(&self, view: &View<'_>, done: &Done, handled: bool) -> Result<(), Error> {
        let verdict = &done.decision.verdict;
        self.actor.reporter.status(view.instance, &done.entries, &done.seen, verdict, handled).await?;
        self.count(&view.object, verdict);
        Ok(())
    }

    /// What was to be done could not be done: people must see why.
    async fn tell_of_trouble(&self, view: &View<'_>, done: &Done, error: &act::Trouble) {
        let said = sentence(&error.to_string());
        let (reason, message) = match error {
            // Passing: there is news, or a limit.
            act::Trouble::Wait(_) | act::Trouble::Changed | act::Trouble::Stopping => return,
            act::Trouble::Book(error) if error.is_news() && self.failures(&view.object) == 0 => return,
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
        match self.actor.reporter.status(view.instance, &done.entries, &done.seen, &verdict, false).await {
            Ok(()) => self.count(&view.object, &verdict),
            Err(error) => tracing::debug!(%error, "the status could not be written either"),
        }
    }

    fn failures(&self, object: &Object) -> u32 {
        self.known().get(object).map_or(0, |known| known.failures)
    }

    /// Once, when the cloud's clock and ours are found apart, and again when they are by much more or less.
    fn announce_clock(&self, instance: &RedisInstance) {
        let Some(offset) = self.actor.calls.clock_offset() else { return };
        let (known, by) = (self.clock_announced.load(Ordering::Relaxed), offset.unsigned_abs().as_secs());
        let told = if by < CLOCK_WORTH_A_WORD { 0 } else { offset.as_secs() };
        let is_news = match (known, told) {
            (0, 0) => false,
            (0, _) => true,
            // Well below what is worth a word: else it would be right and wrong again by turns.
            (_, 0) => by < CLOCK_WORTH_A_WORD / 3,
            _ => told.abs_diff(known) >= CLOCK_NEWS,
        };
        // Of several at once one tells it.
        if !is_news || self.clock_announced.swap(told, Ordering::Relaxed) != known {
            return;
        }
        if told == 0 {
            return tracing::info!(offset_seconds = offset.as_secs(), "the operator's clock is right again");
        }
        let way = if offset.is_negative() { "ahead of" } else { "behind" };
        let note = format!(
            "The operator's clock is {by} s {way} the cloud's. It works on by the cloud's. Set the clock of its node right, if it is that one."
        );
        tracing::warn!(offset_seconds = offset.as_secs(), "{note}");
        let once = Some("clock".to_owned());
        self.actor.reporter.event(instance.object_ref(&()), "Warning", "ClockSkew", "Look", &note, once);
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
            let before = known.state.replace(state);
            if before != Some(state) {
                self.actor.metrics.instance(before, Some(state));
            }
        }
    }

    fn next(&self, instance: &RedisInstance, done: &Done) -> Action {
        let now = self.actor.calls.now();
        let is_new = instance.creation_timestamp().is_some_and(|created| now.duration_since(created.0).abs() < NEW);
        match (&done.seen, done.decision.again) {
            // What was found to do on the way is done by the next one.
            _ if done.decision.step.is_some() => Action::requeue(NEWS),
            (_, Some(again)) => {
                // Whole seconds: the Date of a look is past that moment a second later. Not too far ahead: the Date that it was
                // reckoned from may be wrong, and to decide again costs nothing.
                let wait = again.duration_since(now) + SignedDuration::from_secs(1);
                Action::requeue(wait.clamp(AGAIN_AT_LEAST, AGAIN_AT_MOST).unsigned_abs())
            }
            (Seen::Failed(LookFailure { cause: LookError::Credentials(_), .. }), None) => {
                Action::requeue(if is_new { SECRET_SOON } else { SECRET_AGAIN })
            }
            _ => Action::await_change(),
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
        Seen::NotYet => None,
        Seen::Instance(_) => Some(Sight::Sees),
        Seen::Absent(_) => Some(Sight::Blind),
        Seen::Failed(failure) if failure.is_final() => Some(Sight::Blind),
        Seen::Failed(_) => None,
    }
}
