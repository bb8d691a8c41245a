//! L1: from any state a run without further faults settles, and what it tells then is true.

use std::hash::BuildHasher;

use super::{
    Bounds, FIXED, Map, Model, Mutation,
    judge::Violation,
    policy::{Next, Told},
    state::{Declared, Entry, Hand, Learnt, Progress, Sender, State, Trouble, View, Write},
    world::Reply,
};
use crate::{api::Phase, decide::Health};

/// Runs that were followed to their end, and how long they took.
pub(super) type Calm = Map<u64, u8>;

/// A run that takes longer won't end.
const AT_MOST: u8 = 40;

impl Model {
    /// The ticks that it takes to settle: once with all that is under way brought to its end, and once with all of it lost.
    pub(super) fn settles(&self, state: &State, calm: &mut Calm) -> Result<u8, Violation> {
        let mut took = 0;
        for state in [self.brought_to_its_end(state)?, crashed(state)] {
            let state = self.tidy(state);
            let key = FIXED.hash_one(state);
            let ticks = match calm.get(&key) {
                Some(ticks) => *ticks,
                None => {
                    let ticks = self.runs(state)?;
                    calm.insert(key, ticks);
                    ticks
                }
            };
            took = took.max(ticks);
        }
        // Nothing else waits (an upgrade ends within the tick).
        let Bounds { lifetime, lag, .. } = self.bounds;
        self.unless(took > lifetime + 2 * lag + 1, Violation::SettlesLate).map(|()| took)
    }

    fn brought_to_its_end(&self, state: &State) -> Result<State, Violation> {
        let mut state = self.flown(*state)?;
        let hands = state.hands;
        for hand in hands.iter() {
            if let Hand::Writes(writes) = hand {
                for write in writes.iter() {
                    match self.carried_out(&state, write)? {
                        Some(next) => state = self.flown(next)?,
                        None => break,
                    }
                }
            }
        }
        state.hands.fill(Hand::Empty);
        Ok(state)
    }

    /// What a process writes; `None` when it loses the race.
    fn carried_out(&self, state: &State, write: &Write) -> Result<Option<State>, Violation> {
        match write {
            Write::Nothing => Ok(None),
            Write::Status { number, before, after } => self.moved(state, *number, before, after),
            Write::Order { entry, confirmed, facts } => {
                let is_declared = state.declares(entry);
                let is_taken = state.book.iter().any(|other| other.number == entry.number);
                if is_taken
                    || !*confirmed && !is_declared
                    || facts.began > 0
                    || state.book.len() >= super::state::ENTRIES
                {
                    return Ok(None);
                }
                self.judge_entry(state, entry, facts)?;
                Ok(Some(self.written(state, *entry, facts, Sender::Holds)))
            }
        }
    }

    /// All that was to be sent, was sent, or is to be written down, done.
    fn flown(&self, mut state: State) -> Result<State, Violation> {
        while let Some(flight) = state.flights.first().copied() {
            let number = flight.number;
            if flight.sender == Sender::Holds && flight.began == 0 && flight.on_wire == 0 {
                self.judge_sent(&flight)?;
                state.flights[0].sender = Sender::Waits;
                state.flights[0].send();
            }
            if state.flights[0].on_wire > 0 {
                let answered = state.flights[0].sender == Sender::Waits;
                let reply = self.honest_reply(&state, flight.to);
                state = self.arrived(&state, number, reply, answered)?;
                continue;
            }
            let learnt = match flight.sender {
                Sender::Gone => {
                    state.flights.remove(0);
                    continue;
                }
                Sender::Holds => Learnt::NeverSent,
                Sender::Waits => Learnt::Unknown,
                Sender::Learnt(learnt) => learnt,
            };
            state = self.recorded(&state, number, learnt)?;
        }
        Ok(state)
    }

