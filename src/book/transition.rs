//! The ways in which an entry may change: forward only (invariant B5).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Failure, Phase, RedisUpgradeStatus},
    cloud::{Accepted, codes},
};

/// Of `evidence`, in characters, by its schema.
const LONGEST: usize = 1024;

/// What is learnt of an order.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The cloud took it: a fact, written even if the entry was given up.
    Accepted { accepted: Accepted, at: Timestamp },
    /// The cloud refused it, plainly.
    Refused { error: Failure, at: Timestamp },
    /// Nobody knows.
    Unknown { error: Failure },
    /// The operator itself did not send it.
    NeverSent { error: Failure, at: Timestamp },
    /// Its deal was seen as delivered.
    Delivered { at: Timestamp },
    /// A look settles it.
    Settled { phase: Phase, at: Timestamp, evidence: String, error: Option<Failure> },
}

/// The status after `outcome`; `None` when it tells nothing new, or would go back.
pub(crate) fn apply(status: &RedisUpgradeStatus, outcome: &Outcome) -> Option<RedisUpgradeStatus> {
    let phase = status.phase;
    match outcome {
        Outcome::Accepted { accepted, at } => {
            let is_open = matches!(phase, Phase::Written | Phase::Abandoned);
            if !is_open && status.deal_id.is_some() {
                return None;
            }
            let status = RedisUpgradeStatus {
                deal_id: Some(accepted.deal_id.clone()),
                deal_name: accepted.deal_name.clone(),
                ..status.clone()
            };
            let (late, deal) = (if phase.is_settled() { "Learnt late: the" } else { "The" }, status.deal());
            let sentence = format!("{late} cloud accepted the order at {at}: deal {}.", deal.unwrap_or_default());
            let evidence = Some(and(&status, &sentence));
            Some(match is_open {
                true => RedisUpgradeStatus { phase: Phase::Placed, error: None, settled_at: None, evidence, ..status },
                false => RedisUpgradeStatus { evidence, ..status },
            })
        }
        Outcome::Refused { error, at } => (phase == Phase::Written).then(|| {
            let evidence = format!("The cloud refused the order at {at}: {}", told(error));
            settle(status, Phase::Refused, *at, &evidence, Some(error.clone()))
        }),
        Outcome::NeverSent { error, at } => (phase == Phase::Written).then(|| {
            let evidence = format!("It was never sent ({at}): {}", error.message);
            settle(status, Phase::Abandoned, *at, &evidence, Some(error.clone()))
        }),
        Outcome::Unknown { error } => (phase == Phase::Written && status.error.is_none()).then(|| {
            let sentence = format!("No plain answer to the order by {} ({}).", error.time.0, told(error));
            RedisUpgradeStatus { error: Some(error.clone()), evidence: Some(and(status, &sentence)), ..status.clone() }
        }),
        Outcome::Delivered { at } => (phase == Phase::Placed && status.delivered_at.is_none())
            .then(|| RedisUpgradeStatus { delivered_at: Some(Time(*at)), ..status.clone() }),
        Outcome::Settled { phase: settled, at, evidence, error } => {
            let forward = match phase {
                Phase::Written => matches!(settled, Phase::Fulfilled | Phase::Abandoned),
                Phase::Placed => matches!(settled, Phase::Fulfilled | Phase::Failed),
                _ => false,
            };
            forward.then(|| settle(status, *settled, *at, evidence, error.clone()))
        }
    }
}

fn settle(
    status: &RedisUpgradeStatus,
    phase: Phase,
    at: Timestamp,
    evidence: &str,
    error: Option<Failure>,
) -> RedisUpgradeStatus {
    RedisUpgradeStatus {
        phase,
        settled_at: Some(Time(at)),
        evidence: Some(and(status, evidence)),
        error: error.or_else(|| status.error.clone()),
        ..status.clone()
    }
}

/// What was written before, and this sentence: one after the other they say how it came to this. Of what is too long together the end stays.
fn and(status: &RedisUpgradeStatus, sentence: &str) -> String {
    let all = status.evidence.iter().map(String::as_str).chain([sentence]).collect::<Vec<_>>().join(" ");
    match all.chars().count().checked_sub(LONGEST) {
        None | Some(0) => all,
        Some(over) => ['…'].into_iter().chain(all.chars().skip(over + 1)).collect(),
    }
}

fn told(error: &Failure) -> String {
    format!("{}: {}", codes::told(error.cloud_code.as_deref(), &error.code_desc), error.message)
}

#[cfg(test)]
mod tests;
