//! What every version of the API is to the rest: a front to the same state.

use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::World;
use super::catalogue::Region;
use super::faults::Call;
use super::ledger::{Code, Refused};

/// A request by one version of the API as it came, not checked yet.
pub(super) trait Front: Send + Sync + 'static {
    /// What it is counted under and what faults choose by.
    fn call(&self) -> Call<'_>;

    /// Checks it, carries it out, and says what is answered.
    fn carry_out(&self, world: &mut World, twist: Twist, now: Timestamp) -> Value;

    /// The answer to one that is refused with this code, by a fault.
    fn refuse(&self, world: &mut World, code: Code, bracketed: bool, now: Timestamp) -> Value;
}

/// What a fault changes in the way a request is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Twist {
    /// How old the state is that is shown.
    pub stale: Duration,
    pub deal_fails: bool,
    /// How far the clock is ahead by which the request's time is checked.
    pub skew: SignedDuration,
}

/// Where an action is carried out.
pub(super) struct Scene<'a> {
    pub world: &'a mut World,
    pub account: &'a str,
    pub region: &'static Region,
    pub twist: Twist,
    pub now: Timestamp,
}

pub(super) fn note_refusal(world: &mut World, call: Call<'_>, code: Code, at: Timestamp) {
    let redis_id = call.redis_ids.first().map(|id| id.chars().take(64).collect());
    world.ledger.refuse(Refused { action: call.action.to_owned(), redis_id, code, at });
}

/// The cloud's times are local ones of China, without saying so.
pub(super) fn local_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(Offset::constant(8))).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
