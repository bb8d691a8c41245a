//! Carries a decision out: on a book that was read consistently and a fresh look, in the order that invariant B2 asks for.

mod send;

use std::{sync::Arc, time::Duration};

use kube::{Api, Client, ResourceExt};
use opentelemetry::trace::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::send::Sending;
use crate::{
    api::{InstanceRef, PROCEED_AFTER, Phase, RedisInstance, RedisUpgrade},
    api_server::{plain, within},
    balance::Leave,
    book::{self, Book, Ledger, Outcome},
    calls::{self, Calls},
    cloud::{Accepted, Caller, Dated, Instance, Jump, is_far},
    decide::{Deal, Decision, LookError, LookFailure, Policy, Seen, Situation, Step, decide},
    failpoint::{Point, pass},
    queue::Queue,
    report::Reporter,
    telemetry::Metrics,
};

/// Shorter than an ordinary call: the look gets old.
const CONFIRM: Duration = Duration::from_secs(3);
/// When another look tells whether the first one's Date goes on evenly.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// More steps than these in one go would be a fault of the policy.
const STEPS: usize = 5;

/// One instance that is due.
pub struct Subject<'a> {
    pub instance: &'a Arc<RedisInstance>,
    pub caller: &'a Caller,
    /// resourceVersion of the Secret.
    pub secret_version: &'a str,
    /// Something is to be done for it; else somebody has asked for a look.
    pub due: bool,
}

/// What was found and decided, after all steps.
pub struct Done {
    pub entries: Vec<RedisUpgrade>,
    pub seen: Seen,
    pub decision: Decision,
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A limit says so, or what was asked could not be answered just now.
    #[error("come back in {0:?}")]
    Wait(Duration),
    #[error("the account book: {0}")]
    Book(#[from] book::Error),
    /// What was watched is not what is declared: the watch is about to say so.
    #[error("the RedisInstance has changed meanwhile")]
    Changed,
    #[error("the operator is stopping: nothing new is ordered")]
    Stopping,
    /// What was to be done rests on the time of a look that can't be trusted.
    #[error("{jump}: it must run evenly for another {left:.0?}")]
    ClockJumped { jump: Jump, left: Duration },
    /// An order isn't given up by clocks that are apart.
    #[error(
        "clocks are apart, or were when {entry} was signed: this process must have known of it for another {left:.0?}"
    )]
    ClocksApart { entry: String, left: Duration },
    #[error("the RedisInstance could not be read once more before its order: {0}")]
    Unconfirmed(String),
}

pub struct Actor {
    pub client: Client,
    pub book: Book,
    pub calls: Calls,
    pub policy: Policy,
    pub reporter: Reporter,
    pub metrics: Arc<Metrics>,
    pub queue: Queue,
    /// Orders under way. They run to their end, whatever becomes of the reconcile that wrote them.
    pub orders: TaskTracker,
    /// After it is cancelled nothing new is written (invariant B3).
    pub stopping: CancellationToken,
}

impl Actor {
    /// Reads the book, looks afresh, decides, and takes the steps that come of it. An order is only made with leave; where it comes up
    /// without, it stays in the decision for the next time.
    pub async fn carry_out(self: &Arc<Self>, subject: &Subject<'_>, mut leave: Option<Leave>) -> Result<Done, Trouble> {
        let redis_id = &subject.instance.spec.redis_id;
        let may_order = leave.is_some();
        let share = self.calls.reserve(subject.caller, redis_id, may_order, may_order && subject.due);
        let mut share = share.map_err(Trouble::Wait)?;
        pass(Point::BeforeBook, redis_id);
        let ledger = self.book.read(redis_id).await?;
        pass(Point::BookRead, redis_id);
        let seen = match self.calls.look(subject.caller, redis_id).await {
            Ok(Dated { value: Some(value), at }) => Seen::Instance(Dated { value, at }),
            Ok(Dated { value: None, at }) => Seen::Absent(at),
            Err(error) => Seen::Failed(LookFailure { cause: LookError::Cloud(error), lasting: false }),
        };
        pass(Point::Looked, redis_id);
        let mut entries = ledger.entries.clone();
        let mut deal = None;
        let mut steps = 0;
        let decision = loop {
            let decision = decide(
                &self.policy,
                &Situation {
                    instance: subject.instance,
                    owner: None,
                    entries: &entries,
                    seen: &seen,
                    deal: deal.as_ref(),
                    secret_version: subject.secret_version,
                    balance_low_until: None,
                    due: subject.due,
                    now: self.calls.now(),
                    dialect: self.calls.dialect,
                },
            );
            steps += 1;
            if let Some(step) = decision.step.as_ref().filter(|step| rests_on_time(step, &entries)) {
                self.check_clock(matches!(step, Step::Order { .. }))?;
                self.check_known(step, &entries)?;
            }
            match decision.step.clone() {
                _ if steps > STEPS => break decision,
                None => break decision,
                Some(Step::AskDeal { order, .. }) => deal = Some(self.ask_deal(subject, order).await?),
                Some(Step::MarkDelivered { entry, at }) => {
                    pass(Point::BeforeDelivered, redis_id);
                    self.advance(subject, &mut entries, &entry, Outcome::Delivered { at }).await?;
                    pass(Point::Delivered, redis_id);
                }
                Some(Step::Settle { entry, phase, at, evidence, error }) => {
                    let settled = Outcome::Settled { phase, at, evidence, error };
                    pass(Point::BeforeSettle, redis_id);
                    self.advance(subject, &mut entries, &entry, settled).await?;
                    pass(Point::Settled, redis_id);
                }
                Some(Step::Order { from, to }) => {
                    let (Some(leave), Seen::Instance(look)) = (leave.take(), &seen) else { break decision };
                    entries.push(self.order(subject, &ledger, look, (from, to), leave).await?);
                    share.used();
                }
            }
        };
        // By a Date that is wrong everything is old.
        if let Seen::Instance(Dated { at, .. }) | Seen::Absent(at) = &seen
            && self.check_clock(false).is_ok()
        {
            self.book.prune(&entries, *at);
        }
        Ok(Done { entries, seen, decision })
    }

