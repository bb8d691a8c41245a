//! The steps of a process: a reconcile as `act` does it, and the senders of what it has written. Between any two steps anybody else may act,
//! time may pass, or the process may crash.

use super::{
    Action, Model, Mutation,
    judge::{Verdict, Violation},
    policy::Next,
    search::Emit,
    state::{
        Book, Declared, Entry, Facts, Flight, Hand, LOOKS, Learnt, List, Progress, Sender, State, Status, View, WRITES,
        Write,
    },
};
use crate::api::Phase;

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read in a trace, which is its Debug form")]
pub(super) enum Step {
    /// It reads the book for this `RedisInstance`.
    Reads {
        by: usize,
    },
    /// It looks, asks for a deal if need be, and decides.
    Looks {
        view: View,
        deal: Option<Progress>,
    },
    /// It has read once more what is declared.
    Confirms,
    /// The API server carries out what is to be written; the answer may be lost.
    Writes {
        answered: bool,
    },
    /// It has lost the race for what is to be written.
    Conflict,
    Crashes,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    Sends,
    /// No connection, or it was too late.
    DoesNotSend,
    /// No answer came.
    TimesOut,
    /// It writes down what it has learnt.
    Records,
}

impl Model {
    pub(super) fn processes(&self, state: &State, emit: &mut Emit<'_>) -> Verdict {
        for (process, hand) in state.hands.iter().enumerate() {
            // Of several that do the same, one is enough.
            if process > 0 && state.hands[process - 1] == *hand {
                continue;
            }
            let with = |hand: Hand| {
                let mut next = *state;
                next.hands[process] = hand;
                self.tidy(next)
            };
            let mut step = |step: Step, next: State| emit(Action::Process(process, step), next);
            if *hand != Hand::Empty {
                step(Step::Crashes, with(Hand::Empty));
            }
            match hand {
                Hand::Empty => {
                    for (by, declared) in state.declared.iter().enumerate().filter(|(_, declared)| declared.exists) {
                        if self.has(Mutation::NoFreshLook) {
                            for view in self.views(state) {
                                let looked = Hand::Looked { declared: *declared, view, age: 0 };
                                step(Step::Looks { view, deal: None }, with(looked));
                            }
                        } else {
                            let read = Hand::Read { declared: *declared, book: state.book, began: 0 };
                            step(Step::Reads { by }, with(read));
                        }
                    }
                }
                Hand::Looked { declared, view, age } => {
                    let by = declared.demand.by.into();
                    let plan = self.plan(state, declared, state.book, *view, Progress::Upgrading);
                    // The order is signed by the look.
                    let aged = plan.iter().map(|write| match *write {
                        Write::Order { entry, confirmed, facts } => {
                            Write::Order { entry: Entry { signed: *age, ..entry }, confirmed, facts }
                        }
                        other => other,
                    });
                    step(Step::Reads { by }, with(writes(aged.collect())));
                }
                Hand::Read { declared, book, began } => {
                    for view in self.views(state) {
                        // The cloud may say of a deal what is so, or what was so before.
                        let mut plans: Vec<List<Write, WRITES>> = Vec::new();
                        for deal in [self.deal_in_question(state, declared, book, view), Some(Progress::Upgrading)] {
                            let mut plan = self.plan(state, declared, *book, view, deal.unwrap_or_default());
                            // Too late to begin one: the client doesn't.
                            if *began > 0 && matches!(plan.last(), Some(Write::Order { .. })) {
                                plan.remove(plan.len() - 1);
                            }
                            if !plans.contains(&plan) {
                                step(Step::Looks { view, deal }, with(writes(plan)));
                                plans.push(plan);
                            }
                        }
                    }
                }
                Hand::Writes(list) => self.write(state, process, list, emit)?,
            }
        }
        Ok(())
    }

    /// All that a look may show: what was so at some time within the lag.
    fn views(&self, state: &State) -> Vec<View> {
        let kept = &state.cloud.shown[..=usize::from(self.bounds.lag).min(LOOKS - 1)];
        let mut views: Vec<_> = View::all(kept.iter().fold(0, |all, some| all | some)).collect();
        views.push(View::Absent);
        views
    }

