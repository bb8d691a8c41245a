//! Calls of the cloud: limited by account, region and action; counted, timed and traced. A reconcile never waits here: it is told when to come back.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};
use tracing::{
    Instrument, Span,
    field::{Empty, display},
};

use crate::{
    book::SendPermit,
    cloud::{
        Accepted, Caller, Cloud, CloudError, Dated, DealState, Dialect, ErrorKind, Instance, Jump, Page, SizesSold,
        codes, is_far,
        limits::{Ask, Limits},
    },
    telemetry::Metrics,
};

const SOON: Duration = Duration::from_secs(5);

/// Why a call brought nothing.
#[derive(Debug)]
pub enum Trouble {
    /// It wasn't made: come back after so long.
    Wait(Duration),
    Cloud(CloudError),
}

type Call<T> = Result<Dated<T>, Trouble>;

/// The right to send an order. Another one has it when this ends unused.
pub struct Share {
    limits: Arc<Limits>,
    unused: Option<(Caller, &'static str)>,
}

impl Share {
    pub fn used(&mut self) {
        self.unused = None;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some((caller, action)) = &self.unused {
            self.limits.give_back(caller, action);
        }
    }
}

#[derive(Clone)]
pub struct Calls {
    cloud: Arc<dyn Cloud>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    /// What the API calls them.
    pub dialect: Dialect,
}

impl Calls {
    pub fn new(cloud: Arc<dyn Cloud>, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let dialect = cloud.dialect();
        metrics.expect_calls(&[dialect.describe, dialect.upgrade, dialect.deal, dialect.products]);
        Self { cloud, limits: Arc::new(limits), metrics, dialect }
    }

    /// Are the cloud's clock and this machine's apart?
    pub fn is_clock_apart(&self) -> bool {
        self.clock_offset().is_some_and(is_far)
    }

    /// The cloud's time, as far as known.
    pub fn now(&self) -> Timestamp {
        self.cloud.clock().now()
    }

    /// How far the cloud's clock is ahead of this machine's.
    pub fn clock_offset(&self) -> Option<SignedDuration> {
        self.cloud.clock().offset()
    }

    /// The latest jump of the cloud's clock, if that was less than `even` ago, and how much of it is left.
    pub fn clock_jump(&self, even: Duration) -> Option<(Jump, Duration)> {
        let jump = self.cloud.clock().jump()?;
        even.checked_sub(jump.when.elapsed()).map(|left| (jump, left))
    }

    pub async fn list(&self, caller: &Caller, offset: usize) -> Call<Page> {
        self.limited(caller, self.dialect.describe, None, self.cloud.list(caller, offset)).await
    }

    /// How long the reader of a list waits between two pages: a look that is due finds the burst there.
    pub fn pace(&self) -> Duration {
        self.limits.pace()
    }

    pub fn most_ids(&self) -> usize {
        self.cloud.most_ids()
    }

    pub async fn list_some(&self, caller: &Caller, redis_ids: &[String]) -> Call<Page> {
        self.limited(caller, self.dialect.describe, None, soon(self.cloud.list_some(caller, redis_ids))).await
    }

    pub async fn find(&self, caller: &Caller, redis_id: &str) -> Call<Option<Instance>> {
        self.limited(caller, self.dialect.describe, Some(redis_id), self.cloud.find(caller, redis_id)).await
    }

    /// Looks at one instance for a step that is due. Its share of the limit was taken with [`Self::reserve`].
    pub async fn look(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        self.counted(caller, self.dialect.describe, Some(redis_id), soon(self.cloud.find(caller, redis_id))).await
    }

    pub async fn deal(&self, caller: &Caller, order: &Accepted) -> Call<Option<DealState>> {
        self.limited(caller, self.dialect.deal, None, soon(self.cloud.deal(caller, order))).await
    }

    pub async fn sizes(&self, caller: &Caller, look: &Instance) -> Call<Option<SizesSold>> {
        self.limited(caller, self.dialect.products, Some(&look.redis_id), soon(self.cloud.sizes(caller, look))).await
    }

    /// Takes the shares of the limits that one look and, if `may_order`, one order need, before anything is read for them. What is `ordering`
    /// goes before all else that waits.
    pub fn reserve(&self, caller: &Caller, redis_id: &str, may_order: bool, ordering: bool) -> Result<Share, Duration> {
        let Dialect { describe, upgrade, .. } = self.dialect;
        let both = [describe, upgrade];
        let actions = if may_order { &both[..] } else { &both[..1] };
        self.take(caller, Ask { actions, who: Some(redis_id), ordering })?;
        Ok(Share { limits: self.limits.clone(), unused: may_order.then(|| (caller.clone(), upgrade)) })
    }

    /// Sends the order. Its share of the limit was taken before.
    pub async fn upgrade(
        &self,
        caller: &Caller,
        look: &Instance,
        permit: SendPermit,
    ) -> Result<Dated<Accepted>, CloudError> {
        self.counted(caller, self.dialect.upgrade, Some(&look.redis_id), self.cloud.upgrade(caller, look, permit)).await
    }

    async fn limited<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        redis_id: Option<&str>,
        call: impl Future<Output = Result<Dated<T>, CloudError>>,
    ) -> Call<T> {
        let ask = Ask { actions: &[action], who: redis_id, ordering: false };
        self.take(caller, ask).map_err(Trouble::Wait)?;
        self.counted(caller, action, redis_id, call).await.map_err(Trouble::Cloud)
    }

    fn take(&self, caller: &Caller, ask: Ask<'_>) -> Result<(), Duration> {
        self.limits.try_take_all(caller, ask).inspect_err(|wait| self.metrics.throttled(*wait))
    }

    async fn counted<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        redis_id: Option<&str>,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let span = self.span(caller, action, redis_id);
        let began = Instant::now();
        let result = call.instrument(span.clone()).await;
        tell(&span, &result);
        let code = match &result {
            Ok(_) => "0".to_owned(),
            Err(CloudError { kind: ErrorKind::Code(meaning), code, cloud_code, .. }) => {
                codes::label(*meaning, *code, cloud_code.as_deref())
            }
            Err(_) => "none".to_owned(),
        };
        self.metrics.called(action, code, began.elapsed());
        if let Some(offset) = self.clock_offset() {
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

    /// Named as OpenTelemetry's conventions for calls have it, where they have a name.
    fn span(&self, caller: &Caller, action: &'static str, redis_id: Option<&str>) -> Span {
        tracing::debug_span!(
            "call",
            otel.name = action,
            otel.kind = "client",
            otel.status_description = Empty,
            rpc.system.name = "qcloud",
            rpc.method = action,
            rpc.response.status_code = Empty,
            "error.type" = Empty,
            server.address = self.cloud.host(),
            cloud.region = caller.region,
            crs.redis_id = redis_id,
        )
    }
}

/// What came of a call, with the code as the cloud wrote it.
fn tell<T>(span: &Span, result: &Result<T, CloudError>) {
    let code = match result {
        Ok(_) => Some("0"),
        Err(error) => {
            span.record("error.type", &error.code_desc).record("otel.status_description", display(error));
            error.cloud_code.as_deref()
        }
    };
    span.record("rpc.response.status_code", code);
}

/// What a reconcile waits for: a slow account must not hold up the others, and an order is not made on an older look anyway.
async fn soon<T>(call: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
    timeout(SOON, call)
        .await
        .unwrap_or_else(|_| Err(CloudError::no_answer("Timeout", format!("no answer within {} s", SOON.as_secs()))))
}
