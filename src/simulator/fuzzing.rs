//! Requests to the simulator, and the file that it begins with, as anybody might write them.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tokio::runtime::Builder;
use tower_service::Service;

use super::auth_v3::Signed;
use super::{Config, NewInstance, Simulator};

/// More in one input tell nothing new.
const MAX_REQUESTS: usize = 32;
/// Of what is read of an answer; an `oversized` one isn't.
const MAX_ANSWER: usize = 1 << 20;

/// Requests one after the other, with a line of `===` between: method and path, headers, an empty line, body. `{now}` stands for the time,
/// `{signature}` and `{authorization}` for the right ones.
pub(crate) fn requests(data: &[u8]) {
    let Ok(runtime) = Builder::new_current_thread().enable_time().build() else { return };
    // Faults wait by its timers.
    let _context = runtime.enter();
    let instances = ["crs-1", "crs-2"].map(|id| NewInstance { redis_id: id.into(), ..NewInstance::default() });
    let config = Config { instances: instances.into(), rate_limit: 0, ..Config::default() };
    let mut router = Simulator::new(config).unwrap_or_else(|error| panic!("{error}")).router();
    let input = String::from_utf8_lossy(data).replace("{now}", &Timestamp::now().as_second().to_string());
    let ledger = "GET /_sim/ledger\n\n";
    for text in input.split("\n===\n").take(MAX_REQUESTS).chain([ledger]) {
        let Some(request) = request(text) else { continue };
        let path = request.uri().path().to_owned();
        // Nothing here waits for anything, but for faults that hold an answer back.
        let Some(Ok(response)) = router.call(request).now_or_never() else { continue };
        let is_found = response.status().is_success();
        let Some(Ok(answer)) = to_bytes(response.into_body(), MAX_ANSWER).now_or_never() else { continue };
        let said = String::from_utf8_lossy(&answer);
        assert!(text.contains("simulated-secret-key") || !said.contains("simulated-secret-key"), "{said}");
        if is_found && path == "/_sim/ledger" {
            let ledger: Value = serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{error}: {said}"));
            let orders = ledger["orders"].as_array().unwrap_or_else(|| panic!("no orders: {said}"));
            assert!(
                orders.iter().all(|order| order["from"].is_u64() && order["to"].is_u64() && order["price"].is_u64())
            );
        }
    }
}

fn request(text: &str) -> Option<Request<Body>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
    }
    if headers.get("authorization").is_some_and(|value| value == "{authorization}") {
        headers.insert("authorization", authorization(&headers, body.as_bytes())?);
    }
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let sign = |form: &str| form.replace("{signature}", &signature(method, host, path, form));
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", sign(query)) };
    let mut request = Request::builder().method(method).uri(uri).body(Body::from(sign(body))).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// Version 2's, as it stands in a form.
fn signature(method: &str, host: &str, path: &str, form: &str) -> String {
    let mut pairs: Vec<_> = form.split('&').filter(|pair| !pair.starts_with("Signature=")).collect();
    pairs.sort_unstable();
    let text = format!("{method}{host}{path}?{}", pairs.join("&"));
    let key = Config::default().keys.remove(0).secret;
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_bytes()).map(|mac| mac.chain_update(text));
    let signature = mac.map(|mac| BASE64.encode(mac.finalize().into_bytes())).unwrap_or_default();
    signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn authorization(headers: &HeaderMap, body: &[u8]) -> Option<HeaderValue> {
    const NAMES: &str = "content-type;host";
    let key = Config::default().keys.remove(0);
    let request = Signed { service: "redis", headers, body };
    let timestamp = request.header("x-tc-timestamp").ok()?;
    let date = Timestamp::from_second(timestamp.parse().ok()?).ok()?.strftime("%Y-%m-%d").to_string();
    let signature = request.sign(&key.secret, timestamp, &date, NAMES).ok()?;
    let scope = format!("{}/{date}/redis/tc3_request", key.id);
    let text = format!("TC3-HMAC-SHA256 Credential={scope}, SignedHeaders={NAMES}, Signature={signature}");
    HeaderValue::try_from(text).ok()
}

/// The file of `--instances`.
pub(crate) fn instances_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(instances) = serde_saphyr::from_str::<Vec<NewInstance>>(text) else { return };
    if Simulator::new(Config { instances: instances.clone(), ..Config::default() }).is_ok() {
        assert!(instances.iter().all(|new| (1..=64).contains(&new.redis_id.len()) && new.shards > 0));
    }
}
