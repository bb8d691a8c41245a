//! Whether growth may be ordered: the instance runs below its declared size, and everything in the book is settled (invariant B7).

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Decision, Policy, Situation, Step, Verdict,
    codes::{self, Retry},
    later, ordering, sentence,
    unsettled::YET_TO_COME,
};
use crate::{
    api::{Failure, PROCEED_AFTER, Phase, RedisUpgrade, number_in},
    cloud::codes::told,
};

/// So many of one kind since the last success, and a person must look.
const PATIENCE: usize = 3;

pub(super) fn decide(policy: &Policy, situation: &Situation<'_>, size: i64, look_at: Timestamp) -> Decision {
    let desired = situation.desired();
    let hold = just_paid(policy, situation, size, look_at)
        .or_else(|| already_paid(situation, size))
        .or_else(|| failed_too_often(policy, situation, size, look_at))
        .or_else(|| lost_too_often(situation))
        .or_else(|| not_sent(policy, situation, look_at))
        .or_else(|| refused(policy, situation, size, look_at))
        .or_else(|| balance_low(situation))
        .or_else(|| word_too_early(situation));
    hold.unwrap_or_else(|| {
        let told = ordering(situation, format!("The instance has {size} MB, {desired} are declared: ordering."));
        Decision::step(Step::Order { from: size, to: desired }, told)
    })
}

/// The entries that count: those after the one about which a person said "go on". Newest first.
fn counted<'a>(situation: &Situation<'a>) -> impl Iterator<Item = &'a RedisUpgrade> + use<'a> {
    let proceed_after = proceed_after(situation).flatten().unwrap_or(0);
    situation.entries.iter().rev().filter(move |entry| entry.number() > proceed_after)
}

/// The number of the entry about which a person said "go on", if anybody did; `None` in it when the annotation names no entry of this book.
fn proceed_after(situation: &Situation<'_>) -> Option<Option<u64>> {
    let name = situation.instance.annotations().get(PROCEED_AFTER)?;
    // One that was pruned since has still been looked into; one that is yet to come has not.
    Some(number_in(name, situation.redis_id()).filter(|number| *number <= newest(situation)))
}

/// The highest number in the book.
fn newest(situation: &Situation<'_>) -> u64 {
    situation.entries.last().map_or(0, RedisUpgrade::number)
}

fn go_on(situation: &Situation<'_>, entry: &RedisUpgrade) -> String {
    let wrong = matches!(proceed_after(situation), Some(None));
    let wrong = if wrong { " (What that annotation says now is no entry of this instance.)" } else { "" };
    format!("When it is right to order again, annotate {PROCEED_AFTER}={}.{wrong}", entry.name_any())
}

/// This growth was bought just now, and a look may still show the size of before. So a person's "go on" changes nothing.
fn just_paid(policy: &Policy, situation: &Situation<'_>, size: i64, look_at: Timestamp) -> Option<Decision> {
    let paid = situation.entries.iter().rfind(|entry| entry.buys(situation.desired()))?;
    let sure_after = later(settled_at(paid, look_at), policy.lag);
    (look_at <= sure_after).then(|| {
        let message = format!(
            "{} was fulfilled, and the cloud still shows the {size} MB of before: it is looked at again after {sure_after}.",
            paid.name_any()
        );
        Decision::rest(Verdict::reconciling("Upgrading", message)).active().again_after(sure_after)
    })
}

/// This growth was bought before, and the size is gone again: a person did it, or a size was misread. Buying it again is a person's word.
fn already_paid(situation: &Situation<'_>, size: i64) -> Option<Decision> {
    let paid = counted(situation).find(|entry| entry.buys(situation.desired()))?;
    let message = format!(
        "{} bought {} MB, and the instance has {size} MB again: it isn't bought a second time by itself. {}",
        paid.name_any(),
        paid.spec.to,
        go_on(situation, paid)
    );
    Some(Decision::rest(Verdict::stalled("SizeRegressed", message)))
}

