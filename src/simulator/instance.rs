//! One instance: what it was, is, and (once an order is accepted) will be.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalogue::{self, Region};

/// Changes kept for each instance, for answers with an older state.
const MAX_CHANGES: usize = 64;

/// A state of an instance, by the number that both generations of the API give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Status(pub i32);

impl Status {
    pub const INITIALIZING: Status = Status(0);
    pub const IN_PROCESS: Status = Status(1);
    pub const RUNNING: Status = Status(2);
    pub const ISOLATED: Status = Status(-2);
}

/// An instance to begin with; what is left out is as in a running standard one of 1024 MB in `gz`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewInstance {
    pub redis_id: String,
    /// MB
    pub mem_size: u64,
    pub status: i32,
    /// In its short or long form.
    pub region: String,
    /// A key's id; the first key's when absent.
    pub account: Option<String>,
    pub zone_id: u32,
    /// 1 cluster, 2 standard
    pub type_id: u8,
    pub redis_name: Option<String>,
    pub project_id: u64,
    /// One in a VPC (not 0) is missing from lists that don't ask for its VPC.
    pub vpc_id: u64,
    pub subnet_id: u64,
}

impl Default for NewInstance {
    fn default() -> Self {
        NewInstance {
            redis_id: String::new(),
            mem_size: 1024,
            status: Status::RUNNING.0,
            region: "gz".into(),
            account: None,
            zone_id: catalogue::DEFAULT_ZONE,
            type_id: catalogue::STANDALONE,
            redis_name: None,
            project_id: 0,
            vpc_id: 0,
            subnet_id: 0,
        }
    }
}

/// From `at` on the instance is like this.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    status: Status,
    size: u64,
}

/// What an instance is changed to by hand, as a person in the console or the provider would.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ByHand {
    mem_size: Option<u64>,
    status: Option<Status>,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub redis_id: Arc<str>,
    pub account: Arc<str>,
    pub region: &'static Region,
    pub zone_id: u32,
    pub type_id: u8,
    pub name: String,
    pub project_id: u64,
    pub vpc_id: u64,
    pub subnet_id: u64,
    pub created: Timestamp,
    /// By time; the first is how it began, and those after now are what an accepted order leads to.
    changes: Vec<Change>,
}

/// An instance as it was, is or will be at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub instance: &'a Instance,
    pub status: Status,
    /// MB
    pub size: u64,
}

impl Instance {
    pub fn new(new: NewInstance, account: Arc<str>, region: &'static Region, created: Timestamp) -> Self {
        let redis_id: Arc<str> = new.redis_id.into();
        Instance {
            name: new.redis_name.unwrap_or_else(|| redis_id.to_string()),
            redis_id,
            account,
            region,
            zone_id: new.zone_id,
            type_id: new.type_id,
            project_id: new.project_id,
            vpc_id: new.vpc_id,
            subnet_id: new.subnet_id,
            created,
            changes: vec![Change { at: created, status: Status(new.status), size: new.mem_size }],
        }
    }

    /// `None` before it was created.
    pub fn view(&self, at: Timestamp) -> Option<View<'_>> {
        if at < self.created {
            return None;
        }
        let change = self.changes.iter().rev().find(|change| change.at <= at).or(self.changes.first())?;
        Some(View { instance: self, status: change.status, size: change.size })
    }

    /// Whether an accepted order isn't done yet.
    pub fn under_way(&self, now: Timestamp) -> bool {
        self.changes.last().is_some_and(|change| change.at > now)
    }

    fn push(&mut self, change: Change) {
        if self.changes.len() >= MAX_CHANGES {
            self.changes.remove(0);
        }
        self.changes.push(change);
    }

    /// Locks it at `lock_at` and gives it `to` MB at `done_at`. An upgrade under way ends with this one, at the
    /// larger of both sizes.
    pub fn upgrade(&mut self, now: Timestamp, lock_at: Timestamp, done_at: Timestamp, to: u64) {
        let Some(View { size, .. }) = self.view(now) else { return };
        let to = self.changes.iter().filter(|change| change.at > now).map(|change| change.size).fold(to, u64::max);
        self.changes.retain(|change| change.at <= now || change.status == Status::IN_PROCESS);
        self.push(Change { at: lock_at, status: Status::IN_PROCESS, size });
        self.push(Change { at: done_at, status: Status::RUNNING, size: to });
    }

    /// Ends what is under way: running, at the size that it has.
    pub fn stop(&mut self, now: Timestamp) {
        if let Some(View { size, .. }) = self.view(now) {
            self.changes.retain(|change| change.at <= now);
            self.push(Change { at: now, status: Status::RUNNING, size });
        }
    }

    /// A size holds from now on, and an upgrade under way ends no smaller; a status stays until the next one is set,
    /// and ends an upgrade under way.
    pub fn change_by_hand(&mut self, hand: &ByHand, now: Timestamp) {
        let Some(View { status, size, .. }) = self.view(now) else { return };
        let mut later: Vec<_> = self.changes.extract_if(.., |change| change.at > now).collect();
        if hand.status.is_some() {
            later.clear();
        }
        let size = hand.mem_size.unwrap_or(size);
        self.push(Change { at: now, status: hand.status.unwrap_or(status), size });
        for change in later {
            self.push(Change { size: change.size.max(size), ..change });
        }
    }

    pub fn clock_set_back(&mut self, by: Duration) {
        self.created -= by;
        self.changes.iter_mut().for_each(|change| change.at -= by);
    }
}
