//! API 3.0 as a front to the state: headers and JSON in, its answers out (239/20022 and others).

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::World;
use super::auth_v3::{Failure, Signed, failure};
use super::catalogue::{self, PRODUCTS, Product, REPLICAS};
use super::deal::Deal;
use super::faults::Call;
use super::front::{Front, Scene, Twist, local_time, note_refusal};
use super::instance::{Status, View};
use super::ledger::Code;
use super::list::{OrderBy, Query};
use super::order::{Ask, Refusal};

pub(super) const PATH: &str = "/";
const VERSION: &str = "2018-04-12";
/// Of `DescribeInstances`, and how many deals may be asked for at once.
const MAX_LIMIT: usize = 1000;
const MAX_DEALS: usize = 10;
/// Hours of China, for all instances; a switch in it comes when `--maintenance-wait` says.
const WINDOW: (&str, &str) = ("03:00", "04:00");

type Action = fn(&Request, &mut Scene<'_>) -> Result<Value, Failure>;

const ACTIONS: [(&str, Action); 6] = [
    ("DescribeInstances", describe_instances),
    ("DescribeInstanceDealDetail", describe_instance_deal_detail),
    ("DescribeMaintenanceWindow", describe_maintenance_window),
    ("DescribeProductInfo", describe_product_info),
    ("InquiryPriceUpgradeInstance", inquiry_price_upgrade_instance),
    ("UpgradeInstance", upgrade_instance),
];

/// A request as it came, not checked yet.
#[derive(Debug)]
pub(super) struct Request {
    headers: HeaderMap,
    body: Bytes,
    /// None when the body is no object.
    parameters: Option<Map<String, Value>>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoInstance => failure("ResourceNotFound.InstanceNotExists", "the instance doesn't exist"),
            Refusal::NoShards => failure("MissingParameter", "RedisShardNum is missing: the instance is a cluster"),
            Refusal::Changes(0) => failure("InvalidParameter", "nothing differs from what the instance has"),
            Refusal::Changes(_) => {
                failure("InvalidParameter", "only one of MemSize, RedisShardNum and RedisReplicasNum may change")
            }
            Refusal::NotAMultiple(_) | Refusal::NoSuchSpec => {
                failure("InvalidParameterValue.SpecNotExist", "not among the sizes and numbers that are sold")
            }
            Refusal::NotSold(Some((min, max))) => {
                let message = format!("all shards together must have from {min} to {max} MB");
                failure("InvalidParameterValue.MemSizeNotInRange", message)
            }
            Refusal::NotSold(None) => {
                failure("InvalidParameterValue.MemSizeNotInRange", "no size is sold in this zone for this type")
            }
            Refusal::NoGrowth(least) | Refusal::InUse(least) => {
                let message = format!("what is used needs {least} MB, with the margin for a shrink");
                failure("InvalidParameterValue.ReduceCapacityNotAllowed", message)
            }
            Refusal::SoldOut => failure("ResourceUnavailable.SaleOut", "sold out"),
            Refusal::Busy(Status::ISOLATED) => failure("ResourceUnavailable.InstanceIsolated", "it is isolated"),
            Refusal::Busy(Status::DELETED) => failure("ResourceUnavailable.InstanceDeleted", "it is to be deleted"),
            Refusal::Busy(status) => {
                let message = format!("the instance is {}", status.description());
                failure("ResourceUnavailable.InstanceStatusAbnormal", message)
            }
            Refusal::Locked => failure("ResourceInUse.InstanceBeenLocked", "locked by another task"),
            Refusal::NoMoney { price, balance } => {
                let message = format!("{price} fen to pay, {balance} there");
                failure("ResourceUnavailable.AccountBalanceNotEnough", message)
            }
            Refusal::Unexplained => failure("FailedOperation.Unknown", "unknown error"),
            Refusal::NoDeal => failure("ResourceUnavailable.InstanceNoDeal", "no such deal"),
        }
    }
}

impl Request {
    pub fn new(headers: HeaderMap, body: Bytes) -> Self {
        let parameters = serde_json::from_slice(&body).ok();
        Request { headers, body, parameters }
    }

