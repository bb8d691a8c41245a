//! The bridge to the real policy: a state of the model becomes the very objects that [`decide`] and the book's transitions get, and what they
//! answer becomes a step of the model. Both are pure, so each question is asked once.

use std::{cell::RefCell, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    Bounds, Map, Mutation,
    state::{Age, Book, Declared, Demand, Entry, Learnt, NEVER, Progress, Size, Status, Trouble, View},
};
use crate::{
    api::{Failure, NEVER_SENT, PROCEED_AFTER, Phase, RedisInstance, RedisUpgrade, RedisUpgradeStatus, testing},
    book::{Outcome, applied},
    cloud::{
        Accepted, CloudError, Dated, DealState, Dialect, ErrorKind, Instance, InstanceState, Layout, meaning, v2, v3,
    },
    decide::{Deal, Health, Policy, Seen, Situation, Step, decide, failure},
};

/// The present, and a tick, in seconds. As long as the longest backoff, so that all of them are one tick.
const NOW: i64 = 1_000_000_000;
const TICK: i64 = 3600;

/// What the policy says, as a step of the model.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Rest(Told),
    Order { from: Size, to: Size },
    AskDeal { order: u8 },
    Write { number: u8, after: Status },
}

/// What people are told when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub health: Health,
    pub reason: &'static str,
}

/// What was asked of the policy.
type Question = (Declared, Book, View, Option<(u8, Progress)>);

pub(super) struct Mind {
    policy: Policy,
    dialect: Dialect,
    mutation: Option<Mutation>,
    decided: RefCell<Map<Question, Next>>,
    learnt: RefCell<Map<(Status, Learnt), Option<Status>>>,
}

