//! Clocks that are wrong: the operator's, the cloud's, those of the cloud's front ends, and the times in the book.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{Operator, World, condition, instance, message, reason, wait_for};

const ID: &str = "crs-00000001";
const HOUR: i64 = 3600;

/// What the log says, once and again, of the operator's own clock.
fn announced(operator: &Operator) -> usize {
    operator.log().matches("Set the clock of its node right").count()
}

fn jumps(operator: &Operator) -> usize {
    operator.log().matches("the cloud's clock has jumped").count()
}

/// The seconds in "… clock is N s …".
fn seconds_in(said: &str) -> i64 {
    let number = said.split_once("clock is ").and_then(|(_, rest)| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number of seconds in {said}"))
}

fn signed_at(entry: &Value) -> Timestamp {
    entry["spec"]["signedAt"].as_str().and_then(|at| at.parse().ok()).expect("a time")
}

/// The window is the real one: four minutes are within, all else is refused with 4500 at first.
#[rstest]
#[tokio::test]
async fn an_operator_whose_clock_is_off_works_on_by_the_clouds_and_says_by_how_much(
    #[values(V2, V3)] api: Api,
    #[values(240, -240, 600, -600, 3 * HOUR, -3 * HOUR)] ahead: i64,
) {
    let world = World::new(api, &format!("clock{ahead}"), &["--timestamp-window", "5m"]).await;
    world.cloud.put("clock", json!({"offsetSeconds": ahead})).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert_eq!(sessions["status"]["lastError"], Value::Null);

    let off = world.book(ID).await.first().map(|entry| signed_at(entry).duration_since(Timestamp::now()).as_secs());
    assert!(off.is_some_and(|off| (off - ahead).abs() < 60), "signed by the cloud's clock: {off:?}");
    let about = |said: i64| (said - ahead.abs()).abs() <= 3;
    wait_for("an Event", async || {
        let notes = world.events("sessions", "ClockSkew").await;
        if notes.len() == 1 && about(seconds_in(&notes[0])) { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await;
    assert_eq!((announced(&operator), jumps(&operator)), (1, 0), "{}", operator.log());
    assert!(about(seconds_in(operator.log().split_once("The operator's").expect("a word").1)));
    let metrics = operator.http_get("metrics", "/metrics").await;
    let metric = metrics.lines().find_map(|line| line.strip_prefix("crs_operator_cloud_clock_offset_seconds "));
    let metric: f64 = metric.and_then(|value| value.parse().ok()).expect("a number");
    assert!((metric - ahead as f64).abs() <= 3.0, "{metric}");

    let refused = world.cloud.ledger().await["refused"].as_array().map_or(0, Vec::len);
    assert!(refused <= if ahead.abs() < 300 { 0 } else { 2 }, "{refused} calls were refused for their time");
    assert!(!operator.log().contains("could not be read"), "4500 reaches nobody: {}", operator.log());
}

#[rstest]
#[case::v2_4200(V2, "order-4200", json!(4200))]
#[case::v2_4500(V2, "order-4500", json!(4500))]
#[case::v3(V3, "order-expire", json!("AuthFailure.SignatureExpire"))]
#[tokio::test]
async fn an_order_answered_that_its_time_is_wrong_is_neither_refused_nor_sent_again_before_it_is_dead(
    #[case] api: Api,
    #[case] test: &str,
    #[case] code: Value,
) {
    let world = World::new(api, test, &[]).await;
    let _operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "error", "code": code})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world
        .wait_until("sessions", "OutcomeUnknown", |sessions| reason(sessions, "Reconciling") == "OutcomeUnknown")
        .await;
    assert_eq!((world.cloud.upgrades().await, world.book(ID).await.len()), (1, 1));
    world.wait_fulfilled("sessions").await;
    let book = world.wait_for_book(ID, &["Abandoned", "Fulfilled"]).await;
    let between = signed_at(&book[1]).duration_since(signed_at(&book[0]));
    assert!(between > SignedDuration::from_secs(4), "lifetime and lag: {between:?}");
    assert_eq!(world.cloud.upgrades().await, 2);
    let said = book[0]["status"]["evidence"].as_str().unwrap_or_default();
    assert!(said.contains(code.to_string().trim_matches('"')), "{said}");
}

#[rstest]
#[tokio::test]
async fn a_cloud_that_goes_on_refusing_the_time_of_looks_is_stalled_and_goes_on_when_it_is_over(
    #[values(V2, V3)] api: Api,
) {
    let world = World::new(api, "clock-refused", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.cloud.put("faults", json!([{"action": api.describe(), "kind": "error", "code": api.error(4500)}])).await;
    world.wait_stalled("sessions", "ClockSkew").await;
    world.cloud.put("faults", json!([])).await;
    world.wait_ready("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 0);
}

#[rstest]
#[tokio::test]
async fn when_the_clouds_clock_is_set_an_order_waits_until_it_runs_evenly_again(
    #[values(V2, V3)] api: Api,
    #[values(600, -600, 3 * HOUR, -3 * HOUR)] ahead: i64,
) {
    let world = World::new(api, &format!("jump{ahead}"), &[]).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.cloud.put("clock", json!({"offsetSeconds": ahead})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    let waits = world.wait_until("sessions", "ClockSkew", |told| reason(told, "Ready") == "ClockSkew").await;
    assert_eq!(condition(&waits, "Reconciling"), "True", "once is waited out: {waits:#}");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 1);
    assert!(jumps(&operator) > 0);
}

/// Between an order and its end: what was bought is neither ordered again nor lost.
#[rstest]
#[tokio::test]
async fn when_the_clouds_clock_is_set_with_an_order_in_the_air_one_is_paid(
    #[values(V2, V3)] api: Api,
    #[values("drop-after", "drop-before")] fate: &str,
    #[values(600, -6)] ahead: i64,
) {
    let world = World::new(api, &format!("jump{ahead}-{fate}"), &[]).await;
    let _operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": fate})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.cloud.wait_for_order().await;
    world.cloud.put("clock", json!({"offsetSeconds": ahead})).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

/// A live order, carried out and not shown yet, and half of the answers from a front end that is hours ahead: by its Date the order would be
/// long dead. (The window is so wide that the cloud itself refuses nothing.)
#[rstest]
#[tokio::test]
async fn an_order_is_not_given_up_by_a_date_that_can_not_be_right(#[values(V2, V3)] api: Api) {
    let cloud = ["--timestamp-window", "4h", "--visible-after", "8s", "--while-invisible", "accept"];
    let world = World::new(api, "wrong-date", &cloud).await;
    let operator = world.operator(&["--cloud-lag", "9s"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    let skew = json!({"action": api.describe(), "kind": "skew", "ms": 3 * HOUR * 1000, "rate": 0.5});
    let lost = json!({"action": api.upgrade(), "kind": "drop-after", "times": 1});
    world.cloud.put("faults", json!([lost])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.cloud.wait_for_order().await;
    world.cloud.put("faults", json!([skew])).await;
    wait_for("a look with that Date", async || {
        let asked = json!({"crs.qcloud.com/requestedAt": world.cloud.looks().await.to_string()});
        world.patch("sessions", json!({"metadata": {"annotations": asked}})).await;
        if jumps(&operator) > 0 { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    // By that look it would be given up, and ordered again.
    world.wait_for_book(ID, &["Written"]).await;
    let shown = world.cloud.get(&format!("instances/{ID}")).await;
    assert_eq!(shown["memSize"], 1024, "it doesn't show yet: {shown}");
    world.cloud.wait_for_size(ID, 2048).await;
    world.cloud.put("faults", json!([])).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 1, "{:#?}", world.book(ID).await);
    assert!(jumps(&operator) > 0, "{}", operator.log());
    world.wait_for_book(ID, &["Fulfilled"]).await;
}

/// The order is carried out and doesn't show yet, and who has signed it is gone. By the first Date that the next one sees it would be long dead:
/// that of a front end which is hours ahead; or a right one, which its machine's clock confirms, where the cloud's clock was behind before.
#[rstest]
#[case::ahead_after_it("first-date", 0, 3 * HOUR)]
#[case::behind_before_it("set-between", -3 * HOUR, 0)]
#[tokio::test]
async fn an_order_is_not_given_up_by_a_clock_that_changed_while_nobody_ran(
    #[values(V2, V3)] api: Api,
    #[case] name: &str,
    #[case] before: i64,
    #[case] after: i64,
) {
    let cloud = ["--timestamp-window", "4h", "--visible-after", "5s", "--while-invisible", "accept"];
    let world = World::new(api, name, &cloud).await;
    let skew = |seconds: i64| json!({"kind": "skew", "ms": seconds * 1000, "rate": 1});
    let lost = json!({"action": api.upgrade(), "kind": "drop-after", "times": 1});
    world.cloud.put("faults", json!([lost, skew(before)])).await;
    world.kill_once_it_has_ordered(ID).await;
    world.cloud.put("faults", json!([skew(after)])).await;
    let _operator = world.operator(&["--cloud-lag", "6s"]);
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 1, "{:#?}", world.book(ID).await);
}

/// The growth was noted as fulfilled by a clock that was hours behind: by the right one the lag is long over. A look may still show the size of
/// before, whatever a person says.
#[rstest]
#[tokio::test]
async fn go_on_waits_for_the_lag_also_where_the_clock_that_noted_the_growth_was_behind(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "behind-before", &["--timestamp-window", "4h"]).await;
    world.cloud.put("faults", json!([{"kind": "skew", "ms": -3 * HOUR * 1000, "rate": 1}])).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    operator.kill().await;
    world.cloud.put("faults", json!([])).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 1024})).await;
    let go_on = format!("crs.qcloud.com/proceed-after={ID}-1");
    world.kubectl(&["annotate", "crs", "sessions", &go_on]).await.expect("a person's word");

    let (lag, began) = (Duration::from_secs(5), Instant::now());
    let _operator = world.operator(&["--cloud-lag", "5s"]);
    wait_for("the second order", async || match world.cloud.orders(ID).await.len() {
        2 => Ok(()),
        orders => Err(format!("{orders} orders")),
    })
    .await;
    assert!(began.elapsed() >= lag, "after {:?}", began.elapsed());
}

/// A single Date that is days ahead makes no entry old.
#[rstest]
#[tokio::test]
async fn nothing_is_deleted_from_the_book_by_a_date_that_can_not_be_right(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "wrong-date-prunes", &[]).await;
    // So that the clock has not run evenly for that long while the test lasts.
    let _operator = world.operator(&["--request-lifetime", "5m"]);
    // The first of two refusals goes once it is a day old.
    for (size, refusals) in [(2048, 1), (3072, 2)] {
        world.next_order_meets(json!({"kind": "error", "code": api.error(11063)})).await;
        world.apply(instance("sessions", ID, size)).await.expect("a RedisInstance");
        world.wait_for_book(ID, &vec!["Refused"; refusals]).await;
    }
    world.apply(instance("sessions", ID, 4096)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let days = json!({"action": api.describe(), "kind": "skew", "ms": 24 * HOUR * 1000, "rate": 0.7});
    world.cloud.put("faults", json!([days])).await;
    for n in 1..=12 {
        let asked = format!("crs.qcloud.com/requestedAt={n}");
        world.kubectl(&["annotate", "--overwrite", "crs", "sessions", &asked]).await.expect("an annotation");
        let n = n.to_string();
        world.wait_until("sessions", "a look", |told| told["status"]["lastHandledRequestedAt"] == n.as_str()).await;
    }
    world.wait_for_book(ID, &["Refused", "Refused", "Fulfilled"]).await;
}

#[rstest]
#[tokio::test]
async fn front_ends_half_a_minute_off_either_way_make_no_noise(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "front-ends", &["--timestamp-window", "5m"]).await;
    world
        .cloud
        .put(
            "faults",
            json!([
                {"kind": "skew", "ms": 30_000, "rate": 0.4}, {"kind": "skew", "ms": -30_000, "rate": 0.7}
            ]),
        )
        .await;
    let operator = world.operator(&["--resync", "200ms"]);
    for size in [2048, 3072] {
        world.apply(instance("sessions", ID, size)).await.expect("a RedisInstance");
        world.wait_fulfilled("sessions").await;
    }
    world.cloud.wait_for_looks(20).await;
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 2048), (2048, 3072)]);
    assert_eq!((jumps(&operator), announced(&operator)), (0, 0), "{}", operator.log());
    assert!(world.events("sessions", "ClockSkew").await.is_empty());
}

/// Beyond what is assumed of the cloud: nothing is ordered, somebody is told, and it goes on by itself when the clocks agree.
#[rstest]
#[tokio::test]
async fn front_ends_minutes_apart_order_nothing_and_say_so(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "front-ends-apart", &["--timestamp-window", "10m"]).await;
    world.cloud.put("faults", json!([{"kind": "skew", "ms": 240_000, "rate": 0.5}])).await;
    let _operator = world.operator(&["--resync", "200ms"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.cloud.wait_for_looks(10).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    let told = world.wait_stalled("sessions", "ClockSkew").await;
    assert!(message(&told).contains("has jumped"), "{told:#}");
    assert_eq!(world.cloud.upgrades().await, 0);
    world.cloud.put("faults", json!([])).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 1);
}

#[rstest]
#[tokio::test]
async fn an_entry_signed_in_the_future_orders_nothing_and_says_until_when_and_what_to_do(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "future", &[]).await;
    let _operator = world.operator(&[]);
    let by_hand = async |redis_id: &str, signed_at: &str| {
        let entry = json!({
            "apiVersion": "crs.qcloud.com/v1alpha1",
            "kind": "RedisUpgrade",
            "metadata": {
                "name": format!("{redis_id}-1"),
                "namespace": world.book_namespace,
                "labels": {"crs.qcloud.com/redis-id": redis_id},
            },
            "spec": {
                "redisId": redis_id, "region": "gz", "from": 1024, "to": 2048, "signedAt": signed_at,
                "instanceRef": {"namespace": "x", "name": "x", "path": "x/x", "uid": "x", "generation": 1},
            },
        });
        world.cluster.kubectl_with(&["apply", "-f", "-"], &entry.to_string()).await.expect("an entry");
    };
    by_hand(ID, "2126-01-01T00:00:00Z").await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let told = world.wait_stalled("sessions", "ClockSkew").await;
    for fact in ["2126-01-01T00:00:04Z", &format!("delete {ID}-1")] {
        assert!(message(&told).contains(fact), "{fact} in {}", message(&told));
    }
    // Past what a program can reckon with: the book can't be read, and that is said.
    by_hand("crs-00000002", "9999-12-31T23:59:59Z").await;
    world.apply(instance("cache", "crs-00000002", 2048)).await.expect("a RedisInstance");
    world.wait_until("cache", "BookUnavailable", |told| reason(told, "Reconciling") == "BookUnavailable").await;
    assert_eq!(world.cloud.upgrades().await, 0);
    for (name, redis_id) in [("sessions", ID), ("cache", "crs-00000002")] {
        let arguments = ["-n", &world.book_namespace, "delete", "crsup", &format!("{redis_id}-1")];
        world.cluster.kubectl(&arguments).await.expect("no entry");
        world.wait_fulfilled(name).await;
        assert_eq!(world.cloud.orders(redis_id).await.len(), 1);
    }
}
