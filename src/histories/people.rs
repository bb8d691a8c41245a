//! What people do: to their declarations, to Secrets, in the cloud's console; and what befalls the cluster as a whole.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    judge::{KEYS, TOKEN, number},
    store::Kind,
    world::{State, at},
};
use crate::api::{PROCEED_AFTER, REDIS_ID_LABEL};

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Grow(Named),
    /// To more than is sold.
    GrowTooFar(Named),
    Shrink(Named),
    Delete(Named),
    /// Deleted, if it is there, and made again at once.
    Remake(Named),
    /// The same, for the other instance.
    Move(Named),
    WipeStatus(Named),
    /// Sets the annotation requestedAt.
    Request(Named),
    Observe(Named, bool),
    /// Says "go on" about all that is in the book, by the annotation proceed-after.
    Proceed(Named),
    /// By another key: 0 and 1 open the account, 2 doesn't, 3 takes the Secret away.
    ReplaceSecret(&'static str, usize),
    /// In the console; to a smaller size where that can be.
    ResizeByHand(bool),
    Isolate,
    Restore,
    EmptyBalance,
    TopUp,
    Compact,
    CutWatches,
    ApiAway(u64),
    CloudAway(u64),
    /// Of the book: nobody may.
    DeleteEntries {
        settled: bool,
    },
}

const GB: i64 = 1024;

/// A `RedisInstance`, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
}

/// There is always this one, at first about crs-1.
pub(super) const FIRST: Named = Named { namespace: "a", name: "cache" };

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

pub(super) fn declare(state: &mut State, whose: Named, size: i64) {
    let redis_id = state.redis_ids[&whose];
    let instance = json!({
        "apiVersion": "crs.qcloud.com/v1alpha1", "kind": "RedisInstance",
        "metadata": { "name": whose.name },
        "spec": { "redisId": redis_id, "region": "gz", "memSize": size, "mode": "Enforce", "credentialsSecretRef": { "name": "qcloud" } },
    });
    state.judge.declared(redis_id, size);
    let now = state.now;
    if state.store.create(Kind::Instance, whose.namespace, instance, now).is_err() {
        state.judge.broken("a person's RedisInstance is there already".into());
    }
}

/// A book of long ago, of which not all needs to be kept; some of it is a day old in the course of the history.
pub(super) fn old_book(state: &mut State) {
    for number in 1..=18 {
        let day = SignedDuration::from_hours(24);
        let within = SignedDuration::from_secs(state.chance.below(900) as i64);
        let settled_at = at(0) - if state.chance.percent(40) { day - within } else { day * 2 };
        let (name, phase) =
            (format!("crs-1-{number}"), ["Fulfilled", "Refused", "Fulfilled", "Abandoned", "Fulfilled"][number % 5]);
        let entry = json!({
            "apiVersion": "crs.qcloud.com/v1alpha1", "kind": "RedisUpgrade",
            "metadata": { "name": name, "labels": { REDIS_ID_LABEL: "crs-1" } },
            "spec": {
                "redisId": "crs-1", "region": "gz", "from": 512, "to": 1024, "signedAt": settled_at - day,
                "instanceRef": { "path": "a/before", "namespace": "a", "name": "before", "uid": "uid-before", "generation": 1 },
            },
        });
        let status = json!({ "status": { "phase": phase, "settledAt": settled_at } });
        let written = state.store.create(Kind::Upgrade, "book", entry, 0).is_ok()
            && state.store.write_status(Kind::Upgrade, "book", &name, &status, true, 0).is_ok();
        if !written {
            state.judge.broken("an empty book isn't empty".into());
        }
    }
}

pub(super) fn put_secret(state: &mut State, namespace: &str, key: usize) {
    let now = state.now;
    let _ = state.store.delete(Kind::Secret, namespace, "qcloud", &Value::Null, now);
    let Some(key) = KEYS.get(key) else { return };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "qcloud" },
        "data": { "secretId": encoded(&key[..6]), "secretKey": encoded(key), "token": encoded(TOKEN) },
    });
    let _ = state.store.create(Kind::Secret, namespace, secret, now);
}