    fn signed(&self) -> Signed<'_> {
        Signed { service: "redis", headers: &self.headers, body: &self.body }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn action(&self) -> Option<(&'static str, Action)> {
        let name = self.header("x-tc-action")?;
        ACTIONS.into_iter().find(|(action, _)| *action == name)
    }

    fn attempt(&self, world: &mut World, twist: Twist, now: Timestamp) -> Result<Value, Failure> {
        let signed = self.signed();
        let account = world.gate_v3.admit(&signed, now + twist.skew)?;
        let Call { action, region, .. } = self.call();
        if !world.rate.admit(&account, region.unwrap_or_default(), action, now) {
            return Err(failure("RequestLimitExceeded", "too many calls of this action in a second"));
        }
        let media_type = self.header(CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
        if !media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json")) {
            return Err(failure("InvalidParameter", "the Content-Type must be application/json"));
        }
        let action = signed.header("X-TC-Action")?;
        let (_, run) = self.action().ok_or_else(|| failure("InvalidAction", format!("no such action: {action}")))?;
        if signed.header("X-TC-Version")? != VERSION {
            return Err(failure("NoSuchVersion", format!("the version of this API is {VERSION}")));
        }
        let region = signed.header("X-TC-Region")?;
        let region = catalogue::find_region(region)
            .filter(|found| found.long == region)
            .ok_or_else(|| failure("UnsupportedRegion", format!("no such region: {region}")))?;
        if self.parameters.is_none() {
            return Err(failure("InvalidParameter", "the body must be a JSON object"));
        }
        run(self, &mut Scene { world, account: &account, region, twist, now })
    }

    /// `None` when it is absent, or null.
    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.parameters.as_ref().and_then(|parameters| parameters.get(name)) else { return Ok(None) };
        Option::deserialize(value).map_err(|_| failure("InvalidParameter", format!("{name} has a wrong type")))
    }

    fn require<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        self.get(name)?.ok_or_else(|| failure("MissingParameter", format!("{name} is missing")))
    }

    fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Failure> {
        Ok(self.get(name)?.unwrap_or_default())
    }

    /// Numbers that 3.0 takes as text.
    fn numbers(&self, name: &str) -> Result<Vec<u64>, Failure> {
        let numbers = self.list::<String>(name)?.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        numbers.map_err(|_| invalid(&format!("{name} are numbers, as text")))
    }
}

impl Front for Request {
    fn call(&self) -> Call<'_> {
        let parameter = |name: &str| self.parameters.as_ref().and_then(|parameters| parameters.get(name));
        let several = parameter("InstanceIds").and_then(Value::as_array).into_iter().flatten();
        let redis_ids = parameter("InstanceId").into_iter().chain(several).filter_map(Value::as_str).collect();
        let action = self.action().map_or("unknown", |(action, _)| action);
        Call { action, redis_ids, region: self.header("x-tc-region") }
    }

    fn carry_out(&self, world: &mut World, twist: Twist, now: Timestamp) -> Value {
        match self.attempt(world, twist, now) {
            Ok(answer) => answered(answer),
            Err(Failure { code, message }) => {
                note_refusal(world, self.call(), Code::Name(code.into()), now);
                answered(json!({"Error": {"Code": code, "Message": message}}))
            }
        }
    }

    fn refuse(&self, world: &mut World, code: Code, _: bool, now: Timestamp) -> Value {
        let code = match code {
            Code::Number(number) => number.to_string(),
            Code::Name(name) => name,
        };
        note_refusal(world, self.call(), Code::Name(code.clone()), now);
        answered(json!({"Error": {"Code": code, "Message": "injected by a fault"}}))
    }
}

fn answered(mut answer: Value) -> Value {
    let id = format!("{:032x}", rand::random::<u128>());
    answer["RequestId"] = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-").into();
    json!({"Response": answer})
}

fn invalid(message: &str) -> Failure {
    failure("InvalidParameterValue", message)
}

