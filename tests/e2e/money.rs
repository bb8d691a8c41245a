//! What the cloud won't sell, and what the account can't pay.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, codes, condition, instance};

const ID: &str = "crs-00000001";

#[rstest]
#[tokio::test]
async fn a_size_that_is_not_sold_is_stalled_with_the_sizes_that_are(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "not-sold", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 1_048_576)).await.expect("a RedisInstance");
    let sessions = world.wait_stalled("sessions", "MemSizeNotInRange").await;
    assert_eq!(codes(&sessions), api.told(11063));
    assert!(
        sessions["status"]["lastError"]["message"].as_str().is_some_and(|said| said.contains("1024 to 512000 MB")),
        "{sessions}"
    );

    world.apply(instance("sessions", ID, 2048)).await.expect("a size that is sold");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

/// Nothing of that passes by itself.
#[rstest]
#[case::unsupported_type("3-0-type", "InvalidParameterValue.UnSupportedType", "UnSupportedType")]
#[case::low_version("3-0-low-version", "UnsupportedOperation.LowVersion", "LowVersion")]
#[tokio::test]
async fn an_instance_that_3_0_can_not_upgrade_is_stalled_after_one_order(
    #[case] test: &str,
    #[case] code: &str,
    #[case] why: &str,
) {
    let world = World::new(V3, test, &[]).await;
    let _operator = world.operator(&[]);
    world.cloud.put("faults", json!([{"action": V3.upgrade(), "kind": "error", "code": code}])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_stalled("sessions", why).await;
    assert_eq!(codes(&sessions), [Value::Null, json!(code)]);
    world.cloud.wait_for_looks(5).await;
    assert_eq!(world.cloud.refusals(ID).await, [code]);
    world.wait_for_book(ID, &["Refused"]).await;
}

#[rstest]
#[tokio::test]
async fn after_a_top_up_all_that_wait_go_on_by_themselves(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "balance", &["--balance", "0"]).await;
    let _operator = world.operator(&[]);
    let ids: Vec<_> = (1..=4).map(|n| (format!("cache-{n}"), format!("crs-0000000{n}"))).collect();
    for (name, id) in &ids {
        world.apply(instance(name, id, 2048)).await.expect("a RedisInstance");
    }
    for (name, _) in &ids {
        let waits = world.wait_stalled(name, "AccountBalanceNotEnough").await;
        assert_eq!(waits["status"]["lastError"]["code"], 100_207, "also of those that another one's refusal lets wait");
    }
    world.cloud.put("balance", json!({"fen": 1_000_000})).await;
    for (name, id) in &ids {
        world.wait_fulfilled(name).await;
        assert_eq!(world.cloud.orders(id).await.len(), 1);
    }
}

#[rstest]
#[tokio::test]
async fn who_asks_by_annotation_needs_not_wait_for_the_next_try(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "asked", &["--balance", "0"]).await;
    let _operator = world.operator(&["--cloud-lag", "10m"]); // the next try by itself would be in 10 minutes at the earliest
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_stalled("sessions", "AccountBalanceNotEnough").await;
    world.cloud.put("balance", json!({"fen": 1_000_000})).await;
    world.kubectl(&["annotate", "crs", "sessions", "crs.qcloud.com/requestedAt=now"]).await.expect("an annotation");
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(sessions["status"]["lastHandledRequestedAt"], "now");
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn an_upgrade_that_the_cloud_fails_to_carry_out_is_told_and_tried_again(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "deal-fails", &[]).await;
    let _operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "deal-fails"})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let phases: Vec<_> = world.book(ID).await.iter().map(|entry| entry["status"]["phase"].clone()).collect();
    assert_eq!(phases, ["Failed", "Fulfilled"]);
    assert_eq!(world.cloud.orders(ID).await.len(), 2, "the first was paid and failed");
}

#[rstest]
#[tokio::test]
async fn many_that_wait_for_money_try_seldom_and_are_ordered_once_each(#[values(V2, V3)] api: Api) {
    const MANY: usize = 24;
    let world = World::new(api, "many-wait", &["--balance", "0", "--count", "24"]).await;
    let _operator = world.operator(&["--cloud-rate", "5"]);
    let name = |n: usize| (format!("cache-{n}"), format!("crs-{n:08}"));
    let all: Vec<_> = (1..=MANY).map(|n| instance(&name(n).0, &name(n).1, 2048)).collect();
    world.apply(json!({"apiVersion": "v1", "kind": "List", "items": all})).await.expect("RedisInstances");
    for n in 1..=MANY {
        world.wait_stalled(&name(n).0, "AccountBalanceNotEnough").await;
    }
    let tries = world.cloud.upgrades().await;
    // A burst of the rate before the first answer, and then one now and then.
    assert!(tries <= 12, "{tries} tries of {MANY}");
    world.cloud.put("balance", json!({"fen": 100_000_000})).await;
    for n in 1..=MANY {
        world.wait_fulfilled(&name(n).0).await;
        assert_eq!(world.cloud.orders(&name(n).1).await.len(), 1, "{n}");
    }
    let refused = world.cloud.ledger().await["refused"].as_array().map_or(0, Vec::len);
    assert!(refused <= 16, "{refused} refusals in the book of {MANY}");
}

#[rstest]
#[tokio::test]
async fn who_asks_gets_its_try_also_when_only_the_fresh_look_shows_that_it_is_due(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "asked-late", &["--balance", "0"]).await;
    // Nothing is looked at again, and no balance tried, by itself.
    let _operator = world.operator(&["--cloud-lag", "10m", "--resync", "1h"]);
    world.cloud.put("instances/crs-00000002", json!({"status": -2})).await;
    world.apply(instance("isolated", "crs-00000002", 2048)).await.expect("a RedisInstance");
    world.wait_stalled("isolated", "InstanceStatusAbnormal").await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_stalled("sessions", "AccountBalanceNotEnough").await;

    world.cloud.put("instances/crs-00000002", json!({"status": 2})).await;
    world.cloud.put("balance", json!({"fen": 1_000_000})).await;
    world.kubectl(&["annotate", "crs", "isolated", "crs.qcloud.com/requestedAt=now"]).await.expect("an annotation");
    world.wait_until("isolated", "at 2048 MB", |isolated| isolated["status"]["memSize"] == 2048).await;
    assert_eq!(world.get("isolated").await["status"]["lastHandledRequestedAt"], "now");
    assert_eq!(world.cloud.orders("crs-00000002").await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn who_waits_for_a_turn_says_that_it_is_on_its_way(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "turns", &[]).await;
    let _operator = world.operator(&["--cloud-rate", "0.2"]);
    let ids: Vec<_> = (1..=4).map(|n| (format!("cache-{n}"), format!("crs-0000000{n}"))).collect();
    for (name, id) in &ids {
        world.apply(instance(name, id, 2048)).await.expect("a RedisInstance");
    }
    for (name, _) in &ids {
        world.wait_until(name, "told of", |instance| !condition(instance, "Ready").is_empty()).await;
    }
    let ordered = world.cloud.upgrades().await;
    assert!(ordered < 4, "{ordered} orders before all have a status");
}
