//! The operator is started again with the other API. The book stays as it is, and counts.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, instance, message, stalled_with};

const ID: &str = "crs-00000001";

fn other(api: Api) -> &'static str {
    match api {
        V2 => V3.name(),
        V3 => V2.name(),
    }
}

#[rstest]
#[tokio::test]
async fn an_order_in_the_air_is_settled_by_the_other_api(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "moved-in-the-air", &[]).await;
    world.kill_with_an_order_in_the_air(ID, json!({"kind": "delay", "ms": 10_000})).await;
    let book = world.book(ID).await;
    assert_eq!((book.len(), &book[0]["status"]["dealId"]), (1, &Value::Null), "nobody heard of a deal: {book:?}");

    let operator = world.operator(&["--api", other(api)]);
    world.wait_fulfilled("sessions").await;
    assert_eq!((world.cloud.orders(ID).await.len(), world.book(ID).await.len()), (1, 1));
    assert_eq!(operator.terminate().await.code(), Some(0));

    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 3072)).await.expect("still more memory");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(1024, 2048), (2048, 3072)]);
}

#[rstest]
#[tokio::test]
async fn an_accepted_order_is_asked_for_and_followed_by_the_other_api(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "moved-on-its-way", &["--visible-after", "1h"]).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let placed = world.wait_for_book(ID, &["Placed"]).await;
    assert_eq!(operator.terminate().await.code(), Some(0));

    let _operator = world.operator(&["--api", other(api)]);
    world.wait_until("sessions", "waiting", |sessions| message(sessions).contains("Nothing needs to be done")).await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 2048})).await;
    let sessions = world.wait_fulfilled("sessions").await;
    let orders = world.cloud.orders(ID).await;
    let [(1024, 2048, deal)] = &orders[..] else { panic!("one order, not {orders:?}") };
    assert_eq!(sessions["status"]["dealId"], *deal);
    assert_eq!(sessions["status"]["dealName"], placed[0]["status"]["dealName"], "what was known stays known");
}

#[rstest]
#[tokio::test]
async fn one_that_waits_for_money_goes_on_under_the_other_api(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "moved-poor", &["--balance", "0"]).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_stalled("sessions", "AccountBalanceNotEnough").await;
    operator.kill().await;
    let _operator = world.operator(&["--api", other(api)]);
    world.cloud.wait_for_looks(3).await;
    assert!(stalled_with(&world.get("sessions").await, "AccountBalanceNotEnough"));
    world.cloud.put("balance", json!({"fen": 1_000_000})).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}