impl Mind {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let (lag, lifetime) = match bounds.mutation {
            Some(Mutation::NoWait) => (0, 0),
            Some(Mutation::NoLag) => (0, bounds.lifetime),
            Some(Mutation::ShorterLifetime) => (bounds.lag, bounds.lifetime - 1),
            Some(Mutation::LongerLifetime) => (bounds.lag, bounds.lifetime + 1),
            _ => (bounds.lag, bounds.lifetime),
        };
        let policy = Policy {
            lag: SignedDuration::from_secs(i64::from(lag) * TICK),
            lifetime: SignedDuration::from_secs(i64::from(lifetime) * TICK),
            resync: Duration::from_secs(60),
            active: Duration::from_secs(2),
        };
        let dialect = if bounds.shrinks { v3::DIALECT } else { v2::DIALECT };
        Self { policy, dialect, mutation: bounds.mutation, decided: RefCell::default(), learnt: RefCell::default() }
    }

    /// What is to be done about `declared`, by this book and a look of this moment.
    pub(super) fn decide(&self, declared: &Declared, book: &Book, view: View, deal: Option<(u8, Progress)>) -> Next {
        let question = (*declared, *book, view, deal);
        if let Some(next) = self.decided.borrow().get(&question) {
            return *next;
        }
        let next = self.ask(question);
        self.decided.borrow_mut().insert(question, next);
        next
    }

    fn ask(&self, (declared, book, view, deal): Question) -> Next {
        let seen = book.iter().filter(|entry| self.is_seen(entry, &book));
        // (One lost order, taken for three, where that is the mutation.)
        let times = |entry: &Entry| match self.mutation {
            Some(Mutation::LostIsThreeTimesLost) if entry.status.phase == Phase::Abandoned => 3,
            _ => 1,
        };
        let known = |entry: &Entry| match self.mutation {
            // (Settled in the beginning of time.)
            Some(Mutation::WordAtOnce) if entry.number <= declared.proceed_after => {
                Entry { status: Status { settled: NEVER, ..entry.status }, ..*entry }
            }
            _ => *entry,
        };
        let entries: Vec<_> =
            seen.flat_map(|entry| std::iter::repeat_n(real_entry(&known(entry)), times(entry))).collect();
        let instance = real_instance(&declared);
        let at = match self.mutation {
            Some(Mutation::OurClock) => real_time(0) + SignedDuration::from_secs(2 * TICK),
            _ => real_time(0),
        };
        let running = |size| (InstanceState::Running, size);
        let shown = match view {
            View::Absent if self.mutation == Some(Mutation::AbsentRuns) => Some(running(0)),
            View::Absent => None,
            View::InProcess(size) if self.mutation == Some(Mutation::InProcessRuns) => Some(running(size)),
            View::InProcess(size) => Some((InstanceState::InProcess, size)),
            View::Running(size) if self.mutation == Some(Mutation::SizeMisread) => Some(running(size + 1)),
            View::Running(size) => Some(running(size)),
        };
        let seen = shown.map_or(Seen::Absent(at), |(state, size)| {
            let (redis_id, size, layout) = ("crs-1".into(), mb(size), Layout::default());
            Seen::Instance(Dated {
                value: Instance { redis_id, state, size, zone_id: None, type_id: None, layout },
                at,
            })
        });
        let deal = deal.map(|(order, progress)| {
            let state = match progress {
                Progress::Upgrading => DealState::Pending(3),
                Progress::Done => DealState::Delivered,
                Progress::Failed => DealState::Failed(6),
            };
            Deal { id: order.to_string(), state: Some(state), trouble: None, at }
        });
        let situation = Situation {
            instance: &instance,
            owner: None,
            entries: &entries,
            seen: &seen,
            deal: deal.as_ref(),
            secret_version: "1",
            balance_low_until: None,
            due: true,
            now: at,
            dialect: self.dialect,
        };
        let mut decision = decide(&self.policy, &situation);
        if decision.step.is_none() && self.mutation == Some(Mutation::OverUnsettled) {
            let settled: Vec<_> = entries.iter().filter(|entry| entry.phase().is_settled()).cloned().collect();
            decision = decide(&self.policy, &Situation { entries: &settled, ..situation });
        }
        let moved = |name: &str, outcome: Outcome| {
            let number = number_of(name);
            let of_that_name = book.iter().filter(|entry| entry.number == number);
            let after = of_that_name.filter_map(|entry| applied(&real_status(&entry.status), &outcome)).next();
            let after = after.unwrap_or_else(|| panic!("the policy asks for what the book doesn't do: {outcome:?}"));
            Next::Write { number, after: status(&after) }
        };
        let is_down = matches!(view, View::Running(size) if size > declared.size) && decision.step.is_none();
        match decision.step {
            None if is_down && self.mutation == Some(Mutation::OrdersDown) => {
                Next::Order { from: declared.size + 1, to: declared.size }
            }
            None => Next::Rest(Told { health: decision.verdict.health, reason: word(&decision.verdict.reason) }),
            Some(Step::Order { from, to }) => Next::Order { from: gb(from), to: gb(to) },
            Some(Step::AskDeal { order, .. }) => {
                Next::AskDeal { order: order.deal_id.parse().expect("deals of the model are numbers") }
            }
            Some(Step::MarkDelivered { entry, at }) => moved(&entry, Outcome::Delivered { at }),
            Some(Step::Settle { entry, at, evidence, error, .. })
                if self.mutation == Some(Mutation::DeadIsFulfilled) =>
            {
                moved(&entry, Outcome::Settled { phase: Phase::Fulfilled, at, evidence, error })
            }
            Some(Step::Settle { entry, phase, at, evidence, error }) => {
                moved(&entry, Outcome::Settled { phase, at, evidence, error })
            }
        }
    }

    /// Which entries the policy gets to see: all, but for mutations.
    fn is_seen(&self, entry: &Entry, book: &Book) -> bool {
        match self.mutation {
            Some(Mutation::NewestOnly) => book.iter().all(|other| other.number <= entry.number),
            Some(Mutation::PaidIsForgotten) => entry.status.phase != Phase::Fulfilled,
            Some(Mutation::FailedIsForgotten) => entry.status.phase != Phase::Failed,
            Some(Mutation::LostIsForgotten) => entry.status.phase != Phase::Abandoned,
            _ => true,
        }
    }

    /// The status after what its sender has learnt; `None` when that says nothing new.
    pub(super) fn learn(&self, before: &Status, learnt: Learnt) -> Option<Status> {
        let key = (*before, learnt);
        *self.learnt.borrow_mut().entry(key).or_insert_with(|| {
            if self.mutation == Some(Mutation::LateAnswerDropped) && before.phase == Phase::Abandoned {
                return None;
            }
            applied(&real_status(before), &self.outcome(learnt)).map(|after| status(&after))
        })
    }

    /// As `act` makes it of the cloud's answer.
    fn outcome(&self, learnt: Learnt) -> Outcome {
        let at = real_time(0);
        let action = self.dialect.upgrade;
        match learnt {
            Learnt::Accepted { order } => {
                Outcome::Accepted { accepted: Accepted { deal_id: order.to_string(), deal_name: None }, at }
            }
            Learnt::Refused(trouble) => {
                let error = cloud_error(trouble);
                assert!(error.is_plain_refusal(), "{error} is no plain refusal");
                Outcome::Refused { error: failure(&error, action, at), at }
            }
            Learnt::Unknown => {
                let error = cloud_error(Trouble::Unknown);
                assert!(!error.is_plain_refusal(), "{error} is a plain refusal");
                let error = failure(&error, action, at);
                match self.mutation {
                    Some(Mutation::UnknownIsRefused) => Outcome::Refused { error, at },
                    _ => Outcome::Unknown { error },
                }
            }
            Learnt::NeverSent => Outcome::NeverSent { error: real_failure(Trouble::NeverSent).expect("it is one"), at },
        }
    }
}

fn real_time(age: Age) -> Timestamp {
    Timestamp::from_second(NOW - i64::from(age) * TICK).expect("a time of this century")
}

fn age(time: Timestamp) -> Age {
    Age::try_from((NOW - time.as_second()).max(0) / TICK).expect("ages are small")
}

fn mb(size: Size) -> i64 {
    i64::from(size) * 1024
}

