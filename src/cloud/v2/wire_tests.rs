//! What travels, against a real socket.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::cloud::testing::{Seen, Server, Then, header, http};
use crate::cloud::{Credentials, ErrorKind, InstanceState, Layout};

/// `Date` of the answers, and the local clock of the client unless a test says otherwise.
const DATE: &str = "Date: Tue, 24 Nov 2026 20:27:34 GMT\r\n";
const DATE_SECOND: i64 = 1_795_552_054;
const WRONG_DATE: &str = "Date: Mon, 24 Nov 2036 20:27:34 GMT\r\n";
const SECRETS: [&str; 3] = ["AKIDexampleExample", "exampleKey0123456789", "to+ken/0123456789=="];

fn caller() -> Caller {
    let [id, key, token] = SECRETS.map(str::to_owned);
    Caller::new(Credentials { secret_id: id, secret_key: key.into(), token: Some(token.into()) }, "ap-guangzhou".into())
}

fn client_at(server: &Server, local: i64) -> V2 {
    let [connect, read, order] = [5_000, 5_000, 5_000].map(Duration::from_millis);
    client_with(&server.url, local, Timeouts { connect, read, order })
}

fn client_with(url: &str, local: i64, timeouts: Timeouts) -> V2 {
    V2::with_timeouts(Some(url), || 41, move || Timestamp::from_second(local).unwrap(), timeouts).unwrap()
}

fn client(server: &Server) -> V2 {
    client_at(server, DATE_SECOND)
}

fn permit_until(send_before: Instant) -> SendPermit {
    SendPermit::for_test("crs-1", 2048, Timestamp::from_second(1_700_000_000).unwrap(), send_before)
}

fn permit() -> SendPermit {
    permit_until(Instant::now() + Duration::from_secs(3600))
}

fn running() -> Instance {
    let (redis_id, state) = ("crs-1".into(), InstanceState::Running);
    Instance { redis_id, state, size: 1024, zone_id: None, type_id: None, layout: Layout::default() }
}

fn ok(body: Value) -> Then {
    http("200 OK", DATE, &body.to_string())
}

fn none() -> Value {
    json!({"code": 0, "message": "", "totalCount": 0, "data": {"redisSet": []}})
}

fn accepted() -> Value {
    json!({"code": "0", "message": "", "codeDesc": "Success", "data": {"dealId": "432587"}})
}

async fn server(answer: impl Fn() -> Then + Send + Sync + 'static) -> Server {
    Server::start(move |_, _| answer()).await
}

/// Kind, word and message of the error that both a look and an order end with, each sent once.
async fn both_fail(client: &V2, server: &Server) -> (ErrorKind, String, String) {
    let look = client.find(&caller(), "crs-1").await.unwrap_err();
    let order = client.upgrade(&caller(), &running(), permit()).await.unwrap_err();
    assert_eq!((look.kind, &look.code_desc), (order.kind, &order.code_desc));
    assert_eq!(actions(server), ["DescribeRedis", "UpgradeRedis"]);
    (order.kind, order.code_desc, order.message)
}

fn actions(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.field("Action").unwrap()).collect()
}

