//! The judge: what the book and the cloud's ledger may never show, while it happens.
//!
//! *Paid twice* (docs/money-safety.md): an order of ours is taken, and so charged, for a size that was bought already. It was, if an earlier order
//! of ours for this instance, for that size or a larger one, was taken and has not failed. That one doesn't count where a person has said
//! "go on" about it and the later entry relies on this (`proceed-after`).
//!
//! Two things are excused, and counted. docs/money-safety.md names both as not promised, and each needs the act of a person that explains it.
//! - With API 3.0 an order was carried out whose answer was lost. A person makes the instance smaller before the look that settles the entry. The
//!   growth is taken for lost, and bought again.
//! - A person makes the instance larger than what an order on its way is for. The order makes it smaller again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    process::POLICY,
    store::{Kind, Store},
    vendor::{Order, Vendor},
    world::{Millis, at, millis_of},
};
use crate::api::number_in;

pub(super) const KEYS: [&str; 3] = ["AKIDab-the-first-5ecret", "AKIDcd-the-other-5ecret", "AKIDef-of-nobody-5ecret"];
pub(super) const TOKEN: &str = "a-t0ken-of-5ecrets";
pub(super) const SECRETS: [&str; 4] = ["the-first-5ecret", "the-other-5ecret", "of-nobody-5ecret", TOKEN];

/// An order is sent within 10 s of when its book began to be read (B3), and so of the second of its look.
const SEND_WITHIN: Millis = 11_000;

#[derive(Default)]
pub(super) struct Judge {
    /// What was broken first.
    pub(super) verdict: Option<String>,
    /// How what is broken begins, if only one rule counts.
    only: Option<&'static str>,
    declared: BTreeMap<String, BTreeSet<i64>>,
    /// About which entries of which instance a person has said "go on".
    said: BTreeSet<(String, u64)>,
    /// The uids of entries whose orders were sent.
    sent: BTreeSet<String>,
    /// When which entry, by its uid, came to which phase at first.
    came_to: BTreeMap<(String, String), Millis>,
    /// The operator's latest write to the API server.
    pub(super) last_write: Option<(Millis, String)>,
    /// How often what isn't promised has happened.
    pub(super) excused: u64,
}

impl Judge {
    pub(super) fn by(only: Option<&'static str>) -> Self {
        Self { only, ..Self::default() }
    }

    pub(super) fn broken(&mut self, what: String) {
        if self.only.is_none_or(|rule| what.starts_with(rule)) {
            self.verdict.get_or_insert(what);
        }
    }

    pub(super) fn declared(&mut self, redis_id: &str, size: i64) {
        self.declared.entry(redis_id.to_owned()).or_default().insert(size);
    }

    pub(super) fn said(&mut self, redis_id: &str, number: u64) {
        self.said.insert((redis_id.to_owned(), number));
    }

    /// An entry is about to be written.
    pub(super) fn written(&mut self, store: &Store, vendor: &Vendor, entry: &Value, now: Millis) {
        let name = entry["metadata"]["name"].as_str().unwrap_or_default();
        let spec = &entry["spec"];
        let redis_id = spec["redisId"].as_str().unwrap_or_default();
        if !store.names_are_free && store.get(Kind::Upgrade, "book", name).is_some() {
            return;
        }
        let (from, to) = (spec["from"].as_i64().unwrap_or(0), spec["to"].as_i64().unwrap_or(0));
        if from >= to {
            self.broken(format!("B6: {name} would go from {from} down to {to}"));
        }
        if !self.declared.get(redis_id).is_some_and(|declared| declared.contains(&to)) {
            self.broken(format!("{name} is for {to} MB, which nobody has ever declared"));
        }
        for (_, other) in store.all(Kind::Upgrade) {
            let phase = other.value["status"]["phase"].as_str().unwrap_or_default();
            let open = matches!(phase, "Written" | "Placed") && other.value["spec"]["redisId"] == redis_id;
            // One that was given up, and that the cloud has failed, may be Placed late: by who sent it and was frozen.
            let is_late = || {
                let order = vendor.ledger.iter().find(|order| order.request.is_for(&other.value));
                let failed = order.filter(|order| order.has_failed(now));
                phase == "Placed" && failed.is_some_and(|order| self.came_to(order, "Abandoned").is_some())
            };
            if open && !is_late() {
                self.broken(format!("B4: {name} is written while {} is {phase}", other.value["metadata"]["name"]));
            }
        }
    }

