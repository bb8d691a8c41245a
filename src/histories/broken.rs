//! What is broken on purpose, to see whether the judge finds it: what the promise rests on, line by line of docs/money-safety.md, and what the
//! operator's own parts owe it.

use jiff::SignedDuration;

use super::{
    people::{Act, FIRST},
    plan::Plan,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Broken {
    #[default]
    Nothing,
    /// The cloud takes requests older than W.
    Window,
    /// What the cloud takes shows later than L.
    Lag,
    /// Something between the operator and the cloud repeats each order.
    Repeated,
    /// The front ends that a process meets at first are ten minutes ahead, and so is its machine.
    ClocksTogether,
    /// The cloud's clock goes ahead by many steps, each too small to be noticed.
    SmallSteps,
    /// What is delivered never shows.
    NeverShows,
    /// The cloud refuses an order plainly, and has taken it; and somebody asks for it again and again.
    RefusedIsTaken,
    /// The client takes an unclear answer to an order for a refusal.
    UnclearIsRefused,
    /// The API server lets a name be taken twice.
    Uniqueness,
    /// Its consistent reads are from a cache.
    StaleLists,
    /// It carries writes out whatever their resourceVersion.
    BlindWrites,
    /// A person deletes the entries that aren't settled.
    UnsettledDeleted,
    /// A person deletes the entries that are.
    SettledDeleted,
}

/// By so much front ends and machine are ahead together.
pub(super) const TOGETHER: SignedDuration = SignedDuration::from_mins(10);
/// A person does so, where one does it often.
const EVERY: usize = 10_000;

impl Broken {
    /// How the world is then.
    pub(super) fn upset(self, plan: &mut Plan) {
        match self {
            Self::Window => plan.nature.window = 7_200_000,
            Self::Lag => plan.nature.begins_within = 600_000,
            Self::NeverShows => plan.nature.shows = false,
            Self::RefusedIsTaken => often(plan, Act::Request(FIRST)),
            Self::UnsettledDeleted => often(plan, Act::DeleteEntries { settled: false }),
            Self::SettledDeleted => often(plan, Act::DeleteEntries { settled: true }),
            _ => {}
        }
        plan.broken = self;
    }
}

fn often(plan: &mut Plan, act: Act) {
    plan.acts.extend((0..plan.calm_at).step_by(EVERY).map(|when| (when, act)));
    plan.acts.sort_by_key(|(when, _)| *when);
}
