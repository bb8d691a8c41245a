//! Calls of the cloud: limited by account, region and action; counted and timed. A reconcile never waits here: it is told when to come back.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    book::SendPermit,
    cloud::{
        Accepted, Caller, Cloud, CloudError, Dated, DealState, ErrorKind, Instance, Page, SizeRange, limits::Limits,
    },
    telemetry::Metrics,
};

pub const DESCRIBE: &str = "DescribeRedis";
pub const UPGRADE: &str = "UpgradeRedis";
const DEAL: &str = "DescribeRedisDealDetail";
const PRODUCT: &str = "DescribeRedisProduct";

/// Why a call brought nothing.
#[derive(Debug)]
pub enum Trouble {
    /// It wasn't made: come back after so long.
    Wait(Duration),
    Cloud(CloudError),
}

type Call<T> = Result<Dated<T>, Trouble>;

#[derive(Clone)]
pub struct Calls {
    cloud: Arc<dyn Cloud>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
}

impl Calls {
    pub fn new(cloud: Arc<dyn Cloud>, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self { cloud, limits: Arc::new(limits), metrics }
    }

    /// How far the cloud's clock is ahead of this machine's.
    pub fn clock_offset(&self) -> Option<SignedDuration> {
        self.cloud.clock_offset()
    }

    /// The cloud's time, as far as known.
    pub fn now(&self) -> Timestamp {
        let offset = self.clock_offset().unwrap_or_default();
        let here = Timestamp::now();
        here.checked_add(offset).unwrap_or(here)
    }

    pub async fn list(&self, caller: &Caller, offset: usize) -> Call<Page> {
        self.limited(caller, DESCRIBE, self.cloud.list(caller, offset)).await
    }

    pub async fn find(&self, caller: &Caller, redis_id: &str) -> Call<Option<Instance>> {
        self.reserve_look(caller).map_err(Trouble::Wait)?;
        self.find_reserved(caller, redis_id).await.map_err(Trouble::Cloud)
    }

    /// Looks at one instance. Its share of the limit was taken with [`Self::reserve_look`].
    pub async fn find_reserved(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        self.counted(caller, DESCRIBE, self.cloud.find(caller, redis_id)).await
    }

    pub async fn deal(&self, caller: &Caller, deal_id: &str) -> Call<Option<DealState>> {
        self.limited(caller, DEAL, self.cloud.deal(caller, deal_id)).await
    }

    pub async fn sizes(&self, caller: &Caller, instance: &Instance) -> Call<Option<SizeRange>> {
        self.limited(caller, PRODUCT, self.cloud.sizes(caller, instance)).await
    }

    /// Takes one look's share of the limit, before the book is read for it.
    pub fn reserve_look(&self, caller: &Caller) -> Result<(), Duration> {
        self.take(caller, DESCRIBE)
    }

    /// Takes one order's share of the limit, before the order is written into the book.
    pub fn reserve_order(&self, caller: &Caller) -> Result<(), Duration> {
        self.take(caller, UPGRADE)
    }

    /// Takes the shares of one look and of the order that it is made for.
    pub fn reserve_order_and_look(&self, caller: &Caller) -> Result<(), Duration> {
        self.limits.try_take_all(caller, &[UPGRADE, DESCRIBE]).inspect_err(|wait| self.metrics.throttled(*wait))
    }

    /// Sends the order. Its share of the limit was taken with [`Self::reserve_order`].
    pub async fn upgrade(&self, caller: &Caller, permit: SendPermit) -> Result<Dated<Accepted>, CloudError> {
        self.counted(caller, UPGRADE, self.cloud.upgrade(caller, permit)).await
    }

    async fn limited<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        call: impl Future<Output = Result<Dated<T>, CloudError>>,
    ) -> Call<T> {
        self.take(caller, action).map_err(Trouble::Wait)?;
        self.counted(caller, action, call).await.map_err(Trouble::Cloud)
    }

    fn take(&self, caller: &Caller, action: &'static str) -> Result<(), Duration> {
        self.limits.try_take(caller, action).inspect_err(|wait| self.metrics.throttled(*wait))
    }

    async fn counted<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let began = Instant::now();
        let result = call.await;
        let code = match &result {
            Ok(_) => Some(0),
            Err(error) if error.kind == ErrorKind::Code => Some(error.code.unwrap_or(-1)),
            Err(_) => None,
        };
        self.metrics.called(action, code, began.elapsed());
        if let Some(offset) = self.cloud.clock_offset() {
            self.metrics.clock_offset(offset.as_secs_f64());
        }
        if let Some(pause) = self.limits.learn(caller, &result) {
            tracing::warn!(
                action,
                region = caller.region,
                ?pause,
                "the cloud is in trouble, or asks us to slow down: this account and region pause"
            );
        }
        result
    }
}
