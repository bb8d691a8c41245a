//! What the operator makes of what an error code means. (What each code means is in `cloud::codes`.)

use crate::{
    api::Failure,
    cloud::{CloudError, Meaning, codes::told, meaning},
};

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
    /// As [`Self::WhenAsked`], or once the instance has another size: the cloud knew it better.
    AtAnotherSize,
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

/// Is it the account's money that is missing?
pub fn is_balance(error: &Failure) -> bool {
    matches!(of(error), Meaning::BalanceLow | Meaning::Unpaid)
}

/// `None`: the book doesn't say what the refusal was.
pub(super) fn retry(error: Option<&Failure>) -> Retry {
    match error.map(of) {
        Some(Meaning::Busy) => Retry::WhenItRuns,
        Some(Meaning::BalanceLow) => Retry::WhenPaid,
        Some(Meaning::Throttled) => Retry::Later,
        Some(Meaning::Credentials | Meaning::Forbidden) => Retry::WithAnotherSecret,
        Some(Meaning::NoShrink) => Retry::AtAnotherSize,
        _ => Retry::WhenAsked,
    }
}

/// Why the outcome of an order isn't known, for the middle of a sentence.
pub(super) fn unclear(error: Option<&Failure>) -> String {
    error.map_or_else(
        || "no answer was recorded".to_owned(),
        |error| format!("{}: {}", told(error.cloud_code.as_deref(), &error.code_desc), error.message),
    )
}

/// What to do about a deal that was made and not paid; nothing, where there is none.
pub(super) fn unpaid_deal(error: Option<&Failure>) -> &'static str {
    match error.map(of) {
        Some(Meaning::Unpaid) => {
            " An unpaid deal may be left in the console: cancel it, for if it is paid, that is on top of the next order."
        }
        _ => "",
    }
}

/// Also of an entry that was written under the other API.
fn of(error: &Failure) -> Meaning {
    meaning(error.code, error.cloud_code.as_deref())
}

pub(super) fn read_trouble(error: &CloudError) -> ReadTrouble {
    match error.meaning() {
        None | Some(Meaning::Failed | Meaning::Trouble) => ReadTrouble::Unavailable,
        Some(Meaning::Credentials | Meaning::Forbidden) => ReadTrouble::Credentials,
        Some(Meaning::Clock) => ReadTrouble::Clock,
        Some(Meaning::Throttled) => ReadTrouble::Throttled,
        Some(_) => ReadTrouble::Refused,
    }
}
