//! What most tests need: namespaces of their own, a cloud of their own, and an operator for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::children::RUN_DIR;
use super::{Api, Cluster, Kubectl, Operator, Simulator, leaks, wait_for};

pub const SECRET_ID: &str = "AKIDshopshopshopshop";
pub const KEY: &str = "key-of-the-shop-nobody-may-see";
pub const TOKEN: &str = "token/of+the-shop-nobody-may-see==";
/// Keys that nobody may see.
pub const KEYS: [&str; 3] = [KEY, "key-of-the-bank-nobody-may-see", "not-the-key"];

pub struct World {
    pub api: Api,
    pub cluster: Arc<Cluster>,
    client: kube::Client,
    pub cloud: Simulator,
    pub namespace: String,
    pub book_namespace: String,
}

impl World {
    /// In a namespace called as the test and the API, with a Secret `qcloud` that holds the key of the account whose instances
    /// `crs-00000001` to `crs-00000008` are, all at 1024 MB.
    pub async fn new(api: Api, test: &str, simulator: &[&str]) -> World {
        World::on(Cluster::shared().await, api, test, simulator).await
    }

    /// The same on a control plane of its own.
    pub async fn on(cluster: Arc<Cluster>, api: Api, test: &str, simulator: &[&str]) -> World {
        let key = format!("{SECRET_ID}:{KEY}:{TOKEN}");
        let mut arguments = vec!["--key", &key];
        let usual = [["--count", "8"], ["--upgrade-time", "1s"], ["--rate-limit", "0"], ["--timestamp-window", "3s"]];
        for usual in usual {
            if !simulator.contains(&usual[0]) {
                arguments.extend(usual);
            }
        }
        let namespace = format!("{test}-{}", api.name());
        let cloud = Simulator::start(&namespace, &[&arguments, simulator].concat());
        let client = cluster.client().await;
        let book_namespace = format!("{namespace}-book");
        let world = World { api, cluster, client, cloud, namespace, book_namespace };
        // By one kubectl, and not one for each: starting it is a good part of the work of these tests.
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let items = [namespace(&world.namespace), namespace(&world.book_namespace), secret("qcloud", SECRET_ID, KEY)];
        world
            .apply(json!({"apiVersion": "v1", "kind": "List", "items": items}))
            .await
            .expect("namespaces and a Secret");
        world
    }

    /// An operator for this namespace, which speaks this world's API (an `--api` among the arguments counts more). A test may start several.
    pub fn operator(&self, arguments: &[&str]) -> Operator {
        self.operator_as(&self.cluster.kubeconfig(), arguments)
    }

    /// The same with another kubeconfig than the administrator's.
    pub fn operator_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Operator {
        Operator::start(&self.namespace, kubeconfig, &self.with_own(arguments))
    }

    /// An operator that is killed or stopped at a point of the protocol: see [`Operator::start_with_failpoint`].
    pub fn operator_struck(&self, failpoint: &str, arguments: &[&str]) -> Operator {
        let kubeconfig = self.cluster.kubeconfig();
        Operator::start_with_failpoint(&self.namespace, &kubeconfig, &self.with_own(arguments), failpoint)
    }