/// 239/20018
fn describe_instances(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let order = match request.get::<String>("OrderBy")?.as_deref() {
        None => OrderBy::Id,
        Some("createtime" | "curDeadline") => OrderBy::Created,
        Some("projectId") => OrderBy::Project,
        Some("instancename") => OrderBy::Name,
        Some("type") => OrderBy::Type,
        Some(_) => return Err(invalid("OrderBy is projectId, createtime, instancename, type or curDeadline")),
    };
    let descending = match request.get("OrderType")? {
        None | Some(1) => true,
        Some(0) => false,
        Some(_) => return Err(invalid("OrderType is 1 (descending) or 0 (ascending)")),
    };
    let (limit, offset) = (request.get("Limit")?.unwrap_or(20), request.get("Offset")?.unwrap_or(0_usize));
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(invalid("Limit is from 1 to 1000"));
    }
    if !offset.is_multiple_of(limit) {
        return Err(invalid("Offset must be a multiple of Limit"));
    }
    let ids = request.get("InstanceId")?.into_iter().chain(request.list("InstanceIds")?).collect();
    let query = Query {
        ids,
        name: request.get("InstanceName")?,
        projects: request.list("ProjectIds")?,
        vpcs: request.numbers("VpcIds")?,
        subnets: request.numbers("SubnetIds")?,
        order,
        descending,
        offset,
        limit,
    };
    let at = scene.now - scene.twist.stale;
    let (total, page) = scene.world.cloud.list(scene.account, scene.region, &query, at, scene.now);
    Ok(json!({"TotalCount": total, "InstanceSet": page.into_iter().map(instance_row).collect::<Vec<_>>()}))
}

fn instance_row(view: View<'_>) -> Value {
    let View { instance, status, shape } = view;
    json!({
        "InstanceId": &*instance.redis_id,
        "InstanceName": instance.name,
        "ProjectId": instance.project_id,
        "Region": instance.region.long,
        "RegionId": instance.region.id,
        "ZoneId": instance.zone_id,
        "VpcId": instance.vpc_id,
        "SubnetId": instance.subnet_id,
        "Status": status.0,
        "InstanceTitle": status.description(),
        "Size": shape.size as f64,
        "SizeUsed": view.used() as f64,
        "RedisShardSize": shape.shard_size(),
        "RedisShardNum": shape.shards,
        "RedisReplicasNum": shape.replicas,
        "Type": catalogue::product_type(instance.type_id),
        "ProductType": if instance.is_cluster() { "cluster" } else { "standalone" },
        "Engine": "Redis",
        "BillingMode": instance.billing_mode,
        "WanIp": "10.0.0.1",
        "Port": 6379,
        "Createtime": local_time(instance.created),
        "DeadlineTime": local_time(instance.deadline()),
        "AutoRenewFlag": 0,
    })
}

/// 239/30602
fn describe_instance_deal_detail(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let (ids, name): (Vec<String>, Option<String>) = (request.list("DealIds")?, request.get("DealName")?);
    if ids.is_empty() && name.is_none() {
        return Err(failure("MissingParameter", "DealIds or DealName must be there"));
    }
    if ids.len() > MAX_DEALS {
        return Err(invalid("DealIds are at most 10"));
    }
    let cloud = &scene.world.cloud;
    let by_id = ids.iter().map(|id| cloud.deal(scene.account, id.parse().map_err(|_| Refusal::NoDeal)?));
    let by_name = name.iter().map(|name| cloud.deal_by_name(scene.account, name));
    let deals = by_id.chain(by_name).map(|deal| deal.map(|deal| deal_row(deal, scene.now)));
    Ok(json!({"DealDetails": deals.collect::<Result<Vec<_>, _>>()?}))
}

fn deal_row(deal: &Deal, now: Timestamp) -> Value {
    json!({
        "DealId": deal.id.to_string(),
        "DealName": deal.name,
        "ZoneId": deal.zone_id,
        "GoodsNum": 1,
        "Creater": &*deal.account,
        "CreatTime": local_time(deal.at),
        "OverdueTime": local_time(deal.at + SignedDuration::from_hours(15 * 24)),
        "EndTime": deal.ended(now).map(local_time).unwrap_or_default(),
        "Status": deal.status(now).number(),
        "Description": "",
        "Price": deal.price,
        "InstanceIds": [&*deal.redis_id],
    })
}

