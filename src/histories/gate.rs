//! Where a process meets the world: each request is three points, before it is carried out, when it is, and when its answer is delivered.
//! At any of them the process can lose its power, or its turn.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a request is for, as far as it matters when a process is stopped at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The watches' lists and the watches, Secrets, Events.
    Other,
    /// Reads the book for a step.
    ReadBook,
    Look,
    Confirm,
    /// Writes an entry.
    Create,
    Order,
    /// Writes what came of an entry.
    Record,
    AskDeal,
    Status,
}

impl What {
    pub(super) const ALL: [Self; 9] = [
        Self::Other,
        Self::ReadBook,
        Self::Look,
        Self::Confirm,
        Self::Create,
        Self::Order,
        Self::Record,
        Self::AskDeal,
        Self::Status,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    Before,
    Applied,
    Delivered,
}

impl Point {
    pub(super) const ALL: [Self; 3] = [Self::Before, Self::Applied, Self::Delivered];
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// At the so-manieth point that it comes to.
    After(u64),
    At(What, Point),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Then {
    /// The power goes: nothing that this process does from now on has an effect.
    Crash,
    /// Its turn is over: it goes on in its next one, where it stands, however late that is.
    Freeze,
}

pub(super) type Trip = (When, Then);

pub(super) struct Gate {
    state: Mutex<State>,
    opened: Notify,
    closed: Notify,
}

struct State {
    power: bool,
    open: bool,
    trip: Option<Trip>,
    /// What it was stopped at.
    tripped: Option<(What, Point, Then)>,
}

impl Gate {
    pub(super) fn new() -> Self {
        let state = State { power: true, open: false, trip: None, tripped: None };
        Self { state: Mutex::new(state), opened: Notify::new(), closed: Notify::new() }
    }

    /// The process comes to a point: it passes while it has its turn.
    pub(super) async fn pass(&self, what: What, point: Point) {
        loop {
            let opened = self.opened.notified();
            {
                let mut state = self.state.lock();
                if state.open && state.power {
                    let Some(then) = state.trips(what, point) else { return };
                    state.tripped = Some((what, point, then));
                    state.power = then != Then::Crash;
                    state.open = false;
                    self.closed.notify_one();
                }
            }
            opened.await;
        }
    }

    pub(super) fn open(&self, trip: Option<Trip>) {
        let mut state = self.state.lock();
        state.open = true;
        state.trip = trip;
        state.tripped = None;
        self.opened.notify_waiters();
    }

    /// Returns where the turn has ended, if not by itself.
    pub(super) fn close(&self) -> Option<(What, Point, Then)> {
        let mut state = self.state.lock();
        state.open = false;
        state.tripped.take()
    }

    /// Until the process is stopped.
    pub(super) async fn stopped(&self) {
        self.closed.notified().await;
    }
}

impl State {
    fn trips(&mut self, what: What, point: Point) -> Option<Then> {
        let (when, then) = self.trip.as_mut()?;
        let now = match when {
            When::After(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            When::At(this, there) => (*this, *there) == (what, point),
        };
        let then = now.then_some(*then);
        self.trip = self.trip.filter(|_| !now);
        then
    }
}
