//! Secrets that are missing, wrong, or replaced.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{KEY, SECRET_ID, World, codes, instance, secret, stalled_with, wait_for};

/// Every test ends with a look for secrets. This one has planted one.
#[rstest]
#[tokio::test]
#[should_panic(expected = "has key-of-the-shop-nobody-may-see in it")]
async fn a_secret_that_anybody_can_see_fails_its_test() {
    let world = World::new(V3, "planted", &[]).await;
    let mut careless = instance("sessions", "crs-00000001", 1024);
    careless["metadata"]["annotations"] = json!({"note": format!("the key is {KEY}")});
    world.apply(careless).await.expect("a RedisInstance");
}

#[rstest]
#[tokio::test]
async fn each_goes_on_when_its_secret_is_put_right_and_others_are_untouched(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "credentials", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(secret("wrong-key", SECRET_ID, "not-the-key")).await.expect("a Secret");
    world.apply(secret("unknown-id", "AKIDnobody", "some-key")).await.expect("a Secret");
    let broken = [
        ("missing", "CredentialsMissing", [Value::Null, Value::Null]),
        ("wrong-key", "AuthFailure", api.told(4100)),
        ("unknown-id", "AuthFailure", api.told(4104)),
    ];
    for (n, (secret, ..)) in (2..).zip(&broken) {
        let mut manifest = instance(secret, &format!("crs-0000000{n}"), 2048);
        manifest["spec"]["credentialsSecretRef"]["name"] = json!(secret);
        world.apply(manifest).await.expect("a RedisInstance");
    }
    world.apply(instance("healthy", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("healthy").await;
    for (name, reason, told) in &broken {
        let stalled = world.wait_stalled(name, reason).await;
        assert_eq!(codes(&stalled), *told, "{name}");
    }
    assert_eq!(world.cloud.ledger().await["orders"].as_array().map(Vec::len), Some(1));

    for (name, ..) in &broken {
        world.apply(secret(name, SECRET_ID, KEY)).await.expect("a Secret");
    }
    for (n, (name, ..)) in (2..).zip(&broken) {
        world.wait_fulfilled(name).await;
        assert_eq!(world.cloud.orders(&format!("crs-0000000{n}")).await.len(), 1, "{name}");
    }
}

#[rstest]
#[tokio::test]
async fn who_asks_by_annotation_needs_not_wait_until_a_secret_is_read_again(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "secret-asked", &[]).await;
    // A key that was refused is tried again after half a minute, and a still instance after an hour.
    let _operator = world.operator(&["--resync", "1h", "--resync-active", "1h"]);
    let ask = async |name: &str, word: &str| {
        let annotation = format!("crs.qcloud.com/requestedAt={word}");
        world.kubectl(&["annotate", "--overwrite", "crs", name, &annotation]).await.expect("an annotation");
    };
    world.apply(secret("wrong", SECRET_ID, "not-the-key")).await.expect("a Secret");
    let broken = [("wrong", "AuthFailure"), ("missing", "CredentialsMissing")];
    for (n, (name, why)) in (1..).zip(broken) {
        let mut manifest = instance(name, &format!("crs-0000000{n}"), 2048);
        manifest["spec"]["credentialsSecretRef"]["name"] = json!(name);
        world.apply(manifest).await.expect("a RedisInstance");
        world.wait_stalled(name, why).await;
        ask(name, "too-soon").await;
        let still =
            world.wait_until(name, "answered", |asked| asked["status"]["lastHandledRequestedAt"] == "too-soon").await;
        assert!(stalled_with(&still, why), "{still}");
    }
    let begun = Instant::now();
    for (n, (name, _)) in (1..).zip(broken) {
        world.apply(secret(name, SECRET_ID, KEY)).await.expect("a Secret");
        ask(name, "now").await;
        world.wait_until(name, "answered", |asked| asked["status"]["lastHandledRequestedAt"] == "now").await;
        wait_for("the order", async || {
            let orders = world.cloud.orders(&format!("crs-0000000{n}")).await;
            if orders.len() == 1 { Ok(()) } else { Err(format!("{orders:?}")) }
        })
        .await;
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "that took {:?}", begun.elapsed());
}
