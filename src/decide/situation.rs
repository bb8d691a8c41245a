//! What is known when one instance is due.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Health, Verdict, codes};
use crate::{
    api::{Failure, Mode, RedisInstance, RedisUpgrade},
    cloud::{CloudError, Dated, DealState, Dialect, Instance},
};

/// What is known when one instance is due.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub instance: &'a RedisInstance,
    /// The other `RedisInstance` that owns this redisId (invariant B8).
    pub owner: Option<Owner<'a>>,
    /// The entries of the account book for this redisId, lowest number first.
    pub entries: &'a [RedisUpgrade],
    pub seen: &'a Seen,
    /// The deal that was asked for last, if one was.
    pub deal: Option<&'a Deal>,
    /// resourceVersion of the Secret.
    pub secret_version: &'a str,
    /// The account's balance was too low for an order: none is tried before this moment.
    pub balance_low_until: Option<Timestamp>,
    /// The look was made since something was to be done.
    pub due: bool,
    /// The cloud's time, as far as known.
    pub now: Timestamp,
    /// What the API calls what is asked of it.
    pub dialect: Dialect,
}

/// The `RedisInstance` that comes first of several on the same instance.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// namespace/name.
    pub name: &'a str,
    /// It could observe the instance. Else that isn't known yet: it may turn out not to stand in the way.
    pub is_sure: bool,
}

/// What the cloud said of a deal.
#[derive(Clone, Debug, PartialEq)]
pub struct Deal {
    pub id: String,
    /// `None`: the cloud knows no such deal, or could not be asked.
    pub state: Option<DealState>,
    /// Why it could not be asked: action, code and name.
    pub trouble: Option<String>,
    pub at: Timestamp,
}

/// What the cloud showed of an instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nobody has looked yet.
    NotYet {
        /// For so long that it should be said: [`super::FIRST_LOOK`].
        long: bool,
    },
    Instance(Dated<Instance>),
    /// The cloud was asked for this very instance and has none (invariant B10).
    Absent(Timestamp),
    Failed(LookFailure),
}

/// Why an instance could not be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct LookFailure {
    pub cause: LookError,
    /// It has failed for three resyncs or more.
    pub lasting: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LookError {
    /// There are no usable credentials; a sentence that says what to do.
    Credentials(String),
    Cloud(CloudError),
}

impl LookFailure {
    /// Does it lead to the same as another one? (Each try may fail in its own words.)
    pub fn is_like(&self, other: &Self) -> bool {
        self.lasting == other.lasting
            && match (&self.cause, &other.cause) {
                (LookError::Cloud(one), LookError::Cloud(two)) => {
                    one.code == two.code
                        && one.cloud_code == two.cloud_code
                        && codes::read_trouble(one) == codes::read_trouble(two)
                }
                (one, two) => one == two,
            }
    }

    /// Somebody must act before a look can succeed.
    pub fn is_final(&self) -> bool {
        match &self.cause {
            LookError::Credentials(_) => true,
            LookError::Cloud(error) => {
                matches!(codes::read_trouble(error), codes::ReadTrouble::Credentials | codes::ReadTrouble::Refused)
            }
        }
    }
}

impl<'a> Situation<'a> {
    pub(super) fn redis_id(&self) -> &'a str {
        &self.instance.spec.redis_id
    }

    pub(super) fn desired(&self) -> i64 {
        self.instance.spec.mem_size
    }

    pub(super) fn secret(&self) -> &'a str {
        &self.instance.spec.credentials_secret_ref.name
    }

    /// Nothing has been told of it yet.
    pub(super) fn is_untold(&self) -> bool {
        self.instance.status.as_ref().is_none_or(|status| status.conditions.is_empty())
    }

    /// The spec was changed since the status was written, to more than the instance had then.
    pub(super) fn has_new_work(&self) -> bool {
        self.instance.status.as_ref().is_some_and(|status| {
            status.observed_generation != self.instance.metadata.generation && status.mem_size < Some(self.desired())
        }) && !self.observes()
    }

    pub(super) fn observes(&self) -> bool {
        self.instance.spec.mode == Mode::Observe
    }

    /// The status says, of the present spec, that it is `Reconciling` or `Stalled` for this reason.
    pub(super) fn is_told(&self, kind: &str, reason: &str) -> bool {
        let conditions = self.instance.status.iter().flat_map(|status| &status.conditions);
        conditions.filter(|condition| condition.type_ == kind && condition.reason == reason).any(|condition| {
            condition.status == "True" && condition.observed_generation == self.instance.metadata.generation
        })
    }

    /// The other API said that.
    pub(super) fn is_of_the_other_api(&self, error: &Failure) -> bool {
        error.action != self.dialect.upgrade
    }

    /// That entry was written for just this object and spec.
    pub(super) fn is_for(&self, entry: &RedisUpgrade) -> bool {
        let (demand, asked_for) = (&self.instance.metadata, &entry.spec.instance_ref);
        Some(&asked_for.uid) == demand.uid.as_ref() && Some(asked_for.generation) == demand.generation
    }

    /// It has been Ready at its present generation.
    pub(super) fn was_ready(&self) -> bool {
        let ready = self.instance.status.as_ref().and_then(|status| status.ready_generation);
        ready.is_some() && ready == self.instance.metadata.generation
    }

    /// Stalled for a reason that the operator found itself, named as the cloud would.
    pub(super) fn found(&self, code: i64, name: &str, message: String) -> Verdict {
        let error = Failure {
            code: Some(code),
            cloud_code: None,
            code_desc: name.into(),
            message: message.clone(),
            action: match code {
                10703 | 11057 | 100_207 => self.dialect.upgrade,
                _ => self.dialect.describe,
            }
            .into(),
            time: Time(self.now),
        };
        Verdict { health: Health::Stalled, reason: name.into(), message, error: Some(error) }
    }
}
