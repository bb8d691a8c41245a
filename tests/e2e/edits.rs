//! People change things while the operator works.

use serde_json::json;

use crate::support::{World, instance, reason, stalled_with, wait_for};

const ID: &str = "crs-00000001";

#[tokio::test]
async fn a_shrink_is_refused_at_apply_and_labels_are_not() {
    let world = World::new("shrink", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 3072)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let said = world.apply(instance("sessions", ID, 2048)).await.expect_refusal("a shrink");
    assert!(said.contains("spec.memSize: Forbidden: 11057 ReduceCapacityNotAllowed:"), "{said}");
    world.kubectl(&["label", "crs", "sessions", "team=checkout"]).await.expect("a label");
    world.wait_ready("sessions").await;
}

#[tokio::test]
async fn declared_below_the_real_size_is_stalled_without_a_call_or_further_writes() {
    let world = World::new("below", &[]).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 8192})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_stalled("sessions", "ReduceCapacityNotAllowed").await;
    assert_eq!(sessions["status"]["lastError"]["code"], 11057);
    assert_eq!(sessions["status"]["memSize"], 8192);
    let looks = world.cloud.calls("DescribeRedis").await;
    wait_for("three more looks", async || {
        let now = world.cloud.calls("DescribeRedis").await;
        if now >= looks + 3 { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    assert_eq!(world.get("sessions").await["metadata"]["resourceVersion"], sessions["metadata"]["resourceVersion"]);
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);

    world.apply(instance("sessions", ID, 8192)).await.expect("the real size");
    world.wait_ready("sessions").await;
}

#[tokio::test]
async fn while_an_order_is_on_its_way_it_can_not_be_taken_back_but_topped() {
    let world = World::new("on-its-way", &["--upgrade-time", "4s"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 4096)).await.expect("a RedisInstance");
    world.wait_until("sessions", "Upgrading", |sessions| reason(sessions, "Reconciling") == "Upgrading").await;
    let said = world.apply(instance("sessions", ID, 2048)).await.expect_refusal("taking an order back");
    assert!(said.contains("11057 ReduceCapacityNotAllowed:") && said.contains("crs-00000001-1"), "{said}");
    world.apply(instance("sessions", ID, 8192)).await.expect("still more");
    world.wait_fulfilled("sessions").await;
    let sizes: Vec<_> = world.cloud.orders(ID).await.into_iter().map(|(from, to, _)| (from, to)).collect();
    assert_eq!(sizes, [(1024, 4096), (4096, 8192)]);
}

#[tokio::test]
async fn growth_that_was_not_ordered_yet_can_be_taken_back() {
    let world = World::new("taken-back", &[]).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"status": -2})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 4096)).await.expect("a RedisInstance");
    world.wait_stalled("sessions", "InstanceStatusAbnormal").await;
    world.apply(instance("sessions", ID, 1024)).await.expect("less again");
    world.cloud.put(&format!("instances/{ID}"), json!({"status": 2})).await;
    world.wait_ready("sessions").await;
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);
}

#[tokio::test]
async fn made_larger_in_the_console_it_stays_ready() {
    let world = World::new("console", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 16384})).await;
    let sessions = world
        .wait_until("sessions", "LargerThanDeclared", |sessions| reason(sessions, "Ready") == "LargerThanDeclared")
        .await;
    assert_eq!(sessions["status"]["memSize"], 16384);
    assert!(sessions.to_string().contains("Declare memSize: 16384"), "{sessions}");
    world.wait_ready("sessions").await;
}

#[tokio::test]
async fn a_size_that_is_gone_again_is_not_bought_twice_until_a_person_says_so() {
    let world = World::new("regressed", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 1024})).await;
    world.wait_stalled("sessions", "SizeRegressed").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    world
        .kubectl(&["annotate", "crs", "sessions", "crs.qcloud.com/proceed-after=crs-00000001-1"])
        .await
        .expect("a person's word");
    world.wait_until("sessions", "Ready", |sessions| sessions["status"]["memSize"] == 2048).await;
    assert_eq!(world.cloud.orders(ID).await.len(), 2);
}

#[tokio::test]
async fn a_wiped_status_comes_back_and_costs_nothing() {
    let world = World::new("wiped", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let before = world.wait_fulfilled("sessions").await;
    for status in [json!(null), json!({"memSize": 1024, "dealId": "0", "upgrade": null, "conditions": null})] {
        let patch = json!({"status": status}).to_string();
        world
            .kubectl(&["patch", "crs", "sessions", "--subresource=status", "--type=merge", "-p", &patch])
            .await
            .expect("a patched status");
        world
            .wait_until("sessions", "as before", |sessions| {
                sessions["status"]["upgrade"] == before["status"]["upgrade"]
            })
            .await;
        let after = world.wait_ready("sessions").await;
        assert_eq!(after["status"]["dealId"], before["status"]["dealId"]);
    }
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 1);
}

