//! Which entries need not be kept.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Phase, RedisUpgrade};

/// Accepted entries that are kept, the newest.
const ACCEPTED_KEPT: usize = 10;
/// So many are deleted in one go.
const AT_ONCE: usize = 20;
/// A number freed sooner could be written, and sent, a second time by who read the book before (searched with a model).
const KEPT_AT_LEAST: SignedDuration = SignedDuration::from_hours(24);

/// Settled entries, older than a day and not the highest number: accepted ones beyond the newest ten, Refused ones and
/// ones that were never sent beyond the newest of their kind, other Abandoned ones below a later accepted one. (Of those there are few: after three
/// in a row a person is asked.) `entries`: lowest number first.
pub(crate) fn prunable(entries: &[RedisUpgrade], now: Timestamp) -> Vec<&RedisUpgrade> {
    let mut accepted = 0;
    let mut refused = 0;
    let mut never_sent = 0;
    let mut superfluous = Vec::new();
    for (newer, entry) in entries.iter().rev().enumerate() {
        let spare = match entry.phase() {
            Phase::Written | Phase::Placed => false,
            Phase::Fulfilled | Phase::Failed => {
                accepted += 1;
                accepted > ACCEPTED_KEPT
            }
            Phase::Refused => {
                refused += 1;
                refused > 1
            }
            Phase::Abandoned if entry.was_never_sent() => {
                never_sent += 1;
                never_sent > 1
            }
            Phase::Abandoned => accepted > 0,
        };
        if spare && newer > 0 && superfluous.len() < AT_ONCE && is_old(entry, now) {
            superfluous.push(entry);
        }
    }
    superfluous
}

fn is_old(entry: &RedisUpgrade, now: Timestamp) -> bool {
    let settled_at = entry.outcome().settled_at.unwrap_or(Time(entry.spec.signed_at.0)).0;
    now.duration_since(settled_at) > KEPT_AT_LEAST
}

#[cfg(test)]
mod tests;
