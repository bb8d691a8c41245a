//! One instance: what it was, is, and (once an order is accepted) will be.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
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
    /// To be deleted: only in 3.0's documents.
    pub const DELETED: Status = Status(-3);

    pub fn description(self) -> &'static str {
        match self {
            Status::INITIALIZING => "to be initialised",
            Status::IN_PROCESS => "in process",
            Status::RUNNING => "running",
            Status::ISOLATED => "isolated",
            Status::DELETED => "to be deleted",
            _ => "unknown",
        }
    }
}

/// What an order can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// MB, of all shards together
    pub size: u64,
    /// At least one, and just one in a standard instance.
    pub shards: u32,
    /// Of each shard.
    pub replicas: u32,
}

impl Shape {
    /// MB
    pub fn shard_size(self) -> u64 {
        self.size / u64::from(self.shards.max(1))
    }

    fn larger(self, other: Shape) -> Shape {
        Shape {
            size: self.size.max(other.size),
            shards: self.shards.max(other.shards),
            replicas: self.replicas.max(other.replicas),
        }
    }
}

/// An instance to begin with; what is left out is as in a running standard one of 1024 MB in `gz`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NewInstance {
    pub redis_id: String,
    /// MB of the whole instance
    pub mem_size: u64,
    pub shards: u32,
    pub replicas: u32,
    /// 0 postpaid, 1 prepaid
    pub billing_mode: u8,
    pub status: i32,
    /// Another task holds it, and its status doesn't say so.
    pub locked: bool,
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
            shards: 1,
            replicas: 1,
            billing_mode: 1,
            status: Status::RUNNING.0,
            locked: false,
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
    shape: Shape,
}

/// What an instance is changed to by hand, as a person in the console or the provider would.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ByHand {
    mem_size: Option<u64>,
    shards: Option<u32>,
    replicas: Option<u32>,
    status: Option<Status>,
    locked: Option<bool>,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub redis_id: Arc<str>,
    pub account: Arc<str>,
    pub region: &'static Region,
    pub zone_id: u32,
    pub type_id: u8,
    pub billing_mode: u8,
    pub locked: bool,
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
    pub shape: Shape,
}

impl View<'_> {
    /// MB. Any plain rule does.
    pub fn used(&self) -> u64 {
        self.shape.size / 8
    }
}

impl Instance {
    pub fn is_cluster(&self) -> bool {
        self.type_id == catalogue::CLUSTER
    }

    pub fn deadline(&self) -> Timestamp {
        self.created + SignedDuration::from_hours(365 * 24)
    }

    pub fn new(new: NewInstance, account: Arc<str>, region: &'static Region, created: Timestamp) -> Self {
        let redis_id: Arc<str> = new.redis_id.into();
        Instance {
            name: new.redis_name.unwrap_or_else(|| redis_id.to_string()),
            redis_id,
            account,
            region,
            zone_id: new.zone_id,
            type_id: new.type_id,
            billing_mode: new.billing_mode,
            locked: new.locked,
            project_id: new.project_id,
            vpc_id: new.vpc_id,
            subnet_id: new.subnet_id,
            created,
            changes: vec![Change {
                at: created,
                status: Status(new.status),
                shape: Shape { size: new.mem_size, shards: new.shards, replicas: new.replicas },
            }],
        }
    }

    /// `None` before it was created.
    pub fn view(&self, at: Timestamp) -> Option<View<'_>> {
        if at < self.created {
            return None;
        }
        let change = self.changes.iter().rev().find(|change| change.at <= at).or(self.changes.first())?;
        Some(View { instance: self, status: change.status, shape: change.shape })
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

    /// Locks it at `lock_at` and makes it `to` at `done_at`. An upgrade under way that isn't done by then ends with this
    /// one, at the larger of both.
    pub fn upgrade(&mut self, now: Timestamp, lock_at: Timestamp, done_at: Timestamp, to: Shape) {
        let to = match self.changes.last() {
            Some(last) if last.at > now && Some(last.shape) != self.shape(now) => last.shape.larger(to),
            _ => to,
        };
        self.changes.retain(|change| change.at <= lock_at);
        let Some(shape) = self.shape(lock_at) else { return };
        self.push(Change { at: lock_at, status: Status::IN_PROCESS, shape });
        self.push(Change { at: done_at, status: Status::RUNNING, shape: to });
    }

    fn shape(&self, at: Timestamp) -> Option<Shape> {
        self.view(at).map(|view| view.shape)
    }

    /// Ends what is under way: running, as large as it is.
    pub fn stop(&mut self, now: Timestamp) {
        if let Some(shape) = self.shape(now) {
            self.changes.retain(|change| change.at <= now);
            self.push(Change { at: now, status: Status::RUNNING, shape });
        }
    }

    /// A size holds from now on, and an upgrade under way ends no smaller, with these shards and replicas; a status
    /// stays until the next one is set, and ends an upgrade under way. The error says, for a person, what can't be.
    pub fn change_by_hand(&mut self, hand: &ByHand, now: Timestamp) -> Result<(), String> {
        let Some(View { status, shape, .. }) = self.view(now) else { return Ok(()) };
        check_shards(self.type_id, hand.shards.unwrap_or(shape.shards))?;
        self.locked = hand.locked.unwrap_or(self.locked);
        let mut later: Vec<_> = self.changes.extract_if(.., |change| change.at > now).collect();
        if hand.status.is_some() {
            later.clear();
        }
        let changed = |shape: Shape, size| Shape {
            size,
            shards: hand.shards.unwrap_or(shape.shards),
            replicas: hand.replicas.unwrap_or(shape.replicas),
        };
        let size = hand.mem_size.unwrap_or(shape.size);
        self.push(Change { at: now, status: hand.status.unwrap_or(status), shape: changed(shape, size) });
        for change in later {
            let size = change.shape.size.max(hand.mem_size.unwrap_or(0));
            self.push(Change { shape: changed(change.shape, size), ..change });
        }
        Ok(())
    }

    pub fn clock_set_back(&mut self, by: Duration) {
        self.created = earlier(self.created, by);
        self.changes.iter_mut().for_each(|change| change.at = earlier(change.at, by));
    }
}

/// The beginning of time if there is no such moment.
pub(super) fn earlier(moment: Timestamp, by: Duration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The error says, for a person, what is wrong.
pub(super) fn check_shards(type_id: u8, shards: u32) -> Result<(), String> {
    match shards {
        0 => Err("there is at least one shard".into()),
        2.. if type_id == catalogue::STANDALONE => Err("a standard instance (typeId 2) has one shard".into()),
        _ => Ok(()),
    }
}
