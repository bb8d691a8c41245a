//! The cloud's state machine: instances, deals and money.
//!
//! Synchronous and pure: time is an argument, and no word of any API version's wire is known here, so that every
//! version is a front to the same state. What an instance *will* become is written down when the order is accepted,
//! as changes with times to come: what it is at any time, past or future, is then only looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalogue::{self, Region};

/// An order must be a multiple of it (239/5328).
const STEP_MB: u64 = 1024;
/// Fen for each 1024 MB added. Any plain rule does: the documents give no price list.
const FEN_PER_STEP: u64 = 2000;
const MAX_INSTANCES: usize = 100_000;
const MAX_DEALS: usize = 100_000;
/// Changes kept for each instance, for answers with an older state.
const MAX_CHANGES: usize = 64;
/// The number in the example of document 239/5328.
const FIRST_DEAL: u64 = 432_587;

/// What an order gets while the one before it is accepted but doesn't show yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WhileInvisible {
    /// It is refused: the instance is busy.
    #[default]
    Refuse,
    /// It isn't carried out, but the answer doesn't say so: an internal error.
    Error,
    /// It is accepted and paid: a second order.
    Accept,
}

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

/// An instance to begin with. Sizes in MB; `region` in its short or long form; `account` is a key's id, the first
/// key's when absent. One in a VPC (`vpc_id` not 0) is missing from lists that don't ask for its VPC.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewInstance {
    pub redis_id: String,
    #[serde(default = "NewInstance::default_size")]
    pub mem_size: u64,
    #[serde(default = "NewInstance::default_status")]
    pub status: i32,
    #[serde(default = "NewInstance::default_region")]
    pub region: String,
    pub account: Option<String>,
    #[serde(default = "NewInstance::default_zone")]
    pub zone_id: u32,
    #[serde(default = "NewInstance::default_type")]
    pub type_id: u8,
    pub redis_name: Option<String>,
    #[serde(default)]
    pub project_id: u64,
    #[serde(default)]
    pub vpc_id: u64,
    #[serde(default)]
    pub subnet_id: u64,
}

impl NewInstance {
    /// A running standard instance of 1024 MB in `gz`, of the first key.
    pub fn named(redis_id: impl Into<String>) -> Self {
        NewInstance {
            redis_id: redis_id.into(),
            mem_size: Self::default_size(),
            status: Self::default_status(),
            region: Self::default_region(),
            account: None,
            zone_id: Self::default_zone(),
            type_id: Self::default_type(),
            redis_name: None,
            project_id: 0,
            vpc_id: 0,
            subnet_id: 0,
        }
    }
    fn default_size() -> u64 {
        STEP_MB
    }
    fn default_status() -> i32 {
        Status::RUNNING.0
    }
    fn default_region() -> String {
        "gz".into()
    }
    fn default_zone() -> u32 {
        catalogue::DEFAULT_ZONE
    }
    fn default_type() -> u8 {
        catalogue::STANDALONE
    }
}

/// From `at` on the instance is like this.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    status: Status,
    size: u64,
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
    /// `None` before it was created.
    pub fn view(&self, at: Timestamp) -> Option<View<'_>> {
        if at < self.created {
            return None;
        }
        let change = self.changes.iter().rev().find(|change| change.at <= at).or(self.changes.first())?;
        Some(View { instance: self, status: change.status, size: change.size })
    }

    /// Whether an accepted order isn't done yet.
    fn under_way(&self, now: Timestamp) -> bool {
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
    fn upgrade(&mut self, now: Timestamp, lock_at: Timestamp, done_at: Timestamp, to: u64) {
        let Some(View { size, .. }) = self.view(now) else { return };
        let to = self.changes.iter().filter(|change| change.at > now).map(|change| change.size).fold(to, u64::max);
        self.changes.retain(|change| change.at <= now || change.status == Status::IN_PROCESS);
        self.push(Change { at: lock_at, status: Status::IN_PROCESS, size });
        self.push(Change { at: done_at, status: Status::RUNNING, size: to });
    }

    /// Ends what is under way: running, at the size that it has.
    fn stop(&mut self, now: Timestamp) {
        if let Some(View { size, .. }) = self.view(now) {
            self.changes.retain(|change| change.at <= now);
            self.push(Change { at: now, status: Status::RUNNING, size });
        }
    }
}

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
    lock_at: Timestamp,
    done_at: Timestamp,
    fails: bool,
    set: Option<i32>,
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

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such instance in this account and region; another account's looks just the same.
    NoInstance,
    NotAMultiple,
    /// Outside of the sizes (MB) that are sold for this zone and type; `None` when nothing is.
    NotSold(Option<(u64, u64)>),
    /// Not above the present size (MB).
    NoGrowth(u64),
    Busy(Status),
    NoMoney {
        price: u64,
        balance: u64,
    },
    /// An answer that says nothing: see [`WhileInvisible::Error`].
    Unexplained,
    NoDeal,
}

