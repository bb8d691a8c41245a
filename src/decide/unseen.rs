//! What people are told when the instance could not be looked at: somebody must act, or the cloud is waited for.

use super::{
    Decision, Health, LookError, LookFailure, Situation, Verdict,
    codes::{ReadTrouble, read_trouble},
    failure, sentence,
};

pub(super) fn decide(situation: &Situation<'_>, look: &LookFailure) -> Decision {
    let error = match &look.cause {
        LookError::Credentials(message) => {
            return Decision::rest(Verdict::stalled("CredentialsMissing", message.clone()));
        }
        LookError::Cloud(error) => error,
    };
    let said = sentence(&error.to_string());
    let told = |health, reason: &str, message: String| {
        let error = Some(failure(error, "DescribeRedis", situation.now));
        Decision::rest(Verdict { health, reason: reason.into(), message, error })
    };
    match read_trouble(error) {
        ReadTrouble::Credentials => told(
            Health::Stalled,
            "AuthFailure",
            format!(
                "The cloud refuses the key of Secret {}: {said} Correct the Secret: it is picked up within a minute, or at once with the annotation crs.qcloud.com/requestedAt.",
                situation.secret()
            ),
        ),
        ReadTrouble::Refused => told(
            Health::Stalled,
            &error.code_desc,
            format!(
                "The cloud refuses to look into region {}: {said} If that is not the region (gz or ap-guangzhou, for example): it can't be changed, so delete this RedisInstance and create another one; the cloud's instance stays as it is.",
                situation.instance.spec.region
            ),
        ),
        // A passing trouble is no news: the status stays as it was, if there is one.
        _ if !look.lasting => {
            let never_seen = situation.instance.status.as_ref().is_none_or(|status| status.conditions.is_empty());
            let is_work = never_seen || situation.due || situation.has_new_work();
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
