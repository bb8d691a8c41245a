//! The chart, installed by the real helm on a real API server with RBAC; and the real binary, run as the Deployment says, with a token of
//! its ServiceAccount.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use support::{Api, Cluster, KEY, Operator, SECRET_ID, Simulator, World, instance, repository, secret, wait_for};

#[path = "e2e/support/mod.rs"]
pub mod support;

const POD: &str = "crs-operator-7c9f5d6b8d-x2x5k";

/// A release of the chart, called as the namespace that it is in.
struct Release {
    cluster: Arc<Cluster>,
    name: &'static str,
    folder: tempfile::TempDir,
}

/// The operator as the Deployment runs it, and where its ports are.
struct Running {
    operator: Operator,
    container: Value,
    metrics: String,
    health: String,
}

impl Release {
    async fn install(cluster: Arc<Cluster>, name: &'static str, values: &Value) -> Release {
        let release = Release { cluster, name, folder: tempfile::tempdir().expect("a folder") };
        let chart = chart();
        release.helm(&["install", name, &chart, "--create-namespace", "-f", "-"], values).expect("it is installed");
        release
    }

    fn helm(&self, arguments: &[&str], values: &Value) -> Result<String, String> {
        let kubeconfig = self.cluster.kubeconfig();
        helm(&[arguments, &["-n", self.name, "--kubeconfig", &kubeconfig.to_string_lossy()]].concat(), values)
    }

    /// An object that is there, as JSON.
    async fn get(&self, arguments: &[&str]) -> Value {
        let get = [&["-n", self.name, "get", "-o", "json"], arguments].concat();
        parse(&self.cluster.kubectl(&get).await.expect("it is there"))
    }

    async fn pod(&self) -> Value {
        let deployments = self.get(&["deployments"]).await;
        let [deployment] = items(&deployments) else { panic!("one Deployment, not {deployments}") };
        deployment["spec"]["template"].clone()
    }

    async fn account(&self) -> String {
        text(&self.pod().await["spec"]["serviceAccountName"])
    }

    /// A kubeconfig with nothing but a token of the ServiceAccount.
    async fn kubeconfig(&self) -> PathBuf {
        let account = self.account().await;
        let token = self.cluster.kubectl(&["-n", self.name, "create", "token", &account]).await.expect("a token");
        let config = self.cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).await.expect("a kubeconfig");
        let mut config = parse(&config);
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = self.folder.path().join("kubeconfig");
        fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// Runs the binary with just the arguments and the environment of the Deployment; only its ports are any free ones of loopback.
    async fn run(&self) -> Running {
        let pod = self.pod().await;
        let [container] = pod["spec"]["containers"].as_array().expect("containers").as_slice() else {
            panic!("one container, not {pod}")
        };
        assert_eq!(container["command"], Value::Null, "the image's entrypoint is the binary");
        let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
        command.env_clear().env("KUBECONFIG", self.kubeconfig().await);
        for variable in container["env"].as_array().expect("an environment") {
            command.env(text(&variable["name"]), self.value_of(variable));
        }
        for argument in container["args"].as_array().expect("arguments") {
            let argument = text(argument);
            match argument.split_once("-bind-address=") {
                Some((flag, address)) => {
                    let name = if flag == "--metrics" { "metrics" } else { "health" };
                    assert_eq!(address, format!("0.0.0.0:{}", port(container, name)), "{flag}");
                    command.arg(format!("{flag}-bind-address=127.0.0.1:0"))
                }
                None => command.arg(argument),
            };
        }
        let operator = Operator::start_as(self.name, &mut command);
        let start = wait_for("the operator to say where it listens", async || {
            let log = operator.log();
            let started = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut fields = started.map(|line| line["fields"].clone());
            fields.find(|fields| fields["message"] == "crs-operator starts").ok_or(log)
        })
        .await;
        let (metrics, health) = (text(&start["metrics"]), text(&start["health"]));
        Running { operator, container: container.clone(), metrics, health }
    }

