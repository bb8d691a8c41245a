//! The cloud's state machine: instances ([`super::instance`]), deals ([`super::deal`]) and money.
//!
//! Synchronous and pure: time is an argument, and no word of any API version's wire is known here, so that every
//! version is a front to the same state. What an instance *will* become is written down when the order is accepted,
//! as changes with times to come: what it is at any time, past or future, is then only looked up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::catalogue::{self, Region};
use super::deal::Deal;
use super::instance::{ByHand, Instance, NewInstance, Status, View};
use super::list::{Query, Shelf};

/// An order must be a multiple of it (239/5328).
const STEP_MB: u64 = 1024;
/// Fen for each 1024 MB added. Any plain rule does: the documents give no price list.
const FEN_PER_STEP: u64 = 2000;
const MAX_INSTANCES: usize = 100_000;
const MAX_DEALS: usize = 100_000;
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
    /// An order before this one was accepted, and doesn't show yet.
    Locked,
    NoMoney {
        price: u64,
        balance: u64,
    },
    /// An answer that says nothing: see [`WhileInvisible::Error`].
    Unexplained,
    NoDeal,
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
        let id = &new.redis_id;
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
        let instance = Instance::new(new, account.into(), region, created);
        let shelf = self.shelves.entry((instance.account.clone(), region)).or_default();
        shelf.add(&instance.redis_id, instance.vpc_id);
        self.instances.insert(instance.redis_id.clone(), instance);
        Ok(())
    }

    /// Whether there was one.
    pub fn delete(&mut self, id: &str) -> bool {
        let Some(instance) = self.instances.remove(id) else { return false };
        if let Some(shelf) = self.shelves.get_mut(&(instance.account, instance.region)) {
            shelf.remove(id, instance.vpc_id);
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
        shelf.page(query, at == now, |id| self.instances.get(id)?.view(at))
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
                WhileInvisible::Refuse => return Err(Refusal::Locked),
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

    pub fn change_by_hand(&mut self, id: &str, hand: &ByHand, now: Timestamp) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.change_by_hand(hand, now);
        }
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
            instance.clock_set_back(by);
        }
        for deal in self.deals.values_mut() {
            deal.lock_at -= by;
            deal.done_at -= by;
        }
    }
}

#[cfg(test)]
mod tests;