fn gb(size: i64) -> Size {
    Size::try_from(size / 1024).expect("sizes are small")
}

fn number_of(name: &str) -> u8 {
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("names of entries end with their number")
}

/// Of the entry with that number; 0: none.
fn name(number: u8) -> Option<String> {
    (number > 0).then(|| format!("crs-1-{number}"))
}

fn uid(demand: &Demand) -> String {
    format!("{}.{}", demand.by, demand.uid)
}

fn requested(demand: &Demand) -> Option<String> {
    (demand.requested > 0).then(|| demand.requested.to_string())
}

fn real_instance(declared: &Declared) -> RedisInstance {
    let mut instance = testing::instance(&declared.demand.by.to_string(), &uid(&declared.demand), mb(declared.size));
    instance.metadata.generation = Some(declared.demand.generation.into());
    let annotations = instance.metadata.annotations.get_or_insert_default();
    annotations.extend(requested(&declared.demand).map(|asked| ("crs.qcloud.com/requestedAt".to_owned(), asked)));
    annotations.extend(name(declared.proceed_after).map(|name| (PROCEED_AFTER.to_owned(), name)));
    instance
}

fn real_entry(entry: &Entry) -> RedisUpgrade {
    let signed = real_time(entry.signed).as_second();
    let mut real =
        testing::entry(entry.number.into(), mb(entry.from), mb(entry.to), signed, real_status(&entry.status));
    let asked_for = &mut real.spec.instance_ref;
    asked_for.uid = uid(&entry.demand);
    asked_for.generation = entry.demand.generation.into();
    asked_for.requested_at = requested(&entry.demand);
    asked_for.proceed_after = name(entry.proceed_after);
    real
}

fn real_status(status: &Status) -> RedisUpgradeStatus {
    let time = |age: Age| (age != NEVER).then(|| testing::at(real_time(age).as_second()));
    RedisUpgradeStatus {
        phase: status.phase,
        deal_id: status.deal.map(|order| order.to_string()),
        error: real_failure(status.trouble),
        delivered_at: time(status.delivered),
        settled_at: time(status.settled),
        ..RedisUpgradeStatus::default()
    }
}

fn status(real: &RedisUpgradeStatus) -> Status {
    Status {
        phase: real.phase,
        trouble: trouble(real.error.as_ref()),
        deal: real.deal_id.as_ref().map(|deal| deal.parse().expect("deals of the model are numbers")),
        delivered: real.delivered_at.as_ref().map_or(NEVER, |time| age(time.0)),
        settled: real.settled_at.as_ref().map_or(NEVER, |time| age(time.0)),
    }
}

/// The words that stand for a trouble in the book, with the number of those that the cloud says.
const TROUBLES: [(Trouble, Option<i64>, &str); 8] = [
    (Trouble::Unknown, None, "Timeout"),
    (Trouble::Busy, Some(10702), "InstanceStatusAbnormal"),
    (Trouble::BalanceLow, Some(100_207), "AccountBalanceNotEnough"),
    (Trouble::SoldOut, Some(5200), "ResourceNotEnough"),
    (Trouble::NoShrink, Some(11057), "ReduceCapacityNotAllowed"),
    (Trouble::NeverSent, None, NEVER_SENT),
    (Trouble::DealFailed, None, "UpgradeFailed"),
    (Trouble::SizeNotSeen, None, "SizeNotSeen"),
];

fn real_failure(trouble: Trouble) -> Option<Failure> {
    let (_, code, word) = TROUBLES.iter().find(|(known, ..)| *known == trouble)?;
    Some(testing::failure(*code, word, NOW))
}

fn trouble(error: Option<&Failure>) -> Trouble {
    error.map_or(Trouble::None, |error| {
        let known = TROUBLES.iter().find(|(.., word)| *word == error.code_desc);
        known.unwrap_or_else(|| panic!("the model doesn't know {}", error.code_desc)).0
    })
}

/// The cloud's answer to an order.
fn cloud_error(trouble: Trouble) -> CloudError {
    let (_, code, word) = TROUBLES.iter().find(|(known, ..)| *known == trouble).expect("all are there but None");
    let unknown = CloudError::no_answer(word, "The cloud says no.");
    let Some(number) = *code else { return unknown };
    let kind = ErrorKind::Code(meaning(Some(number), None));
    CloudError { kind, code: *code, cloud_code: Some(number.to_string()), ..unknown }
}

fn word(reason: &str) -> &'static str {
    const WORDS: [&str; 15] = [
        "InSync",
        "LargerThanDeclared",
        "ReduceCapacityNotAllowed",
        "Ordering",
        "Upgrading",
        "OutcomeUnknown",
        "UpgradeFailed",
        "SizeNotSeen",
        "SizeRegressed",
        "InstanceStatusAbnormal",
        "InstanceNotExists",
        "AccountBalanceNotEnough",
        "ResourceNotEnough",
        "NeverSent",
        "Timeout",
    ];
    WORDS.into_iter().find(|word| *word == reason).unwrap_or_else(|| panic!("the model doesn't know {reason}"))
}