/// What an instance is changed to by hand, as a person in the console or the provider would.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ByHand {
    mem_size: Option<u64>,
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OrderBy {
    #[default]
    Id,
    Created,
    Project,
}

/// Which instances are listed, and in which order. An empty list of ids is no filter.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub id: Option<String>,
    pub name: Option<String>,
    pub projects: Vec<u64>,
    pub vpcs: Vec<u64>,
    pub subnets: Vec<u64>,
    pub order: OrderBy,
    pub descending: bool,
    pub offset: usize,
    pub limit: usize,
}

impl Query {
    fn matches(&self, view: &View<'_>) -> bool {
        let instance = view.instance;
        let wanted = |ids: &[u64], id: u64| ids.is_empty() || ids.contains(&id);
        // One translation of 260/1384: without vpcIds only the basic network is listed. Asked by name, it is found.
        let vpc = if self.vpcs.is_empty() { instance.vpc_id == 0 } else { self.vpcs.contains(&instance.vpc_id) };
        (vpc || self.id.is_some())
            && self.name.as_ref().is_none_or(|name| *name == instance.name)
            && wanted(&self.projects, instance.project_id)
            && wanted(&self.subnets, instance.subnet_id)
    }

    fn has_filter(&self) -> bool {
        self.name.is_some() || !(self.projects.is_empty() && self.vpcs.is_empty() && self.subnets.is_empty())
    }
}

/// One account's instances in one region: ids in the orders that lists are asked for in.
#[derive(Debug, Default)]
struct Shelf {
    by_id: Vec<Arc<str>>,
    by_age: Vec<Arc<str>>,
    in_vpcs: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub upgrade_time: Duration,
    pub visible_after: Duration,
    pub while_invisible: WhileInvisible,
}

#[derive(Debug)]
pub(super) struct Cloud {
    rules: Rules,
    /// Fen, by account; an account without a row can pay anything.
    balances: HashMap<Arc<str>, u64>,
    instances: HashMap<Arc<str>, Instance>,
    shelves: HashMap<(Arc<str>, &'static Region), Shelf>,
    deals: BTreeMap<u64, Deal>,
    next_deal: u64,
}

impl Cloud {
    pub fn new(rules: Rules) -> Self {
        Cloud {
            rules,
            balances: HashMap::new(),
            instances: HashMap::new(),
            shelves: HashMap::new(),
            deals: BTreeMap::new(),
            next_deal: FIRST_DEAL,
        }
    }

    /// Puts an instance on its shelf. The error says, for a person, what is wrong with it.
    pub fn create(&mut self, new: NewInstance, account: &str, created: Timestamp) -> Result<(), String> {
        let id = new.redis_id;
        let region = catalogue::find_region(&new.region).ok_or(format!("{id}: unknown region `{}`", new.region))?;
        if id.is_empty() || id.len() > 64 {
            return Err(format!("`{}`: a redisId has 1 to 64 bytes", id.chars().take(64).collect::<String>()));
        }
        if ![catalogue::CLUSTER, catalogue::STANDALONE].contains(&new.type_id) {
            return Err(format!("{id}: typeId is 1 (cluster) or 2 (standard), not {}", new.type_id));
        }
        if self.instances.contains_key(id.as_str()) {
            return Err(format!("{id} is there already"));
        }
        if self.instances.len() >= MAX_INSTANCES {
            return Err(format!("there are {MAX_INSTANCES} instances already"));
        }
        let (id, account): (Arc<str>, Arc<str>) = (id.into(), account.into());
        let shelf = self.shelves.entry((account.clone(), region)).or_default();
        shelf.by_age.push(id.clone());
        shelf.by_id.insert(shelf.by_id.partition_point(|other| *other < id), id.clone());
        shelf.in_vpcs += usize::from(new.vpc_id != 0);
        let instance = Instance {
            redis_id: id.clone(),
            account,
            region,
            zone_id: new.zone_id,
            type_id: new.type_id,
            name: new.redis_name.unwrap_or_else(|| id.to_string()),
            project_id: new.project_id,
            vpc_id: new.vpc_id,
            subnet_id: new.subnet_id,
            created,
            changes: vec![Change { at: created, status: Status(new.status), size: new.mem_size }],
        };
        self.instances.insert(id, instance);
        Ok(())
    }

