//! A real kube-apiserver and etcd, the simulated cloud, and the operator's own binary, with what a person would use to look at them.

mod children;
mod cloud;
mod cluster;
mod operator;
mod world;

use std::time::{Duration, Instant};

pub use cloud::Simulator;
pub use cluster::{Cluster, Kubectl, repository};
pub use operator::Operator;
pub use world::{KEY, KEYS, SECRET_ID, World, condition, instance, reason, secret, stalled_with};

/// Longer than anything in these tests takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the cloud has been asked `more` times more.
pub async fn wait_for_looks(cloud: &Simulator, more: i64) {
    let before = cloud.calls("DescribeRedis").await;
    wait_for(&format!("{more} more looks"), async || {
        let now = cloud.calls("DescribeRedis").await;
        if now >= before + more { Ok(()) } else { Err(format!("{} more", now - before)) }
    })
    .await;
}

/// Looks until `look` gives Ok; when that takes too long, says what was waited for and what was seen last.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("waited {PATIENCE:?} for {what}; seen last: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
