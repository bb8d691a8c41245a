//! The main job.

use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{World, condition, instance, message, reason};

const ID: &str = "crs-00000001";

#[rstest]
#[tokio::test]
async fn an_instance_grows_by_one_order_and_becomes_ready(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "grows", &["--visible-after", "500ms"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");

    let sessions = world.wait_fulfilled("sessions").await;
    let orders = world.cloud.orders(ID).await;
    let [(1024, 2048, deal)] = &orders[..] else { panic!("one order, not {orders:?}") };
    let status = &sessions["status"];
    assert_eq!(status["memSize"], 2048);
    assert_eq!(status["instanceStatus"], "Running");
    assert_eq!(status["dealId"], *deal);
    // 3.0's orders have a long name too, whose end is the number in the simulator.
    let name = status["dealName"].as_str().unwrap_or_default();
    assert_eq!(name.ends_with(&format!("0{deal}")), api == V3, "{name}");
    assert_eq!(status["upgrade"]["dealName"], status["dealName"]);
    assert_eq!(status["upgrade"]["name"], "crs-00000001-1");
    assert_eq!(status["lastError"], json!(null));
    assert_eq!(reason(&sessions, "Ready"), "InSync");
    assert_eq!((condition(&sessions, "Reconciling"), condition(&sessions, "Stalled")), ("False", "False"));

    let book = world.book(ID).await;
    let [entry] = &book[..] else { panic!("one entry, not {book:#?}") };
    assert_eq!(entry["metadata"]["name"], "crs-00000001-1");
    assert_eq!(entry["metadata"]["labels"]["crs.qcloud.com/redis-id"], ID);
    assert_eq!((&entry["spec"]["from"], &entry["spec"]["to"]), (&json!(1024), &json!(2048)));
    assert_eq!(entry["spec"]["instanceRef"]["uid"], sessions["metadata"]["uid"]);
    assert_eq!((&entry["status"]["phase"], &entry["status"]["dealId"]), (&json!("Fulfilled"), &json!(deal)));
    assert_eq!(entry["status"]["dealName"], status["dealName"]);

    let table = world.kubectl(&["get", "crs", "sessions"]).await.expect("a table");
    let words: Vec<_> = table.split_whitespace().collect();
    assert_eq!(words[..8], ["NAME", "REDIS", "ID", "DESIRED", "ACTUAL", "STATUS", "READY", "REASON"]);
    assert_eq!(words[9..15], ["sessions", ID, "2048", "2048", "Running", "True"]);

    for (event, says) in [("UpgradeWritten", "cut for seconds"), ("UpgradePlaced", deal), ("UpgradeFulfilled", deal)] {
        let events = world.wait_for_events("sessions", event).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].contains(says), "{event} says {says}: {events:?}");
    }
}

#[rstest]
#[tokio::test]
async fn an_order_that_waits_for_its_window_needs_nobody_and_no_second_order(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "window", &["--visible-after", "1h", "--while-invisible", "accept"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let waits = world
        .wait_until("sessions", "waiting", |sessions| message(sessions).contains("Nothing needs to be done"))
        .await;
    assert_eq!((condition(&waits, "Reconciling"), reason(&waits, "Reconciling")), ("True", "Upgrading"));
    assert!(message(&waits).contains("maintenance window"), "{waits}");
    assert_eq!(waits["status"]["memSize"], 1024);
    world.cloud.wait_for_looks(3).await;
    // The window comes.
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 2048})).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!((world.cloud.upgrades().await, world.book(ID).await.len()), (1, 1));
}

#[rstest]
#[tokio::test]
async fn a_changed_spec_is_acted_on_at_once_and_not_at_the_next_resync(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "at-once", &[]).await;
    let _operator = world.operator(&["--resync", "1h", "--resync-active", "1s"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    world.apply(instance("sessions", ID, 3072)).await.expect("more memory");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn two_growths_are_two_orders_and_two_entries(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "twice", &[]).await;
    let _operator = world.operator(&[]);
    for size in [2048, 4096] {
        world.apply(instance("sessions", ID, size)).await.expect("a RedisInstance");
        world.wait_fulfilled("sessions").await;
    }
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 2048), (2048, 4096)]);
    assert_eq!(world.book(ID).await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn observe_reports_the_gap_and_orders_nothing(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "observe", &[]).await;
    let _operator = world.operator(&[]);
    let mut manifest = instance("sessions", ID, 2048);
    manifest["spec"]["mode"] = json!("Observe");
    world.apply(manifest).await.expect("a RedisInstance");
    let sessions = world.wait_ready("sessions").await;
    assert_eq!(reason(&sessions, "Ready"), "Observed");
    assert_eq!(world.cloud.upgrades().await, 0);

    world.apply(instance("sessions", ID, 2048)).await.expect("now enforce it");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn when_nothing_changes_nothing_is_written_and_one_call_looks_at_all(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "quiet", &[]).await;
    let _operator = world.operator(&[]);
    for n in 1..=8 {
        world.apply(instance(&format!("cache-{n}"), &format!("crs-0000000{n}"), 1024)).await.expect("a RedisInstance");
    }
    for n in 1..=8 {
        world.wait_ready(&format!("cache-{n}")).await;
    }
    let versions = async || -> Vec<_> {
        let all = world.list("RedisInstance", &world.namespace).await;
        all.iter().map(|instance| instance["metadata"]["resourceVersion"].clone()).collect()
    };
    let before = versions().await;
    let begun = std::time::Instant::now();
    world.cloud.wait_for_looks(5).await;
    let resyncs = begun.elapsed().as_secs_f64();
    assert_eq!(versions().await, before);
    assert!(resyncs > 3.0, "five calls in {resyncs:.1} s with a resync of 1 s: that is more than one call for all");
}

