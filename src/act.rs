//! Carries a decision out: on a book that was read consistently and a fresh look, in the order that invariant B2 asks for.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, Client, ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::{Instant, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{InstanceRef, PROCEED_AFTER, Phase, REQUESTED_AT, RedisInstance, RedisUpgrade},
    balance::Balances,
    book::{self, Book, Ledger, Outcome, SendPermit},
    calls::{self, Calls, UPGRADE},
    cloud::{Caller, CloudError, Dated, ErrorKind, Instance},
    decide::{self, Decision, LookError, LookFailure, NEVER_SENT, Policy, Seen, Situation, Step, decide},
    report::Reporter,
    telemetry::Metrics,
    wakes::Wakes,
};

/// A reconcile needn't wait longer for an order's end: that goes on by itself, and the book tells.
const ORDER_WAIT: Duration = Duration::from_secs(15);
/// The range of sizes is a help in a message, no more.
const RANGE_WAIT: Duration = Duration::from_secs(5);
/// One call of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// More steps than these in one go would be a fault of the policy.
const STEPS: usize = 5;

/// One instance that is due.
pub struct Subject<'a> {
    pub instance: &'a Arc<RedisInstance>,
    pub caller: &'a Caller,
    /// resourceVersion of the Secret.
    pub secret_version: &'a str,
}

/// What was found and decided, after all steps.
pub struct Done {
    pub entries: Vec<RedisUpgrade>,
    pub seen: Seen,
    pub decision: Decision,
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A limit says so.
    #[error("come back in {0:?}")]
    Wait(Duration),
    #[error("the account book: {0}")]
    Book(#[from] book::Error),
    /// What was watched is not what is declared: the watch is about to say so.
    #[error("the RedisInstance has changed meanwhile")]
    Changed,
    #[error("the RedisInstance could not be read once more before its order: {0}")]
    Api(String),
}

#[derive(Clone)]
pub struct Actor {
    pub client: Client,
    pub book: Book,
    pub calls: Calls,
    pub policy: Policy,
    pub reporter: Reporter,
    pub balances: Arc<Balances>,
    pub metrics: Arc<Metrics>,
    pub wakes: Wakes,
    /// Orders under way. They run to their end, whatever becomes of the reconcile that wrote them.
    pub orders: TaskTracker,
    /// After it is cancelled nothing new is written (invariant B3).
    pub stopping: CancellationToken,
}

impl Actor {
    /// Reads the book, looks afresh, decides, and takes the steps that come of it. `ordering`: an order is expected, so its share of the
    /// limit is taken before anything is read for it.
    pub async fn carry_out(&self, subject: &Subject<'_>, ordering: bool) -> Result<Done, Trouble> {
        let redis_id = &subject.instance.spec.redis_id;
        let reserved = match ordering {
            true => self.calls.reserve_order_and_look(subject.caller),
            false => self.calls.reserve_look(subject.caller),
        };
        reserved.map_err(Trouble::Wait)?;
        let ledger = self.book.read(redis_id).await?;
        let seen = match self.calls.find_reserved(subject.caller, redis_id).await {
            Ok(Dated { value: Some(value), at }) => Seen::Instance(Dated { value, at }),
            Ok(Dated { value: None, at }) => Seen::Absent(at),
            Err(error) => Seen::Failed(LookFailure { cause: LookError::Cloud(error), lasting: false }),
        };
        let mut entries = ledger.entries.clone();
        let mut deal = None;
        let mut ordered = false;
        for _ in 0..STEPS {
            let decision = decide(&self.policy, &self.situation(subject, &entries, &seen, deal.as_ref()));
            match decision.step.clone() {
                Some(Step::Order { from, to }) if !ordered && !self.stopping.is_cancelled() => {
                    let Seen::Instance(look) = &seen else { break };
                    if !ordering {
                        // Its own wait is over, or something else was; its account may still be waiting for money.
                        let object = ObjectRef::from_obj(&**subject.instance);
                        if let Some(until) = self.balances.closed_until(&subject.caller.account, &object) {
                            let until = moment(self.calls.now(), until.saturating_duration_since(Instant::now()));
                            let situation = self.situation(subject, &entries, &seen, deal.as_ref());
                            let decision =
                                decide(&self.policy, &Situation { balance_low_until: Some(until), ..situation });
                            if decision.step.is_none() {
                                return Ok(Done { entries, seen, decision });
                            }
                        }
                        self.calls.reserve_order(subject.caller).map_err(Trouble::Wait)?;
                    }
                    let entry = self.order(subject, &ledger, look, (from, to), &entries, &seen).await?;
                    entries.push(entry);
                    ordered = true;
                }
                Some(Step::AskDeal { deal_id, .. }) if deal.is_none() => {
                    deal = match self.calls.deal(subject.caller, &deal_id).await {
                        Ok(answer) => Some(answer),
                        Err(calls::Trouble::Wait(wait)) => return Err(Trouble::Wait(wait)),
                        Err(calls::Trouble::Cloud(error)) => {
                            tracing::warn!(redis_id, deal_id, %error, "the cloud could not be asked what became of a deal");
                            Some(Dated { value: None, at: self.calls.now() })
                        }
                    };
                }
                Some(Step::MarkDelivered { entry, at }) => {
                    self.advance(subject, &mut entries, &entry, Outcome::Delivered { at }).await?;
                }
                Some(Step::Settle { entry, phase, at, evidence, error }) => {
                    self.advance(subject, &mut entries, &entry, Outcome::Settled { phase, at, evidence, error })
                        .await?;
                }
                _ => {
                    if let Seen::Instance(Dated { at, .. }) | Seen::Absent(at) = &seen {
                        self.book.prune(&entries, *at).await;
                    }
                    return Ok(Done { entries, seen, decision });
                }
            }
        }
        let decision = decide(&self.policy, &self.situation(subject, &entries, &seen, deal.as_ref()));
        Ok(Done { entries, seen, decision: Decision { step: None, ..decision } })
    }

