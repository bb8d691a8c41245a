//! What travels, against a real socket. (What both APIs share, `transport` and `exchange`, is tested with version 2.)

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::cloud::testing::{Seen, Server, Then, header, http};
use crate::cloud::{Credentials, ErrorKind, InstanceState, Layout, Meaning};

const DATE: &str = "Date: Tue, 24 Nov 2026 20:27:34 GMT\r\n";
const DATE_SECOND: i64 = 1_795_552_054;
const SIGNED_SECOND: i64 = 1_700_000_000;
const SECRETS: [&str; 3] = ["AKIDexampleExample", "exampleKey0123456789", "to+ken/0123456789=="];

fn caller() -> Caller {
    let [id, key, token] = SECRETS.map(str::to_owned);
    Caller::new(Credentials { secret_id: id, secret_key: key.into(), token: Some(token.into()) }, "gz".into())
}

fn client_at(server: &Server, local: i64) -> V3 {
    let [connect, read, order] = [5_000, 5_000, 5_000].map(Duration::from_millis);
    V3::with_timeouts(
        Some(&server.url),
        move || Timestamp::from_second(local).unwrap(),
        Timeouts { connect, read, order },
    )
    .unwrap()
}

fn client(server: &Server) -> V3 {
    client_at(server, DATE_SECOND)
}

fn permit(mem_size: i64) -> SendPermit {
    let send_before = Instant::now() + Duration::from_secs(3600);
    SendPermit::for_test("crs-1", mem_size, Timestamp::from_second(SIGNED_SECOND).unwrap(), send_before)
}

fn running(shards: Option<i64>, replicas: Option<i64>) -> Instance {
    let layout = Layout { shards, replicas, billing_mode: None };
    let (redis_id, state) = ("crs-1".into(), InstanceState::Running);
    Instance { redis_id, state, size: 3072, zone_id: None, type_id: None, layout }
}

fn ok(response: Value) -> Then {
    http("200 OK", DATE, &json!({"Response": response}).to_string())
}

fn refused(code: &str) -> Then {
    ok(json!({"Error": {"Code": code, "Message": "no"}, "RequestId": "r"}))
}

fn accepted() -> Value {
    json!({"DealId": "432587", "DealName": "20261124000000432587", "RequestId": "r"})
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

fn said(server: &Server) -> Vec<(String, Value)> {
    let action = |seen: &Seen| header(&seen.head, "x-tc-action").unwrap().to_owned();
    server.seen().iter().map(|seen| (action(seen), body(seen))).collect()
}

#[tokio::test]
async fn an_order_says_what_its_permit_and_the_look_say_and_is_signed() {
    let server = Server::start(|_, _| ok(accepted())).await;
    let answer = client(&server).upgrade(&caller(), &running(Some(3), Some(2)), permit(6144)).await.unwrap();
    assert_eq!((answer.value.deal_id.as_str(), answer.at.as_second()), ("432587", DATE_SECOND));
    assert_eq!(answer.value.deal_name.as_deref(), Some("20261124000000432587"));

    let [seen]: [Seen; 1] = server.seen().try_into().ok().unwrap();
    assert!(seen.head.starts_with("POST / HTTP/1.1\r\n"), "{}", seen.head);
    let order =
        json!({"InstanceId": "crs-1", "MemSize": 2048, "RedisShardNum": 3, "RedisReplicasNum": 2, "SwitchOption": 2});
    assert_eq!(body(&seen), order);
    let signed = sign::Signed {
        service: "redis",
        host: header(&seen.head, "host").unwrap(),
        content_type: "application/json",
        body: seen.body.as_bytes(),
        timestamp: Timestamp::from_second(SIGNED_SECOND).unwrap(),
    };
    let (authorization, _) = sign::authorization(&caller().credentials, &signed);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-tc-action", "UpgradeInstance"),
        ("x-tc-version", "2018-04-12"),
        ("x-tc-region", "ap-guangzhou"),
        ("x-tc-timestamp", "1700000000"),
        ("x-tc-token", SECRETS[2]),
        ("authorization", &authorization),
    ] {
        assert_eq!(header(&seen.head, name), Some(value), "{name}");
    }
    assert_eq!(header(&seen.head, "transfer-encoding"), None);
}

#[tokio::test]
async fn what_the_look_does_not_show_is_not_said() {
    let server = Server::start(|_, _| ok(accepted())).await;
    client(&server).upgrade(&caller(), &running(None, None), permit(4096)).await.unwrap();
    assert_eq!(body(&server.seen()[0]), json!({"InstanceId": "crs-1", "MemSize": 4096, "SwitchOption": 2}));
}

#[tokio::test]
async fn an_order_that_can_not_be_meant_is_not_sent() {
    let server = Server::start(|_, _| ok(accepted())).await;
    let client = client(&server);
    let other = Instance { redis_id: "crs-2".into(), ..running(None, None) };
    // Not divisible; another instance; no growth, which the cloud would carry out.
    for (look, size) in [(running(Some(3), None), 4096), (other, 4096), (running(None, None), 3072)] {
        let error = client.upgrade(&caller(), &look, permit(size)).await.unwrap_err();
        assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NotSent, "Doubtful"));
    }
    assert!(server.seen().is_empty());
}