#[rstest]
#[tokio::test]
async fn one_that_no_list_shows_grows_and_is_only_called_absent_once_it_was_asked_for(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "vpc", &[]).await;
    world.cloud.post("instances", json!({"redisId": "crs-invpc001", "vpcId": 7})).await;
    let unasked =
        json!({"action": api.describe(), "redisId": "crs-nowhere1", "kind": "error", "code": api.error(5100)});
    world.cloud.put("faults", json!([unasked])).await;
    // Lists tell nothing of it in this time, nor does a resync come.
    let _operator = world.operator(&["--resync", "1h", "--resync-active", "500ms"]);
    world.apply(instance("sessions", "crs-invpc001", 2048)).await.expect("a RedisInstance");
    world.apply(instance("nowhere", "crs-nowhere1", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders("crs-invpc001").await.len(), 1);
    let nowhere =
        world.wait_until("nowhere", "CloudUnavailable", |nowhere| reason(nowhere, "Ready") == "CloudUnavailable").await;
    assert_eq!(condition(&nowhere, "Stalled"), "False", "it is in no list, and that is no proof: {nowhere}");
    world.cloud.put("faults", json!([])).await;
    world
        .kubectl(&["annotate", "crs", "nowhere", "crs.qcloud.com/requestedAt=now"])
        .await
        .expect("somebody who can't wait");
    world.wait_stalled("nowhere", "InstanceNotExists").await;
}

#[rstest]
#[tokio::test]
async fn whatever_state_it_rests_in_nothing_is_written(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "at-rest", &[]).await;
    world.cloud.put("instances/crs-00000002", json!({"memSize": 8192})).await;
    world.cloud.put("instances/crs-00000003", json!({"status": -2})).await;
    let _operator = world.operator(&[]);
    let with = |name, n, size, spec: &[(&str, serde_json::Value)]| {
        let mut manifest = instance(name, &format!("crs-0000000{n}"), size);
        for (field, value) in spec {
            manifest["spec"][*field] = value.clone();
        }
        manifest
    };
    for manifest in [
        with("grown", 1, 2048, &[]),
        with("larger", 2, 2048, &[]),
        with("isolated", 3, 2048, &[]),
        with("observed", 4, 2048, &[("mode", json!("Observe"))]),
        with("no-secret", 5, 2048, &[("credentialsSecretRef", json!({"name": "none"}))]),
        with("nowhere", 9, 2048, &[]),
        with("not-sold", 6, 1_048_576, &[]),
    ] {
        world.apply(manifest).await.expect("a RedisInstance");
    }
    world.wait_fulfilled("grown").await;
    world.apply(with("copy", 1, 2048, &[])).await.expect("a RedisInstance");
    for (name, why) in [
        ("copy", "DuplicateRedisId"),
        ("larger", "ReduceCapacityNotAllowed"),
        ("isolated", "InstanceStatusAbnormal"),
        ("no-secret", "CredentialsMissing"),
        ("nowhere", "InstanceNotExists"),
        ("not-sold", "MemSizeNotInRange"),
    ] {
        world.wait_stalled(name, why).await;
    }
    world.wait_ready("observed").await;
    let versions = async || {
        let mut all = world.list("RedisInstance", &world.namespace).await;
        all.extend(world.list("RedisUpgrade", &world.book_namespace).await);
        let versions = all.iter().map(|object| format!("{}", object["metadata"]["resourceVersion"]));
        (versions.collect::<Vec<_>>(), world.cloud.upgrades().await)
    };
    let before = versions().await;
    world.cloud.wait_for_looks(10).await;
    assert_eq!(versions().await, before);
}

/// (Version 2 has no such question: there each is asked for by itself, ever more seldom if it isn't there.)
#[tokio::test]
async fn instances_that_the_list_does_not_show_are_asked_for_together_in_3_0() {
    let world = World::new(V3, "together", &["--count", "0"]).await;
    let ids: Vec<_> = (1..=30).map(|n| format!("crs-invpc{n:03}")).collect();
    for id in &ids {
        world.cloud.post("instances", json!({"redisId": id, "vpcId": 7})).await;
    }
    let items: Vec<_> = ids.iter().map(|id| instance(id, id, 1024)).collect();
    world.apply(json!({"apiVersion": "v1", "kind": "List", "items": items})).await.expect("RedisInstances");
    let _operator = world.operator(&["--resync", "1h"]);
    for id in &ids {
        world.wait_ready(id).await;
    }
    let looks = world.cloud.looks().await;
    assert!(looks < 15, "{looks} looks for 30 instances");
}
