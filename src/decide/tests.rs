//! The policy against its documents: row by row, as properties of random books and looks, and driven to its end in virtual time.

mod drive;
mod errors;
mod properties;
mod sizes;
mod unsettled;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Deal, Decision, Health, LookError, LookFailure, Owner, Policy, Seen, Situation, Step, decide};
use crate::{
    api::{
        RedisInstance, RedisUpgrade, RedisUpgradeStatus,
        testing::{self, at},
    },
    cloud::{
        Accepted, CloudError, Dated, DealState, Dialect, ErrorKind, Instance, InstanceState, Layout, meaning,
        v2::DIALECT,
    },
};

const REQUESTED_AT: &str = "crs.qcloud.com/requestedAt";
const PROCEED_AFTER: &str = "crs.qcloud.com/proceed-after";

const LAG: i64 = 60;
const LIFETIME: i64 = 330;
/// The second at which the orders of these tests were signed.
const SIGNED: i64 = 1_000_000;
/// The last second at which such an order may still come, and not show.
const DEAD: i64 = SIGNED + LIFETIME + LAG;

/// All that `decide` is told, owned.
#[derive(Clone, Debug)]
struct Case {
    policy: Policy,
    instance: RedisInstance,
    owner: Option<String>,
    entries: Vec<RedisUpgrade>,
    seen: Seen,
    deal: Option<Deal>,
    layout: Layout,
    dialect: Dialect,
    secret_version: String,
    balance_low_until: Option<Timestamp>,
    now: Timestamp,
}

fn order(deal_id: &str) -> Accepted {
    Accepted { deal_id: deal_id.into(), deal_name: None }
}

/// An instance that should have so many MB; nobody has looked, and the book is empty.
fn wants(mem_size: i64) -> Case {
    Case {
        policy: Policy {
            lag: SignedDuration::from_secs(LAG),
            lifetime: SignedDuration::from_secs(LIFETIME),
            resync: Duration::from_secs(60),
            active: Duration::from_secs(2),
        },
        instance: testing::instance("sessions", "uid", mem_size),
        owner: None,
        entries: Vec::new(),
        seen: Seen::NotYet { long: false },
        deal: None,
        layout: Layout::default(),
        dialect: DIALECT,
        secret_version: "1".into(),
        balance_low_until: None,
        now: at(SIGNED).0,
    }
}

impl Case {
    fn decide(&self) -> Decision {
        decide(&self.policy, &self.situation())
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            instance: &self.instance,
            owner: self.owner.as_deref().map(|name| Owner { name, is_sure: true }),
            entries: &self.entries,
            seen: &self.seen,
            deal: self.deal.as_ref(),
            secret_version: &self.secret_version,
            balance_low_until: self.balance_low_until,
            due: false,
            now: self.now,
            dialect: self.dialect,
        }
    }

    /// A look of that second shows the instance so.
    fn sees(self, state: InstanceState, size: i64, second: i64) -> Self {
        let (redis_id, layout) = ("crs-1".into(), self.layout);
        let value = Instance { redis_id, state, size, zone_id: None, type_id: None, layout };
        let now = at(second).0;
        Self { seen: Seen::Instance(Dated { value, at: now }), now, ..self }
    }

    fn runs(self, size: i64, second: i64) -> Self {
        self.sees(InstanceState::Running, size, second)
    }

    fn absent(self, second: i64) -> Self {
        Self { seen: Seen::Absent(at(second).0), now: at(second).0, ..self }
    }

    /// A look has failed with this code, or without an answer.
    fn fails(self, code: Option<i64>, lasting: bool) -> Self {
        let error = CloudError {
            kind: code.map_or(ErrorKind::NoAnswer, |number| ErrorKind::Code(meaning(Some(number), None))),
            code,
            cloud_code: code.map(|code| code.to_string()),
            code_desc: "SomeCode".into(),
            message: "The cloud says no.".into(),
            at: None,
        };
        Self { seen: Seen::Failed(LookFailure { cause: LookError::Cloud(error), lasting }), ..self }
    }

    /// The next entry of the book.
    fn entry(mut self, from: i64, to: i64, status: RedisUpgradeStatus) -> Self {
        let number = self.entries.len() as u64 + 1;
        self.entries.push(testing::entry(number, from, to, SIGNED, status));
        self
    }

    /// Deal 4711 was asked for at that second.
    fn deal(self, state: Option<DealState>, second: i64) -> Self {
        Self { deal: Some(Deal { id: "4711".into(), state, trouble: None, at: at(second).0 }), ..self }
    }

    /// A cluster of so many shards.
    fn sharded(mut self, shards: i64) -> Self {
        self.layout.shards = Some(shards);
        if let Seen::Instance(look) = &mut self.seen {
            look.value.layout = self.layout;
        }
        self
    }

    fn annotated(mut self, key: &str, value: &str) -> Self {
        self.instance.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    fn generation(mut self, generation: i64) -> Self {
        self.instance.metadata.generation = Some(generation);
        self
    }

    fn observes(mut self) -> Self {
        self.instance.spec.mode = crate::api::Mode::Observe;
        self
    }

    /// Checks health and reason, and that nothing is done; returns when it is looked at again, in seconds after [`SIGNED`].
    #[track_caller]
    fn rests(&self, health: Health, reason: &str) -> Option<i64> {
        let decision = self.decide();
        let verdict = &decision.verdict;
        assert_eq!(
            (verdict.health, verdict.reason.as_str(), &decision.step),
            (health, reason, &None),
            "{}",
            verdict.message
        );
        decision.again.map(|again| again.as_second() - SIGNED)
    }

    #[track_caller]
    fn orders(&self, from: i64, to: i64) {
        let decision = self.decide();
        assert_eq!(decision.step, Some(Step::Order { from, to }), "{}", decision.verdict.message);
        assert_eq!((decision.verdict.health, decision.verdict.reason.as_str()), (Health::Reconciling, "Ordering"));
    }

    /// Phase and error of the step that settles the entry; its evidence says the time of the look.
    #[track_caller]
    fn settles(&self, name: &str) -> (crate::api::Phase, Option<String>) {
        match self.decide().step {
            Some(Step::Settle { entry, phase, at: settled_at, error, .. }) => {
                assert_eq!((entry.as_str(), Some(settled_at)), (name, self.looked_at()));
                (phase, error.map(|error| error.code_desc))
            }
            other => panic!("{other:?} settles nothing"),
        }
    }

    fn looked_at(&self) -> Option<Timestamp> {
        match &self.seen {
            Seen::Instance(look) => Some(look.at),
            Seen::Absent(at) => Some(*at),
            _ => None,
        }
    }
}
