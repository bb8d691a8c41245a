//! Histories: the real operator, with kube's real watchers and controller, in a world of its own, drawn from a seed and in virtual time.
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
//! seeded); and each `RedisInstance` has a namespace, and so a controller, of its own, for kube's runtime keeps what is due in hash maps with random
//! keys, which of a single object have one order only.
//!
//! The [`judge`] reads book and ledger while they are written; [`settled`] says whether all ended well.
//!
//! `HISTORIES=n` runs so many, from seed `FIRST`; `HISTORY=seed` tells that one in full.

mod chance;
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

use history::{Broken, Told, run};
use judge::{KEYS, SECRETS};
use parking_lot::Mutex;

/// `make verify` runs a hundred times as many.
const HISTORIES: u64 = 10_000;
/// Of 109 kinds of faults, each point of a crash and a freeze for itself.
const KINDS: usize = 106;
/// So many histories have all of them, but for the rarest (a crash while a deal is asked for).
const ENOUGH: u64 = 10_000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Default)]
struct Sum {
    faults: BTreeMap<&'static str, u64>,
    broken: BTreeMap<u64, String>,
    orders: usize,
    virtual_hours: f64,
}

/// Runs the histories of these seeds on all cores, until so many broke a rule.
fn run_all(first: u64, count: u64, broken: Broken, enough: usize) -> Sum {
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
                    let Told { verdict, faults, orders, took, .. } = run(seed, broken, false);
                    let mut sum = sum.lock();
                    for (fault, times) in faults {
                        *sum.faults.entry(fault).or_default() += times;
                    }
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
        let told = run(seed, Broken::Nothing, true);
        println!("history {seed}: {}", told.verdict.as_deref().unwrap_or("all well"));
        assert_eq!(told.verdict, None);
        return;
    }
    let (first, count) = (from_environment("FIRST").unwrap_or(0), from_environment("HISTORIES").unwrap_or(HISTORIES));
    let began = Instant::now();
    let sum = run_all(first, count, Broken::Nothing, 20);
    println!(
        "{count} histories from seed {first} in {:.1} s: {:.0} hours of virtual time, {} orders taken",
        began.elapsed().as_secs_f64(),
        sum.virtual_hours,
        sum.orders
    );
    for (fault, times) in &sum.faults {
        println!("{times:>9} {fault}");
    }
    for (seed, verdict) in &sum.broken {
        println!("broken: {verdict}\n    HISTORY={seed} cargo test --lib histories::whatever -- --nocapture");
    }
    assert!(sum.broken.is_empty(), "{} histories broke a rule", sum.broken.len());
    assert!(count < ENOUGH || sum.faults.len() >= KINDS, "only {} kinds of faults have struck", sum.faults.len());
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..50 {
        assert_eq!(run(seed, Broken::Nothing, false).hash, run(seed, Broken::Nothing, false).hash, "seed {seed}");
    }
}

/// What the promise rests on (docs/money-safety.md) is needed for it, and the judge sees when it is gone.
#[rstest::rstest]
#[case::names_that_can_be_taken_twice(Broken::Uniqueness)]
#[case::a_cloud_that_takes_older_requests(Broken::Window)]
#[case::a_cloud_that_shows_later(Broken::Lag)]
#[case::an_order_that_is_repeated_on_its_way(Broken::Repeated)]
#[case::an_unclear_answer_taken_for_a_refusal(Broken::UnclearIsRefused)]
#[case::writes_whatever_was_written_meanwhile(Broken::BlindWrites)]
#[case::a_consistent_read_that_is_none(Broken::StaleLists)]
fn an_assumption_that_is_broken_is_found(#[case] broken: Broken) {
    let found = run_all(0, 5000, broken, 1).broken;
    let (seed, verdict) = found.first_key_value().expect("the judge finds it");
    println!("{broken:?}: history {seed}: {verdict}");
    assert!(["paid twice", "B4", "B5", "ledger", "is Placed"].iter().any(|rule| verdict.contains(rule)), "{verdict}");
}

/// At the level that tells most. (What is sent to the API server is looked through in every history.)
#[test]
fn no_log_line_has_a_secret_in_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        for seed in 0..40 {
            run(seed, Broken::Nothing, false);
        }
    });
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
