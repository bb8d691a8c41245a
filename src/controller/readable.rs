//! Objects as a watch shows them. Only what the operator looks at is read, and one that can't be read doesn't halt the others. (kube's
//! `DeserializeGuard` does the second alone, by way of two copies of all there is in the object.)

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::api::{
    RedisInstance, RedisInstanceSpec, RedisInstanceStatus, RedisUpgrade, RedisUpgradeSpec, RedisUpgradeStatus,
};

/// An object, or why it can't be read.
#[derive(Clone, Debug)]
pub(super) struct Readable<K>(pub(super) Result<K, Unreadable>);

#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) error: String,
    pub(super) metadata: ObjectMeta,
}

/// What an object is made of.
pub(super) trait Made: Resource<DynamicType = ()> {
    type Spec: DeserializeOwned;
    type Status: DeserializeOwned;

    fn of(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self;
}

impl Made for RedisInstance {
    type Spec = RedisInstanceSpec;
    type Status = RedisInstanceStatus;

    fn of(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self {
        Self { metadata, spec, status }
    }
}

impl Made for RedisUpgrade {
    type Spec = RedisUpgradeSpec;
    type Status = RedisUpgradeStatus;

    fn of(metadata: ObjectMeta, spec: Self::Spec, status: Option<Self::Status>) -> Self {
        Self { metadata, spec, status }
    }
}

/// Raw, since one that can't be read must not spoil the others. (In a watch that needs the type before the object, as each API server writes it.)
#[derive(Deserialize)]
struct Parts {
    metadata: Metadata,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// Most of an object is its managedFields, which nobody looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(meta: Metadata) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            generation: meta.generation,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            annotations: meta.annotations,
            labels: meta.labels,
            ..Self::default()
        }
    }
}

impl<'de, K: Made> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        let metadata = metadata.into();
        let read = || Ok((part(spec)?, part(status)?));
        Ok(Self(match read() {
            Ok((spec, status)) => Ok(K::of(metadata, spec, status)),
            Err::<_, serde_json::Error>(error) => Err(Unreadable { error: error.to_string(), metadata }),
        }))
    }
}

fn part<T: DeserializeOwned>(text: Option<Box<RawValue>>) -> serde_json::Result<T> {
    serde_json::from_str(text.as_ref().map_or("null", |text| text.get()))
}

impl<K: Made> Resource for Readable<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|bad| &bad.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|bad| &mut bad.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;
    use crate::api::testing::{entry, instance, placed};

    #[test]
    fn all_that_is_looked_at_is_read() {
        let mut sound = instance("sessions", "uid", 1024);
        sound.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        sound.status = Some(RedisInstanceStatus { mem_size: Some(1024), ..RedisInstanceStatus::default() });
        let text = format!(r#"{{"type":"ADDED","object":{}}}"#, json!(sound));
        let WatchEvent::Added(Readable(Ok(read))) =
            serde_json::from_str::<WatchEvent<Readable<RedisInstance>>>(&text).unwrap()
        else {
            panic!("{text}");
        };
        assert_eq!(read, sound);
        let text = serde_json::to_string(&entry(3, 1024, 2048, 5, placed())).unwrap();
        let read: Readable<RedisUpgrade> = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read.0.unwrap()).unwrap(), text);
    }

    #[test]
    fn of_one_that_can_not_be_read_it_is_said_which_and_why() {
        let mut bad = json!(instance("sessions", "uid", 1024));
        bad["spec"]["memSize"] = json!("large");
        let sound = json!(instance("carts", "other", 1024));
        let read: Vec<Readable<RedisInstance>> = serde_json::from_str(&json!([bad, sound]).to_string()).unwrap();
        let unreadable = read[0].0.as_ref().unwrap_err();
        assert_eq!(unreadable.metadata.name.as_deref(), Some("sessions"));
        assert_eq!(unreadable.metadata.uid.as_deref(), Some("uid"));
        assert!(unreadable.error.contains("large"), "{}", unreadable.error);
        assert_eq!(read[1].meta().name.as_deref(), Some("carts"));
    }
}