    fn value_of(&self, variable: &Value) -> String {
        match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            None => text(&variable["value"]),
            Some("metadata.namespace") => self.name.into(),
            Some("metadata.name") => POD.into(),
            Some(other) => panic!("{other} is not known to this test"),
        }
    }

    /// What the ServiceAccount may do, by all bindings that name it, as `verb group/resource`.
    async fn granted(&self) -> BTreeSet<String> {
        let account = self.account().await;
        let bindings = self.get(&["clusterrolebindings,rolebindings", "-A"]).await;
        let mut granted = BTreeSet::new();
        for binding in items(&bindings) {
            let subjects = binding["subjects"].as_array();
            let names_it = |subject: &Value| subject["name"] == account.as_str() && subject["namespace"] == self.name;
            if !subjects.into_iter().flatten().any(names_it) {
                continue;
            }
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or(self.name);
            let (kind, name) = (text(&binding["roleRef"]["kind"]), text(&binding["roleRef"]["name"]));
            let role = self.cluster.kubectl(&["-n", namespace, "get", &kind, &name, "-o", "json"]).await;
            for rule in parse(&role.expect("a role"))["rules"].as_array().expect("rules") {
                for [group, resource, verb] in products(rule) {
                    granted.insert(format!("{verb} {group}/{resource}"));
                }
            }
        }
        granted
    }

    /// What the ServiceAccount asked for, and what of it was refused, by the API server's audit log.
    async fn used(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let user = format!("system:serviceaccount:{}:{}", self.name, self.account().await);
        let log = fs::read_to_string(self.cluster.kubeconfig().with_file_name("audit.log")).expect("an audit log");
        let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for request in log.lines().map(parse) {
            let object = &request["objectRef"];
            let (Some(resource), true) = (object["resource"].as_str(), request["user"]["username"] == user.as_str())
            else {
                continue;
            };
            let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
            let group = object["apiGroup"].as_str().unwrap_or_default();
            let right = format!("{} {group}/{resource}{part}", text(&request["verb"]));
            if request["annotations"]["authorization.k8s.io/decision"] != "allow" {
                refused.insert(right.clone());
            }
            used.insert(right);
        }
        (used, refused)
    }
}

impl Running {
    /// GET as the kubelet does it for a probe.
    async fn probe(&self, name: &str) -> String {
        let probe = &self.container[name]["httpGet"];
        assert_eq!(probe["port"], "health");
        http_get(&format!("http://{}{}", self.health, text(&probe["path"]))).await.expect("it answers")
    }
}

/// What of `resource` and so on each rule allows, taken apart.
fn products(rule: &Value) -> Vec<[String; 3]> {
    let list = |field: &str| -> Vec<String> { rule[field].as_array().expect(field).iter().map(text).collect() };
    let mut products = Vec::new();
    for group in list("apiGroups") {
        for resource in list("resources") {
            products.extend(list("verbs").into_iter().map(|verb| [group.clone(), resource.clone(), verb]));
        }
    }
    products
}

/// The real helm, in folders of its own. `values` are on its stdin.
fn helm(arguments: &[&str], values: &Value) -> Result<String, String> {
    static HELM: LazyLock<(PathBuf, tempfile::TempDir)> = LazyLock::new(|| {
        let assets = Command::new(repository().join("tools/assets")).arg("helm").output().expect("tools/assets runs");
        let printed = String::from_utf8_lossy(&assets.stdout).into_owned();
        let folder = printed.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&assets.stderr)));
        (Path::new(folder).join("helm"), tempfile::tempdir().expect("a folder"))
    });
    let mut command = Command::new(&HELM.0);
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, HELM.1.path());
    }
    let pipes = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("helm starts");
    serde_json::to_writer(child.stdin.take().expect("stdin is piped"), values).expect("helm reads its stdin");
    let output = child.wait_with_output().expect("helm ends");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(stdout) } else { Err(stderr) }
}

fn chart() -> String {
    repository().join("charts/crs-operator").to_string_lossy().into_owned()
}

/// The number of a named port.
fn port(container: &Value, name: &str) -> i64 {
    let ports = container["ports"].as_array().expect("ports");
    let port = ports.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("a port {name}"));
    port["containerPort"].as_i64().expect("a number")
}

