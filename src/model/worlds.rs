//! The worlds that are searched: each with one kind of trouble beyond the crashes, freezes, losses and delays that all of them have without end.

use super::{Bounds, Model, state::Budget};

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

#[test]
fn scout() {
    let which = std::env::var("SCOUT").unwrap_or_default();
    let all: Vec<(&str, Bounds)> = vec![
        ("growth", GROWTH),
        ("growth3", Bounds { entries: 3, ..GROWTH }),
        ("edits", Bounds { declared: [&[2, 3], &[]], ..GROWTH }),
        ("edits3", Bounds { declared: [&[2, 3, 1, 3], &[]], ..GROWTH }),
        ("edits3one", Bounds { declared: [&[2, 3, 1, 3], &[]], processes: 1, entries: 4, ..GROWTH }),
        ("remakes2", Bounds { budget: Budget { remakes: 2, ..NOTHING }, ..GROWTH }),
        ("two", Bounds { declared: [&[2], &[3]], ..GROWTH }),
        ("fail", Bounds { budget: Budget { failures: 1, ..NOTHING }, ..GROWTH }),
        ("refuse", Bounds { budget: Budget { refusals: 1, ..NOTHING }, ..GROWTH }),
        ("console", Bounds { budget: Budget { console: 1, ..NOTHING }, ..GROWTH }),
        ("drop", Bounds { budget: Budget { drops: 1, ..NOTHING }, ..GROWTH }),
        ("proceed", Bounds { budget: Budget { drops: 1, proceeds: 1, ..NOTHING }, ..GROWTH }),
        ("one5", Bounds { processes: 1, entries: 5, ..GROWTH }),
        ("one4fails", Bounds { processes: 1, entries: 4, budget: Budget { failures: 4, ..NOTHING }, ..GROWTH }),
        (
            "one4all",
            Bounds {
                processes: 1,
                entries: 4,
                declared: [&[2, 3], &[]],
                budget: Budget { remakes: 0, failures: 1, refusals: 1, console: 1, drops: 1, requests: 1, proceeds: 1 },
                ..GROWTH
            },
        ),
    ];
    for (name, bounds) in all {
        if which.is_empty() || which.split(',').any(|w| w == name) {
            report(name, &bounds);
        }
    }
}

fn report(name: &str, bounds: &Bounds) {
    let began = std::time::Instant::now();
    let searched = Model::new(*bounds).search();
    println!(
        "{name}: {} states, {} transitions, depth {}, settles within {} ticks, {:.1} s{}",
        searched.states,
        searched.transitions,
        searched.depth,
        searched.ticks,
        began.elapsed().as_secs_f64(),
        searched.violation.as_ref().map(|(violation, trace)| format!(": {violation:?}\n{trace}")).unwrap_or_default()
    );
}