#[test]
fn an_address_of_version_2_is_none_of_3_0() {
    let path = |path: &str| V3::new(Some(&format!("http://127.0.0.1:1{path}")), Timestamp::now).map(drop);
    assert!(path("").is_ok() && path("/").is_ok());
    let error = path("/v2/index.php").unwrap_err();
    assert!(matches!(error, EndpointError::Path) && error.to_string().contains("no path"), "{error}");
    let other = |address| V3::new(Some(address), Timestamp::now).map(drop).unwrap_err().to_string();
    assert!(other("https://redis.api.qcloud.com/v2/index.php").contains("take --api v2"));
    let of_3_0 = Some("https://redis.intl.tencentcloudapi.com");
    assert!(V3::new(of_3_0, Timestamp::now).is_ok());
    assert!(crate::cloud::v2::V2::new(of_3_0, || 0, Timestamp::now).is_err());
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_or_refused_for_its_time_is_sent_once() {
    for (then, kind) in [
        (Then::Close, ErrorKind::NoAnswer),
        (refused("AuthFailure.SignatureExpire"), ErrorKind::Code(Meaning::Clock)),
        (http("200 OK", DATE, "<html>busy</html>"), ErrorKind::NoAnswer),
    ] {
        let then = std::sync::Mutex::new(Some(then));
        let server = Server::start(move |_, _| then.lock().unwrap().take().unwrap_or(Then::Hang)).await;
        let error = client_at(&server, 0).upgrade(&caller(), &running(None, None), permit(4096)).await.unwrap_err();
        assert_eq!((error.kind, error.is_plain_refusal(), server.seen().len()), (kind, false, 1));
    }
}

#[tokio::test]
async fn a_look_refused_for_its_time_is_repeated_once_with_the_clouds() {
    let server = Server::start(|_, seen| {
        let timestamp: i64 = header(&seen.head, "x-tc-timestamp").unwrap().parse().unwrap();
        let fits = (timestamp - DATE_SECOND).abs() <= 300;
        if fits { ok(json!({"TotalCount": 0, "InstanceSet": []})) } else { refused("AuthFailure.SignatureExpire") }
    })
    .await;
    let client = client_at(&server, DATE_SECOND - 3600);
    assert_eq!(client.find(&caller(), "crs-1").await.unwrap().value, None);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_code_that_says_there_is_none_is_none() {
    let server = Server::start(|_, _| refused("ResourceNotFound.InstanceNotExists")).await;
    assert_eq!(client(&server).find(&caller(), "crs-1").await.unwrap().value, None);
    let server = Server::start(|_, _| refused("ResourceNotFound")).await;
    assert!(client(&server).find(&caller(), "crs-1").await.is_err());
}

#[tokio::test]
async fn a_list_is_asked_for_by_whole_pages_oldest_first_and_instances_by_their_ids() {
    let server = Server::start(|_, _| ok(json!({"TotalCount": 0, "InstanceSet": []}))).await;
    let client = client(&server);
    client.list(&caller(), 2000).await.unwrap();
    client.list_some(&caller(), &["crs-1".into(), "crs-2".into()]).await.unwrap();
    client.find(&caller(), "crs-1").await.unwrap();
    assert_eq!(
        said(&server),
        [
            (
                "DescribeInstances".to_owned(),
                json!({"Limit": 1000, "Offset": 2000, "OrderBy": "createtime", "OrderType": 0})
            ),
            ("DescribeInstances".to_owned(), json!({"Limit": 1000, "InstanceIds": ["crs-1", "crs-2"]})),
            ("DescribeInstances".to_owned(), json!({"InstanceId": "crs-1"})),
        ]
    );
}

#[tokio::test]
async fn a_deal_is_asked_for_by_its_id_and_where_that_is_not_known_by_its_name() {
    let server = Server::start(|_, seen| match body(seen).get("DealName") {
        Some(_) => ok(json!({"DealDetails": [{"DealName": "2026x", "Status": 4}]})),
        None => refused("ResourceUnavailable.InstanceNoDeal"),
    })
    .await;
    let client = client(&server);
    let ask = async |deal_id: &str, deal_name: Option<&str>| {
        let order = Accepted { deal_id: deal_id.into(), deal_name: deal_name.map(str::to_owned) };
        client.deal(&caller(), &order).await.unwrap().value
    };
    assert_eq!(ask("432587", Some("2026x")).await, Some(DealState::Delivered));
    assert_eq!(ask("432587", None).await, None);
    assert_eq!(ask("2026x", Some("2026x")).await, Some(DealState::Delivered));
    let asked: Vec<_> = said(&server).into_iter().map(|(_, body)| body).collect();
    let (by_id, by_name) = (json!({"DealIds": ["432587"]}), json!({"DealName": "2026x"}));
    assert_eq!(asked, [by_id.clone(), by_name.clone(), by_id, by_name]);
}

#[tokio::test]
async fn the_price_is_asked_for_as_the_order_would_be() {
    let server = Server::start(|_, _| ok(json!({"Price": 2000.0, "Currency": "CNY", "AmountUnit": "pent"}))).await;
    let price = client(&server).upgrade_price(&caller(), &running(Some(3), Some(1)), 6144).await.unwrap().value;
    assert_eq!((price.hundredths, price.currency.as_str()), (2000, "CNY"));
    let order = json!({"InstanceId": "crs-1", "MemSize": 2048, "RedisShardNum": 3, "RedisReplicasNum": 1});
    assert_eq!(said(&server), [("InquiryPriceUpgradeInstance".to_owned(), order)]);
}

#[tokio::test]
async fn secrets_that_an_answer_repeats_stand_in_no_error() {
    let server = Server::start(|_, seen| {
        let said = format!("{} {}", header(&seen.head, "authorization").unwrap(), SECRETS.join(" "));
        ok(json!({"Error": {"Code": "AuthFailure.SignatureFailure", "Message": said}}))
    })
    .await;
    let error = client(&server).find(&caller(), "crs-1").await.unwrap_err();
    let signature = server.seen()[0].head.split_once("Signature=").unwrap().1.lines().next().unwrap().to_owned();
    for secret in SECRETS.iter().copied().chain([signature.as_str()]) {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    assert_eq!(error.code_desc, "SignatureFailure");
}
