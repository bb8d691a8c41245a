//! Tells people: the status of a `RedisInstance`, and Events. Writes nothing that stands there already (invariant B9).

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    api::{Failure, Phase, RedisInstance, RedisInstanceStatus, RedisUpgrade, UpgradeSummary},
    api_server::{CALL, plain, within},
    cloud::{Dated, Instance, one_line},
    decide::{Health, Seen, Verdict},
    failpoint::{Point, pass},
};

const MANAGER: &str = "crs-operator";
const CONTROLLER: &str = "crs.qcloud.com/crs-operator";
const MESSAGE_CHARS: usize = 1000;
const EVENTS_AT_ONCE: usize = 16;
const EVENTS_WAITING: usize = 10_000;

#[derive(Clone)]
pub struct Reporter {
    client: Client,
    /// Who reports: the pod.
    pub instance: String,
    local: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Events under way: nobody waits for them but the end of the process.
    pub tasks: TaskTracker,
    at_once: Arc<Semaphore>,
}

impl Reporter {
    /// `local` is this machine's clock.
    pub fn new(client: Client, instance: String, local: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            client,
            instance,
            local: Arc::new(local),
            tasks: TaskTracker::new(),
            at_once: Arc::new(Semaphore::new(EVENTS_AT_ONCE)),
        }
    }

    /// Brings the status up to date; writes only when something in it changes, and returns the object as it is then. One that is gone or was
    /// changed meanwhile needs none: the watch is about to say so, and it is told afresh.
    pub async fn status(
        &self,
        instance: &Arc<RedisInstance>,
        entries: &[RedisUpgrade],
        seen: &Seen,
        verdict: &Verdict,
        handled: bool,
    ) -> Result<Option<RedisInstance>, kube::Error> {
        let before = instance.status.clone().unwrap_or_default();
        let after = status(instance, entries, seen, verdict, handled, (self.local)());
        if after == before {
            return Ok(None);
        }
        let api: Api<RedisInstance> = Api::namespaced(self.client.clone(), &instance.namespace().unwrap_or_default());
        let patch = json!({
            "apiVersion": RedisInstance::api_version(&()),
            "kind": RedisInstance::kind(&()),
            // The uid keeps an object made again under the same name from getting its predecessor's status, and the resourceVersion one from
            // being overwritten with what a process that was frozen meanwhile once knew.
            "metadata": {
                "name": instance.name_any(), "uid": instance.uid(), "resourceVersion": instance.resource_version(),
            },
            "status": after,
        });
        let apply = PatchParams::apply(MANAGER).force();
        pass(Point::BeforeStatus, &instance.spec.redis_id);
        let patched = within(CALL, api.patch_status(&instance.name_any(), &apply, &Patch::Apply(patch))).await;
        pass(Point::StatusWritten, &instance.spec.redis_id);
        let patched = match patched {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(None),
            patched => patched?,
        };
        let known = before.conditions.iter().any(|stalled| {
            stalled.type_ == "Stalled" && stalled.status == "True" && stalled.reason == word(&verdict.reason)
        });
        if verdict.health == Health::Stalled && !known {
            self.event(instance.object_ref(&()), "Warning", &word(&verdict.reason), "Stall", &verdict.message, None);
        }
        Ok(Some(patched))
    }

    /// One Event for what has come of an entry. Its name holds entry and phase, so it can't be there twice.
    pub fn upgrade_event(&self, instance: &RedisInstance, entry: &RedisUpgrade) {
        let (name, spec, outcome) = (entry.name_any(), &entry.spec, entry.outcome());
        let deal = outcome.deal().unwrap_or_else(|| "unknown".to_owned());
        let evidence = outcome.evidence.unwrap_or_default();
        let (type_, reason, note) = match outcome.phase {
            Phase::Written => (
                "Normal",
                "UpgradeWritten",
                format!(
                    "{name}: ordering {} → {} MB. Connections are cut for seconds at the end of the upgrade.",
                    spec.from, spec.to
                ),
            ),
            Phase::Placed => (
                "Normal",
                "UpgradePlaced",
                format!("{name}: the cloud accepted {} → {} MB, deal {deal}.", spec.from, spec.to),
            ),
            Phase::Fulfilled => (
                "Normal",
                "UpgradeFulfilled",
                format!("{name}: {} → {} MB done, deal {deal}. {evidence}", spec.from, spec.to),
            ),
            Phase::Failed => ("Warning", "UpgradeFailed", format!("{name}: {evidence}")),
            Phase::Refused => ("Warning", "UpgradeRefused", format!("{name}: {evidence}")),
            Phase::Abandoned => ("Warning", "UpgradeAbandoned", format!("{name}: {evidence}")),
        };
        let id = format!("{name}.{}", outcome.phase.to_string().to_lowercase());
        self.event(instance.object_ref(&()), type_, reason, "Upgrade", &note, Some(id));
    }

    /// Sends an Event about an object, in the background. `id`: what makes it one and the same.
    pub fn event(
        &self,
        about: ObjectReference,
        type_: &str,
        reason: &str,
        action: &str,
        note: &str,
        id: Option<String>,
    ) {
        let (namespace, name) = (about.namespace.clone().unwrap_or_default(), about.name.clone().unwrap_or_default());
        let now = (self.local)();
        let unique = id.unwrap_or_else(|| format!("{:x}", now.as_nanosecond()));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{unique}", shortened(&name))),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(type_.into()),
            reason: Some(reason.into()),
            action: Some(action.into()),
            note: Some(bounded(note)),
            regarding: Some(about),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        if self.tasks.len() >= EVENTS_WAITING {
            tracing::warn!(namespace, name, reason, "an Event is left out: too many wait to be sent");
            return;
        }
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let at_once = self.at_once.clone();
        self.tasks.spawn(async move {
            // Never closed, so this can't fail; and if it did, one more would be sent at a time.
            let _turn = at_once.acquire().await;
            pass(Point::BeforeEvent, event.note.as_deref().unwrap_or_default());
            match within(CALL, api.create(&PostParams::default(), &event)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    tracing::warn!(
                        namespace,
                        name,
                        reason = event.reason,
                        error = plain(&error),
                        "an Event could not be sent"
                    );
                }
            }
        });
    }
}

