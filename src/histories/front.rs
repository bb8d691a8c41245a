//! The cloud as a process meets it: `trait Cloud` before the [`super::vendor`], with every fault ([`super::faults`]) between the two.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::{
    broken::Broken,
    faults::{Said, code, front_end, order, slowness, strikes, trouble},
    gate::{Gate, Point, What},
    vendor::{MOST, Request},
    world::{Clock, Millis, State, World, at},
};
use crate::{
    book::SendPermit,
    cloud::{
        Accepted, Caller, Cloud, CloudClock, CloudError, Dated, DealState, Dialect, ErrorKind, Instance, InstanceState,
        Layout, Page, Price, SizesSold, v2, v3,
    },
};

pub(super) struct Front {
    pub(super) world: Arc<World>,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) who: &'static str,
    pub(super) shrinks: bool,
    /// The real one: what the operator knows of the cloud's time.
    pub(super) time: CloudClock,
}

/// A read whose Timestamp is further away is refused.
const READ_WINDOW: SignedDuration = SignedDuration::from_mins(5);

impl Front {
    /// One request that is answered: the three points, and in between what the world makes of it.
    async fn exchange<T>(
        &self,
        what: What,
        told: &str,
        apply: impl FnOnce(&mut State) -> Said<T>,
    ) -> Result<Dated<T>, CloudError> {
        let sent = Instant::now();
        self.gate.pass(what, Point::Before).await;
        let (answer, wait, dated) = {
            let now = self.clock.now();
            let mut state = self.world.at(now);
            let dated = front_end(&mut state, now, self.who, self.clock.origin());
            let (answer, wait) = apply(&mut state);
            let result = answer.as_ref().map_or_else(|error| error.code_desc.clone(), |_| "ok".to_owned());
            let off = dated.duration_since(at(now)).as_secs();
            state.note(self.who, format_args!("cloud {what:?} {told}: {result}{}{}", Waiting(wait), Off(off)));
            (answer, wait, dated)
        };
        self.gate.pass(what, Point::Applied).await;
        if wait > 0 {
            sleep(Duration::from_millis(wait)).await;
        }
        self.gate.pass(what, Point::Delivered).await;
        let word = answer.as_ref().map_or_else(|error| error.code_desc.as_str(), |_| "");
        if matches!(word, "Timeout" | "ConnectionLost" | "ConnectFailed" | "TooLate") {
            return answer.map(|value| Dated { value, at: dated });
        }
        // There was an answer with a Date, as `cloud::transport` reads it.
        let at = if what == What::Order { self.time.answered(Some(dated)) } else { dated };
        if word != "HttpStatus" {
            self.time.hear(at, sent);
        }
        answer.map(|value| Dated { value, at }).map_err(|error| CloudError { at: Some(at), ..error })
    }

    async fn read<T>(
        &self,
        what: What,
        told: &str,
        caller: &Caller,
        answer: impl Fn(&mut State) -> T + Sync,
    ) -> Result<Dated<T>, CloudError> {
        self.time.ask(|time| self.read_once(what, told, caller, time, &answer)).await
    }

    async fn read_once<T>(
        &self,
        what: What,
        told: &str,
        caller: &Caller,
        signed_at: Timestamp,
        answer: impl FnOnce(&mut State) -> T,
    ) -> Result<Dated<T>, CloudError> {
        let key = caller.credentials.secret_key.expose_secret().to_owned();
        self.exchange(what, told, move |state| {
            let time = at(state.now) + SignedDuration::from_millis(state.vendor.ahead);
            if time.duration_since(signed_at).abs() > READ_WINDOW {
                state.struck("cloud: the operator's time refused (4500)");
                return (Err(code(4500)), 0);
            }
            if !state.vendor.keys.contains(&key) {
                return (Err(code(4104)), 0);
            }
            match trouble(state) {
                Some(said) => said,
                None => (Ok(answer(state)), slowness(state)),
            }
        })
        .await
    }

    /// The rows of these instances, or all.
    fn rows(state: &mut State, ids: Option<&[String]>, is_list: bool) -> Vec<Instance> {
        let known: Vec<String> = state.vendor.instances.keys().cloned().collect();
        let mut rows = Vec::new();
        for redis_id in known.iter().filter(|id| ids.is_none_or(|ids| ids.contains(id))) {
            if is_list && strikes(state, state.plan.cloud_reads / 2) {
                state.struck("cloud: an instance is missing in the list");
                continue;
            }
            let most = state.vendor.nature.staleness;
            let old = if state.is_calm() { 0 } else { state.chance.below(most + 1) };
            let view = state.vendor.view(redis_id, state.now, old);
            if old > 0 && view != state.vendor.view(redis_id, state.now, 0) {
                state.struck("cloud: a stale look");
            }
            rows.extend(view.map(|(state, size)| row(redis_id, state, size)));
        }
        rows
    }
}

