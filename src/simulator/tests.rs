//! What is seen on the wire, by a client of the tests' own that knows nothing but TCP.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn config() -> Config {
    let named = |id: &str| NewInstance { redis_id: id.into(), ..NewInstance::default() };
    Config { instances: vec![named("a"), named("b")], ..Config::default() }
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let sim = Simulator::new(config()).unwrap();
    let task = tokio::spawn(sim.serve(listener, async { drop(stopped.await) }));
    Server { address, stop, task }
}

fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn signed(method: &str, host: &str, action: &str, more: &[(&str, &str)]) -> HashMap<String, String> {
    let mut parameters: HashMap<String, String> = [
        ("Action", action.to_owned()),
        ("Region", "gz".to_owned()),
        ("Timestamp", Timestamp::now().as_second().to_string()),
        ("Nonce", rand::random_range(1..u64::MAX).to_string()),
        ("SecretId", "AKIDSIMULATOR".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    parameters.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let text = auth_v2::Signed { method, host, path: wire_v2::PATH, parameters: &parameters };
    let signature = auth_v2::tests::sign("simulated-secret-key", &text);
    parameters.insert("Signature".into(), signature);
    parameters
}

impl Server {
    /// The bytes that come back until the connection is closed.
    async fn send(&self, head: &str, body: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = self.address;
        let length = body.len();
        let text = format!("{head}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut may be reset as well as closed.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    async fn call_raw(&self, method: &str, action: &str, more: &[(&str, &str)]) -> String {
        let parameters = signed(method, &self.address.to_string(), action, more);
        let form: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let form = form.join("&");
        let bytes = match method {
            "GET" => self.send(&format!("GET /v2/index.php?{form} HTTP/1.1"), "").await,
            _ => {
                let head = "POST /v2/index.php HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
                self.send(head, &form).await
            }
        };
        String::from_utf8(bytes).unwrap()
    }

    async fn call(&self, method: &str, action: &str, more: &[(&str, &str)]) -> Value {
        body(&self.call_raw(method, action, more).await).1
    }

    /// By 3.0; what is in `Response`.
    async fn call_v3(&self, action: &str, parameters: Value) -> Value {
        let (status, mut answer) = body(&self.call_v3_raw(action, parameters).await);
        assert_eq!(status, 200);
        answer["Response"].take()
    }

    async fn call_v3_raw(&self, action: &str, parameters: Value) -> String {
        let (text, timestamp) = (parameters.to_string(), Timestamp::now().as_second().to_string());
        let pairs = [
            ("host", self.address.to_string()),
            ("content-type", "application/json".to_owned()),
            ("x-tc-action", action.to_owned()),
            ("x-tc-version", "2018-04-12".to_owned()),
            ("x-tc-region", "ap-guangzhou".to_owned()),
            ("x-tc-timestamp", timestamp),
        ];
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let signed = auth_v3::Signed { service: "redis", headers: &headers, body: text.as_bytes() };
        let names = "content-type;host;x-tc-action";
        let authorization = auth_v3::tests::authorize("AKIDSIMULATOR", "simulated-secret-key", names, &signed);
        let head: String = pairs[1..].iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
        let head = format!("POST / HTTP/1.1{head}\r\nAuthorization: {}", authorization.to_str().unwrap());
        String::from_utf8(self.send(&head, &text).await).unwrap()
    }

    async fn order(&self) -> String {
        self.call_raw("POST", "UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]).await
    }

    async fn admin(&self, method: &str, path: &str, value: Value) -> (u16, Value) {
        let text = if value.is_null() { String::new() } else { value.to_string() };
        let answer = self.send(&format!("{method} /_sim/{path} HTTP/1.1"), &text).await;
        body(&String::from_utf8(answer).unwrap())
    }

    async fn fault(&self, fault: Value) {
        assert_eq!(self.admin("PUT", "faults", json!([fault])).await.0, 204);
    }

    async fn orders(&self) -> usize {
        self.admin("GET", "ledger", Value::Null).await.1["orders"].as_array().unwrap().len()
    }
}

/// Status, and the body where it is JSON.
fn body(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[tokio::test]
async fn get_and_post_are_understood() {
    let server = start().await;
    for method in ["GET", "POST"] {
        let answer = server.call(method, "DescribeRedis", &[("redisId", "a"), ("unknown", "ü &=+%")]).await;
        assert_eq!((&answer["code"], &answer["totalCount"]), (&json!(0), &json!(1)), "{method}");
    }
    let answer = server.call_v3("DescribeInstances", json!({"InstanceId": "a", "Unknown": "ü"})).await;
    assert_eq!(answer["TotalCount"], 1);
    let wrong_type = server.send("POST /v2/index.php HTTP/1.1\r\nContent-Type: application/json", "{}").await;
    assert_eq!(body(&String::from_utf8(wrong_type).unwrap()).1["code"], 4000);
    let query = "POST /v2/index.php?Action=x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    assert_eq!(body(&String::from_utf8(server.send(query, "").await).unwrap()).1["code"], 4000);
    assert_eq!(body(&String::from_utf8(server.send("GET / HTTP/1.1", "").await).unwrap()).0, 404);
}

#[tokio::test]
async fn the_date_of_each_answer_is_that_of_the_clock_that_checks_timestamps() {
    let server = start().await;
    assert_eq!(server.admin("PUT", "clock", json!({"offsetSeconds": -86_400})).await.0, 204);
    let before = Timestamp::now().as_second() - 86_400;
    let answer = server.call_raw("GET", "DescribeRedis", &[]).await;
    assert_eq!(body(&answer).1["code"], 4500);
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header(&answer, "date")).unwrap();
    assert!((before..before + 60).contains(&date.as_second()), "{date}");
    assert!(header(&answer, "date").ends_with(" GMT"));
    let timestamp = date.as_second().to_string();
    assert_eq!(server.call("GET", "DescribeRedis", &[("Timestamp", &timestamp)]).await["code"], 0);
}

#[tokio::test]
async fn a_front_end_whose_clock_is_off_checks_and_dates_by_it_and_the_rest_goes_by_the_clouds() {
    let server = start().await;
    for ms in [30_000, -30_000, 600_000, -600_000] {
        server.fault(json!({"kind": "skew", "ms": ms, "times": 2})).await;
        let before = Timestamp::now().as_second() + ms / 1000;
        let answer = server.call_raw("GET", "DescribeRedis", &[]).await;
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header(&answer, "date")).unwrap();
        assert!((before - 1..before + 60).contains(&date.as_second()), "{date}");
        let within = ms.abs() < 300_000;
        assert_eq!(body(&answer).1["code"], if within { 0 } else { 4500 }, "{ms}");
        let v3 = server.call_v3("DescribeInstances", json!({"InstanceId": "a"})).await;
        assert_eq!(v3["Error"]["Code"], if within { json!(null) } else { json!("AuthFailure.SignatureExpire") });
    }
    server.fault(json!({"kind": "skew", "ms": 30_000, "action": "UpgradeRedis", "times": 1})).await;
    server.order().await;
    let ordered: Timestamp =
        server.admin("GET", "ledger", json!(null)).await.1["orders"][0]["at"].as_str().unwrap().parse().unwrap();
    assert!(ordered <= Timestamp::now(), "{ordered}");
}

#[tokio::test]
async fn a_connection_dropped_before_or_after_leaves_not_a_byte() {
    let server = start().await;
    for (kind, orders) in [("drop-before", 0), ("drop-after", 1)] {
        server.fault(json!({"action": "UpgradeRedis", "kind": kind, "times": 1})).await;
        assert_eq!(server.order().await, "");
        assert_eq!(server.orders().await, orders, "{kind}");
    }
}

#[tokio::test]
async fn a_truncated_answer_ends_in_the_middle() {
    let server = start().await;
    server.fault(json!({"kind": "truncated", "times": 1})).await;
    let answer = server.order().await;
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let length: usize = header(head, "content-length").parse().unwrap();
    assert_eq!(rest.len(), length / 2);
    assert!(rest.starts_with(r#"{"code":"0""#), "{rest}");
    assert_eq!(server.orders().await, 1);
}

#[tokio::test]
async fn an_oversized_answer_is_whole_and_larger_than_anybody_should_read() {
    let server = start().await;
    server.fault(json!({"kind": "oversized"})).await;
    assert!(server.order().await.len() > 64 << 20);
}

#[tokio::test]
async fn answers_that_are_none_are_not_carried_out_unless_it_is_wanted() {
    let server = start().await;
    for (kind, status) in [("http-500", 500), ("html", 200)] {
        server.fault(json!({"kind": kind})).await;
        assert_eq!(body(&server.order().await), (status, Value::Null));
        assert_eq!(server.orders().await, 0);
    }
    server.fault(json!({"kind": "error", "code": 6000, "carriedOut": true})).await;
    assert_eq!(body(&server.order().await).1["code"], "6000");
    assert_eq!(server.orders().await, 1);
}

#[tokio::test]
async fn a_stale_answer_shows_what_was() {
    let server = start().await;
    server.admin("PUT", "instances/a", json!({"memSize": 4096})).await;
    let size =
        async || server.call("GET", "DescribeRedis", &[("redisId", "a")]).await["data"]["redisSet"][0]["size"].clone();
    assert_eq!(size().await, 4096);
    server.fault(json!({"kind": "stale", "ms": 3_600_000})).await;
    assert_eq!(size().await, 1024);
}

#[tokio::test]
async fn an_order_by_one_version_shows_in_the_other() {
    let server = start().await;
    server.order().await;
    let deal = server.call_v3("DescribeInstanceDealDetail", json!({"DealIds": ["432587"]})).await;
    assert_eq!(deal["DealDetails"][0]["InstanceIds"], json!(["a"]));
    let row = server.call_v3("DescribeInstances", json!({"InstanceId": "a"})).await;
    assert_eq!(row["InstanceSet"][0]["Status"], 1);
    let refused = server.call_v3("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 4096})).await;
    assert_eq!(refused["Error"]["Code"], "ResourceUnavailable.InstanceStatusAbnormal");

    let ordered = server.call_v3("UpgradeInstance", json!({"InstanceId": "b", "MemSize": 2048})).await;
    let deal = server.call("GET", "DescribeRedisDealDetail", &[("dealIds.0", "432588")]).await;
    assert_eq!(deal["dealDetails"][0]["dealName"], ordered["DealName"]);
    let refused = server.call("GET", "UpgradeRedis", &[("redisId", "b"), ("memSize", "4096")]).await;
    assert_eq!(refused["code"], "10702");
    server.admin("PUT", "clock", json!({"offsetSeconds": 60})).await;
    let row = server.call("GET", "DescribeRedis", &[("redisId", "b")]).await;
    assert_eq!(row["data"]["redisSet"][0]["size"], 2048);

    let ledger = server.admin("GET", "ledger", Value::Null).await.1;
    assert_eq!(ledger["orders"].as_array().unwrap().len(), 2);
    assert_eq!(ledger["calls"]["UpgradeInstance"], 2);
    let codes: Vec<_> = ledger["refused"].as_array().unwrap().iter().map(|refused| &refused["code"]).collect();
    assert_eq!(json!(codes), json!(["ResourceUnavailable.InstanceStatusAbnormal", 10702]));
}

#[tokio::test]
async fn a_shrink_is_refused_by_version_2_and_carried_out_by_the_next() {
    let server = start().await;
    server.admin("PUT", "instances/a", json!({"memSize": 4096})).await;
    assert_eq!(body(&server.order().await).1["code"], "11057");
    let price = server.call_v3("InquiryPriceUpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048})).await;
    assert_eq!(price["Price"], 0.0);
    let shrunk = server.call_v3("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048})).await;
    assert_eq!(shrunk["DealId"], "432587");
    server.admin("PUT", "clock", json!({"offsetSeconds": 60})).await;
    assert_eq!(server.admin("GET", "instances/a", Value::Null).await.1["memSize"], 2048);
}

#[tokio::test]
async fn faults_strike_either_version() {
    let server = start().await;
    let order = async || server.call_v3("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048})).await;
    let fault = json!({
        "action": "UpgradeInstance", "kind": "error", "code": "FailedOperation.Unknown", "bracketed": true,
        "redisId": "a", "region": "gz", "times": 1
    });
    server.fault(fault).await;
    server.call_v3("DescribeInstances", json!({"InstanceId": "a"})).await;
    server.call_v3("UpgradeInstance", json!({"InstanceId": "no", "MemSize": 2048})).await;
    assert_eq!(order().await["Error"]["Code"], "FailedOperation.Unknown");
    assert_eq!(server.orders().await, 0);
    server.fault(json!({"action": "UpgradeInstance", "kind": "drop-after", "times": 1})).await;
    assert_eq!(server.call_v3_raw("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048})).await, "");
    assert_eq!(server.orders().await, 1);
    server.fault(json!({"kind": "stale", "ms": 3_600_000})).await;
    let stale = server.call_v3("DescribeInstances", json!({"InstanceId": "a"})).await;
    assert_eq!(stale["InstanceSet"][0]["Status"], 2);
    server.fault(json!({"kind": "deal-fails"})).await;
    server.call_v3("UpgradeInstance", json!({"InstanceId": "b", "MemSize": 2048})).await;
    server.admin("PUT", "faults", json!([])).await;
    server.admin("PUT", "clock", json!({"offsetSeconds": 60})).await;
    let deal = server.call_v3("DescribeInstanceDealDetail", json!({"DealIds": ["432588"]})).await;
    assert_eq!(deal["DealDetails"][0]["Status"], 5);
}

#[tokio::test]
async fn an_error_with_data_is_carried_out_and_says_both() {
    let server = start().await;
    server.fault(json!({"kind": "error-with-data", "code": 6000})).await;
    let answer = server.call_v3("UpgradeInstance", json!({"InstanceId": "b", "MemSize": 2048})).await;
    assert_eq!((&answer["Error"]["Code"], &answer["DealId"]), (&json!("6000"), &json!("432587")));
    let answer = body(&server.order().await).1;
    assert_eq!((&answer["code"], &answer["data"]["dealId"]), (&json!("6000"), &json!("432588")));
    assert_eq!(server.orders().await, 2);
    server.fault(json!({"kind": "error-with-data", "code": "InternalError", "carriedOut": false})).await;
    let answer = server.call_v3("DescribeInstances", json!({})).await;
    assert_eq!((&answer["Error"]["Code"], &answer["InstanceSet"]), (&json!("InternalError"), &Value::Null));
}

#[tokio::test]
async fn the_ledger_tells_calls_orders_and_refusals() {
    let server = start().await;
    server.order().await;
    server.order().await;
    server.call("GET", "NoSuchAction", &[]).await;
    let ledger = server.admin("GET", "ledger", Value::Null).await.1;
    assert_eq!(ledger["calls"], json!({"UpgradeRedis": 2, "unknown": 1}));
    let order = &ledger["orders"][0];
    assert_eq!((&order["dealId"], &order["redisId"], &order["from"]), (&json!("432587"), &json!("a"), &json!(1024)));
    assert_eq!((&order["to"], &order["price"]), (&json!(2048), &json!(2000)));
    let refused = &ledger["refused"][0];
    assert_eq!((&refused["action"], &refused["redisId"]), (&json!("UpgradeRedis"), &json!("a")));
    assert_eq!(refused["code"], 10702);
    for at in [&order["at"], &refused["at"]] {
        assert!(at.as_str().unwrap().parse::<Timestamp>().is_ok());
    }
}

#[tokio::test]
async fn instances_are_listed_made_changed_and_deleted_by_hand() {
    let server = start().await;
    let made =
        server.admin("POST", "instances", json!({"redisId": "c", "region": "ap-shanghai", "memSize": 2048})).await;
    assert_eq!((made.0, &made.1["region"], &made.1["account"]), (201, &json!("sh"), &json!("AKIDSIMULATOR")));
    assert_eq!(server.admin("POST", "instances", json!({"redisId": "c"})).await.0, 409);
    let changed = server.admin("PUT", "instances/c", json!({"status": -2})).await;
    assert_eq!((changed.0, &changed.1["memSize"], &changed.1["status"]), (200, &json!(2048), &json!(-2)));
    let list = server.admin("GET", "instances", Value::Null).await.1;
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|row| &row["redisId"]).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(server.admin("GET", "instances/c", Value::Null).await, changed);
    assert_eq!(server.admin("DELETE", "instances/c", Value::Null).await.0, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(server.admin(method, "instances/c", Value::Null).await.0, 404);
    }
    assert_eq!(server.admin("PUT", "instances/c", json!({"status": 2})).await.0, 404);
    assert_eq!(server.admin("PUT", "instances/a", json!({"memsize": 2048})).await.0, 400, "misspelt");
    let cluster = json!({"redisId": "d", "typeId": 1, "memSize": 2048, "shards": 2, "billingMode": 0});
    assert_eq!(server.admin("POST", "instances", cluster).await.0, 201);
    let changed = server.admin("PUT", "instances/d", json!({"shards": 4, "replicas": 2, "locked": true})).await.1;
    for (name, value) in
        [("memSize", json!(2048)), ("shards", json!(4)), ("replicas", json!(2)), ("billingMode", json!(0))]
    {
        assert_eq!(changed[name], value, "{name}");
    }
    assert_eq!(changed["locked"], true);
    assert_eq!(server.admin("PUT", "instances/a", json!({"shards": 4})).await.0, 409, "a standard one has one");
}

#[tokio::test]
async fn balance_and_deals_are_set_by_hand() {
    let server = start().await;
    assert_eq!(server.admin("PUT", "balance", json!({"fen": 1999})).await.0, 204);
    assert_eq!(body(&server.order().await).1["code"], "100207");
    assert_eq!(server.admin("PUT", "balance", json!({"fen": null, "account": "AKIDSIMULATOR"})).await.0, 204);
    assert_eq!(body(&server.order().await).1["code"], "0");
    assert_eq!(server.admin("PUT", "balance", json!({"fen": 1, "account": "nobody"})).await.0, 404);
    assert_eq!(server.admin("PUT", "balance", json!({})).await.0, 400);
    assert_eq!(server.admin("PUT", "deals/432587", json!({"status": 5})).await.0, 204);
    let deal = server.call("GET", "DescribeRedisDealDetail", &[("dealIds.0", "432587")]).await;
    assert_eq!(deal["dealDetails"][0]["status"], 5);
    assert_eq!(server.admin("PUT", "deals/1", json!({"status": 5})).await.0, 404);
}

#[tokio::test]
async fn faults_are_replaced_and_listed_with_what_is_left_of_them() {
    let server = start().await;
    server.fault(json!({"kind": "error", "code": 4400, "times": 5, "redisId": "a"})).await;
    server.order().await;
    let list = server.admin("GET", "faults", Value::Null).await.1;
    assert_eq!((&list[0]["kind"], &list[0]["times"]), (&json!("error"), &json!(4)));
    assert_eq!(server.admin("PUT", "faults", json!([{"kind": "error"}])).await.0, 400);
    assert_eq!(server.admin("PUT", "faults", json!([])).await.0, 204);
    assert_eq!(body(&server.order().await).1["code"], "0");
}

#[tokio::test]
async fn the_end_waits_for_nobody_who_hangs() {
    let server = start().await;
    server.fault(json!({"kind": "hang"})).await;
    let mut hanging = TcpStream::connect(server.address).await.unwrap();
    hanging.write_all(b"GET /v2/index.php HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    while server.admin("GET", "ledger", Value::Null).await.1["calls"]["unknown"] != 1 {}
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    let mut answer = Vec::new();
    let _ = hanging.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = Simulator::new(config()).unwrap().serve(listener, std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_config_that_can_not_be_is_refused() {
    let key = || Config::default().keys.remove(0);
    let instance = || NewInstance { redis_id: "a".into(), ..NewInstance::default() };
    for config in [
        Config { keys: vec![], ..Config::default() },
        Config { keys: vec![key(), key()], ..Config::default() },
        Config { instances: vec![instance(), instance()], ..Config::default() },
        Config { instances: vec![NewInstance { account: Some("nobody".into()), ..instance() }], ..Config::default() },
        Config { upgrade_time: Duration::MAX, ..Config::default() },
    ] {
        assert!(Simulator::new(config.clone()).is_err(), "{config:?}");
    }
}

/// Below: no socket, so that time can be paused.
fn order_and_fault(fault: Value) -> (Arc<Simulator>, wire_v2::Request, Fault) {
    let parameters = signed("POST", "x", "UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]);
    let pairs = Ok(parameters.into_iter().collect());
    let request = wire_v2::Request::new("POST".into(), "x".into(), wire_v2::PATH.into(), pairs);
    (Arc::new(Simulator::new(config()).unwrap()), request, serde_json::from_value(fault).unwrap())
}

fn ordered(sim: &Simulator) -> usize {
    sim.world().cloud.deals().count()
}

#[tokio::test(start_paused = true)]
async fn a_late_request_is_carried_out_later_even_if_its_sender_is_gone() {
    let (sim, order, fault) = order_and_fault(json!({"kind": "late", "ms": 60_000}));
    let answer = tokio::time::timeout(Duration::from_millis(59_999), strike(sim.clone(), order, fault)).await;
    assert!(answer.is_err() && ordered(&sim) == 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(ordered(&sim), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_request_is_checked_when_it_comes() {
    let (sim, order, fault) = order_and_fault(json!({"kind": "late", "ms": 310_000}));
    let sent = tokio::spawn(strike(sim.clone(), order, fault));
    tokio::time::sleep(Duration::from_secs(1)).await;
    sim.world().offset = SignedDuration::from_secs(310);
    sent.await.unwrap();
    let world = sim.world();
    assert_eq!(world.cloud.deals().count(), 0);
    assert_eq!(world.ledger.refused()[0].code, ledger::Code::Number(4500));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_has_the_date_of_what_it_tells() {
    let (sim, order, fault) = order_and_fault(json!({"kind": "delay", "ms": 60_000}));
    let start = tokio::time::Instant::now();
    let answer = tokio::spawn(strike(sim.clone(), order, fault));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ordered(&sim), 1);
    sim.world().offset = SignedDuration::from_hours(24);
    let mut answer = answer.await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    let date = answer.headers()[DATE].clone();
    sim.date(&mut answer, SignedDuration::ZERO);
    assert_eq!(answer.headers()[DATE], date);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_let_go_in_the_end() {
    let (sim, order, fault) = order_and_fault(json!({"kind": "hang"}));
    let start = tokio::time::Instant::now();
    strike(sim.clone(), order, fault).await;
    assert_eq!((start.elapsed(), ordered(&sim)), (MAX_HANG, 0));
}