    /// The run itself, from a state in which nothing is under way.
    fn runs(&self, mut state: State) -> Result<u8, Violation> {
        for ticks in 0..AT_MOST {
            // The owner alone is looked after.
            let Some(owner) = state.declared.iter().position(|declared| declared.exists) else { return Ok(ticks) };
            state = self.reconciled(state, owner)?;
            let declared = state.declared[owner];
            if let Some(told) = self.told(&state, &declared)
                && self.is_settled(&state, told)
            {
                return self.judge_end(&state, &declared, told).map(|()| ticks);
            }
            state = self.tick(&state);
            for index in 0..state.cloud.orders.len() {
                if state.cloud.orders[index].progress == Progress::Upgrading {
                    state = self.delivered(&state, index);
                }
            }
            // What was shown before is shown no more.
            state.cloud.shown.fill(0);
            state.cloud.show();
        }
        self.unless(true, Violation::NeverSettles).map(|()| AT_MOST)
    }

    fn reconciled(&self, mut state: State, by: usize) -> Result<State, Violation> {
        for _ in 0..5 {
            let declared = state.declared[by];
            // By what is at hand there is nothing to do.
            if self.told(&state, &declared).is_some() {
                return Ok(state);
            }
            let view = state.cloud.truth();
            let says = self.deal_in_question(&state, &declared, &state.book, view);
            let plan = self.plan(&state, &declared, state.book, view, says.unwrap_or_default());
            let Some(first) = plan.first() else { return Ok(state) };
            match self.carried_out(&state, first)? {
                Some(next) => state = self.flown(next)?,
                None => return Ok(state),
            }
        }
        Ok(state)
    }

    /// What people are told, by what is at hand: the list doesn't show it (as one in a private network), so it is asked for by itself (B10).
    fn told(&self, state: &State, declared: &Declared) -> Option<Told> {
        let at_hand = if self.has(Mutation::EmptyListIsNone) { View::Absent } else { state.cloud.truth() };
        match self.mind.decide(declared, &state.book, at_hand, None) {
            Next::Rest(told) => Some(told),
            _ => None,
        }
    }

    fn is_settled(&self, state: &State, told: Told) -> bool {
        let all_settled = state.book.iter().all(|entry| entry.status.phase.is_settled());
        // Where money is missing, it goes on by itself once that has come.
        let is_end = match told.health {
            Health::Ready => true,
            Health::Stalled => told.reason != "AccountBalanceNotEnough",
            _ => false,
        };
        all_settled && is_end
    }

    /// Is what people are told at the end true?
    fn judge_end(&self, state: &State, declared: &Declared, told: Told) -> Result<(), Violation> {
        let size = state.cloud.size;
        let counted = |entry: &&Entry| entry.number > declared.proceed_after;
        let times =
            |phase: Phase| state.book.iter().filter(counted).filter(|entry| entry.status.phase == phase).count();
        let newest = state.book.iter().max_by_key(|entry| entry.number);
        let refused = |trouble: Trouble| newest.is_some_and(|entry| entry.status.trouble == trouble);
        let is_true = match (told.health, told.reason) {
            (Health::Ready, _) => {
                return self.unless(size < declared.size, Violation::ReadyForNothing);
            }
            (_, "ReduceCapacityNotAllowed") => size > declared.size || refused(Trouble::NoShrink),
            (_, "SizeRegressed" | "SizeNotSeen") => state.dropped,
            (_, "OutcomeUnknown") => times(Phase::Abandoned) >= 3,
            (_, "UpgradeFailed") => times(Phase::Failed) >= 3,
            (_, "ResourceNotEnough") => refused(Trouble::SoldOut),
            _ => false,
        };
        self.unless(!is_true, Violation::StalledForNothing)
    }

    fn honest_reply(&self, state: &State, to: u8) -> Reply {
        match () {
            () if state.cloud.is_busy() => Reply::Refuses(Trouble::Busy),
            () if to > state.cloud.size || self.bounds.shrinks && to < state.cloud.size => Reply::Takes,
            () => Reply::Refuses(Trouble::NoShrink),
        }
    }
}

/// All that was under way is lost.
fn crashed(state: &State) -> State {
    let mut state = *state;
    state.flights = Default::default();
    state.hands.fill(Hand::Empty);
    state
}
