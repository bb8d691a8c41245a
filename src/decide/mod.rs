//! The policy: what to do about one instance, and what to tell people. Pure: no I/O, no clock of its own.
//!
//! [`decide`] is asked twice. First with what is at hand (the watched book, the latest list): if no [`Step`] comes of that, all is told by
//! the [`Verdict`], for free. If one does, it is asked again with the book read consistently and a fresh look, and that step is carried out.

mod codes;
mod decision;
mod growth;
mod situation;
mod sizes;
#[cfg(test)]
mod tests;
mod unseen;
mod unsettled;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Failure, Phase},
    cloud::{CloudError, Instance, InstanceState, STEP},
};

pub use codes::is_balance;
pub use decision::{Decision, Health, Step, Verdict};
pub use situation::{Deal, LookError, LookFailure, Owner, Seen, Situation};
pub use sizes::sizes_sold;
pub use unseen::FIRST_LOOK;

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
    /// Lifetime and lag: so long after it is signed an order may still come, and not show.
    pub fn open(&self) -> SignedDuration {
        self.lifetime.saturating_add(self.lag)
    }

    /// In a look after this moment, an order signed then can no longer come, and if it came, that look shows it.
    fn dead_after(&self, signed_at: Timestamp) -> Timestamp {
        later(signed_at, self.open())
    }

    /// Lag × 2, × 4, × 8, …, an hour at most, but never less than the lag: for what the cloud refused or failed `times` times.
    fn backoff(&self, times: usize) -> SignedDuration {
        let factor = 1 << times.min(10);
        self.lag.saturating_mul(factor).min(SignedDuration::from_hours(1)).max(self.lag)
    }
}

/// Decides about one instance.
pub fn decide(policy: &Policy, situation: &Situation<'_>) -> Decision {
    if let Some(owner) = situation.owner {
        return Decision::rest(owned_by(situation, owner));
    }
    let look = match situation.seen {
        Seen::NotYet { long } => return unseen::not_yet(situation, *long),
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

/// A moment, later by so much; the end of time if there is no such moment.
fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}
