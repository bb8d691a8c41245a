//! The program as a process: usage, signals, health, metrics.

use std::process::Command;

use rstest::rstest;
use serde_json::json;

use crate::support::Api::{self, V2, V3};
use crate::support::{World, instance, repository};

#[rstest]
#[tokio::test]
async fn sigterm_ends_it_in_order_and_what_was_sent_is_written_down(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "sigterm", &[]).await;
    let operator = world.operator(&[]);
    world.next_order_meets(json!({"kind": "delay", "ms": 1000})).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.cloud.wait_for_order().await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let book = world.book("crs-00000001").await;
    assert_eq!(book[0]["status"]["phase"], "Placed", "{book:?}");

    let _operator = world.operator(&[]);
    world.wait_fulfilled("sessions").await;
    assert_eq!(world.cloud.orders("crs-00000001").await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn it_serves_health_and_metrics_without_a_name_in_a_label(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "metrics", &[]).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    assert_eq!(operator.http_get("health", "/healthz").await, "ok");
    assert_eq!(operator.http_get("health", "/readyz").await, "ok");
    let metrics = operator.http_get("metrics", "/metrics").await;
    for line in [
        &format!(r#"crs_operator_cloud_requests_total{{action="{}",code="0"}} 1"#, api.upgrade()),
        r#"crs_operator_upgrades_total{outcome="fulfilled"} 1"#,
        "crs_operator_reconcile_total{",
        "crs_operator_reconcile_duration_seconds_bucket{",
        "crs_operator_cloud_request_duration_seconds_bucket{",
        "crs_operator_cloud_throttled_seconds_total",
        "crs_operator_cloud_clock_offset_seconds",
        r#"crs_operator_instances{state="#,
        "crs_operator_leader 1",
        "crs_operator_build_info{",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    for name in ["crs-00000001", "sessions"] {
        assert!(!metrics.contains(name), "no {name} in\n{metrics}");
    }
}

#[rstest]
#[tokio::test]
async fn of_two_that_elect_a_leader_the_other_takes_over_when_one_goes(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "leader", &[]).await;
    let operators = [world.operator(&["--leader-elect"]), world.operator(&["--leader-elect"])];
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let leads = |operator: &crate::support::Operator| operator.log().contains("this process acts");
    let [first, second] = operators;
    let (leader, other) = match (leads(&first), leads(&second)) {
        (true, false) => (first, second),
        (false, true) => (second, first),
        both => panic!("just one leads: {both:?}"),
    };
    assert_eq!(leader.terminate().await.code(), Some(0));
    world.apply(instance("sessions", "crs-00000001", 3072)).await.expect("more memory");
    world.wait_until("sessions", "at 3072 MB", |sessions| sessions["status"]["memSize"] == 3072).await;
    assert!(leads(&other));
    assert_eq!(world.cloud.orders("crs-00000001").await.len(), 2);
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_word_on_what_is_wrong() {
    for (arguments, says) in [
        (&["run", "--cloud-lag", "0s"][..], "--cloud-lag"),
        (&["run", "--request-lifetime", "10"][..], "--request-lifetime"),
        (&["run", "--otlp-endpoint", "collector:4318"], "--otlp-endpoint"),
        (&["run", "--colour"][..], "--colour"),
        (&["dance"][..], "dance"),
        (&[][..], "Usage"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_crs-operator")).args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

/// They are for these tests alone.
#[test]
fn what_is_released_has_no_failpoints_and_opens_nothing_for_benchmarks() {
    let [manifest, image, release] = ["Cargo.toml", "Dockerfile", ".github/workflows/release.yml"]
        .map(|file| std::fs::read_to_string(repository().join(file)).expect("a text file"));
    let features = manifest.split("[features]\n").nth(1).and_then(|rest| rest.split("\n[").next());
    let names: Vec<_> = features.into_iter().flat_map(str::lines).filter_map(|line| line.split_once(" = ")).collect();
    assert!(matches!(names[..], [("benchmarks", _), ("failpoints", _)]), "no default feature brings them: {names:?}");
    assert!(image.contains("cargo build --release"), "{image}");
    for built in [image, release] {
        assert!(!built.contains("features"), "{built}");
    }
}

#[test]
fn without_a_cluster_it_says_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_crs-operator"))
        .arg("run")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("KUBECONFIG", "/nonexistent")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("KUBECONFIG"), "{said}");
}