    fn situation<'a>(
        &self,
        subject: &'a Subject<'_>,
        entries: &'a [RedisUpgrade],
        seen: &'a Seen,
        deal: Option<&'a Dated<Option<crate::cloud::DealState>>>,
    ) -> Situation<'a> {
        Situation {
            instance: subject.instance,
            owner: None,
            entries,
            seen,
            deal,
            secret_version: Some(subject.secret_version),
            balance_low_until: None,
            now: self.calls.now(),
        }
    }

    /// Notes in the book what a look has shown of an entry.
    async fn advance(
        &self,
        subject: &Subject<'_>,
        entries: &mut [RedisUpgrade],
        name: &str,
        outcome: Outcome,
    ) -> Result<(), Trouble> {
        let Some(entry) = entries.iter_mut().find(|entry| entry.name_any() == name) else { return Ok(()) };
        let before = entry.phase();
        *entry = self.book.advance(entry, &outcome).await?;
        if entry.phase() != before {
            self.announce(subject.instance, entry);
        }
        Ok(())
    }

    /// Writes the next entry and sends its order, whose share of the limit was taken before. What is returned is the entry as far as it got.
    async fn order(
        &self,
        subject: &Subject<'_>,
        ledger: &Ledger,
        look: &Dated<Instance>,
        (from, to): (i64, i64),
        entries: &[RedisUpgrade],
        seen: &Seen,
    ) -> Result<RedisUpgrade, Trouble> {
        let instance = subject.instance;
        self.confirm(instance).await?;
        let order = book::Order {
            region: instance.spec.region.clone(),
            from,
            to,
            signed_at: look.at,
            instance_ref: instance_ref(instance, subject.secret_version),
        };
        let (entry, permit) = self.book.write(ledger, order).await?;
        let sending = self.orders.spawn(self.clone().send(
            instance.clone(),
            subject.caller.clone(),
            look.value.clone(),
            entry.clone(),
            permit,
        ));
        self.announce(instance, &entry);
        let told = async {
            let so_far: Vec<_> = entries.iter().cloned().chain([entry.clone()]).collect();
            let ordering = decide(&self.policy, &self.situation(subject, &so_far, seen, None));
            self.reporter.status(instance, &so_far, seen, &ordering.verdict, false).await
        };
        let (sent, told) = tokio::join!(timeout(ORDER_WAIT, sending), told);
        if let Err(error) = told {
            tracing::debug!(entry = entry.name_any(), %error, "the status could not be written yet");
        }
        Ok(match sent {
            Ok(Ok(Some(entry))) => entry,
            _ => entry,
        })
    }

    /// The watch may be late, and the look has taken its time: money is spent only on what is declared now.
    async fn confirm(&self, watched: &RedisInstance) -> Result<(), Trouble> {
        let api: Api<RedisInstance> = Api::namespaced(self.client.clone(), &watched.namespace().unwrap_or_default());
        let now = match timeout(CALL_TIMEOUT, api.get_opt(&watched.name_any())).await {
            Ok(Ok(now)) => now,
            Ok(Err(error)) => return Err(Trouble::Api(error.to_string())),
            Err(_) => return Err(Trouble::Api("the API server did not answer in time".into())),
        };
        now.is_some_and(|now| declares_the_same(watched, &now)).then_some(()).ok_or(Trouble::Changed)
    }

    /// Sends an order, once, and writes down what came of it. Returns the entry as it stands then, if it could be written.
    async fn send(
        self,
        instance: Arc<RedisInstance>,
        caller: Caller,
        look: Instance,
        entry: RedisUpgrade,
        permit: SendPermit,
    ) -> Option<RedisUpgrade> {
        let name = entry.name_any();
        let sent = self.calls.upgrade(&caller, permit).await;
        match &sent {
            Ok(Dated { value, .. }) => {
                tracing::info!(
                    entry = name,
                    deal_id = value.deal_id,
                    from = entry.spec.from,
                    to = entry.spec.to,
                    "the cloud accepted the order"
                );
            }
            Err(error) => tracing::warn!(entry = name, %error, "the order was not accepted"),
        }
        let outcome = self.outcome(&caller, &look, sent).await;
        match &outcome {
            Outcome::Refused { error, .. } if decide::is_balance(error.code) => self.balances.refused(&caller.account),
            Outcome::Accepted { .. } => self.wakes.wake(self.balances.opened(&caller.account)),
            _ => {}
        }
        match self.book.record(&entry, &outcome).await {
            Ok(entry) => {
                match outcome {
                    Outcome::Unknown { .. } => self.metrics.upgrade("unknown"),
                    _ => self.announce(&instance, &entry),
                }
                self.wakes.wake([ObjectRef::from_obj(&*instance)]);
                Some(entry)
            }
            Err(error) => {
                tracing::error!(entry = name, ?outcome, %error, "what came of an order could not be written into the book");
                None
            }
        }
    }

    async fn outcome(
        &self,
        caller: &Caller,
        look: &Instance,
        sent: Result<Dated<crate::cloud::Accepted>, CloudError>,
    ) -> Outcome {
        let error = match sent {
            Ok(Dated { value, at }) => return Outcome::Accepted { accepted: value, at },
            Err(error) => error,
        };
        let at = error.at.unwrap_or_else(|| self.calls.now());
        let mut failure = decide::failure(&error, UPGRADE, at);
        match error.kind {
            ErrorKind::NotSent => {
                failure.code_desc = NEVER_SENT.into();
                Outcome::NeverSent { error: failure, at }
            }
            _ if decide::is_plain_refusal(&error) => {
                if let Some(10703 | 11063) = error.code {
                    failure.message = format!("{} {}", failure.message, self.sizes_sold(caller, look).await);
                }
                Outcome::Refused { error: failure, at }
            }
            _ => Outcome::Unknown { error: failure },
        }
    }

    /// A sentence about the sizes that can be bought for an instance.
    async fn sizes_sold(&self, caller: &Caller, look: &Instance) -> String {
        match timeout(RANGE_WAIT, self.calls.sizes(caller, look)).await {
            Ok(Ok(Dated { value: Some(range), .. })) => {
                format!("Sizes sold for this instance: {} to {} MB, in steps of 1024.", range.min, range.max)
            }
            Ok(Ok(Dated { value: None, .. })) => {
                "No other size is sold for an instance of this type in this zone.".into()
            }
            _ => "The sizes sold for this instance can't be asked for now.".into(),
        }
    }

    fn announce(&self, instance: &RedisInstance, entry: &RedisUpgrade) {
        self.metrics.upgrade(match entry.phase() {
            Phase::Written => "written",
            Phase::Placed => "placed",
            Phase::Fulfilled => "fulfilled",
            Phase::Failed => "failed",
            Phase::Refused => "refused",
            Phase::Abandoned => "abandoned",
        });
        self.reporter.upgrade_event(instance, entry);
    }
}

