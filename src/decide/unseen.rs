//! What people are told when the instance could not be looked at: somebody must act, or the cloud is waited for.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    Decision, Health, LookError, LookFailure, Situation, Verdict,
    codes::{ReadTrouble, read_trouble},
    failure, later, sentence,
};
use crate::cloud::Meaning;

/// The first look takes a moment. When it takes long, one that nothing was told of must not look finished: without conditions kstatus takes
/// it for that.
pub const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Nobody has looked yet. `long`: for [`FIRST_LOOK`] or more.
pub(super) fn not_yet(situation: &Situation<'_>, long: bool) -> Decision {
    let verdict = Verdict::reconciling("CloudUnavailable", "The cloud has not answered yet.".into());
    if situation.is_untold() && long {
        return Decision::rest(verdict);
    }
    let as_before = Decision::rest(Verdict { health: Health::AsBefore, ..verdict });
    let tell_after = SignedDuration::try_from(FIRST_LOOK).map_or(situation.now, |wait| later(situation.now, wait));
    if situation.is_untold() { as_before.again_after(tell_after) } else { as_before }
}

pub(super) fn decide(situation: &Situation<'_>, look: &LookFailure) -> Decision {
    let error = match &look.cause {
        LookError::Credentials(message) => {
            return Decision::rest(Verdict::stalled("CredentialsMissing", message.clone()));
        }
        LookError::Cloud(error) => error,
    };
    let said = sentence(&error.to_string());
    let told = |health, reason: &str, message: String| {
        let error = Some(failure(error, situation.dialect.describe, situation.now));
        Decision::rest(Verdict { health, reason: reason.into(), message, error })
    };
    match read_trouble(error) {
        ReadTrouble::Credentials => {
            let (secret, describe) = (situation.secret(), situation.dialect.describe);
            let message = match error.meaning() {
                Some(Meaning::Forbidden) => format!(
                    "The key of Secret {secret} lacks the right to {describe}: {said} Give it that right: it is asked again, at once with the annotation crs.qcloud.com/requestedAt."
                ),
                _ => format!(
                    "The cloud refuses the key of Secret {secret}: {said} Correct the Secret: it is picked up at the next look, or at once with the annotation crs.qcloud.com/requestedAt."
                ),
            };
            told(Health::Stalled, "AuthFailure", message)
        }
        ReadTrouble::Refused => {
            let region = &situation.instance.spec.region;
            let advice = match error.meaning() {
                Some(Meaning::InvalidParameter) => {
                    "If that is not the region (gz or ap-guangzhou, for example): it can't be changed, so delete this RedisInstance and create another one; the cloud's instance stays as it is."
                }
                _ => {
                    "The cloud's documents say what the code means; check --api and --api-endpoint, too. It is asked again."
                }
            };
            told(
                Health::Stalled,
                &error.code_desc,
                format!("The cloud refuses to look into region {region}: {said} {advice}"),
            )
        }
        // A passing trouble is no news: the status stays as it was, if there is one.
        _ if !look.lasting => {
            let is_work = situation.is_untold() || situation.due || situation.has_new_work();
            let health = if is_work { Health::Reconciling } else { Health::AsBefore };
            told(health, "CloudUnavailable", format!("The cloud could not be asked: {said} It is asked again."))
        }
        ReadTrouble::Clock => told(
            Health::Stalled,
            "ClockSkew",
            format!(
                "The cloud refuses the time of our requests, though they follow its own: {said} Check --request-lifetime, and the cloud's clocks."
            ),
        ),
        ReadTrouble::Throttled => told(
            Health::Unknown,
            "RateLimited",
            format!("The cloud asks us to slow down: {said} Lower --cloud-rate if it lasts."),
        ),
        ReadTrouble::Unavailable => {
            told(Health::Unknown, "CloudUnavailable", format!("The cloud can't be asked: {said} It is asked again."))
        }
    }
}