/// Accepted orders that the cloud did not carry out: twice more at most, backing off.
fn failed_too_often(policy: &Policy, situation: &Situation<'_>, size: i64, look_at: Timestamp) -> Option<Decision> {
    let failed: Vec<_> = counted(situation)
        .take_while(|entry| entry.phase() != Phase::Fulfilled)
        // What the size has overtaken since counts no more.
        .filter(|entry| entry.phase() == Phase::Failed && entry.spec.to > size)
        .collect();
    let newest = *failed.first()?;
    let error = newest.outcome().error;
    let reason = error.as_ref().map_or("UpgradeFailed", |error| error.code_desc.as_str()).to_owned();
    let told = |verdict: Verdict| Verdict { error: error.clone(), ..verdict };
    let what =
        error.as_ref().map_or_else(|| format!("{} has failed.", newest.name_any()), |error| error.message.clone());
    if reason == "SizeNotSeen" || failed.len() >= PATIENCE {
        let message =
            format!("{what} It isn't tried again by itself: ask the cloud's support. {}", go_on(situation, newest));
        return Some(Decision::rest(told(Verdict::stalled(&reason, message))));
    }
    let retry_after = later(settled_at(newest, look_at), policy.backoff(failed.len()));
    let asked = situation
        .instance
        .requested_at()
        .is_some_and(|asked| newest.spec.instance_ref.requested_at.as_deref() != Some(asked));
    if look_at > retry_after || asked {
        return None;
    }
    let message = format!("{what} It is ordered again after {retry_after}.");
    Some(Decision::rest(told(Verdict::reconciling(&reason, message))).again_after(retry_after))
}

/// Orders of which nothing came, one after the other.
fn lost_too_often(situation: &Situation<'_>) -> Option<Decision> {
    let lost: Vec<_> = counted(situation)
        .take_while(|entry| matches!(entry.phase(), Phase::Abandoned | Phase::Refused))
        .filter(|entry| entry.phase() == Phase::Abandoned && !entry.was_never_sent())
        .collect();
    let newest = *lost.first().filter(|_| lost.len() >= PATIENCE)?;
    let error = newest.outcome().error;
    let message = format!(
        "{} orders in a row brought no plain answer, and nothing came of them: the newest is {} ({}).{} {}",
        lost.len(),
        newest.name_any(),
        codes::unclear(error.as_ref()),
        codes::unpaid_deal(error.as_ref()),
        go_on(situation, newest)
    );
    Some(Decision::rest(Verdict { error, ..Verdict::stalled("OutcomeUnknown", message) }))
}

/// The newest order was not sent, by our own decision: it is tried again, ever more seldom.
fn not_sent(policy: &Policy, situation: &Situation<'_>, look_at: Timestamp) -> Option<Decision> {
    wait(policy, &in_a_row(situation, RedisUpgrade::was_never_sent), look_at, "It", |message| {
        Verdict::reconciling("Ordering", message)
    })
}

/// The newest order was refused: is it time to try again?
fn refused(policy: &Policy, situation: &Situation<'_>, size: i64, look_at: Timestamp) -> Option<Decision> {
    let refused = in_a_row(situation, |entry| entry.phase() == Phase::Refused);
    let newest = *refused.first()?;
    let error = newest.outcome().error;
    let name = error.as_ref().map_or("Refused", |error| error.code_desc.as_str());
    let said = format!("The cloud says: {}", said(error.as_ref()));
    // The other API said it, and this one may say something else. It is not asked by itself: two that speak different ones would take turns.
    let action = error.as_ref().map_or(situation.dialect.upgrade, |error| &error.action);
    let is_other_api = error.as_ref().is_some_and(|error| situation.is_of_the_other_api(error));
    let wait = |what, verdict: fn(&str, String) -> Verdict, reason| {
        wait(policy, &refused, look_at, what, |message| verdict(reason, message))
    };
    let stalled =
        |reason, message| Some(Decision::rest(Verdict { error: error.clone(), ..Verdict::stalled(reason, message) }));
    match codes::retry(error.as_ref()) {
        Retry::WhenItRuns => wait("It", Verdict::reconciling, name).map(Decision::active),
        // The account as a whole backs off, with one probe for all who wait.
        Retry::WhenPaid => self::wait(policy, refused.get(..1)?, look_at, "Top up the account: it", |message| {
            Verdict::stalled("AccountBalanceNotEnough", message)
        }),
        Retry::Later => wait("It", Verdict::reconciling, "RateLimited"),
        Retry::WithAnotherSecret
            if newest.spec.instance_ref.secret_version.as_deref() != Some(situation.secret_version) =>
        {
            None
        }
        Retry::WithAnotherSecret => {
            let (secret, upgrade) = (situation.secret(), situation.dialect.upgrade);
            stalled(
                "AuthFailure",
                format!(
                    "{action} with the key of Secret {secret} was refused. {said} Give the key the right to {upgrade} and set the annotation crs.qcloud.com/requestedAt, or put another key into the Secret."
                ),
            )
        }
        Retry::AtAnotherSize if newest.spec.from != size => None,
        Retry::AtAnotherSize | Retry::WhenAsked => {
            let other = if is_other_api { format!(" ({action}, of the other API, said so.)") } else { String::new() };
            stalled(
                name,
                format!(
                    "{said}{other} It is tried again when you change the spec, or set the annotation crs.qcloud.com/requestedAt to a new text."
                ),
            )
        }
    }
}