    /// Whether there was one.
    pub fn delete(&mut self, id: &str) -> bool {
        let Some(instance) = self.instances.remove(id) else { return false };
        if let Some(shelf) = self.shelves.get_mut(&(instance.account, instance.region)) {
            shelf.by_id.retain(|other| **other != *id);
            shelf.by_age.retain(|other| **other != *id);
            shelf.in_vpcs -= usize::from(instance.vpc_id != 0);
        }
        true
    }

    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    pub fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.get(id)
    }

    fn owned(&self, account: &str, region: &'static Region, id: &str) -> Result<&Instance, Refusal> {
        let mine = |instance: &&Instance| *instance.account == *account && instance.region == region;
        self.instances.get(id).filter(mine).ok_or(Refusal::NoInstance)
    }

    /// How many there are, and the page that was asked for, as of `at`.
    pub fn list(
        &self,
        account: &str,
        region: &'static Region,
        query: &Query,
        at: Timestamp,
        now: Timestamp,
    ) -> (usize, Vec<View<'_>>) {
        if let Some(id) = &query.id {
            let found = self.owned(account, region, id).ok().and_then(|instance| instance.view(at));
            let found: Vec<_> = found.into_iter().filter(|view| query.matches(view)).collect();
            return (found.len(), found.into_iter().skip(query.offset).take(query.limit).collect());
        }
        let Some(shelf) = self.shelves.get(&(account.into(), region)) else { return (0, Vec::new()) };
        let ids = if query.order == OrderBy::Created { &shelf.by_age } else { &shelf.by_id };
        let view = |id: &Arc<str>| self.instances.get(id)?.view(at);
        let page = |ids: &mut dyn Iterator<Item = &Arc<str>>| ids.take(query.limit).filter_map(view).collect();
        // Almost every list is of this kind: then only its page is looked at, however many instances there are.
        if shelf.in_vpcs == 0 && at == now && !query.has_filter() && query.order != OrderBy::Project {
            let page = match query.descending {
                true => page(&mut ids.iter().rev().skip(query.offset)),
                false => page(&mut ids.iter().skip(query.offset)),
            };
            return (ids.len(), page);
        }
        let mut all: Vec<_> = ids.iter().filter_map(view).filter(|view| query.matches(view)).collect();
        if query.order == OrderBy::Project {
            all.sort_by_key(|view| view.instance.project_id);
        }
        if query.descending {
            all.reverse();
        }
        (all.len(), all.into_iter().skip(query.offset).take(query.limit).collect())
    }

    /// The fee in fen for growing an instance to `to` MB, or why an order would be refused; takes nothing.
    ///
    /// What lasts comes before what passes, so that nobody waits for an instance to run, or tops up a balance, for an
    /// order that is then refused all the same: the instance (nothing else is known without it), the size by itself,
    /// the size beside the instance, the instance's state; the money is last since only an order that could be
    /// carried out has a price to pay.
    pub fn price(
        &self,
        account: &str,
        region: &'static Region,
        id: &str,
        to: u64,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        let instance = self.owned(account, region, id)?;
        let View { status, size, .. } = instance.view(now).ok_or(Refusal::NoInstance)?;
        if !to.is_multiple_of(STEP_MB) {
            return Err(Refusal::NotAMultiple);
        }
        let sold = catalogue::find_product(instance.zone_id, instance.type_id).map(|sold| (sold.min, sold.max));
        if sold.is_none_or(|(min, max)| to < min || to > max) {
            return Err(Refusal::NotSold(sold));
        }
        if to <= size {
            return Err(Refusal::NoGrowth(size));
        }
        if status != Status::RUNNING {
            return Err(Refusal::Busy(status));
        }
        if instance.under_way(now) {
            match self.rules.while_invisible {
                WhileInvisible::Refuse => return Err(Refusal::Busy(status)),
                WhileInvisible::Error => return Err(Refusal::Unexplained),
                WhileInvisible::Accept => (),
            }
        }
        Ok((to - size) * FEN_PER_STEP / STEP_MB)
    }

