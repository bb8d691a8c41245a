//! Has everything settled (L1)? Each `RedisInstance` is Ready, or Stalled for a reason that is true, and the book agrees with the ledger.

use serde_json::Value;

use super::{
    judge::{KEYS, number},
    process::POLICY,
    store::Kind,
    vendor::{Instance, MOST, Order},
    world::{Millis, State},
};
use crate::api::{NEVER_SENT, PROCEED_AFTER, number_in};

/// Three rounds of the list: one that begins just before, one that shows what there is, one after what came of it.
const LOOKS: Millis = 180_000;
/// Between two probes of a balance, at most.
const BALANCE: Millis = 900_000;

/// What hasn't settled, if anything.
pub(super) fn unsettled(state: &State) -> Option<String> {
    let instances: Vec<&Value> = state.store.all(Kind::Instance).map(|(_, object)| &object.value).collect();
    for value in &instances {
        let (metadata, status) = (&value["metadata"], &value["status"]);
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let name = format!("{}/{}", text("namespace"), text("name"));
        if status["observedGeneration"] != metadata["generation"] {
            return Some(format!("{name}: nothing is told of generation {}", metadata["generation"]));
        }
        let told = |kind: &str| {
            let conditions = status["conditions"].as_array();
            let is_true = |condition: &&Value| condition["type"] == kind && condition["status"] == "True";
            conditions.and_then(|conditions| conditions.iter().find(is_true))
        };
        if opens(state, value) && is_told_another_owns(value) == owns(state, value) {
            return Some(format!("{name} is told wrongly who owns its instance: {}", status["conditions"]));
        }
        if let Some(ready) = told("Ready") {
            if !is_ready(state, value) {
                return Some(format!("{name} is told Ready, and is not: {}", ready["message"]));
            }
        } else if let Some(stalled) = told("Stalled") {
            if !is_stalled(state, value, stalled["reason"].as_str().unwrap_or_default()) {
                return Some(format!(
                    "{name} is Stalled for a reason that isn't true: {} {}",
                    stalled["reason"], stalled["message"]
                ));
            }
        } else {
            return Some(format!("{name} is {}", told("Reconciling").unwrap_or(status)));
        }
    }
    let seen =
        |redis_id: &Value| instances.iter().any(|value| value["spec"]["redisId"] == *redis_id && opens(state, value));
    for (_, entry) in state.store.all(Kind::Upgrade) {
        let (name, phase) =
            (&entry.value["metadata"]["name"], entry.value["status"]["phase"].as_str().unwrap_or_default());
        let redis_id = &entry.value["spec"]["redisId"];
        if matches!(phase, "Written" | "Placed") && seen(redis_id) {
            return Some(format!("{name} is {phase}"));
        }
        let order = state.vendor.ledger.iter().find(|order| order.request.is_for(&entry.value));
        let paid = order.is_some_and(|order| !order.has_failed(state.now));
        let taken_back = || order.is_some_and(|order| taken_back(state, order, phase));
        let untrue = match phase {
            "Refused" => order.is_some(),
            "Abandoned" | "Failed" => paid && !taken_back(),
            // By this order, or by somebody in the console.
            "Fulfilled" => {
                let to = entry.value["spec"]["to"].as_i64().unwrap_or(i64::MAX);
                of(state, redis_id).is_none_or(|instance| !instance.has_had(to))
            }
            _ => false,
        };
        if untrue {
            return Some(format!("{name} is {phase}, and the cloud's ledger says otherwise"));
        }
    }
    None
}

/// A person had made smaller what that order had brought about, when its entry was settled.
fn taken_back(state: &State, order: &Order, phase: &str) -> bool {
    let settled = state.judge.came_to(order, phase);
    settled.is_some_and(|settled| state.vendor.taken_back(order, settled).is_some())
}

/// So long after the faults all has settled. At first what was begun before ends, at the same time: an order that may come until W, and
/// show within L when it is carried out; a balance that is thought to be low; a clock that must have run evenly for W + L. (A reconcile that fails
/// waits 5 min at most, less than W + L.) Then a backoff from what could be written down only now, and one more order, which shows within L, and
/// is carried out.
pub(super) fn bound(state: &State) -> Millis {
    let (lag, upgrade) = (POLICY.lag.as_millis() as Millis, state.vendor.nature.takes_at_most);
    let open = POLICY.open().as_millis() as Millis + upgrade;
    let backoff = state.vendor.instances.keys().map(|redis_id| lag << tries(state, redis_id).min(6)).max().unwrap_or(0);
    let balance = if state.counts.of("order: balance too low") > 0 { BALANCE } else { 0 };
    open.max(balance) + backoff + lag + upgrade + LOOKS
}

/// So many of the newest entries ended in the same way, which the policy backs off from.
fn tries(state: &State, redis_id: &str) -> usize {
    let of_instance = state.store.all(Kind::Upgrade).filter(|(_, entry)| entry.value["spec"]["redisId"] == redis_id);
    let mut phases: Vec<_> =
        of_instance.map(|(_, entry)| (number(&entry.value), &entry.value["status"]["phase"])).collect();
    phases.sort_by_key(|(number, _)| *number);
    let newest = phases.last().map(|(_, phase)| *phase);
    let in_a_row = phases.iter().rev().take_while(|(_, phase)| Some(*phase) == newest).count();
    if newest.is_some_and(|phase| phase == "Fulfilled") { 0 } else { in_a_row }
}

fn of<'a>(state: &'a State, redis_id: &Value) -> Option<&'a Instance> {
    state.vendor.instances.get(redis_id.as_str()?)
}

