//! A real kube-apiserver and etcd, the simulated cloud, and the operator's own binary, with what a person would use to look at them.

mod api;
pub mod children;
mod cloud;
mod cluster;
mod collector;
#[cfg(feature = "failpoints")] // the benchmarks measure what is released
mod failpoints;
mod fleet;
mod leaks;
mod operator;
mod proxy;
mod world;

use std::time::{Duration, Instant};

pub use api::Api;
pub use cloud::Simulator;
pub use cluster::{Cluster, Kubectl, repository};
pub use collector::Collector;
#[cfg(feature = "failpoints")]
pub use failpoints::{When, failpoint, points, seed};
pub use fleet::member;
pub use operator::Operator;
pub use proxy::{Proxy, Twice};
pub use world::{KEY, KEYS, SECRET_ID, World, codes, condition, instance, message, reason, secret, stalled_with};

/// Longer than anything in these tests takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until `look` gives Ok; when that takes too long, says what was waited for and what was seen last.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("waited {PATIENCE:?} for {what}; seen last: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