async fn http_get(url: &str) -> Result<String, String> {
    let answer = reqwest::get(url).await.and_then(reqwest::Response::error_for_status);
    let body = match answer {
        Ok(answer) => answer.text().await,
        Err(error) => Err(error),
    };
    body.map_err(|error| error.to_string())
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().expect("a list")
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

/// The chart's values for tests: the simulator, and times that make a test take seconds.
fn values(cloud: &Simulator) -> Value {
    json!({
        "apiEndpoint": cloud.url(), "cloudLag": "1s", "requestLifetime": "5s", "resync": "1s", "resyncActive": "500ms",
        "cloudRate": 0, "concurrency": 4, "extraEnv": [{"name": "RUST_LOG", "value": "info"}],
    })
}

#[tokio::test]
async fn a_release_works_with_the_rights_that_it_is_given_and_leaves_what_matters_behind() {
    // The chart brings the CRDs.
    let cluster = Cluster::bare();
    let world = World::on(cluster.clone(), Api::V2, "shop", &[]).await;
    let release = Release::install(cluster, "crs-system", &values(&world.cloud)).await;
    release
        .cluster
        .kubectl(&["wait", "--for=condition=Established", "crd", "--all"])
        .await
        .expect("the CRDs are served");

    does_the_main_job(&release, &world).await;

    let (used, refused) = release.used().await;
    assert_eq!(refused, BTreeSet::new(), "rights that are missing");
    assert_eq!(used, release.granted().await, "what is used, and what is granted");

    an_upgrade_brings_a_changed_crd(&release).await;

    release.helm(&["uninstall", release.name], &Value::Null).expect("uninstalled");
    assert_eq!(items(&release.get(&["deployments,roles,rolebindings,serviceaccounts"]).await), &[] as &[Value]);
    assert_eq!(world.get("sessions").await["status"]["memSize"], 2048);
    assert_eq!(world.list("RedisUpgrade", release.name).await.len(), 10);
    release
        .helm(&["install", release.name, &chart()], &Value::Null)
        .expect("it can be installed again, over what was kept");
}

/// One order from beginning to end, with all that the operator ever asks of the API server.
async fn does_the_main_job(release: &Release, world: &World) {
    // Ten upgrades of long ago: when an eleventh is settled, the oldest is taken out of the book.
    for n in 1..=10 {
        let (name, long_ago) = (format!("crs-00000001-{n}"), "2026-01-02T03:04:05Z");
        let entry = json!({
            "apiVersion": "crs.qcloud.com/v1alpha1",
            "kind": "RedisUpgrade",
            "metadata": {"name": name, "labels": {"crs.qcloud.com/redis-id": "crs-00000001"}},
            "spec": {
                "redisId": "crs-00000001", "region": "gz", "from": 1024, "to": 1024, "signedAt": long_ago,
                "instanceRef": {"namespace": "shop", "name": "old", "path": "shop/old", "uid": "old", "generation": 1},
            },
        });
        let apply = ["-n", release.name, "apply", "-f", "-"];
        release.cluster.kubectl_with(&apply, &entry.to_string()).await.expect("an old entry");
        let settled = json!({"status": {"phase": "Fulfilled", "settledAt": long_ago}}).to_string();
        let patch =
            ["-n", release.name, "patch", "crsup", &name, "--subresource=status", "--type=merge", "-p", &settled];
        release.cluster.kubectl(&patch).await.expect("it is settled");
    }
    let running = release.run().await;
    assert_eq!(running.probe("livenessProbe").await, "ok");
    // Somebody else changes the entry while the order is under way: the operator has to read it again.
    world.next_order_meets(json!({"kind": "delay", "ms": 2000})).await;
    world.apply(instance("sessions", "crs-00000001", 2048)).await.expect("a RedisInstance");
    wait_for("the entry to be labelled", async || {
        let label = ["-n", release.name, "label", "crsup", "crs-00000001-11", "seen=yes"];
        let labelled = release.cluster.kubectl(&label).await;
        if labelled.ok { Ok(()) } else { Err(labelled.stderr) }
    })
    .await;

    let sessions = world.wait_fulfilled("sessions").await;
    let orders = world.cloud.orders("crs-00000001").await;
    assert_eq!(orders, [(1024, 2048, text(&sessions["status"]["dealId"]))]);
    wait_for("the oldest entry to be deleted", async || {
        let entries = world.list("RedisUpgrade", release.name).await;
        let names: Vec<_> = entries.iter().map(|entry| text(&entry["metadata"]["name"])).collect();
        if (names.len(), names.contains(&"crs-00000001-1".into())) == (10, false) {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;

    wait_for("Events of each step", async || {
        let events = release.get(&["events.events.k8s.io", "-n", &world.namespace]).await;
        let reasons: BTreeSet<_> = items(&events).iter().map(|event| text(&event["reason"])).collect();
        let all = BTreeSet::from(["UpgradeWritten", "UpgradePlaced", "UpgradeFulfilled"].map(str::to_owned));
        if reasons == all { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    assert_eq!(running.probe("readinessProbe").await, "ok");
    let metrics = http_get(&format!("http://{}/metrics", running.metrics)).await.expect("metrics");
    assert!(metrics.lines().any(|line| line == "crs_operator_leader 1"), "{metrics}");
    let lease = async || release.get(&["lease", "crs-operator"]).await["spec"]["holderIdentity"].clone();
    assert!(text(&lease().await).starts_with(POD));

    let log = running.operator.log();
    assert!(!log.contains("forbidden"), "{log}");
    assert!(running.operator.terminate().await.success());
    assert!(lease().await.as_str().unwrap_or_default().is_empty(), "the lease is given back");
}

async fn an_upgrade_brings_a_changed_crd(release: &Release) {
    let changed = release.folder.path().join("chart");
    let copied = Command::new("cp").arg("-r").args([Path::new(&chart()), &changed]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let file = changed.join("files/crds/redisinstances.yaml");
    let crd = fs::read_to_string(&file).expect("a CRD");
    fs::write(&file, crd.replace("Declared size, MB", "The size that is declared, MB")).expect("a file");

    release
        .helm(&["upgrade", release.name, &changed.to_string_lossy(), "--reuse-values"], &Value::Null)
        .expect("upgraded");
    let crd = release.get(&["crd", "redisinstances.crs.qcloud.com"]).await;
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().expect("columns");
    assert!(columns.iter().any(|column| column["description"] == "The size that is declared, MB"), "{columns:?}");
}

#[tokio::test]
async fn with_watch_namespaces_it_works_in_these_and_may_read_nothing_elsewhere() {
    let cluster = Cluster::shared().await;
    let world = World::on(cluster.clone(), Api::V3, "forum", &[]).await;
    for namespace in ["blog", "elsewhere"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
        let secret = secret("qcloud", SECRET_ID, KEY).to_string();
        cluster.kubectl_with(&["-n", namespace, "apply", "-f", "-"], &secret).await.expect("a Secret");
    }
    let mut values = values(&world.cloud);
    values["api"] = json!("v3");
    values["watchNamespaces"] = json!([world.namespace, "blog"]);
    values["crds"] = json!({"install": false});
    values["rbac"] = json!({"aggregate": false});
    let release = Release::install(cluster.clone(), "forum-crs", &values).await;
    let manifest = release.helm(&["get", "manifest", release.name], &Value::Null).expect("a manifest");
    assert!(manifest.contains("kind: RoleBinding") && !manifest.contains("kind: ClusterRole"), "{manifest}");

    let _running = release.run().await;
    world.apply(instance("posts", "crs-00000001", 2048)).await.expect("a RedisInstance");
    let apply = ["-n", "blog", "apply", "-f", "-"];
    let pages = instance("pages", "crs-00000002", 2048).to_string();
    cluster.kubectl_with(&apply, &pages).await.expect("a RedisInstance");
    world.wait_ready("posts").await;
    let wait = ["-n", "blog", "wait", "--for=condition=Ready", "crs/pages", "--timeout=60s"];
    cluster.kubectl(&wait).await.expect("the other namespace is looked after too");

    let kubeconfig = release.kubeconfig().await;
    let kubeconfig = kubeconfig.to_string_lossy();
    let as_operator =
        async |arguments: &[&str]| cluster.kubectl(&[&["--kubeconfig", &kubeconfig], arguments].concat()).await;
    as_operator(&["-n", "blog", "get", "secret", "qcloud"]).await.expect("its own Secret");
    for forbidden in [
        &["-n", "elsewhere", "get", "secret", "qcloud"][..],
        &["-n", "blog", "get", "secrets"],
        &["-n", release.name, "get", "secret", "qcloud"],
        &["get", "crs", "-A"],
    ] {
        let refusal = as_operator(forbidden).await.expect_refusal("it may not");
        assert!(refusal.contains("Error from server (Forbidden)"), "{refusal}");
    }
}

#[tokio::test]
async fn its_pod_passes_pod_security_restricted() {
    let cluster = Cluster::shared().await;
    cluster.kubectl(&["create", "namespace", "restricted"]).await.expect("a namespace");
    let label = ["label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted"];
    cluster.kubectl(&label).await.expect("a label");
    let values = json!({"crds": {"install": false}, "rbac": {"aggregate": false}});
    let release = Release::install(cluster.clone(), "restricted", &values).await;
    let mut pod = release.pod().await;
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = POD.into();
    let create = ["-n", "restricted", "create", "--dry-run=server", "--validate=strict", "-f", "-"];
    let created = cluster.kubectl_with(&create, &pod.to_string()).await;
    assert_eq!((created.ok, created.stderr.as_str()), (true, ""), "{created:?}");

    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refusal = cluster.kubectl_with(&create, &pod.to_string()).await.expect_refusal("another Pod");
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
}

#[test]
fn a_wrong_value_is_refused_by_its_name() {
    for (values, says) in [
        (json!({"watchNamespace": ["shop"]}), "additional properties 'watchNamespace' not allowed"),
        (json!({"crds": {"instal": false}}), "at '/crds': additional properties 'instal' not allowed"),
        (json!({"api": "v4"}), "at '/api': value must be one of 'v2', 'v3'"),
        (json!({"cloudLag": "1 minute"}), "at '/cloudLag': '1 minute' does not match pattern"),
        (json!({"apiEndpoint": "redis.api.example"}), "at '/apiEndpoint': 'redis.api.example' does not match pattern"),
        (
            json!({"api": "v3", "apiEndpoint": "https://redis.api.example/v2/index.php"}),
            "apiEndpoint has a path, which API 3.0 has not",
        ),
        (json!({"concurrency": 0}), "at '/concurrency': minimum: got 0, want 1"),
        (json!({"replicaCount": "two"}), "at '/replicaCount': got string, want integer"),
    ] {
        let refusal = helm(&["template", "x", &chart(), "--kube-version", "1.36", "-f", "-"], &values);
        let refusal = refusal.expect_err(&values.to_string());
        assert!(refusal.contains(says), "{values}: {refusal}");
    }
}

/// Every value that makes a manifest another one, at once.
#[tokio::test]
async fn all_values_together_make_what_the_api_server_takes_and_the_program_understands() {
    let cluster = Cluster::shared().await;
    for namespace in ["all-values", "all-watched"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
    }
    let values = json!({
        "image": {"repository": "registry.example/crs-operator", "digest": format!("sha256:{}", "0".repeat(64))},
        "imagePullSecrets": [{"name": "pull"}], "nameOverride": "crs", "fullnameOverride": "crs-all", "replicaCount": 2,
        "api": "v3", "apiEndpoint": "https://redis.api.example", "watchNamespaces": ["all-watched"], "cloudLag": "90s",
        "requestLifetime": "2h", "cloudRate": 2.5, "concurrency": 8, "resync": "2m", "resyncActive": "4s", "logFormat": "text",
        "extraArgs": ["--book-namespace=all-values"], "extraEnv": [{"name": "RUST_LOG", "value": "debug"}],
        "serviceAccount": {"name": "crs-account", "annotations": {"a": "b"}}, "podAnnotations": {"a": "1"},
        "podLabels": {"c": "true"}, "nodeSelector": {"kubernetes.io/os": "linux"}, "priorityClassName": "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}], "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"c": "true"}}}],
        "metrics": {"service": {"annotations": {"a": "2"}}},
    });
    let template = ["template", "all", &chart(), "-n", "all-values", "--kube-version", "1.36", "-f", "-"];
    let rendered = helm(&template, &values).expect("it renders");
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let applied = cluster.kubectl_with(&apply, &rendered).await;
    assert_eq!(applied.stderr, "", "no warning and no error");
    let applied = parse(&applied.expect("it is accepted"));
    let kinds: BTreeSet<_> = items(&applied).iter().map(|object| text(&object["kind"])).collect();
    assert!(kinds.contains("PodDisruptionBudget") && kinds.contains("Service"), "{kinds:?}");

    let deployment = items(&applied).iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
    let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
    let ended = command.env_clear().env("KUBECONFIG", "/nowhere").args(arguments.iter().map(text)).output();
    let ended = ended.expect("it runs");
    let says = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && says.contains("no cluster to work with"), "2 is wrong usage: {says}");
}

#[tokio::test]
async fn deploy_and_its_samples_are_what_the_api_server_takes() {
    let cluster = Cluster::shared().await;
    for namespace in ["crs-system", "shop"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
    }
    let folder = |name: &str| repository().join(name).to_string_lossy().into_owned();
    for arguments in [["-k", &folder("deploy")], ["-f", &folder("deploy/samples")]] {
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
        let applied = cluster.kubectl(&[&apply[..], &arguments].concat()).await;
        assert_eq!((applied.ok, applied.stderr.as_str()), (true, ""), "{applied:?}");
    }
}