    /// A look is late enough by its Date alone. Where one Date is not what the one before it promised, one of the two is wrong, and an order
    /// may be taken for dead that comes yet, or be signed at a time that never ends. Whatever was signed before is dead when the clock has
    /// run evenly for lifetime and lag since, by our own monotonic one. So it is from the start, too, where the clock here disagrees; but for a new
    /// order a second answer is enough then: it is signed by the cloud's clock, and mostly it is ours that is wrong.
    fn check_clock(&self, ordering: bool) -> Result<(), Trouble> {
        match self.calls.clock_jump(self.policy.open().unsigned_abs()) {
            Some((Jump { at_start: true, confirmed: true, .. }, _)) if ordering => Ok(()),
            Some((Jump { at_start: true, .. }, _)) if ordering => Err(Trouble::Wait(SECOND_LOOK)),
            Some((jump, left)) => Err(Trouble::ClockJumped { jump, left }),
            None => Ok(()),
        }
    }

    /// From a time in the book to a look's `Date` is reckoned between clocks that may be apart: of two front ends, or of one that was set while
    /// nobody watched. So this process must itself have known of the entry, as it is, for as long. For the lag, always; for lifetime and lag,
    /// which would make each restart felt, where a second witness contradicts either clock (the API server's the one by which the order
    /// was signed, this machine's the cloud's as it is now).
    fn check_known(&self, step: &Step, entries: &[RedisUpgrade]) -> Result<(), Trouble> {
        let (lag, open) = (self.policy.lag, self.policy.open());
        let rests_on = match (step, settled_entry(step, entries)) {
            // Bought before, and a person says to go on.
            (Step::Order { to, .. }, _) => entries.iter().rfind(|entry| entry.buys(*to)).map(|entry| (entry, lag)),
            (Step::Settle { phase: Phase::Failed, .. }, Some(entry)) if entry.outcome().delivered_at.is_some() => {
                Some((entry, lag))
            }
            (_, Some(entry)) if entry.phase() == Phase::Written && self.is_apart(entry) => Some((entry, open)),
            _ => None,
        };
        let Some((entry, least)) = rests_on else { return Ok(()) };
        match least.unsigned_abs().saturating_sub(self.book.known_for(entry)) {
            Duration::ZERO => Ok(()),
            left if entry.phase() == Phase::Written => Err(Trouble::ClocksApart { entry: entry.name_any(), left }),
            left => Err(Trouble::Wait(left)),
        }
    }

    fn is_apart(&self, entry: &RedisUpgrade) -> bool {
        let since_signed = entry.creation_timestamp().map(|time| time.0.duration_since(entry.spec.signed_at.0));
        since_signed.is_some_and(is_far) || self.calls.is_clock_apart()
    }

    async fn ask_deal(&self, subject: &Subject<'_>, order: Accepted) -> Result<Deal, Trouble> {
        let answer = self.calls.deal(subject.caller, &order).await;
        pass(Point::DealAsked, &subject.instance.spec.redis_id);
        let id = order.deal_id;
        match answer {
            Ok(Dated { value: state, at }) => Ok(Deal { id, state, trouble: None, at }),
            Err(calls::Trouble::Wait(wait)) => Err(Trouble::Wait(wait)),
            Err(calls::Trouble::Cloud(error)) => {
                tracing::info!(deal_id = id, %error, "the cloud could not be asked what became of a deal");
                // What passes is no news.
                if !error.is_lasting_refusal() {
                    return Err(Trouble::Wait(self.policy.active));
                }
                let trouble = Some(format!("{} {}", self.calls.dialect.deal, error.code_and_name()));
                Ok(Deal { id, state: None, trouble, at: self.calls.now() })
            }
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
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name_any() == name) {
            let (advanced, moved) = self.book.advance(entry, &outcome).await?;
            *entry = advanced;
            self.announce(subject.instance, entry, moved);
        }
        Ok(())
    }

