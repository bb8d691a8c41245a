//! The main job on real input: a folder as a GitOps repository holds it, each manifest ending as it deserves.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{Cluster, KEYS, World, codes, condition, reason, repository, stalled_with, wait_for};

enum Ends {
    /// Ready with this reason.
    Ready(&'static str),
    /// Stalled with this reason and these codes in lastError.
    Stalled(&'static str, [Value; 2]),
}
use Ends::{Ready, Stalled};

/// redisId, from, to.
type Order = (&'static str, i64, i64);

/// namespace, name, how it ends, and the order that the ledger must have for it.
fn expected(api: Api) -> [(&'static str, &'static str, Ends, Option<Order>); 17] {
    let none = [Value::Null, Value::Null];
    let found = |code: i64| [json!(code), Value::Null];
    let nowhere = match api {
        V2 => Stalled("InvalidParameter", [json!(4000), json!("4000")]),
        V3 => Stalled("UnsupportedRegion", [Value::Null, json!("UnsupportedRegion")]),
    };
    [
        ("shop", "sessions", Ready("InSync"), Some(("crs-shop0001", 1024, 2048))),
        ("shop", "catalog", Ready("InSync"), None),
        ("shop", "ratings", Stalled("ReduceCapacityNotAllowed", found(11057)), None),
        ("shop", "search", Stalled("MemSizeNotInRange", api.told(11063)), None),
        ("shop", "carts", Ready("InSync"), Some(("crs-shop0005", 1024, 4096))),
        ("shop", "carts-replica", Ready("Observed"), None),
        ("bank", "ledger", Ready("InSync"), Some(("crs-bank0001", 2048, 8192))),
        ("bank", "fraud", Stalled("InstanceStatusAbnormal", found(10702)), None),
        ("bank", "not-ours", Stalled("InstanceNotExists", found(10701)), None),
        ("lab", "experiment", Ready("InSync"), Some(("crs-bank0004", 2048, 4096))),
        ("lab", "typo", Stalled("InstanceNotExists", found(10701)), None),
        ("lab", "nowhere", nowhere, None),
        ("lab", "no-secret", Stalled("CredentialsMissing", none.clone()), None),
        ("lab", "half-a-secret", Stalled("CredentialsMissing", none.clone()), None),
        ("lab", "binary-secret", Stalled("CredentialsMissing", none), None),
        ("lab", "wrong-key", Stalled("AuthFailure", api.told(4100)), None),
        ("lab", "unknown-id", Stalled("AuthFailure", api.told(4104)), None),
    ]
}

fn ends_as(instance: &Value, ends: &Ends) -> bool {
    match ends {
        Ready(why) => condition(instance, "Ready") == "True" && reason(instance, "Ready") == *why,
        Stalled(why, told) => stalled_with(instance, why) && codes(instance) == *told,
    }
}

#[rstest]
#[tokio::test]
async fn each_manifest_of_a_gitops_folder_ends_as_it_deserves(#[values(V2, V3)] api: Api) {
    let bank = format!("AKIDbankbankbankbank:{}", KEYS[1]);
    let instances = repository().join("tests/gitops-cloud.yaml");
    // Of its own: the manifests name their namespaces.
    let cluster = Cluster::start().await;
    let world = World::on(cluster, api, "gitops", &["--key", &bank, "--instances", &instances.to_string_lossy()]).await;
    let _operator = world.operator(&["--namespace", "shop", "--namespace", "bank", "--namespace", "lab"]);

    let folder = repository().join("tests/gitops");
    let said = world.cluster.kubectl(&["apply", "-R", "-f", &folder.to_string_lossy()]).await;
    assert!(!said.ok, "three of the manifests are refused");
    for refused in ["odd-size", "no-size", "misspelt-id"] {
        assert!(said.stderr.contains(&format!("\"{refused}\" is invalid")), "{refused}: {}", said.stderr);
        assert!(!said.stdout.contains(refused), "{}", said.stdout);
    }

    let all = expected(api);
    for (namespace, name, ends, _) in &all {
        wait_for(&format!("{namespace}/{name}"), async || {
            let instance = world.get_in(namespace, name).await;
            if ends_as(&instance, ends) { Ok(()) } else { Err(instance["status"].to_string()) }
        })
        .await;
    }
    // Two with one instance, applied at once: whoever is the owner, the other is told.
    let owns = Ready("InSync");
    let told = Stalled("DuplicateRedisId", [Value::Null, Value::Null]);
    wait_for("one owner of crs-bank0003", async || {
        let [rates, copy] = [world.get_in("bank", "rates").await, world.get_in("bank", "rates-copy").await];
        let one_each =
            ends_as(&rates, &owns) && ends_as(&copy, &told) || ends_as(&rates, &told) && ends_as(&copy, &owns);
        if one_each { Ok(()) } else { Err(format!("{} {}", rates["status"], copy["status"])) }
    })
    .await;

    let mut expected: Vec<_> = all.iter().filter_map(|(.., order)| *order).collect();
    expected.push(("crs-bank0003", 1024, 2048));
    expected.sort_unstable();
    let ledger = world.cloud.ledger().await;
    let mut ordered: Vec<_> = ledger["orders"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|order| (order["redisId"].as_str().unwrap_or_default(), order["from"].as_i64(), order["to"].as_i64()))
        .map(|(redis_id, from, to)| (redis_id, from.unwrap_or(0), to.unwrap_or(0)))
        .collect();
    ordered.sort_unstable();
    assert_eq!(ordered, expected, "each once, and no other");

    let again = world.cluster.kubectl(&["apply", "-R", "-f", &folder.to_string_lossy()]).await;
    let changed: Vec<_> = again
        .stdout
        .lines()
        .filter(|line| line.starts_with("redisinstance") && !line.ends_with(" unchanged"))
        .collect();
    assert!(changed.is_empty(), "applied again, nothing changes: {changed:?}");
}
