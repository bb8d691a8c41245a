//! Version 2 of the cloud's API: `https://redis.api.qcloud.com/v2/index.php`.

mod answer;
#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod garbage_tests;
mod read;
mod sign;
#[cfg(test)]
mod wire_tests;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use self::answer::Fields;
pub use self::sign::SignatureMethod;
use super::clock::CloudClock;
use super::text::Texts;
use super::transport::{Reply, Route, Timeouts, Transport};
use super::{Accepted, Caller, Cloud, CloudError, Dated, DealState, EndpointError, Instance, Page, SizeRange, regions};
use crate::book::SendPermit;

const ENDPOINT: &str = "https://redis.api.qcloud.com/v2/index.php";
/// The most that DescribeRedis gives in one answer (260/1384).
const PAGE: usize = 100;
/// A 4200 or 4500 whose own `Date` is no further than this from what we sent has another cause than our clock.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(5);
/// Nonces stay below what every reader of numbers holds exactly (2^53).
const NONCES: u64 = (1 << 53) - 1;

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
        let transport = Transport::new(endpoint, ENDPOINT, CloudClock::new(local_clock), timeouts)?;
        Ok(Self { transport, random: Box::new(random), signature_method: SignatureMethod::default() })
    }

    /// HmacSHA256 unless this says otherwise.
    #[must_use]
    pub fn sign_with(self, signature_method: SignatureMethod) -> Self {
        Self { signature_method, ..self }
    }

    /// A call that changes nothing. When the cloud refuses its Timestamp and its `Date` says that our clock was off, it is
    /// repeated, once, with the time just learnt.
    async fn ask<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        parameters: Parameters,
        read: impl Fn(&Fields) -> Result<T, CloudError> + Sync,
    ) -> Result<Dated<T>, CloudError> {
        let sent = self.transport.clock.now();
        let first = self.call(Route::Read, caller, action, &parameters, sent, &read).await;
        match &first {
            Err(CloudError { code: Some(4200 | 4500), at: Some(at), .. })
                if at.duration_since(sent).abs() > SAME_TIME =>
            {
                self.call(Route::Read, caller, action, &parameters, self.transport.clock.now(), &read).await
            }
            _ => first,
        }
    }

    /// One request, sent once.
    async fn call<T>(
        &self,
        route: Route,
        caller: &Caller,
        action: &'static str,
        parameters: &Parameters,
        timestamp: Timestamp,
        read: &(impl Fn(&Fields) -> Result<T, CloudError> + Sync),
    ) -> Result<Dated<T>, CloudError> {
        let started = Instant::now();
        let (form, signature) = self.signed(caller, action, parameters, timestamp);
        let texts = Texts::hiding(&caller.credentials, &signature);
        let open = |reply: Reply| {
            let value = answer::open(&reply).and_then(|fields| read(&fields));
            value.map(|value| Dated { value, at: reply.at }).map_err(|error| CloudError { at: Some(reply.at), ..error })
        };
        let answer = self.transport.post(route, |request| request.form(&form)).await.and_then(open);
        let answer = answer.map_err(|error| texts.clean_error(error));
        let code = answer.as_ref().map_or_else(|error| error.code_desc.as_str(), |_| "Success");
        tracing::debug!(action, code, region = caller.region, duration = ?started.elapsed(), "called the cloud");
        answer
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
    async fn list(&self, caller: &Caller, offset: usize) -> Result<Dated<Page>, CloudError> {
        // By redisId, ascending: an instance that comes or goes moves as few others to another page as possible.
        let parameters = vec![
            ("limit", PAGE.to_string()),
            ("offset", offset.to_string()),
            ("orderBy", "redisId".to_owned()),
            ("orderType", "0".to_owned()),
        ];
        let mut page = self.ask(caller, "DescribeRedis", parameters, |fields| read::page(fields, offset)).await?;
        let texts = Texts::hiding(&caller.credentials, "");
        page.value.doubts.iter_mut().for_each(|doubt| *doubt = texts.clean(doubt));
        Ok(page)
    }

    async fn find(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        let parameters = vec![("redisId", redis_id.to_owned())];
        let answer = self.ask(caller, "DescribeRedis", parameters, |fields| read::found(fields, redis_id)).await;
        // An unknown id: not documented whether with an empty list or with this code. 5000 names no resource: no proof.
        none_for(10701, answer)
    }

    async fn upgrade(&self, caller: &Caller, permit: SendPermit) -> Result<Dated<Accepted>, CloudError> {
        let parameters = vec![("redisId", permit.redis_id().to_owned()), ("memSize", permit.mem_size().to_string())];
        let route = Route::Order { send_before: permit.send_before() };
        self.call(route, caller, "UpgradeRedis", &parameters, permit.signed_at(), &read::accepted).await
    }

    async fn upgrade_price(&self, caller: &Caller, redis_id: &str, mem_size: i64) -> Result<Dated<i64>, CloudError> {
        let parameters = vec![("redisId", redis_id.to_owned()), ("memSize", mem_size.to_string())];
        self.ask(caller, "UpgradeRedisInquiryPrice", parameters, read::price).await
    }

    async fn sizes(&self, caller: &Caller, instance: &Instance) -> Result<Dated<Option<SizeRange>>, CloudError> {
        let (Some(zone), Some(kind)) = (instance.zone_id, instance.type_id) else {
            let message = format!("the row of {} names no zone and type to ask for", instance.redis_id);
            return Err(CloudError::not_sent("Doubtful", message));
        };
        let parameters = vec![("zoneIds.0", zone.to_string()), ("typeId", kind.to_string())];
        self.ask(caller, "DescribeRedisProduct", parameters, |fields| read::sizes(fields, zone, kind)).await
    }

    async fn deal(&self, caller: &Caller, deal_id: &str) -> Result<Dated<Option<DealState>>, CloudError> {
        let parameters = vec![("dealIds.0", deal_id.to_owned())];
        let answer =
            self.ask(caller, "DescribeRedisDealDetail", parameters, |fields| read::deal(fields, deal_id)).await;
        none_for(11059, answer)
    }

    fn clock_offset(&self) -> Option<SignedDuration> {
        self.transport.clock.offset()
    }
}

/// Takes the error with this code for "there is none".
fn none_for<T>(code: i64, answer: Result<Dated<Option<T>>, CloudError>) -> Result<Dated<Option<T>>, CloudError> {
    match answer {
        Err(CloudError { code: Some(said), at: Some(at), .. }) if said == code => Ok(Dated { value: None, at }),
        other => other,
    }
}
