//! The worlds that are searched: each has one kind of trouble beyond the crashes, freezes, losses and delays that all of them have without end.
//! `make verify` searches larger ones.

use rstest::rstest;

use super::{Bounds, Model, judge::Violation, mutations::Mutation, state::Budget};

pub(super) const NOTHING: Budget =
    Budget { remakes: 0, failures: 0, refusals: 0, console: 0, drops: 0, requests: 0, proceeds: 0 };

/// Two processes, and one `RedisInstance` that wants 2 GB of an instance of 1 GB.
pub(super) const GROWTH: Bounds = Bounds {
    sizes: 3,
    entries: 2,
    processes: 2,
    lag: 1,
    lifetime: 2,
    shrinks: false,
    declared: [&[2], &[]],
    budget: NOTHING,
    mutation: None,
    only: None,
};

/// Up, higher, down and up again.
const EDITS: Bounds = Bounds { declared: [&[2, 3, 1, 3], &[]], ..GROWTH };
/// Up, down and up again.
const FEWER_EDITS: Bounds = Bounds { sizes: 2, declared: [&[2, 1, 2], &[]], ..GROWTH };
/// Two `RedisInstance`s of one instance.
const RIVALS: Bounds = Bounds { declared: [&[2], &[3]], ..GROWTH };
/// A `RedisInstance` that is deleted and made again.
const REMAKES: Bounds = Bounds { budget: Budget { remakes: 2, ..NOTHING }, ..GROWTH };
/// Deals that fail.
const FAILURES: Bounds = Bounds { budget: Budget { failures: 1, ..NOTHING }, ..GROWTH };
/// Orders refused for want of money or stock, and somebody who asks again.
const REFUSALS: Bounds = Bounds { budget: Budget { refusals: 1, requests: 1, ..NOTHING }, ..GROWTH };
/// A person makes the instance larger in the console.
const CONSOLE: Bounds = Bounds { budget: Budget { console: 1, ..NOTHING }, ..GROWTH };
/// What was bought is gone again, and a person says to go on.
const REGRESSION: Bounds = Bounds { budget: Budget { drops: 1, proceeds: 1, ..NOTHING }, ..GROWTH };
/// Three that act at once.
const CROWD: Bounds = Bounds { processes: 3, ..GROWTH };

/// What the cloud takes shows later, and requests live longer.
const SLOW: Bounds = Bounds { lag: 2, lifetime: 3, ..GROWTH };

/// Two kinds of trouble at once: the size is edited while deals fail.
const EDITED_FAILURES: Bounds = Bounds { declared: [&[2, 3], &[]], ..FAILURES };
/// Two `RedisInstance`s of one instance, and a person in the console.
const RIVALS_AND_CONSOLE: Bounds = Bounds { budget: CONSOLE.budget, ..brief(RIVALS) };

const fn deep(entries: usize, bounds: Bounds) -> Bounds {
    Bounds { entries, ..bounds }
}

const fn alone(entries: usize, bounds: Bounds) -> Bounds {
    Bounds { processes: 1, entries, ..bounds }
}

/// Requests live for one tick.
const fn brief(bounds: Bounds) -> Bounds {
    Bounds { lifetime: 1, ..bounds }
}

const fn v3(bounds: Bounds) -> Bounds {
    Bounds { shrinks: true, ..bounds }
}

#[rstest]
#[case::growth(deep(3, GROWTH), deep(4, GROWTH))]
#[case::growth_v3(v3(GROWTH), deep(3, v3(GROWTH)))]
#[case::edits(brief(FEWER_EDITS), EDITS)]
#[case::edits_alone(alone(2, EDITS), alone(3, EDITS))]
#[case::edits_v3_alone(alone(2, v3(EDITS)), alone(3, v3(EDITS)))]
#[case::rivals(brief(RIVALS), RIVALS)]
#[case::remakes(brief(REMAKES), REMAKES)]
#[case::remakes_alone(alone(3, REMAKES), alone(4, REMAKES))]
#[case::failures(FAILURES, deep(3, FAILURES))]
#[case::refusals(brief(REFUSALS), REFUSALS)]
#[case::console_alone(alone(3, CONSOLE), alone(4, CONSOLE))]
#[case::console_v3(v3(CONSOLE), deep(3, v3(CONSOLE)))]
#[case::regression(brief(REGRESSION), deep(3, REGRESSION))]
#[case::regression_alone(alone(3, REGRESSION), alone(4, REGRESSION))]
#[case::three_processes(brief(CROWD), CROWD)]
#[case::a_longer_lag(SLOW, deep(3, SLOW))]
#[case::patience(alone(5, GROWTH), alone(5, Bounds { budget: Budget { failures: 4, ..NOTHING }, ..GROWTH }))]
#[case::edits_and_failures(alone(2, EDITED_FAILURES), EDITED_FAILURES)]
#[case::rivals_and_console(alone(2, RIVALS_AND_CONSOLE), RIVALS_AND_CONSOLE)]
fn no_growth_is_paid_twice_and_each_settles_whatever_comes_in_between(#[case] bounds: Bounds, #[case] larger: Bounds) {
    let bounds = if std::env::var_os("VERIFY").is_some() { larger } else { bounds };
    let began = std::time::Instant::now();
    let found = Model::new(bounds).search();
    println!(
        "{}: {} states, {} transitions, depth {}, settles within {} ticks, {:.1} s",
        std::thread::current().name().and_then(|name| name.rsplit("::").next()).unwrap_or("a world"),
        found.states,
        found.transitions,
        found.depth,
        found.ticks,
        began.elapsed().as_secs_f64()
    );
    if let Some((violation, trace)) = found.violation {
        panic!("{violation:?}\n{trace}");
    }
    let careless = Bounds { mutation: Some(Mutation::NoWait), only: Some(Violation::PaidTwice), ..bounds };
    assert!(
        Model::new(careless).search().violation.is_some(),
        "whatever is done in this world, nothing can be paid twice"
    );
}