    /// The arguments, after those that an operator of this world needs.
    fn with_own<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let own = [
            "--api",
            self.api.name(),
            "--api-endpoint",
            self.cloud.url(),
            "--namespace",
            &self.namespace,
            "--book-namespace",
            &self.book_namespace,
        ];
        [&own, arguments].concat()
    }

    /// The kubeconfig of a ServiceAccount `operator` that may do all that the operator needs, but nothing with the book.
    pub async fn service_account(&self) -> PathBuf {
        self.kubectl(&["create", "serviceaccount", "operator"]).await.expect("a ServiceAccount");
        let rules = json!([
            {"apiGroups": ["crs.qcloud.com"], "resources": ["redisinstances"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["crs.qcloud.com"], "resources": ["redisinstances/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ]);
        self.grant(&self.namespace, "instances", rules).await;
        let token = self.kubectl(&["create", "token", "operator"]).await.expect("a token");
        let config = self.cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).await.expect("a kubeconfig");
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = RUN_DIR.join(format!("{}-kubeconfig", self.namespace));
        std::fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// Gives that ServiceAccount a Role with these rules, in place of the one of this name.
    pub async fn grant(&self, namespace: &str, role: &str, rules: Value) {
        let subject = json!({"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace});
        let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        let metadata = json!({"name": role, "namespace": namespace});
        for (kind, content) in
            [("Role", json!({"rules": rules})), ("RoleBinding", json!({"roleRef": role_ref, "subjects": [subject]}))]
        {
            let mut manifest = content;
            manifest["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            manifest["kind"] = json!(kind);
            manifest["metadata"] = metadata.clone();
            self.cluster.kubectl_with(&["apply", "-f", "-"], &manifest.to_string()).await.expect("a right");
        }
    }

    /// How often that ServiceAccount asked for this, by the API server's audit log.
    pub fn asked(&self, verb: &str, resource: &str) -> usize {
        let log = std::fs::read_to_string(self.cluster.kubeconfig().with_file_name("audit.log")).expect("an audit log");
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        let requests = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        requests
            .filter(|request| {
                let object = &request["objectRef"];
                request["user"]["username"] == user.as_str()
                    && request["verb"] == verb
                    && object["resource"] == resource
                    && object["subresource"].is_null()
            })
            .count()
    }

    /// The next order, and no other call, meets this fault.
    pub async fn next_order_meets(&self, mut fault: Value) {
        fault["action"] = json!(self.api.upgrade());
        fault["times"] = json!(1);
        self.cloud.put("faults", json!([fault])).await;
    }

    /// Kills an operator that has just ordered 2048 MB for the RedisInstance `sessions`, of this redisId, where the order meets this fault.
    pub async fn kill_with_an_order_in_the_air(&self, redis_id: &str, fault: Value) {
        self.next_order_meets(fault).await;
        self.kill_once_it_has_ordered(redis_id).await;
    }

    /// The same with the faults that there are.
    pub async fn kill_once_it_has_ordered(&self, redis_id: &str) {
        let operator = self.operator(&[]);
        self.apply(instance("sessions", redis_id, 2048)).await.expect("a RedisInstance");
        self.cloud.wait_for_order().await;
        operator.kill().await;
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Kubectl {
        self.cluster.kubectl(&[&["-n", &self.namespace], arguments].concat()).await
    }

    pub async fn apply(&self, manifest: Value) -> Kubectl {
        self.cluster.kubectl_with(&["-n", &self.namespace, "apply", "-f", "-"], &manifest.to_string()).await
    }

    /// Changes a RedisInstance, once the API server answers. (A `kubectl` costs a good part of a second of work.)
    pub async fn patch(&self, name: &str, change: Value) {
        let api = self.objects("RedisInstance", &self.namespace);
        wait_for(&format!("{name} to be changed"), async || {
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
            patched.map_err(|error| error.to_string())
        })
        .await;
    }

    fn objects(&self, kind: &str, namespace: &str) -> kube::Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("crs.qcloud.com", "v1alpha1", kind));
        kube::Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// The objects of a kind of ours in a namespace, once the API server answers.
    pub async fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let api = self.objects(kind, namespace);
        let list = wait_for(&format!("a list of {kind}"), async || {
            api.list(&ListParams::default()).await.map_err(|error| error.to_string())
        })
        .await;
        list.items.iter().map(|object| serde_json::to_value(object).expect("it came as JSON")).collect()
    }

    /// The RedisInstance as it is now; null if there is none.
    pub async fn get(&self, name: &str) -> Value {
        self.get_in(&self.namespace, name).await
    }

    pub async fn get_in(&self, namespace: &str, name: &str) -> Value {
        let all = self.list("RedisInstance", namespace).await;
        all.into_iter().find(|instance| instance["metadata"]["name"] == name).unwrap_or(Value::Null)
    }

    /// Waits until the RedisInstance is as `is` says, for its present generation.
    pub async fn wait_until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name} to be {what}"), async || {
            let instance = self.get(name).await;
            let current = instance["status"]["observedGeneration"] == instance["metadata"]["generation"];
            if current && is(&instance) { Ok(instance) } else { Err(instance["status"].to_string()) }
        })
        .await
    }

    pub async fn wait_ready(&self, name: &str) -> Value {
        self.wait_until(name, "Ready", |instance| condition(instance, "Ready") == "True").await
    }

    /// Ready, and the book's newest entry is closed too.
    pub async fn wait_fulfilled(&self, name: &str) -> Value {
        self.wait_until(name, "fulfilled", |instance| {
            let upgrade = &instance["status"]["upgrade"];
            condition(instance, "Ready") == "True"
                && upgrade["phase"] == "Fulfilled"
                && upgrade["to"] == instance["spec"]["memSize"]
        })
        .await
    }

    pub async fn wait_stalled(&self, name: &str, why: &str) -> Value {
        self.wait_until(name, &format!("Stalled, {why}"), |instance| stalled_with(instance, why)).await
    }

    /// The notes of the Events on a RedisInstance that have this reason.
    pub async fn events(&self, name: &str, reason: &str) -> Vec<String> {
        let api = kube::Api::<Event>::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await.expect("a list of Events");
        events
            .items
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            .filter(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name))
            .map(|event| event.note.unwrap_or_default())
            .collect()
    }

    /// The same, once there are any: they are sent in the background, after the status is written.
    pub async fn wait_for_events(&self, name: &str, reason: &str) -> Vec<String> {
        wait_for(&format!("an Event {reason}"), async || {
            let events = self.events(name, reason).await;
            if events.is_empty() { Err("none".into()) } else { Ok(events) }
        })
        .await
    }

    /// Waits until the book's entries for one instance have these phases, in order.
    pub async fn wait_for_book(&self, redis_id: &str, phases: &[&str]) -> Vec<Value> {
        wait_for(&format!("{phases:?} in the book"), async || {
            let book = self.book(redis_id).await;
            let seen: Vec<_> = book.iter().map(|entry| &entry["status"]["phase"]).collect();
            if seen == phases { Ok(book) } else { Err(format!("{book:?}")) }
        })
        .await
    }

    /// The book's entries for one instance, in order.
    pub async fn book(&self, redis_id: &str) -> Vec<Value> {
        let all = self.list("RedisUpgrade", &self.book_namespace).await;
        let numbered: BTreeMap<u64, Value> = all
            .into_iter()
            .filter(|entry| entry["spec"]["redisId"] == redis_id)
            .map(|entry| {
                let name = entry["metadata"]["name"].as_str().expect("a name").to_owned();
                let number = name.rsplit('-').next().and_then(|n| n.parse().ok());
                (number.unwrap_or_else(|| panic!("{name} does not end in a number")), entry)
            })
            .collect();
        numbered.into_values().collect()
    }
}

impl Drop for World {
    /// In whatever test: no secret and no signature is in anything that people can look at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (cluster, namespaces) = (self.cluster.clone(), [self.namespace.clone(), self.book_namespace.clone()]);
        let seen = std::thread::spawn(move || everything(&cluster, &namespaces)).join().expect("a look at all");
        for (place, text) in seen {
            leaks::assert_none(&place, &text);
        }
    }
}

