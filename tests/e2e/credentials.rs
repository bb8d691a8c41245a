//! Secrets that are missing, wrong, or replaced.

use serde_json::json;

use crate::support::{KEY, SECRET_ID, World, instance, secret};

#[tokio::test]
async fn each_goes_on_when_its_secret_is_put_right_and_others_are_untouched() {
    let world = World::new("credentials", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(secret("wrong-key", SECRET_ID, "not-the-key")).await.expect("a Secret");
    world.apply(secret("unknown-id", "AKIDnobody", "some-key")).await.expect("a Secret");
    let broken = [
        ("missing", "CredentialsMissing", None),
        ("wrong-key", "AuthFailure", Some(4100)),
        ("unknown-id", "AuthFailure", Some(4104)),
    ];
    for (n, (secret, ..)) in (2..).zip(broken) {
        let mut manifest = instance(secret, &format!("crs-0000000{n}"), 2048);
        manifest["spec"]["credentialsSecretRef"]["name"] = json!(secret);
        world.apply(manifest).await.expect("a RedisInstance");
    }
    world.apply(instance("healthy", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("healthy").await;
    for (name, reason, code) in broken {
        let stalled = world.wait_stalled(name, reason).await;
        assert_eq!(stalled["status"]["lastError"]["code"], json!(code), "{name}");
    }
    assert_eq!(world.cloud.ledger().await["orders"].as_array().map(Vec::len), Some(1));

    for (name, ..) in broken {
        world.apply(secret(name, SECRET_ID, KEY)).await.expect("a Secret");
    }
    for (n, (name, ..)) in (2..).zip(broken) {
        world.wait_fulfilled(name).await;
        assert_eq!(world.cloud.orders(&format!("crs-0000000{n}")).await.len(), 1, "{name}");
    }
}
