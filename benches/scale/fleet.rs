//! Many `RedisInstance`s of as many instances.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    meter::{sum, within},
    support::{Cluster, Simulator, instance, secret},
};

/// Requests to the API server at a time.
const AT_ONCE: usize = 32;
const ACCOUNT: &str = "AKIDbenchbenchbench";
const NEIGHBOUR: &str = "AKIDneighbourbench";
/// Of the neighbour, all with the same key.
const SECRETS: usize = 4;
const KEY: &str = "key-of-the-bench";

pub struct Fleet {
    pub cluster: Arc<Cluster>,
    pub cloud: Simulator,
    pub size: usize,
    client: kube::Client,
}

impl Fleet {
    /// On a control plane and a cloud of their own, in the size that they have.
    pub async fn new(size: usize) -> Self {
        Self::of(size, None).await
    }

    /// And as many instances of another account, for which nothing is declared yet.
    pub async fn with_neighbour(size: usize) -> Self {
        let rows = (1..=size).map(|number| json!({"redisId": neighbour(number), "account": NEIGHBOUR}));
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), Value::from_iter(rows).to_string()).expect("it is written"); // JSON is YAML
        Self::of(size, Some(file.path())).await
    }

    async fn of(size: usize, instances: Option<&Path>) -> Self {
        let cluster = Cluster::start().await;
        let keys = [ACCOUNT, NEIGHBOUR].map(|account| format!("{account}:{KEY}"));
        let count = size.to_string();
        let mut arguments = vec!["--count", &count, "--rate-limit", "0", "--upgrade-time", "1s"];
        arguments.extend(keys.iter().flat_map(|key| ["--key", key]));
        arguments.extend(instances.and_then(Path::to_str).iter().flat_map(|file| ["--instances", file]));
        let cloud = Simulator::start("bench", &arguments);
        let fleet = Self { client: cluster.client().await, cluster, cloud, size };
        let neighbours = (0..SECRETS).map(|number| (format!("neighbour-{number}"), NEIGHBOUR));
        for (name, account) in neighbours.chain([("qcloud".to_owned(), ACCOUNT)]) {
            let secret = secret(&name, account, KEY).to_string();
            fleet.cluster.kubectl_with(&["apply", "-f", "-"], &secret).await.expect("a Secret");
        }
        fleet.create(|number| declared(number, 1024)).await;
        fleet
    }

    /// All instances of the other account are declared larger than they are.
    pub async fn grow_neighbours(&self) {
        self.create(|number| {
            let mut object = instance(&format!("neighbour-{number}"), &neighbour(number), 2048);
            object["spec"]["credentialsSecretRef"]["name"] = json!(format!("neighbour-{}", number % SECRETS));
            object
        })
        .await;
    }

    async fn create(&self, object: impl Fn(usize) -> Value) {
        let api = self.instances();
        self.each(async |number| {
            let object: DynamicObject = serde_json::from_value(object(number)).expect("an object");
            api.create(&PostParams::default(), &object).await.expect("it is created");
        })
        .await;
    }

    pub fn instances(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("crs.qcloud.com", "v1alpha1", "RedisInstance");
        Api::default_namespaced_with(self.client.clone(), &ApiResource::from_gvk(&kind))
    }

    pub async fn forget_statuses(&self) {
        let (api, none) = (self.instances(), Patch::Merge(json!({"status": null})));
        self.each(async |number| {
            api.patch_status(&name(number), &PatchParams::default(), &none).await.expect("no status");
        })
        .await;
    }

    async fn each(&self, work: impl AsyncFn(usize)) {
        stream::iter(1..=self.size).for_each_concurrent(AT_ONCE, |number| work(number)).await;
    }

    /// What has been written to the API server, by whomever.
    pub async fn writes(&self) -> u64 {
        let request = axum::http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = self.client.request_text(request).await.expect("metrics of the API server");
        let writes = text.lines().filter(|line| {
            ["POST", "PUT", "PATCH", "APPLY", "DELETE"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
                && ["redisinstances", "redisupgrades", "events"]
                    .iter()
                    .any(|resource| line.contains(&format!("resource=\"{resource}\"")))
        });
        sum(&writes.collect::<Vec<_>>().join("\n"), "apiserver_request_total{") as u64
    }

    /// Waits until an order for it has arrived.
    pub async fn wait_for_order(&self, redis_id: &str) {
        let path = format!("instances/{redis_id}");
        let before = self.cloud.get(&path).await;
        within(async {
            while self.cloud.get(&path).await == before && before["memSize"] == 1024 && before["status"] == 2 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    pub async fn calls(&self) -> u64 {
        let ledger = self.cloud.ledger().await;
        ledger["calls"].as_object().into_iter().flatten().filter_map(|(_, calls)| calls.as_u64()).sum()
    }
}

pub fn name(number: usize) -> String {
    format!("cache-{number}")
}

/// As the simulator calls them.
pub fn redis_id(number: usize) -> String {
    format!("crs-{number:08}")
}

fn neighbour(number: usize) -> String {
    format!("crs-neighbour{number}")
}

pub fn declared(number: usize, mem_size: i64) -> Value {
    instance(&name(number), &redis_id(number), mem_size)
}
