//! Clusters: the size declared is that of all shards together.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, codes, instance};

const ID: &str = "crs-cluster1";

/// With a cluster of three shards and 3072 MB, each shard with two replicas.
async fn with_cluster(api: Api, test: &str) -> World {
    let world = World::new(api, test, &[]).await;
    let cluster = json!({"redisId": ID, "typeId": 1, "shards": 3, "replicas": 2, "memSize": 3072});
    world.cloud.post("instances", cluster).await;
    world
}

/// Size, shards and replicas that it has in the cloud.
async fn shape(world: &World) -> [Value; 3] {
    let row = world.cloud.get(&format!("instances/{ID}")).await;
    ["memSize", "shards", "replicas"].map(|field| row[field].clone())
}

#[rstest]
#[tokio::test]
async fn a_cluster_grows_as_a_whole_and_keeps_its_shards_and_replicas(#[values(V2, V3)] api: Api) {
    let world = with_cluster(api, "cluster").await;
    let _operator = world.operator(&[]);
    world.apply(instance("carts", ID, 6144)).await.expect("a RedisInstance");
    let carts = world.wait_fulfilled("carts").await;
    assert_eq!(carts["status"]["memSize"], 6144);
    assert_eq!(shape(&world).await, [6144, 3, 2]);
    assert_eq!(world.cloud.sizes_ordered(ID).await, [(3072, 6144)]);
}

/// (Version 2 doesn't show shards: there the cloud refuses it.)
#[rstest]
#[tokio::test]
async fn a_size_that_its_shards_can_not_share_is_stalled_with_those_that_they_can(#[values(V2, V3)] api: Api) {
    let world = with_cluster(api, "cluster-uneven").await;
    let _operator = world.operator(&[]);
    world.apply(instance("carts", ID, 7168)).await.expect("a RedisInstance");
    let carts = world.wait_stalled("carts", "InvalidMemSize").await;
    let message = carts["status"]["lastError"]["message"].as_str().unwrap_or_default();
    match api {
        V2 => assert_eq!((codes(&carts), world.cloud.refusals(ID).await), (api.told(10703), vec![json!(10703)])),
        V3 => {
            assert_eq!(codes(&carts), [json!(10703), Value::Null], "found by the operator itself");
            assert!(["6144", "9216", "3 shards"].iter().all(|says| message.contains(says)), "{message}");
            assert_eq!((world.cloud.upgrades().await, world.book(ID).await.len()), (0, 0));
        }
    }
    assert_eq!(world.cloud.sizes_ordered(ID).await, []);

    world.apply(instance("carts", ID, 9216)).await.expect("one of those");
    world.wait_fulfilled("carts").await;
    assert_eq!(shape(&world).await, [9216, 3, 2]);
}
