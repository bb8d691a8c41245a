//! The account book: entries of kind `RedisUpgrade`, named `<redisId>-<n>`. The API server lets just one process create number n, and that
//! is what keeps an order from being made twice (invariants B1–B5). `cache` has the watched copy, for what costs nothing when it is stale.

mod cache;
mod permit;
mod retention;
mod transition;

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{InstanceRef, REDIS_ID_LABEL, RedisUpgrade, RedisUpgradeSpec, RedisUpgradeStatus};
use crate::api_server::{CALL, plain, within};
use crate::failpoint::{Point, pass};

pub use cache::Cache;
pub use permit::SendPermit;
pub use transition::Outcome;
#[cfg(any(test, fuzzing))]
pub(crate) use {retention::prunable, transition::apply as applied};

/// An order is sent within this time of the moment at which its book began to be read, or never (invariant B3).
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// An order isn't written any more when so little of that is left.
const SEND_MARGIN: Duration = Duration::from_secs(4);

/// Why the book could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the book and the instance took too long")]
    TooSlow,
    #[error("somebody else wrote into the book of this instance meanwhile")]
    Conflict,
    /// The number is taken by an entry that a read by label has not shown.
    #[error(
        "{0} was written meanwhile. If this stays, somebody took its label {REDIS_ID_LABEL} away: put it back, with the redisId"
    )]
    Taken(String),
    #[error("{}", plain(.0))]
    Api(Box<kube::Error>),
}

impl Error {
    /// Somebody else has just written: it is read afresh.
    pub fn is_news(&self) -> bool {
        matches!(self, Self::Conflict | Self::Taken(_))
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            error => Self::Api(Box::new(error)),
        }
    }
}

/// The entries of one instance, read consistently, lowest number first, and when the reading began.
pub struct Ledger {
    began: Instant,
    redis_id: String,
    pub entries: Vec<RedisUpgrade>,
}

/// The entries of an instance among those that have its label, lowest number first. Anybody who may edit the book can put its label on
/// another one's entry: a look at this instance says nothing of that, and must not settle it.
pub(crate) fn in_order(mut entries: Vec<RedisUpgrade>, redis_id: &str) -> Vec<RedisUpgrade> {
    entries.retain(|entry| entry.spec.redis_id == redis_id);
    entries.sort_by_key(RedisUpgrade::number);
    entries
}

/// What an entry says of the order.
pub struct Order {
    pub region: String,
    pub from: i64,
    pub to: i64,
    pub signed_at: Timestamp,
    pub instance_ref: InstanceRef,
}

#[derive(Clone)]
pub struct Book {
    api: Api<RedisUpgrade>,
    cache: Cache,
}

impl Book {
    /// The book in `namespace`. The client must not repeat requests by itself.
    pub fn new(client: Client, namespace: &str, cache: Cache) -> Self {
        Self { api: Api::namespaced(client, namespace), cache }
    }

    /// Reads the entries of an instance: not from a watch's cache, but as they are (invariant B2).
    pub async fn read(&self, redis_id: &str) -> Result<Ledger, Error> {
        let began = Instant::now();
        let by_instance = ListParams::default().labels(&format!("{REDIS_ID_LABEL}={redis_id}"));
        let list = within(CALL, self.api.list(&by_instance)).await?;
        let entries = in_order(list.items, redis_id);
        self.cache.put_all(redis_id, &entries, list.metadata.resource_version.as_deref());
        Ok(Ledger { began, redis_id: redis_id.into(), entries })
    }

