//! The cloud's inside: instances, orders on their way, and the ledger. It has a time of its own: what it takes begins later, takes its while,
//! and is seen later still.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    chance::Chance,
    judge::{Entry, uid},
    world::{Millis, at},
};
use crate::cloud::InstanceState;

/// What it does with an order for an instance that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// 10702.
    Refused,
    /// An error that says nothing; it is not carried out.
    Failed,
    /// Carried out after the first, and charged.
    Taken,
}

/// How it is in one history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// An order for less is carried out, as by API 3.0.
    pub(super) shrinks: bool,
    pub(super) second: Second,
    /// So long after its Timestamp an order is taken, by the clock of the front end that it comes to.
    pub(super) window: Millis,
    /// The clock of each front end is right to this, either way.
    pub(super) apart: Millis,
    /// A clock that is wrong until it is set: beyond what is assumed.
    pub(super) behind: Option<Behind>,
    /// How old what a look shows may be.
    pub(super) staleness: Millis,
    /// An order begins within this time.
    pub(super) begins_within: Millis,
    pub(super) takes_at_most: Millis,
    /// What is carried out can be seen in the end.
    pub(super) shows: bool,
    /// Of a hundred deals so many fail.
    pub(super) failing_deals: u64,
}

/// Clocks of front ends that are far behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind {
    pub(super) by: Millis,
    pub(super) until: Millis,
    /// Those that this process comes to; `None`: all.
    pub(super) of: Option<&'static str>,
}

pub(super) const MOST: i64 = 16 * 1024;

pub(super) struct Vendor {
    pub(super) nature: Nature,
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) ledger: Vec<Order>,
    flying: Vec<(Millis, Request)>,
    pub(super) poor: bool,
    /// The keys that open the account.
    pub(super) keys: BTreeSet<String>,
    /// How far the clock of the front end that is asked now is ahead.
    pub(super) ahead: i64,
    /// How far the steps of all of them have come, where that is broken.
    pub(super) stepped: i64,
    /// Deals fail no more from then on.
    pub(super) calm_at: Millis,
}

#[derive(Clone)]
pub(super) struct Instance {
    pub(super) size: i64,
    pub(super) isolated: bool,
    pub(super) absent: bool,
    jobs: Vec<Job>,
    /// What was to be seen since when.
    history: Vec<(Millis, View)>,
    /// What people ordered in the console.
    pub(super) by_hand: Vec<ByHand>,
    /// Who made it as large as it is, if a person did: when that was ordered.
    pub(super) sized_by_hand: Option<Millis>,
}

#[derive(Clone, Copy)]
pub(super) struct ByHand {
    pub(super) ordered: Millis,
    pub(super) to: i64,
}

/// `None`: there is no such instance.
pub(super) type View = Option<(InstanceState, i64)>;

#[derive(Clone)]
struct Job {
    begins: Millis,
    ends: Millis,
    to: i64,
    order: Option<usize>,
    begun: bool,
    ordered: Millis,
}

/// An order as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) redis_id: String,
    pub(super) to: i64,
    /// By the Unix clock, seconds.
    pub(super) signed_at: i64,
    /// The entry that it is sent for, if there is one.
    pub(super) entry: Option<Entry>,
}

impl Request {
    pub(super) fn is_for(&self, entry: &Value) -> bool {
        self.entry.as_ref().is_some_and(|own| Some(&own.uid) == uid(entry).as_ref())
    }
}

/// An order that was taken, and is charged unless it fails.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) request: Request,
    pub(super) taken: Millis,
    /// The size when it was taken.
    pub(super) from: i64,
    pub(super) fails: Option<Millis>,
    pub(super) done: Option<Millis>,
    /// By whom the instance had that size: see [`Instance::sized_by_hand`].
    pub(super) from_by_hand: Option<Millis>,
}

impl Order {
    pub(super) fn has_failed(&self, now: Millis) -> bool {
        self.fails.is_some_and(|fails| fails <= now)
    }
}

