//! Version 2 of the cloud's API: `https://redis.api.qcloud.com/v2/index.php`.

mod answer;
#[cfg(test)]
mod answer_tests;
#[cfg(feature = "benchmarks")]
pub(crate) mod benchmarks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod garbage_tests;
mod read;
mod sign;
#[cfg(test)]
mod wire_tests;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use self::answer::Fields;
pub use self::sign::SignatureMethod;
use super::exchange::{Quoting, none_for};
use super::transport::{Reply, Route, Timeouts, Transport};
use super::{
    Accepted, Caller, Cloud, CloudClock, CloudError, Dated, DealState, Dialect, EndpointError, Instance, Page, Price,
    SizesSold, regions,
};
use crate::book::SendPermit;

const ENDPOINT: &str = "https://redis.api.qcloud.com/v2/index.php";
/// The most that DescribeRedis gives in one answer (260/1384).
const PAGE: usize = 100;
/// Nonces stay below what every reader of numbers holds exactly (2^53).
const NONCES: u64 = (1 << 53) - 1;

pub(crate) const DIALECT: Dialect = Dialect {
    shrinks: false,
    describe: "DescribeRedis",
    upgrade: "UpgradeRedis",
    deal: "DescribeRedisDealDetail",
    products: "DescribeRedisProduct",
};

/// An action's own parameters.
type Parameters = Vec<(&'static str, String)>;

/// The client of version 2.
pub struct V2 {
    transport: Transport,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
    signature_method: SignatureMethod,
}

impl V2 {
    /// `endpoint` is the API's URL, by default the cloud's own; without a path the API's path is added. `random` gives
    /// the nonces, `local_clock` the Timestamp of the first request (later ones follow the cloud's `Date`).
    ///
    /// # Errors
    /// An endpoint that is no URL, is not HTTPS (but for loopback), or holds more than an address; root certificates
    /// that can't be loaded.
    pub fn new(
        endpoint: Option<&str>,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        local_clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, EndpointError> {
        Self::with_timeouts(endpoint, random, local_clock, Timeouts::default())
    }

    fn with_timeouts(
        endpoint: Option<&str>,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        local_clock: impl Fn() -> Timestamp + Send + Sync + 'static,
        timeouts: Timeouts,
    ) -> Result<Self, EndpointError> {
        let transport = Transport::new(endpoint, ENDPOINT, CloudClock::new(local_clock), timeouts)?
            .refuse_hosts(".tencentcloudapi.com", "v3")?;
        Ok(Self { transport, random: Box::new(random), signature_method: SignatureMethod::default() })
    }

    /// HmacSHA256 unless this says otherwise.
    #[must_use]
    pub fn sign_with(self, signature_method: SignatureMethod) -> Self {
        Self { signature_method, ..self }
    }

    async fn ask<T: Quoting>(
        &self,
        caller: &Caller,
        action: &'static str,
        parameters: Parameters,
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
        parameters: &Parameters,
        timestamp: Timestamp,
        read: &(impl Fn(&Fields) -> Result<T, CloudError> + Sync),
    ) -> Result<Dated<T>, CloudError> {
        let (form, signature) = self.signed(caller, action, parameters, timestamp);
        let open = |reply: &Reply| answer::open(reply).and_then(|fields| read(&fields));
        self.transport.call(route, caller, action, &signature, |request| request.form(&form), open).await
    }

    /// The whole form, and the signature that stands in it.
    fn signed(
        &self,
        caller: &Caller,
        action: &str,
        parameters: &Parameters,
        timestamp: Timestamp,
    ) -> (Vec<(String, String)>, String) {
        let nonce = 1 + (self.random)() % NONCES;
        let common = [
            ("Action", action.to_owned()),
            ("Region", regions::short(&caller.region).to_owned()),
            ("Timestamp", timestamp.as_second().to_string()),
            ("Nonce", nonce.to_string()),
            ("SecretId", caller.credentials.secret_id.clone()),
            ("SignatureMethod", self.signature_method.name().to_owned()),
        ];
        let token = caller.credentials.token.as_ref().map(|token| ("Token", token.expose_secret().to_owned()));
        let all = common.into_iter().chain(token).chain(parameters.iter().cloned());
        let mut form: Vec<_> = all.map(|(name, value)| (name.to_owned(), value)).collect();
        let (authority, path) = (self.transport.authority(), self.transport.path());
        let key = &caller.credentials.secret_key;
        let signature = sign::signature(self.signature_method, key, &authority, path, &form);
        form.push(("Signature".to_owned(), signature.clone()));
        (form, signature)
    }
}

#[async_trait]
impl Cloud for V2 {
    fn dialect(&self) -> Dialect {
        DIALECT
    }

    fn host(&self) -> &str {
        self.transport.host()
    }

    async fn list(&self, caller: &Caller, offset: usize) -> Result<Dated<Page>, CloudError> {
        // By redisId, ascending: an instance that comes or goes moves as few others to another page as possible.
        let parameters = vec![
            ("limit", PAGE.to_string()),
            ("offset", offset.to_string()),
            ("orderBy", "redisId".to_owned()),
            ("orderType", "0".to_owned()),
        ];
        self.ask(caller, DIALECT.describe, parameters, |fields| read::page(fields, offset)).await
    }

    async fn find(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        let parameters = vec![("redisId", redis_id.to_owned())];
        let answer = self.ask(caller, DIALECT.describe, parameters, |fields| read::found(fields, redis_id)).await;
        // An unknown id: not documented whether with an empty list or with this code. 5000 names no resource: no proof.
        none_for(10701, answer)
    }

    async fn upgrade(&self, caller: &Caller, _: &Instance, permit: SendPermit) -> Result<Dated<Accepted>, CloudError> {
        let parameters = vec![("redisId", permit.redis_id().to_owned()), ("memSize", permit.mem_size().to_string())];
        let route = Route::Order { send_before: permit.send_before() };
        self.call(route, caller, DIALECT.upgrade, &parameters, permit.signed_at(), &read::accepted).await
    }

    async fn upgrade_price(&self, caller: &Caller, look: &Instance, mem_size: i64) -> Result<Dated<Price>, CloudError> {
        let parameters = vec![("redisId", look.redis_id.clone()), ("memSize", mem_size.to_string())];
        self.ask(caller, "UpgradeRedisInquiryPrice", parameters, read::price).await
    }

    async fn sizes(&self, caller: &Caller, look: &Instance) -> Result<Dated<Option<SizesSold>>, CloudError> {
        let (Some(zone), Some(kind)) = (look.zone_id, look.type_id) else {
            let message = format!("the row of {} names no zone and type to ask for", look.redis_id);
            return Err(CloudError::not_sent("Doubtful", message));
        };
        let parameters = vec![("zoneIds.0", zone.to_string()), ("typeId", kind.to_string())];
        self.ask(caller, DIALECT.products, parameters, |fields| read::sizes(fields, zone, kind)).await
    }

    async fn deal(&self, caller: &Caller, order: &Accepted) -> Result<Dated<Option<DealState>>, CloudError> {
        let id = &order.deal_id;
        let parameters = vec![("dealIds.0", id.clone())];
        let answer = self.ask(caller, DIALECT.deal, parameters, |fields| read::deal(fields, id)).await;
        none_for(11059, answer)
    }

    fn clock(&self) -> &CloudClock {
        &self.transport.clock
    }
}
