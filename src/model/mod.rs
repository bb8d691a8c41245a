//! Every interleaving, up to a bound: the real [`decide`](crate::decide::decide) and the book's real transitions, driven by processes that all
//! act at once (no leader is assumed), freeze or crash between any two steps and come back with what they had in hand; an account book with
//! the API server's rules; a cloud that shows what it took as late as it may, that refuses, forgets or takes a second order meanwhile, and whose
//! answers and requests are lost or late; people who edit, delete and make again, and resize in the console.
//!
//! [`search`] visits every state there is within the [`Bounds`] that [`worlds`] names; in each, [`judge`]'s properties hold, and [`calm`] shows
//! that a run without further faults settles (L1). [`mutations`] takes the rules away one by one, and a property with a name misses each.
//!
//! Where the model leaves something out, it may do more than the world can, not less: a lost answer is one that is delivered after the end of
//! time, a crashed sender is one that is frozen for ever, a create that the API server carries out after its client has given up is a process
//! frozen in it. It does less in this: a person's resize takes no time, every deal is known and paid, no entry is pruned, and the cloud's `Date` is
//! right. Left to the simulated histories: reads of the book that are stale (it is read consistently), more than one instance (they
//! share nothing but the account's balance), the Secret, and the watched copies, of which nothing is bought.

mod calm;
mod judge;
mod mutations;
mod policy;
mod process;
mod search;
mod state;
mod world;
mod worlds;

use std::collections::HashMap;

use foldhash::quality::FixedState;

use judge::Violation;
use mutations::Mutation;
use policy::Mind;
use state::{Age, Budget, Declared, Demand, Size, State};

type Map<K, V> = HashMap<K, V, FixedState>;

/// The same in every run.
const FIXED: FixedState = FixedState::with_seed(0);

/// How much of the world is searched.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Sizes are 1 GB to so many GB.
    sizes: Size,
    /// No more entries than these are written.
    entries: usize,
    processes: usize,
    /// Of the cloud, in ticks; the operator is told these, but for mutations.
    lag: Age,
    lifetime: Age,
    /// API 3.0: an order for less is carried out.
    shrinks: bool,
    /// What each `RedisInstance` declares, one size after the other; none: there is no such one.
    declared: [&'static [Size]; 2],
    budget: Budget,
    mutation: Option<Mutation>,
    /// The one property that is looked for, instead of all.
    only: Option<Violation>,
}

impl Bounds {
    /// May a declaration change, or a person's word about the book? Else nothing is to be confirmed.
    fn is_edited(&self) -> bool {
        self.declared.iter().any(|sizes| sizes.len() > 1) || self.budget.remakes + self.budget.proceeds > 0
    }
}

/// What is searched: a world within bounds, and the policy that acts in it.
struct Model {
    bounds: Bounds,
    mind: Mind,
}

impl Model {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, mind: Mind::new(&bounds) }
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.bounds.mutation == Some(mutation)
    }

    /// Old enough for its order to be dead.
    fn dead(&self) -> Age {
        self.bounds.lifetime + self.bounds.lag + 1
    }

    /// Old enough for all that waits for the lag, or for a backoff.
    fn lagged(&self) -> Age {
        self.bounds.lag + 1
    }

    fn start(&self) -> State {
        let mut state = State { left: self.bounds.budget, enlarged: state::NEVER, ..State::default() };
        state.cloud.size = 1;
        state.cloud.shown = [state.cloud.truth().bit(); state::LOOKS];
        state.hands = (0..self.bounds.processes).map(|_| state::Hand::Empty).collect();
        for (by, sizes) in self.bounds.declared.into_iter().enumerate() {
            let demand = Demand { by: by as u8, uid: 0, generation: 1, requested: 0 };
            let size = sizes.first().copied().unwrap_or_default();
            state.declared[by] = Declared { exists: size > 0, size, edits: 0, demand, proceed_after: 0 };
        }
        state
    }
}

/// A step of the world, for the trace of a violation.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read in a trace, which is its Debug form")]
enum Action {
    Tick,
    Process(usize, process::Step),
    Sender(u8, process::Sending),
    Cloud(world::Event),
    Person(world::Deed),
}