    /// Takes the fee and starts the upgrade. With `fails` the deal fails in the end, and the instance is as before;
    /// the fee isn't given back (that would be a status of its own, "refunded").
    pub fn order(
        &mut self,
        account: &str,
        region: &'static Region,
        id: &str,
        to: u64,
        fails: bool,
        now: Timestamp,
    ) -> Result<&Deal, Refusal> {
        let price = self.price(account, region, id, to, now)?;
        if let Some(balance) = self.balances.get_mut(account) {
            *balance = balance.checked_sub(price).ok_or(Refusal::NoMoney { price, balance: *balance })?;
        }
        let instance = self.instances.get_mut(id).ok_or(Refusal::NoInstance)?;
        let from = instance.view(now).map_or(0, |view| view.size);
        let lock_at = now + self.rules.visible_after;
        let done_at = lock_at + self.rules.upgrade_time;
        instance.upgrade(now, lock_at, done_at, if fails { from } else { to });
        let number = self.next_deal;
        self.next_deal += 1;
        if self.deals.len() >= MAX_DEALS {
            self.deals.pop_first();
        }
        let deal = Deal {
            id: number,
            name: format!("{}{number:012}", now.strftime("%Y%m%d")),
            account: instance.account.clone(),
            redis_id: instance.redis_id.clone(),
            zone_id: instance.zone_id,
            from,
            to,
            price,
            at: now,
            lock_at,
            done_at,
            fails,
            set: None,
        };
        Ok(self.deals.entry(number).or_insert(deal))
    }

    pub fn deal(&self, account: &str, id: u64) -> Result<&Deal, Refusal> {
        self.deals.get(&id).filter(|deal| *deal.account == *account).ok_or(Refusal::NoDeal)
    }

    pub fn deals(&self) -> impl Iterator<Item = &Deal> {
        self.deals.values()
    }

    /// A size holds from now on, and an upgrade under way ends no smaller; a status stays until the next one is set,
    /// and ends an upgrade under way. Returns whether there is such an instance.
    pub fn change_by_hand(&mut self, id: &str, hand: &ByHand, now: Timestamp) -> bool {
        let Some(instance) = self.instances.get_mut(id) else { return false };
        let Some(View { status, size, .. }) = instance.view(now) else { return false };
        let mut later: Vec<_> = instance.changes.extract_if(.., |change| change.at > now).collect();
        if hand.status.is_some() {
            later.clear();
        }
        let size = hand.mem_size.unwrap_or(size);
        instance.push(Change { at: now, status: hand.status.unwrap_or(status), size });
        for change in later {
            instance.push(Change { size: change.size.max(size), ..change });
        }
        true
    }

    /// Sets a deal's status by hand. One that says that the deal failed (5 to 11) ends its upgrade, when that is
    /// still under way. Returns whether there is such a deal.
    pub fn set_deal(&mut self, id: u64, status: i32, now: Timestamp) -> bool {
        let Some(deal) = self.deals.get_mut(&id) else { return false };
        deal.set = Some(status);
        if (5..=11).contains(&status) && now < deal.done_at {
            deal.done_at = now;
            let redis_id = deal.redis_id.clone();
            // Where a newer deal is under way, the instance waits for that one.
            let newer = self.deals.range(id + 1..).any(|(_, newer)| newer.redis_id == redis_id && newer.done_at > now);
            if let Some(instance) = self.instances.get_mut(&redis_id).filter(|_| !newer) {
                instance.stop(now);
            }
        }
        true
    }

    /// Fen, for one account; `None`: it can pay anything.
    pub fn set_balance(&mut self, account: &str, fen: Option<u64>) {
        match fen {
            Some(fen) => self.balances.insert(account.into(), fen),
            None => self.balances.remove(account),
        };
    }

    /// The cloud's clock was set back: time has not passed, and what has happened stays so. (Set forward, it is as if
    /// the time had passed.)
    pub fn clock_set_back(&mut self, by: Duration) {
        for instance in self.instances.values_mut() {
            instance.created -= by;
            instance.changes.iter_mut().for_each(|change| change.at -= by);
        }
        for deal in self.deals.values_mut() {
            deal.lock_at -= by;
            deal.done_at -= by;
        }
    }
}
