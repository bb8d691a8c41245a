//! What the API server keeps, by its rules: names are unique, each write has a new resourceVersion of one counter, the generation counts
//! changes of the spec, a write with an old resourceVersion or another uid is refused, and status is written by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::world::{Millis, at};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Instance,
    Upgrade,
    Secret,
    Event,
}

pub(super) type Key = (Kind, String, String);

pub(super) struct Object {
    pub(super) value: Value,
    /// The same, as it is sent.
    pub(super) text: Arc<str>,
}

/// Something for the watches.
pub(super) struct Change {
    kind: Kind,
    namespace: String,
    name: String,
    pub(super) version: u64,
    pub(super) at: Millis,
    pub(super) what: &'static str,
    pub(super) text: Arc<str>,
}

/// The API server says no.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: u16) -> Self {
        let reason = match code {
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            _ => "InternalError",
        };
        Self { code, reason, message: format!("the API server says {reason}") }
    }

    /// As it is sent. (A 404 without details would be one of an unknown kind.)
    pub(super) fn text(&self) -> String {
        let Self { code, reason, message } = self;
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}, "code": code, "reason": reason, "message": message, "details": {} })
            .to_string()
    }
}

#[derive(Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Object>,
    changes: Vec<Change>,
    /// Of Events only the names are kept.
    events: BTreeSet<(String, String)>,
    version: u64,
    uids: u64,
    /// No watch begins before this version.
    pub(super) compacted: u64,
    /// Broken on purpose: a name can be taken twice.
    pub(super) names_are_free: bool,
    /// The same: a write of what has changed meanwhile is carried out.
    pub(super) writes_are_blind: bool,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Object> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter().filter(move |((of, ..), _)| *of == kind)
    }

    /// The objects of a namespace that have this label.
    pub(super) fn list(&self, kind: Kind, namespace: &str, label: Option<(&str, &str)>) -> Vec<Arc<str>> {
        let in_namespace = self.all(kind).filter(|((_, of, _), _)| of == namespace);
        let labelled =
            |object: &Object| label.is_none_or(|(key, value)| object.value["metadata"]["labels"][key] == value);
        in_namespace.filter(|(_, object)| labelled(object)).map(|(_, object)| object.text.clone()).collect()
    }

    /// What of a namespace was written first after that version.
    pub(super) fn since(&self, version: u64, kind: Kind, namespace: &str) -> Option<&Change> {
        let from = self.changes.partition_point(|change| change.version <= version);
        self.changes[from..].iter().find(|change| change.kind == kind && change.namespace == namespace)
    }

    /// The version that it had at that moment.
    pub(super) fn version_at(&self, moment: Millis) -> u64 {
        let changes = self.changes.partition_point(|change| change.at <= moment);
        self.changes[..changes].last().map_or(0, |change| change.version)
    }

    /// The same as it was at that version.
    pub(super) fn list_of_before(
        &self,
        kind: Kind,
        namespace: &str,
        (key, value): (&str, &str),
        version: u64,
    ) -> Vec<Arc<str>> {
        let has_label = |text: &str| {
            let object: Value = serde_json::from_str(text).unwrap_or_default();
            object["metadata"]["labels"][key] == value
        };
        let mut objects = BTreeMap::new();
        let until = self.changes.partition_point(|change| change.version <= version);
        let of_kind = |change: &&Change| (change.kind, change.namespace.as_str()) == (kind, namespace);
        for change in self.changes[..until].iter().filter(of_kind) {
            if change.what == "DELETED" || !has_label(&change.text) {
                objects.remove(&change.name);
            } else {
                objects.insert(&change.name, change.text.clone());
            }
        }
        objects.into_values().collect()
    }

    pub(super) fn create(
        &mut self,
        kind: Kind,
        namespace: &str,
        mut value: Value,
        now: Millis,
    ) -> Result<Arc<str>, Refusal> {
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (kind, namespace.to_owned(), name.clone());
        let taken = match kind {
            Kind::Event => !self.events.insert((namespace.to_owned(), name.clone())),
            _ => self.objects.contains_key(&key) && !self.names_are_free,
        };
        if taken {
            let message = format!("{name} already exists");
            return Err(Refusal { code: 409, reason: "AlreadyExists", message });
        }
        self.uids += 1;
        let metadata = &mut value["metadata"];
        metadata["uid"] = json!(format!("uid-{:04}", self.uids));
        metadata["namespace"] = json!(namespace);
        metadata["creationTimestamp"] = json!(at(now / 1000 * 1000));
        match kind {
            Kind::Instance => {
                metadata["generation"] = json!(1);
                without_status(&mut value);
            }
            // The definition's default.
            Kind::Upgrade => {
                metadata["generation"] = json!(1);
                value["status"] = json!({ "phase": "Written" });
            }
            Kind::Secret => {}
            Kind::Event => {
                self.version += 1;
                return Ok(value.to_string().into());
            }
        }
        Ok(self.put(key, value, "ADDED", now))
    }

    /// Somebody edits all but the status.
    pub(super) fn edit(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        now: Millis,
        edit: impl FnOnce(&mut Value),
    ) -> bool {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let Some(before) = self.objects.get(&key) else { return false };
        let mut value = before.value.clone();
        edit(&mut value);
        if value == before.value {
            return false;
        }
        if value["spec"] != before.value["spec"] {
            value["metadata"]["generation"] = json!(value["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.put(key, value, "MODIFIED", now);
        true
    }

    /// Writes the status: as a merge, or as what its one manager applies.
    pub(super) fn write_status(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        merge: bool,
        now: Millis,
    ) -> Result<Arc<str>, Refusal> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let object = self.objects.get(&key).ok_or(Refusal::new(404))?;
        for field in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][field];
            if !wanted.is_null() && *wanted != object.value["metadata"][field] && !self.writes_are_blind {
                return Err(Refusal::new(409));
            }
        }
        let mut value = object.value.clone();
        if merge {
            merge_into(&mut value["status"], &patch["status"]);
        } else {
            value["status"] = patch["status"].clone();
        }
        // What changes nothing is no write.
        if value == object.value {
            return Ok(object.text.clone());
        }
        Ok(self.put(key, value, "MODIFIED", now))
    }

    pub(super) fn delete(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        preconditions: &Value,
        now: Millis,
    ) -> Result<Arc<str>, Refusal> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let object = self.objects.get(&key).ok_or(Refusal::new(404))?;
        for field in ["uid", "resourceVersion"] {
            if !preconditions[field].is_null() && preconditions[field] != object.value["metadata"][field] {
                return Err(Refusal::new(409));
            }
        }
        let value = object.value.clone();
        let text = self.put(key.clone(), value, "DELETED", now);
        self.objects.remove(&key);
        Ok(text)
    }

    fn put(&mut self, key: Key, mut value: Value, what: &'static str, now: Millis) -> Arc<str> {
        self.version += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let text: Arc<str> = value.to_string().into();
        let (kind, namespace, name) = key.clone();
        self.changes.push(Change { kind, namespace, name, version: self.version, at: now, what, text: text.clone() });
        self.objects.insert(key, Object { value, text: text.clone() });
        text
    }
}

fn without_status(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
}

/// RFC 7386.
fn merge_into(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(fields.remove(key)),
            _ => merge_into(fields.entry(key).or_insert(Value::Null), value),
        }
    }
}
