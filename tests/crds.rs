//! The two CustomResourceDefinitions: what is generated is not stale, and what a real API server makes of them, word for word as a
//! user sees it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Cluster, Kubectl, instance, repository, wait_for};

#[path = "e2e/support/mod.rs"]
pub mod support;

/// A namespace for one test, on the control plane that they share.
struct Namespace(&'static str);

impl Namespace {
    async fn create(name: &'static str) -> Namespace {
        Cluster::shared().await.kubectl(&["create", "namespace", name]).await.expect("a namespace");
        Namespace(name)
    }

    async fn kubectl(&self, arguments: &[&str]) -> Kubectl {
        Cluster::shared().await.kubectl(&[&["-n", self.0], arguments].concat()).await
    }

    /// As `kubectl apply --server-side` does it, where a field that isn't in the schema is an error.
    async fn apply(&self, manifest: &Value, more: &[&str]) -> Kubectl {
        let apply = ["-n", self.0, "apply", "--server-side", "--validate=strict", "-f", "-"];
        Cluster::shared().await.kubectl_with(&[&apply, more].concat(), &manifest.to_string()).await
    }

    /// Changes fields of `kind/name`.
    async fn patch(&self, object: &str, fields: Value, more: &[&str]) -> Kubectl {
        self.kubectl(&[&["patch", object, "--type=merge", "-p", &fields.to_string()], more].concat()).await
    }

    /// Changes the status, as the operator does.
    async fn patch_status(&self, object: &str, status: Value) -> Kubectl {
        self.patch(object, json!({"status": status}), &["--subresource=status"]).await
    }

    /// Declares another size for `crs/sessions`.
    async fn declare(&self, mem_size: i64) -> Kubectl {
        self.patch("crs/sessions", json!({"spec": {"memSize": mem_size}}), &[]).await
    }

    async fn get(&self, object: &str) -> Value {
        let printed = self.kubectl(&["get", object, "-o", "json"]).await.expect("it is there");
        serde_json::from_str(&printed).expect("kubectl prints JSON")
    }

    /// The headers of `kubectl get`.
    async fn columns(&self, arguments: &[&str]) -> Vec<String> {
        let table = self.kubectl(&[&["get"], arguments].concat()).await.expect("a table");
        let header = table.lines().next().unwrap_or_default();
        header.split("   ").map(|column| column.trim().to_owned()).filter(|column| !column.is_empty()).collect()
    }
}

/// What was wrong, without who says it and without the remark that not all was checked.
fn problems(refusal: &str) -> Vec<&str> {
    let (_, list) = refusal.split_once(" is invalid: ").unwrap_or_else(|| panic!("no validation error: {refusal}"));
    let lines = list.lines().map(|line| line.trim_start_matches("* ").trim());
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("<nil>: Invalid value: null: some validation rules"))
        .collect()
}

fn entry() -> Value {
    json!({
        "apiVersion": "crs.qcloud.com/v1alpha1",
        "kind": "RedisUpgrade",
        "metadata": {"name": "crs-00000001-1", "labels": {"crs.qcloud.com/redis-id": "crs-00000001"}},
        "spec": {
            "redisId": "crs-00000001", "region": "gz", "from": 1024, "to": 2048, "signedAt": "2026-01-02T03:04:05Z",
            "instanceRef": {"namespace": "shop", "name": "sessions", "path": "shop/sessions", "uid": "u", "generation": 1},
        },
    })
}

fn condition(kind: &str, reason: &str) -> Value {
    let at = "2026-01-02T03:04:05Z";
    json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": at})
}

#[test]
fn crds_holds_what_the_program_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_crs-operator")).arg("crd").output().expect("the binary runs");
    let printed = String::from_utf8(printed.stdout).expect("text");
    let printed: String = printed.split_inclusive('\n').filter(|line| !line.starts_with("---")).collect();
    let mut files: Vec<_> =
        fs::read_dir(repository().join("crds")).expect("crds/").map(|file| file.unwrap().path()).collect();
    files.sort();
    let committed: String = files.iter().map(|file| fs::read_to_string(file).expect("a text file")).collect();
    assert!(printed == committed, "crds/ is stale: run `make generate`");
}

