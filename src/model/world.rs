//! What happens around the processes: time passes, the cloud gets requests and carries out orders, people change their minds.

use super::{
    Action, Model,
    judge::{Verdict, Violation},
    search::Emit,
    state::{
        Age, Entry, Flight, Hand, LOOKS, Learnt, NEVER, Order, Progress, Sender, Size, State, Status, Trouble, Write,
    },
};

/// What the cloud does.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read in a trace, which is its Debug form")]
pub(super) enum Event {
    /// A request arrives, and this comes of it; the answer may be lost.
    Arrives {
        number: u8,
        reply: Reply,
        answered: bool,
    },
    Delivers {
        order: u8,
    },
    Fails {
        order: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Takes,
    Refuses(Trouble),
}

/// What people do.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read in a trace, which is its Debug form")]
pub(super) enum Deed {
    Declares {
        by: usize,
        size: Size,
    },
    Deletes {
        by: usize,
    },
    MakesAgain {
        by: usize,
    },
    /// In the console.
    Enlarges {
        size: Size,
    },
    /// Nobody we know.
    Shrinks {
        size: Size,
    },
    AsksAgain {
        by: usize,
    },
    SaysGoOn {
        by: usize,
    },
}

impl Model {
    pub(super) fn world(&self, state: &State, emit: &mut Emit<'_>) -> Verdict {
        emit(Action::Tick, self.tick(state));
        for flight in state.flights.iter().filter(|flight| flight.on_wire > 0) {
            self.arrivals(state, flight, emit)?;
        }
        for (index, order) in state.cloud.orders.iter().enumerate() {
            if order.progress == Progress::Upgrading {
                let order = index as u8;
                emit(Action::Cloud(Event::Delivers { order }), self.delivered(state, index));
                if state.left.failures > 0 {
                    let mut next = *state;
                    next.left.failures -= 1;
                    next.cloud.orders[index].progress = Progress::Failed;
                    next.cloud.show();
                    emit(Action::Cloud(Event::Fails { order }), next);
                }
            }
        }
        self.people(state, emit);
        Ok(())
    }

    /// All ages, up to where they make no difference any more.
    pub(super) fn tick(&self, state: &State) -> State {
        let (dead, lagged) = (self.dead(), self.lagged());
        let older = |age: Age, cap: Age| if age == NEVER { NEVER } else { (age + 1).min(cap) };
        let older_status = |status: &mut Status| {
            status.settled = older(status.settled, lagged);
            status.delivered = older(status.delivered, lagged);
        };
        let mut next = *state;
        for entry in next.book.iter_mut() {
            entry.signed = older(entry.signed, dead);
            older_status(&mut entry.status);
        }
        for flight in next.flights.iter_mut() {
            flight.signed = older(flight.signed, dead);
            flight.began = older(flight.began, 1);
            // The cloud takes it no more. What it says of it then tells nothing.
            if flight.signed > self.bounds.lifetime {
                flight.on_wire = 0;
            }
        }
        for hand in next.hands.iter_mut() {
            match hand {
                Hand::Empty => {}
                Hand::Looked { age, .. } => *age = older(*age, dead),
                Hand::Read { book, began, .. } => {
                    *began = older(*began, 1);
                    for entry in book.iter_mut() {
                        entry.signed = older(entry.signed, dead);
                        older_status(&mut entry.status);
                    }
                }
                Hand::Writes(writes) => {
                    for write in writes.iter_mut() {
                        match write {
                            Write::Nothing => {}
                            Write::Status { before, after, .. } => {
                                older_status(before);
                                older_status(after);
                            }
                            Write::Order { entry, facts, .. } => {
                                entry.signed = older(entry.signed, dead);
                                facts.began = older(facts.began, 1);
                            }
                        }
                    }
                }
            }
        }
        next.enlarged = older(next.enlarged, dead);
        if next.enlarged == dead {
            next.enlarged = NEVER;
        }
        next.cloud.shown.rotate_right(1);
        next.cloud.shown[0] = next.cloud.truth().bit();
        for kept in &mut next.cloud.shown[usize::from(self.bounds.lag).min(LOOKS - 1) + 1..] {
            *kept = 0;
        }
        next
    }

    /// A request comes to the cloud.
    fn arrivals(&self, state: &State, flight: &Flight, emit: &mut Emit<'_>) -> Verdict {
        for reply in self.replies(state, flight.to) {
            for answered in [true, false] {
                if answered && flight.sender != Sender::Waits {
                    continue;
                }
                let next = self.arrived(state, flight.number, reply, answered)?;
                emit(Action::Cloud(Event::Arrives { number: flight.number, reply, answered }), next);
            }
        }
        Ok(())
    }

    /// All that the cloud may make of it.
    fn replies(&self, state: &State, to: Size) -> Vec<Reply> {
        let cloud = &state.cloud;
        let is_growth = to > cloud.size;
        let mut replies = Vec::new();
        // The documents of 3.0 refuse neither a smaller size nor the one that is there.
        if is_growth || self.bounds.shrinks {
            replies.push(Reply::Takes);
        } else {
            replies.push(Reply::Refuses(Trouble::NoShrink));
        }
        if cloud.is_busy() {
            replies.push(Reply::Refuses(Trouble::Busy));
        }
        if is_growth && state.left.refusals > 0 {
            replies.extend([Trouble::BalanceLow, Trouble::SoldOut].map(Reply::Refuses));
        }
        replies
    }