    /// Writes the next entry, whose order is then sent, and followed to its end, in the background.
    async fn order(
        self: &Arc<Self>,
        subject: &Subject<'_>,
        ledger: &Ledger,
        look: &Dated<Instance>,
        (from, to): (i64, i64),
        leave: Leave,
    ) -> Result<RedisUpgrade, Trouble> {
        let instance = subject.instance;
        pass(Point::BeforeConfirm, &instance.spec.redis_id);
        self.confirm(instance).await?;
        if self.stopping.is_cancelled() {
            return Err(Trouble::Stopping);
        }
        let order = book::Order {
            region: instance.spec.region.clone(),
            from,
            to,
            signed_at: look.at,
            instance_ref: instance_ref(instance, subject.secret_version),
        };
        let (entry, permit) = self.book.write(ledger, order).await?;
        let sending = Sending {
            instance: instance.clone(),
            caller: subject.caller.clone(),
            look: look.value.clone(),
            entry: entry.clone(),
            leave,
        };
        // In this reconcile's trace, though it may end later.
        self.orders.spawn(self.clone().send(sending, permit).with_current_context());
        self.announce(instance, &entry, true);
        Ok(entry)
    }

    /// The watch may be late, and the look has taken its time: money is spent only on what is declared now.
    async fn confirm(&self, watched: &RedisInstance) -> Result<(), Trouble> {
        let api: Api<RedisInstance> = Api::namespaced(self.client.clone(), &watched.namespace().unwrap_or_default());
        match within(CONFIRM, api.get_opt(&watched.name_any())).await {
            Ok(Some(now)) if declares_the_same(watched, &now) => Ok(()),
            Ok(_) => Err(Trouble::Changed),
            Err(error) => Err(Trouble::Unconfirmed(plain(&error))),
        }
    }

    /// Counts and tells of an entry whose phase is another now.
    fn announce(&self, instance: &RedisInstance, entry: &RedisUpgrade, moved: bool) {
        if !moved {
            return;
        }
        let (namespace, name) = (instance.namespace(), instance.name_any());
        let (entry_name, spec, outcome) = (entry.name_any(), &entry.spec, entry.outcome());
        tracing::info!(
            namespace,
            name,
            // Of the one that asked for it: it may be gone.
            uid = spec.instance_ref.uid,
            generation = spec.instance_ref.generation,
            entry = entry_name,
            phase = %outcome.phase,
            from = spec.from,
            to = spec.to,
            signed_at = %spec.signed_at.0,
            deal_id = outcome.deal_id,
            evidence = outcome.evidence,
            replica = self.reporter.instance,
            "the book has it"
        );
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

/// That an accepted order is fulfilled is so whatever the time of the look is; all else that is written down stands or falls with that (also
/// that a size is not seen for so long after the delivery; and from the time of a failure the next try is counted).
fn rests_on_time(step: &Step, entries: &[RedisUpgrade]) -> bool {
    match step {
        Step::AskDeal { .. } => false,
        Step::Settle { phase: Phase::Fulfilled, .. } => {
            settled_entry(step, entries).is_none_or(|entry| entry.phase() != Phase::Placed)
        }
        Step::Settle { .. } | Step::Order { .. } | Step::MarkDelivered { .. } => true,
    }
}

/// The entry that a step settles.
fn settled_entry<'a>(step: &Step, entries: &'a [RedisUpgrade]) -> Option<&'a RedisUpgrade> {
    let Step::Settle { entry: name, .. } = step else { return None };
    entries.iter().find(|entry| entry.name_any() == *name)
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
        requested_at: instance.requested_at().map(str::to_owned),
        proceed_after: instance.annotations().get(PROCEED_AFTER).map(|name| name.chars().take(256).collect()),
        secret_version: Some(secret_version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing;

    #[test]
    fn only_that_an_accepted_order_is_fulfilled_does_not_rest_on_the_time_of_the_look() {
        let entries = [testing::written(), testing::placed()].map(|status| testing::entry(1, 1024, 2048, 0, status));
        let at = testing::at(9).0;
        let settle = |phase| Step::Settle { entry: "crs-1-1".into(), phase, at, evidence: String::new(), error: None };
        let order = Accepted { deal_id: "4711".into(), deal_name: None };
        assert!(rests_on_time(&Step::Order { from: 1024, to: 2048 }, &[]));
        assert!(rests_on_time(&Step::MarkDelivered { entry: "crs-1-1".into(), at }, &entries[1..]));
        assert!(rests_on_time(&settle(Phase::Fulfilled), &entries[..1]));
        assert!(!rests_on_time(&settle(Phase::Fulfilled), &entries[1..]));
        assert!(rests_on_time(&settle(Phase::Failed), &entries[1..]), "SizeNotSeen");
        assert!(!rests_on_time(&Step::AskDeal { entry: "crs-1-1".into(), order }, &entries[1..]));
    }

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
