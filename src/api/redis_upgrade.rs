//! `RedisUpgrade`: one entry of the account book.

#![allow(clippy::duplicated_attributes)] // clippy takes the types of two printer columns for one attribute

use std::fmt;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{CustomResource, CustomResourceExt, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::Failure;

/// Label of each entry: the instance that it is about.
pub const REDIS_ID_LABEL: &str = "crs.qcloud.com/redis-id";

/// One order of an upgrade, written before it is sent. Its name, `<redisId>-<n>`, is what keeps an order from being made twice.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "crs.qcloud.com",
    version = "v1alpha1",
    kind = "RedisUpgrade",
    plural = "redisupgrades",
    shortname = "crsup",
    category = "cloud",
    namespaced,
    status = "RedisUpgradeStatus",
    derive = "PartialEq",
    doc = "One order of an upgrade, written by the operator before it is sent. Together they are the account book: its entries keep an order from being made twice, so don't edit or delete them.",
    printcolumn(name = "From", type_ = "integer", json_path = ".spec.from", description = "Size before, MB"),
    printcolumn(name = "To", type_ = "integer", json_path = ".spec.to", description = "Size ordered, MB"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Deal",
        type_ = "string",
        json_path = ".status.dealId",
        description = "The cloud's number of the order"
    ),
    printcolumn(
        name = "For",
        type_ = "string",
        json_path = ".spec.instanceRef.path",
        description = "Namespace and name of the RedisInstance that asked for it"
    ),
    printcolumn(
        name = "Evidence",
        type_ = "string",
        json_path = ".status.evidence",
        priority = 1,
        description = "Why it has this phase"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message(Message::Message("an entry of the account book can't be changed: it says what was ordered.".into())))]
pub struct RedisUpgradeSpec {
    /// The instance to upgrade.
    #[schemars(length(max = 40), regex(pattern = r"^crs-[a-z0-9]+$"))]
    pub redis_id: String,
    /// Its region, as the RedisInstance has it.
    #[schemars(length(max = 40), regex(pattern = r"^[a-z]+(-[a-z0-9]+)*$"))]
    pub region: String,
    /// Size that the look before the order showed, MB.
    #[schemars(range(min = 0))]
    pub from: i64,
    /// Size ordered, MB.
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub to: i64,
    /// Timestamp of the order: the Date of the look before it, by the cloud's clock.
    pub signed_at: Time,
    /// The RedisInstance that asked for it.
    pub instance_ref: InstanceRef,
}

/// The `RedisInstance` that asked for an upgrade, as it was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRef {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// namespace/name, for people.
    #[schemars(length(max = 320))]
    pub path: String,
    /// Its uid: one made again under the same name is another.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Generation of the spec that was acted on.
    pub generation: i64,
    /// The annotation crs.qcloud.com/requestedAt, if it had one: another text lets a refused order be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub requested_at: Option<String>,
    /// The annotation crs.qcloud.com/proceed-after, if it had one: a person's word that what was bought before may be bought again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub proceed_after: Option<String>,
    /// resourceVersion of the Secret that signed it: another one lets an order be tried again that was refused for its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_version: Option<String>,
}

/// The `codeDesc` of an entry whose order was not sent, by the operator's own decision. It doesn't count as a try.
pub const NEVER_SENT: &str = "NeverSent";

impl RedisUpgrade {
    /// The n of its name, `<redisId>-<n>`; 0 for a name that isn't of that form.
    pub fn number(&self) -> u64 {
        number_in(&self.name_any(), &self.spec.redis_id).unwrap_or(0)
    }

    /// Its phase; an entry without a status is Written.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map(|status| status.phase).unwrap_or_default()
    }

    /// Has it bought that size, in MB, or more?
    pub fn buys(&self, size: i64) -> bool {
        self.phase() == Phase::Fulfilled && self.spec.to >= size
    }

    /// Was its order not sent, by the operator's own decision?
    pub fn was_never_sent(&self) -> bool {
        let error = self.status.as_ref().and_then(|status| status.error.as_ref());
        self.phase() == Phase::Abandoned && error.is_some_and(|error| error.code_desc == NEVER_SENT)
    }

    /// Its status; an entry without one is Written.
    pub fn outcome(&self) -> RedisUpgradeStatus {
        self.status.clone().unwrap_or_default()
    }
}

/// The n of an entry's name, `<redisId>-<n>`.
pub fn number_in(name: &str, redis_id: &str) -> Option<u64> {
    name.strip_prefix(redis_id)?.strip_prefix('-')?.parse().ok()
}

impl RedisUpgradeStatus {
    /// The numbers of its deal, for a sentence: `432587 (2026112400432587)`; 3.0's support asks for the long one.
    pub fn deal(&self) -> Option<String> {
        match (&self.deal_id, &self.deal_name) {
            (Some(id), Some(name)) if id != name => Some(format!("{id} ({name})")),
            (id, name) => id.clone().or_else(|| name.clone()),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisUpgradeStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: Phase,
    /// The cloud's number of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_id: Option<String>,
    /// The cloud's long name of the order (API 3.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_name: Option<String>,
    /// Why it was refused, or has failed, or why its outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When its deal was first seen as delivered, by the cloud's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Time>,
    /// When it was settled, by the cloud's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,
    /// What this phase rests on: a sentence for each thing that was learnt of the order, in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub evidence: Option<String>,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum Phase {
    /// In the book; what came of it is not known (yet).
    #[default]
    Written,
    /// The cloud accepted it.
    Placed,
    /// The instance runs at the size ordered, or above.
    Fulfilled,
    /// The cloud accepted it and did not carry it out.
    Failed,
    /// The cloud refused it.
    Refused,
    /// Nothing of it is there, and nothing more comes of it: it never arrived, was never sent, or failed without a word.
    Abandoned,
}

impl Phase {
    /// Nothing more comes of it.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Written | Self::Placed)
    }
}

/// A phase that this version doesn't know counts as Written: unsettled, so that nothing is ordered over it.
impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "Placed" => Self::Placed,
            "Fulfilled" => Self::Fulfilled,
            "Failed" => Self::Failed,
            "Refused" => Self::Refused,
            "Abandoned" => Self::Abandoned,
            _ => Self::Written,
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The definition. An entry without a status gets an empty one, so that it shows its phase, which is Written.
pub fn redis_upgrade_crd() -> CustomResourceDefinition {
    let mut crd = RedisUpgrade::crd();
    let schemas =
        crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for status in schemas.filter_map(|schema| schema.properties.as_mut()?.get_mut("status")) {
        status.default = Some(JSON(json!({})));
    }
    crd
}