    /// What the cloud itself knows of the deal that the policy asks for, if it does.
    pub(super) fn deal_in_question(
        &self,
        state: &State,
        declared: &Declared,
        book: &Book,
        view: View,
    ) -> Option<Progress> {
        match self.mind.decide(declared, book, view, None) {
            Next::AskDeal { order } => state.cloud.orders.get(usize::from(order)).map(|order| order.progress),
            _ => None,
        }
    }

    /// What comes of a look: the loop of `act`, in which each write that succeeds leads to the next decision on the same look.
    pub(super) fn plan(
        &self,
        state: &State,
        declared: &Declared,
        mut book: Book,
        view: View,
        says: Progress,
    ) -> List<Write, WRITES> {
        let mut plan = List::default();
        let mut deal = None;
        for _ in 0..WRITES {
            if self.has(Mutation::SendsForOthers)
                && let Some(entry) = book.iter().find(|entry| entry.status.phase == Phase::Written)
            {
                let facts = Facts { began: 0, over: false, declared: true };
                plan.push(Write::Order { entry: *entry, confirmed: true, facts });
                break;
            }
            match self.mind.decide(declared, &book, view, deal) {
                Next::Rest(_) => break,
                Next::AskDeal { order } if !self.has(Mutation::DealNeverAsked) => deal = Some((order, says)),
                Next::AskDeal { order } => deal = Some((order, Progress::Upgrading)),
                Next::Write { number, after } => {
                    let is_it = |entry: &&mut Entry| entry.number == number && !entry.status.phase.is_settled();
                    let entry = book.iter_mut().find(is_it).expect("what is moved is unsettled");
                    plan.push(Write::Status { number, before: entry.status, after });
                    entry.status = after;
                }
                Next::Order { from, to } => {
                    let number = book.iter().map(|entry| entry.number).max().unwrap_or(0) + 1;
                    let Declared { demand, proceed_after, .. } = *declared;
                    let entry = Entry { number, from, to, demand, proceed_after, ..Entry::written() };
                    let over = book.iter().any(|other| !other.status.phase.is_settled());
                    let facts = Facts { began: 0, over, declared: state.declares(&entry) };
                    plan.push(Write::Order { entry, confirmed: !self.bounds.is_edited(), facts });
                    break;
                }
            }
        }
        plan
    }

    fn write(&self, state: &State, process: usize, list: &List<Write, WRITES>, emit: &mut Emit<'_>) -> Verdict {
        let mut rest = *list;
        rest.remove(0);
        let mut step = |step: Step, next: State, hand: Hand| {
            let mut next = next;
            next.hands[process] = hand;
            emit(Action::Process(process, step), self.tidy(next));
        };
        match list[0] {
            Write::Nothing => {}
            Write::Order { entry, confirmed: false, facts } if !self.has(Mutation::NotConfirmed) => {
                if state.declares(&entry) {
                    let mut confirmed = *list;
                    confirmed[0] = Write::Order { entry, confirmed: true, facts };
                    step(Step::Confirms, *state, Hand::Writes(confirmed));
                } else {
                    step(Step::Conflict, *state, Hand::Empty);
                }
            }
            Write::Order { entry, facts, .. } if self.has(Mutation::SendsUnwritten) => {
                step(Step::Writes { answered: false }, self.sent_unwritten(state, &entry, &facts)?, writes(rest));
            }
            Write::Order { entry, facts, .. } => {
                let is_taken = state.book.iter().any(|other| other.number == entry.number);
                if is_taken && !self.has(Mutation::NumbersNotUnique) {
                    if self.has(Mutation::SendsAfterConflict) || self.has(Mutation::SendsForOthers) {
                        let next = self.sent_unwritten(state, &entry, &facts)?;
                        step(Step::Writes { answered: true }, next, writes(rest));
                    }
                    step(Step::Conflict, *state, Hand::Empty);
                } else if state.book.len() < self.bounds.entries {
                    self.judge_entry(state, &entry, &facts)?;
                    for answered in [true, false] {
                        // What the API server carries out so late, its client has given up; and a frozen one finds its permit expired.
                        let sender = if answered { Sender::Holds } else { Sender::Gone };
                        let next = self.written(state, entry, &facts, sender);
                        step(Step::Writes { answered }, next, if answered { writes(rest) } else { Hand::Empty });
                    }
                }
            }
            Write::Status { number, before, after } => match self.moved(state, number, &before, &after)? {
                None => step(Step::Conflict, *state, Hand::Empty),
                Some(next) => {
                    step(Step::Writes { answered: true }, next, writes(rest));
                    // Without the answer, the rest is not done: as if it had crashed then.
                    if !rest.is_empty() {
                        step(Step::Writes { answered: false }, next, Hand::Empty);
                    }
                }
            },
        }
        Ok(())
    }

