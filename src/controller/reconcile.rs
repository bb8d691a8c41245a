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

use super::{Object, Operator};
use crate::{
    act::{self, Done, Subject, moment},
    api::RedisInstance,
    book,
    claims::Sight,
    cloud::Caller,
    decide::{Decision, Health, LookError, LookFailure, Seen, Situation, Step, Verdict, decide},
    secrets,
};

/// How long before a Secret that can't be used is read again.
const SECRET_AGAIN: Duration = Duration::from_secs(30);
/// A Secret is often made just after what needs it: so for the first minute it is read again this often.
const SECRET_SOON: Duration = Duration::from_secs(2);
const NEW: SignedDuration = SignedDuration::from_mins(1);
/// After a conflict in the book: somebody has just written, so there is news.
const CONFLICT_AGAIN: Duration = Duration::from_millis(200);
/// The watch tells of a change by itself, sooner than this.
const CHANGED_AGAIN: Duration = Duration::from_secs(2);
/// Around so long after which one comes back whose account has all the workers that it may have.
const SHARE_AGAIN: Duration = Duration::from_secs(1);
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

pub(super) async fn reconcile(instance: Arc<RedisInstance>, operator: Arc<Operator>) -> Result<Action, Error> {
    let began = Instant::now();
    let result = AssertUnwindSafe(operator.look_after(&instance)).catch_unwind().await.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Panic(what.unwrap_or("panic").to_owned()))
    });
    operator.metrics.reconciled(if result.is_ok() { "ok" } else { "error" }, began.elapsed());
    result
}

pub(super) fn on_error(instance: Arc<RedisInstance>, error: &Error, operator: Arc<Operator>) -> Action {
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
        operator.reporter.event(instance.object_ref(&()), "Warning", "InternalError", "Reconcile", &note, None);
    }
    Action::requeue(wait)
}

impl Operator {
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
            let Some(_share) = self.shares.take(&caller.account) else {
                return Ok(Action::requeue(SHARE_AGAIN.mul_f64(0.5 + rand::random::<f64>())));
            };
            let subject = Subject { instance, caller, secret_version: &version };
            let ordering = matches!(done.decision.step, Some(Step::Order { .. }));
            match self.actor.carry_out(&subject, ordering).await {
                Ok(after) => done = after,
                Err(act::Trouble::Wait(wait)) => return Ok(Action::requeue(wait)),
                Err(act::Trouble::Book(book::Error::Conflict)) => return Ok(Action::requeue(CONFLICT_AGAIN)),
                Err(act::Trouble::Changed) => return Ok(Action::requeue(CHANGED_AGAIN)),
                Err(error) => {
                    self.tell_of_trouble(instance, &done, &error).await;
                    return Err(error.into());
                }
            }
            looked = true;
            self.observer.saw(caller, redis_id, &done.seen);
        }
        self.announce_clock(instance);
        if owner.is_none() {
            // One that only stands by must not send its owner's reader to sleep.
            self.observer.set_active(&object, done.decision.active);
        }
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
        self.reporter.event(instance.object_ref(&()), "Warning", "ClockSkew", "Look", &note, None);
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
