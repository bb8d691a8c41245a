//! API 3.0 of the cloud: `https://redis.tencentcloudapi.com/`, for international accounts `https://redis.intl.tencentcloudapi.com/`.
//!
//! It has no nonce and no protection against replay, and it carries out a shrink: what keeps an order from being paid twice, and an instance
//! from becoming smaller, is the book, the age of a request, and the size in it, which is absolute.

mod answer;
#[cfg(test)]
mod answer_tests;
#[cfg(feature = "benchmarks")]
pub(crate) mod benchmarks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod read;
mod sign;
#[cfg(test)]
mod wire_tests;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use self::answer::Fields;
use super::exchange::{Quoting, none_for};
use super::transport::{Reply, Route, Timeouts, Transport};
use super::{
    Accepted, Caller, Cloud, CloudClock, CloudError, Dated, DealState, Dialect, EndpointError, Instance, Page, Price,
    SizesSold, regions,
};
use crate::book::SendPermit;

const ENDPOINT: &str = "https://redis.tencentcloudapi.com/";
const SERVICE: &str = "redis";
const VERSION: &str = "2018-04-12";
const JSON: &str = "application/json";
/// The most that DescribeInstances gives in one answer.
const PAGE: usize = 1000;
/// How many ids it takes isn't documented; of other lists of the vendor's it is so many.
const MOST_IDS: usize = 100;
/// The switch to the new size: at once, and not in the instance's maintenance window.
const AT_ONCE: i64 = 2;

pub(crate) const DIALECT: Dialect = Dialect {
    shrinks: true,
    describe: "DescribeInstances",
    upgrade: "UpgradeInstance",
    deal: "DescribeInstanceDealDetail",
    products: "DescribeProductInfo",
};

/// The client of API 3.0.
pub struct V3 {
    transport: Transport,
}

impl V3 {
    /// `endpoint` is the API's URL, by default the cloud's own (of mainland China), and has no path. `local_clock` gives the Timestamp of the first request
    /// (later ones follow the cloud's `Date`).
    ///
    /// # Errors
    /// An endpoint that is no URL, is not HTTPS (but for loopback), or holds more than an address; root certificates that can't be loaded.
    pub fn new(
        endpoint: Option<&str>,
        local_clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, EndpointError> {
        Self::with_timeouts(endpoint, local_clock, Timeouts::default())
    }

    fn with_timeouts(
        endpoint: Option<&str>,
        local_clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        timeouts: Timeouts,
    ) -> Result<Self, EndpointError> {
        let transport = Transport::new(endpoint, ENDPOINT, CloudClock::new(local_clock), timeouts)?
            .refuse_hosts(".api.qcloud.com", "v2")?;
        // What is signed says so.
        if transport.path() != "/" {
            return Err(EndpointError::Path);
        }
        Ok(Self { transport })
    }

    async fn ask<T: Quoting>(
        &self,
        caller: &Caller,
        action: &'static str,
        parameters: Value,
        read: impl Fn(&Fields) -> Result<T, CloudError> + Sync,
    ) -> Result<Dated<T>, CloudError> {
        self.transport.clock.ask(|time| self.call(Route::Read, caller, action, &parameters, time, &read)).await
    }

    /// One request, sent once.
    async fn call<T: Quoting>(
        &self,
        route: Route,
        caller: &Caller,
        action: &'static str,
        parameters: &Value,
        timestamp: Timestamp,
        read: &(impl Fn(&Fields) -> Result<T, CloudError> + Sync),
    ) -> Result<Dated<T>, CloudError> {
        let body = parameters.to_string();
        let host = self.transport.authority();
        let signed =
            sign::Signed { service: SERVICE, host: &host, content_type: JSON, body: body.as_bytes(), timestamp };
        let (authorization, signature) = sign::authorization(&caller.credentials, &signed);
        let fill = |request: RequestBuilder| {
            let request = request
                .header(CONTENT_TYPE, JSON)
                .header(AUTHORIZATION, authorization)
                .header("X-TC-Action", action)
                .header("X-TC-Version", VERSION)
                .header("X-TC-Region", regions::long(&caller.region))
                .header("X-TC-Timestamp", timestamp.as_second());
            let request = match &caller.credentials.token {
                Some(token) => request.header("X-TC-Token", token.expose_secret()),
                None => request,
            };
            request.body(body)
        };
        let open = |reply: &Reply| answer::open(reply).and_then(|fields| read(&fields));
        self.transport.call(route, caller, action, &signature, fill, open).await
    }

    async fn page(&self, caller: &Caller, parameters: Value, offset: usize) -> Result<Dated<Page>, CloudError> {
        self.ask(caller, DIALECT.describe, parameters, |fields| read::page(fields, offset)).await
    }

    async fn ask_deal(
        &self,
        caller: &Caller,
        order: &Accepted,
        parameters: Value,
    ) -> Result<Dated<Option<DealState>>, CloudError> {
        none_for(11059, self.ask(caller, DIALECT.deal, parameters, |fields| read::deal(fields, order)).await)
    }
}

/// What an order, and the question for its price, says: each shard's part of the size, and all else as it is. (One of the three may change.)
fn order(look: &Instance, mem_size: i64) -> Result<Value, CloudError> {
    let shards = look.shards();
    if mem_size % shards != 0 {
        let message = format!("{mem_size} MB can't be divided among the {shards} shards of {}", look.redis_id);
        return Err(CloudError::not_sent("Doubtful", message));
    }
    let mut order = json!({"InstanceId": look.redis_id, "MemSize": mem_size / shards});
    for (name, value) in [("RedisShardNum", look.layout.shards), ("RedisReplicasNum", look.layout.replicas)] {
        if let Some(value) = value {
            order[name] = json!(value);
        }
    }
    Ok(order)
}

#[async_trait]
impl Cloud for V3 {
    fn dialect(&self) -> Dialect {
        DIALECT
    }

