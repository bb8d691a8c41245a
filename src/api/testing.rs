//! Objects for tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Failure, InstanceRef, Mode, Phase, RedisInstance, RedisInstanceSpec, RedisUpgrade, RedisUpgradeSpec,
    RedisUpgradeStatus, redis_instance::SecretRef,
};
use crate::cloud::{Account, Credentials};

/// shop/`name`, generation 1, which wants crs-1 in gz to have `mem_size` MB.
pub fn instance(name: &str, uid: &str, mem_size: i64) -> RedisInstance {
    let spec = RedisInstanceSpec {
        redis_id: "crs-1".into(),
        region: "gz".into(),
        mem_size,
        credentials_secret_ref: SecretRef { name: "qcloud".into() },
        mode: Mode::Enforce,
    };
    let mut instance = RedisInstance::new(name, spec);
    instance.metadata.namespace = Some("shop".into());
    instance.metadata.uid = Some(uid.into());
    instance.metadata.generation = Some(1);
    instance
}

/// Entry crs-1-`number`, asked for by [`instance`] "sessions" with the uid "uid".
pub fn entry(number: u64, from: i64, to: i64, signed_at: i64, status: RedisUpgradeStatus) -> RedisUpgrade {
    let spec = RedisUpgradeSpec {
        redis_id: "crs-1".into(),
        region: "gz".into(),
        from,
        to,
        signed_at: at(signed_at),
        instance_ref: InstanceRef {
            namespace: "shop".into(),
            name: "sessions".into(),
            path: "shop/sessions".into(),
            uid: "uid".into(),
            generation: 1,
            requested_at: None,
            proceed_after: None,
            secret_version: Some("1".into()),
        },
    };
    let mut entry = RedisUpgrade::new(&format!("crs-1-{number}"), spec);
    entry.status = Some(status);
    entry
}

/// The status of an entry that is Written, and nothing is known of its order.
pub fn written() -> RedisUpgradeStatus {
    RedisUpgradeStatus::default()
}

/// The status of an entry whose order the cloud took, as deal 4711.
pub fn placed() -> RedisUpgradeStatus {
    RedisUpgradeStatus { phase: Phase::Placed, deal_id: Some("4711".into()), ..RedisUpgradeStatus::default() }
}

/// The status of an entry that was settled at that second.
pub fn settled(phase: Phase, second: i64) -> RedisUpgradeStatus {
    RedisUpgradeStatus { phase, settled_at: Some(at(second)), ..RedisUpgradeStatus::default() }
}

/// The status of an entry that was settled at that second because of an error.
#[cfg(test)]
pub fn settled_by(phase: Phase, second: i64, code: Option<i64>, code_desc: &str) -> RedisUpgradeStatus {
    RedisUpgradeStatus { error: Some(failure(code, code_desc, second)), ..settled(phase, second) }
}

/// An order's error.
pub fn failure(code: Option<i64>, code_desc: &str, second: i64) -> Failure {
    Failure {
        code,
        cloud_code: code.map(|code| code.to_string()),
        code_desc: code_desc.into(),
        message: "The cloud says no.".into(),
        action: "UpgradeRedis".into(),
        time: at(second),
    }
}

/// An order's error of API 3.0, with the number that it mirrors.
#[cfg(test)]
pub fn named(code: Option<i64>, cloud_code: &str, second: i64) -> Failure {
    let (_, name) = cloud_code.rsplit_once('.').unwrap_or(("", cloud_code));
    let action = "UpgradeInstance".into();
    Failure { cloud_code: Some(cloud_code.into()), action, ..failure(code, name, second) }
}

/// So many seconds of the Unix clock.
pub fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

pub(crate) fn account(secret_id: &str) -> Account {
    let (secret_id, secret_key) = (secret_id.to_owned(), "key".to_owned().into());
    Account::of(&Credentials { secret_id, secret_key, token: None })
}