fn opens(state: &State, value: &Value) -> bool {
    let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
    let Some(secret) = state.store.get(Kind::Secret, namespace, "qcloud") else { return false };
    // By the secretId, which is as good as the key here.
    let id = secret.value["data"]["secretId"].as_str().unwrap_or_default();
    KEYS.iter().any(|key| state.vendor.keys.contains(*key) && super::people::encoded(&key[..6]) == id)
}

fn is_told_another_owns(value: &Value) -> bool {
    let conditions = value["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["reason"] == "DuplicateRedisId"))
}

/// Of several that can see the instance the oldest owns it (B8).
fn owns(state: &State, value: &Value) -> bool {
    let age = |value: &Value| {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("creationTimestamp"), text("uid"))
    };
    let all = state.store.all(Kind::Instance).map(|(_, object)| &object.value);
    let same = all.filter(|other| other["spec"]["redisId"] == value["spec"]["redisId"] && opens(state, other));
    same.map(age).min() == Some(age(value))
}

fn is_ready(state: &State, value: &Value) -> bool {
    let desired = value["spec"]["memSize"].as_i64().unwrap_or(i64::MAX);
    let there = of(state, &value["spec"]["redisId"]).is_some_and(|instance| instance.size >= desired);
    there || value["spec"]["mode"] == "Observe"
}

fn is_stalled(state: &State, value: &Value, reason: &str) -> bool {
    let spec = &value["spec"];
    let (redis_id, desired) = (&spec["redisId"], spec["memSize"].as_i64().unwrap_or_default());
    let Some(instance) = of(state, redis_id) else { return false };
    let entries = || {
        state
            .store
            .all(Kind::Upgrade)
            .map(|(_, entry)| &entry.value)
            .filter(|entry| entry["spec"]["redisId"] == *redis_id)
    };
    // A person's word takes out all up to that entry.
    let word = value["metadata"]["annotations"][PROCEED_AFTER].as_str();
    let proceed_after = word.and_then(|name| number_in(name, redis_id.as_str()?)).unwrap_or(0);
    let counted = || entries().filter(|entry| number(entry) > proceed_after);
    let newest = || entries().max_by_key(|entry| number(entry));
    // The newest of them up to one that ended otherwise.
    let in_a_row = |ended: &'static [&str]| {
        let mut newest_first: Vec<_> = counted().collect();
        newest_first.sort_by_key(|entry| std::cmp::Reverse(number(entry)));
        let phase = |entry: &Value| entry["status"]["phase"].as_str().unwrap_or_default().to_owned();
        newest_first.into_iter().take_while(move |entry| ended.contains(&phase(entry).as_str()))
    };
    let secret = state.store.get(Kind::Secret, value["metadata"]["namespace"].as_str().unwrap_or_default(), "qcloud");
    match reason {
        // Somebody else is told something else: one of them owns it.
        "DuplicateRedisId" => {
            let mut others = state.store.all(Kind::Instance).map(|(_, other)| &other.value);
            others.any(|other| other["spec"]["redisId"] == *redis_id && !is_told_another_owns(other))
        }
        "ReduceCapacityNotAllowed" => instance.size > desired,
        "MemSizeNotInRange" => desired > MOST,
        "CredentialsMissing" => secret.is_none(),
        // It was bought, it was there, and a person has made it smaller since.
        "SizeRegressed" => {
            let bought = |entry: &&Value| entry["status"]["phase"] == "Fulfilled";
            let sizes = counted().filter(bought).filter_map(|entry| entry["spec"]["to"].as_i64());
            let gone = sizes.filter(|to| *to >= desired && instance.has_had(*to));
            instance.size < desired && gone.count() > 0 && instance.made_smaller(desired, 0, state.now).is_some()
        }
        "SizeNotSeen" => {
            let failed = |order: &&Order| {
                counted().any(|entry| order.request.is_for(entry) && entry["status"]["phase"] == "Failed")
            };
            let ordered = state.vendor.ledger.iter().filter(failed);
            instance.size < desired && ordered.filter(|order| taken_back(state, order, "Failed")).count() > 0
        }
        "OutcomeUnknown" => {
            let lost = |entry: &&Value| {
                entry["status"]["phase"] == "Abandoned" && entry["status"]["error"]["codeDesc"] != NEVER_SENT
            };
            in_a_row(&["Abandoned", "Refused"]).filter(lost).count() >= 3
        }
        "UpgradeFailed" => {
            let unfulfilled = in_a_row(&["Failed", "Abandoned", "Refused", "Written", "Placed"]);
            unfulfilled.filter(|entry| entry["status"]["phase"] == "Failed").count() >= 3
        }
        "AuthFailure" if !opens(state, value) => true,
        // It goes on by itself.
        "AccountBalanceNotEnough" => false,
        // What the cloud said of the newest order, which waits for a person: nobody has asked for anything else since.
        _ => newest().is_some_and(|entry| {
            let error = &entry["status"]["error"];
            let waits = error["codeDesc"] == reason
                || reason == "AuthFailure" && error["code"].as_i64().is_some_and(|code| (4100..=4300).contains(&code));
            let (asked_for, metadata) = (&entry["spec"]["instanceRef"], &value["metadata"]);
            let is_same = asked_for["uid"] == metadata["uid"]
                && asked_for["generation"] == metadata["generation"]
                && asked_for["requestedAt"] == metadata["annotations"]["crs.qcloud.com/requestedAt"]
                && (reason != "AuthFailure"
                    || secret.is_some_and(|secret| {
                        asked_for["secretVersion"] == secret.value["metadata"]["resourceVersion"]
                    }));
            entry["status"]["phase"] == "Refused" && waits && is_same
        }),
    }
}
