//! One history: the world is set up, processes take turns while faults strike and people act, then all is calm, and it must settle and be still.

use std::sync::{Arc, atomic::Ordering};

use super::{
    broken::{Broken, TOGETHER},
    chance::Chance,
    counts::{Counts, NOT_PROMISED},
    gate::{Point, Then, Trip, What, When},
    judge::{Judge, KEYS},
    people::{self, act, declare, put_secret},
    plan::Plan,
    process::{End, Machine, Process},
    settled::{bound, unsettled},
    store::Store,
    vendor::Vendor,
    world::{Millis, State, Trace, World},
};

/// A turn in calm times: much shorter than any bound of the operator's.
const CALM_TURN: Millis = 3000;
/// One that is alone has long turns.
const LONG_TURN: Millis = 10_000;
/// What befell the instance just before is seen by then: a Secret is kept for half a minute, a list is read each minute.
const SEEN: Millis = 130_000;
const A_RESYNC: Millis = 75_000;
/// Nothing is written to the API server for so long, once all has settled (B9): two resyncs.
const STILL: Millis = 130_000;
/// By so much the clock of a machine is wrong, seconds.
const OFF: [i64; 4] = [-3 * 3600, -240, 240, 3 * 3600];

pub(super) struct Told {
    /// What was broken, if anything.
    pub(super) verdict: Option<String>,
    pub(super) hash: u64,
    pub(super) counts: Counts,
    pub(super) orders: usize,
    pub(super) took: Millis,
}

struct History {
    world: Arc<World>,
    namespaces: Vec<Option<String>>,
    slots: Vec<Slot>,
    acts: std::vec::IntoIter<(Millis, people::Act)>,
}

struct Slot {
    who: &'static str,
    machine: Machine,
    process: Option<Process>,
    /// When there is none, the next one starts then.
    starts: Millis,
}

/// Where something is `broken` on purpose, `rule` is the only one that is judged by: others may be lost on the way to it.
pub(super) fn run(seed: u64, broken: Broken, rule: Option<&'static str>, readable: bool) -> Told {
    // kube's and backon's jitter have their chance from here.
    fastrand::seed(seed);
    let mut history = History::new(seed, broken, rule, readable);
    history.faults();
    history.calm();
    // Their power goes before the world is taken apart.
    history.slots.clear();
    let mut state = history.world.now();
    if state.judge.excused > 0 {
        state.struck(NOT_PROMISED);
    }
    Told {
        verdict: state.judge.verdict.take(),
        hash: state.trace.hash(),
        counts: std::mem::take(&mut state.counts),
        orders: state.vendor.ledger.len(),
        took: state.now,
    }
}

impl History {
    fn new(seed: u64, broken: Broken, rule: Option<&'static str>, readable: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mut plan = Plan::draw(&mut chance);
        broken.upset(&mut plan);
        let mut vendor = Vendor::new(plan.nature, plan.calm_at);
        vendor.keys = KEYS[..2].iter().map(|key| (*key).to_owned()).collect();
        vendor.add("crs-1", 1024);
        vendor.add("crs-2", 1024);
        let mut store = Store::default();
        store.names_are_free = broken == Broken::Uniqueness;
        store.writes_are_blind = broken == Broken::BlindWrites;
        let acts = std::mem::take(&mut plan.acts).into_iter();
        let redis_ids = std::mem::take(&mut plan.redis_ids);
        let (namespaces, processes) = (plan.namespaces, plan.processes);
        let (now, counts, judge) = (0, Counts::default(), Judge::by(rule));
        let trace = Trace::new(readable);
        let (api_away_until, cloud_away_until, watches_cut_at) = (0, 0, 0);
        let mut state = State {
            now,
            plan,
            chance,
            store,
            vendor,
            judge,
            trace,
            counts,
            api_away_until,
            cloud_away_until,
            watches_cut_at,
            redis_ids,
            wild: 0,
        };
        if state.plan.old_book {
            people::old_book(&mut state);
        }
        for namespace in namespaces {
            put_secret(&mut state, namespace, 0);
        }
        for whose in state.redis_ids.clone().into_keys() {
            let size = state.chance.pick(&[2048, 4096]);
            declare(&mut state, whose, size);
        }
        let slots = ["one", "two"].into_iter().take(processes).map(|who| {
            let machine = Machine::default();
            if broken == Broken::ClocksTogether {
                machine.store(TOGETHER.as_secs(), Ordering::Relaxed);
            } else if state.chance.percent(state.plan.clocks_off) {
                state.struck("machine: its clock is off");
                machine.store(state.chance.pick(&OFF), Ordering::Relaxed);
            }
            Slot { who, machine, process: None, starts: 0 }
        });
        let slots = slots.collect();
        let namespaces = namespaces.iter().map(|namespace| Some((*namespace).to_owned())).collect();
        Self { world: World::new(state), namespaces, slots, acts }
    }

