//! What others wrote into the API server: a `RedisInstance` with its status, and the book.

use std::{collections::HashSet, sync::LazyLock, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{CustomResourceExt, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::{decode, oracle::assert_line};
use crate::{
    api::{
        Mode, PROCEED_AFTER, Phase, RedisInstance, RedisUpgrade, RedisUpgradeStatus, number_in, redis_upgrade_crd,
        testing::{self, at, entry, failure, placed, settled, written},
    },
    book::{Outcome, applied, prunable},
    cloud::{Accepted, Dated, DealState, Instance, InstanceState, Layout, v2, v3},
    decide::{Deal, Decision, Health, Policy, Seen, Situation, Step, decide},
    report,
};

/// When the orders in the corpora were signed.
const SIGNED: i64 = 1_795_552_054;
const LAG: SignedDuration = SignedDuration::from_secs(60);
const LIFETIME: SignedDuration = SignedDuration::from_secs(330);
const POLICY: Policy =
    Policy { lag: LAG, lifetime: LIFETIME, resync: Duration::from_secs(60), active: Duration::from_secs(5) };

/// A `RedisInstance` whose spec and status anybody may have written, over books that the operator wrote.
pub(super) fn instance(data: &[u8]) {
    let Some(instance) = decode::<RedisInstance>(data) else { return };
    for status in [
        None,
        Some(written()),
        Some(placed()),
        Some(settled(Phase::Fulfilled, SIGNED)),
        Some(settled(Phase::Abandoned, SIGNED)),
    ] {
        let mut book: Vec<_> = status.into_iter().map(|status| entry(1, 1024, 2048, SIGNED, status)).collect();
        for entry in &mut book {
            entry.metadata.name = Some(format!("{}-1", instance.spec.redis_id));
            entry.spec.redis_id = instance.spec.redis_id.clone();
        }
        judge_all(&instance, &book);
    }
}

/// A book whose entries anybody may have edited, as the API server lists it.
pub(super) fn book(data: &[u8]) {
    let Some(mut entries) = decode::<Vec<RedisUpgrade>>(data) else { return };
    // One name, one object, and no longer than names are.
    let mut names = HashSet::new();
    entries.retain(|entry| entry.name_any().len() <= 253 && names.insert(entry.name_any()));
    let entries = crate::book::in_order(entries, "crs-1");
    entries.iter().for_each(judge_changes);
    for second in [SIGNED, SIGNED + 100_000, Timestamp::MAX.as_second(), Timestamp::MIN.as_second()] {
        judge_pruning(&entries, at(second).0);
    }
    let mut instance = testing::instance("sessions", "uid", 4096);
    judge_all(&instance, &entries);
    let newest = entries.last().map(RedisUpgrade::name_any).unwrap_or_default();
    instance.annotations_mut().insert(PROCEED_AFTER.into(), newest);
    judge_all(&instance, &entries);
}

/// Under each look that matters.
fn judge_all(instance: &RedisInstance, entries: &[RedisUpgrade]) {
    let desired = instance.spec.mem_size;
    let sizes =
        [1, 1024, desired.saturating_sub(1024).max(1), desired.max(1), desired.saturating_add(1).max(1), i64::MAX];
    let seconds = [SIGNED, SIGNED + 391, SIGNED + 100_000, Timestamp::MAX.as_second(), Timestamp::MIN.as_second()];
    let outcome = entries.iter().rev().map(RedisUpgrade::outcome).find(|outcome| outcome.deal_id.is_some());
    let id = outcome.and_then(|outcome| outcome.deal_id).unwrap_or_default();
    let states = [DealState::Delivered, DealState::Failed(5), DealState::Pending(3)].map(Some);
    let deals = states.into_iter().chain([None]).map(|state| Deal {
        id: id.clone(),
        state,
        trouble: None,
        at: at(SIGNED + 400).0,
    });
    let deals: Vec<_> = deals.map(Some).chain([None]).collect();
    for second in seconds {
        for (n, size) in sizes.into_iter().enumerate() {
            let layout = Layout { shards: (n % 2 == 1).then_some(3), ..Layout::default() };
            let redis_id = instance.spec.redis_id.clone();
            let value =
                Instance { redis_id, state: InstanceState::Running, size, zone_id: None, type_id: None, layout };
            let seen = Seen::Instance(Dated { value, at: at(second).0 });
            judge(instance, entries, &seen, deals[n % deals.len()].as_ref());
        }
        for state in [InstanceState::InProcess, InstanceState::Isolated, InstanceState::Unknown(i64::MIN)] {
            let redis_id = instance.spec.redis_id.clone();
            let value =
                Instance { redis_id, state, size: 1024, zone_id: None, type_id: None, layout: Layout::default() };
            judge(instance, entries, &Seen::Instance(Dated { value, at: at(second).0 }), None);
        }
        judge(instance, entries, &Seen::Absent(at(second).0), None);
    }
    judge(instance, entries, &Seen::NotYet { long: true }, None);
}

/// What is decided is sound, and can be told.
fn judge(instance: &RedisInstance, entries: &[RedisUpgrade], seen: &Seen, deal: Option<&Deal>) {
    let looked_at = match seen {
        Seen::Instance(look) => look.at,
        Seen::Absent(at) => *at,
        _ => at(SIGNED).0,
    };
    for dialect in [v2::DIALECT, v3::DIALECT] {
        let situation = Situation {
            instance,
            owner: None,
            entries,
            seen,
            deal,
            secret_version: "1",
            balance_low_until: None,
            due: true,
            now: looked_at,
            dialect,
        };
        let decision = decide(&POLICY, &situation);
        judge_step(instance, entries, seen, &decision);
        let status = report::status(instance, entries, seen, &decision.verdict, true, looked_at);
        // Those of before are the other's own.
        let told = status.conditions.iter().filter(|_| decision.verdict.health != Health::AsBefore);
        for condition in told {
            assert_line(&condition.message, 1000);
            assert_line(&condition.reason, 1024);
        }
        if fits(&INSTANCE, instance) && entries.iter().all(|entry| fits(&ENTRY, entry)) {
            let told = RedisInstance { status: Some(status), ..instance.clone() };
            assert!(fits(&INSTANCE, &told), "the API server would refuse {told:?}");
        }
    }
}

/// Read apart from the policy, and stricter.
fn judge_step(instance: &RedisInstance, entries: &[RedisUpgrade], seen: &Seen, decision: &Decision) {
    let named =
        |name: &str| entries.iter().find(|entry| entry.name_any() == name).unwrap_or_else(|| panic!("no entry {name}"));
    let Some(step) = &decision.step else { return };
    let Seen::Instance(Dated { value: look, at }) = seen else { panic!("{step:?} without a look") };
    match step {
        Step::Order { from, to } => {
            assert_eq!((look.state, look.size), (InstanceState::Running, *from));
            assert!(*to > *from && *to == instance.spec.mem_size && to % look.step() == 0, "{step:?}");
            assert_eq!(instance.spec.mode, Mode::Enforce);
            let is_settled = |entry: &RedisUpgrade| !matches!(entry.phase(), Phase::Written | Phase::Placed);
            assert!(entries.iter().all(is_settled), "B4: {entries:?}");
            let newest = entries.iter().map(RedisUpgrade::number).max().unwrap_or(0);
            let word =
                instance.annotations().get(PROCEED_AFTER).and_then(|name| number_in(name, &instance.spec.redis_id));
            let after = word.filter(|number| *number <= newest).unwrap_or(0);
            let bought = |entry: &RedisUpgrade| {
                entry.phase() == Phase::Fulfilled && entry.spec.to >= *to && entry.number() > after
            };
            assert!(!entries.iter().any(bought), "B7: {entries:?}");
        }
        Step::Settle { entry, phase, at: settled_at, evidence, .. } => {
            let entry = named(entry);
            assert_eq!((look.state, at), (InstanceState::Running, settled_at));
            assert_eq!(entry.spec.redis_id, instance.spec.redis_id, "the look was at another instance");
            let is_there = look.size >= entry.spec.to;
            match (entry.phase(), phase) {
                (Phase::Written, Phase::Fulfilled | Phase::Abandoned) => {
                    let dead = entry.spec.signed_at.0.checked_add(LIFETIME + LAG);
                    assert!(dead.is_ok_and(|dead| *at > dead) && (*phase == Phase::Fulfilled) == is_there, "{step:?}");
                }
                (Phase::Placed, Phase::Fulfilled) => assert!(is_there),
                (Phase::Placed, Phase::Failed) => assert!(!is_there),
                (from, to) => panic!("{from} → {to}"),
            }
            assert!(!evidence.is_empty());
        }
        Step::AskDeal { entry, order } => {
            assert_eq!(named(entry).outcome().deal_id.as_ref(), Some(&order.deal_id));
        }
        Step::MarkDelivered { entry, .. } => assert_eq!(named(entry).phase(), Phase::Placed),
    }
}

/// Whatever is learnt of an entry, it goes forward, and no deal is forgotten.
fn judge_changes(entry: &RedisUpgrade) {
    let (before, at) = (entry.outcome(), at(SIGNED).0);
    let error = failure(Some(10702), "InstanceStatusAbnormal", SIGNED);
    let accepted = Accepted { deal_id: "432587".into(), deal_name: Some("2026112400432587".into()) };
    let settled = [Phase::Written, Phase::Placed, Phase::Fulfilled, Phase::Failed, Phase::Refused, Phase::Abandoned]
        .map(|phase| Outcome::Settled { phase, at, evidence: "é".repeat(2000), error: Some(error.clone()) });
    let others = [
        Outcome::Accepted { accepted, at },
        Outcome::Refused { error: error.clone(), at },
        Outcome::Unknown { error: error.clone() },
        Outcome::NeverSent { error, at },
        Outcome::Delivered { at },
    ];
    for outcome in settled.iter().chain(&others) {
        let Some(after) = applied(&before, outcome) else { continue };
        let forward = match (before.phase, after.phase) {
            (from, to) if from == to => true,
            (Phase::Written, _) | (Phase::Abandoned, Phase::Placed) => true,
            (Phase::Placed, to) => matches!(to, Phase::Fulfilled | Phase::Failed),
            _ => false,
        };
        assert!(forward, "{} → {}", before.phase, after.phase);
        assert!(before.deal_id.is_none() || after.deal_id.is_some(), "the deal is forgotten: {outcome:?}");
        let changed = RedisUpgrade { status: Some::<RedisUpgradeStatus>(after), ..entry.clone() };
        assert!(!fits(&ENTRY, entry) || fits(&ENTRY, &changed), "the API server would refuse {changed:?}");
    }
}

fn judge_pruning(entries: &[RedisUpgrade], now: Timestamp) {
    let newest = entries.last().map(RedisUpgrade::name_any);
    for entry in prunable(entries, now) {
        assert!(
            !matches!(entry.phase(), Phase::Written | Phase::Placed) && Some(entry.name_any()) != newest,
            "{entry:?}"
        );
        let settled_at = entry.outcome().settled_at.map_or(entry.spec.signed_at.0, |at| at.0);
        assert!(now.duration_since(settled_at) > SignedDuration::from_hours(24), "{entry:?}");
    }
}

static INSTANCE: LazyLock<JSONSchemaProps> = LazyLock::new(|| schema(RedisInstance::crd()));
static ENTRY: LazyLock<JSONSchemaProps> = LazyLock::new(|| schema(redis_upgrade_crd()));

fn schema(crd: CustomResourceDefinition) -> JSONSchemaProps {
    let version = crd.spec.versions.into_iter().next();
    version.and_then(|version| version.schema?.open_api_v3_schema).unwrap_or_else(|| panic!("no schema"))
}

/// Would the API server take it, as far as bounds go?
fn fits(schema: &JSONSchemaProps, object: &impl Serialize) -> bool {
    serde_json::to_value(object).is_ok_and(|value| is_valid(schema, &value))
}

fn is_valid(schema: &JSONSchemaProps, value: &Value) -> bool {
    let within =
        |number: f64| schema.minimum.is_none_or(|min| number >= min) && schema.maximum.is_none_or(|max| number <= max);
    match value {
        Value::String(text) => {
            schema.max_length.is_none_or(|max| i64::try_from(text.chars().count()).is_ok_and(|is| is <= max))
        }
        Value::Number(number) => number.as_f64().is_some_and(within),
        Value::Array(list) => {
            let item = match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(item)) => Some(item),
                _ => None,
            };
            schema.max_items.is_none_or(|max| i64::try_from(list.len()).is_ok_and(|is| is <= max))
                && item.is_none_or(|item| list.iter().all(|value| is_valid(item, value)))
        }
        Value::Object(fields) => schema
            .properties
            .iter()
            .flatten()
            .all(|(name, schema)| fields.get(name).is_none_or(|value| is_valid(schema, value))),
        Value::Null | Value::Bool(_) => true,
    }
}
