//! What the API server says when it refuses, in words for people.

use kube::{api::ObjectMeta, runtime::watcher};

/// The error without Rust's words around it.
pub fn plain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 && status.details.is_none() => {
            "the cluster doesn't know this kind of object: install the CRDs first (crs-operator crd | kubectl apply --server-side -f -)".into()
        }
        kube::Error::Api(status) => status.message.clone(),
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
