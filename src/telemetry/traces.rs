//! Traces: our own spans, delivered by OTLP. A collector that is slow or away is not felt here: the queue is bounded and read by a thread of
//! its own, each delivery has its time, and what doesn't fit is dropped.

use std::{
    iter,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use reqwest::{Client, Url, redirect};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

const CRATE: &str = env!("CARGO_CRATE_NAME");
/// Of our spans: below that of the log, whose lines stay as short as they are.
const LEVEL: LevelFilter = LevelFilter::DEBUG;
/// Where OTLP over HTTP takes spans, unless the address says otherwise.
const PATH: &str = "/v1/traces";
const CONNECT: Duration = Duration::from_secs(2);
/// For one delivery, with all its tries.
const DELIVERY: Duration = Duration::from_secs(5);
/// For what is left when the process ends.
const LAST_DELIVERY: Duration = Duration::from_secs(1);

/// Makes spans, and delivers them in batches: by default after 5 s or 512 of them, and no more than 2048 wait. (`OTEL_BSP_*` sets that, and
/// `OTEL_TRACES_SAMPLER` how many are made.)
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// `endpoint` is the collector's URL; the standard path is added to one that has none. `identity` is what no other process is called.
    /// Needs a runtime.
    ///
    /// # Errors
    /// The URL can't be used, or root certificates can't be loaded; in words for who has set it.
    pub fn to(endpoint: &str, identity: &str) -> Result<Self, String> {
        let endpoint = parse_endpoint(endpoint)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(&endpoint)?)
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(DELIVERY)
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name("crs-operator").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", identity.to_owned()),
        ]);
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter);
        Ok(Self { provider: provider.build() })
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(CRATE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_ours).with_max_level_hint(LEVEL))
    }

    /// Delivers what is left, as far as that goes in a second.
    pub async fn shut_down(self) {
        let provider = self.provider;
        let delivered = spawn_blocking(move || provider.shutdown_with_timeout(LAST_DELIVERY)).await;
        if !matches!(delivered, Ok(Ok(()))) {
            tracing::info!("the last traces could not be delivered in time");
        }
    }
}

/// A span, and one of ours. kube's have whole URLs in them, and those of its watches never end; log lines are not told twice.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(CRATE) && *metadata.level() <= LEVEL
}

/// Sends what the exporter's thread hands over, on the runtime that thread has not; and tells when that begins to fail, once.
#[derive(Debug)]
struct Collector {
    client: Client,
    runtime: Handle,
    fails: AtomicBool,
}

impl Collector {
    fn new(endpoint: &str) -> Result<Self, String> {
        // reqwest panics where no provider is installed yet; after `main` has installed one this does nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("crs-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(DELIVERY)
            .redirect(redirect::Policy::none());
        // Without TLS no root certificates are needed, and a small image may have none.
        let client = if endpoint.starts_with("http:") { client.tls_certs_only([]) } else { client };
        let client = client.build().map_err(|error| {
            let cause = root_cause(&error);
            format!("can't set up TLS for the collector: {cause}; are root certificates installed, or does SSL_CERT_FILE name some?")
        })?;
        Ok(Self { client, runtime: Handle::current(), fails: AtomicBool::new(false) })
    }

    /// One line for each change, however often it is tried.
    fn tell(&self, trouble: Option<String>) {
        match (self.fails.swap(trouble.is_some(), Ordering::Relaxed), trouble) {
            (false, Some(trouble)) => tracing::warn!(
                trouble,
                "traces can't be delivered to the collector of --otlp-endpoint: until they can be they are dropped"
            ),
            (true, None) => tracing::info!("traces are delivered again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move { client.send_bytes(request).await }).await?;
        self.tell(match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("HTTP status {}", response.status())),
            Err(error) => Some(root_cause(&**error)),
        });
        answer
    }
}

/// What reqwest itself says of an error has the URL in it.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let root = iter::successors(error.source(), |error| error.source()).last();
    root.map_or_else(|| "the request could not be made, or its answer not be read".to_owned(), ToString::to_string)
}

fn parse_endpoint(endpoint: &str) -> Result<String, String> {
    let mut url =
        Url::parse(endpoint).map_err(|error| format!("it is no URL ({error}): write it as http://HOST:4318"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with http:// or https://".to_owned());
    }
    let user = !url.username().is_empty() || url.password().is_some();
    if user || url.query().is_some() || url.fragment().is_some() {
        return Err("it must not hold a user name, a password, a query (?) or a fragment (#): a token goes into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing_subscriber::EnvFilter;

    use super::{
        super::{LogFormat, subscriber},
        *,
    };

    #[test]
    fn the_standard_path_is_added_to_an_address_that_has_none() {
        for (given, used) in [
            ("http://collector.tracing:4318", "http://collector.tracing:4318/v1/traces"),
            ("https://collector.example/", "https://collector.example/v1/traces"),
            ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(parse_endpoint(given).as_deref(), Ok(used));
        }
    }

    #[test]
    fn an_address_that_can_not_be_used_is_refused_without_repeating_it() {
        for (given, says) in [
            ("", "no URL"),
            ("http://", "no URL"),
            ("secret:4318", "http:// or https://"),
            ("grpc://secret:4317", "http:// or https://"),
            ("https://user:secret@collector.example", "user name"),
            ("https://collector.example/?token=secret", "query"),
            ("https://collector.example/#secret", "fragment"),
        ] {
            let error = parse_endpoint(given).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{given}: {error}");
        }
    }

    #[tokio::test]
    async fn a_log_line_is_the_same_whether_there_are_traces_or_not() {
        let traces = Traces::to("http://127.0.0.1:1", "me").unwrap();
        let lines = |traces, level| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let subscriber = subscriber(LogFormat::Text, EnvFilter::new(level), file.reopen().unwrap(), traces);
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug_span!("reconcile", name = "sessions").in_scope(|| {
                    tracing::info!("one");
                    tracing::debug!("two");
                });
            });
            let written = fs::read_to_string(file.path()).unwrap();
            written.lines().map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned()).collect::<Vec<_>>()
        };
        let here = module_path!();
        assert_eq!(lines(None, "info"), [format!("INFO {here}: one")]);
        for level in ["off", "info", "debug"] {
            assert_eq!(lines(Some(&traces), level), lines(None, level));
        }
        assert_eq!(lines(None, "debug").len(), 2);
        traces.shut_down().await;
    }
}