pub(super) fn act(state: &mut State, act: Act) {
    let now = state.now;
    state.note("-", format_args!("{act:?}"));
    match act {
        Act::Grow(whose) => {
            let more = state.chance.pick(&[1, 2, 4]);
            resize(state, whose, |size| (size + more * GB).min(16 * GB));
        }
        Act::GrowTooFar(whose) => resize(state, whose, |_| 20 * GB),
        Act::Shrink(whose) => {
            let less = state.chance.pick(&[1, 2]);
            resize(state, whose, |size| (size - less * GB).max(GB));
        }
        Act::Delete(whose) => {
            let _ = state.store.delete(Kind::Instance, whose.namespace, whose.name, &Value::Null, now);
        }
        Act::Remake(whose) => remake(state, whose),
        Act::Move(whose) => {
            let other = if state.redis_ids[&whose] == "crs-1" { "crs-2" } else { "crs-1" };
            state.redis_ids.insert(whose, other);
            remake(state, whose);
        }
        Act::WipeStatus(whose) => edit(state, whose, |value| value["status"] = json!({})),
        Act::Request(whose) => {
            edit(state, whose, |value| {
                value["metadata"]["annotations"]["crs.qcloud.com/requestedAt"] = json!(now.to_string())
            });
        }
        Act::Observe(whose, observe) => {
            let mode = if observe { "Observe" } else { "Enforce" };
            edit(state, whose, |value| value["spec"]["mode"] = json!(mode));
        }
        Act::Proceed(whose) => {
            let redis_id = state.redis_ids[&whose];
            let of_instance = |entry: &&Value| entry["spec"]["redisId"] == redis_id;
            let entries = state.store.all(Kind::Upgrade).map(|(_, entry)| &entry.value);
            if let Some(newest) = entries.filter(of_instance).map(number).max() {
                state.judge.said(redis_id, newest);
                edit(state, whose, |value| {
                    value["metadata"]["annotations"][PROCEED_AFTER] = json!(format!("{redis_id}-{newest}"));
                });
            }
        }
        Act::ReplaceSecret(namespace, key) => put_secret(state, namespace, key),
        Act::ResizeByHand(smaller) => {
            let size = state.vendor.instances["crs-1"].size;
            let to = if smaller { size - GB } else { size + state.chance.pick(&[1, 3]) * GB };
            let State { vendor, chance, .. } = state;
            vendor.resize_by_hand("crs-1", to.max(GB), now, chance);
        }
        Act::Isolate => state.vendor.change_by_hand("crs-1", now, |instance| instance.isolated = true),
        Act::Restore => state.vendor.change_by_hand("crs-1", now, |instance| instance.isolated = false),
        Act::EmptyBalance => state.vendor.poor = true,
        Act::TopUp => state.vendor.poor = false,
        Act::Compact => state.store.compacted = state.store.version(),
        Act::CutWatches => state.watches_cut_at = now,
        Act::ApiAway(lasts) => state.api_away_until = now + lasts,
        Act::CloudAway(lasts) => state.cloud_away_until = now + lasts,
        Act::DeleteEntries { settled } => {
            let is_settled = |entry: &Value| !matches!(entry["status"]["phase"].as_str(), Some("Written" | "Placed"));
            let entries = state.store.all(Kind::Upgrade).filter(|(_, entry)| is_settled(&entry.value) == settled);
            let names: Vec<String> = entries.map(|((_, _, name), _)| name.clone()).collect();
            for name in names {
                let _ = state.store.delete(Kind::Upgrade, "book", &name, &Value::Null, now);
            }
        }
    }
    state.struck(match act {
        Act::Grow(_) | Act::GrowTooFar(_) => "people: spec up",
        Act::Shrink(_) => "people: spec down",
        Act::Delete(_) => "people: RedisInstance deleted",
        Act::Remake(_) => "people: RedisInstance made again",
        Act::Move(_) => "people: RedisInstance made again for another instance",
        Act::WipeStatus(_) => "people: status wiped",
        Act::Request(_) => "people: requestedAt",
        Act::Observe(..) => "people: mode changed",
        Act::Proceed(_) => "people: proceed-after",
        Act::ReplaceSecret(..) => "people: Secret replaced",
        Act::ResizeByHand(_) => "people: resized in the console",
        Act::Isolate | Act::Restore => "cloud: isolated and restored",
        Act::EmptyBalance | Act::TopUp => "cloud: balance empty and topped up",
        Act::Compact => "API server: compacted",
        Act::CutWatches => "API server: all watches cut",
        Act::ApiAway(_) => "API server: away",
        Act::CloudAway(_) => "cloud: away",
        Act::DeleteEntries { .. } => "people: entries deleted",
    });
}

/// What must be mended for all to settle.
pub(super) fn mend(state: &mut State) {
    state.vendor.poor = false;
    state.api_away_until = 0;
    state.cloud_away_until = 0;
    state.watches_cut_at = state.now;
    if state.vendor.instances["crs-1"].isolated {
        act(state, Act::Restore);
    }
}

pub(super) fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

fn remake(state: &mut State, Named { namespace, name }: Named) {
    let before = state.store.get(Kind::Instance, namespace, name);
    let size = before.and_then(|object| object.value["spec"]["memSize"].as_i64()).unwrap_or(4 * GB);
    let now = state.now;
    let _ = state.store.delete(Kind::Instance, namespace, name, &Value::Null, now);
    let size = if state.chance.percent(30) { size + GB } else { size };
    declare(state, Named { namespace, name }, size);
}

fn edit(state: &mut State, Named { namespace, name }: Named, edit: impl FnOnce(&mut Value)) {
    let now = state.now;
    state.store.edit(Kind::Instance, namespace, name, now, edit);
}

fn resize(state: &mut State, whose: Named, size: impl FnOnce(i64) -> i64) {
    let Some(object) = state.store.get(Kind::Instance, whose.namespace, whose.name) else { return };
    let value = &object.value;
    let before = value["spec"]["memSize"].as_i64().unwrap_or_default();
    let size = size(before);
    if size < before && !may_shrink(&value["status"], size) {
        return;
    }
    let redis_id = value["spec"]["redisId"].as_str().unwrap_or_default().to_owned();
    state.judge.declared(&redis_id, size);
    edit(state, whose, |value| value["spec"]["memSize"] = json!(size));
}

/// The two rules of the definition.
fn may_shrink(status: &Value, size: i64) -> bool {
    let has = status["memSize"].as_i64();
    let upgrade = &status["upgrade"];
    let to = upgrade["to"].as_i64().unwrap_or_default();
    let on_its_way = matches!(upgrade["phase"].as_str(), Some("Written" | "Placed"));
    has.is_none_or(|has| size >= has) && (!on_its_way || size >= to || has.is_some_and(|has| has >= to))
}
