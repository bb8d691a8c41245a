//! What `benches/micro.rs` measures. Each gives what is to be run again and again, with all that it needs made before.

use std::{hint::black_box, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    api::{RedisInstance, RedisUpgrade},
    cloud::{Dated, EndpointError, Instance, InstanceState, Layout, benchmarks::caller, v2, v3},
    decide::{Policy, Seen, Situation, Step, decide},
    telemetry::Metrics,
};

const REDIS_ID: &str = "crs-ifmymj41";
const UID: &str = "5bd7ddc4-5b6c-4e0c-9a4f-0e1c1f6f7a10";
const ENTRIES: i64 = 10;
const STEP: i64 = 1024;

/// MB that the instance has in which [`decision`] is about.
pub const SIZE: i64 = (ENTRIES + 1) * STEP;

/// Decides about an instance whose book has ten entries, all fulfilled, and for which so many MB are declared: true for an order.
///
/// # Errors
/// None, as long as objects are written as they are here.
pub fn decision(mem_size: i64) -> Result<impl Fn() -> bool, serde_json::Error> {
    let instance: RedisInstance = serde_json::from_value(json!({
        "metadata": {"name": "sessions", "namespace": "shop", "uid": UID, "generation": 12},
        "spec": {
            "redisId": REDIS_ID, "region": "gz", "memSize": mem_size, "credentialsSecretRef": {"name": "qcloud"},
        },
        "status": {"observedGeneration": 11, "readyGeneration": 11, "memSize": SIZE, "instanceStatus": "Running"},
    }))?;
    let entries = (1..=ENTRIES).map(|n| {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{REDIS_ID}-{n}"), "namespace": "crs-system"},
            "spec": {
                "redisId": REDIS_ID, "region": "gz", "from": n * STEP, "to": (n + 1) * STEP,
                "signedAt": "2026-11-24T10:00:00Z",
                "instanceRef": {
                    "namespace": "shop", "name": "sessions", "path": "shop/sessions", "uid": UID, "generation": n,
                    "secretVersion": "4711",
                },
            },
            "status": {
                "phase": "Fulfilled", "dealId": "432587", "settledAt": "2026-11-24T10:05:00Z",
                "evidence": "DescribeRedis at 2026-11-24T10:05:00Z shows that size, Running",
            },
        }))
    });
    let entries = entries.collect::<Result<Vec<RedisUpgrade>, _>>()?;
    let policy = Policy {
        lag: SignedDuration::from_secs(60),
        lifetime: SignedDuration::from_secs(330),
        resync: Duration::from_secs(60),
        active: Duration::from_secs(5),
    };
    let now = Timestamp::now();
    let value = Instance {
        redis_id: REDIS_ID.into(),
        state: InstanceState::Running,
        size: SIZE,
        zone_id: Some(100_002),
        type_id: Some(2),
        layout: Layout::default(),
    };
    let seen = Seen::Instance(Dated { value, at: now });
    Ok(move || {
        let situation = Situation {
            instance: &instance,
            owner: None,
            entries: &entries,
            seen: &seen,
            deal: None,
            secret_version: "4711",
            balance_low_until: None,
            due: false,
            now,
            dialect: v2::DIALECT,
        };
        // Or what isn't looked at, as the sentence for people, need not be made.
        let decision = black_box(decide(black_box(&policy), black_box(&situation)));
        matches!(decision.step, Some(Step::Order { .. }))
    })
}

/// Signs a question of version 2 for a page of the list.
///
/// # Errors
/// The client can't be set up.
pub fn signature_v2(method: v2::SignatureMethod) -> Result<impl Fn() -> String, EndpointError> {
    v2::benchmarks::signing(method, caller())
}

/// The same with API 3.0.
pub fn signature_v3() -> impl Fn() -> String {
    v3::benchmarks::signing(caller())
}

/// Reads an answer of DescribeRedis; how many instances are in it.
pub fn rows_v2(body: Vec<u8>) -> usize {
    v2::benchmarks::rows(body)
}

/// Reads an answer of DescribeInstances; how many instances are in it.
pub fn rows_v3(body: Vec<u8>) -> usize {
    v3::benchmarks::rows(body)
}

/// What `/metrics` answers after calls of four actions that brought eight codes each.
pub fn metrics() -> impl Fn() -> String {
    let metrics = Metrics::new();
    for action in ["DescribeRedis", "UpgradeRedis", "DescribeRedisDealDetail", "DescribeRedisProduct"] {
        for code in ["0", "none", "other", "4100", "4400", "6000", "10702", "11057"] {
            metrics.called(action, code.into(), Duration::from_millis(120));
        }
    }
    move || metrics.text()
}
