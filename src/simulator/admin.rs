//! `/_sim/`: what a test, or a person at a demo, looks at and changes by hand. Bodies are JSON, whatever their
//! Content-Type; what is wrong with one is answered in plain text.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::deal::Deal;
use super::faults::Fault;
use super::instance::{ByHand, Instance, NewInstance};
use super::{Simulator, World};

/// Ten years: every time stays one that can be written down.
const MAX_OFFSET_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;

type Sim = State<Arc<Simulator>>;
type Wrong = (StatusCode, String);

pub(super) fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/instances", get(list_instances).post(create_instance))
        .route("/_sim/instances/{redis_id}", get(one_instance).put(change_instance).delete(delete_instance))
        .route("/_sim/balance", put(set_balance))
        .route("/_sim/clock", put(set_clock))
        .route("/_sim/deals/{deal_id}", put(set_deal))
        .route("/_sim/faults", get(list_faults).put(set_faults))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Wrong> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn not_found(what: &str) -> Wrong {
    (StatusCode::NOT_FOUND, format!("there is no such {what}"))
}

async fn ledger(State(sim): Sim) -> Json<Value> {
    let world = sim.world();
    let orders: Vec<_> = world.cloud.deals().map(order).collect();
    Json(json!({"calls": world.ledger.calls(), "orders": orders, "refused": world.ledger.refused()}))
}

fn order(deal: &Deal) -> Value {
    json!({
        "dealId": deal.id.to_string(),
        "redisId": &*deal.redis_id,
        "from": deal.from,
        "to": deal.to,
        "price": deal.price,
        "at": deal.at,
    })
}

async fn list_instances(State(sim): Sim) -> Json<Value> {
    let world = sim.world();
    let now = world.now();
    let mut instances: Vec<_> = world.cloud.instances().collect();
    instances.sort_by(|a, b| a.redis_id.cmp(&b.redis_id));
    Json(instances.into_iter().map(|instance| row(instance, now)).collect())
}

fn row(instance: &Instance, now: Timestamp) -> Value {
    let view = instance.view(now);
    json!({
        "redisId": &*instance.redis_id,
        "memSize": view.map(|view| view.shape.size),
        "shards": view.map(|view| view.shape.shards),
        "replicas": view.map(|view| view.shape.replicas),
        "status": view.map(|view| view.status),
        "region": instance.region.short,
        "account": &*instance.account,
        "zoneId": instance.zone_id,
        "typeId": instance.type_id,
        "billingMode": instance.billing_mode,
        "locked": instance.locked,
        "redisName": instance.name,
        "projectId": instance.project_id,
        "vpcId": instance.vpc_id,
        "subnetId": instance.subnet_id,
    })
}

fn find(world: &World, redis_id: &str) -> Result<Json<Value>, Wrong> {
    world.cloud.instance(redis_id).map(|found| Json(row(found, world.now()))).ok_or(not_found("instance"))
}

async fn one_instance(State(sim): Sim, Path(redis_id): Path<String>) -> Result<Json<Value>, Wrong> {
    find(&sim.world(), &redis_id)
}

async fn create_instance(State(sim): Sim, body: Bytes) -> Result<(StatusCode, Json<Value>), Wrong> {
    let new: NewInstance = read(&body)?;
    let mut world = sim.world();
    let (redis_id, now) = (new.redis_id.clone(), world.now());
    world.create(new, now).map_err(|why| (StatusCode::CONFLICT, why))?;
    Ok((StatusCode::CREATED, find(&world, &redis_id)?))
}

async fn change_instance(State(sim): Sim, Path(redis_id): Path<String>, body: Bytes) -> Result<Json<Value>, Wrong> {
    let hand: ByHand = read(&body)?;
    let mut world = sim.world();
    let now = world.now();
    world.cloud.change_by_hand(&redis_id, &hand, now).map_err(|why| (StatusCode::CONFLICT, why))?;
    find(&world, &redis_id)
}

async fn delete_instance(State(sim): Sim, Path(redis_id): Path<String>) -> Result<StatusCode, Wrong> {
    sim.world().cloud.delete(&redis_id).then_some(StatusCode::NO_CONTENT).ok_or(not_found("instance"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Balance {
    /// `null`: it can pay anything.
    #[serde(deserialize_with = "Option::deserialize")]
    fen: Option<u64>,
    /// A key's id; all when absent.
    account: Option<String>,
}

async fn set_balance(State(sim): Sim, body: Bytes) -> Result<StatusCode, Wrong> {
    let balance: Balance = read(&body)?;
    let world = &mut *sim.world();
    let mut chosen =
        world.accounts.iter().filter(|id| balance.account.as_ref().is_none_or(|one| one == *id)).peekable();
    chosen.peek().ok_or(not_found("account"))?;
    chosen.for_each(|id| world.cloud.set_balance(id, balance.fen));
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Clock {
    offset_seconds: i64,
}

async fn set_clock(State(sim): Sim, body: Bytes) -> Result<StatusCode, Wrong> {
    let Clock { offset_seconds } = read(&body)?;
    if offset_seconds.unsigned_abs() > MAX_OFFSET_SECONDS {
        return Err((StatusCode::BAD_REQUEST, format!("offsetSeconds is at most {MAX_OFFSET_SECONDS} either way")));
    }
    let mut world = sim.world();
    let offset = SignedDuration::from_secs(offset_seconds);
    if offset < world.offset {
        let by = (world.offset - offset).unsigned_abs();
        world.cloud.clock_set_back(by);
    }
    world.offset = offset;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DealByHand {
    status: i32,
}

async fn set_deal(State(sim): Sim, Path(deal_id): Path<u64>, body: Bytes) -> Result<StatusCode, Wrong> {
    let DealByHand { status } = read(&body)?;
    let mut world = sim.world();
    let now = world.now();
    world.cloud.set_deal(deal_id, status, now).then_some(StatusCode::NO_CONTENT).ok_or(not_found("deal"))
}

async fn list_faults(State(sim): Sim) -> Json<Value> {
    Json(json!(sim.world().faults.list()))
}

async fn set_faults(State(sim): Sim, body: Bytes) -> Result<StatusCode, Wrong> {
    let list: Vec<Fault> = read(&body)?;
    sim.world().faults.replace(list).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    Ok(StatusCode::NO_CONTENT)
}
