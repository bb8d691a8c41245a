//! Breadth first, through every state there is.

use std::{collections::VecDeque, fmt::Write as _, hash::BuildHasher};

use super::{Action, FIXED, Map, Model, calm::Calm, judge::Violation, state::State};

/// A world with more states than these would use up the memory (of 40 million, about 4 GB), and never end.
const MOST_STATES: usize = 40_000_000;

/// Takes a step, and the state after it.
pub(super) type Emit<'a> = dyn FnMut(Action, State) + 'a;

/// What a search has found.
#[derive(Debug)]
pub(super) struct Searched {
    pub states: usize,
    pub transitions: usize,
    /// Steps to the furthest state.
    pub depth: usize,
    /// Ticks that the longest run without faults took to settle.
    pub ticks: u8,
    /// A property that doesn't hold, and how it came to that.
    pub violation: Option<(Violation, String)>,
}

/// Where a state was reached from, and by which of the steps there. The states themselves are made again when a trace is wanted.
struct Visit {
    from: u32,
    step: u16,
}

impl Model {
    pub(super) fn search(&self) -> Searched {
        let mut visits: Vec<Visit> = vec![Visit { from: 0, step: 0 }];
        // Of a state only a hash of 64 bits is kept: among a hundred million states the odds that two share one are 1 to 3,700.
        let mut known: Map<u64, ()> = Map::default();
        let mut calm = Calm::default();
        let mut queue = VecDeque::from([(self.start(), 0_u32)]);
        let mut found = Searched { states: 1, transitions: 0, depth: 0, ticks: 0, violation: None };
        let mut this_depth = 1;
        known.insert(FIXED.hash_one(self.start()), ());
        while let Some((state, index)) = queue.pop_front() {
            let mut step = 0;
            let verdict = self.successors(&state, &mut |_, next| {
                if known.insert(FIXED.hash_one(next), ()).is_none() {
                    queue.push_back((next, visits.len() as u32));
                    visits.push(Visit { from: index, step });
                }
                step += 1;
            });
            assert!(visits.len() <= MOST_STATES, "{:?} has more than {MOST_STATES} states: bound it more", self.bounds);
            found.transitions += usize::from(step);
            let settled =
                verdict.and_then(|()| if self.looks_for_the_end() { self.settles(&state, &mut calm) } else { Ok(0) });
            match settled {
                Ok(ticks) => found.ticks = found.ticks.max(ticks),
                Err(violation) => {
                    found.violation = Some((violation, self.trace(&visits, index, &state)));
                    break;
                }
            }
            this_depth -= 1;
            if this_depth == 0 && !queue.is_empty() {
                (this_depth, found.depth) = (queue.len(), found.depth + 1);
            }
        }
        found.states = visits.len();
        found
    }

    fn looks_for_the_end(&self) -> bool {
        use Violation::{NeverSettles, ReadyForNothing, SettlesLate, StalledForNothing};
        self.bounds
            .only
            .is_none_or(|only| matches!(only, NeverSettles | SettlesLate | StalledForNothing | ReadyForNothing))
    }

    /// Every step that may come next; the first that must not be there ends it.
    fn successors(&self, state: &State, emit: &mut Emit<'_>) -> Result<(), Violation> {
        self.processes(state, emit)?;
        self.senders(state, emit)?;
        self.world(state, emit)
    }

    fn trace(&self, visits: &[Visit], index: u32, last: &State) -> String {
        let mut steps = Vec::new();
        let mut at = index;
        while at > 0 {
            let Visit { from, step } = visits[at as usize];
            steps.push(step);
            at = from;
        }
        let mut text = String::new();
        let mut state = self.start();
        for step in steps.into_iter().rev() {
            let mut all = Vec::new();
            let _ = self.successors(&state, &mut |action, next| all.push((action, next)));
            let (action, next) = all[usize::from(step)];
            let _ = writeln!(text, "{action:?}");
            state = next;
        }
        let _ = writeln!(text, "and then, in {last:#?}");
        text
    }
}
