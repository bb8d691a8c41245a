//! One request, one answer, over HTTP. Nothing here, and nothing below, sends anything twice.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use reqwest::{Body, Client, ClientBuilder, Request, RequestBuilder, Response, StatusCode, Url, redirect, retry};
use tokio::time::{Instant, timeout};

use super::CloudError;
use super::clock::CloudClock;
use super::exchange::FRESH;
use crate::failpoint::{Point, pass};

/// Bound on the body of an answer; a page of 1000 instances takes about 3 MiB in 3.0.
const LONGEST_BODY: usize = 16 << 20;

/// What has come already is read in this time.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The address of the API can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("the address of the cloud's API is no URL ({0}): write it as https://HOST or https://HOST/PATH")]
    NotAUrl(String),
    #[error(
        "the address of the cloud's API must begin with https:// (http:// is accepted for loopback addresses only)"
    )]
    NotHttps,
    #[error("the address of the cloud's API must not hold a user name, a password, a query (?) or a fragment (#)")]
    MoreThanAnAddress,
    #[error("{0} is the address of the other API: take --api {1} with it, or leave it away")]
    OtherApi(String, &'static str),
    #[error("API 3.0 has no path: leave away what follows the host (a path like /v2/index.php is version 2's)")]
    Path,
    #[error(
        "can't set up TLS for the cloud's API: {0}; are root certificates installed, or does SSL_CERT_FILE name some?"
    )]
    Client(String),
}

#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// DNS, TCP and TLS together.
    pub(super) connect: Duration,
    /// A whole read.
    pub(super) read: Duration,
    /// The answer to an order, beyond `connect`. Both together are longer than an order may take to be handed over, so none is when they are over.
    pub(super) order: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let [connect, order] = [3, 20].map(Duration::from_secs);
        Self { connect, read: FRESH, order }
    }
}

/// How a request travels.
#[derive(Clone, Copy)]
pub(super) enum Route {
    Read,
    /// Spends money: a connection of its own, and its body isn't handed over later than this.
    Order {
        send_before: Instant,
    },
}

/// An answer with status 200 and a `Date`.
pub(super) struct Reply {
    pub(super) at: Timestamp,
    pub(super) body: Vec<u8>,
    /// What the body claims to be, for the error of who can't read it.
    pub(super) described: String,
}

pub(super) struct Transport {
    pub(super) clock: CloudClock,
    endpoint: Url,
    timeouts: Timeouts,
    reads: Client,
    orders: Client,
}

impl Transport {
    /// `default` is the API's own address; its path is added to an `endpoint` that has none.
    pub(super) fn new(
        endpoint: Option<&str>,
        default: &str,
        clock: CloudClock,
        timeouts: Timeouts,
    ) -> Result<Self, EndpointError> {
        let endpoint = parse_endpoint(endpoint.unwrap_or(default), default)?;
        // reqwest panics where no provider is installed yet; after `main` has installed one this does nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reads = client(&endpoint, timeouts).timeout(timeouts.read).pool_idle_timeout(Duration::from_secs(10));
        // hyper-util may repeat a request on a pooled connection that turns out closed: an order gets a new one.
        let orders = client(&endpoint, timeouts).pool_max_idle_per_host(0);
        #[cfg(target_os = "linux")]
        let orders = orders.tcp_user_timeout(timeouts.order);
        let build = |client: ClientBuilder| client.build().map_err(|error| EndpointError::Client(causes(&error)));
        Ok(Self { reads: build(reads)?, orders: build(orders)?, clock, endpoint, timeouts })
    }

