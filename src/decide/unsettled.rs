//! What becomes of an entry that isn't settled (invariant B5). Whoever comes by settles it; nothing new is ordered before (B4).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    Deal, Decision, Health, Look, Policy, Situation, Step, Verdict, abnormal, absent, codes, later, ordering,
    size_is_there,
};
use crate::{
    api::{Failure, Phase, RedisUpgrade},
    cloud::{Accepted, DealState, InstanceState},
};

/// An order whose answer is this late is worth a word.
const ANSWER_DUE: SignedDuration = SignedDuration::from_secs(30);

/// An order is signed, and settled, at the Date of an answer before. One that is so far ahead of a later look's was not.
pub(super) const YET_TO_COME: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn decide(policy: &Policy, situation: &Situation<'_>, entry: &RedisUpgrade, look: Look<'_>) -> Decision {
    match entry.phase() {
        Phase::Placed => placed(policy, situation, entry, look),
        _ => written(policy, situation, entry, look),
    }
}

/// Whether the cloud took the order isn't known: only a look after which it can no longer come settles it.
fn written(policy: &Policy, situation: &Situation<'_>, entry: &RedisUpgrade, look: Look<'_>) -> Decision {
    let (name, to, signed_at) = (entry.name_any(), entry.spec.to, entry.spec.signed_at.0);
    let dead_after = policy.dead_after(signed_at);
    let dead = look.at > dead_after;
    match look.running_size() {
        Some(size) if dead => {
            let evidence = settled_by(policy, entry, size, &look.describe());
            let phase = if size >= to { Phase::Fulfilled } else { Phase::Abandoned };
            let told = unknown(entry, dead_after);
            Decision::step(
                Step::Settle { entry: name, phase, at: look.at, evidence, error: entry.outcome().error },
                told,
            )
        }
        Some(size) if size >= situation.desired() => {
            let verdict = size_is_there(situation, size);
            let message = format!("{} {}", verdict.message, still_open(situation, entry, size, dead_after));
            Decision::rest(Verdict { message, ..verdict }).again_after(dead_after)
        }
        _ if dead => not_running(situation, entry, look),
        _ if signed_at.duration_since(look.at) > YET_TO_COME => signed_in_the_future(entry, dead_after),
        _ if entry.outcome().error.is_none() && look.at < later(signed_at, ANSWER_DUE) => {
            let told = ordering(situation, format!("Ordering {to} MB ({name})."));
            Decision::rest(told).active().again_after(later(signed_at, ANSWER_DUE).min(dead_after))
        }
        _ => Decision::rest(unknown(entry, dead_after)).active().again_after(dead_after),
    }
}

/// Why a look settles it: what was known, what is seen, by which rule, and what remains open.
fn settled_by(policy: &Policy, entry: &RedisUpgrade, size: i64, seen: &str) -> String {
    let (to, signed_at, error) = (entry.spec.to, entry.spec.signed_at.0, entry.outcome().error);
    let answer = if error.is_none() { "No answer to the order was recorded. " } else { "" };
    let rule = format!(
        "An order signed at {signed_at} is taken until {}, and shows within {:#}",
        later(signed_at, policy.lifetime),
        policy.lag
    );
    if size >= to {
        format!(
            "{answer}{seen}: the {to} MB ordered are there, by this order or by somebody in the console (the cloud's bill tells). {rule}: nothing more comes of it."
        )
    } else {
        let unpaid = codes::unpaid_deal(error.as_ref());
        format!(
            "{answer}{seen}: below the {to} MB ordered. {rule}: it never arrived, or the cloud took it and did not carry it out (the cloud's bill tells).{unpaid}"
        )
    }
}