    fn is_broken(&self) -> bool {
        self.world.now().judge.verdict.is_some()
    }

    /// Turns, faults, and what people do, until all is calm.
    fn faults(&mut self) {
        let calm_at = self.world.now().plan.calm_at;
        let mut last = 0;
        loop {
            self.people_act();
            let now = self.world.now().now;
            if now >= calm_at || self.is_broken() {
                return;
            }
            self.start_those_due(now);
            let event = self.next_event(now).min(calm_at);
            let alive: Vec<usize> = (0..self.slots.len()).filter(|slot| self.slots[*slot].process.is_some()).collect();
            // The same one seldom has two turns in a row.
            let other = alive.iter().copied().find(|slot| *slot != last);
            let Some(slot) = other.or(alive.first().copied()) else {
                drop(self.world.at(event));
                continue;
            };
            last = slot;
            let (until, trip, terminates) = {
                let state = &mut *self.world.now();
                let lasts = if alive.len() > 1 {
                    state.chance.pick(&[20, 100, 300, 1000, 1000, 3000, 5000, 9000, 15_000, 40_000, 130_000, 400_000])
                } else {
                    state.chance.pick(&[1000, 10_000, 60_000])
                };
                let trip = trip(state);
                if state.chance.percent(state.plan.clock_steps) {
                    set_clock(state, &self.slots[slot]);
                }
                (event.min(now + lasts), trip, state.chance.percent(state.plan.terminations))
            };
            self.turn(slot, until, trip, terminates);
        }
    }

    fn turn(&mut self, slot: usize, until: Millis, trip: Option<Trip>, terminates: bool) {
        let slot = &mut self.slots[slot];
        let Some(process) = &mut slot.process else { return };
        if terminates {
            process.terminate();
            let mut state = self.world.now();
            state.struck("process: SIGTERM");
            state.note(slot.who, format_args!("is told to end"));
        }
        let end = process.turn(until, trip);
        let state = &mut *self.world.now();
        match end {
            End::Time => {}
            End::Frozen(what, point) => {
                state.counts.stop(Then::Freeze, what, point);
                state.note(slot.who, format_args!("is frozen: {what:?} {point:?}"));
            }
            End::Crashed(what, point) => {
                state.counts.stop(Then::Crash, what, point);
                state.note(slot.who, format_args!("crashes: {what:?} {point:?}"));
                slot.process = None;
                slot.starts = state.now + state.chance.pick(&[0, 100, 2000, 20_000, 100_000, 400_000]);
            }
            End::Panicked => state.judge.broken("a panic ends the operator".into()),
            End::Exited => {
                state.note(slot.who, format_args!("has ended"));
                slot.process = None;
                slot.starts = state.now + state.chance.pick(&[0, 2000, 20_000]);
            }
        }
    }

    fn people_act(&mut self) {
        let now = self.world.now().now;
        while let Some((_, what)) = self.acts.as_slice().first().copied().filter(|(when, _)| *when <= now) {
            self.acts.next();
            act(&mut self.world.now(), what);
            self.world.changed.notify_waiters();
        }
    }

