//! The API server or etcd is away for a while, or holds what it should not. Each test has a control plane of its own.

use crs_operator::failpoint::Point;
use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{Cluster, Operator, World, instance, wait_for};

/// Operators that stand at a point of the protocol go on from there into the outage, and get over it without a restart.
#[rstest]
#[case::v2(V2, [("kube-apiserver", "KILL"), ("etcd", "STOP")])]
#[case::v3(V3, [("etcd", "KILL"), ("kube-apiserver", "STOP")])]
#[tokio::test]
async fn api_server_or_etcd_away_or_hanging_at_each_point_of_an_upgrade(
    #[case] api: Api,
    #[case] outages: [(&str, &str); 2],
) {
    const POINTS: [Point; 8] = [
        Point::BeforeBook,
        Point::BeforeConfirm,
        Point::BeforeCreate,
        Point::Created,
        Point::BeforeRecord,
        Point::BeforeSettle,
        Point::BeforeStatus,
        Point::BeforeEvent,
    ];
    let cluster = Cluster::start().await;
    for (server, signal) in outages {
        let test = format!("{server}-{signal}").to_lowercase();
        let world = World::on(cluster.clone(), api, &test, &["--upgrade-time", "2s"]).await;
        world.declare_all(POINTS.len(), 1024).await;
        let mut operators = Vec::new();
        for (n, point) in (1..).zip(POINTS) {
            operators.push(world.struck_growing(n, point, "stop").await);
        }
        match signal {
            "KILL" => cluster.take_away(server),
            hanging => cluster.signal(server, hanging),
        }
        let before: Vec<_> = operators.iter().map(warnings).collect();
        operators.iter().for_each(Operator::thaw);
        for (operator, before) in operators.iter_mut().zip(before) {
            wait_for("a word about the outage", async || {
                if warnings(operator) > before || !operator.runs() { Ok(()) } else { Err(operator.log()) }
            })
            .await;
        }
        match signal {
            "KILL" => cluster.bring_back(server),
            _ => cluster.signal(server, "CONT"),
        }
        world.settles_and_has_paid_once(POINTS.len(), &[1024, 2048]).await;
        for operator in &mut operators {
            assert!(operator.runs(), "it got over that without a restart:\n{}", operator.log());
        }
    }
}

fn warnings(operator: &Operator) -> usize {
    operator.log().matches("WARN").count()
}

#[rstest]
#[tokio::test]
async fn started_while_the_api_server_is_away_it_waits_and_works(#[values(V2, V3)] api: Api) {
    let cluster = Cluster::start().await;
    let world = World::on(cluster.clone(), api, "api-late", &[]).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    cluster.take_away("kube-apiserver");
    let mut operator = world.operator(&[]);
    wait_for("a word about that", async || {
        let log = operator.log();
        if log.contains("WARN") || !operator.runs() { Ok(()) } else { Err(log) }
    })
    .await;
    cluster.bring_back("kube-apiserver");
    world.wait_fulfilled("sessions").await;
    assert!(operator.runs(), "without a restart:\n{}", operator.log());
}

#[rstest]
#[tokio::test]
async fn one_object_that_can_not_be_read_holds_up_no_other(#[values(V2, V3)] api: Api) {
    let cluster = Cluster::start().await;
    let world = World::on(cluster.clone(), api, "unreadable", &[]).await;
    let anything = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    let crd = ["patch", "crd", "redisinstances.crs.qcloud.com", "--type=json", "-p", &anything.to_string()];
    world.kubectl(&crd).await.expect("an API server that takes anything");
    wait_for("an object that can't be read", async || {
        let mut garbage = instance("garbage", "crs-00000002", 2048);
        garbage["spec"]["memSize"] = json!("lots");
        let said = world.apply(garbage).await;
        if said.ok { Ok(()) } else { Err(said.stderr) }
    })
    .await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert!(operator.log().contains("garbage"), "it is reported:\n{}", operator.log());
    assert_eq!(world.cloud.ledger().await["orders"].as_array().map(Vec::len), Some(1));
}
