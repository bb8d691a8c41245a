//! The policy driven to its end in virtual time, against a toy of the cloud that takes second orders: lost, late, refused and failed
//! orders, crashes, freezes and a lag, from a seed that a failing run prints. One growth is paid once, and it gets there (L1).

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    api::{
        NEVER_SENT, Phase,
        testing::{failure, written},
    },
    book::{Outcome, applied},
    cloud::Accepted,
};

/// From here on nothing goes wrong any more.
const CALM: i64 = SIGNED + 3000;
const UPGRADE_TIME: i64 = 64;

/// An order that the cloud took: it shows at `shows`, and is done (or has failed) at `done`.
#[derive(Debug)]
struct Order {
    to: i64,
    shows: i64,
    done: i64,
    fails: bool,
}

/// What is still on its way to somebody.
enum Late {
    Request { to: i64, signed_at: i64 },
    Answer { entry: usize, outcome: Outcome },
}

struct World {
    seed: u64,
    rng: StdRng,
    now: i64,
    orders: Vec<Order>,
    late: Vec<(i64, Late)>,
    case: Case,
}

impl World {
    fn new(seed: u64) -> Self {
        let (orders, late) = (Vec::new(), Vec::new());
        Self { seed, rng: StdRng::seed_from_u64(seed), now: SIGNED, orders, late, case: wants(2048) }
    }

    fn is_calm(&self) -> bool {
        self.now >= CALM
    }

    fn size(&self) -> i64 {
        let done = self.orders.iter().filter(|order| order.done <= self.now && !order.fails);
        done.map(|order| order.to).max().unwrap_or(1024)
    }

    fn is_busy(&self) -> bool {
        self.orders.iter().any(|order| order.shows <= self.now && self.now < order.done)
    }

    /// The cloud gets a request: it takes even a second one, as long as the first doesn't show. Returns the number of the deal.
    fn arrives(&mut self, to: i64, signed_at: i64) -> Option<String> {
        if self.now > signed_at + LIFETIME || to <= self.size() || self.is_busy() {
            return None;
        }
        let shows = self.now + self.rng.random_range(0..LAG);
        let fails = !self.is_calm() && self.rng.random_ratio(1, 8);
        self.orders.push(Order { to, shows, done: shows + UPGRADE_TIME, fails });
        Some(self.orders.len().to_string())
    }

    /// Sends the order, and returns what its sender comes to know at once; `None`: it crashed.
    fn send(&mut self, entry: usize, to: i64, signed_at: i64) -> Option<Outcome> {
        let at = at(self.now).0;
        let unknown = Outcome::Unknown { error: failure(None, "Timeout", self.now) };
        // Just before its lifetime ends is when a late request does the most harm.
        let late = if self.rng.random_ratio(1, 2) { LIFETIME - 20..LIFETIME + 1 } else { 1..600 };
        let later = self.now + self.rng.random_range(late);
        let luck = if self.is_calm() { 0 } else { self.rng.random_range(0..9) };
        match luck {
            // Lost, or late; the sender waits for an answer, or has crashed.
            1 => return Some(unknown),
            2 => return None,
            3 => {
                self.late.push((later, Late::Request { to, signed_at }));
                return Some(unknown);
            }
            4 => return Some(Outcome::NeverSent { error: failure(None, NEVER_SENT, self.now), at }),
            5 => {
                let codes =
                    [(4400, "QuotaExceeded"), (100_207, "AccountBalanceNotEnough"), (10702, "InstanceStatusAbnormal")];
                let (code, name) = codes[self.rng.random_range(0..3)];
                return Some(Outcome::Refused { error: failure(Some(code), name, self.now), at });
            }
            _ => {}
        }
        let Some(deal_id) = self.arrives(to, signed_at) else {
            return Some(Outcome::Refused { error: failure(Some(10702), "InstanceStatusAbnormal", self.now), at });
        };
        let taken = Outcome::Accepted { accepted: Accepted { deal_id, deal_name: None }, at };
        match luck {
            6 => Some(unknown),
            7 => {
                self.late.push((later, Late::Answer { entry, outcome: taken }));
                None
            }
            _ => Some(taken),
        }
    }

    fn look(&mut self) {
        let shown = self.now - if self.is_calm() { 0 } else { self.rng.random_range(0..2) };
        let state = if self.is_busy() { InstanceState::InProcess } else { InstanceState::Running };
        self.case = self.case.clone().sees(state, self.size(), shown);
        self.case.deal = None;
    }

    fn learn(&mut self, entry: usize, outcome: &Outcome) {
        let entry = &mut self.case.entries[entry];
        if let Some(status) = applied(&entry.outcome(), outcome) {
            entry.status = Some(status);
        }
    }

    fn index(&self, name: &str) -> usize {
        self.case.entries.iter().position(|entry| entry.metadata.name.as_deref() == Some(name)).unwrap()
    }

