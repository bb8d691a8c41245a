//! The policy: what to do about one instance, and what to tell people. Pure: no I/O, no clock of its own.
//!
//! [`decide`] is asked twice. First with what is at hand (the watched book, the latest list): if no [`Step`] comes of that, all is told by
//! the [`Verdict`], for free. If one does, it is asked again with the book read consistently and a fresh look, and that step is carried out.

mod codes;
mod growth;
mod sizes;
#[cfg(test)]
mod tests;
mod unseen;
mod unsettled;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Failure, Phase, RedisInstance, RedisUpgrade},
    cloud::{Accepted, CloudError, Dated, DealState, Dialect, Instance, InstanceState, STEP},
};

pub use codes::is_balance;
pub use growth::NEVER_SENT;
pub use sizes::sizes_sold;

/// Settings of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// L: how long an accepted order may stay invisible in DescribeRedis, stale answers included.
    pub lag: SignedDuration,
    /// W: how long after its Timestamp the cloud may still accept a request.
    pub lifetime: SignedDuration,
    /// How often a still instance is looked at.
    pub resync: Duration,
    /// How often one is looked at that is on its way.
    pub active: Duration,
}

impl Policy {
    /// In a look after this moment, an order signed then can no longer come, and if it came, that look shows it.
    fn dead_after(&self, signed_at: Timestamp) -> Timestamp {
        later(signed_at, self.lifetime.saturating_add(self.lag))
    }

    /// Lag × 2, × 4, × 8, …, an hour at most, but never less than the lag: for what the cloud refused or failed `times` times.
    fn backoff(&self, times: usize) -> SignedDuration {
        let factor = 1 << times.min(10);
        self.lag.saturating_mul(factor).min(SignedDuration::from_hours(1)).max(self.lag)
    }
}

/// What is known when one instance is due.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub instance: &'a RedisInstance,
    /// The other `RedisInstance` that owns this redisId (invariant B8).
    pub owner: Option<Owner<'a>>,
    /// The entries of the account book for this redisId, lowest number first.
    pub entries: &'a [RedisUpgrade],
    pub seen: &'a Seen,
    /// The deal that was asked for last, if one was.
    pub deal: Option<&'a Deal>,
    /// resourceVersion of the Secret.
    pub secret_version: &'a str,
    /// The account's balance was too low for an order: none is tried before this moment.
    pub balance_low_until: Option<Timestamp>,
    /// The look was made since something was to be done.
    pub due: bool,
    /// The cloud's time, as far as known.
    pub now: Timestamp,
    /// What the API calls what is asked of it.
    pub dialect: Dialect,
}

/// The `RedisInstance` that comes first of several on the same instance.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// namespace/name.
    pub name: &'a str,
    /// It could observe the instance. Else that isn't known yet: it may turn out not to stand in the way.
    pub is_sure: bool,
}

/// What the cloud said of a deal.
#[derive(Clone, Debug, PartialEq)]
pub struct Deal {
    pub id: String,
    /// `None`: the cloud knows no such deal, or could not be asked.
    pub state: Option<DealState>,
    /// Why it could not be asked: action, code and name.
    pub trouble: Option<String>,
    pub at: Timestamp,
}

/// What the cloud showed of an instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nobody has looked yet.
    NotYet,
    Instance(Dated<Instance>),
    /// The cloud was asked for this very instance and has none (invariant B10).
    Absent(Timestamp),
    Failed(LookFailure),
}

/// Why an instance could not be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct LookFailure {
    pub cause: LookError,
    /// It has failed for three resyncs or more.
    pub lasting: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LookError {
    /// There are no usable credentials; a sentence that says what to do.
    Credentials(String),
    Cloud(CloudError),
}