    fn host(&self) -> &str {
        self.transport.host()
    }

    async fn list(&self, caller: &Caller, offset: usize) -> Result<Dated<Page>, CloudError> {
        // The oldest first: a new instance moves no other to another page.
        let parameters = json!({"Limit": PAGE, "Offset": offset, "OrderBy": "createtime", "OrderType": 0});
        self.page(caller, parameters, offset).await
    }

    fn most_ids(&self) -> usize {
        MOST_IDS
    }

    async fn list_some(&self, caller: &Caller, redis_ids: &[String]) -> Result<Dated<Page>, CloudError> {
        self.page(caller, json!({"Limit": PAGE, "InstanceIds": redis_ids}), 0).await
    }

    async fn find(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        let parameters = json!({"InstanceId": redis_id});
        let answer = self.ask(caller, DIALECT.describe, parameters, |fields| read::found(fields, redis_id)).await;
        // An unknown id gives an empty set, by the documents.
        none_for(10701, answer)
    }

    async fn upgrade(
        &self,
        caller: &Caller,
        look: &Instance,
        permit: SendPermit,
    ) -> Result<Dated<Accepted>, CloudError> {
        if look.redis_id != permit.redis_id() {
            let message = format!("the order is for {}, the look was at {}", permit.redis_id(), look.redis_id);
            return Err(CloudError::not_sent("Doubtful", message));
        }
        // The cloud would carry it out.
        if permit.mem_size() <= look.size {
            let message = format!("{} MB are not above the {} MB of {}", permit.mem_size(), look.size, look.redis_id);
            return Err(CloudError::not_sent("Doubtful", message));
        }
        let mut parameters = order(look, permit.mem_size())?;
        parameters["SwitchOption"] = json!(AT_ONCE);
        let route = Route::Order { send_before: permit.send_before() };
        self.call(route, caller, DIALECT.upgrade, &parameters, permit.signed_at(), &read::accepted).await
    }

    async fn upgrade_price(&self, caller: &Caller, look: &Instance, mem_size: i64) -> Result<Dated<Price>, CloudError> {
        self.ask(caller, "InquiryPriceUpgradeInstance", order(look, mem_size)?, read::price).await
    }

    async fn sizes(&self, caller: &Caller, look: &Instance) -> Result<Dated<Option<SizesSold>>, CloudError> {
        let region = regions::long(&caller.region);
        self.ask(caller, DIALECT.products, json!({}), |fields| read::sizes(fields, region, look)).await
    }

    async fn deal(&self, caller: &Caller, order: &Accepted) -> Result<Dated<Option<DealState>>, CloudError> {
        let Accepted { deal_id, deal_name } = order;
        let by_name = deal_name.as_ref().map(|name| json!({"DealName": name}));
        // The id is deprecated: where the cloud doesn't know it, or doesn't take it any more, the name is asked for.
        if deal_name.as_ref() != Some(deal_id) {
            let by_id = self.ask_deal(caller, order, json!({"DealIds": [deal_id]})).await;
            let is_open = match &by_id {
                Ok(answer) => answer.value.is_none(),
                Err(error) => error.is_lasting_refusal(),
            };
            if !is_open || by_name.is_none() {
                return by_id;
            }
        }
        self.ask_deal(caller, order, by_name.unwrap_or_default()).await
    }

    fn clock(&self) -> &CloudClock {
        &self.transport.clock
    }
}
