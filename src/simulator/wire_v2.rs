//! Version 2 of the API as a front to the state: parameters in, its (inconsistent) answers out.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::auth_v2::{Denied, Signed};
use super::catalogue::{self, PRODUCTS};
use super::deal::Deal;
use super::faults::Call;
use super::front::{Front, Scene, Twist, local_time, note_refusal};
use super::instance::View;
use super::ledger::Code;
use super::list::{OrderBy, Query};
use super::order::{Ask, Refusal};

pub(super) const PATH: &str = "/v2/index.php";

type Action = fn(&Request, &mut Scene<'_>) -> Result<Value, Failure>;

const ACTIONS: [(&str, Action); 6] = [
    ("DescribeRedis", describe_redis),
    ("DescribeRedisProduct", describe_redis_product),
    // The same, as the vendor's own command line spells it.
    ("DescribeRedisProductList", describe_redis_product),
    ("DescribeRedisDealDetail", describe_redis_deal_detail),
    ("UpgradeRedisInquiryPrice", upgrade_redis_inquiry_price),
    ("UpgradeRedis", upgrade_redis),
];

/// A request as it came, not checked yet.
#[derive(Debug)]
pub(super) struct Request {
    pub method: String,
    pub host: String,
    pub path: String,
    parameters: HashMap<String, String>,
    /// Why it can't even be read.
    malformed: Option<String>,
}

#[derive(Debug)]
struct Failure {
    code: i64,
    name: String,
    message: String,
}

/// The names that 239/5328, 260/1384 and others give their own codes; the table of the common ones (239/1757) has
/// none, those are ours.
fn code_name(code: i64) -> &'static str {
    match code {
        4000 => "InvalidParameter",
        4100..=4110 => "AuthFailure",
        4200 => "RequestExpired",
        4300 => "AccessDenied",
        4400 => "QuotaExceeded",
        4500 => "ReplayAttack",
        4600 => "ProtocolNotSupported",
        5000 => "ResourceNotFound",
        5100 => "OperationFailed",
        5200 => "PurchaseFailed",
        5300 => "BalanceNotEnough",
        5400 => "PartlyDone",
        5500 => "NotQualified",
        6000 => "InternalError",
        6100 => "VersionNotSupported",
        6200 => "TemporarilyClosed",
        10701 => "InstanceNotExists",
        10702 => "InstanceStatusAbnormal",
        10703 => "InvalidMemSize",
        11052 => "UserNotInWhiteList",
        11057 => "ReduceCapacityNotAllowed",
        11059 => "DealIdNotFound",
        11063 => "MemSizeNotInRange",
        11201 => "InvalidParameter",
        100207 => "OperationConstraints.AccountBalanceNotEnough",
        _ => "UnknownError",
    }
}

fn failure(code: i64, message: impl Into<String>) -> Failure {
    Failure { code, name: code_name(code).into(), message: message.into() }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        failure(denied.code, denied.message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoInstance => failure(10701, "the instance doesn't exist"),
            Refusal::NotAMultiple(step) => failure(10703, format!("memSize must be a multiple of {step}")),
            Refusal::NotSold(Some((min, max))) => failure(11063, format!("memSize must be from {min} to {max}")),
            Refusal::NotSold(None) => failure(11063, "no size is sold in this zone for this type"),
            Refusal::NoGrowth(size) => failure(11057, format!("memSize must be greater than {size}")),
            Refusal::SoldOut => failure(5200, "sold out"),
            Refusal::Busy(status) => failure(10702, format!("the instance is {}", status.description())),
            Refusal::Locked => failure(10702, "the instance is locked by another task"),
            Refusal::NoMoney { price, balance } => failure(100207, format!("{price} fen to pay, {balance} there")),
            Refusal::Unexplained => failure(6000, "unknown error"),
            Refusal::NoDeal => failure(11059, "no such deal"),
            // Of what this version can't ask for.
            Refusal::NoShards | Refusal::Changes(_) | Refusal::NoSuchSpec | Refusal::InUse(_) => {
                failure(4000, "not in this version")
            }
        }
    }
}

impl Request {
    /// `pairs`: the parameters in the order in which they came, or why there are none.
    pub fn new(method: String, host: String, path: String, pairs: Result<Vec<(String, String)>, String>) -> Self {
        let (pairs, mut malformed) = pairs.map_or_else(|why| (Vec::new(), Some(why)), |pairs| (pairs, None));
        let mut parameters = HashMap::new();
        for (name, value) in pairs {
            if parameters.insert(name, value).is_some() {
                malformed = Some("a parameter stands there twice".into());
            }
        }
        Request { method, host, path, parameters, malformed }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Its Action, when that is one of ours: what it is counted under.
    fn action(&self) -> &'static str {
        let name = self.get("Action").unwrap_or_default();
        ACTIONS.iter().find(|(action, _)| *action == name).map_or("unknown", |(action, _)| action)
    }