/// All objects of ours and all Events, by namespace and kind; nothing of a control plane that was taken away.
fn everything(cluster: &Cluster, namespaces: &[String]) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, mut seen) = (cluster.client().await, Vec::new());
        if cluster.is_away() {
            return seen;
        }
        for namespace in namespaces {
            for (group, kind) in
                [("crs.qcloud.com", "RedisInstance"), ("crs.qcloud.com", "RedisUpgrade"), ("events.k8s.io", "Event")]
            {
                let version = if group == "events.k8s.io" { "v1" } else { "v1alpha1" };
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
                let api = kube::Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
                let place = format!("{kind} in {namespace}");
                let items = wait_for(&place, async || {
                    match tokio::time::timeout(Duration::from_secs(5), api.list(&ListParams::default())).await {
                        Ok(Ok(list)) => Ok(list.items),
                        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Vec::new()), // no such kind here
                        failed => Err(format!("{failed:?}")),
                    }
                })
                .await;
                seen.push((place, serde_json::to_string_pretty(&items).expect("it came as JSON")));
            }
        }
        seen
    })
}

/// A RedisInstance with the Secret `qcloud`.
pub fn instance(name: &str, redis_id: &str, mem_size: i64) -> Value {
    json!({
        "apiVersion": "crs.qcloud.com/v1alpha1",
        "kind": "RedisInstance",
        "metadata": {"name": name},
        "spec": {"redisId": redis_id, "region": "gz", "memSize": mem_size, "credentialsSecretRef": {"name": "qcloud"}},
    })
}

/// Of temporary credentials where the id is that of the account.
pub fn secret(name: &str, id: &str, key: &str) -> Value {
    let token = if id == SECRET_ID { TOKEN } else { "" };
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"secretId": id, "secretKey": key, "token": token},
    })
}

/// The status of a condition: True, False, Unknown, or nothing when it is absent.
pub fn condition<'a>(instance: &'a Value, kind: &str) -> &'a str {
    find_condition(instance, kind)["status"].as_str().unwrap_or_default()
}

pub fn reason<'a>(instance: &'a Value, kind: &str) -> &'a str {
    find_condition(instance, kind)["reason"].as_str().unwrap_or_default()
}

/// What is told beside the condition Ready.
pub fn message(instance: &Value) -> &str {
    find_condition(instance, "Ready")["message"].as_str().unwrap_or_default()
}

/// `code` and `cloudCode` of what is told as the last error.
pub fn codes(instance: &Value) -> [Value; 2] {
    ["code", "cloudCode"].map(|field| instance["status"]["lastError"][field].clone())
}

/// Stalled, and so not Ready, with this reason.
pub fn stalled_with(instance: &Value, why: &str) -> bool {
    condition(instance, "Stalled") == "True"
        && condition(instance, "Ready") == "False"
        && reason(instance, "Stalled") == why
}

fn find_condition<'a>(instance: &'a Value, kind: &str) -> &'a Value {
    let conditions = instance["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
