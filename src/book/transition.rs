//! The ways in which an entry may change: forward only (invariant B5).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Failure, Phase, RedisUpgradeStatus},
    cloud::{Accepted, codes},
};

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
    let with_deal = |accepted: &Accepted| RedisUpgradeStatus {
        deal_id: Some(accepted.deal_id.clone()),
        deal_name: accepted.deal_name.clone(),
        ..status.clone()
    };
    match outcome {
        Outcome::Accepted { accepted, at } => match phase {
            Phase::Written | Phase::Abandoned => {
                let status = with_deal(accepted);
                let deal = status.deal().unwrap_or_default();
                Some(RedisUpgradeStatus {
                    phase: Phase::Placed,
                    error: None,
                    settled_at: None,
                    evidence: Some(format!("The cloud accepted the order at {at}: deal {deal}.")),
                    ..status
                })
            }
            _ if status.deal_id.is_none() => Some(with_deal(accepted)),
            _ => None,
        },
        Outcome::Refused { error, at } => (phase == Phase::Written).then(|| {
            let code = codes::told(error.cloud_code.as_deref(), &error.code_desc);
            let evidence = format!("The cloud refused the order at {at}: {code}: {}", error.message);
            settle(status, Phase::Refused, *at, evidence, Some(error.clone()))
        }),
        Outcome::NeverSent { error, at } => (phase == Phase::Written).then(|| {
            settle(status, Phase::Abandoned, *at, format!("never sent: {}", error.message), Some(error.clone()))
        }),
        Outcome::Unknown { error } => (phase == Phase::Written && status.error.is_none())
            .then(|| RedisUpgradeStatus { error: Some(error.clone()), ..status.clone() }),
        Outcome::Delivered { at } => (phase == Phase::Placed && status.delivered_at.is_none())
            .then(|| RedisUpgradeStatus { delivered_at: Some(Time(*at)), ..status.clone() }),
        Outcome::Settled { phase: settled, at, evidence, error } => {
            let forward = match phase {
                Phase::Written => matches!(settled, Phase::Fulfilled | Phase::Abandoned),
                Phase::Placed => matches!(settled, Phase::Fulfilled | Phase::Failed),
                _ => false,
            };
            forward.then(|| settle(status, *settled, *at, evidence.clone(), error.clone()))
        }
    }
}

fn settle(
    status: &RedisUpgradeStatus,
    phase: Phase,
    at: Timestamp,
    evidence: String,
    error: Option<Failure>,
) -> RedisUpgradeStatus {
    RedisUpgradeStatus {
        phase,
        settled_at: Some(Time(at)),
        evidence: Some(evidence.chars().take(1024).collect()),
        error: error.or_else(|| status.error.clone()),
        ..status.clone()
    }
}

#[cfg(test)]
mod tests;