/// The status that tells `verdict`.
pub(crate) fn status(
    instance: &RedisInstance,
    entries: &[RedisUpgrade],
    seen: &Seen,
    verdict: &Verdict,
    handled: bool,
    now: Timestamp,
) -> RedisInstanceStatus {
    let before = instance.status.clone().unwrap_or_default();
    let accepted =
        entries.iter().rev().find(|entry| matches!(entry.phase(), Phase::Placed | Phase::Fulfilled | Phase::Failed));
    // What the book says is mirrored whatever a look says.
    let mirrored = RedisInstanceStatus {
        deal_id: accepted.and_then(|entry| entry.outcome().deal_id),
        deal_name: accepted.and_then(|entry| entry.outcome().deal_name),
        upgrade: entries.last().map(summary),
        last_handled_requested_at: match instance.requested_at() {
            Some(asked) if handled => Some(asked.to_owned()),
            _ => before.last_handled_requested_at.clone(),
        },
        ..before.clone()
    };
    if verdict.health == Health::AsBefore {
        return mirrored;
    }
    let generation = instance.metadata.generation;
    let (mem_size, instance_status) = match seen {
        Seen::Instance(Dated { value: Instance { size, state, .. }, .. }) => (Some(*size), Some(state.to_string())),
        Seen::Absent(_) => (None, None),
        _ => (before.mem_size, before.instance_status),
    };
    RedisInstanceStatus {
        observed_generation: generation,
        ready_generation: if verdict.health == Health::Ready { generation } else { before.ready_generation },
        mem_size,
        instance_status,
        last_error: verdict.error.clone().map(|error| since(before.last_error.as_ref(), error)),
        conditions: conditions(&before.conditions, generation, verdict, now),
        ..mirrored
    }
}

/// The error, with the time at which it first happened if the status has it already.
fn since(before: Option<&Failure>, error: Failure) -> Failure {
    let cause = |error: &Failure| (error.code, error.code_desc.clone(), error.action.clone());
    match before.filter(|before| cause(before) == cause(&error)) {
        Some(before) => Failure { time: before.time.clone(), ..error },
        None => error,
    }
}

fn summary(entry: &RedisUpgrade) -> UpgradeSummary {
    let outcome = entry.outcome();
    UpgradeSummary {
        name: entry.name_any(),
        phase: outcome.phase,
        from: entry.spec.from,
        to: entry.spec.to,
        deal_id: outcome.deal_id,
        deal_name: outcome.deal_name,
        signed_at: entry.spec.signed_at.clone(),
    }
}

/// Ready, Reconciling and Stalled in the sense of kstatus, always in this order.
fn conditions(before: &[Condition], generation: Option<i64>, verdict: &Verdict, now: Timestamp) -> Vec<Condition> {
    let state = |is: bool| if is { "True" } else { "False" };
    let ready = match verdict.health {
        Health::Unknown => "Unknown",
        health => state(health == Health::Ready),
    };
    [
        ("Ready", ready),
        ("Reconciling", state(verdict.health == Health::Reconciling)),
        ("Stalled", state(verdict.health == Health::Stalled)),
    ]
    .into_iter()
    .map(|(type_, status)| {
        let since = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.into(),
            status: status.into(),
            observed_generation: generation,
            reason: word(&verdict.reason),
            message: bounded(&verdict.message),
            // Whole seconds, as the API server keeps them: else a status would never equal itself.
            last_transition_time: since.map_or_else(
                || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
                |condition| condition.last_transition_time.clone(),
            ),
        }
    })
    .collect()
}

/// A reason is one word of letters and digits; a name that the cloud sent may be anything.
fn word(reason: &str) -> String {
    let word: String = reason.chars().filter(char::is_ascii_alphanumeric).take(128).collect();
    if word.starts_with(|first: char| first.is_ascii_alphabetic()) { word } else { format!("Code{word}") }
}

/// So much of a name that there is room for more behind it, with an end that may stand before a dot.
fn shortened(name: &str) -> String {
    name.chars().take(150).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// A line for a terminal: what others wrote into the book is told, too.
fn bounded(text: &str) -> String {
    one_line(text).chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests;
