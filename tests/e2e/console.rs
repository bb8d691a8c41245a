//! Others change the instance itself: people in the console, the cloud's own autoscaling, other tasks. (3.0 carries out a shrink, so
//! that nothing gets smaller is the operator's own duty there.)

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{Operator, World, condition, instance, reason, wait_for};

const ID: &str = "crs-00000001";

#[rstest]
#[tokio::test]
async fn made_larger_in_the_console_it_stays_ready(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "console", &[]).await;
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

#[rstest]
#[tokio::test]
async fn a_size_that_is_gone_again_is_not_bought_twice_until_a_person_says_so(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "regressed", &[]).await;
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

/// A RedisInstance that is Ready at 1024 MB, with an operator that doesn't look again by itself.
async fn ready_and_not_looked_at(api: Api, test: &str) -> (World, Operator) {
    let world = World::new(api, test, &[]).await;
    let operator = world.operator(&["--resync", "1h", "--resync-active", "1s"]);
    world.apply(instance("sessions", ID, 1024)).await.expect("a RedisInstance");
    world.wait_ready("sessions").await;
    (world, operator)
}

#[rstest]
#[tokio::test]
async fn made_larger_since_the_last_look_nothing_is_ordered(#[values(V2, V3)] api: Api) {
    let (world, _operator) = ready_and_not_looked_at(api, "larger-unseen").await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more than it had when it was looked at");
    let sessions = world.wait_stalled("sessions", "ReduceCapacityNotAllowed").await;
    assert_eq!(sessions["status"]["memSize"], 4096);
    assert_eq!((world.cloud.upgrades().await, world.book(ID).await.len()), (0, 0));

    world.apply(instance("sessions", ID, 8192)).await.expect("more than it has");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(4096, 8192)]);
}

#[rstest]
#[tokio::test]
async fn made_larger_between_look_and_order_it_keeps_what_is_declared(#[values(V2, V3)] api: Api) {
    let (world, _operator) = ready_and_not_looked_at(api, "larger-since").await;
    let looks = world.cloud.looks().await;
    let slow = json!({"action": api.describe(), "redisId": ID, "kind": "delay", "ms": 1000, "times": 1});
    world.cloud.put("faults", json!([slow])).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.cloud.wait_for_looks_since(looks, 1).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    let book = match api {
        V2 => ends_larger(&world, "Refused").await,
        V3 => ends_as_declared(&world).await,
    };
    let deals: Vec<_> = world.cloud.orders(ID).await.into_iter().map(|(.., deal)| json!(deal)).collect();
    assert_eq!(book[0]["status"]["dealId"], deals.first().cloned().unwrap_or_default());
}

#[rstest]
#[tokio::test]
async fn made_larger_with_an_order_in_the_air_it_keeps_what_is_declared(#[values(V2, V3)] api: Api) {
    let (world, _operator) = ready_and_not_looked_at(api, "larger-in-the-air").await;
    world.next_order_meets(json!({"kind": "late", "ms": 1500})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.cloud.wait_for_order().await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    let book = match api {
        // That it was refused is never heard: what is seen in the end is the size, and no deal.
        V2 => ends_larger(&world, "Fulfilled").await,
        V3 => ends_as_declared(&world).await,
    };
    assert_eq!(book[0]["status"]["dealId"], json!(null));
}

#[rstest]
#[tokio::test]
async fn declared_as_large_as_it_was_made_with_an_order_in_the_air_it_is_so_in_the_end(#[values(V2, V3)] api: Api) {
    let (world, _operator) = ready_and_not_looked_at(api, "larger-declared").await;
    world.next_order_meets(json!({"kind": "late", "ms": 1800})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("more memory");
    world.cloud.wait_for_order().await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 4096})).await;
    world.apply(instance("sessions", ID, 4096)).await.expect("as large as it is");
    let (phases, orders): (&[&str], _) = match api {
        V2 => (&["Fulfilled"], vec![]),
        // The late one takes what nobody had ordered; that isn't left so.
        V3 => (&["Fulfilled", "Fulfilled"], vec![(4096, 2048), (2048, 4096)]),
    };
    world.wait_for_book(ID, phases).await;
    let is_so = |sessions: &Value| reason(sessions, "Ready") == "InSync" && sessions["status"]["memSize"] == 4096;
    world.wait_until("sessions", "at 4096 MB", is_so).await;
    assert_eq!(world.cloud.get(&format!("instances/{ID}")).await["memSize"], 4096);
    assert_eq!(world.cloud.sizes_ordered(ID).await, orders);
}

/// The cloud refuses an order of 2048 MB for an instance that has 4096, as version 2 does.
async fn ends_larger(world: &World, phase: &str) -> Vec<Value> {
    let book = world.wait_for_book(ID, &[phase]).await;
    let sessions = world.wait_stalled("sessions", "ReduceCapacityNotAllowed").await;
    assert_eq!(sessions["status"]["memSize"], 4096);
    assert_eq!(world.cloud.get(&format!("instances/{ID}")).await["memSize"], 4096);
    assert_eq!((world.cloud.sizes_ordered(ID).await, world.cloud.refusals(ID).await), (vec![], vec![json!(11057)]));
    book
}

/// The cloud carries it out, as 3.0 does: it has what is declared, which is more than it had when it was looked at.
async fn ends_as_declared(world: &World) -> Vec<Value> {
    world.cloud.wait_for_size(ID, 2048).await;
    let book = world.wait_for_book(ID, &["Fulfilled"]).await;
    world
        .wait_until("sessions", "at the size declared", |sessions| {
            condition(sessions, "Ready") == "True" && sessions["status"]["memSize"] == 2048
        })
        .await;
    world.kubectl(&["annotate", "crs", "sessions", "crs.qcloud.com/requestedAt=now"]).await.expect("one more look");
    let after = world
        .wait_until("sessions", "looked at", |sessions| sessions["status"]["lastHandledRequestedAt"] == "now")
        .await;
    assert_eq!(reason(&after, "Ready"), "InSync");
    assert_eq!((world.cloud.sizes_ordered(ID).await, world.cloud.refusals(ID).await), (vec![(4096, 2048)], vec![]));
    book
}

#[rstest]
#[tokio::test]
async fn locked_by_another_task_while_it_runs_it_is_tried_again_until_that_is_over(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "locked", &[]).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"locked": true})).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let name = match api {
        V2 => "InstanceStatusAbnormal",
        V3 => "InstanceBeenLocked",
    };
    let waits = world
        .wait_until("sessions", "waiting", |sessions| {
            condition(sessions, "Reconciling") == "True" && reason(sessions, "Reconciling") == name
        })
        .await;
    assert_eq!(waits["status"]["lastError"]["code"], 10702);
    assert_eq!(condition(&waits, "Stalled"), "False", "nobody needs to act");
    wait_for("another try", async || {
        let refusals = world.cloud.refusals(ID).await;
        if refusals.len() > 1 { Ok(()) } else { Err(format!("{refusals:?}")) }
    })
    .await;
    world.cloud.put(&format!("instances/{ID}"), json!({"locked": false})).await;
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(sessions["status"]["lastError"], json!(null));
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 2048)]);
}
