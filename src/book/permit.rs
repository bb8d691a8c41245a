//! The right to send one order, once.

use jiff::Timestamp;
use tokio::time::Instant;

/// The right to send the order of one entry of the account book (invariant B1). Only the book makes it, from the API
/// server's 201 for that entry; it can't be copied, and [`Cloud::upgrade`](crate::cloud::Cloud::upgrade) consumes it.
///
/// Without an entry there is no order:
/// ```compile_fail,E0451
/// use crs_operator::book::SendPermit;
/// let forged = SendPermit {
///     redis_id: "crs-ifmymj41".into(),
///     mem_size: 2048,
///     signed_at: jiff::Timestamp::UNIX_EPOCH,
///     send_before: tokio::time::Instant::now(),
/// };
/// ```
/// And what was sent can't be sent again:
/// ```compile_fail,E0382
/// # use crs_operator::{book::SendPermit, cloud::{Caller, Cloud, Instance}};
/// async fn twice(cloud: &dyn Cloud, caller: &Caller, look: &Instance, permit: SendPermit) {
///     let _ = cloud.upgrade(caller, look, permit).await;
///     let _ = cloud.upgrade(caller, look, permit).await;
/// }
/// ```
/// Sent once, the same lines compile:
/// ```
/// # use crs_operator::{book::SendPermit, cloud::{Caller, Cloud, Instance}};
/// async fn once(cloud: &dyn Cloud, caller: &Caller, look: &Instance, permit: SendPermit) {
///     let _ = cloud.upgrade(caller, look, permit).await;
/// }
/// ```
#[derive(Debug)]
pub struct SendPermit {
    redis_id: String,
    mem_size: i64,
    signed_at: Timestamp,
    send_before: Instant,
}

impl SendPermit {
    pub(super) fn new(redis_id: String, mem_size: i64, signed_at: Timestamp, send_before: Instant) -> Self {
        Self { redis_id, mem_size, signed_at, send_before }
    }

    /// What a test of the sender needs; everywhere else the book alone makes permits.
    #[cfg(test)]
    pub(crate) fn for_test(redis_id: &str, mem_size: i64, signed_at: Timestamp, send_before: Instant) -> Self {
        Self::new(redis_id.to_owned(), mem_size, signed_at, send_before)
    }

    /// The instance to upgrade.
    pub fn redis_id(&self) -> &str {
        &self.redis_id
    }

    /// The size to order, MB of the whole instance.
    pub fn mem_size(&self) -> i64 {
        self.mem_size
    }

    /// The order's Timestamp, by the cloud's clock: the `Date` of the look that called for it.
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// Past this moment the order must not be sent any more (invariant B3).
    pub fn send_before(&self) -> Instant {
        self.send_before
    }
}