#[tokio::test]
async fn deleted_in_flight_and_made_again_under_another_name_it_is_ordered_once() {
    let world = World::new("renamed", &["--upgrade-time", "3s"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_until("sessions", "Upgrading", |sessions| reason(sessions, "Reconciling") == "Upgrading").await;
    world.kubectl(&["delete", "crs", "sessions", "--timeout=10s"]).await.expect("no finalizer holds it");
    world.apply(instance("logins", ID, 2048)).await.expect("a RedisInstance");
    let logins = world.wait_fulfilled("logins").await;
    assert_eq!(logins["status"]["dealId"], world.cloud.orders(ID).await[0].2);
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert_eq!(world.book(ID).await.len(), 1);
}

#[tokio::test]
async fn of_two_with_one_instance_the_older_owns_it_until_it_goes() {
    let world = World::new("duplicate", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("first", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("first").await;
    world.kubectl(&["wait", "crs/first", "--for=jsonpath={.status.memSize}=1024"]).await.expect("seen");
    // Another second: creationTimestamps are whole ones. Within the same one the lowest uid owns, so until then it must want no growth.
    let created = world.get("first").await["metadata"]["creationTimestamp"].clone();
    wait_for("the next second", async || {
        world.apply(instance("second", ID, 1024)).await.expect("a RedisInstance");
        let second = world.get("second").await["metadata"]["creationTimestamp"].clone();
        if second != created {
            return Ok(());
        }
        world.kubectl(&["delete", "crs", "second"]).await.expect("it goes");
        Err(second.to_string())
    })
    .await;
    world.apply(instance("second", ID, 2048)).await.expect("a change");
    let second = world.wait_stalled("second", "DuplicateRedisId").await;
    assert!(second.to_string().contains("duplicate/first"), "it names the owner: {second}");
    assert!(!stalled_with(&world.get("first").await, "DuplicateRedisId"));
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);

    world.kubectl(&["delete", "crs", "first"]).await.expect("it goes");
    world.wait_fulfilled("second").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

/// What is declared changes between the look that calls for an order and the order.
async fn nothing_is_ordered_after(test: &str, change: &[&str]) -> World {
    let world = World::new(test, &[]).await;
    // No list comes in between: the next call is that look.
    let operator = world.operator(&["--resync", "1h"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    let looks = world.cloud.calls("DescribeRedis").await;
    let slow = json!({"action": "DescribeRedis", "redisId": ID, "kind": "delay", "ms": 3000, "times": 1});
    world.cloud.put("faults", json!([slow])).await;
    world.apply(instance("sessions", ID, 4096)).await.expect("more memory");
    wait_for("the look", async || {
        let now = world.cloud.calls("DescribeRedis").await;
        if now > looks { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    world.kubectl(change).await.expect("a change of mind");
    wait_for("the end of that try", async || {
        let log = operator.log();
        if log.contains("the RedisInstance has changed meanwhile") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);
    assert_eq!(world.book(ID).await.len(), 0);
    drop(operator);
    world
}

#[tokio::test]
async fn what_is_lowered_between_look_and_entry_is_not_ordered() {
    let lower = ["patch", "crs", "sessions", "--type=merge", "-p", r#"{"spec":{"memSize":1024}}"#];
    let world = nothing_is_ordered_after("lowered", &lower).await;
    let _operator = world.operator(&[]);
    world.wait_ready("sessions").await;
    assert_eq!(world.cloud.calls("UpgradeRedis").await, 0);
}

#[tokio::test]
async fn what_is_deleted_between_look_and_entry_is_not_ordered() {
    nothing_is_ordered_after("deleted", &["delete", "crs", "sessions"]).await;
}

#[tokio::test]
async fn deleted_with_an_order_in_the_air_its_entry_is_settled_when_another_comes() {
    let world = World::new("orphaned", &[]).await;
    let operator = world.operator(&[]);
    world.cloud.put("faults", json!([{"action": "UpgradeRedis", "kind": "delay", "ms": 1500, "times": 1}])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    wait_for(
        "the order",
        async || if world.cloud.calls("UpgradeRedis").await > 0 { Ok(()) } else { Err("none".into()) },
    )
    .await;
    world.kubectl(&["delete", "crs", "sessions", "--timeout=10s"]).await.expect("no finalizer holds it");
    let deal = wait_for("the deal in the book", async || {
        let book = world.book(ID).await;
        book[0]["status"]["dealId"].as_str().map(str::to_owned).ok_or_else(|| book[0].to_string())
    })
    .await;
    wait_for("the upgrade's end in the cloud", async || {
        let seen = world.cloud.get(&format!("instances/{ID}")).await;
        if seen["memSize"] == 2048 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!(world.book(ID).await[0]["status"]["phase"], "Placed", "nobody looks at it");

    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(sessions["status"]["dealId"], deal);
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
}

#[tokio::test]
async fn what_the_owner_sees_by_a_look_of_its_own_the_other_one_shows_too() {
    let world = World::new("both-see", &[]).await;
    let _operator = world.operator(&["--resync", "1h"]);
    for name in ["one", "two"] {
        world.apply(instance(name, ID, 1024)).await.expect("a RedisInstance");
    }
    let [owner, other] = wait_for("one owner", async || {
        let [one, two] = [world.get("one").await, world.get("two").await];
        let owns = |owner, other| reason(owner, "Ready") == "InSync" && stalled_with(other, "DuplicateRedisId");
        match (owns(&one, &two), owns(&two, &one)) {
            (true, _) => Ok(["one", "two"]),
            (_, true) => Ok(["two", "one"]),
            _ => Err(format!("{} {}", one["status"], two["status"])),
        }
    })
    .await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    world.kubectl(&["annotate", "crs", owner, "crs.qcloud.com/requestedAt=now"]).await.expect("a look");
    for name in [owner, other] {
        world.wait_until(name, "seen larger", |instance| instance["status"]["memSize"] == 4096).await;
    }
}
