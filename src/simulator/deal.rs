//! One deal: an order that was accepted and paid.

use std::sync::Arc;

use jiff::Timestamp;

/// How far a deal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DealStatus {
    Paid,
    Delivering,
    Delivered,
    Failed,
    /// A number that was set by hand.
    Set(i32),
}

impl DealStatus {
    /// As both generations of the API number it (260/5329).
    pub fn number(self) -> i32 {
        match self {
            DealStatus::Paid => 2,
            DealStatus::Delivering => 3,
            DealStatus::Delivered => 4,
            DealStatus::Failed => 5,
            DealStatus::Set(number) => number,
        }
    }
}

#[derive(Debug)]
pub(super) struct Deal {
    pub id: u64,
    pub name: String,
    pub account: Arc<str>,
    pub redis_id: Arc<str>,
    pub zone_id: u32,
    /// MB
    pub from: u64,
    /// MB
    pub to: u64,
    /// Fen
    pub price: u64,
    /// By the cloud's clock when it was accepted.
    pub at: Timestamp,
    pub lock_at: Timestamp,
    pub done_at: Timestamp,
    /// Whether nothing comes of it in the end.
    pub fails: bool,
    /// A status set by hand.
    pub set: Option<i32>,
}

impl Deal {
    pub fn status(&self, now: Timestamp) -> DealStatus {
        match self.set {
            Some(number) => DealStatus::Set(number),
            None if now < self.lock_at => DealStatus::Paid,
            None if now < self.done_at => DealStatus::Delivering,
            None if self.fails => DealStatus::Failed,
            None => DealStatus::Delivered,
        }
    }

    /// When it was delivered or failed; `None` while it is under way.
    pub fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        (now >= self.done_at).then_some(self.done_at)
    }
}