/// The size is there, and the order may come yet: one that 3.0 would carry out, too, if it is for less.
fn still_open(situation: &Situation<'_>, entry: &RedisUpgrade, size: i64, dead_after: Timestamp) -> String {
    let (name, to, error) = (entry.name_any(), entry.spec.to, entry.outcome().error);
    // The book tells which API it went to where that has said something.
    let by_the_other = error.as_ref().is_some_and(|error| situation.is_of_the_other_api(error));
    let back = if situation.dialect.shrinks != by_the_other && size > to {
        format!(
            " Until then it may bring the instance back to {to} MB: leave its size as it is, in the console and here."
        )
    } else {
        String::new()
    };
    format!(
        "What comes of the order {name} of {to} MB isn't known yet ({}): a look after {dead_after} settles it.{back}{}",
        codes::unclear(error.as_ref()),
        codes::unpaid_deal(error.as_ref())
    )
}

fn unknown(entry: &RedisUpgrade, dead_after: Timestamp) -> Verdict {
    let error = entry.outcome().error;
    let message = format!(
        "It isn't known whether the cloud took the order {} of {} MB ({}). Nothing else is ordered until a look after {dead_after} settles it.{}",
        entry.name_any(),
        entry.spec.to,
        codes::unclear(error.as_ref()),
        codes::unpaid_deal(error.as_ref())
    );
    Verdict { error, ..Verdict::reconciling("OutcomeUnknown", message) }
}

/// By the cloud's clock as it is now. It ends by itself, but maybe in years.
fn signed_in_the_future(entry: &RedisUpgrade, dead_after: Timestamp) -> Decision {
    let (name, told) = (entry.name_any(), unknown(entry, dead_after));
    let message = format!(
        "{} It was signed in the future: the cloud's clock is wrong now, or was then, or somebody wrote that into the book. When that is too long to wait, make sure in the console, or with the cloud's support, that nothing came of it and nothing will, and then delete {name} (kubectl delete redisupgrade).",
        told.message
    );
    Decision::rest(Verdict { health: Health::Stalled, reason: "ClockSkew".into(), message, ..told })
        .again_after(dead_after)
}

/// The cloud took the order.
fn placed(policy: &Policy, situation: &Situation<'_>, entry: &RedisUpgrade, look: Look<'_>) -> Decision {
    let (name, to, signed_at) = (entry.name_any(), entry.spec.to, entry.spec.signed_at.0);
    let outcome = entry.outcome();
    let (deal_id, named) = (outcome.deal_id.clone().unwrap_or_default(), outcome.deal().unwrap_or_default());
    let desired = situation.desired();
    let next = if desired > to { format!(" The {desired} MB declared are ordered after it.") } else { String::new() };
    let upgrading = Verdict::reconciling(
        "Upgrading",
        format!(
            "The upgrade to {to} MB is on its way (deal {named}); connections are cut for seconds at its end.{next}"
        ),
    );
    match look.running_size() {
        Some(size) if size >= to => {
            let evidence = format!("{}: the {to} MB ordered are there.", look.describe());
            return Decision::step(
                Step::Settle { entry: name, phase: Phase::Fulfilled, at: look.at, evidence, error: None },
                upgrading,
            );
        }
        None => return not_running_yet(situation, entry, look, upgrading),
        Some(_) => {}
    }
    let failed = |code_desc: &str, evidence: String| {
        let error = Failure {
            code: None,
            cloud_code: None,
            code_desc: code_desc.into(),
            message: evidence.clone(),
            action: situation.dialect.upgrade.into(),
            time: Time(look.at),
        };
        Step::Settle { entry: name.clone(), phase: Phase::Failed, at: look.at, evidence, error: Some(error) }
    };
    // A late acceptance can leave two entries Placed: the deal of one says nothing about the other.
    let deal = situation.deal.filter(|deal| deal.id == deal_id);
    if let Some(Deal { state: Some(DealState::Failed(status)), at, .. }) = deal {
        let evidence =
            format!("Deal {named} was not carried out: its status at {at} is {status} ({}).", deal_status(*status));
        return Decision::step(failed("UpgradeFailed", evidence), upgrading);
    }
    let delivered = deal.filter(|deal| deal.state == Some(DealState::Delivered));
    match (outcome.delivered_at, delivered) {
        (Some(Time(delivered_at)), _) => {
            let unseen_after = later(delivered_at, policy.lag);
            if look.at > unseen_after {
                let evidence = format!("Deal {named} was delivered by {delivered_at}, but {}.", look.describe());
                return Decision::step(failed("SizeNotSeen", evidence), upgrading);
            }
            Decision::rest(upgrading).active().again_after(unseen_after)
        }
        (None, Some(deal)) => Decision::step(Step::MarkDelivered { entry: name, at: deal.at }, upgrading),
        // It runs at its old size: within the lag that is ordinary, later its deal tells more. The longer it takes, the more seldom is asked, but every few
        // minutes.
        (None, None) => {
            let (ask_after, age) = (later(signed_at, policy.lag), look.at.duration_since(signed_at).abs());
            // One that was signed long after this look is asked for as if it were that old: it may have failed long ago.
            if look.at <= ask_after && age <= policy.lag {
                Decision::rest(upgrading).active().again_after(ask_after)
            } else if deal.is_none() && !deal_id.is_empty() {
                let order = Accepted { deal_id, deal_name: outcome.deal_name.clone() };
                // What was told of it before stays until it is asked.
                let health =
                    if situation.is_told("Reconciling", "Upgrading") { Health::AsBefore } else { upgrading.health };
                Decision::step(Step::AskDeal { entry: name, order }, Verdict { health, ..upgrading })
            } else {
                let message = format!("The upgrade to {to} MB {}{next}", pending(&named, deal));
                let told = Verdict::reconciling("Upgrading", message);
                Decision::rest(told).active().again_after(later(situation.now, age / 8))
            }
        }
    }
}

