//! Frozen by SIGSTOP at a point of the protocol, past every time that it keeps to, and thawed with something in hand; and two that race.

use crs_operator::failpoint::Point;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{Operator, When, World, failpoint, instance, member, points, seed, wait_for};

/// Those before the create have one RedisInstance in hand, all of them, and the number of its next entry.
#[rstest]
#[tokio::test]
async fn frozen_with_something_in_hand_and_thawed_when_another_has_settled_it_they_pay_once(
    #[values(V2, V3)] api: Api,
) {
    let points = points(When::Growing);
    let invisible = ["--visible-after", "600ms", "--while-invisible", "accept"];
    let world = World::new(api, "frozen-at", &[&invisible[..], &["--count", "20"]].concat()).await;
    world.declare_all(points.len(), 1024).await;
    let mut frozen = Vec::new();
    for (n, point) in (1..).zip(&points) {
        frozen.push(world.struck_growing(n, *point, "stop").await);
    }
    let _another = world.operator(&[]);
    // Each had begun with what those before it had left, too: of whichever order, the answer may be in the hands of one that is frozen.
    world.settles_with_deals_lost(points.len(), &[1024, 2048], |_| true).await;
    frozen.iter().for_each(Operator::thaw);
    // They all act again, at once.
    for n in 1..=points.len() {
        world.declare(n, 3072).await;
    }
    world.settles_and_has_paid_once(points.len(), &[1024, 2048, 3072]).await;
    for operator in &mut frozen {
        assert!(operator.runs(), "it got over that without a restart:\n{}", operator.log());
    }
}

#[rstest]
#[tokio::test]
async fn a_leader_frozen_past_its_lease_with_an_order_in_hand_ends_when_it_thaws_and_it_is_paid_once(
    #[values(V2, V3)] api: Api,
    #[values(Point::Looked, Point::Created, Point::BodyLeaves, Point::Answered)] point: Point,
) {
    let test = format!("leader-frozen-{point:?}").to_lowercase();
    let world = World::new(api, &test, &[]).await;
    let mut frozen = world.operator_struck(&failpoint(point, "stop"), &["--leader-elect"]);
    world.apply(instance("cache-1", &member(1).1, 2048)).await.expect("a RedisInstance");
    frozen.struck("stop").await;
    let next = world.operator(&["--leader-elect"]);
    world.settles_with_deals_lost(1, &[1024, 2048], |_| point == Point::Answered).await;
    assert!(next.log().contains("this process acts"), "{}", next.log());
    frozen.thaw();
    assert_eq!(frozen.ended().await.code(), Some(1), "{}", frozen.log());
    assert!(frozen.log().contains("the lease is lost"), "{}", frozen.log());
    world.declare(1, 3072).await;
    world.settles_and_has_paid_once(1, &[1024, 2048, 3072]).await;
}

/// Nobody is elected: each acts whenever it runs. Each growth goes on until one of the two is struck, or it is there.
#[rstest]
#[tokio::test]
async fn two_that_race_struck_at_random_points_with_a_cloud_that_loses_things_pay_once(#[values(V2, V3)] api: Api) {
    const MANY: usize = 12;
    let seed = seed();
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let invisible = ["--visible-after", "300ms", "--while-invisible", "accept"];
    let text = seed.to_string();
    let world = World::new(api, "raced", &[&invisible[..], &["--count", "12", "--seed", &text]].concat()).await;
    let order = |kind: &str| json!({"action": api.upgrade(), "kind": kind, "ms": 1500, "rate": 0.12});
    let stale = json!({"action": api.describe(), "kind": "stale", "ms": 500, "rate": 0.3});
    let faults = json!([order("drop-after"), order("drop-before"), order("late"), order("truncated"), stale]);
    world.cloud.put("faults", faults).await;
    world.declare_all(MANY, 1024).await;
    let points = points(When::Growing);
    let mut replica = || {
        let point = *points.choose(&mut random).expect("there are points");
        let action = if random.random_bool(0.5) { "kill" } else { "stop" };
        world.operator_struck(&failpoint(point, action), &[])
    };
    let mut replicas = [replica(), replica()];
    let (mut frozen, mut third) = (Vec::new(), None);
    for n in 1..=MANY {
        world.declare(n, 2048).await;
        let name = member(n).0;
        wait_for("a replica to be struck, or the growth", async || {
            let struck = replicas.iter_mut().any(|replica| !replica.runs() || replica.is_still());
            let grown = struck || world.get(&name).await["status"]["memSize"] == 2048;
            if grown { Ok(()) } else { Err("neither".into()) }
        })
        .await;
        for old in &mut replicas {
            if !old.runs() {
                *old = replica();
            } else if old.is_still() {
                frozen.push(std::mem::replace(old, replica()));
            }
        }
        // The oldest of three comes back with what it had in hand, in the middle of it all, until the next one does.
        if frozen.len() > 2 {
            let oldest = frozen.remove(0);
            oldest.thaw();
            third = Some(oldest);
        }
    }
    frozen.iter().for_each(Operator::thaw);
    let _unstruck = [world.operator(&[]), world.operator(&[])];
    world.settles_with_deals_lost(MANY, &[1024, 2048], |_| true).await;
    drop((replicas, third));
}
