//! Calls of the API server: bounded in time, and what it says when it refuses, in words for people.

use std::time::Duration;

use kube::{api::ObjectMeta, runtime::watcher};
use tokio::time::timeout;

/// The bound of an ordinary call.
pub const CALL: Duration = Duration::from_secs(5);

/// Waits so long for an answer; what became of the call is not known after that.
pub async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let silent = |_| Err(kube::Error::Service(format!("the API server did not answer within {limit:?}").into()));
    timeout(limit, call).await.unwrap_or_else(silent)
}

/// The error without Rust's words around it.
pub fn plain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 && status.details.is_none() => {
            "the cluster doesn't know this kind of object: install the CRDs first (crs-operator crd | kubectl apply --server-side -f -)".into()
        }
        kube::Error::Api(status) => status.message.clone(),
        kube::Error::Service(cause) => cause.to_string(),
        error => error.to_string(),
    }
}

/// The same for what ends a watch.
pub fn plain_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => plain(error),
        error => error.to_string(),
    }
}

/// Which of two states of an object is the newer one. resourceVersions are comparable numbers (Kubernetes says so since 1.35, and etcd has
/// always made them so).
pub fn version(of: &ObjectMeta) -> u64 {
    number(of.resource_version.as_deref())
}

pub fn number(resource_version: Option<&str>) -> u64 {
    resource_version.and_then(|version| version.parse().ok()).unwrap_or(0)
}
