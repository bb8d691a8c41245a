//! What the API server itself refuses or accepts, by the CRDs.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{World, instance, repository};

fn changed(pointer: &str, value: Value) -> Value {
    let mut manifest = instance("sessions", "crs-00000001", 2048);
    match manifest.pointer_mut(pointer) {
        Some(field) => *field = value,
        None => panic!("no {pointer}"),
    }
    manifest
}

#[tokio::test]
async fn manifests_out_of_bounds_are_refused_with_a_word_on_the_field() {
    let world = World::new("manifests", &[]).await;
    for (pointer, value, says) in [
        ("/spec/memSize", json!(0), "greater than or equal to 1024"),
        ("/spec/memSize", json!(-2048), "greater than or equal to 1024"),
        ("/spec/memSize", json!(1000), "greater than or equal to 1024"),
        ("/spec/memSize", json!(1536), "multiple of 1024: 1024 or 2048"),
        ("/spec/memSize", json!(2_147_483_648_i64), "less than or equal to"),
        ("/spec/memSize", json!("2048"), "must be of type integer"),
        ("/spec/redisId", json!("crs_1"), "spec.redisId"),
        ("/spec/redisId", json!("CRS-1"), "spec.redisId"),
        ("/spec/redisId", json!(""), "spec.redisId"),
        ("/spec/region", json!("Guangzhou!"), "spec.region"),
        ("/spec/region", json!(""), "spec.region"),
        ("/spec/credentialsSecretRef/name", json!(""), "spec.credentialsSecretRef.name"),
        ("/spec/credentialsSecretRef", json!({"name": "qcloud", "namespace": "kube-system"}), "namespace"),
    ] {
        let said = world.apply(changed(pointer, value.clone())).await.expect_refusal(&format!("{pointer} = {value}"));
        assert!(said.contains(says), "{pointer} = {value}: {said}");
    }
    for missing in ["redisId", "region", "memSize", "credentialsSecretRef"] {
        let mut manifest = instance("sessions", "crs-00000001", 2048);
        manifest["spec"].as_object_mut().and_then(|spec| spec.remove(missing)).expect("it was there");
        let said = world.apply(manifest).await.expect_refusal(missing);
        assert!(said.contains(&format!("spec.{missing}: Required")), "{said}");
    }
}

#[tokio::test]
async fn what_identifies_an_instance_can_not_be_changed() {
    let world = World::new("immutable", &[]).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    for (pointer, value) in [("/spec/redisId", json!("crs-00000002")), ("/spec/region", json!("hk"))] {
        let said = world.apply(changed(pointer, value)).await.expect_refusal(pointer);
        assert!(said.contains("can't be changed"), "{said}");
    }
}

#[tokio::test]
async fn explain_has_a_word_on_each_field() {
    let world = World::new("explain", &[]).await;
    let said = world.kubectl(&["explain", "crs.spec"]).await.expect("an explanation");
    for words in ["memSize", "multiple of 1024", "credentialsSecretRef", "ap-guangzhou", "Observe"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn the_crds_in_the_repository_are_what_the_binary_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_crs-operator")).arg("crd").output().expect("it runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let printed: Vec<_> = printed.split("---\n").filter(|document| !document.trim().is_empty()).collect();
    let kept = ["redisinstances", "redisupgrades"].map(|plural| {
        let file = repository().join(format!("crds/{plural}.yaml"));
        fs::read_to_string(file).unwrap_or_default()
    });
    assert_eq!(printed, kept, "crds/ is stale: run `make generate`");
}
