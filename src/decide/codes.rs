//! What each error code of the cloud means for the operator: the one table (numbers of version 2, 239/1757 and 239/1758).

use crate::cloud::{CloudError, ErrorKind};

/// When an order is tried again that the cloud refused, on an unchanged spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Once the instance runs, and the lag has passed: the cloud saw it busy.
    WhenItRuns,
    /// After the lag, backing off: money arrives without any Kubernetes event.
    WhenPaid,
    /// Backing off: the cloud asked us to slow down.
    Later,
    /// With another Secret.
    WithAnotherSecret,
    /// When the spec changes, or somebody asks for it.
    WhenAsked,
}

/// How an error of a read is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadTrouble {
    /// The key doesn't open the account: somebody must act.
    Credentials,
    /// Our clock and the cloud's are apart, and following its `Date` did not help.
    Clock,
    /// Too many calls: wait.
    Throttled,
    /// The cloud can't be asked, or its answer can't be trusted: wait.
    Unavailable,
    /// The cloud understood and says no: somebody must act.
    Refused,
}

/// Did the cloud refuse this order for sure? Only then can nothing come of it any more. Everything else leaves the outcome unknown
/// (invariant B5): an "internal error" or "operation failed, retry" has been seen after orders that were carried out.
pub fn is_plain_refusal(error: &CloudError) -> bool {
    error.kind == ErrorKind::Code
        && matches!(
            error.code,
            Some(
                10701 | 10702 | 10703 | 11057 | 11063 | 100_207 // of UpgradeRedis itself (239/5328)
                    | 4000 | 4100
                    ..=4110 | 4300 | 4400 | 4600 // refused before it was looked at
                    | 5000 | 5200 | 5300 | 5500 // no such resource, can't be bought, not enough money, not qualified
            )
        )
}

/// Is it the account's money that is missing?
pub fn is_balance(code: Option<i64>) -> bool {
    matches!(code, Some(100_207 | 5300))
}

pub(super) fn retry(code: Option<i64>) -> Retry {
    match code {
        Some(10702) => Retry::WhenItRuns,
        _ if is_balance(code) => Retry::WhenPaid,
        Some(4400) => Retry::Later,
        Some(4100..=4110 | 4300) => Retry::WithAnotherSecret,
        _ => Retry::WhenAsked,
    }
}

pub(super) fn read_trouble(error: &CloudError) -> ReadTrouble {
    match (error.kind, error.code) {
        (ErrorKind::NoAnswer | ErrorKind::NotSent, _) => ReadTrouble::Unavailable,
        (ErrorKind::Code, Some(4100..=4110 | 4300)) => ReadTrouble::Credentials,
        (ErrorKind::Code, Some(4200 | 4500)) => ReadTrouble::Clock,
        (ErrorKind::Code, Some(4400)) => ReadTrouble::Throttled,
        (ErrorKind::Code, Some(5100 | 5400 | 6000..=6999)) => ReadTrouble::Unavailable,
        (ErrorKind::Code, _) => ReadTrouble::Refused,
    }
}