    /// One look, and the steps that come of it.
    fn reconcile(&mut self) -> Decision {
        self.look();
        for _ in 0..8 {
            let decision = self.case.decide();
            match decision.step.clone() {
                None => return decision,
                Some(Step::Order { from, to }) => {
                    let signed_at = self.case.looked_at().unwrap().as_second();
                    let number = self.case.entries.len();
                    let mut entry = testing::entry(number as u64 + 1, from, to, signed_at, written());
                    entry.spec.instance_ref.generation = self.case.instance.metadata.generation.unwrap();
                    self.case.entries.push(entry);
                    if let Some(outcome) = self.send(number, to, signed_at) {
                        self.learn(number, &outcome);
                    }
                }
                Some(Step::AskDeal { order: Accepted { deal_id, .. }, .. }) => {
                    let order = &self.orders[deal_id.parse::<usize>().unwrap() - 1];
                    let state = match order {
                        order if self.now < order.done => DealState::Pending(3),
                        order if order.fails => DealState::Failed(6),
                        _ => DealState::Delivered,
                    };
                    self.case.deal = Some(Deal { id: deal_id, state: Some(state), trouble: None, at: at(self.now).0 });
                }
                Some(Step::MarkDelivered { entry, at }) => self.learn(self.index(&entry), &Outcome::Delivered { at }),
                Some(Step::Settle { entry, phase, at, evidence, error }) => {
                    self.learn(self.index(&entry), &Outcome::Settled { phase, at, evidence, error });
                }
            }
        }
        panic!("seed {}: no end of steps: {:?}", self.seed, self.case.decide());
    }

    /// Lets time pass until the next look, or until something late arrives.
    fn pass(&mut self, decision: &Decision) {
        let resync = self.now + if decision.active { 5 } else { 60 };
        let due = decision.again.map_or(resync, |again| (again.as_second() + 1).clamp(self.now + 1, resync));
        let frozen = if !self.is_calm() && self.rng.random_ratio(1, 30) { self.rng.random_range(0..900) } else { 0 };
        let next = due + frozen;
        self.late.sort_by_key(|(at, _)| *at);
        while self.late.first().is_some_and(|(at, _)| *at <= next) {
            let (at, late) = self.late.remove(0);
            self.now = self.now.max(at);
            match late {
                Late::Request { to, signed_at } => {
                    self.arrives(to, signed_at);
                }
                Late::Answer { entry, outcome } => self.learn(entry, &outcome),
            }
        }
        self.now = self.now.max(next);
    }

    /// No size is paid for twice, but for one that the cloud took the money back for.
    fn check(&self) {
        let mut paid: Vec<_> = self.orders.iter().filter(|order| !order.fails).map(|order| order.to).collect();
        let all = paid.len();
        paid.sort_unstable();
        paid.dedup();
        assert_eq!(paid.len(), all, "seed {}: paid twice: {:#?}\n{:#?}", self.seed, self.orders, self.case.entries);
        let unsettled = self.case.entries.iter().filter(|entry| !entry.phase().is_settled());
        let late = self.case.entries.iter().filter(|entry| entry.phase() == Phase::Placed).count();
        assert!(unsettled.count() <= late.max(1), "seed {}", self.seed);
    }
}

#[test]
fn one_growth_is_paid_once_and_gets_there_when_faults_stop() {
    let (mut got_there, mut orders) = (0, 0);
    for seed in 0..1000 {
        let mut world = World::new(seed);
        let grows_at = SIGNED + world.rng.random_range(0..2000);
        let mut decision = world.reconcile();
        // The upgrade itself, lifetime and lags, one backoff at its longest before the calm, and a few looks.
        while world.now < CALM + LIFETIME + 2 * LAG + 2 * UPGRADE_TIME + 3600 + 300 {
            world.pass(&decision);
            if world.now >= grows_at {
                world.case.instance.spec.mem_size = 4096;
                world.case.instance.metadata.generation = Some(2);
            }
            decision = world.reconcile();
            world.check();
        }
        let verdict = &decision.verdict;
        match (verdict.health, verdict.reason.as_str()) {
            (Health::Ready, "InSync") => {
                assert_eq!(world.size(), 4096, "seed {seed}");
                assert!(world.case.entries.iter().all(|entry| entry.phase().is_settled()), "seed {seed}");
                got_there += 1;
            }
            (Health::Stalled, "UpgradeFailed" | "OutcomeUnknown") => {
                let lost =
                    world.case.entries.iter().filter(|entry| matches!(entry.phase(), Phase::Failed | Phase::Abandoned));
                assert!(lost.count() >= 3, "seed {seed}: {}", verdict.message);
            }
            other => panic!("seed {seed}: {other:?}: {}\n{:#?}", verdict.message, world.case.entries),
        }
        orders += world.orders.len();
    }
    assert!(got_there > 800 && orders > 1500, "the runs are worth something: {got_there}, {orders}");
}
