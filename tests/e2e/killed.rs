//! Killed at each named point of the protocol, and started again, and at those that `frozen` doesn't pass, stopped: whatever the point, and
//! whatever became of the order, each growth is paid once. How often each point has struck: `grep -rho 'failpoint .*' target/tmp/e2e | sort | uniq -c`

use crs_operator::failpoint::Point;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{When, World, failpoint, member, points, seed, wait_for};

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
/// meets every fate. (An order that was refused is not settled: there it is the next one.)
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
    let fate = |n: usize| &fates[(n + shift) % fates.len()];
    let mut faults = Vec::new();
    for n in 1..=points.len() {
        let mut fate = fate(n).clone();
        if !fate.is_null() {
            (fate["action"], fate["redisId"], fate["times"]) = (json!(api.upgrade()), json!(member(n).1), json!(1));
            faults.push(fate);
        }
    }
    let fated = faults.len();
    faults.push(json!({"action": api.describe(), "kind": "stale", "ms": 300, "rate": 0.3}));
    world.cloud.put("faults", json!(faults)).await;
    world.declare_all(points.len(), 1024).await;
    for (n, point) in (1..).zip(&points) {
        world.struck_growing(n, *point, "kill").await;
    }
    let _operator = world.operator(&[]);
    let known = [Point::Recorded, Point::BeforeSettle, Point::Settled];
    let may_be_lost = |n: usize| !(fate(n).is_null() && known.contains(&points[n - 1]));
    world.settles_with_deals_lost(points.len(), &[1024, 2048], may_be_lost).await;
    let faults = world.cloud.get("faults").await;
    let met = faults.as_array().into_iter().flatten().filter(|fault| fault["times"] == 0).count();
    assert_eq!(met, fated, "each order has met its fate: {faults}");
}

#[rstest]
#[tokio::test]
async fn struck_while_it_asks_what_became_of_a_deal_it_asks_again(
    #[values(V2, V3)] api: Api,
    #[values("kill", "stop")] action: &str,
) {
    let world = World::new(api, &format!("{action}-asking"), &["--visible-after", "1h"]).await;
    world.declare_all(1, 2048).await;
    let mut struck = Vec::new();
    for point in points(When::Asking) {
        let mut operator = world.operator_struck(&failpoint(point, action), &[]);
        operator.struck(action).await;
        struck.push(operator);
        let orders = world.cloud.orders(&member(1).1).await;
        world.cloud.put(&format!("deals/{}", orders[0].2), json!({"status": 4})).await;
    }
    let book = world.book(&member(1).1).await;
    assert!(book[0]["status"]["deliveredAt"].is_string(), "it was struck after that was written: {book:?}");
    world.cloud.put(&format!("instances/{}", member(1).1), json!({"memSize": 2048})).await;
    let operator = world.operator(&[]);
    world.settles_and_has_paid_once(1, &[1024, 2048]).await;
    operator.kill().await;
    world.thawed_has_paid_once(&struck, 1, &[1024, 2048]).await;
}

#[rstest]
#[case::v2(V2, "101")]
#[case::v3(V3, "1001")]
#[tokio::test]
async fn struck_between_two_pages_of_the_list_it_reads_it_again(
    #[case] api: Api,
    #[case] count: &str,
    #[values("kill", "stop")] action: &str,
) {
    let world = World::new(api, &format!("{action}-listing"), &["--count", count]).await;
    world.declare_all(1, 2048).await;
    let mut struck = Vec::new();
    for point in points(When::Listing) {
        let mut operator = world.operator_struck(&failpoint(point, action), &[]);
        operator.struck(action).await;
        struck.push(operator);
    }
    assert_eq!(world.cloud.looks().await, 1, "it had read a page, and not the other one");
    let operator = world.operator(&[]);
    world.settles_and_has_paid_once(1, &[1024, 2048]).await;
    operator.kill().await;
    world.thawed_has_paid_once(&struck, 1, &[1024, 2048]).await;
}

/// Of two refusals the older one goes once it is a day old.
#[rstest]
#[tokio::test]
async fn struck_while_it_deletes_an_old_entry_it_is_deleted_and_nothing_is_paid_again(
    #[values(V2, V3)] api: Api,
    #[values("kill", "stop")] action: &str,
) {
    const DAY: i64 = 24 * 3600;
    let world = World::new(api, &format!("{action}-pruning"), &[]).await;
    world.cloud.put("clock", json!({"offsetSeconds": -DAY - 60})).await;
    let (name, id) = member(1);
    let operator = world.operator(&[]);
    world.declare_all(1, 1024).await;
    for (size, refusals) in [(2048, 1), (3072, 2)] {
        world.next_order_meets(json!({"kind": "error", "code": api.error(11063)})).await;
        world.declare(1, size).await;
        world.wait_for_book(&id, &vec!["Refused"; refusals]).await;
    }
    world.declare(1, 4096).await;
    world.settles_and_has_paid_once(1, &[1024, 4096]).await;
    operator.kill().await;
    world.cloud.put("clock", json!({"offsetSeconds": 0})).await;
    let mut struck = Vec::new();
    for (n, point) in (1..).zip(points(When::Pruning)) {
        let mut operator = world.operator_struck(&failpoint(point, action), &[]);
        let asked = json!({"crs.qcloud.com/requestedAt": n.to_string()});
        world.patch(&name, json!({"metadata": {"annotations": asked}})).await;
        operator.struck(action).await;
        struck.push(operator);
    }
    world.wait_for_book(&id, &["Refused", "Fulfilled"]).await;
    world.thawed_has_paid_once(&struck, 1, &[1024, 4096]).await;
    let _operator = world.operator(&[]);
    world.declare(1, 5120).await;
    world.settles_and_has_paid_once(1, &[1024, 4096, 5120]).await;
}

#[rstest]
#[tokio::test]
async fn told_to_end_and_struck_before_it_has_its_order_is_paid_once(
    #[values(V2, V3)] api: Api,
    #[values("kill", "stop")] action: &str,
) {
    let world = World::new(api, &format!("{action}-ending"), &[]).await;
    let points = points(When::Ending);
    world.declare_all(points.len(), 1024).await;
    let mut struck = Vec::new();
    for (n, point) in (1..).zip(&points) {
        let mut operator = world.operator_struck(&failpoint(*point, action), &[]);
        world.next_order_meets(json!({"kind": "delay", "ms": 500})).await;
        world.declare(n, 2048).await;
        wait_for("the order", async || {
            let ordered = world.cloud.orders(&member(n).1).await;
            if ordered.is_empty() { Err("none".into()) } else { Ok(()) }
        })
        .await;
        operator.tell_to_end();
        operator.struck(action).await;
        struck.push(operator);
    }
    let _operator = world.operator(&[]);
    let in_hand = |n: usize| points[n - 1] == Point::Stopping;
    world.settles_with_deals_lost(points.len(), &[1024, 2048], in_hand).await;
    if action == "stop" {
        for operator in &mut struck {
            operator.thaw();
            assert!(operator.ended().await.success(), "{}", operator.log());
        }
        world.settles_and_has_paid_once(points.len(), &[1024, 2048]).await;
    }
}
