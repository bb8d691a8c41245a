//! What ten thousand instances cost, on a real API server and etcd and a simulated cloud: crs-operator, and beside it, in the same run, a plain
//! controller-runtime manager that does the same job (`benches/peer`). `make bench` runs it; arguments are the numbers of `RedisInstance`s.
//!
//! Docs: `docs/benchmarks.md`.

mod contestant;
mod fleet;
mod growth;
mod meter;
#[path = "../../tests/e2e/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod support;

use std::time::Duration;

use contestant::{Contestant, OURS, PEER};
use fleet::Fleet;
use meter::{Cost, Meter};

/// Of so many restarts the one in the middle is told.
const RESTARTS: usize = 3;
/// Runs of a minute, after so long in which what was begun may end.
const REST: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 100_000] } else { sizes };
    println!(
        "| RedisInstances | | until all are observed, s | resident MB (peak) | CPU s | API server writes | cloud calls |"
    );
    println!("|---|---|---|---|---|---|---|");
    for size in sizes {
        let fleet = Fleet::new(size).await;
        // Nothing is known of them: each gets its status. Then, with all statuses right, from whoever they are.
        for contestant in [OURS, PEER] {
            fleet.forget_statuses().await;
            // So that nobody is looked at twice while it takes longer than a minute.
            row(size, contestant.name, "first start", start(contestant, &fleet, "1h").await.cost);
            let mut restarts = Vec::new();
            for _ in 0..RESTARTS - 1 {
                restarts.push(start(contestant, &fleet, "1m").await.cost);
            }
            let started = start(contestant, &fleet, "1m").await;
            restarts.push(started.cost);
            restarts.sort_by_key(|cost| cost.time);
            row(size, contestant.name, "restart", restarts.swap_remove(RESTARTS / 2));
            tokio::time::sleep(REST).await;
            let meter = Meter::start(&fleet, &started.running).await;
            tokio::time::sleep(STEADY).await;
            row(size, contestant.name, "a steady minute", meter.read(&fleet, &started.running).await);
        }
    }
    growth::measure(10_000).await;
}

struct Started {
    running: contestant::Running,
    cost: Cost,
}

/// Starts one, and waits until it has observed them all.
async fn start(contestant: Contestant, fleet: &Fleet, resync: &str) -> Started {
    let before = Meter::before(fleet).await;
    let running = contestant.start(&fleet.cluster.kubeconfig(), fleet.cloud.url(), resync, "0");
    running.wait_until_observed(fleet.size).await;
    Started { cost: before.read(fleet, &running).await, running }
}

fn row(size: usize, name: &str, what: &str, cost: Cost) {
    let Cost { time, resident, peak, cpu, writes, calls } = cost;
    println!(
        "| {size} | {name}, {what} | {:.2} | {resident:.0} ({peak:.0}) | {cpu:.2} | {writes} | {calls} |",
        time.as_secs_f64()
    );
}