#[async_trait]
impl Cloud for Front {
    fn dialect(&self) -> Dialect {
        if self.shrinks { v3::DIALECT } else { v2::DIALECT }
    }

    async fn list(&self, caller: &Caller, _offset: usize) -> Result<Dated<Page>, CloudError> {
        let page =
            |state: &mut State| Page { next: None, instances: Self::rows(state, None, true), doubts: Vec::new() };
        self.read(What::Other, "list", caller, page).await
    }

    fn most_ids(&self) -> usize {
        if self.shrinks { 100 } else { 0 }
    }

    async fn list_some(&self, caller: &Caller, redis_ids: &[String]) -> Result<Dated<Page>, CloudError> {
        let page = |state: &mut State| Page {
            next: None,
            instances: Self::rows(state, Some(redis_ids), true),
            doubts: Vec::new(),
        };
        self.read(What::Other, "list some", caller, page).await
    }

    async fn find(&self, caller: &Caller, redis_id: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        let ids = [redis_id.to_owned()];
        let found = |state: &mut State| Self::rows(state, Some(&ids), false).pop();
        self.read(What::Look, redis_id, caller, found).await
    }

    async fn upgrade(
        &self,
        caller: &Caller,
        _look: &Instance,
        permit: SendPermit,
    ) -> Result<Dated<Accepted>, CloudError> {
        let key = caller.credentials.secret_key.expose_secret().to_owned();
        let told = format!("{} to {}", permit.redis_id(), permit.mem_size());
        self.exchange(What::Order, &told, move |state| {
            // Invariant B3, as `cloud::transport::handed_over_before` has it: just before the body leaves.
            if Instant::now() > permit.send_before() {
                let error = CloudError { kind: ErrorKind::NotSent, ..CloudError::no_answer("TooLate", "too late") };
                return (Err(error), 0);
            }
            let (redis_id, to, signed_at) =
                (permit.redis_id().to_owned(), permit.mem_size(), permit.signed_at().as_second());
            let (now, State { judge, store, vendor, .. }) = (state.now, &mut *state);
            let entry = judge.sent(store, vendor, &redis_id, to, signed_at, now);
            let request = Request { redis_id, to, signed_at, entry };
            let (answer, wait) = order(state, request, state.vendor.keys.contains(&key));
            let answer = answer.map_err(|error| match error.kind {
                ErrorKind::NotSent => error,
                _ if state.plan.broken == Broken::UnclearIsRefused && !error.is_plain_refusal() => code(4400),
                _ => error,
            });
            (answer, wait)
        })
        .await
    }

    async fn upgrade_price(&self, _: &Caller, _: &Instance, _: i64) -> Result<Dated<Price>, CloudError> {
        Err(code(5000))
    }

    async fn sizes(&self, caller: &Caller, _look: &Instance) -> Result<Dated<Option<SizesSold>>, CloudError> {
        let sold = |_: &mut State| Some(SizesSold::Range { min: 1024, max: MOST });
        self.read(What::Other, "sizes", caller, sold).await
    }

    async fn deal(&self, caller: &Caller, order: &Accepted) -> Result<Dated<Option<DealState>>, CloudError> {
        let id: usize = order.deal_id.parse().unwrap_or(usize::MAX);
        let deal = |state: &mut State| {
            let now = state.now;
            state.vendor.ledger.get(id).map(|order| match order.done {
                Some(_) => DealState::Delivered,
                None if order.has_failed(now) => DealState::Failed(6),
                None => DealState::Pending(3),
            })
        };
        self.read(What::AskDeal, &order.deal_id, caller, deal).await
    }

    fn clock(&self) -> &CloudClock {
        &self.time
    }
}

fn row(redis_id: &str, state: InstanceState, size: i64) -> Instance {
    let (zone_id, type_id, layout) = (None, None, Layout::default());
    Instance { redis_id: redis_id.to_owned(), state, size, zone_id, type_id, layout }
}

struct Waiting(Millis);

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ", {} s later", self.0 as f64 / 1000.0) }
    }
}

/// How many seconds its Date is off, if that is more than front ends are apart.
struct Off(i64);

impl std::fmt::Display for Off {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.abs() <= 60 { Ok(()) } else { write!(f, ", its Date {:+} s off", self.0) }
    }
}
