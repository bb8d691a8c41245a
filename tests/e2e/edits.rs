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