/// 239/30600: all regions, whichever is asked.
fn describe_product_info(_: &Request, _: &mut Scene<'_>) -> Result<Value, Failure> {
    let regions = PRODUCTS.chunk_by(|a, b| a.zone.region == b.zone.region).map(|products| {
        let zones = products.chunk_by(|a, b| a.zone.id == b.zone.id).map(zone_row).collect::<Vec<_>>();
        let long = products[0].zone.region; // a chunk is never empty
        let short = catalogue::find_region(long).map(|region| region.short);
        json!({"RegionId": long, "RegionName": long, "RegionShortName": short, "Area": "", "ZoneSet": zones})
    });
    Ok(json!({"RegionSet": regions.collect::<Vec<_>>()}))
}

fn zone_row(products: &[Product]) -> Value {
    let zone = products[0].zone; // a chunk is never empty
    // One row for each way to pay.
    let rows = products.iter().flat_map(|product| ["1", "0"].map(|pay_mode| product_row(product, pay_mode)));
    json!({
        "ZoneId": zone.code,
        "OldZoneId": zone.id,
        "ZoneName": zone.name,
        "IsSaleout": products.iter().all(|product| product.sold_out),
        "IsDefault": zone.id == catalogue::DEFAULT_ZONE,
        "NetWorkType": ["basenet", "vpcnet"],
        "ProductSet": rows.collect::<Vec<_>>(),
    })
}

fn product_row(product: &Product, pay_mode: &str) -> Value {
    let gigabytes: Vec<_> = (product.min / 1024..=product.max / 1024).map(|size| size.to_string()).collect();
    let texts = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>();
    json!({
        "Type": catalogue::product_type(product.type_id),
        "TypeName": if product.type_id == catalogue::CLUSTER { "Redis cluster" } else { "Redis standard" },
        "Engine": "Redis",
        "Version": "Redis-5.0",
        "MinBuyNum": 1,
        "MaxBuyNum": 10,
        "Saleout": product.sold_out,
        "PayMode": pay_mode,
        "TotalSize": gigabytes,
        "ShardSize": gigabytes,
        "ShardNum": texts(catalogue::shards_of(product.type_id)),
        "ReplicaNum": texts(&REPLICAS),
        "EnableReplicaReadOnly": true,
    })
}

/// 239/46336
fn describe_maintenance_window(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let query = Query { ids: vec![request.require("InstanceId")?], limit: 1, ..Query::default() };
    let (found, _) = scene.world.cloud.list(scene.account, scene.region, &query, scene.now, scene.now);
    if found == 0 {
        return Err(Refusal::NoInstance.into());
    }
    Ok(json!({"StartTime": WINDOW.0, "EndTime": WINDOW.1}))
}

/// The instance, and what it shall become.
fn wanted(request: &Request) -> Result<(String, Ask), Failure> {
    let ask = Ask::Parts {
        shard_size: request.require("MemSize")?,
        shards: request.get("RedisShardNum")?,
        replicas: request.get("RedisReplicasNum")?,
        in_window: match request.get("SwitchOption")? {
            None | Some(2) => false,
            Some(1) => true,
            Some(_) => return Err(invalid("SwitchOption is 1 (in the maintenance window) or 2 (at once)")),
        },
    };
    Ok((request.require("InstanceId")?, ask))
}

/// 239/41157. In fen, which is `pent` here.
fn inquiry_price_upgrade_instance(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let (id, ask) = wanted(request)?;
    let price = scene.world.cloud.price(scene.account, scene.region, &id, ask, scene.now)? as f64;
    Ok(json!({"Price": price, "OriginalPrice": price, "Currency": "CNY", "AmountUnit": "pent"}))
}

/// 239/20013
fn upgrade_instance(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let (id, ask) = wanted(request)?;
    let Scene { account, region, twist, now, .. } = *scene;
    let deal = scene.world.cloud.order(account, region, &id, ask, twist.deal_fails, now)?;
    Ok(json!({"DealId": deal.id.to_string(), "DealName": deal.name}))
}

#[cfg(test)]
mod tests;
