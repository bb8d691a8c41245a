//! The cloud's state machine: instances ([`super::instance`]), deals ([`super::deal`]) and money.
//!
//! Synchronous and pure: time is an argument, and no word of any API version's wire is known here, so that every
//! version is a front to the same state. What an instance *will* become is written down when the order is accepted,
//! as changes with times to come: what it is at any time, past or future, is then only looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::catalogue::{self, Region};
use super::deal::Deal;
use super::instance::{self, ByHand, Instance, NewInstance, Shape, Status, View};
use super::list::{Query, Shelf};
use super::order::{self, Ask, Refusal};

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

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub upgrade_time: Duration,
    pub visible_after: Duration,
    pub maintenance_wait: Duration,
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
        if new.billing_mode > 1 {
            return Err(format!("{id}: billingMode is 0 (postpaid) or 1 (prepaid), not {}", new.billing_mode));
        }
        instance::check_shards(new.type_id, new.shards).map_err(|why| format!("{id}: {why}"))?;
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
        if !query.ids.is_empty() {
            let ids: BTreeSet<_> = query.ids.iter().collect();
            return query.page(ids.into_iter().filter_map(|id| self.owned(account, region, id).ok()?.view(at)));
        }
        let Some(shelf) = self.shelves.get(&(account.into(), region)) else { return (0, Vec::new()) };
        shelf.page(query, at == now, |id| self.instances.get(id)?.view(at))
    }

    /// The fee in fen for what is asked for, or why an order would be refused; takes nothing.
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
        ask: Ask,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        self.quote(account, region, id, ask, now).map(|(_, price)| price)
    }

    /// What the instance becomes, and the fee.
    fn quote(
        &self,
        account: &str,
        region: &'static Region,
        id: &str,
        ask: Ask,
        now: Timestamp,
    ) -> Result<(Shape, u64), Refusal> {
        let instance = self.owned(account, region, id)?;
        let view = instance.view(now).ok_or(Refusal::NoInstance)?;
        let quote = order::quote(view, ask)?;
        if view.status != Status::RUNNING {
            return Err(Refusal::Busy(view.status));
        }
        if instance.locked {
            return Err(Refusal::Locked);
        }
        if instance.under_way(now) {
            match self.rules.while_invisible {
                WhileInvisible::Refuse => return Err(Refusal::Locked),
                WhileInvisible::Error => return Err(Refusal::Unexplained),
                WhileInvisible::Accept => (),
            }
        }
        Ok(quote)
    }

    /// Takes the fee and starts the upgrade. With `fails` the deal fails in the end, and the instance is as before;
    /// the fee isn't given back (that would be a status of its own, "refunded").
    pub fn order(
        &mut self,
        account: &str,
        region: &'static Region,
        id: &str,
        ask: Ask,
        fails: bool,
        now: Timestamp,
    ) -> Result<&Deal, Refusal> {
        let (to, price) = self.quote(account, region, id, ask, now)?;
        let instance = self.instances.get_mut(id).ok_or(Refusal::NoInstance)?;
        let from = instance.view(now).ok_or(Refusal::NoInstance)?.shape;
        if let Some(balance) = self.balances.get_mut(account) {
            *balance = balance.checked_sub(price).ok_or(Refusal::NoMoney { price, balance: *balance })?;
        }
        let waits = matches!(ask, Ask::Parts { in_window: true, .. });
        let lock_at = now + if waits { self.rules.maintenance_wait } else { self.rules.visible_after };
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
            from: from.size,
            to: to.size,
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

    pub fn deal_by_name(&self, account: &str, name: &str) -> Result<&Deal, Refusal> {
        // A date, and the number of the deal.
        let id = name.get(8..).and_then(|id| id.parse().ok()).ok_or(Refusal::NoDeal)?;
        self.deal(account, id).ok().filter(|deal| deal.name == name).ok_or(Refusal::NoDeal)
    }

    pub fn deals(&self) -> impl Iterator<Item = &Deal> {
        self.deals.values()
    }

    /// Does nothing where there is no such instance. The error says, for a person, what can't be.
    pub fn change_by_hand(&mut self, id: &str, hand: &ByHand, now: Timestamp) -> Result<(), String> {
        self.instances.get_mut(id).map_or(Ok(()), |instance| instance.change_by_hand(hand, now))
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
            deal.lock_at = instance::earlier(deal.lock_at, by);
            deal.done_at = instance::earlier(deal.done_at, by);
        }
    }
}

#[cfg(test)]
mod tests;
