//! Something between the operator and the cloud does things twice. That nothing there repeats a request is assumed (docs/money-safety.md), and yet what
//! the cloud itself forgives is paid once.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{Proxy, Twice, World, member};

#[rstest]
#[tokio::test]
async fn answers_that_come_twice_are_taken_once_and_for_nothing_else(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "doubled-answers", &[]).await;
    let proxy = Proxy::start(world.cloud.url(), Twice::Answers).await;
    let _operator = world.operator(&["--api-endpoint", proxy.url()]);
    world.declare_all(4, 2048).await;
    world.settles_and_has_paid_once(4, &[1024, 2048]).await;
    world.declare_all(4, 3072).await;
    world.settles_and_has_paid_once(4, &[1024, 2048, 3072]).await;
    for n in 1..=4 {
        let book = world.book(&member(n).1).await;
        assert!(book.iter().all(|entry| entry["status"]["dealId"].is_string()), "each with its own answer: {book:?}");
    }
}

/// Version 2 knows the nonce (4500), 3.0 that the instance is at it already.
#[rstest]
#[tokio::test]
async fn an_order_that_is_repeated_on_its_way_is_paid_once_and_its_first_answer_is_the_outcome(
    #[values(V2, V3)] api: Api,
) {
    let world = World::new(api, "doubled-first", &[]).await;
    let proxy = Proxy::start(world.cloud.url(), Twice::OrdersFirst).await;
    let _operator = world.operator(&["--api-endpoint", proxy.url()]);
    world.declare_all(1, 2048).await;
    world.settles_and_has_paid_once(1, &[1024, 2048]).await;
    assert_eq!(world.cloud.refusals(&member(1).1).await, [refusal_of_the_second(api)]);
    assert!(world.book(&member(1).1).await[0]["status"]["dealId"].is_string());
}

/// The refusal of the second is all that is heard of both.
#[rstest]
#[case::v2(V2, "Fulfilled")]
#[case::v3(V3, "Refused")]
#[tokio::test]
async fn an_order_that_is_repeated_on_its_way_and_refused_the_second_time_is_not_made_again(
    #[case] api: Api,
    #[case] phase: &str,
) {
    let world = World::new(api, "doubled-second", &[]).await;
    let proxy = Proxy::start(world.cloud.url(), Twice::OrdersSecond).await;
    let _operator = world.operator(&["--api-endpoint", proxy.url()]);
    world.declare_all(1, 2048).await;
    world.wait_for_book(&member(1).1, &[phase]).await;
    world.wait_until(&member(1).0, "at 2048 MB", |instance| instance["status"]["memSize"] == 2048).await;
    world.wait_ready(&member(1).0).await;
    assert_eq!(world.cloud.refusals(&member(1).1).await, [refusal_of_the_second(api)]);
    assert_eq!(world.cloud.sizes_ordered(&member(1).1).await, [(1024, 2048)]);
}

fn refusal_of_the_second(api: Api) -> Value {
    match api {
        V2 => json!(4500),
        V3 => api.error(10702),
    }
}