    fn attempt(&self, world: &mut World, twist: Twist, now: Timestamp) -> Result<Value, Failure> {
        if let Some(why) = &self.malformed {
            return Err(failure(4000, why));
        }
        let action = self.get("Action").ok_or(failure(4000, "the common parameter Action is missing"))?;
        let signed = Signed { method: &self.method, host: &self.host, path: &self.path, parameters: &self.parameters };
        let account = world.gate.admit(&signed, now + twist.skew)?;
        let region = self.get("Region").ok_or(failure(4000, "the common parameter Region is missing"))?;
        let region = catalogue::find_region(region).ok_or(failure(4000, "unknown Region"))?;
        let (_, run) = ACTIONS.iter().find(|(name, _)| *name == action).ok_or(failure(4000, "unknown Action"))?;
        run(self, &mut Scene { world, account: &account, region, twist, now })
    }

    fn error(&self, code: Code, name: &str, message: &str) -> Value {
        let code = match code {
            // UpgradeRedis has its code as a string (239/5328), the others as a number.
            Code::Number(number) if self.action() == "UpgradeRedis" => Code::Name(number.to_string()),
            code => code,
        };
        json!({"code": code, "message": message, "codeDesc": name})
    }

    /// `None` when it is absent, an error with `code` when it is not what it should be.
    fn parse<T: FromStr>(&self, name: &str, code: i64) -> Result<Option<T>, Failure> {
        let parse = |text: &str| text.parse().map_err(|_| failure(code, format!("{name} is not what it should be")));
        self.get(name).map(parse).transpose()
    }

    fn require<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.parse(name, 4000)?.ok_or_else(|| failure(4000, format!("the parameter {name} is missing")))
    }

    /// The array `name.0`, `name.1`, …, in the order of its numbers.
    fn list<T: FromStr>(&self, name: &str, code: i64) -> Result<Vec<T>, Failure> {
        let number = |key: &str| key.strip_prefix(name)?.strip_prefix('.').map(str::to_owned);
        let wrong = || failure(code, format!("{name} is an array: {name}.0, {name}.1, …"));
        let mut found = BTreeMap::new();
        for (key, value) in &self.parameters {
            if let Some(number) = number(key) {
                let index: usize = number.parse().map_err(|_| wrong())?;
                found.insert(index, value.parse().map_err(|_| wrong())?);
            }
        }
        Ok(found.into_values().collect())
    }
}

impl Front for Request {
    fn call(&self) -> Call<'_> {
        Call { action: self.action(), redis_ids: self.get("redisId").into_iter().collect(), region: self.get("Region") }
    }

    fn carry_out(&self, world: &mut World, twist: Twist, now: Timestamp) -> Value {
        self.attempt(world, twist, now).unwrap_or_else(|failure| {
            note_refusal(world, self.call(), Code::Number(failure.code), now);
            self.error(Code::Number(failure.code), &failure.name, &failure.message)
        })
    }

    fn refuse(&self, world: &mut World, code: Code, bracketed: bool, now: Timestamp) -> Value {
        note_refusal(world, self.call(), code.clone(), now);
        let name = match &code {
            Code::Number(number) => code_name(*number),
            Code::Name(name) => name,
        };
        match &code {
            Code::Number(number) if bracketed => {
                self.error(Code::Number(5100), code_name(5100), &format!("({number}){name}"))
            }
            _ => self.error(code.clone(), name, "injected by a fault"),
        }
    }
}

/// 260/1384
fn describe_redis(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let invalid = |what: &str| failure(11201, what);
    let order = match request.get("orderBy") {
        None | Some("redisId") => OrderBy::Id,
        Some("createtime") => OrderBy::Created,
        Some("projectId") => OrderBy::Project,
        Some(_) => return Err(invalid("orderBy is redisId, projectId or createtime")),
    };
    let descending = match request.get("orderType") {
        None | Some("1") => true,
        Some("0") => false,
        Some(_) => return Err(invalid("orderType is 1 (descending) or 0 (ascending)")),
    };
    let limit = request.parse("limit", 11201)?.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(invalid("limit is from 1 to 100"));
    }
    let query = Query {
        ids: request.get("redisId").map(str::to_owned).into_iter().collect(),
        name: request.get("redisName").map(str::to_owned),
        projects: request.list("projectIds", 11201)?,
        vpcs: request.list("vpcIds", 11201)?,
        subnets: request.list("subnetIds", 11201)?,
        order,
        descending,
        offset: request.parse("offset", 11201)?.unwrap_or(0),
        limit,
    };
    let at = scene.now - scene.twist.stale;
    let (total, page) = scene.world.cloud.list(scene.account, scene.region, &query, at, scene.now);
    let page: Vec<_> = page.into_iter().map(instance_row).collect();
    Ok(json!({"code": 0, "message": "", "codeDesc": "Success", "totalCount": total, "data": {"redisSet": page}}))
}