impl LookFailure {
    /// Does it lead to the same as another one? (Each try may fail in its own words.)
    pub fn is_like(&self, other: &Self) -> bool {
        self.lasting == other.lasting
            && match (&self.cause, &other.cause) {
                (LookError::Cloud(one), LookError::Cloud(two)) => {
                    one.code == two.code
                        && one.cloud_code == two.cloud_code
                        && codes::read_trouble(one) == codes::read_trouble(two)
                }
                (one, two) => one == two,
            }
    }

    /// Somebody must act before a look can succeed.
    pub fn is_final(&self) -> bool {
        match &self.cause {
            LookError::Credentials(_) => true,
            LookError::Cloud(error) => {
                matches!(codes::read_trouble(error), codes::ReadTrouble::Credentials | codes::ReadTrouble::Refused)
            }
        }
    }
}

/// What to do, and what to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub step: Option<Step>,
    pub verdict: Verdict,
    /// A look after this moment of the cloud's clock will tell more, even if nothing is seen to change before.
    pub again: Option<Timestamp>,
    /// Something is on its way: look at the instance often.
    pub active: bool,
}

/// A step forward. Each is taken on a consistent book and a fresh look.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the next entry into the book and send its order.
    Order { from: i64, to: i64 },
    /// Ask what became of the deal of this entry.
    AskDeal { entry: String, order: Accepted },
    /// Write down when the deal of this entry was first seen as delivered.
    MarkDelivered { entry: String, at: Timestamp },
    /// Close this entry.
    Settle { entry: String, phase: Phase, at: Timestamp, evidence: String, error: Option<Failure> },
}

/// How it stands with the resource, in the sense of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    Reconciling,
    Stalled,
    /// The cloud can't be asked: Ready is Unknown.
    Unknown,
    /// Nothing new is known: what the status says stays.
    AsBefore,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub health: Health,
    /// CamelCase word.
    pub reason: String,
    /// One line. Nothing in it moves by itself.
    pub message: String,
    pub error: Option<Failure>,
}

/// Decides about one instance.
pub fn decide(policy: &Policy, situation: &Situation<'_>) -> Decision {
    if let Some(owner) = situation.owner {
        return Decision::rest(owned_by(situation, owner));
    }
    let look = match situation.seen {
        Seen::NotYet => return unseen::not_yet(situation),
        Seen::Failed(look) => return unseen::decide(situation, look),
        Seen::Absent(at) => Look { instance: None, at: *at, action: situation.dialect.describe },
        Seen::Instance(seen) => Look { instance: Some(&seen.value), at: seen.at, action: situation.dialect.describe },
    };
    if let Some(entry) = situation.entries.iter().find(|entry| !entry.phase().is_settled()) {
        return unsettled::decide(policy, situation, entry, look);
    }
    settled(policy, situation, look)
}

/// One look at the instance that had an answer: `instance` is `None` when the cloud has none.
#[derive(Clone, Copy)]
struct Look<'a> {
    instance: Option<&'a Instance>,
    at: Timestamp,
    action: &'static str,
}

impl Look<'_> {
    /// The size of the instance, if it runs.
    fn running_size(&self) -> Option<i64> {
        self.instance.filter(|instance| instance.state == InstanceState::Running).map(|instance| instance.size)
    }

    /// What was seen, for a sentence of evidence.
    fn describe(&self) -> String {
        let Self { instance, at, action } = self;
        match instance {
            None => format!("{action} at {at} shows no such instance"),
            Some(Instance { state, size, .. }) => format!("{action} at {at} shows {size} MB, {state}"),
        }
    }
}