    pub(super) fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// Host as the `Host` header has it: with the port unless that is the scheme's own.
    pub(super) fn authority(&self) -> String {
        let host = self.host();
        self.endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Refuses the other API's own hosts: its answers could not be read.
    pub(super) fn refuse_hosts(self, hosts: &str, api: &'static str) -> Result<Self, EndpointError> {
        let host = self.endpoint.host_str().unwrap_or_default();
        if host.ends_with(hosts) { Err(EndpointError::OtherApi(host.to_owned(), api)) } else { Ok(self) }
    }

    pub(super) fn path(&self) -> &str {
        self.endpoint.path()
    }

    /// Sends once what `fill` puts into the request.
    pub(super) async fn post(
        &self,
        route: Route,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply, CloudError> {
        let sent = Instant::now();
        match route {
            // Its client has a timeout of its own.
            Route::Read => {
                let response = fill(self.reads.post(self.endpoint.clone())).send().await.map_err(failure)?;
                let at = date(&response);
                self.read(response, at, sent).await.map_err(|error| CloudError { at, ..error })
            }
            Route::Order { send_before } => {
                let request = fill(self.orders.post(self.endpoint.clone())).build().map_err(failure)?;
                let (request, handed_over) = handed_over_before(send_before, request);
                let exchange = async {
                    let response = self.orders.execute(request).await.map_err(|error| lost(&error))?;
                    let at = Some(self.clock.answered(date(&response)));
                    self.read(response, at, sent).await.map_err(|error| CloudError { at, ..error })
                };
                let answer = within(self.timeouts.connect + self.timeouts.order, exchange).await;
                answer.map_err(
                    |error| if handed_over.load(Ordering::SeqCst) { error } else { not_sent(send_before, error) },
                )
            }
        }
    }

    async fn read(&self, mut response: Response, at: Option<Timestamp>, sent: Instant) -> Result<Reply, CloudError> {
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Whole or not at all: of a secret that was cut its beginning could no longer be told from other text.
        let content_type = content_type.unwrap_or("no content type");
        let content_type = if content_type.len() <= 80 { content_type } else { "a long content type" }.to_owned();
        if response.status() != StatusCode::OK {
            let redirect = if response.status().is_redirection() { "; redirects are not followed" } else { "" };
            let message = format!("HTTP status {} ({content_type}){redirect}", response.status());
            return Err(CloudError::no_answer("HttpStatus", message));
        }
        let Some(at) = at else {
            return Err(CloudError::no_answer("Unreadable", "the answer has no readable Date header"));
        };
        self.clock.hear(at, sent);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > LONGEST_BODY {
                let message = format!("the answer is longer than {LONGEST_BODY} bytes ({content_type})");
                return Err(CloudError::no_answer("TooLong", message));
            }
            body.extend_from_slice(&chunk);
        }
        let described = format!("{content_type}, {} bytes", body.len());
        Ok(Reply { at, body, described })
    }
}

/// The request with a body that is given to the connection only when that stands, and not after this moment; and whether it was given.
/// Without its body no order can be carried out: the head says how long it is, and in 3.0 the signature what it is.
fn handed_over_before(send_before: Instant, mut request: Request) -> (Request, Arc<AtomicBool>) {
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default().to_vec();
    let handed_over = Arc::new(AtomicBool::new(false));
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let given = handed_over.clone();
    let body = stream::once(async move {
        // First this, so that whoever reads it meanwhile takes the outcome for unknown.
        given.store(true, Ordering::SeqCst);
        pass(Point::Connected, str::from_utf8(&body).unwrap_or_default());
        if Instant::now() > send_before {
            given.store(false, Ordering::SeqCst);
            return Err(io::Error::other("too late"));
        }
        pass(Point::BodyLeaves, str::from_utf8(&body).unwrap_or_default());
        Ok(body)
    });
    *request.body_mut() = Some(Body::wrap_stream(body));
    (request, handed_over)
}

/// The body of an order did not leave: nothing has happened, whatever went wrong.
fn not_sent(send_before: Instant, error: CloudError) -> CloudError {
    if Instant::now() > send_before {
        CloudError::not_sent("TooLate", "too much time has passed since the look that called for it")
    } else {
        CloudError::not_sent("ConnectFailed", error.message)
    }
}

/// Waits so long for the answer to an order. A process that was frozen finds its time over and the answer, with the deal's number in it,
/// in its socket: so it looks once more.
async fn within<T>(limit: Duration, exchange: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
    let mut exchange = pin!(exchange);
    for wait in [limit, LAST_LOOK] {
        if let Ok(answer) = timeout(wait, exchange.as_mut()).await {
            return answer;
        }
    }
    Err(CloudError::no_answer("Timeout", format!("no answer within {limit:?}")))
}

/// What both clients share. HTTP/1.1, for its one request at a time on a connection can't be refused halfway and sent again.
fn client(endpoint: &Url, timeouts: Timeouts) -> ClientBuilder {
    let client = Client::builder()
        .user_agent(concat!("crs-operator/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(timeouts.connect)
        // A signed request is for this address alone.
        .redirect(redirect::Policy::none())
        // reqwest repeats what the protocol refused (NACK), by default.
        .retry(retry::never())
        // Nothing between us and the cloud may repeat a request, and a proxy might.
        .no_proxy();
    // Without TLS no root certificates are needed, and a small image may have none.
    if endpoint.scheme() == "http" { client.tls_certs_only([]) } else { client }
}

fn parse_endpoint(endpoint: &str, default: &str) -> Result<Url, EndpointError> {
    let not_a_url = |error: &dyn std::error::Error| EndpointError::NotAUrl(error.to_string());
    let mut url = Url::parse(endpoint).map_err(|error| not_a_url(&error))?;
    let host = url.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let loopback = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err(EndpointError::NotHttps);
    }
    let user = !url.username().is_empty() || url.password().is_some();
    if user || url.query().is_some() || url.fragment().is_some() {
        return Err(EndpointError::MoreThanAnAddress);
    }
    if url.path() == "/" {
        let default = Url::parse(default).map_err(|error| not_a_url(&error))?;
        url.set_path(default.path());
    }
    Ok(url)
}

fn date(response: &Response) -> Option<Timestamp> {
    parse_date(response.headers().get(DATE)?.as_bytes())
}

pub(super) fn parse_date(date: &[u8]) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date).ok()
}