fn instance_row(view: View<'_>) -> Value {
    let View { instance, status, shape } = view;
    json!({
        "redisId": &*instance.redis_id,
        "redisName": instance.name,
        "projectId": instance.project_id,
        "regionId": instance.region.id,
        "zoneId": instance.zone_id,
        "vpcId": instance.vpc_id,
        "subnetId": instance.subnet_id,
        "status": status.0,
        "statusDesc": status.description(),
        "size": shape.size,
        "sizeUsed": view.used(),
        "typeId": instance.type_id,
        "wanIp": "10.0.0.1",
        "port": 6379,
        "createtime": local_time(instance.created),
        "deadlineTime": local_time(instance.deadline()),
        "autoRenewFlag": 0,
    })
}

/// 260/4974
fn describe_redis_product(request: &Request, _: &mut Scene<'_>) -> Result<Value, Failure> {
    let zones: Vec<u32> = request.list("zoneIds", 11201)?;
    let type_id = request.parse("typeId", 11201)?.unwrap_or(0);
    if type_id > catalogue::STANDALONE {
        return Err(failure(11201, "typeId is 1, 2, or 0 for both"));
    }
    let mut data: BTreeMap<u32, Value> = BTreeMap::new();
    for product in PRODUCTS.iter().filter(|product| !product.sold_out) {
        let wanted = zones.is_empty() || zones.contains(&product.zone.id);
        if wanted && (type_id == 0 || type_id == product.type_id) {
            let row = json!({"zoneId": product.zone.id, "name": product.zone.name, "types": {}});
            let row = data.entry(product.zone.id).or_insert(row);
            row["types"][product.type_id.to_string()] = json!({
                "type": product.type_id,
                "typeName": if product.type_id == catalogue::CLUSTER { "cluster" } else { "standalone" },
                "minMemSize": product.min,
                "maxMemSize": product.max,
                "minBuyNum": 1,
                "maxBuyNum": 10,
            });
        }
    }
    let data: Vec<_> = data.into_values().collect();
    Ok(json!({"code": 0, "message": "", "codeDesc": "Success", "data": data}))
}

/// 260/5329
fn describe_redis_deal_detail(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let ids: Vec<String> = request.list("dealIds", 4000)?;
    if ids.is_empty() {
        return Err(failure(4000, "the parameter dealIds is missing"));
    }
    let details: Vec<_> = ids
        .iter()
        .map(|id| {
            let deal = scene.world.cloud.deal(scene.account, id.parse().map_err(|_| Refusal::NoDeal)?)?;
            Ok(deal_row(deal, scene.now))
        })
        .collect::<Result<_, Refusal>>()?;
    Ok(json!({"code": 0, "message": "", "codeDesc": "Success", "dealDetails": details}))
}

fn deal_row(deal: &Deal, now: Timestamp) -> Value {
    json!({
        "dealId": deal.id.to_string(),
        "dealName": deal.name,
        "zoneId": deal.zone_id,
        "goodsNum": 1,
        "creater": &*deal.account,
        "creatTime": local_time(deal.at),
        "endTime": deal.ended(now).map(local_time).unwrap_or_default(),
        "status": deal.status(now).number(),
        "description": "",
        "price": deal.price,
        "goodsDetail": {"oldMemSize": deal.from, "newMemsize": deal.to, "redisIds": [&*deal.redis_id]},
    })
}

/// 260/5327
fn upgrade_redis_inquiry_price(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let (id, size): (String, u64) = (request.require("redisId")?, request.require("memSize")?);
    let price = scene.world.cloud.price(scene.account, scene.region, &id, Ask::Whole(size), scene.now)?;
    Ok(json!({"code": 0, "message": "", "codeDesc": "Success", "data": {"price": price}}))
}

/// 239/5328
fn upgrade_redis(request: &Request, scene: &mut Scene<'_>) -> Result<Value, Failure> {
    let (id, size): (String, u64) = (request.require("redisId")?, request.require("memSize")?);
    let Scene { account, region, twist, now, .. } = *scene;
    let deal = scene.world.cloud.order(account, region, &id, Ask::Whole(size), twist.deal_fails, now)?;
    Ok(json!({"code": "0", "message": "", "codeDesc": "Success", "data": {"dealId": deal.id.to_string()}}))
}

#[cfg(test)]
mod tests;