    /// An order is sent. Returns its entry.
    pub(super) fn sent(
        &mut self,
        store: &Store,
        vendor: &Vendor,
        redis_id: &str,
        to: i64,
        signed_at: i64,
        now: Millis,
    ) -> Option<Entry> {
        let signed = Timestamp::from_second(signed_at).map(|time| time.to_string()).unwrap_or_default();
        let is_it =
            |spec: &Value| spec["redisId"] == redis_id && spec["to"] == to && spec["signedAt"] == signed.as_str();
        let entries: Vec<_> = store.all(Kind::Upgrade).filter(|(_, entry)| is_it(&entry.value["spec"])).collect();
        if entries.is_empty() {
            self.broken(format!("B1: an order of {to} MB signed at {signed} is sent, and isn't in the book"));
        }
        let unsent = entries
            .iter()
            .filter_map(|(_, entry)| Entry::of(&entry.value))
            .filter(|entry| !self.sent.contains(&entry.uid))
            // (By clocks that are apart two may be signed at the same second; the older one is settled then.)
            .max_by_key(|entry| entry.number);
        match &unsent {
            Some(Entry { uid, proceed_after, .. }) => {
                self.sent.insert(uid.clone());
                if *proceed_after > 0 && !self.said.contains(&(redis_id.to_owned(), *proceed_after)) {
                    self.broken(format!(
                        "{redis_id} is ordered for \"go on\" after number {proceed_after}, which nobody has said"
                    ));
                }
            }
            None => self.broken(format!("B3: the order of {to} MB signed at {signed} is sent a second time")),
        }
        // (By the clock of the front end that showed the look.)
        let behind = vendor.nature.behind.map_or(0, |behind| behind.by);
        let apart = vendor.nature.apart + 1;
        if millis_of(signed_at) > now + apart {
            self.broken(format!("B3: an order is signed at {signed}, which is yet to come"));
        }
        if now > millis_of(signed_at) + SEND_WITHIN + apart + behind {
            self.broken(format!(
                "B3: an order signed at {signed} is sent {} s later",
                (now - millis_of(signed_at)) / 1000
            ));
        }
        unsent
    }

    /// The cloud has taken an order.
    pub(super) fn charged(&mut self, vendor: &Vendor, index: usize) {
        let Some((order, earlier)) = vendor.ledger.get(index).map(|order| (order, &vendor.ledger[..index])) else {
            return;
        };
        let (redis_id, to) = (&order.request.redis_id, order.request.to);
        let bought = earlier.iter().filter(|other| other.request.redis_id == *redis_id);
        let proceed_after = order.request.entry.as_ref().map_or(0, |entry| entry.proceed_after);
        // No word of a person's says that what was just bought is gone: a look may show the size of before.
        let is_news = |other: &Order| {
            let shown_by = other.done.map(|done| done + POLICY.lag.as_millis() as Millis);
            shown_by.is_none_or(|shown_by| order.taken + 2 * vendor.nature.apart + 1000 < shown_by)
        };
        let counts = |other: &&Order| {
            is_news(other) || other.request.entry.as_ref().is_none_or(|entry| entry.number > proceed_after)
        };
        let paid = bought.filter(|other| !other.has_failed(order.taken) && other.request.to >= to).filter(counts);
        let (excused, paid): (Vec<_>, Vec<_>) = paid.partition(|paid| self.is_excused(vendor, paid));
        self.excused += excused.len() as u64;
        if let Some(paid) = paid.first() {
            self.broken(format!(
                "paid twice: {redis_id} is ordered to {to} MB at {} s, and was ordered to {} MB at {} s",
                order.taken / 1000,
                paid.request.to,
                paid.taken / 1000
            ));
        }
        if to < order.from && is_overtaken(order) {
            self.excused += 1;
        } else if to < order.from {
            self.broken(format!("B6: an order of ours makes {redis_id} smaller: from {} to {to} MB", order.from));
        }
    }