/// Everything in the book is settled.
fn settled(policy: &Policy, situation: &Situation<'_>, look: Look<'_>) -> Decision {
    let Some(instance) = look.instance else { return Decision::rest(absent(situation)) };
    let desired = situation.desired();
    match instance.state {
        InstanceState::Isolated | InstanceState::Unknown(_) => Decision::rest(abnormal(situation, instance)),
        InstanceState::Running | InstanceState::InProcess if instance.size >= desired => {
            Decision::rest(size_is_there(situation, instance.size))
        }
        _ if situation.observes() => Decision::rest(observed(situation, instance.size)),
        InstanceState::Running if desired % instance.step() != 0 => {
            Decision::rest(sizes::does_not_divide(situation, instance))
        }
        InstanceState::Running => growth::decide(policy, situation, instance.size, look.at),
        state @ (InstanceState::InProcess | InstanceState::Initializing) => Decision::rest(Verdict::reconciling(
            "InstanceStatusAbnormal",
            format!("{} is {state}: nothing is ordered until it runs; {desired} MB are declared.", instance.redis_id),
        ))
        .active(),
    }
}

/// Another one manages the instance. While that isn't sure, what was told before stays.
fn owned_by(situation: &Situation<'_>, Owner { name, is_sure }: Owner<'_>) -> Verdict {
    let health = match is_sure {
        true => Health::Stalled,
        false if situation.is_untold() => Health::Reconciling,
        false => Health::AsBefore,
    };
    let message = format!("RedisInstance {name} already manages {}: delete one of the two.", situation.redis_id());
    Verdict::new(health, "DuplicateRedisId", message)
}

fn absent(situation: &Situation<'_>) -> Verdict {
    let message = format!(
        "The account of the Secret has no instance {} in region {}. Correct the Secret, or delete this RedisInstance and create one with the right redisId and region.",
        situation.redis_id(),
        situation.instance.spec.region
    );
    situation.found(10701, "InstanceNotExists", message)
}

fn abnormal(situation: &Situation<'_>, instance: &Instance) -> Verdict {
    let message = format!(
        "{} is {}, not Running: nothing can be ordered for it. In the console, pay for it or restore it.",
        instance.redis_id, instance.state
    );
    situation.found(10702, "InstanceStatusAbnormal", message)
}

/// An order is being made. One more try while a top-up is waited for is no news before it has an answer.
fn ordering(situation: &Situation<'_>, message: String) -> Verdict {
    let waits = situation.is_told("Stalled", "AccountBalanceNotEnough");
    let verdict = Verdict::new(if waits { Health::AsBefore } else { Health::Reconciling }, "Ordering", message);
    // Nor is the cause of the last refusal of what is declared gone before.
    let tried = situation.entries.iter().rfind(|entry| entry.phase().is_settled() && situation.is_for(entry));
    Verdict {
        error: tried.filter(|entry| entry.phase() == Phase::Refused).and_then(|entry| entry.outcome().error),
        ..verdict
    }
}

fn observed(situation: &Situation<'_>, size: i64) -> Verdict {
    let desired = situation.desired();
    let message = format!("The instance has {size} MB, {desired} are declared; mode Observe: nothing is ordered.");
    Verdict::ready("Observed", message)
}

/// The instance has the size asked for, or more.
fn size_is_there(situation: &Situation<'_>, size: i64) -> Verdict {
    let desired = situation.desired();
    if size == desired {
        return Verdict::ready("InSync", format!("The instance has the {size} MB declared."));
    }
    if situation.observes() {
        return observed(situation, size);
    }
    if situation.was_ready() {
        // Only whole GB can be declared; more would be bought.
        let declarable = size - size % STEP;
        return Verdict::ready(
            "LargerThanDeclared",
            format!(
                "The instance was made larger elsewhere: it has {size} MB, {desired} are declared. Declare memSize: {declarable} to keep the manifest true."
            ),
        );
    }
    situation.found(
        11057,
        "ReduceCapacityNotAllowed",
        format!(
            "The instance has {size} MB, {desired} are declared, and an instance is never made smaller. Declare memSize: {} or more.",
            size.saturating_add(STEP - 1) / STEP * STEP
        ),
    )
}