fn failure(error: reqwest::Error) -> CloudError {
    // Up to here nothing but the handshake of TLS has left: no part of the request.
    if error.is_connect() || error.is_builder() {
        return CloudError::not_sent("ConnectFailed", causes(&error));
    }
    lost(&error)
}

fn lost(error: &reqwest::Error) -> CloudError {
    let word = if error.is_timeout() { "Timeout" } else { "ConnectionLost" };
    CloudError::no_answer(word, causes(error))
}

/// The causes without reqwest's own sentence, which has the URL in it.
fn causes(error: &reqwest::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push(cause.to_string());
        source = cause.source();
    }
    if said.is_empty() { "the request could not be built".to_owned() } else { said.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "https://redis.api.qcloud.com/v2/index.php";

    fn endpoint(text: &str) -> Result<String, EndpointError> {
        parse_endpoint(text, DEFAULT).map(String::from)
    }

    #[test]
    fn a_path_that_is_missing_is_added_and_another_is_kept() {
        assert_eq!(endpoint("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080/v2/index.php");
        assert_eq!(endpoint("https://redis.api.example/").unwrap(), "https://redis.api.example/v2/index.php");
        assert_eq!(endpoint("https://redis.api.example/x").unwrap(), "https://redis.api.example/x");
        assert_eq!(endpoint(DEFAULT).unwrap(), DEFAULT);
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in ["http://localhost:1", "http://127.0.0.1", "http://127.8.9.1:1", "http://[::1]:8080"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["http://redis.api.qcloud.com", "http://localhost.example", "http://10.0.0.1", "ftp://localhost"] {
            assert!(matches!(endpoint(bad), Err(EndpointError::NotHttps)), "{bad}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_address_is_refused_without_repeating_it() {
        for bad in ["https://user@host", "https://:secret@host", "https://host/?secret=1", "https://host/#secret"] {
            let error = endpoint(bad).unwrap_err();
            assert!(matches!(error, EndpointError::MoreThanAnAddress), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
        for bad in ["", "redis.api.qcloud.com", "https://"] {
            assert!(matches!(endpoint(bad), Err(EndpointError::NotAUrl(_))), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_came_while_the_process_was_frozen_is_read() {
        let limit = Duration::from_secs(23);
        let after = |wait| async move {
            tokio::time::sleep(wait).await;
            Ok(432_587)
        };
        // When it thaws its timer has run out, and the connection is about to hand over what has come.
        assert_eq!(within(limit, after(limit + LAST_LOOK / 2)).await, Ok(432_587));
        let error = within(limit, after(limit + 2 * LAST_LOOK)).await.unwrap_err();
        assert_eq!((error.kind, error.code_desc.as_str()), (crate::cloud::ErrorKind::NoAnswer, "Timeout"));
    }
}
