//! Things go wrong between the operator and the cloud. Whatever happens, a growth is paid once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{World, instance, reason, wait_for};

const ID: &str = "crs-00000001";

/// One order meets a fault; the operator is left alone with that. Gives the phases in the book at the end.
async fn grows_in_spite_of(test: &str, fault: Value) -> Vec<Value> {
    let world = World::new(test, &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.cloud.put("faults", json!([fault])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.wait_fulfilled("sessions").await;
    let orders = world.cloud.orders(ID).await;
    assert_eq!(orders.len(), 1, "{orders:?}");
    world.book(ID).await.iter().map(|entry| entry["status"]["phase"].clone()).collect()
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_is_found_and_not_repeated() {
    let phases =
        grows_in_spite_of("drop-after", json!({"action": "UpgradeRedis", "kind": "drop-after", "times": 1})).await;
    assert_eq!(phases, ["Fulfilled"]);
}

#[tokio::test]
async fn an_order_lost_before_it_arrived_is_made_again_once_that_is_sure() {
    let phases =
        grows_in_spite_of("drop-before", json!({"action": "UpgradeRedis", "kind": "drop-before", "times": 1})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

#[tokio::test]
async fn an_order_that_arrives_late_but_in_time_is_waited_for() {
    let phases =
        grows_in_spite_of("late", json!({"action": "UpgradeRedis", "kind": "late", "ms": 2000, "times": 1})).await;
    assert_eq!(phases, ["Fulfilled"]);
}

#[tokio::test]
async fn an_order_that_arrives_after_its_lifetime_is_refused_by_the_cloud_and_made_again() {
    let phases =
        grows_in_spite_of("too-late", json!({"action": "UpgradeRedis", "kind": "late", "ms": 6000, "times": 1})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

#[tokio::test]
async fn an_order_without_an_answer_is_waited_for_no_longer_than_its_lifetime() {
    let phases = grows_in_spite_of("hang", json!({"action": "UpgradeRedis", "kind": "hang", "times": 1})).await;
    assert_eq!(phases, ["Abandoned", "Fulfilled"]);
}

/// Tests that run side by side: each fault leaves the outcome of an order open that the cloud did carry out.
macro_rules! no_refusal {
    ($($test:ident: $fault:tt,)*) => {$(
        #[tokio::test]
        async fn $test() {
            let mut fault = json!($fault);
            fault["action"] = json!("UpgradeRedis");
            fault["times"] = json!(1);
            fault["carriedOut"] = json!(true);
            assert_eq!(grows_in_spite_of(&stringify!($test).replace('_', "-"), fault).await, ["Fulfilled"]);
        }
    )*};
}

no_refusal! {
    a_truncated_answer_is_no_refusal: {"kind": "truncated"},
    an_oversized_answer_is_no_refusal: {"kind": "oversized"},
    an_http_500_is_no_refusal: {"kind": "http-500"},
    a_web_page_is_no_refusal: {"kind": "html"},
    a_replay_error_is_no_refusal: {"kind": "error", "code": 4500},
    operation_failed_is_no_refusal: {"kind": "error", "code": 5100},
    an_internal_error_is_no_refusal: {"kind": "error", "code": 6000},
    an_error_never_seen_before_is_no_refusal: {"kind": "error", "code": 987_654},
}

#[tokio::test]
async fn an_accepted_order_that_does_not_show_yet_is_not_made_again() {
    let world = World::new("invisible", &["--visible-after", "900ms", "--while-invisible", "accept"]).await;
    let _operator = world.operator(&["--resync", "200ms"]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[tokio::test]
async fn a_cloud_that_can_not_be_asked_makes_ready_unknown_and_comes_back() {
    let world = World::new("cloud-away", &[]).await;
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
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);
}

#[tokio::test]
async fn a_region_that_hangs_holds_up_no_other() {
    let world = World::new("region-hangs", &[]).await;
    world.cloud.post("instances", json!({"redisId": "crs-hongkong", "region": "hk", "zoneId": 300_001})).await;
    world.cloud.put("faults", json!([{"kind": "hang", "region": "hk"}])).await;
    let _operator = world.operator(&["--concurrency", "1"]);
    let mut far = instance("far", "crs-hongkong", 2048);
    far["spec"]["region"] = json!("hk");
    world.apply(far).await.expect("a RedisInstance");
    wait_for("a call that hangs", async || {
        if world.cloud.calls("DescribeRedis").await > 0 { Ok(()) } else { Err("none".into()) }
    })
    .await;
    world.apply(instance("near", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("near").await;
    assert_eq!(world.cloud.ledger().await["orders"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_throttling_cloud_is_called_less_and_gets_its_order_in_the_end() {
    let world = World::new("throttled", &[]).await;
    world.cloud.put("faults", json!([{"kind": "error", "code": 4400, "times": 4}])).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_does_no_harm() {
    for offset in [600, -600] {
        let world = World::new(&format!("clock{offset}"), &[]).await;
        world.cloud.put("clock", json!({"offsetSeconds": offset})).await;
        let _operator = world.operator(&[]);
        world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
        world.wait_fulfilled("sessions").await;
        assert_eq!(world.cloud.orders(ID).await.len(), 1);
    }
}

#[tokio::test]
async fn the_operator_killed_with_an_order_in_the_air_finds_it_after_the_restart() {
    let world = World::new("killed", &[]).await;
    let operator = world.operator(&[]);
    world.cloud.put("faults", json!([{"action": "UpgradeRedis", "kind": "delay", "ms": 10_000, "times": 1}])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    wait_for(
        "the order",
        async || if world.cloud.calls("UpgradeRedis").await > 0 { Ok(()) } else { Err("none".into()) },
    )
    .await;
    operator.kill().await;
    let book = world.book(ID).await;
    assert_eq!(book.len(), 1);
    assert_eq!(book[0]["status"]["dealId"], json!(null), "nobody heard of a deal: {book:?}");

    let _operator = world.operator(&[]);
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert_eq!(world.book(ID).await.len(), 1);
}

#[tokio::test]
async fn killed_again_and_again_each_growth_is_paid_once() {
    let world = World::new("killed-often", &["--visible-after", "300ms"]).await;
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

#[tokio::test]
async fn two_operators_without_a_leader_pay_once() {
    let world = World::new("two", &["--visible-after", "500ms", "--while-invisible", "accept"]).await;
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

#[tokio::test]
async fn one_frozen_with_an_order_in_hand_and_thawed_after_another_took_over_pays_once() {
    let world = World::new("frozen", &[]).await;
    let first = world.operator(&[]);
    world.cloud.put("faults", json!([{"action": "UpgradeRedis", "kind": "delay", "ms": 500, "times": 1}])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    wait_for("an entry", async || if world.book(ID).await.is_empty() { Err("none".into()) } else { Ok(()) }).await;
    first.freeze();
    let _second = world.operator(&[]);
    world.wait_fulfilled("sessions").await;
    first.thaw();
    world.apply(instance("sessions", ID, 3072)).await.expect("still more");
    world.wait_until("sessions", "at 3072 MB", |sessions| sessions["status"]["memSize"] == 3072).await;
    let sizes: Vec<_> = world.cloud.orders(ID).await.into_iter().map(|(from, to, _)| (from, to)).collect();
    assert_eq!(sizes, [(1024, 2048), (2048, 3072)]);
}

#[tokio::test]
async fn those_that_can_not_be_asked_for_do_not_hold_up_the_list() {
    let world = World::new("asks-fail", &[]).await;
    let mut all = vec![instance("near", ID, 1024)];
    let mut faults = Vec::new();
    for n in 1..=8 {
        let id = format!("crs-invpc00{n}");
        world.cloud.post("instances", json!({"redisId": id, "vpcId": 7})).await;
        faults.push(json!({"action": "DescribeRedis", "redisId": id, "kind": "http-500"}));
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
