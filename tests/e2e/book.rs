//! The account book can't be written, or was touched by hand.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, condition, instance, message, reason, wait_for};

const ID: &str = "crs-00000001";

fn entries(verbs: &[&str]) -> Value {
    json!({"apiGroups": ["crs.qcloud.com"], "resources": ["redisupgrades"], "verbs": verbs})
}

fn outcomes(verbs: &[&str]) -> Value {
    json!({"apiGroups": ["crs.qcloud.com"], "resources": ["redisupgrades/status"], "verbs": verbs})
}

fn book_unavailable(instance: &Value) -> bool {
    condition(instance, "Reconciling") == "True" && reason(instance, "Reconciling") == "BookUnavailable"
}

#[rstest]
#[tokio::test]
async fn without_the_right_to_write_an_entry_nothing_is_ordered_until_it_is_given(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "no-create", &[]).await;
    let kubeconfig = world.service_account().await;
    world.grant(&world.book_namespace, "book", json!([entries(&["get", "list", "watch"]), outcomes(&["patch"])])).await;
    let _operator = world.operator_as(&kubeconfig, &[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let told = world.wait_until("sessions", "BookUnavailable", book_unavailable).await;
    assert!(message(&told).contains("cannot create resource"), "{told:#}");
    let tries = world.asked("create", "redisupgrades");
    world.cloud.wait_for_looks(10).await;
    let more = world.asked("create", "redisupgrades") - tries;
    assert!(more <= 6, "{more} more tries in a few seconds");
    let still = world.get("sessions").await;
    assert_eq!(still["metadata"]["resourceVersion"], told["metadata"]["resourceVersion"], "said once");
    assert_eq!(world.cloud.upgrades().await, 0);

    let all = ["get", "list", "watch", "create", "delete"];
    world.grant(&world.book_namespace, "book", json!([entries(&all), outcomes(&["patch"])])).await;
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn what_came_of_an_order_gets_into_the_book_once_that_is_allowed(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "no-status", &[]).await;
    let kubeconfig = world.service_account().await;
    let rules = json!([entries(&["get", "list", "watch", "create", "delete"])]);
    world.grant(&world.book_namespace, "book", rules.clone()).await;
    let operator = world.operator_as(&kubeconfig, &[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    wait_for("a word about that", async || {
        let log = operator.log();
        if log.contains("could not be written yet") { Ok(()) } else { Err(log) }
    })
    .await;
    // Past lifetime and lag too, when a look could settle the entry.
    world.cloud.wait_for_looks(10).await;
    let [(1024, 2048, deal)] = &world.cloud.orders(ID).await[..] else { panic!("one order") };
    assert_eq!(world.book(ID).await[0]["status"]["dealId"], json!(null));

    world.grant(&world.book_namespace, "book", json!([rules[0], outcomes(&["patch"])])).await;
    wait_for("the deal in the book", async || {
        let book = world.book(ID).await;
        if book[0]["status"]["dealId"] == deal.as_str() { Ok(()) } else { Err(book[0].to_string()) }
    })
    .await;
    let sessions = world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
    assert_eq!(world.book(ID).await.len(), 1);
    world.wait_until("sessions", "with its deal", |sessions| sessions["status"]["dealId"] == deal.as_str()).await;
    assert_eq!(sessions["status"]["upgrade"]["name"], "crs-00000001-1");
}

#[rstest]
#[tokio::test]
async fn an_entry_whose_label_was_taken_away_stops_orders_and_is_named(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "no-label", &[]).await;
    let kubeconfig = world.service_account().await;
    let all = ["get", "list", "watch", "create", "delete"];
    world.grant(&world.book_namespace, "book", json!([entries(&all), outcomes(&["patch"])])).await;
    let _operator = world.operator_as(&kubeconfig, &[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let label = ["-n", &world.book_namespace, "label", "crsup", "crs-00000001-1"];
    world.cluster.kubectl(&[&label[..], &["crs.qcloud.com/redis-id-"]].concat()).await.expect("a label less");
    world.apply(instance("sessions", ID, 3072)).await.expect("more memory");
    let told = world.wait_until("sessions", "BookUnavailable", book_unavailable).await;
    for says in ["crs-00000001-1", "crs.qcloud.com/redis-id"] {
        assert!(message(&told).contains(says), "{says} in {told:#}");
    }
    let tries = world.asked("create", "redisupgrades");
    world.cloud.wait_for_looks(10).await;
    let more = world.asked("create", "redisupgrades") - tries;
    assert!(more <= 6, "{more} more tries in a few seconds");
    assert_eq!(world.cloud.orders(ID).await.len(), 1);

    let put_back = format!("crs.qcloud.com/redis-id={ID}");
    world.cluster.kubectl(&[&label[..], &[&put_back]].concat()).await.expect("the label again");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders(ID).await.len(), 2);
}