#[tokio::test]
async fn an_order_says_what_its_permit_says_and_is_signed() {
    let server = server(|| ok(accepted())).await;
    let answer = client(&server).upgrade(&caller(), &running(), permit()).await.unwrap();
    assert_eq!((answer.value.deal_id.as_str(), answer.at.as_second()), ("432587", DATE_SECOND));

    let [seen]: [Seen; 1] = server.seen().try_into().ok().unwrap();
    assert!(seen.head.starts_with("POST /v2/index.php HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(header(&seen.head, "content-type"), Some("application/x-www-form-urlencoded"));
    let (signature, rest): (Vec<_>, Vec<_>) = seen.fields().into_iter().partition(|(name, _)| name == "Signature");
    let host = header(&seen.head, "host").unwrap();
    let expected =
        sign::signature(SignatureMethod::HmacSha256, &SECRETS[1].to_owned().into(), host, "/v2/index.php", &rest);
    assert_eq!(signature, [("Signature".to_owned(), expected)]);
    for (name, value) in [
        ("Action", "UpgradeRedis"),
        ("Region", "gz"),
        ("Timestamp", "1700000000"),
        ("Nonce", "42"),
        ("SecretId", SECRETS[0]),
        ("SignatureMethod", "HmacSHA256"),
        ("Token", SECRETS[2]),
        ("redisId", "crs-1"),
        ("memSize", "2048"),
    ] {
        assert_eq!(seen.field(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn each_order_has_a_connection_of_its_own_and_looks_share_one() {
    let server = Server::start(|_, seen| ok(if seen.field("memSize").is_some() { accepted() } else { none() })).await;
    let client = client(&server);
    for _ in 0..2 {
        client.find(&caller(), "crs-1").await.unwrap();
    }
    for _ in 0..2 {
        client.upgrade(&caller(), &running(), permit()).await.unwrap();
    }
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1, 2]);
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_is_sent_once() {
    let server = server(|| Then::Close).await;
    let (kind, word, _) = both_fail(&client(&server), &server).await;
    assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "ConnectionLost"));
}

#[tokio::test]
async fn an_order_that_comes_too_late_is_not_sent() {
    let server = server(|| ok(accepted())).await;
    let client = client(&server);
    // By the time that the connection stands.
    let error = client.upgrade(&caller(), &running(), permit_until(Instant::now())).await.unwrap_err();
    assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NotSent, "TooLate"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client_with(&url, 0, Timeouts::default()).upgrade(&caller(), &running(), permit()).await.unwrap_err();
    assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NotSent, "ConnectFailed"));
    assert!(error.message.contains("refused") && !error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let server = server(|| Then::Hang).await;
    let [connect, read, order] = [50, 50, 50].map(Duration::from_millis);
    let client = client_with(&server.url, 0, Timeouts { connect, read, order });
    let (kind, word, _) = both_fail(&client, &server).await;
    assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "Timeout"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let aim = Server::start(|_, _| ok(accepted())).await;
    let location = format!("{DATE}Location: {}/v2/index.php\r\n", aim.url);
    let server = server(move || http("307 Temporary Redirect", &location, "")).await;
    let (kind, word, message) = both_fail(&client(&server), &server).await;
    assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "HttpStatus"));
    assert!(message.contains("307") && message.contains("redirects are not followed"), "{message}");
    assert!(aim.seen().is_empty());
}

#[tokio::test]
async fn another_status_is_no_answer_whatever_the_body_says() {
    for status in ["500 Internal Server Error", "502 Bad Gateway", "404 Not Found", "201 Created"] {
        let server = server(move || http(status, DATE, &accepted().to_string())).await;
        let (kind, word, message) = both_fail(&client(&server), &server).await;
        assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "HttpStatus"));
        assert!(message.contains(status), "{message}");
    }
}

#[tokio::test]
async fn a_look_without_a_readable_date_is_no_answer_and_an_accepted_order_keeps_its_deal() {
    for date in ["", "Date: yesterday\r\n", "Date: 1795552054\r\n"] {
        let server = server(move || http("200 OK", date, &accepted().to_string())).await;
        let client = client(&server);
        let look = client.find(&caller(), "crs-1").await.unwrap_err();
        assert_eq!((look.kind, look.code_desc.as_str()), (ErrorKind::NoAnswer, "Unreadable"));
        assert!(look.message.contains("Date"), "{}", look.message);
        assert_eq!(client.upgrade(&caller(), &running(), permit()).await.unwrap().value.deal_id, "432587");
    }
}

#[tokio::test]
async fn a_page_of_html_is_named_and_not_quoted() {
    let headers = format!("{DATE}Content-Type: text/html\r\n");
    let server = server(move || http("200 OK", &headers, "<html>busy</html>")).await;
    let (kind, word, message) = both_fail(&client(&server), &server).await;
    assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "Unreadable"));
    assert!(message.contains("text/html, 17 bytes") && !message.contains("busy"), "{message}");
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_no_answer() {
    for (length, expected) in [("", "Unreadable"), ("Content-Length: 60\r\n", "ConnectionLost")] {
        let cut = format!(
            "HTTP/1.1 200 OK\r\n{DATE}Connection: close\r\n{length}\r\n{{\"code\":\"0\",\"data\":{{\"dealId\":\"43\""
        );
        let server = server(move || Then::Answer(cut.clone())).await;
        let (kind, word, _) = both_fail(&client(&server), &server).await;
        assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, expected));
    }
}

#[tokio::test]
async fn an_oversized_body_is_not_read_to_its_end() {
    let body = " ".repeat(17 << 20);
    let server = server(move || http("200 OK", DATE, &body)).await;
    let (kind, word, _) = both_fail(&client(&server), &server).await;
    assert_eq!((kind, word.as_str()), (ErrorKind::NoAnswer, "TooLong"));
}

#[tokio::test]
async fn a_code_that_says_there_is_none_is_none() {
    let server = Server::start(|_, seen| {
        let deal = seen.field("dealIds.0").is_some();
        ok(json!({"code": if deal { "11059" } else { "5100" }, "message": if deal { "" } else { "(10701)no such instance" }}))
    })
    .await;
    let client = client(&server);
    let found = client.find(&caller(), "crs-1").await.unwrap();
    assert_eq!((found.value, found.at.as_second()), (None, DATE_SECOND));
    let deal = Accepted { deal_id: "432587".into(), deal_name: None };
    assert_eq!(client.deal(&caller(), &deal).await.unwrap().value, None);
    // An order for an instance that is gone is refused, not "none".
    assert_eq!(client.upgrade(&caller(), &running(), permit()).await.unwrap_err().code, Some(10701));
}

