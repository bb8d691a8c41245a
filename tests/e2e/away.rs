//! The API server or etcd is away for a while, or holds what it should not. Each test has a control plane of its own.

use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{Cluster, World, instance, reason, wait_for};

#[rstest]
#[tokio::test]
async fn api_server_or_etcd_away_in_the_middle_of_an_upgrade(#[values(V2, V3)] api: Api) {
    let cluster = Cluster::start().await;
    for (n, server) in (1..).zip(["kube-apiserver", "etcd"]) {
        let world = World::on(cluster.clone(), api, &format!("{server}-away"), &["--upgrade-time", "3s"]).await;
        let id = format!("crs-0000000{n}");
        let mut operator = world.operator(&[]);
        world.apply(instance("sessions", &id, 2048)).await.expect("a RedisInstance");
        world.wait_until("sessions", "Upgrading", |sessions| reason(sessions, "Reconciling") == "Upgrading").await;
        cluster.take_away(server);
        world.cloud.wait_for_size(&id, 2048).await;
        cluster.bring_back(server);
        world.wait_fulfilled("sessions").await;
        assert_eq!(world.cloud.orders(&id).await.len(), 1);
        assert!(operator.runs(), "it got over that without a restart:\n{}", operator.log());
    }
}

#[rstest]
#[tokio::test]
async fn an_api_server_that_hangs_while_an_order_comes_back(#[values(V2, V3)] api: Api) {
    let cluster = Cluster::start().await;
    let world = World::on(cluster.clone(), api, "api-hangs", &[]).await;
    let _operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "delay", "ms": 1500})).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.cloud.wait_for_order().await;
    cluster.signal("kube-apiserver", "STOP");
    world.cloud.wait_for_size("crs-00000001", 2048).await;
    cluster.signal("kube-apiserver", "CONT");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders("crs-00000001").await.len(), 1);
    assert_eq!(world.book("crs-00000001").await.len(), 1);
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
