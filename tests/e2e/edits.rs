//! People change things while the operator works.

use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{World, codes, instance, reason, stalled_with, wait_for};

const ID: &str = "crs-00000001";

#[rstest]
#[tokio::test]
async fn a_shrink_is_refused_at_apply_and_labels_are_not(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "shrink", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 3072)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let said = world.apply(instance("sessions", ID, 2048)).await.expect_refusal("a shrink");
    assert!(said.contains("spec.memSize: Forbidden: 11057 ReduceCapacityNotAllowed:"), "{said}");
    world.kubectl(&["label", "crs", "sessions", "team=checkout"]).await.expect("a label");
    world.wait_ready("sessions").await;
}

#[rstest]
#[tokio::test]
async fn declared_below_the_real_size_is_stalled_without_a_call_or_further_writes(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "below", &[]).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 8192})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_stalled("sessions", "ReduceCapacityNotAllowed").await;
    assert_eq!(codes(&sessions), [json!(11057), json!(null)], "found by the operator itself");
    assert_eq!(sessions["status"]["memSize"], 8192);
    world.cloud.wait_for_looks(3).await;
    assert_eq!(world.get("sessions").await["metadata"]["resourceVersion"], sessions["metadata"]["resourceVersion"]);
    assert_eq!(world.cloud.upgrades().await, 0);

    world.apply(instance("sessions", ID, 8192)).await.expect("the real size");
    world.wait_ready("sessions").await;
}

#[rstest]
#[tokio::test]
async fn while_an_order_is_on_its_way_it_can_not_be_taken_back_but_topped(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "on-its-way", &["--upgrade-time", "4s"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 4096)).await.expect("a RedisInstance");
    world.wait_until("sessions", "Upgrading", |sessions| reason(sessions, "Reconciling") == "Upgrading").await;
    let said = world.apply(instance("sessions", ID, 2048)).await.expect_refusal("taking an order back");
    assert!(said.contains("11057 ReduceCapacityNotAllowed:") && said.contains("crs-00000001-1"), "{said}");
    world.apply(instance("sessions", ID, 8192)).await.expect("still more");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 4096), (4096, 8192)]);
}

#[rstest]
#[tokio::test]
async fn growth_that_was_not_ordered_yet_can_be_taken_back(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "taken-back", &[]).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"status": -2})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 4096)).await.expect("a RedisInstance");
    world.wait_stalled("sessions", "InstanceStatusAbnormal").await;
    world.apply(instance("sessions", ID, 1024)).await.expect("less again");
    world.cloud.put(&format!("instances/{ID}"), json!({"status": 2})).await;
    world.wait_ready("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 0);
}

#[rstest]
#[tokio::test]
async fn a_wiped_status_comes_back_and_costs_nothing(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "wiped", &[]).await;
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
    assert_eq!(world.cloud.upgrades().await, 1);
}

#[rstest]
#[tokio::test]
async fn deleted_in_flight_and_made_again_under_another_name_it_is_ordered_once(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "renamed", &["--upgrade-time", "3s"]).await;
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

#[rstest]
#[tokio::test]
async fn of_two_with_one_instance_the_older_owns_it_until_it_goes(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "duplicate", &[]).await;
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
    assert!(second.to_string().contains(&format!("{}/first", world.namespace)), "it names the owner: {second}");
    assert!(!stalled_with(&world.get("first").await, "DuplicateRedisId"));
    assert_eq!(world.cloud.upgrades().await, 0);

    world.kubectl(&["delete", "crs", "first"]).await.expect("it goes");
    world.wait_fulfilled("second").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

/// What is declared changes between the look that calls for an order and the order.
async fn nothing_is_ordered_after(api: Api, test: &str, change: &[&str]) -> World {
    let world = World::new(api, test, &[]).await;
    // No list comes in between: the next call is that look.
    let operator = world.operator(&["--resync", "1h"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    let looks = world.cloud.looks().await;
    let slow = json!({"action": api.describe(), "redisId": ID, "kind": "delay", "ms": 3000, "times": 1});
    world.cloud.put("faults", json!([slow])).await;
    world.apply(instance("sessions", ID, 4096)).await.expect("more memory");
    world.cloud.wait_for_looks_since(looks, 1).await;
    world.kubectl(change).await.expect("a change of mind");
    wait_for("the end of that try", async || {
        let log = operator.log();
        if log.contains("the RedisInstance has changed meanwhile") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(world.cloud.upgrades().await, 0);
    assert_eq!(world.book(ID).await.len(), 0);
    drop(operator);
    world
}

#[rstest]
#[tokio::test]
async fn what_is_lowered_between_look_and_entry_is_not_ordered(#[values(V2, V3)] api: Api) {
    let lower = ["patch", "crs", "sessions", "--type=merge", "-p", r#"{"spec":{"memSize":1024}}"#];
    let world = nothing_is_ordered_after(api, "lowered", &lower).await;
    let _operator = world.operator(&[]);
    world.wait_ready("sessions").await;
    assert_eq!(world.cloud.upgrades().await, 0);
}

#[rstest]
#[tokio::test]
async fn what_is_deleted_between_look_and_entry_is_not_ordered(#[values(V2, V3)] api: Api) {
    nothing_is_ordered_after(api, "deleted", &["delete", "crs", "sessions"]).await;
}

#[rstest]
#[tokio::test]
async fn deleted_with_an_order_in_the_air_its_entry_is_settled_when_another_comes(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "orphaned", &[]).await;
    let operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "delay", "ms": 3500})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.cloud.wait_for_order().await;
    world.kubectl(&["delete", "crs", "sessions", "--timeout=10s"]).await.expect("no finalizer holds it");
    let deal = wait_for("the deal in the book", async || {
        let book = world.book(ID).await;
        book[0]["status"]["dealId"].as_str().map(str::to_owned).ok_or_else(|| book[0].to_string())
    })
    .await;
    world.cloud.wait_for_size(ID, 2048).await;
    assert_eq!(world.book(ID).await[0]["status"]["phase"], "Placed", "nobody looks at it");

    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(sessions["status"]["dealId"], deal);
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
}

#[rstest]
#[tokio::test]
async fn what_the_owner_sees_by_a_look_of_its_own_the_other_one_shows_too(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "both-see", &[]).await;
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