impl Vendor {
    pub(super) fn new(nature: Nature, calm_at: Millis) -> Self {
        let (instances, ledger, flying, keys) = Default::default();
        Self { nature, instances, ledger, flying, poor: false, keys, ahead: 0, stepped: 0, calm_at }
    }

    pub(super) fn add(&mut self, redis_id: &str, size: i64) {
        let history = vec![(0, Some((InstanceState::Running, size)))];
        let (jobs, by_hand, sized_by_hand) = Default::default();
        let instance = Instance { size, isolated: false, absent: false, jobs, history, by_hand, sized_by_hand };
        self.instances.insert(redis_id.to_owned(), instance);
    }

    /// Sends an order that arrives at that moment, wanted by nobody any more.
    pub(super) fn fly(&mut self, arrives: Millis, request: Request) {
        self.flying.push((arrives, request));
        self.flying.sort_by_key(|(arrives, _)| *arrives);
    }

    /// What comes now, from that process if it isn't late, is answered by any of the front ends.
    pub(super) fn come_to_a_front_end(&mut self, now: Millis, from: Option<&str>, chance: &mut Chance) {
        let Nature { apart, behind, .. } = self.nature;
        let is_behind = |behind: &Behind| now < behind.until && (behind.of.is_none() || behind.of == from);
        let behind = behind.filter(is_behind).map_or(0, |behind| behind.by);
        self.ahead = chance.below(2 * apart + 1) as i64 - (apart + behind) as i64;
    }

    /// Lets all happen that happens by itself until `now`, in its order. Returns the orders that were taken, by their place in the ledger.
    pub(super) fn advance(&mut self, now: Millis, chance: &mut Chance) -> Vec<usize> {
        let mut taken = Vec::new();
        while let Some(arrives) = self.flying.first().map(|(arrives, _)| *arrives).filter(|arrives| *arrives <= now) {
            let (_, request) = self.flying.remove(0);
            self.work(arrives);
            self.come_to_a_front_end(arrives, None, chance);
            taken.extend(self.take(arrives, request, chance));
        }
        self.work(now);
        taken
    }

    fn work(&mut self, now: Millis) {
        for instance in self.instances.values_mut() {
            while let Some(next) = instance.next_change().filter(|next| *next <= now) {
                if let Some(done) = instance.change(next, self.nature.shows)
                    && let Some(order) = self.ledger.get_mut(done)
                {
                    order.done = Some(next);
                }
            }
        }
    }

    /// An order arrives. `Err`: the code of version 2 that it is answered with.
    pub(super) fn take(&mut self, now: Millis, request: Request, chance: &mut Chance) -> Result<usize, i64> {
        let nature = self.nature;
        if at(now).as_millisecond() + self.ahead > request.signed_at * 1000 + nature.window as i64 {
            return Err(4200);
        }
        let instance = self.instances.get_mut(&request.redis_id).filter(|instance| !instance.absent).ok_or(10701)?;
        if instance.isolated {
            return Err(10702);
        }
        if !instance.jobs.is_empty() || self.ledger.iter().any(|order| order.is_open(&request.redis_id, now)) {
            match nature.second {
                Second::Refused => return Err(10702),
                Second::Failed => return Err(5100),
                Second::Taken => {}
            }
        }
        if request.to > MOST {
            return Err(11063);
        }
        if request.to <= instance.size && !nature.shrinks {
            return Err(11057);
        }
        if self.poor {
            return Err(100_207);
        }
        let fails = (now < self.calm_at && chance.percent(nature.failing_deals)).then(|| {
            // Like one that is carried out it shows what becomes of it within the lag.
            now + chance.below(nature.begins_within.min(55_000))
        });
        let order = self.ledger.len();
        if fails.is_none() {
            let free = instance.jobs.iter().map(|job| job.ends).max().unwrap_or(0);
            let begins = (now + chance.below(nature.begins_within + 1)).max(free);
            let ends = begins + chance.between(1000, nature.takes_at_most);
            instance.jobs.push(Job { begins, ends, to: request.to, order: Some(order), begun: false, ordered: now });
        }
        let (from, from_by_hand) = (instance.size, instance.sized_by_hand);
        self.ledger.push(Order { request, taken: now, from, fails, done: None, from_by_hand });
        self.work(now);
        Ok(order)
    }