    fn next_event(&self, now: Millis) -> Millis {
        let act = self.acts.as_slice().first().map(|(when, _)| *when);
        let starts = self.slots.iter().filter(|slot| slot.process.is_none()).map(|slot| slot.starts);
        starts.chain(act).filter(|when| *when > now).min().unwrap_or(Millis::MAX)
    }

    fn start_those_due(&mut self, now: Millis) {
        for slot in self.slots.iter_mut().filter(|slot| slot.process.is_none() && slot.starts <= now) {
            let seed = {
                let state = &mut *self.world.now();
                state.note(slot.who, format_args!("starts"));
                state.chance.next()
            };
            slot.process = Some(Process::start(&self.world, slot.who, &slot.machine, &self.namespaces, seed));
        }
    }

    /// Nothing strikes any more: all settles within the bound of L1, and then is still (B9).
    fn calm(&mut self) {
        let from = {
            let state = &mut *self.world.now();
            people::mend(state);
            state.now
        };
        self.world.changed.notify_waiters();
        // Half of them go on with one process only, which is cheaper.
        if self.slots.len() > 1 && self.world.now().chance.percent(60) {
            self.slots.pop();
        }
        while self.world.now().now < from + SEEN && !self.is_broken() {
            self.round();
        }
        loop {
            if self.is_broken() {
                return;
            }
            let what = {
                let state = &*self.world.now();
                unsettled(state).map(|what| (what, state.now > from + bound(state)))
            };
            match what {
                None => break,
                Some((what, true)) => return self.world.now().judge.broken(format!("L1: not settled in time: {what}")),
                Some(_) => self.round(),
            }
        }
        // What is under way ends; and who reads the same instance with another key sees what came of it at his own next list.
        let from = self.world.now().now;
        while self.world.now().now < from + A_RESYNC {
            self.round();
        }
        let settled = self.world.now().now;
        while self.world.now().now < settled + STILL {
            self.round();
            let state = &mut *self.world.now();
            if let Some((_, what)) = state.judge.last_write.clone().filter(|(when, _)| *when > settled) {
                return state.judge.broken(format!("B9: all has settled, and something is written: {what}"));
            }
        }
        let state = &mut *self.world.now();
        if let Some(what) = unsettled(state) {
            state.judge.broken(format!("L1: settled, and not for long: {what}"));
        }
    }

    /// A turn for each.
    fn round(&mut self) {
        let now = self.world.now().now;
        for slot in &mut self.slots {
            slot.starts = now;
        }
        self.start_those_due(now);
        let turn = if self.slots.len() > 1 { CALM_TURN } else { LONG_TURN };
        for slot in 0..self.slots.len() {
            let now = self.world.now().now;
            self.turn(slot, now + turn, None, false);
        }
    }
}

/// Somebody sets the clock of its machine, right or wrong.
fn set_clock(state: &mut State, slot: &Slot) {
    let to = if state.chance.percent(30) { 0 } else { state.chance.pick(&OFF) };
    let from = slot.machine.swap(to, Ordering::Relaxed);
    if to != from {
        state.struck(if to > from { "machine: its clock steps ahead" } else { "machine: its clock steps back" });
        state.note(slot.who, format_args!("the clock of its machine steps by {} s", to - from));
    }
}

/// Does something stop the process in this turn?
fn trip(state: &mut State) -> Option<Trip> {
    let chance = &mut state.chance;
    let then = match chance.below(100) {
        number if number < state.plan.crashes => Then::Crash,
        number if number < state.plan.crashes + state.plan.freezes => Then::Freeze,
        _ => return None,
    };
    let when = if chance.percent(50) {
        When::After(chance.between(1, 40))
    } else {
        let what = chance.pick(&[
            What::Create,
            What::Create,
            What::Order,
            What::Order,
            What::Record,
            What::ReadBook,
            What::Look,
            What::Confirm,
            What::Status,
            What::AskDeal,
        ]);
        When::At(what, chance.pick(&[Point::Before, Point::Applied, Point::Delivered]))
    };
    Some((when, then))
}