    /// The API server has created the entry.
    pub(super) fn written(&self, state: &State, entry: Entry, facts: &Facts, sender: Sender) -> State {
        let mut next = *state;
        next.highest = next.highest.max(entry.number);
        next.book.push(entry);
        next.flights.push(Flight::of(&entry, facts, sender));
        next
    }

    /// A mutation sends what it has not written.
    fn sent_unwritten(&self, state: &State, entry: &Entry, facts: &Facts) -> Result<State, Violation> {
        let mut next = *state;
        if state.flights.iter().all(|flight| flight.number != entry.number) {
            next.flights.push(Flight::of(entry, facts, Sender::Gone));
        }
        let flight = flight_of(&mut next, entry.number);
        self.judge_sent(flight)?;
        flight.send();
        Ok(next)
    }

    /// The API server has changed the status of an entry, if it still was as it had been read.
    pub(super) fn moved(
        &self,
        state: &State,
        number: u8,
        before: &Status,
        after: &Status,
    ) -> Result<Option<State>, Violation> {
        let mut next = *state;
        let is_it = |entry: &&mut Entry| {
            entry.number == number && (entry.status == *before || self.has(Mutation::VersionsIgnored))
        };
        let Some(entry) = next.book.iter_mut().find(is_it) else { return Ok(None) };
        self.judge_move(state, number, &entry.status, after)?;
        entry.status = *after;
        if self.has(Mutation::PrunedSoon) && after.phase.is_settled() {
            let at = next.book.iter().position(|entry| entry.number == number).expect("it was just there");
            next.book.remove(at);
        }
        Ok(Some(next))
    }

    pub(super) fn senders(&self, state: &State, emit: &mut Emit<'_>) -> Verdict {
        for flight in state.flights.iter() {
            let mut step = |step: Sending, change: &dyn Fn(&mut Flight)| {
                let mut next = *state;
                change(flight_of(&mut next, flight.number));
                emit(Action::Sender(flight.number, step), self.tidy(next));
            };
            match flight.sender {
                Sender::Gone => {}
                Sender::Holds => {
                    if flight.began == 0 || self.has(Mutation::SentAnyTime) {
                        self.judge_sent(flight)?;
                        step(Sending::Sends, &|flight| {
                            flight.sender = Sender::Waits;
                            flight.send();
                        });
                    }
                    step(Sending::DoesNotSend, &|flight| flight.sender = Sender::Learnt(Learnt::NeverSent));
                }
                Sender::Waits => {
                    let again = self.has(Mutation::SentAgain) && flight.sent < 2;
                    step(Sending::TimesOut, &|flight| {
                        flight.sender = if again { Sender::Holds } else { Sender::Learnt(Learnt::Unknown) };
                    });
                }
                Sender::Learnt(learnt) => {
                    emit(Action::Sender(flight.number, Sending::Records), self.recorded(state, flight.number, learnt)?);
                }
            }
        }
        Ok(())
    }

    /// Its sender has written down what it has learnt. (It tries until that stands there.)
    pub(super) fn recorded(&self, state: &State, number: u8, learnt: Learnt) -> Result<State, Violation> {
        let mut next = *state;
        if let Some(entry) = state.book.iter().find(|entry| entry.number == number)
            && let Some(after) = self.mind.learn(&entry.status, learnt)
            && let Some(moved) = self.moved(state, number, &entry.status, &after)?
        {
            next = moved;
        }
        flight_of(&mut next, number).sender = Sender::Gone;
        if let (Learnt::Accepted { order }, Some(entry)) =
            (learnt, next.book.iter().find(|entry| entry.number == number))
        {
            self.unless(entry.status.deal != Some(order), Violation::DealForgotten)?;
        }
        Ok(self.tidy(next))
    }
}

fn flight_of(state: &mut State, number: u8) -> &mut Flight {
    state.flights.iter_mut().find(|flight| flight.number == number).expect("it is on its way")
}

fn writes(list: List<Write, WRITES>) -> Hand {
    if list.is_empty() { Hand::Empty } else { Hand::Writes(list) }
}