#[tokio::test]
async fn a_page_is_asked_for_in_a_stable_order() {
    let server = server(|| ok(none())).await;
    client(&server).list(&caller(), 200).await.unwrap();
    let seen = &server.seen()[0];
    let asked = ["limit", "offset", "orderBy", "orderType"].map(|name| seen.field(name).unwrap());
    assert_eq!(asked, ["100", "200", "redisId", "0"]);
}

/// Refuses each Timestamp that is not the one of the answers' `Date`.
async fn strict_server(code: i64) -> Server {
    Server::start(move |_, seen| {
        let sent: i64 = seen.field("Timestamp").unwrap().parse().unwrap();
        let right = (sent - DATE_SECOND).abs() <= 5;
        ok(if right { none() } else { json!({"code": code, "message": "timestamp"}) })
    })
    .await
}

#[tokio::test]
async fn a_look_refused_for_its_time_is_repeated_once_with_the_clouds() {
    for code in [4200, 4500] {
        let server = strict_server(code).await;
        let client = client_at(&server, DATE_SECOND - 3 * 3600);
        assert_eq!(client.clock().offset(), None);
        assert_eq!(client.find(&caller(), "crs-1").await.unwrap().value, None);
        assert_eq!(server.seen().len(), 2);
        assert_eq!(client.clock().offset().map(|offset| offset.as_secs()), Some(3 * 3600));
        // And from then on it follows the cloud's clock.
        client.find(&caller(), "crs-1").await.unwrap();
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn a_look_refused_for_its_time_is_not_repeated_when_the_clocks_agree_or_twice() {
    let server = server(|| ok(json!({"code": 4500, "message": "replay"}))).await;
    let error = client(&server).find(&caller(), "crs-1").await.unwrap_err();
    assert_eq!((error.code, server.seen().len()), (Some(4500), 1));
    let error = client_at(&server, 0).find(&caller(), "crs-1").await.unwrap_err();
    assert_eq!((error.code, server.seen().len()), (Some(4500), 3));
}

#[tokio::test]
async fn an_order_refused_for_its_time_is_not_repeated() {
    let server = strict_server(4200).await;
    let error = client_at(&server, 0).upgrade(&caller(), &running(), permit()).await.unwrap_err();
    assert_eq!((error.code, error.at.map(Timestamp::as_second)), (Some(4200), Some(DATE_SECOND)));
    assert_eq!(actions(&server), ["UpgradeRedis"]);
}

/// The book would have it for good.
#[tokio::test]
async fn a_date_that_jumps_is_told_and_is_not_taken_from_the_answer_to_an_order() {
    let server = Server::start(|number, seen| {
        let date = if number == 0 { DATE } else { WRONG_DATE };
        http("200 OK", date, &if seen.field("memSize").is_some() { accepted() } else { none() }.to_string())
    })
    .await;
    let client = client(&server);
    client.find(&caller(), "crs-1").await.unwrap();
    let order = client.upgrade(&caller(), &running(), permit()).await.unwrap();
    assert!((order.at.as_second() - DATE_SECOND).abs() < 30, "{}", order.at);
    assert_eq!(client.clock().jump(), None);
    client.find(&caller(), "crs-1").await.unwrap();
    assert_eq!(client.clock().jump().map(|jump| jump.by.as_hours() / 24 / 365), Some(10));
}

#[tokio::test]
async fn secrets_that_an_answer_repeats_stand_in_no_error() {
    let server = Server::start(|_, seen| {
        let echo = seen.fields().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        // As in errors about signatures: the string that was signed; and a code that is a secret.
        ok(json!({"code": SECRETS[1], "codeDesc": SECRETS[1], "message": format!("{}\r\n{}", seen.head.len(), echo.replace("Action", "\u{202e}"))}))
    })
    .await;
    let client = client(&server);
    let look = client.find(&caller(), "crs-1").await.unwrap_err();
    let order = client.upgrade(&caller(), &running(), permit()).await.unwrap_err();
    let said = format!("{look} {look:?} {order} {order:?}");
    for seen in server.seen() {
        let signature = seen.field("Signature").unwrap();
        for secret in SECRETS.iter().copied().chain([signature.as_str()]) {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
    assert!(order.message.chars().count() <= 300 && !order.message.contains(['\n', '\u{202e}']));
    assert!(!format!("{:?}", caller()).contains(SECRETS[1]) && !format!("{:?}", caller()).contains(SECRETS[2]));
}
