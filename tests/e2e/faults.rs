//! Things go wrong between the operator and the cloud. Whatever happens, a growth is paid once.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, codes, instance, reason, wait_for};

const ID: &str = "crs-00000001";

/// One order meets a fault; the operator is left alone with that. Gives the phases in the book at the end.
async fn grows_in_spite_of(api: Api, test: &str, fault: Value) -> Vec<Value> {
    let world = World::new(api, test, &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.next_order_meets(fault).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.wait_fulfilled("sessions").await;
    let orders = world.cloud.orders(ID).await;
    assert_eq!(orders.len(), 1, "{orders:?}");
    world.book(ID).await.iter().map(|entry| entry["status"]["phase"].clone()).collect()
}

#[rstest]
#[tokio::test]
async fn an_order_whose_answer_is_lost_is_found_and_not_repeated(#[values(V2, V3)] api: Api) {
    let phases = grows_in_spite_of(api, "drop-after", json!({"kind": "drop-after"})).await;
    assert_eq!(phases, ["Fulfilled"]);
}

#[rstest]
#[tokio::test]
async fn an_order_lost_before_it_arrived_is_made_again_once_that_is_sure(#[values(V2, V3)] api: Api) {
    let phases = grows_in_spite_of(api, "drop-before", json!({"kind": "drop-before"})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

#[rstest]
#[tokio::test]
async fn an_order_that_arrives_late_but_in_time_is_waited_for(#[values(V2, V3)] api: Api) {
    let phases = grows_in_spite_of(api, "late", json!({"kind": "late", "ms": 2000})).await;
    assert_eq!(phases, ["Fulfilled"]);
}

#[rstest]
#[tokio::test]
async fn an_order_that_arrives_after_its_lifetime_is_refused_by_the_cloud_and_made_again(#[values(V2, V3)] api: Api) {
    let phases = grows_in_spite_of(api, "too-late", json!({"kind": "late", "ms": 6000})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

#[rstest]
#[tokio::test]
async fn an_order_without_an_answer_is_waited_for_no_longer_than_its_lifetime(#[values(V2, V3)] api: Api) {
    let phases = grows_in_spite_of(api, "hang", json!({"kind": "hang"})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

/// Each leaves the outcome of an order open that the cloud did carry out.
#[rstest]
#[case::a_truncated_answer("truncated", json!({"kind": "truncated"}))]
#[case::an_oversized_answer("oversized", json!({"kind": "oversized"}))]
#[case::an_http_500("http-500", json!({"kind": "http-500"}))]
#[case::a_web_page("html", json!({"kind": "html"}))]
#[case::a_replay_error("replay", json!({"kind": "error", "code": api.error(4500)}))]
#[case::operation_failed("operation-failed", json!({"kind": "error", "code": api.error(5100)}))]
#[case::an_internal_error("internal-error", json!({"kind": "error", "code": api.error(6000)}))]
#[case::an_error_never_seen_before("never-seen", json!({"kind": "error", "code": api.error(987_654)}))]
#[tokio::test]
async fn what_is_no_refusal_is_not_ordered_again(
    #[values(V2, V3)] api: Api,
    #[case] test: &str,
    #[case] mut fault: Value,
) {
    fault["carriedOut"] = json!(true);
    assert_eq!(grows_in_spite_of(api, test, fault).await, ["Fulfilled"]);
}

/// These sound like refusals: nothing was done here, but the next time something may have been.
#[rstest]
#[case::unknown("3-0-unknown", "FailedOperation.Unknown", Value::Null)]
#[case::pay_failed("3-0-pay-failed", "FailedOperation.PayFailed", json!(100_207))]
#[tokio::test]
async fn what_fails_in_3_0_is_waited_for_until_nothing_can_come_of_it(
    #[case] test: &str,
    #[case] name: &str,
    #[case] number: Value,
) {
    let world = World::new(V3, test, &[]).await;
    let _operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "error", "code": name})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let open = world
        .wait_until("sessions", "OutcomeUnknown", |sessions| reason(sessions, "Reconciling") == "OutcomeUnknown")
        .await;
    assert_eq!(codes(&open), [number, json!(name)]);
    assert_eq!(world.book(ID).await[0]["status"]["phase"], "Written");
    world.wait_fulfilled("sessions").await;
    let book = world.wait_for_book(ID, &["Abandoned", "Fulfilled"]).await;
    let [first, second] = [0, 1].map(|n| book[n]["spec"]["signedAt"].as_str().and_then(|at| at.parse().ok()));
    let between = second.zip(first).map(|(second, first): (Timestamp, Timestamp)| second.duration_since(first));
    // Lifetime and lag.
    assert!(between > Some(SignedDuration::from_secs(4)), "{between:?}");
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn an_accepted_order_that_does_not_show_yet_is_not_made_again(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "invisible", &["--visible-after", "900ms", "--while-invisible", "accept"]).await;
    let _operator = world.operator(&["--resync", "200ms"]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_cloud_that_can_not_be_asked_makes_ready_unknown_and_comes_back(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "cloud-away", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    for fault in [
        json!({"kind": "http-500"}),
        json!({"kind": "html"}),
        json!({"kind": "truncated"}),
        json!({"kind": "oversized"}),
    ] {
        world.cloud.put("faults", json!([fault])).await;
        world.wait_until("sessions", "unknown", |sessions| reason(sessions, "Ready") == "CloudUnavailable").await;
        world.cloud.put("faults", json!([])).await;
        world.wait_ready("sessions").await;
    }
    assert_eq!(world.cloud.upgrades().await, 0);
}

#[rstest]
#[tokio::test]
async fn a_region_that_hangs_holds_up_no_other(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "region-hangs", &[]).await;
    world.cloud.post("instances", json!({"redisId": "crs-hongkong", "region": "hk", "zoneId": 300_001})).await;
    world.cloud.put("faults", json!([{"kind": "hang", "region": "hk"}])).await;
    let _operator = world.operator(&["--concurrency", "1"]);
    let mut far = instance("far", "crs-hongkong", 2048);
    far["spec"]["region"] = json!("hk");
    world.apply(far).await.expect("a RedisInstance");
    wait_for("a call that hangs", async || if world.cloud.looks().await > 0 { Ok(()) } else { Err("none".into()) })
        .await;
    world.apply(instance("near", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("near").await;
    assert_eq!(world.cloud.ledger().await["orders"].as_array().map(Vec::len), Some(1));
}

#[rstest]
#[tokio::test]
async fn a_throttling_cloud_is_called_less_and_gets_its_order_in_the_end(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "throttled", &[]).await;
    world.cloud.put("faults", json!([{"kind": "error", "code": api.error(4400), "times": 4}])).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[tokio::test]
async fn more_at_once_than_3_0_takes_in_a_second_are_all_paid_once() {
    const MANY: usize = 20;
    // The cloud's own limit is 20, which a busy machine doesn't reach.
    let world = World::new(V3, "burst", &["--rate-limit", "3", "--count", "20"]).await;
    let _operator = world.operator(&["--concurrency", "100"]);
    let name = |n: usize| (format!("cache-{n}"), format!("crs-{n:08}"));
    let all: Vec<_> = (1..=MANY).map(|n| instance(&name(n).0, &name(n).1, 2048)).collect();
    world.apply(json!({"apiVersion": "v1", "kind": "List", "items": all})).await.expect("RedisInstances");
    for n in 1..=MANY {
        world.wait_fulfilled(&name(n).0).await;
        assert_eq!(world.cloud.orders(&name(n).1).await.len(), 1, "{n}");
    }
    let ledger = world.cloud.ledger().await;
    let refused = ledger["refused"].as_array().into_iter().flatten();
    let limited = refused.filter(|refused| refused["code"] == "RequestLimitExceeded").count();
    assert!(limited > 0, "the limit was reached: {}", ledger["calls"]);
}

#[rstest]
#[tokio::test]
async fn the_operator_killed_with_an_order_in_the_air_finds_it_after_the_restart(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "killed", &[]).await;
    world.kill_with_an_order_in_the_air(ID, json!({"kind": "delay", "ms": 10_000})).await;
    let book = world.book(ID).await;
    assert_eq!(book.len(), 1);
    assert_eq!(book[0]["status"]["dealId"], json!(null), "nobody heard of a deal: {book:?}");

    let _operator = world.operator(&[]);
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert_eq!(world.book(ID).await.len(), 1);
}

/// 3.0 would carry out the smaller one too, had the larger one gone first.
#[rstest]
#[tokio::test]
async fn a_larger_order_waits_until_a_smaller_one_in_the_air_has_come_down(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "in-turn", &[]).await;
    world.kill_with_an_order_in_the_air(ID, json!({"kind": "late", "ms": 1800})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 4096)).await.expect("still more memory");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 2048), (2048, 4096)]);
    world.wait_for_book(ID, &["Fulfilled", "Fulfilled"]).await;
}

#[rstest]
#[tokio::test]
async fn killed_again_and_again_each_growth_is_paid_once(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "killed-often", &["--visible-after", "300ms"]).await;
    for n in 1..=4 {
        world.apply(instance(&format!("cache-{n}"), &format!("crs-0000000{n}"), 2048)).await.expect("a RedisInstance");
    }
    // Each run ends when one more entry is in the book, or one more order in the ledger: in the thick of it.
    for n in 1..=4 {
        let operator = world.operator(&[]);
        wait_for("something new", async || {
            let written = world.list("RedisUpgrade", &world.book_namespace).await.len();
            let ordered = world.cloud.ledger().await["orders"].as_array().map_or(0, Vec::len);
            let seen = if n % 2 == 0 { written } else { ordered };
            if seen >= n { Ok(()) } else { Err(format!("{written} written, {ordered} ordered")) }
        })
        .await;
        operator.kill().await;
    }
    let _operator = world.operator(&[]);
    for n in 1..=4 {
        world.wait_fulfilled(&format!("cache-{n}")).await;
        let orders = world.cloud.orders(&format!("crs-0000000{n}")).await;
        assert_eq!(orders.len(), 1, "{orders:?}");
    }
}

#[rstest]
#[tokio::test]
async fn two_operators_without_a_leader_pay_once(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "two", &["--visible-after", "500ms", "--while-invisible", "accept"]).await;
    let _operators = [world.operator(&[]), world.operator(&[]), world.operator(&[])];
    for n in 1..=8 {
        world.apply(instance(&format!("cache-{n}"), &format!("crs-0000000{n}"), 2048)).await.expect("a RedisInstance");
    }
    for n in 1..=8 {
        world.wait_fulfilled(&format!("cache-{n}")).await;
        let orders = world.cloud.orders(&format!("crs-0000000{n}")).await;
        assert_eq!(orders.len(), 1, "{orders:?}");
    }
}

#[rstest]
#[tokio::test]
async fn those_that_can_not_be_asked_for_do_not_hold_up_the_list(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "asks-fail", &[]).await;
    let mut all = vec![instance("near", ID, 1024)];
    let mut faults = Vec::new();
    for n in 1..=8 {
        let id = format!("crs-invpc00{n}");
        world.cloud.post("instances", json!({"redisId": id, "vpcId": 7})).await;
        faults.push(json!({"action": api.describe(), "redisId": id, "kind": "http-500"}));
        all.push(instance(&format!("vpc-{n}"), &id, 1024));
    }
    world.cloud.put("faults", json!(faults)).await;
    world.apply(json!({"apiVersion": "v1", "kind": "List", "items": all})).await.expect("RedisInstances");
    let _operator = world.operator(&[]);
    world.wait_ready("near").await;
    let begun = Instant::now();
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    world.wait_until("near", "seen larger", |near| near["status"]["memSize"] == 4096).await;
    // One after the other, with the pauses after each, the others would take three times this.
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    world.cloud.put("faults", json!([])).await;
    for n in 1..=8 {
        world.wait_ready(&format!("vpc-{n}")).await;
    }
}
