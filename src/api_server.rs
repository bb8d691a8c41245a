//! What the API server says when it refuses, in words for people.

use kube::runtime::watcher;

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
