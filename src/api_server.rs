//! Calls of the API server: bounded in time, and what it says when it refuses, in words for people.

use std::{fmt::Debug, future::ready, time::Duration};

use futures::{Stream, StreamExt};
use http::{Request, Uri};
use kube::{
    Api, Client, Resource,
    api::ObjectMeta,
    client::Body,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// The bound of an ordinary call.
pub const CALL: Duration = Duration::from_secs(5);

/// Objects in one answer of a list.
const PAGE: u32 = 500;

/// A watch that begins with all there is, in a namespace or everywhere: in a stream, so that neither side holds it all at once; or in pages,
/// where the API server refuses that, at once or in the stream (`WatchList` is on by default since Kubernetes 1.34, and needs an etcd that tells
/// its progress).
pub fn watched<K>(client: Client, namespace: Option<&str>) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let client = up_to_date(client);
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let pages = watcher(api.clone(), Config::default().page_size(PAGE)).default_backoff();
    let stream = watcher(api, Config::default().streaming_lists()).default_backoff();
    let mut is_listing = true;
    let mut is_refused = move |event: &watcher::Result<_>| {
        match event {
            Ok(Event::Init) => is_listing = true,
            Ok(Event::InitDone) => is_listing = false,
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) => {
                return status.code == 422 || is_listing && !matches!(status.code, 401 | 403);
            }
            Err(watcher::Error::WatchError(status)) => return is_listing && status.code != 410,
            _ => {}
        }
        false
    };
    stream.take_while(move |event| ready(!is_refused(event))).chain(pages)
}

/// A client that is told in a stream what there is now. kube's watcher asks for the version 0, for which the API server may tell what was
/// long ago; then an older `RedisInstance`, which owns the instance, could still be to come (invariant B8).
fn up_to_date(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        if let Some(uri) = without_version(request.uri()) {
            *request.uri_mut() = uri;
        }
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, namespace)
}

fn without_version(uri: &Uri) -> Option<Uri> {
    let is_stream = uri.query()?.contains("sendInitialEvents=true");
    is_stream.then(|| uri.to_string().replace("&resourceVersion=0", "").parse().ok())?
}

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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::Response;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    const REFUSAL: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,
        "message":"sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"}"#;
    const LIST: &str = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7"},
        "items":[{"metadata":{"name":"a","resourceVersion":"5"}}]}"#;
    const STREAM: &str = concat!(
        r#"{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"5"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n"
    );

    const ERROR: &str = concat!(
        r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"a watch stream was requested, but the required storage feature RequestWatchProgress is disabled"}}"#,
        "\n"
    );

    /// The first events of a watch, where the API server answers so to who wants a stream; they end with the list.
    async fn first_events(code: u16, answer: &'static str) -> Vec<String> {
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let is_stream = query.contains("sendInitialEvents=true");
            assert!(!is_stream || !query.contains("resourceVersion="), "of now: {query}");
            let (code, text) = if is_stream { (code, answer) } else { (200, LIST) };
            let answer = Response::builder().status(code).body(Body::from(text.as_bytes().to_vec()));
            async move { answer }
        });
        let mut events = pin!(watched::<ConfigMap>(Client::new(service, "shop"), Some("shop")));
        let mut told = Vec::new();
        loop {
            match events.next().await.expect("a watch never ends").expect("nothing fails") {
                Event::Init => told.push("Init".to_owned()),
                Event::InitApply(object) => told.push(object.metadata.name.unwrap_or_default()),
                Event::InitDone => return told,
                event => panic!("{event:?}"),
            }
        }
    }

    #[tokio::test]
    async fn all_there_is_comes_in_a_stream_of_what_is_now_or_in_pages_where_that_is_refused() {
        assert_eq!(first_events(200, STREAM).await, ["Init", "a"]);
        assert_eq!(first_events(422, REFUSAL).await, ["Init", "a"]);
        assert_eq!(first_events(200, ERROR).await, ["Init", "Init", "a"], "begun, and refused then");
    }
}
