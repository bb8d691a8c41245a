//! `RedisInstance`: the memory size that an existing instance should have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Phase};

/// Annotation: any new text means "look at once, and try again what waits".
const REQUESTED_AT: &str = "crs.qcloud.com/requestedAt";
/// Annotation: the name of a `RedisUpgrade` that a person looked into and says "go on" about.
pub const PROCEED_AFTER: &str = "crs.qcloud.com/proceed-after";

/// The memory size that an existing instance of Cloud Redis Store should have. The operator grows the instance to it, once; it never shrinks
/// or releases one.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "crs.qcloud.com",
    version = "v1alpha1",
    kind = "RedisInstance",
    plural = "redisinstances",
    shortname = "crs",
    category = "cloud",
    namespaced,
    status = "RedisInstanceStatus",
    derive = "PartialEq",
    doc = "The memory size that an existing instance of Cloud Redis Store (CRS) should have. The operator grows the instance to it, once; it never shrinks or releases one.",
    printcolumn(name = "Redis ID", type_ = "string", json_path = ".spec.redisId", description = "The instance in the cloud"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.memSize", description = "Declared size, MB"),
    printcolumn(name = "Actual", type_ = "integer", json_path = ".status.memSize", description = "Size that the cloud says it has, MB"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.instanceStatus", description = "State of the instance in the cloud"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Deal", type_ = "string", json_path = ".status.dealId", priority = 1, description = "The cloud's number of the newest order"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec.memSize >= oldSelf.spec.memSize || !has(oldSelf.status) || !has(oldSelf.status.memSize) || self.spec.memSize >= oldSelf.status.memSize")
        .message(Message::Expression("'11057 ReduceCapacityNotAllowed: the instance has %d MB, and an instance is never made smaller. Declare %d or more.'.format([oldSelf.status.memSize, oldSelf.status.memSize])".into()))
        .reason(Reason::FieldValueForbidden)
        .field_path(".spec.memSize"),
    validation = Rule::new("self.spec.memSize >= oldSelf.spec.memSize || !has(oldSelf.status) || !has(oldSelf.status.upgrade) || !(oldSelf.status.upgrade.phase in ['Written', 'Placed']) || self.spec.memSize >= oldSelf.status.upgrade.to || (has(oldSelf.status.memSize) && oldSelf.status.memSize >= oldSelf.status.upgrade.to)")
        .message(Message::Expression("'11057 ReduceCapacityNotAllowed: an upgrade to %d MB is on its way (%s) and cannot be taken back. Declare %d or more.'.format([oldSelf.status.upgrade.to, oldSelf.status.upgrade.name, oldSelf.status.upgrade.to])".into()))
        .reason(Reason::FieldValueForbidden)
        .field_path(".spec.memSize")
)]
#[serde(rename_all = "camelCase")]
pub struct RedisInstanceSpec {
    /// Id of the instance in the cloud, for example crs-ifmymj41. Can't be changed.
    #[schemars(length(max = 40), regex(pattern = r"^crs-[a-z0-9]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message(Message::Message("redisId can't be changed: another instance is another RedisInstance. Delete this one (the cloud's instance stays as it is) and create a new one.".into())))]
    pub redis_id: String,
    /// Region of the instance, in the short form (gz) or the long one (ap-guangzhou). Can't be changed.
    #[schemars(length(max = 40), regex(pattern = r"^[a-z]+(-[a-z0-9]+)*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message(Message::Message("region can't be changed: an instance stays in its region. Delete this RedisInstance (the cloud's instance stays as it is) and create a new one.".into())))]
    pub region: String,
    /// Memory of the whole instance in MB: a multiple of 1024. It can only grow.
    #[schemars(range(min = 1024, max = 67_108_864))]
    #[x_kube(validation = Rule::new("self % 1024 == 0").message(Message::Expression("self < 1024 ? 'memSize is in MB and must be a multiple of 1024: 2 GB is 2048.' : 'memSize is in MB and must be a multiple of 1024: %d, for example.'.format([self - self % 1024 + 1024])".into())))]
    pub mem_size: i64,
    /// The Secret of this namespace that has the cloud's key: secretId and secretKey, and for temporary credentials token.
    pub credentials_secret_ref: SecretRef,
    /// Enforce: order what is missing. Observe: report it, order nothing.
    #[serde(default)]
    pub mode: Mode,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

impl RedisInstance {
    /// Without what the operator never looks at, so that it is small to keep.
    pub fn trimmed(mut self) -> Self {
        let meta = &mut self.metadata;
        (meta.managed_fields, meta.labels, meta.owner_references, meta.finalizers) = Default::default();
        if let Some(annotations) = &mut meta.annotations {
            annotations.retain(|name, _| name == REQUESTED_AT || name == PROCEED_AFTER);
        }
        self
    }

    /// The annotation `requestedAt`, as far as book and status keep it: its first 256 characters.
    pub fn requested_at(&self) -> Option<&str> {
        let asked = self.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
        let end = asked.char_indices().nth(256).map_or(asked.len(), |(end, _)| end);
        asked.get(..end)
    }

    /// Somebody has asked, by that annotation, for a look now, and for what waits to be tried again.
    pub fn is_requested(&self) -> bool {
        let handled = self.status.as_ref().and_then(|status| status.last_handled_requested_at.as_deref());
        self.requested_at().is_some_and(|asked| handled != Some(asked))
    }
}

/// What the operator may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
}

/// What is known of the instance, and what goes on. Nothing that costs money is decided from it: that is in the account book (`kubectl get crsup`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisInstanceStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Newest generation of the spec at which it was Ready: what then makes the instance larger is no error of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_generation: Option<i64>,
    /// Size that the cloud says the instance has, MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub mem_size: Option<i64>,
    /// State of the instance in the cloud: Initializing, InProcess, Running, Isolated, Unknown(n).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub instance_status: Option<String>,
    /// The cloud's number of the newest upgrade that it accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_id: Option<String>,
    /// The long name of that deal, which the cloud's support asks for (API 3.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_name: Option<String>,
    /// The newest entry of the account book for this instance (`kubectl get crsup`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeSummary>,
    /// The newest refusal or failure. Absent once its cause is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Failure>,
    /// The text of the annotation crs.qcloud.com/requestedAt that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_requested_at: Option<String>,
    /// Ready, Reconciling and Stalled, in the sense of kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A `RedisUpgrade`, mirrored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeSummary {
    /// Name of the RedisUpgrade.
    #[schemars(length(max = 253))]
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// Size before, MB.
    pub from: i64,
    /// Size ordered, MB.
    pub to: i64,
    /// The cloud's number of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_id: Option<String>,
    /// The cloud's long name of the order (API 3.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub deal_name: Option<String>,
    /// Timestamp of the order, by the cloud's clock.
    pub signed_at: Time,
}
