//! The cloud as the operator sees it: plain types and one trait. Knows no Kubernetes.

#[cfg(feature = "benchmarks")]
pub(crate) mod benchmarks;
mod clock;
pub mod codes;
mod digest;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
pub mod limits;
mod listing;
pub mod regions;
#[cfg(test)]
mod testing;
mod text;
mod transport;
pub mod v2;
pub mod v3;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::book::SendPermit;

use digest::hex;

pub use clock::{CloudClock, Jump, is_far};
pub use codes::{Meaning, meaning};
pub(crate) use text::one_line;
pub use transport::EndpointError;

/// Who asks. The parts that must stay secret can't be printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub secret_id: String,
    pub secret_key: SecretString,
    /// Of temporary credentials.
    pub token: Option<SecretString>,
}

/// Tells accounts apart by proof: nobody shares what was read through a SecretId that they can't sign for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(Arc<str>);

impl Account {
    pub fn of(credentials: &Credentials) -> Self {
        let Credentials { secret_id, secret_key, token } = credentials;
        let token = token.as_ref().map_or("", |token| token.expose_secret());
        let mut proof = Sha256::new();
        for part in [secret_id.as_str(), secret_key.expose_secret(), token] {
            proof.update((part.len() as u64).to_be_bytes());
            proof.update(part);
        }
        let proof: [u8; 32] = proof.finalize().into();
        Self(hex(proof.first_chunk::<16>().unwrap_or(&[0; 16])).into())
    }
}

/// Who asks, and about which region (as the user wrote it: short or long form).
#[derive(Clone, Debug)]
pub struct Caller {
    pub credentials: Arc<Credentials>,
    pub account: Account,
    pub region: String,
}

impl Caller {
    pub fn new(credentials: impl Into<Arc<Credentials>>, region: String) -> Self {
        let credentials = credentials.into();
        Self { account: Account::of(&credentials), credentials, region }
    }
}

/// A value and the time at which the cloud said it, by the cloud's own clock (the `Date` of that answer, whole seconds).
#[derive(Clone, Debug, PartialEq)]
pub struct Dated<T> {
    pub value: T,
    pub at: Timestamp,
}

/// State of an instance (260/1384: `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    Initializing,
    InProcess,
    Running,
    Isolated,
    /// A state that the documents don't name, as it came.
    Unknown(i64),
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initializing => f.write_str("Initializing"),
            Self::InProcess => f.write_str("InProcess"),
            Self::Running => f.write_str("Running"),
            Self::Isolated => f.write_str("Isolated"),
            Self::Unknown(number) => write!(f, "Unknown({number})"),
        }
    }
}

/// One instance, as the cloud shows it (260/1384; 3.0: DescribeInstances).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub redis_id: String,
    pub state: InstanceState,
    /// MB of the whole instance, at least 1.
    pub size: i64,
    pub zone_id: Option<i64>,
    /// Version 2: 1 cluster, 2 standalone. 3.0: 6, 8, 15, 17 standard, 7, 9, 16, 18 cluster.
    pub type_id: Option<i64>,
    /// Of 3.0 alone: what an order passes as it is, and what is sold depends on.
    pub layout: Layout,
}

/// How an instance is laid out. Version 2 says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// 1 to 1024. Each has the same part of the size.
    pub shards: Option<i64>,
    /// Of each shard.
    pub replicas: Option<i64>,
    /// 0 postpaid, 1 prepaid.
    pub billing_mode: Option<i64>,
}

/// Sizes come in whole GB, here in MB: of the whole instance in version 2 (239/5328), of each shard in 3.0.
pub const STEP: i64 = 1024;

impl Instance {
    /// An order's size is a multiple of this, MB.
    pub fn step(&self) -> i64 {
        STEP * self.shards()
    }

    pub fn shards(&self) -> i64 {
        self.layout.shards.unwrap_or(1)
    }
}

/// A part of the list of an account's instances in one region.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// From which row on the list goes on, if it does.
    pub next: Option<usize>,
    pub instances: Vec<Instance>,
    /// Rows that could not be trusted, one sentence each (bounded).
    pub doubts: Vec<String>,
}

/// An order that the cloud took, by the numbers of its deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The deal's name where 3.0 gives no id any more.
    pub deal_id: String,
    /// The long one, that the vendor's support asks for. Only 3.0 has it.
    pub deal_name: Option<String>,
}

/// State of a deal (260/5329: `status`), as far as it tells something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DealState {
    /// 1 unpaid, 2 paid, 3 delivering, 12 paying, and what the documents don't name.
    Pending(i64),
    /// 4.
    Delivered,
    /// 5 delivery failed, 6 refunded, 7 closed, 8 expired, 9 and 10 invalidated, 11 payment refused.
    Failed(i64),
}

/// The sizes that can be bought for an instance like this, MB of the whole instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizesSold {
    /// From one to the other, in steps (260/4974).
    Range { min: i64, max: i64 },
    /// Just these, smallest first (3.0: DescribeProductInfo).
    List(Vec<SoldSize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoldSize {
    pub size: i64,
    /// The cloud has none left.
    pub sold_out: bool,
}

/// What an upgrade costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// In 0.01 of the currency: fen of CNY.
    pub hundredths: i64,
    /// Three letters: CNY, and for international accounts USD.
    pub currency: String,
}

