//! What must hold in every state: the invariants of the account book, and what they are for.

use super::{
    Model,
    state::{Entry, Facts, Flight, Order, Progress, State, Status, Trouble},
};
use crate::api::Phase;

/// A property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// An order was charged for a size that was bought already (B7, and what all of it is for).
    PaidTwice,
    /// An order was charged while another one was being carried out (B4).
    TwoAtOnce,
    /// An order was written for what was not declared any more when it was looked.
    Undeclared,
    /// The instance was made smaller by an order (B6).
    Down,
    /// An order was sent that isn't in the book (B1).
    SentWithoutEntry,
    /// An order was sent a second time, or by who hasn't written it (B3).
    SentTwice,
    /// An order was sent later than its time (B3).
    SentLate,
    /// An entry was written while another one was unsettled (B4).
    WrittenOverUnsettled,
    /// What was bought within the lag was ordered again, at a person's word (B7).
    WordTooSoon,
    /// A number of the book was used twice (B2).
    NumberTwice,
    /// An entry was given up, or taken for refused, and the cloud had taken its order or took it later (B5).
    GivenUpThoughAccepted,
    /// An entry was called fulfilled, and its size wasn't there (B5).
    FulfilledForNothing,
    /// An order was tried again more often than three times in a row (B7).
    TriedTooOften,
    /// The cloud's acceptance was learnt, and the book doesn't have it (B5).
    DealForgotten,
    /// A run without faults doesn't settle (L1).
    NeverSettles,
    /// A run without faults settles later than lifetime and two lags, and the look that is past them (L1).
    SettlesLate,
    /// A run without faults ends as stalled, for a reason that isn't true (L1).
    StalledForNothing,
    /// A run without faults says Ready below the size declared (L1).
    ReadyForNothing,
}

pub(super) type Verdict = Result<(), Violation>;

impl Model {
    pub(super) fn unless(&self, fault: bool, violation: Violation) -> Verdict {
        let is_looked_for = self.bounds.only.is_none_or(|only| only == violation);
        if fault && is_looked_for { Err(violation) } else { Ok(()) }
    }

    /// An entry is about to be written.
    pub(super) fn judge_entry(&self, state: &State, entry: &Entry, facts: &Facts) -> Verdict {
        self.unless(!facts.declared, Violation::Undeclared)?;
        self.unless(facts.over, Violation::WrittenOverUnsettled)?;
        self.unless(entry.number <= state.highest, Violation::NumberTwice)?;
        // Whatever a person says: a look may still show the size of before.
        let bought = state.book.iter().filter(|other| other.status.phase == Phase::Fulfilled && other.to >= entry.to);
        self.unless(bought.map(|other| other.status.settled).any(|age| age < self.lagged()), Violation::WordTooSoon)?;
        let counted = state.book.iter().rev().filter(|other| other.number > entry.proceed_after);
        let since_success = || counted.clone().take_while(|other| other.status.phase != Phase::Fulfilled);
        let failed =
            since_success().filter(|other| other.status.phase == Phase::Failed && other.to > entry.from).count();
        let lost = since_success()
            .take_while(|other| matches!(other.status.phase, Phase::Abandoned | Phase::Refused))
            .filter(|other| other.status.phase == Phase::Abandoned && other.status.trouble != Trouble::NeverSent)
            .count();
        self.unless(failed >= 3 || lost >= 3, Violation::TriedTooOften)
    }

    /// An order is about to be sent.
    pub(super) fn judge_sent(&self, flight: &Flight) -> Verdict {
        self.unless(flight.began > 0, Violation::SentLate)?;
        self.unless(flight.sent > 0, Violation::SentTwice)
    }

    /// The cloud is about to take an order.
    pub(super) fn judge_order(&self, state: &State, order: &Order) -> Verdict {
        let entry = state.book.iter().find(|entry| entry.number == order.number);
        let given_up =
            entry.is_some_and(|entry| matches!(entry.status.phase, Phase::Abandoned | Phase::Refused | Phase::Failed));
        self.unless(entry.is_none() && order.number > state.highest, Violation::SentWithoutEntry)?;
        let proceed_after = entry.map_or(0, |entry| entry.proceed_after);
        self.unless(order.to <= state.cloud.bought(proceed_after), Violation::PaidTwice)?;
        self.unless(state.cloud.is_busy(), Violation::TwoAtOnce)?;
        self.unless(given_up, Violation::GivenUpThoughAccepted)?;
        // Not promised with API 3.0: a person who resizes within lifetime and lag (docs/money-safety.md).
        self.unless(order.to < state.cloud.size && state.enlarged >= self.dead(), Violation::Down)
    }

    /// An entry is about to be moved.
    pub(super) fn judge_move(&self, state: &State, number: u8, before: &Status, after: &Status) -> Verdict {
        self.unless(before.deal.is_some() && after.deal != before.deal, Violation::DealForgotten)?;
        if before.phase == after.phase {
            return Ok(());
        }
        let mut orders = state.cloud.orders.iter().filter(|order| order.number == number);
        match after.phase {
            Phase::Abandoned | Phase::Refused => {
                self.unless(orders.any(|order| order.progress != Progress::Failed), Violation::GivenUpThoughAccepted)
            }
            Phase::Fulfilled => {
                let to = state.book.iter().find(|entry| entry.number == number).map_or(0, |entry| entry.to);
                self.unless(state.cloud.size < to && !state.dropped, Violation::FulfilledForNothing)
            }
            _ => Ok(()),
        }
    }
}