#[test]
fn the_charts_copy_and_deploy_are_what_gets_generated() {
    let check = Command::new(repository().join("tools/generate-deploy")).arg("--check").output().expect("it starts");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn the_api_reference_is_what_gets_generated() {
    // `cargo test` builds the examples, beside the binaries.
    let built = Path::new(env!("CARGO_BIN_EXE_crs-operator")).with_file_name("examples").join("api_reference");
    let printed = Command::new(built).current_dir(repository()).output().expect("the example runs");
    let committed = fs::read_to_string(repository().join("docs/api.md")).expect("docs/api.md");
    assert!(String::from_utf8_lossy(&printed.stdout) == committed, "docs/api.md is stale: run `make generate`");
}

#[tokio::test]
async fn both_are_accepted_without_a_warning_and_established() {
    let cluster = Cluster::shared().await;
    let crds = repository().join("crds");
    let applied =
        cluster.kubectl(&["apply", "--server-side", "--validate=strict", "-f", &crds.to_string_lossy()]).await;
    assert_eq!((applied.ok, applied.stderr.as_str()), (true, ""), "{applied:?}");
    let listed = cluster.kubectl(&["get", "crd", "-o", "json"]).await.expect("a list");
    let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
    let crds = listed["items"].as_array().expect("a list");
    assert_eq!(crds.len(), 2);
    for crd in crds {
        let conditions = crd["status"]["conditions"].as_array().expect("conditions");
        let mut states: Vec<_> =
            conditions.iter().map(|condition| (condition["type"].as_str(), condition["status"].as_str())).collect();
        states.sort();
        let good = ["Established", "NamesAccepted"].map(|kind| (Some(kind), Some("True")));
        assert_eq!(states, good, "{}", crd["metadata"]["name"]);
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_spec_is_said_field_by_field() {
    let namespace = Namespace::create("spec").await;
    let too_small = "spec.memSize in body should be greater than or equal to 1024";
    let too_big = "spec.memSize in body should be less than or equal to 67108864";
    let odd = "memSize is in MB and must be a multiple of 1024:";
    let redis_id = "spec.redisId in body should match '^crs-[a-z0-9]+$'";
    let region = "spec.region in body should match '^[a-z]+(-[a-z0-9]+)*$'";
    let secret = "spec.credentialsSecretRef.name in body should match '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'";
    let long = "a".repeat(41);
    let cases: Vec<(&str, Value, Vec<String>)> = vec![
        ("memSize", json!(0), vec![format!("spec.memSize: Invalid value: 0: {too_small}")]),
        ("memSize", json!(-1024), vec![format!("spec.memSize: Invalid value: -1024: {too_small}")]),
        (
            "memSize",
            json!(1000),
            vec![
                format!("spec.memSize: Invalid value: 1000: {too_small}"),
                format!("spec.memSize: Invalid value: 1000: {odd} 2 GB is 2048."),
            ],
        ),
        ("memSize", json!(1536), vec![format!("spec.memSize: Invalid value: 1536: {odd} 2048, for example.")]),
        ("memSize", json!(2_147_483_648_i64), vec![format!("spec.memSize: Invalid value: 2147483648: {too_big}")]),
        ("memSize", json!(67_109_888), vec![format!("spec.memSize: Invalid value: 67109888: {too_big}")]),
        ("memSize", Value::Null, vec!["spec.memSize: Required value".into()]),
        ("redisId", json!("crs-"), vec![format!("spec.redisId: Invalid value: \"crs-\": {redis_id}")]),
        ("redisId", json!("CRS-1"), vec![format!("spec.redisId: Invalid value: \"CRS-1\": {redis_id}")]),
        ("redisId", json!("redis-1"), vec![format!("spec.redisId: Invalid value: \"redis-1\": {redis_id}")]),
        ("redisId", json!("crs-1 "), vec![format!("spec.redisId: Invalid value: \"crs-1 \": {redis_id}")]),
        ("redisId", json!(long), vec!["spec.redisId: Too long: may not be more than 40 bytes".into()]),
        ("redisId", Value::Null, vec!["spec.redisId: Required value".into()]),
        ("region", json!("GZ"), vec![format!("spec.region: Invalid value: \"GZ\": {region}")]),
        ("region", json!(""), vec![format!("spec.region: Invalid value: \"\": {region}")]),
        ("region", json!(long), vec!["spec.region: Too long: may not be more than 40 bytes".into()]),
        ("region", Value::Null, vec!["spec.region: Required value".into()]),
        (
            "credentialsSecretRef",
            json!({"name": "Qcloud"}),
            vec![format!("spec.credentialsSecretRef.name: Invalid value: \"Qcloud\": {secret}")],
        ),
        ("credentialsSecretRef", json!({}), vec!["spec.credentialsSecretRef.name: Required value".into()]),
        ("credentialsSecretRef", Value::Null, vec!["spec.credentialsSecretRef: Required value".into()]),
        (
            "mode",
            json!("enforce"),
            vec!["spec.mode: Unsupported value: \"enforce\": supported values: \"Enforce\", \"Observe\"".into()],
        ),
    ];
    for (field, value, expected) in cases {
        let mut manifest = instance("sessions", "crs-00000001", 1024);
        let spec = manifest["spec"].as_object_mut().expect("a spec");
        match value {
            Value::Null => spec.remove(field),
            ref value => spec.insert(field.into(), value.clone()),
        };
        let refusal = namespace.apply(&manifest, &[]).await.expect_refusal(&format!("{field}: {value}"));
        assert_eq!(problems(&refusal), expected, "{field}: {value}");
    }
    for (manifest, expected) in [
        (json!({"spec": {"memSize": "2048"}}), ".spec.memSize: expected numeric (int or float), got string"),
        (json!({"spec": {"memsize": 2048}}), ".spec.memsize: field not declared in schema"),
    ] {
        let mut wrong = instance("sessions", "crs-00000001", 1024);
        for (field, value) in manifest["spec"].as_object().expect("a spec") {
            wrong["spec"][field] = value.clone();
        }
        let refusal = namespace.apply(&wrong, &[]).await.expect_refusal(expected);
        assert!(refusal.trim_end().ends_with(expected), "{refusal}");
    }
    // Client-side apply, the default of kubectl, says it in its own words.
    let typo = json!({"metadata": {"name": "sessions"}, "spec": {"memsize": 2048}});
    let mut manifest = instance("sessions", "crs-00000001", 1024);
    manifest["spec"]["memsize"] = typo["spec"]["memsize"].clone();
    let cluster = Cluster::shared().await;
    let apply = cluster.kubectl_with(&["-n", "spec", "apply", "-f", "-"], &manifest.to_string()).await;
    let refusal = apply.expect_refusal("a misspelt field");
    assert!(refusal.contains("unknown field \"spec.memsize\""), "{refusal}");
}

#[tokio::test]
async fn the_biggest_and_the_smallest_size_are_accepted_and_the_mode_is_enforce() {
    let namespace = Namespace::create("sizes").await;
    for mem_size in [1024, 67_108_864] {
        namespace.apply(&instance("sessions", "crs-00000001", mem_size), &[]).await.expect("a valid size");
    }
    assert_eq!(namespace.get("crs/sessions").await["spec"]["mode"], "Enforce");
}

#[tokio::test]
async fn a_shrink_below_the_real_size_is_refused() {
    let namespace = Namespace::create("shrink").await;
    namespace.apply(&instance("sessions", "crs-00000001", 4096), &[]).await.expect("created");
    namespace.patch_status("crs/sessions", json!({"memSize": 2048})).await.expect("a status");

    let refusal = namespace.declare(1024).await.expect_refusal("a shrink");
    let says = "spec.memSize: Forbidden: 11057 ReduceCapacityNotAllowed: the instance has 2048 MB, and an instance \
                is never made smaller. Declare 2048 or more.";
    assert_eq!(problems(&refusal), [says]);

    namespace.declare(3072).await.expect("growth that was not ordered yet is taken back in part");
    namespace.declare(2048).await.expect("and wholly");
    namespace.declare(1024).await.expect_refusal("but not further");
    namespace.declare(8192).await.expect("growth");
}

#[tokio::test]
async fn a_size_may_be_corrected_until_the_real_one_is_known() {
    let namespace = Namespace::create("unknown-size").await;
    namespace.apply(&instance("sessions", "crs-00000001", 4096), &[]).await.expect("created");
    namespace.declare(3072).await.expect("there is no status yet");
    // Fields may be null: that is as if they were absent, and no rule stumbles over it.
    namespace.patch_status("crs/sessions", json!({"observedGeneration": 1})).await.expect("a status without a size");
    let mut cleared = namespace.get("crs/sessions").await;
    cleared["status"] = json!({"memSize": null, "upgrade": null});
    let replace = ["-n", namespace.0, "replace", "--subresource=status", "-f", "-"];
    let cluster = Cluster::shared().await;
    cluster.kubectl_with(&replace, &cleared.to_string()).await.expect("a status of nulls");
    namespace.declare(2048).await.expect("the status has no size");
}

#[tokio::test]
async fn an_upgrade_on_its_way_can_not_be_taken_back() {
    let namespace = Namespace::create("on-its-way").await;
    namespace.apply(&instance("sessions", "crs-00000001", 4096), &[]).await.expect("created");
    let upgrade = |phase: &str| {
        let signed_at = "2026-01-02T03:04:05Z";
        let upgrade =
            json!({"name": "crs-00000001-1", "phase": phase, "from": 1024, "to": 3072, "signedAt": signed_at});
        json!({"memSize": 1024, "upgrade": upgrade})
    };
    let says = "spec.memSize: Forbidden: 11057 ReduceCapacityNotAllowed: an upgrade to 3072 MB is on its way \
                (crs-00000001-1) and cannot be taken back. Declare 3072 or more.";
    for phase in ["Written", "Placed"] {
        namespace.patch_status("crs/sessions", upgrade(phase)).await.expect("a status");
        let refusal = namespace.declare(2048).await.expect_refusal(phase);
        assert_eq!(problems(&refusal), [says], "{phase}");
    }
    namespace.declare(3072).await.expect("what is on its way");
    namespace.declare(4096).await.expect("more than is on its way");
    for phase in ["Fulfilled", "Failed", "Refused", "Abandoned"] {
        namespace.patch_status("crs/sessions", upgrade(phase)).await.expect("a status");
        namespace.declare(2048).await.expect(phase);
        namespace.declare(4096).await.expect(phase);
    }
}

#[tokio::test]
async fn an_instance_larger_than_declared_does_not_lock_its_object() {
    let namespace = Namespace::create("larger").await;
    namespace.apply(&instance("sessions", "crs-00000001", 2048), &[]).await.expect("created");
    namespace.patch_status("crs/sessions", json!({"memSize": 8192})).await.expect("growth from elsewhere");

    namespace.kubectl(&["label", "crs/sessions", "team=web"]).await.expect("a label");
    namespace.kubectl(&["annotate", "crs/sessions", "crs.qcloud.com/requestedAt=now"]).await.expect("an annotation");
    namespace.patch("crs/sessions", json!({"spec": {"mode": "Observe"}}), &[]).await.expect("another field");
    let other = json!({"spec": {"credentialsSecretRef": {"name": "other"}}});
    namespace.patch("crs/sessions", other, &[]).await.expect("another Secret");
    namespace.patch_status("crs/sessions", json!({"memSize": 16384})).await.expect("more growth from elsewhere");
    namespace.declare(4096).await.expect("a step towards the real size");
    let refusal = namespace.declare(2048).await.expect_refusal("and back");
    assert!(refusal.contains("the instance has 16384 MB"), "{refusal}");
}

#[tokio::test]
async fn redis_id_and_region_can_not_be_changed() {
    let namespace = Namespace::create("immutable").await;
    namespace.apply(&instance("sessions", "crs-00000001", 2048), &[]).await.expect("created");
    let go_on = "Delete this one (the cloud's instance stays as it is) and create a new one.";
    let refusal = namespace.patch("crs/sessions", json!({"spec": {"redisId": "crs-2"}}), &[]).await;
    let says = format!(
        "spec.redisId: Invalid value: \"crs-2\": redisId can't be changed: another instance is another RedisInstance. {go_on}"
    );
    assert_eq!(problems(&refusal.expect_refusal("another redisId")), [says]);
    let refusal = namespace.patch("crs/sessions", json!({"spec": {"region": "ap-guangzhou"}}), &[]).await;
    let says = "spec.region: Invalid value: \"ap-guangzhou\": region can't be changed: an instance stays in its region. \
                Delete this RedisInstance (the cloud's instance stays as it is) and create a new one.";
    assert_eq!(problems(&refusal.expect_refusal("another region")), [says]);
}

#[tokio::test]
async fn an_entry_of_the_book_can_not_be_changed_but_its_status_can() {
    let namespace = Namespace::create("entry").await;
    namespace.apply(&entry(), &[]).await.expect("an entry");
    let says = "an entry of the account book can't be changed: it says what was ordered.";
    for fields in [json!({"to": 4096}), json!({"instanceRef": {"name": "other"}})] {
        let refusal = namespace.patch("crsup/crs-00000001-1", json!({"spec": fields}), &[]).await;
        let refusal = refusal.expect_refusal("another order");
        assert!(problems(&refusal).iter().all(|problem| problem.ends_with(says)), "{refusal}");
    }
    let placed = json!({"phase": "Placed", "dealId": "432587"});
    namespace.patch_status("crsup/crs-00000001-1", placed).await.expect("a status");
    let refusal = namespace.patch_status("crsup/crs-00000001-1", json!({"phase": "Lost"})).await;
    let says = "status.phase: Unsupported value: \"Lost\": supported values: \"Written\", \"Placed\", \"Fulfilled\", \
                \"Failed\", \"Refused\", \"Abandoned\"";
    assert_eq!(problems(&refusal.expect_refusal("a phase that doesn't exist")), [says]);
}

#[tokio::test]
async fn kubectl_shows_the_columns_of_the_contract() {
    let namespace = Namespace::create("columns").await;
    namespace.apply(&instance("sessions", "crs-00000001", 2048), &[]).await.expect("created");
    namespace.apply(&entry(), &[]).await.expect("an entry");
    let status = json!({
        "memSize": 2048, "instanceStatus": "Running", "dealId": "432587", "conditions": [condition("Ready", "InSync")],
    });
    namespace.patch_status("crs/sessions", status).await.expect("a status");
    let placed = json!({"phase": "Placed", "dealId": "432587"});
    namespace.patch_status("crsup/crs-00000001-1", placed).await.expect("a status");

    let narrow = ["NAME", "REDIS ID", "DESIRED", "ACTUAL", "STATUS", "READY", "REASON", "AGE"];
    assert_eq!(namespace.columns(&["crs"]).await, narrow);
    let wide = ["NAME", "REDIS ID", "DESIRED", "ACTUAL", "STATUS", "READY", "REASON", "DEAL", "REGION", "AGE"];
    assert_eq!(namespace.columns(&["crs", "-o", "wide"]).await, wide);
    assert_eq!(namespace.columns(&["crsup"]).await, ["NAME", "FROM", "TO", "PHASE", "DEAL", "FOR", "AGE"]);

    let row = async |arguments: &[&str]| {
        let table = namespace.kubectl(&[&["get", "--no-headers"], arguments].concat()).await.expect("a row");
        table.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let told = ["sessions", "crs-00000001", "2048", "2048", "Running", "True", "InSync", "432587", "gz"];
    assert_eq!(row(&["crs", "-o", "wide"]).await[..9], told);
    assert_eq!(row(&["crsup"]).await[..6], ["crs-00000001-1", "1024", "2048", "Placed", "432587", "shop/sessions"]);

    let cloud = namespace.kubectl(&["get", "cloud", "-o", "name"]).await.expect("the category");
    let both = ["redisinstance.crs.qcloud.com/sessions", "redisupgrade.crs.qcloud.com/crs-00000001-1"];
    assert_eq!(cloud.lines().collect::<Vec<_>>(), both);
}

#[tokio::test]
async fn every_field_can_be_explained() {
    let cluster = Cluster::shared().await;
    let explain = async || cluster.kubectl(&["explain", "crs.spec.memSize"]).await;
    // The API server publishes what is explained a moment after it serves the CRDs.
    wait_for("the explanation", async || explain().await.ok.then_some(()).ok_or("not yet".to_owned())).await;
    let explained = explain().await.expect("an explanation");
    let says = "Memory of the whole instance in MB: a multiple of 1024. It can only grow.";
    assert!(explained.contains("FIELD: memSize <integer>") && explained.contains(says), "{explained}");

    let listed = cluster.kubectl(&["get", "crd", "-o", "json"]).await.expect("a list");
    let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
    for crd in listed["items"].as_array().expect("a list") {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut mute = Vec::new();
        find_mute(schema, crd["spec"]["names"]["singular"].as_str().expect("a name"), &mut mute);
        assert!(mute.is_empty(), "fields without a description: {mute:?}");
    }
}

/// The fields without a description, but for those that every object has.
fn find_mute(schema: &Value, path: &str, mute: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) && name != "metadata" {
            mute.push(path.clone());
        }
        find_mute(field, &path, mute);
        find_mute(&field["items"], &path, mute);
    }
}

#[tokio::test]
async fn two_managers_each_keep_their_own_condition() {
    let namespace = Namespace::create("managers").await;
    namespace.apply(&instance("sessions", "crs-00000001", 2048), &[]).await.expect("created");
    let status = |condition: Value| {
        json!({
            "apiVersion": "crs.qcloud.com/v1alpha1",
            "kind": "RedisInstance",
            "metadata": {"name": "sessions"},
            "status": {"conditions": [condition]},
        })
    };
    for (manager, condition) in [
        ("crs-operator", condition("Ready", "InSync")),
        ("somebody-else", condition("Audited", "LooksGood")),
        ("crs-operator", condition("Ready", "LargerThanDeclared")),
    ] {
        let as_manager = ["--subresource=status", "--field-manager", manager];
        namespace.apply(&status(condition), &as_manager).await.expect(manager);
    }
    let sessions = namespace.get("crs/sessions").await;
    let conditions = sessions["status"]["conditions"].as_array().expect("conditions");
    let reasons: Vec<_> = conditions.iter().map(|condition| condition["reason"].as_str()).collect();
    assert_eq!(reasons, [Some("LargerThanDeclared"), Some("LooksGood")]);
}

/// What the operator relies on: a process that was frozen can't put an old status over a newer one.
#[tokio::test]
async fn a_status_applied_to_an_older_version_of_the_object_is_refused() {
    let namespace = Namespace::create("older-version").await;
    namespace.apply(&instance("sessions", "crs-00000001", 4096), &[]).await.expect("created");
    let seen = namespace.get("crs/sessions").await["metadata"]["resourceVersion"].clone();
    let apply = async |version: &Value, mem_size: i64| {
        let manifest = json!({
            "apiVersion": "crs.qcloud.com/v1alpha1",
            "kind": "RedisInstance",
            "metadata": {"name": "sessions", "resourceVersion": version},
            "status": {"memSize": mem_size},
        });
        let as_operator = ["--force-conflicts", "--subresource=status", "--field-manager=crs-operator"];
        namespace.apply(&manifest, &as_operator).await
    };
    apply(&seen, 2048).await.expect("the newest version");
    let refusal = apply(&seen, 1024).await.expect_refusal("an older one");
    assert!(refusal.contains("the object has been modified"), "{refusal}");
    assert_eq!(namespace.get("crs/sessions").await["status"]["memSize"], 2048);
}