    /// A person orders another size in the console.
    pub(super) fn resize_by_hand(&mut self, redis_id: &str, to: i64, now: Millis, chance: &mut Chance) {
        let nature = self.nature;
        let Some(instance) = self.instances.get_mut(redis_id) else { return };
        let free = !instance.absent && !instance.isolated && instance.jobs.is_empty();
        if free && to != instance.size && (to > instance.size || nature.shrinks) {
            let begins = now + chance.below(2000);
            let ends = begins + chance.between(1000, nature.takes_at_most);
            instance.jobs.push(Job { begins, ends, to, order: None, begun: false, ordered: now });
            instance.by_hand.push(ByHand { ordered: now, to });
        }
    }

    /// When a person ordered to make smaller what that order had brought about, if that was until then.
    pub(super) fn taken_back(&self, order: &Order, until: Millis) -> Option<Millis> {
        let instance = self.instances.get(&order.request.redis_id)?;
        instance.made_smaller(order.request.to, order.done?, until)
    }

    pub(super) fn change_by_hand(&mut self, redis_id: &str, now: Millis, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.get_mut(redis_id) {
            change(instance);
            instance.note(now);
        }
    }

    /// What a look at `now` shows that is so much too old.
    pub(super) fn view(&self, redis_id: &str, now: Millis, old: Millis) -> View {
        let instance = self.instances.get(redis_id)?;
        let moment = now.saturating_sub(old);
        instance.history.iter().rev().find(|(since, _)| *since <= moment).and_then(|(_, view)| *view)
    }
}

impl Order {
    /// It was taken, fails later, and has not yet.
    fn is_open(&self, redis_id: &str, now: Millis) -> bool {
        self.request.redis_id == redis_id && self.fails.is_some_and(|fails| now < fails)
    }
}

impl Instance {
    /// When a person ordered to make it smaller than that, between the two moments.
    pub(super) fn made_smaller(&self, than: i64, from: Millis, until: Millis) -> Option<Millis> {
        let between = |by_hand: &&ByHand| by_hand.to < than && (from..=until).contains(&by_hand.ordered);
        self.by_hand.iter().find(between).map(|by_hand| by_hand.ordered)
    }

    /// Has it ever been that large?
    pub(super) fn has_had(&self, size: i64) -> bool {
        self.sizes().any(|had| had >= size)
    }

    /// All that it has ever had.
    pub(super) fn sizes(&self) -> impl Iterator<Item = i64> {
        self.history.iter().filter_map(|(_, view)| *view).map(|(_, size)| size)
    }

    fn next_change(&self) -> Option<Millis> {
        self.jobs.first().map(|job| if job.begun { job.ends } else { job.begins })
    }

    /// Takes the next step of the first job. Returns the order that is done by it.
    fn change(&mut self, now: Millis, shows: bool) -> Option<usize> {
        let job = self.jobs.first_mut()?;
        if !job.begun {
            job.begun = true;
            self.note(now);
            return None;
        }
        let job = self.jobs.remove(0);
        if shows || job.order.is_none() {
            self.size = job.to;
            self.sized_by_hand = job.order.is_none().then_some(job.ordered);
        }
        self.note(now);
        job.order
    }

    fn note(&mut self, now: Millis) {
        let busy = self.jobs.first().is_some_and(|job| job.begun);
        let state = match () {
            () if self.isolated => InstanceState::Isolated,
            () if busy => InstanceState::InProcess,
            () => InstanceState::Running,
        };
        self.history.push((now, (!self.absent).then_some((state, self.size))));
    }
}