/// What the two APIs do differently, and people are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// An order for less than the instance has is carried out.
    pub shrinks: bool,
    // The names of actions.
    pub describe: &'static str,
    pub upgrade: &'static str,
    pub deal: &'static str,
    pub products: &'static str,
}

/// What went wrong, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The cloud answered with an error code, and means this by it.
    Code(Meaning),
    /// No answer, an HTTP status other than 200, or one that can't be read or trusted: nothing is known of what the cloud did.
    NoAnswer,
    /// The operator did not send the request: nothing has happened.
    NotSent,
}

/// A call that failed. Its texts are one line, bounded, and free of secrets, signatures, request ids and URLs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {message}", self.code_and_name())]
pub struct CloudError {
    pub kind: ErrorKind,
    /// Number of the version-2 table (239/1757, 239/1758), or the one that a name of 3.0 mirrors; of a code in brackets at the head of the
    /// message if there is one.
    pub code: Option<i64>,
    /// The code that `code` was read from, as the cloud wrote it.
    pub cloud_code: Option<String>,
    /// Last part of the cloud's `codeDesc` for that code (3.0: of the code itself), the documented name where the answer has none; for [`ErrorKind::NoAnswer`] and
    /// [`ErrorKind::NotSent`] a word of ours: `Timeout`, `ConnectFailed`, `ConnectionLost`, `HttpStatus`, `Unreadable`, `TooLong`, `Doubtful`, `TooLate`.
    pub code_desc: String,
    /// At most 300 characters.
    pub message: String,
    /// The `Date` of the answer, if there was one.
    pub at: Option<Timestamp>,
}

impl CloudError {
    /// Nothing is known of what the cloud did; `word` is one of those that [`Self::code_desc`] lists.
    pub(crate) fn no_answer(word: &str, message: impl Into<String>) -> Self {
        let kind = ErrorKind::NoAnswer;
        Self { kind, code: None, cloud_code: None, code_desc: word.to_owned(), message: message.into(), at: None }
    }

    /// What the cloud's answer means; `None` without one.
    pub fn meaning(&self) -> Option<Meaning> {
        match self.kind {
            ErrorKind::Code(meaning) => Some(meaning),
            ErrorKind::NoAnswer | ErrorKind::NotSent => None,
        }
    }

    /// Did the cloud refuse an order for sure?
    pub fn is_plain_refusal(&self) -> bool {
        self.meaning().is_some_and(Meaning::is_plain_refusal)
    }

    /// Was the request refused for what it is? Asked again just so, it would be again: to be throttled passes.
    pub fn is_lasting_refusal(&self) -> bool {
        self.is_plain_refusal() && self.meaning() != Some(Meaning::Throttled)
    }

    /// For a sentence.
    pub fn code_and_name(&self) -> String {
        codes::told(self.cloud_code.as_deref(), &self.code_desc)
    }

    /// Nothing has happened; `word` as above.
    fn not_sent(word: &str, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotSent, ..Self::no_answer(word, message) }
    }
}

/// One generation of the cloud's API.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    fn dialect(&self) -> Dialect;

    /// Name or address of the host that is called; empty where none is.
    fn host(&self) -> &str {
        ""
    }

    /// One page of all instances of the account in the region, from the row number `offset` (from 0) on.
    async fn list(&self, caller: &Caller, offset: usize) -> Result<Dated<Page>, CloudError>;

    /// How many instances [`Self::list_some`] may be asked for; 0 where the API can't.
    fn most_ids(&self) -> usize {
        0
    }

    /// Those of these instances that the cloud shows, also where a list without ids doesn't show them. (One that is missing is still no proof
    /// of absence.)
    async fn list_some(&self, _caller: &Caller, _redis_ids: &[String]) -> Result<Dated<Page>, CloudError> {
        Err(CloudError::not_sent("Doubtful", "this API has no list by ids"))
    }

    /// One instance; `None` when the cloud says that there is none (an empty list, or 10701). An answer that shows another
    /// instance, or this one twice, or a size that is no size, is an error of kind [`ErrorKind::NoAnswer`], `Doubtful`.
    async fn find(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError>;

    /// **Spends money.** Orders what the permit's entry says: sent once, in no layer repeated; not at all after `send_before`. `look` is the
    /// instance in the look that called for it: what else an order has to name is taken from there.
    async fn upgrade(
        &self,
        caller: &Caller,
        look: &Instance,
        permit: SendPermit,
    ) -> Result<Dated<Accepted>, CloudError>;

    /// Fee of an upgrade; refuses what the order would be refused for, but for the balance (260/5327).
    async fn upgrade_price(&self, caller: &Caller, look: &Instance, mem_size: i64) -> Result<Dated<Price>, CloudError>;

    /// Sizes sold for an instance like this; `None` when none are.
    async fn sizes(&self, caller: &Caller, look: &Instance) -> Result<Dated<Option<SizesSold>>, CloudError>;

    /// State of the deal of an accepted order; `None` when the cloud doesn't know it (11059).
    async fn deal(&self, caller: &Caller, order: &Accepted) -> Result<Dated<Option<DealState>>, CloudError>;

    /// The cloud's time, as its answers have told it.
    fn clock(&self) -> &CloudClock;
}