    /// That order's entry was given up, for the look that settled it showed a size that a person had just made smaller.
    fn is_excused(&self, vendor: &Vendor, paid: &Order) -> bool {
        self.came_to(paid, "Abandoned").is_some_and(|given_up| vendor.taken_back(paid, given_up).is_some())
    }

    /// When the entry of that order came to that phase.
    pub(super) fn came_to(&self, order: &Order, phase: &str) -> Option<Millis> {
        let entry = order.request.entry.as_ref()?;
        self.came_to.get(&(entry.uid.clone(), phase.to_owned())).copied()
    }

    /// An entry was deleted.
    pub(super) fn pruned(&mut self, store: &Store, vendor: &Vendor, entry: &Value, now: Millis) {
        let of_instance = |other: &&Value| other["spec"]["redisId"] == entry["spec"]["redisId"];
        let highest = store.all(Kind::Upgrade).map(|(_, other)| &other.value).filter(of_instance).map(number).max();
        let (name, status) = (&entry["metadata"]["name"], &entry["status"]);
        let settled_at = status["settledAt"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let apart = SignedDuration::from_millis(vendor.nature.apart as i64);
        let is_old =
            settled_at.is_some_and(|time| (at(now) + apart).duration_since(time) > SignedDuration::from_hours(24));
        if matches!(status["phase"].as_str(), Some("Written" | "Placed")) || !is_old || highest < Some(number(entry)) {
            self.broken(format!("retention: {name} is deleted: {status}"));
        }
    }

    /// The status of a `RedisInstance` was written.
    pub(super) fn told(&mut self, vendor: &Vendor, value: &Value) {
        let redis_id = value["spec"]["redisId"].as_str().unwrap_or_default();
        let Some(size) = value["status"]["memSize"].as_i64() else { return };
        if !vendor.instances.get(redis_id).is_some_and(|instance| instance.sizes().any(|had| had == size)) {
            self.broken(format!("{} tells of {size} MB, which {redis_id} has never had", value["metadata"]["name"]));
        }
    }

    /// The phase of an entry was written.
    pub(super) fn moved(&mut self, name: &str, uid: Option<String>, before: &Value, after: &Value, now: Millis) {
        let (before, after) = (before.as_str().unwrap_or_default(), after.as_str().unwrap_or_default());
        if let Some(uid) = uid {
            self.came_to.entry((uid, after.to_owned())).or_insert(now);
        }
        let forward = match before {
            "Written" => true,
            "Placed" => matches!(after, "Placed" | "Fulfilled" | "Failed"),
            "Abandoned" => matches!(after, "Abandoned" | "Placed"),
            settled => settled == after,
        };
        if !forward {
            self.broken(format!("B5: {name} goes back from {before} to {after}"));
        }
    }
}

/// What an order rests on.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) uid: String,
    number: u64,
    /// Entries up to this number don't count for it; 0: all do.
    proceed_after: u64,
}

impl Entry {
    fn of(entry: &Value) -> Option<Self> {
        let word = entry["spec"]["instanceRef"]["proceedAfter"].as_str();
        let redis_id = entry["spec"]["redisId"].as_str()?;
        Some(Self {
            uid: uid(entry)?,
            number: number(entry),
            proceed_after: word.and_then(|name| number_in(name, redis_id)).unwrap_or(0),
        })
    }
}

/// A person made the instance larger than what the order is for, so shortly before it that its look didn't show that yet, or while it was on
/// its way.
fn is_overtaken(order: &Order) -> bool {
    let lag = POLICY.lag.as_millis() as Millis;
    order.from_by_hand.is_some_and(|ordered| ordered + lag >= millis_of(order.request.signed_at))
}

/// The number of an entry.
pub(super) fn number(entry: &Value) -> u64 {
    let name = entry["metadata"]["name"].as_str().unwrap_or_default();
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

pub(super) fn uid(value: &Value) -> Option<String> {
    value["metadata"]["uid"].as_str().map(str::to_owned)
}
