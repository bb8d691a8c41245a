//! The API server or etcd is away for a while.

use serde_json::json;

use crate::support::{Cluster, World, instance, reason};

#[tokio::test]
async fn api_server_or_etcd_away_in_the_middle_of_an_upgrade() {
    let cluster = Cluster::start().await;
    for (n, server) in (1..).zip(["kube-apiserver", "etcd"]) {
        let world = World::on(cluster.clone(), &format!("{server}-away"), &["--upgrade-time", "3s"]).await;
        let id = format!("crs-0000000{n}");
        let mut operator = world.operator(&[]);
        world.apply(instance("sessions", &id, 2048)).await.expect("a RedisInstance");
        world.wait_until("sessions", "Upgrading", |sessions| reason(sessions, "Reconciling") == "Upgrading").await;
        cluster.take_away(server);
        let looks = world.cloud.calls("DescribeRedis").await;
        crate::support::wait_for("the upgrade's end in the cloud", async || {
            let seen = world.cloud.get(&format!("instances/{id}")).await;
            if seen["memSize"] == 2048 { Ok(()) } else { Err(format!("{seen}, {looks} looks so far")) }
        })
        .await;
        cluster.bring_back(server);
        world.wait_fulfilled("sessions").await;
        assert_eq!(world.cloud.orders(&id).await.len(), 1);
        assert!(operator.runs(), "it got over that without a restart:\n{}", operator.log());
    }
}

#[tokio::test]
async fn an_api_server_that_hangs_while_an_order_comes_back() {
    let cluster = Cluster::start().await;
    let world = World::on(cluster.clone(), "api-hangs", &[]).await;
    let _operator = world.operator(&[]);
    world.cloud.put("faults", json!([{"action": "UpgradeRedis", "kind": "delay", "ms": 1500, "times": 1}])).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    crate::support::wait_for("the order", async || {
        if world.cloud.calls("UpgradeRedis").await > 0 { Ok(()) } else { Err("none".into()) }
    })
    .await;
    cluster.signal("kube-apiserver", "STOP");
    crate::support::wait_for("the upgrade's end in the cloud", async || {
        let seen = world.cloud.get("instances/crs-00000001").await;
        if seen["memSize"] == 2048 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    cluster.signal("kube-apiserver", "CONT");
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders("crs-00000001").await.len(), 1);
    assert_eq!(world.book("crs-00000001").await.len(), 1);
}
