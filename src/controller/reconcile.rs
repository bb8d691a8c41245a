//! One reconcile: what is at hand decides; what is due is carried out; what came of it is told.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::FutureExt;
use jiff::SignedDuration;
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
    decide::{Health, LookError, LookFailure, Seen, Situation, Step, Verdict, decide},
    secrets,
};

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

/// What is known of one `RedisInstance` before anything is asked for it.
struct View<'a> {
    instance: &'a Arc<RedisInstance>,
    object: Object,
    /// `None` without usable credentials.
    caller: Option<Caller>,
    secret_version: String,
    /// The other one that owns the instance.
    owner: Option<String>,
    /// Somebody asks for a look now.
    requested: bool,
}

impl Operator {
    async fn look_after(&self, instance: &Arc<RedisInstance>) -> Result<Action, Error> {
        let instance = &self.reporter.fresh(instance);
        if instance.meta().deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let (view, seen) = self.view(instance).await?;
        let mut done = self.decide_at_hand(&view, seen);
        let due = self.is_due(&view, &done);
        if let (Some(caller), true) = (&view.caller, due) {
            let subject = Subject { instance, caller, secret_version: &view.secret_version };
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
            self.observer.saw(caller, &instance.spec.redis_id, &done.seen);
        }
        self.observer.set_active(&view.object, done.decision.active);
        self.announce_clock(instance);
        let handled = view.requested && done.seen != Seen::NotYet;
        self.reporter.status(instance, &done.entries, &done.seen, &done.decision.verdict, handled).await?;
        self.count(&view.object, &done.decision.verdict);
        Ok(self.next(instance, &done, due))
    }

    /// Credentials, the latest list, and who owns the instance.
    async fn view<'a>(&self, instance: &'a Arc<RedisInstance>) -> Result<(View<'a>, Seen), Error> {
        let object = ObjectRef::from_obj(&**instance);
        let namespace = instance.namespace().unwrap_or_default();
        let secret = &instance.spec.credentials_secret_ref.name;
        let requested = instance.is_requested();
        if requested {
            self.secrets.forget(&namespace, secret).await;
        }
        let (caller, secret_version, seen) = match self.secrets.get(&namespace, secret).await {
            Ok(keys) => {
                let caller = Caller::new(keys.credentials, instance.spec.region.clone());
                let seen = self.observer.watch(&object, secret, &caller, &instance.spec.redis_id);
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
            self.wakes.wake(self.claims.sees(instance, sight));
        }
        let owner = self.claims.other_owner(instance);
        Ok((View { instance, object, caller, secret_version, owner, requested }, seen))
    }

    /// Decides with the watched book and the latest list. An order waits while its account's balance is known to be too low, but for one probe.
    fn decide_at_hand(&self, view: &View<'_>, seen: Seen) -> Done {
        let entries = self.cache.entries(&view.instance.spec.redis_id);
        let now = self.actor.calls.now();
        let situation = Situation {
            instance: view.instance,
            owner: view.owner.as_deref(),
            entries: &entries,
            seen: &seen,
            deal: None,
            secret_version: Some(&view.secret_version),
            balance_low_until: None,
            now,
        };
        let mut decision = decide(&self.actor.policy, &situation);
        if let (Some(Step::Order { .. }), Some(caller), false) = (&decision.step, &view.caller, view.requested)
            && let Some(until) = self.actor.balances.closed_until(&caller.account, &view.object)
        {
            let until = moment(now, until.saturating_duration_since(Instant::now()));
            decision = decide(&self.actor.policy, &Situation { balance_low_until: Some(until), ..situation });
        }
        Done { entries, seen, decision }
    }

    /// Is there something to do, or has the moment come at which a look tells more?
    fn is_due(&self, view: &View<'_>, done: &Done) -> bool {
        let has_come = done.decision.again.is_some_and(|again| again <= self.actor.calls.now());
        let due = done.decision.step.is_some() || has_come || view.requested;
        due && view.owner.is_none() && done.seen != Seen::NotYet
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