impl<'a> Situation<'a> {
    fn redis_id(&self) -> &'a str {
        &self.instance.spec.redis_id
    }

    fn desired(&self) -> i64 {
        self.instance.spec.mem_size
    }

    fn secret(&self) -> &'a str {
        &self.instance.spec.credentials_secret_ref.name
    }

    /// Nothing has been told of it yet.
    fn is_untold(&self) -> bool {
        self.instance.status.as_ref().is_none_or(|status| status.conditions.is_empty())
    }

    /// The spec was changed since the status was written, to more than the instance had then.
    fn has_new_work(&self) -> bool {
        self.instance.status.as_ref().is_some_and(|status| {
            status.observed_generation != self.instance.metadata.generation && status.mem_size < Some(self.desired())
        }) && !self.observes()
    }

    fn observes(&self) -> bool {
        self.instance.spec.mode == crate::api::Mode::Observe
    }

    /// The status says, of the present spec, that it is `Reconciling` or `Stalled` for this reason.
    fn is_told(&self, kind: &str, reason: &str) -> bool {
        let conditions = self.instance.status.iter().flat_map(|status| &status.conditions);
        conditions.filter(|condition| condition.type_ == kind && condition.reason == reason).any(|condition| {
            condition.status == "True" && condition.observed_generation == self.instance.metadata.generation
        })
    }

    /// That entry was written for just this object and spec.
    fn is_for(&self, entry: &RedisUpgrade) -> bool {
        let (demand, asked_for) = (&self.instance.metadata, &entry.spec.instance_ref);
        Some(&asked_for.uid) == demand.uid.as_ref() && Some(asked_for.generation) == demand.generation
    }

    /// It has been Ready at its present generation.
    fn was_ready(&self) -> bool {
        let ready = self.instance.status.as_ref().and_then(|status| status.ready_generation);
        ready.is_some() && ready == self.instance.metadata.generation
    }

    /// Stalled for a reason that the operator found itself, named as the cloud would.
    fn found(&self, code: i64, name: &str, message: String) -> Verdict {
        let error = Failure {
            code: Some(code),
            cloud_code: None,
            code_desc: name.into(),
            message: message.clone(),
            action: match code {
                10703 | 11057 | 100_207 => self.dialect.upgrade,
                _ => self.dialect.describe,
            }
            .into(),
            time: Time(self.now),
        };
        Verdict { health: Health::Stalled, reason: name.into(), message, error: Some(error) }
    }
}

/// What the cloud said, with a full stop, so that more can be said after it.
pub fn sentence(said: &str) -> String {
    let said = said.trim_end();
    if said.ends_with(['.', '!', '?', '…']) { said.to_owned() } else { format!("{said}.") }
}

/// The cloud's error as book and status have it.
pub fn failure(error: &CloudError, action: &str, at: Timestamp) -> Failure {
    Failure {
        code: error.code,
        cloud_code: error.cloud_code.clone(),
        code_desc: error.code_desc.clone(),
        message: error.message.clone(),
        action: action.into(),
        time: Time(at),
    }
}

impl Verdict {
    fn new(health: Health, reason: &str, message: String) -> Self {
        Self { health, reason: reason.into(), message, error: None }
    }

    fn ready(reason: &str, message: String) -> Self {
        Self::new(Health::Ready, reason, message)
    }

    fn reconciling(reason: &str, message: String) -> Self {
        Self::new(Health::Reconciling, reason, message)
    }

    fn stalled(reason: &str, message: String) -> Self {
        Self::new(Health::Stalled, reason, message)
    }
}

impl Decision {
    /// Nothing to do until something changes.
    fn rest(verdict: Verdict) -> Self {
        Self { step: None, verdict, again: None, active: false }
    }

    fn step(step: Step, verdict: Verdict) -> Self {
        Self { step: Some(step), verdict, again: None, active: true }
    }

    fn active(self) -> Self {
        Self { active: true, ..self }
    }

    fn again_after(self, moment: Timestamp) -> Self {
        Self { again: Some(moment), ..self }
    }
}

/// A moment, later by so much; the end of time if there is no such moment.
fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}