/// Waits until what was tried so often in a row is due again: the lag at first, then ever longer.
fn wait(
    policy: &Policy,
    tried: &[&RedisUpgrade],
    look_at: Timestamp,
    what: &str,
    verdict: impl Fn(String) -> Verdict,
) -> Option<Decision> {
    let (newest, before) = tried.split_first()?;
    let retry_after = later(settled_at(newest, look_at), policy.backoff(before.len()));
    if look_at > retry_after {
        return None;
    }
    let error = newest.outcome().error;
    let message = format!("{} {what} is tried again after {retry_after}.", said(error.as_ref()));
    Some(Decision::rest(Verdict { error, ..verdict(message) }).again_after(retry_after))
}

/// The newest entries that are of this kind and were written for just this demand, newest first.
fn in_a_row<'a>(situation: &Situation<'a>, is_of_kind: fn(&RedisUpgrade) -> bool) -> Vec<&'a RedisUpgrade> {
    let requested_at = situation.instance.requested_at();
    let is_same_demand = |entry: &RedisUpgrade| {
        situation.is_for(entry) && entry.spec.instance_ref.requested_at.as_deref() == requested_at
    };
    let newest_first = situation.entries.iter().rev();
    newest_first.take_while(|entry| is_of_kind(entry) && is_same_demand(entry)).collect()
}

/// What the cloud, or the operator, said of an order that was not accepted.
fn said(error: Option<&Failure>) -> String {
    let said = |error: &Failure| match &error.cloud_code {
        Some(code) => sentence(&format!("{}: {}", told(Some(code), &error.code_desc), error.message)),
        None => sentence(&error.message),
    };
    error.map_or_else(|| "The order was refused.".to_owned(), said)
}

/// Another order of this account was refused for its balance: this one waits, without a try of its own.
fn balance_low(situation: &Situation<'_>) -> Option<Decision> {
    let until =
        situation.balance_low_until.filter(|until| situation.now < *until && !situation.instance.is_requested())?;
    let message = "The account's balance is too low for an order. Top it up: then it goes on by itself.".to_owned();
    let error = situation.found(100_207, "AccountBalanceNotEnough", message.clone()).error;
    Some(Decision::rest(Verdict { error, ..Verdict::stalled("AccountBalanceNotEnough", message) }).again_after(until))
}

/// A person's "go on" about an entry that is yet to come would count once that is written, though nobody can have looked into it.
fn word_too_early(situation: &Situation<'_>) -> Option<Decision> {
    let name = situation.instance.annotations().get(PROCEED_AFTER)?;
    number_in(name, situation.redis_id()).filter(|number| *number > newest(situation))?;
    let message = format!(
        "The annotation {PROCEED_AFTER} names {name}, and the book has no such entry yet: nothing is ordered, for it would count then, unlooked into. Take it away (kubectl annotate crs {} -n {} {PROCEED_AFTER}-).",
        situation.instance.name_any(),
        situation.instance.namespace().unwrap_or_default()
    );
    Some(Decision::rest(Verdict::stalled("InvalidParameter", message)))
}

/// When an entry was settled; the beginning of time for one where nobody wrote it down. One that is yet to come was written down by a `Date` that
/// was wrong, and would hold things up for years: that it was signed before then is all that is known.
fn settled_at(entry: &RedisUpgrade, look_at: Timestamp) -> Timestamp {
    let settled_at = entry.outcome().settled_at.map_or(Timestamp::MIN, |time| time.0);
    let is_yet_to_come = settled_at.duration_since(look_at) > YET_TO_COME;
    if is_yet_to_come { entry.spec.signed_at.0 } else { settled_at }
}