/// The same object, still wanted, with the same spec and the same word of a person about its book.
fn declares_the_same(watched: &RedisInstance, now: &RedisInstance) -> bool {
    now.metadata.deletion_timestamp.is_none()
        && now.metadata.uid == watched.metadata.uid
        && now.metadata.generation == watched.metadata.generation
        && now.annotations().get(PROCEED_AFTER) == watched.annotations().get(PROCEED_AFTER)
}

fn instance_ref(instance: &RedisInstance, secret_version: &str) -> InstanceRef {
    let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
    InstanceRef {
        path: format!("{namespace}/{name}"),
        namespace,
        name,
        uid: instance.uid().unwrap_or_default(),
        generation: instance.metadata.generation.unwrap_or_default(),
        requested_at: instance.annotations().get(REQUESTED_AT).map(|asked| asked.chars().take(256).collect()),
        secret_version: Some(secret_version.to_owned()),
    }
}

/// The moment of the cloud's clock that is `wait` from now.
pub fn moment(now: Timestamp, wait: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing;

    #[test]
    fn only_what_is_declared_now_is_ordered() {
        let watched = testing::instance("sessions", "a", 2048);
        let edited = |edit: fn(&mut RedisInstance)| {
            let mut now = watched.clone();
            edit(&mut now);
            declares_the_same(&watched, &now)
        };
        assert!(edited(|_| {}));
        assert!(edited(|now| {
            now.metadata.resource_version = Some("9".into());
            now.labels_mut().insert("team".into(), "shop".into());
        }));
        assert!(!edited(|now| now.metadata.generation = Some(99)));
        assert!(!edited(|now| now.metadata.uid = Some("b".into())));
        assert!(!edited(|now| now.metadata.deletion_timestamp = Some(testing::at(1))));
        assert!(!edited(|now| {
            now.annotations_mut().insert(PROCEED_AFTER.into(), "crs-1-1".into());
        }));
    }
}
