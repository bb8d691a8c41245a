//! The two resources: types, schema, columns and the rules that the API server checks. No behaviour.

mod object;
mod redis_instance;
mod redis_upgrade;
#[cfg(any(test, fuzzing))]
pub mod testing;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use object::Object;
pub use redis_instance::{Mode, PROCEED_AFTER, RedisInstance, RedisInstanceSpec, RedisInstanceStatus, UpgradeSummary};
pub use redis_upgrade::{
    InstanceRef, NEVER_SENT, Phase, REDIS_ID_LABEL, RedisUpgrade, RedisUpgradeSpec, RedisUpgradeStatus, number_in,
    redis_upgrade_crd,
};

/// A refusal or failure: by the cloud, or found by the operator before it called the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Number of the version-2 table (documents 239/1757 and 239/1758), or the one that it mirrors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The code as the cloud said it. Absent for a failure that the operator found itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub cloud_code: Option<String>,
    /// The code's name, for example ReduceCapacityNotAllowed.
    #[schemars(length(max = 128))]
    pub code_desc: String,
    /// What happened and what to do, one line.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The cloud's action that failed, for example UpgradeRedis.
    #[schemars(length(max = 64))]
    pub action: String,
    /// When it first happened.
    pub time: Time,
}
