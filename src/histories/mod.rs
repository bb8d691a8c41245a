//! Histories: the real operator, with kube's real watchers, in a world of its own, drawn from a seed and in virtual time.
//!
//! What is real is all between [`kube::Client`] and [`crate::cloud::Cloud`]. Below the one is an API server that keeps its objects in memory, by
//! the real rules ([`store`], [`server`], [`watch`]); behind the other a cloud with a time of its own ([`vendor`], [`front`], [`faults`]). One or two
//! [`process`]es, both active (no leader is assumed), each on a runtime with paused time, run in turns on one thread: while one has its turn the
//! others are frozen, however long that is, and when its turn comes its clock is set on to the world's. So time is exact, and a turn of minutes
//! is a process frozen past its lease and its order's lifetime.
//!
//! **A crash at every await point.** A request to the API server or the cloud is three points: before it is carried out, carried out, answered
//! ([`gate`]). At a drawn one the power of a process goes: from then on nothing that it does has an effect, and its runtime is dropped. Between two
//! such points a process changes nothing but its own memory, which a crash takes away whole; so a crash at any other await, or in the middle of
//! code without one, can't be told from one at the next point. A list of these points is a list of all crashes that there are.
//!
//! **The same seed is the same history.** One thread; clock and chance are handed in (kube's and backon's jitter comes from fastrand, which is
//! seeded); and where the operator does something for each of a hash map it does so in order.
//!
//! The [`judge`] reads book and ledger while they are written; [`settled`] says whether all ended well.
//!
//! `HISTORIES=n` runs so many, from seed `FIRST`; `HISTORY=seed` tells that one in full.

mod broken;
mod chance;
mod counts;
mod faults;
mod front;
mod gate;
mod history;
mod judge;
mod people;
mod plan;
mod process;
mod server;
mod settled;
mod store;
mod vendor;
mod watch;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use broken::Broken;
use counts::Counts;
use history::{Told, run};
use judge::{KEYS, SECRETS};
use parking_lot::Mutex;

/// `make verify` runs a hundred times as many.
const HISTORIES: u64 = 10_000;
/// So many have every fault, every stop of a process, every act of people.
const ENOUGH: u64 = 10_000;

const PAID_TWICE: &str = "paid twice";
const NOT_SEEN: &str = "L1: not settled in time: a/cache is Stalled for a reason that isn't true: \"SizeNotSeen\"";

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Default)]
struct Sum {
    counts: Counts,
    broken: BTreeMap<u64, String>,
    orders: usize,
    virtual_hours: f64,
}

/// Runs the histories of these seeds on all cores, until so many broke a rule.
fn run_all(first: u64, count: u64, broken: Broken, rule: Option<&'static str>, enough: usize) -> Sum {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || sum.lock().broken.len() >= enough {
                        return;
                    }
                    let Told { verdict, counts, orders, took, .. } = run(seed, broken, rule, false);
                    let mut sum = sum.lock();
                    sum.counts.add(counts);
                    sum.orders += orders;
                    sum.virtual_hours += took as f64 / 3_600_000.0;
                    if let Some(verdict) = verdict {
                        sum.broken.insert(seed, verdict);
                    }
                }
            });
        }
    });
    sum.into_inner()
}

#[test]
fn whatever_fails_nothing_is_paid_twice_and_all_settles() {
    if let Some(seed) = from_environment("HISTORY") {
        let told = run(seed, Broken::Nothing, None, true);
        println!("history {seed}: {}", told.verdict.as_deref().unwrap_or("all well"));
        assert_eq!(told.verdict, None);
        return;
    }
    let (first, count) = (from_environment("FIRST").unwrap_or(0), from_environment("HISTORIES").unwrap_or(HISTORIES));
    let began = Instant::now();
    let sum = run_all(first, count, Broken::Nothing, None, 20);
    println!(
        "{count} histories from seed {first} in {:.1} s: {:.0} hours of virtual time, {} orders taken",
        began.elapsed().as_secs_f64(),
        sum.virtual_hours,
        sum.orders
    );
    print!("{}", sum.counts);
    for (seed, verdict) in &sum.broken {
        println!("broken: {verdict}\n    HISTORY={seed} cargo test --lib histories::whatever -- --nocapture");
    }
    assert!(sum.broken.is_empty(), "{} histories broke a rule", sum.broken.len());
    let missing = sum.counts.missing();
    assert!(count < ENOUGH || missing.is_empty(), "missing, or not on the list: {missing:?}");
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..50 {
        let [once, again] = [(); 2].map(|()| run(seed, Broken::Nothing, None, false).hash);
        assert_eq!(once, again, "seed {seed}");
    }
}

/// What the promise rests on (docs/money-safety.md) is needed for it, and the judge sees by which rule it is lost.
#[rstest::rstest]
#[case::a_cloud_that_takes_older_requests(Broken::Window, PAID_TWICE)]
#[case::a_cloud_that_shows_later(Broken::Lag, PAID_TWICE)]
#[case::an_order_that_is_repeated_on_its_way(Broken::Repeated, PAID_TWICE)]
#[case::front_ends_apart_and_a_machine_as_wrong(Broken::ClocksTogether, PAID_TWICE)]
#[case::small_steps_of_the_clouds_clock(Broken::SmallSteps, PAID_TWICE)]
#[case::a_delivered_size_that_never_shows(Broken::NeverShows, NOT_SEEN)]
#[case::a_size_that_never_shows_and_whose_answer_was_lost(Broken::NeverShows, PAID_TWICE)]
#[case::a_plain_refusal_of_what_was_taken(Broken::RefusedIsTaken, PAID_TWICE)]
#[case::an_unclear_answer_taken_for_a_refusal(Broken::UnclearIsRefused, PAID_TWICE)]
#[case::names_that_can_be_taken_twice(Broken::Uniqueness, PAID_TWICE)]
// The names are taken once all the same: no money is at risk.
#[case::a_consistent_read_that_is_none(Broken::StaleLists, "L1")]
#[case::writes_whatever_was_written_meanwhile(Broken::BlindWrites, "B5")]
#[case::unsettled_entries_that_are_deleted(Broken::UnsettledDeleted, PAID_TWICE)]
#[case::settled_entries_that_are_deleted(Broken::SettledDeleted, PAID_TWICE)]
fn an_assumption_that_is_broken_is_found(#[case] broken: Broken, #[case] rule: &'static str) {
    let found = run_all(0, 10_000, broken, Some(rule), 1).broken;
    let (seed, verdict) = found.first_key_value().expect("the judge finds it");
    println!("{broken:?}: history {seed}: {verdict}");
}

/// At the level that tells most. (What is sent to the API server is looked through in every history.)
#[test]
fn no_log_line_has_a_secret_in_it() {
    let log = Log::default();
    let writer = log.clone();
    let mut counts = Counts::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        for seed in 0..300 {
            // A place that another test comes to first is taken for one that nobody listens to.
            tracing::callsite::rebuild_interest_cache();
            counts.add(run(seed, Broken::Nothing, None, false).counts);
        }
    });
    assert!(counts.crashes() > 0 && counts.of("order: refused plainly") > 0);
    let log = log.0.lock();
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("the cloud accepted the order"), "all is logged");
    for secret in SECRETS {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    for key in KEYS {
        assert!(!text.contains(&people::encoded(key)), "not as the Secret has it, either");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