    pub(super) fn arrived(&self, state: &State, number: u8, reply: Reply, answered: bool) -> Result<State, Violation> {
        let mut next = *state;
        let flight = next.flights.iter_mut().find(|flight| flight.number == number).expect("it is on its way");
        flight.on_wire -= 1;
        let learnt = match reply {
            Reply::Takes => {
                let order = Order { number, to: flight.to, progress: Progress::Upgrading };
                self.judge_order(state, &order)?;
                next.cloud.orders.push(order);
                next.cloud.show();
                Learnt::Accepted { order: next.cloud.orders.len() as u8 - 1 }
            }
            Reply::Refuses(trouble) => {
                if matches!(trouble, Trouble::BalanceLow | Trouble::SoldOut) {
                    next.left.refusals -= 1;
                }
                Learnt::Refused(trouble)
            }
        };
        if answered {
            flight.sender = Sender::Learnt(learnt);
        }
        Ok(self.tidy(next))
    }

    pub(super) fn delivered(&self, state: &State, index: usize) -> State {
        let mut next = *state;
        let order = &mut next.cloud.orders[index];
        order.progress = Progress::Done;
        next.cloud.size = if self.bounds.shrinks { order.to } else { order.to.max(next.cloud.size) };
        next.cloud.show();
        next
    }

    fn people(&self, state: &State, emit: &mut Emit<'_>) {
        let mut deed = |deed: Deed, change: &dyn Fn(&mut State)| {
            let mut next = *state;
            change(&mut next);
            emit(Action::Person(deed), next);
        };
        for (by, declared) in state.declared.iter().enumerate() {
            if declared.exists
                && let Some(&size) = self.bounds.declared[by].get(usize::from(declared.edits) + 1)
            {
                deed(Deed::Declares { by, size }, &|next| {
                    next.declared[by].size = size;
                    next.declared[by].edits += 1;
                    next.declared[by].demand.generation += 1;
                });
            }
            if state.left.remakes > 0 && declared.demand.generation > 0 {
                match declared.exists {
                    true => deed(Deed::Deletes { by }, &|next| {
                        next.left.remakes -= 1;
                        next.declared[by].exists = false;
                    }),
                    false => deed(Deed::MakesAgain { by }, &|next| {
                        next.left.remakes -= 1;
                        let declared = &mut next.declared[by];
                        (declared.exists, declared.proceed_after) = (true, 0);
                        (declared.demand.uid, declared.demand.generation) = (declared.demand.uid + 1, 1);
                    }),
                }
            }
            if state.left.requests > 0 && declared.exists {
                deed(Deed::AsksAgain { by }, &|next| {
                    next.left.requests -= 1;
                    next.declared[by].demand.requested += 1;
                });
            }
            if state.left.proceeds > 0 && declared.exists && state.highest > 0 {
                deed(Deed::SaysGoOn { by }, &|next| {
                    next.left.proceeds -= 1;
                    // An open one, too, counts no more once it is settled. (Until then nothing is written over it: B4.)
                    next.declared[by].proceed_after = next.highest;
                });
            }
        }
        if state.left.console > 0 && !state.cloud.is_busy() {
            for size in state.cloud.size + 1..=self.bounds.sizes {
                deed(Deed::Enlarges { size }, &|next| {
                    next.left.console -= 1;
                    next.enlarged = 0;
                    next.cloud.size = size;
                    next.cloud.show();
                });
            }
        }
        if state.left.drops > 0 && !state.cloud.is_busy() && self.is_still(state) {
            for size in 1..state.cloud.size {
                deed(Deed::Shrinks { size }, &|next| {
                    next.left.drops -= 1;
                    next.dropped = true;
                    next.cloud.size = size;
                    next.cloud.show();
                });
            }
        }
    }

    /// No order is on its way, or about to be, and all that there was is settled for longer than the lag. So nobody's act can be taken for
    /// what came of an order.
    fn is_still(&self, state: &State) -> bool {
        let is_past = |entry: &Entry| entry.status.phase.is_settled() && entry.status.settled >= self.lagged();
        let settled = state.book.iter().all(is_past);
        settled && state.flights.is_empty() && state.hands.iter().all(|hand| *hand == Hand::Empty)
    }

    /// Forgets what makes no difference any more.
    pub(super) fn tidy(&self, mut state: State) -> State {
        let dead = self.dead();
        while let Some(done) =
            state.flights.iter().position(|flight| flight.sender == Sender::Gone && flight.on_wire == 0)
        {
            state.flights.remove(done);
        }
        let flights = state.flights;
        for entry in state.book.iter_mut().filter(|entry| entry.status.phase.is_settled()) {
            if flights.iter().all(|flight| flight.number != entry.number) {
                entry.signed = dead;
            }
        }
        // Processes are alike: which of them has what in hand is no difference.
        state.hands.sort_by_cached_key(|hand| std::hash::BuildHasher::hash_one(&super::FIXED, hand));
        state
    }
}
