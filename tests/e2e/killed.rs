//! Killed at each named point of the protocol, and started again: whatever the point, and whatever became of the order, each growth is paid
//! once. How often each point has struck: `grep -rho 'failpoint .*' target/tmp/e2e | sort | uniq -c`

use clap::ValueEnum;
use crs_operator::failpoint::Point;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, member, wait_for};

/// What a test must do so that a point is passed.
#[derive(PartialEq)]
pub enum When {
    Growing,
    Asking,
    Listing,
    Ending,
}

/// A new point has to be put here, and one that nobody passes makes the test fail that waits for it.
fn when(point: Point) -> When {
    match point {
        Point::BeforeBook
        | Point::BookRead
        | Point::Looked
        | Point::BeforeConfirm
        | Point::BeforeCreate
        | Point::Created
        | Point::BeforeSend
        | Point::Connected
        | Point::BodyLeaves
        | Point::Answered
        | Point::BeforeRecord
        | Point::Recorded
        | Point::BeforeSettle
        | Point::Settled
        | Point::BeforeStatus
        | Point::StatusWritten
        | Point::BeforeEvent => When::Growing,
        Point::DealAsked | Point::BeforeDelivered | Point::Delivered => When::Asking,
        Point::PageRead => When::Listing,
        Point::Stopping | Point::OrdersEnded => When::Ending,
    }
}

pub fn points(of: When) -> Vec<Point> {
    Point::value_variants().iter().copied().filter(|point| when(*point) == of).collect()
}

/// As `CRS_OPERATOR_FAILPOINT` has it.
pub fn failpoint(point: Point, action: &str) -> String {
    let name = point.to_possible_value().expect("no point is hidden");
    format!("{}={action}", name.get_name())
}

/// What becomes of an order, the first time.
fn fates(api: Api) -> [Value; 10] {
    [
        Value::Null,
        json!({"kind": "drop-after"}),
        json!({"kind": "drop-before"}),
        json!({"kind": "late", "ms": 1500}),
        json!({"kind": "late", "ms": 4500}), // refused then: its Timestamp is too old
        json!({"kind": "hang"}),
        json!({"kind": "truncated"}),
        json!({"kind": "http-500", "carriedOut": true}),
        json!({"kind": "error", "code": api.error(5100), "carriedOut": true}),
        json!({"kind": "error", "code": api.error(10702)}),
    ]
}

/// The n-th member grows for the n-th point, and its order meets a fate; what shows is late now and then. With `SEED` from 0 to 9 every point
/// meets every fate.
#[rstest]
#[tokio::test]
async fn killed_at_each_point_of_a_growth_with_whatever_fate_it_is_paid_once(
    #[values(V2, V3)] api: Api,
    #[values(0, 1)] round: usize,
) {
    let (points, fates) = (points(When::Growing), fates(api));
    let test = format!("killed-at-{round}");
    let invisible = ["--visible-after", "600ms", "--while-invisible", "accept"];
    let world = World::new(api, &test, &[&invisible[..], &["--count", "20"]].concat()).await;
    let shift = seed() as usize + 4 * round + if api == V2 { 0 } else { 2 };
    let mut faults = vec![json!({"action": api.describe(), "kind": "stale", "ms": 300, "rate": 0.3})];
    for n in 1..=points.len() {
        let mut fate = fates[(n + shift) % fates.len()].clone();
        if !fate.is_null() {
            (fate["action"], fate["redisId"], fate["times"]) = (json!(api.upgrade()), json!(member(n).1), json!(1));
            faults.push(fate);
        }
    }
    world.cloud.put("faults", json!(faults)).await;
    world.declare_all(points.len(), 1024).await;
    for (n, point) in (1..).zip(&points) {
        let mut operator = world.operator_struck(&failpoint(*point, "kill"), &[]);
        world.declare(n, 2048).await;
        operator.struck_dead().await;
    }
    let _operator = world.operator(&[]);
    world.settles_and_has_paid_once(points.len(), &[1024, 2048]).await;
}

#[rstest]
#[tokio::test]
async fn killed_while_it_asks_what_became_of_a_deal_it_asks_again(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "killed-asking", &["--visible-after", "1h"]).await;
    world.declare_all(1, 2048).await;
    for point in points(When::Asking) {
        world.operator_struck(&failpoint(point, "kill"), &[]).struck_dead().await;
        let orders = world.cloud.orders(&member(1).1).await;
        world.cloud.put(&format!("deals/{}", orders[0].2), json!({"status": 4})).await;
    }
    let book = world.book(&member(1).1).await;
    assert!(book[0]["status"]["deliveredAt"].is_string(), "it was killed after that was written: {book:?}");
    world.cloud.put(&format!("instances/{}", member(1).1), json!({"memSize": 2048})).await;
    let _operator = world.operator(&[]);
    world.settles_and_has_paid_once(1, &[1024, 2048]).await;
}

#[rstest]
#[case::v2(V2, "101")]
#[case::v3(V3, "1001")]
#[tokio::test]
async fn killed_between_two_pages_of_the_list_it_reads_it_again(#[case] api: Api, #[case] count: &str) {
    let world = World::new(api, "killed-listing", &["--count", count]).await;
    world.declare_all(1, 2048).await;
    for point in points(When::Listing) {
        world.operator_struck(&failpoint(point, "kill"), &[]).struck_dead().await;
    }
    assert_eq!(world.cloud.looks().await, 1, "it had read a page, and not the other one");
    let _operator = world.operator(&[]);
    world.settles_and_has_paid_once(1, &[1024, 2048]).await;
}

#[rstest]
#[tokio::test]
async fn told_to_end_and_killed_before_it_has_its_order_is_paid_once(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "killed-ending", &[]).await;
    let points = points(When::Ending);
    world.declare_all(points.len(), 1024).await;
    for (n, point) in (1..).zip(&points) {
        let mut operator = world.operator_struck(&failpoint(*point, "kill"), &[]);
        world.next_order_meets(json!({"kind": "delay", "ms": 500})).await;
        world.declare(n, 2048).await;
        wait_for("the order", async || {
            let ordered = world.cloud.orders(&member(n).1).await;
            if ordered.is_empty() { Err("none".into()) } else { Ok(()) }
        })
        .await;
        operator.tell_to_end();
        operator.struck_dead().await;
    }
    let _operator = world.operator(&[]);
    world.settles_and_has_paid_once(points.len(), &[1024, 2048]).await;
}

/// For what is left to chance: `SEED` in the environment, or always the same.
pub fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}
