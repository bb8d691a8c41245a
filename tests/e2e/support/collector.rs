//! A collector of traces: what the operator delivers by OTLP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::world::{KEY, SECRET_ID};
use super::{leaks, wait_for};

/// A span as it came, with its attributes and those of its process.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Option<Vec<u8>>,
    /// In nanoseconds.
    pub end: u64,
    /// As OTLP numbers it: 1 internal, 3 client.
    pub kind: i32,
    /// What went wrong.
    pub error: Option<String>,
    pub attributes: BTreeMap<String, String>,
    pub process: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; nothing when it is absent.
    pub fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

/// Ends when dropped.
pub struct Collector {
    url: String,
    delivered: Arc<Mutex<Vec<Bytes>>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let delivered = Arc::default();
        let take = async |State(delivered): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes| delivered.lock().push(body);
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&delivered));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Collector { url, delivered, task }
    }

    /// What `--otlp-endpoint` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.delivered.lock().iter().flat_map(spans).collect()
    }

    /// Waits for a span like this.
    pub async fn wait_for(&self, what: &str, is: impl Fn(&Span) -> bool) -> Span {
        wait_for(what, async || {
            let spans = self.spans();
            spans.iter().find(|span| is(span)).cloned().ok_or_else(|| format!("{spans:?}"))
        })
        .await
    }
}

impl Drop for Collector {
    /// In whatever test: no secret, signature or key's id is ever delivered.
    fn drop(&mut self) {
        self.task.abort();
        for body in self.delivered.lock().iter() {
            let text = String::from_utf8_lossy(body);
            leaks::assert_none("a trace", &text);
            assert!(std::thread::panicking() || !text.contains(SECRET_ID), "a trace has {SECRET_ID} in it: {text}");
        }
    }
}

fn spans(body: &Bytes) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
    let mut spans = Vec::new();
    for of_a_process in request.resource_spans {
        let process = texts(of_a_process.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_a_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: Some(span.parent_span_id).filter(|id| !id.is_empty()),
                end: span.end_time_unix_nano,
                kind: span.kind,
                error: span.status.filter(|status| status.code == 2).map(|status| status.message),
                attributes: texts(span.attributes),
                process: process.clone(),
            });
        }
    }
    spans
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| match attribute.value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => (attribute.key, text),
        other => panic!("{} is no text: {other:?}", attribute.key),
    };
    attributes.into_iter().map(text).collect()
}

#[tokio::test]
#[should_panic(expected = "a trace has key-of-the-shop-nobody-may-see in it")]
async fn a_span_with_a_secret_in_it_fails_its_test() {
    Collector::start().await.delivered.lock().push(Bytes::from(KEY));
}