    /// Writes the next entry. Only its 201 gives the right to send: after a conflict, a time-out or any other error there is none.
    pub async fn write(&self, ledger: &Ledger, order: Order) -> Result<(RedisUpgrade, SendPermit), Error> {
        let send_before = ledger.began + SEND_WITHIN;
        if Instant::now() + SEND_MARGIN > send_before {
            return Err(Error::TooSlow);
        }
        let number = ledger.entries.iter().map(RedisUpgrade::number).max().unwrap_or(0).saturating_add(1);
        // Book and wire say the same time: whole seconds.
        let signed_at = Timestamp::from_second(order.signed_at.as_second()).unwrap_or(order.signed_at);
        let entry = RedisUpgrade {
            metadata: ObjectMeta {
                name: Some(format!("{}-{number}", ledger.redis_id)),
                labels: Some([(REDIS_ID_LABEL.to_owned(), ledger.redis_id.clone())].into()),
                ..ObjectMeta::default()
            },
            spec: RedisUpgradeSpec {
                redis_id: ledger.redis_id.clone(),
                region: order.region,
                from: order.from,
                to: order.to,
                signed_at: Time(signed_at),
                instance_ref: order.instance_ref,
            },
            status: None,
        };
        pass(Point::BeforeCreate, &ledger.redis_id);
        let written =
            within(CALL, self.api.create(&PostParams::default(), &entry)).await.map_err(|error| {
                match error.into() {
                    Error::Conflict => Error::Taken(entry.name_any()),
                    error => error,
                }
            })?;
        pass(Point::Created, &ledger.redis_id);
        self.cache.put(written.clone());
        Ok((written, SendPermit::new(ledger.redis_id.clone(), order.to, signed_at, send_before)))
    }

    /// How long this process has known of an entry as it is (in that phase, delivered or not), by its own monotonic clock.
    pub fn known_for(&self, entry: &RedisUpgrade) -> Duration {
        self.cache.known_for(entry)
    }

    /// Closes an entry, or notes something in it, if it still is as it was read. Returns it, and whether its phase is another now.
    pub async fn advance(&self, entry: &RedisUpgrade, outcome: &Outcome) -> Result<(RedisUpgrade, bool), Error> {
        match transition::apply(&entry.outcome(), outcome) {
            Some(status) => Ok((self.patch_status(entry, &status).await?, status.phase != entry.phase())),
            None => Ok((entry.clone(), false)),
        }
    }

    /// Writes what came of an order that this process sent: a fact, so it is tried until it stands there. Ends without it only when the
    /// entry is gone, or after an hour. Returns what [`Self::advance`] does.
    pub async fn record(&self, entry: &RedisUpgrade, outcome: &Outcome) -> Result<(RedisUpgrade, bool), Error> {
        let patient = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .with_total_delay(Some(Duration::from_secs(3600)))
            .without_max_times();
        let name = entry.name_any();
        let first = std::sync::atomic::AtomicBool::new(true);
        let attempt = || async {
            let current = if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                entry.clone()
            } else {
                within(CALL, self.api.get(&name)).await?
            };
            self.advance(&current, outcome).await
        };
        attempt
            .retry(patient)
            .when(|error| !matches!(error, Error::Api(error) if matches!(&**error, kube::Error::Api(status) if status.code == 404)))
            .notify(|error, wait| tracing::warn!(entry = name, %error, ?wait, ?outcome, "what came of an order could not be written yet"))
            .await
    }

    /// Deletes the entries that need not be kept, in the background: nobody waits for that, and what isn't done is done the next time.
    pub fn prune(&self, entries: &[RedisUpgrade], now: Timestamp) {
        for entry in retention::prunable(entries, now) {
            let unchanged = Preconditions { resource_version: entry.resource_version(), uid: entry.uid() };
            let params = DeleteParams { preconditions: Some(unchanged), ..DeleteParams::default() };
            let (api, name) = (self.api.clone(), entry.name_any());
            tokio::spawn(async move {
                pass(Point::BeforePrune, &name);
                let deleted = within(CALL, api.delete(&name, &params)).await;
                pass(Point::Pruned, &name);
                if let Err(error) = deleted.map_err(Error::from) {
                    tracing::info!(entry = name, %error, "an old entry could not be deleted; it is tried again");
                }
            });
        }
    }

    /// A merge, so that fields which this version doesn't know stay; with the resourceVersion, so that nothing written meanwhile is lost.
    async fn patch_status(&self, entry: &RedisUpgrade, status: &RedisUpgradeStatus) -> Result<RedisUpgrade, Error> {
        let mut patch = json!({ "metadata": { "resourceVersion": entry.resource_version() }, "status": status });
        // A merge takes away only what is named as null.
        if status.error.is_none() {
            patch["status"]["error"] = Value::Null;
        }
        if status.settled_at.is_none() {
            patch["status"]["settledAt"] = Value::Null;
        }
        let patched =
            within(CALL, self.api.patch_status(&entry.name_any(), &PatchParams::default(), &Patch::Merge(patch)))
                .await?;
        self.cache.put(patched.clone());
        Ok(patched)
    }
}