/// An accepted order, and the instance doesn't run.
fn not_running_yet(situation: &Situation<'_>, entry: &RedisUpgrade, look: Look<'_>, upgrading: Verdict) -> Decision {
    match look.instance.map(|instance| instance.state) {
        Some(InstanceState::InProcess | InstanceState::Initializing) => Decision::rest(upgrading).active(),
        _ => not_running(situation, entry, look),
    }
}

/// Not running tells nothing about the order: it is waited for, and people are told what is seen.
fn not_running(situation: &Situation<'_>, entry: &RedisUpgrade, look: Look<'_>) -> Decision {
    let Some(instance) = look.instance else { return Decision::rest(absent(situation)) };
    match instance.state {
        InstanceState::Isolated | InstanceState::Unknown(_) => Decision::rest(abnormal(situation, instance)),
        state => {
            let message = format!("{} is {state}: what became of its order is seen once it runs.", instance.redis_id);
            let error = entry.outcome().error;
            Decision::rest(Verdict { error, ..Verdict::reconciling("OutcomeUnknown", message) }).active()
        }
    }
}

/// What is known of a deal that tells nothing of its end.
fn pending(named: &str, deal: Option<&Deal>) -> String {
    let accepted = "was accepted and hasn't begun";
    let ask = "If that lasts, ask the cloud's support.";
    match deal {
        None => format!("{accepted}: the number of its deal isn't known. {ask}"),
        // Normal, also for hours: it has been paid.
        Some(Deal { state: Some(DealState::Pending(status @ (2 | 3))), .. }) => format!(
            "is ordered, and waits for its turn or for the instance's maintenance window: deal {named} has status {status} ({}). Nothing needs to be done; if it lasts more than a day, ask the cloud's support.",
            deal_status(*status)
        ),
        Some(Deal { state: Some(DealState::Pending(status)), .. }) => {
            format!("{accepted}: deal {named} has status {status} ({}). {ask}", deal_status(*status))
        }
        Some(Deal { trouble: Some(code), .. }) => {
            format!("{accepted}, and deal {named} can't be asked for: {code}. {ask}")
        }
        Some(_) => format!("{accepted}: the cloud says nothing of deal {named}. {ask}"),
    }
}

/// The documented names (260/5329).
fn deal_status(status: i64) -> &'static str {
    match status {
        1 => "unpaid: pay or cancel it in the console",
        2 => "paid, not delivered",
        3 => "delivering",
        12 => "paying",
        5 => "delivery failed",
        6 => "refunded",
        7 => "closed",
        8 => "expired",
        9 => "invalidated",
        10 => "product invalidated",
        11 => "payment by agent refused",
        _ => "not documented",
    }
}
