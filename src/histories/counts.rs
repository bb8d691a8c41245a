//! What there was in the histories, and whether anything that there should be is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::gate::{Point, Then, What};

/// By the name of each: what went wrong, what people did, and what else is worth knowing.
const NAMES: &[&str] = &[
    "API server: a read hangs",
    "API server: a read refused",
    "API server: a slow answer",
    "API server: a streaming list cut",
    "API server: a streaming list refused (422)",
    "API server: a watch cut",
    "API server: a watch is late",
    "API server: a watch's version is compacted (410)",
    "API server: a write carried out, answer lost",
    "API server: a write carried out, connection broken",
    "API server: a write lost",
    "API server: a write refused (403)",
    "API server: a write refused (422)",
    "API server: a write refused (429)",
    "API server: a write refused (500)",
    "API server: all watches cut",
    "API server: away",
    "API server: compacted",
    "API server: connection broken",
    "cloud: HTTP 5xx",
    "cloud: a read hangs",
    "cloud: a slow answer",
    "cloud: a stale look",
    "cloud: a clock that is far behind",
    "cloud: a wild Date",
    "cloud: an instance is missing in the list",
    "cloud: away",
    "cloud: balance empty and topped up",
    "cloud: garbage",
    "cloud: internal error (6000)",
    "cloud: isolated and restored",
    "cloud: the operator's time refused (4500)",
    "cloud: throttled (4400)",
    "cloud: time refused (4500)",
    "cloud: unknown code",
    "machine: its clock is off",
    "machine: its clock steps ahead",
    "machine: its clock steps back",
    "order: answer hangs",
    "order: answer lost",
    "order: answered very late",
    "order: arrives after its lifetime",
    "order: arrives late",
    "order: balance too low",
    "order: carried out and answered with an error",
    "order: instance busy (10702)",
    "order: lost before it was carried out",
    "order: no connection",
    "order: not carried out and answered with an error",
    "order: refused plainly",
    "order: throttled (4400)",
    "people: RedisInstance deleted",
    "people: RedisInstance made again",
    "people: RedisInstance made again for another instance",
    "people: Secret replaced",
    "people: mode changed",
    "people: proceed-after",
    "people: requestedAt",
    "people: resized in the console",
    "people: spec down",
    "people: spec up",
    "people: status wiped",
    "process: SIGTERM",
    NOT_PROMISED,
    PRUNED,
];
/// Ten thousand histories may well be without.
const RARE: [&str; 1] = ["order: instance busy, an unclear error"];

pub(super) const NOT_PROMISED: &str = "seen: what is not promised, a person ordering in the console at the same time";
pub(super) const PRUNED: &str = "seen: an old entry is deleted";

#[derive(Default)]
pub(super) struct Counts {
    named: BTreeMap<&'static str, u64>,
    /// Where a process was stopped.
    stops: BTreeMap<(Then, What, Point), u64>,
}

impl Counts {
    pub(super) fn one(&mut self, name: &'static str) {
        *self.named.entry(name).or_default() += 1;
    }

    pub(super) fn stop(&mut self, then: Then, what: What, point: Point) {
        *self.stops.entry((then, what, point)).or_default() += 1;
    }

    pub(super) fn of(&self, name: &str) -> u64 {
        self.named.get(name).copied().unwrap_or(0)
    }

    pub(super) fn crashes(&self) -> u64 {
        self.stops.iter().filter(|((then, ..), _)| *then == Then::Crash).map(|(_, times)| times).sum()
    }

    pub(super) fn add(&mut self, other: Self) {
        for (name, times) in other.named {
            *self.named.entry(name).or_default() += times;
        }
        for (stop, times) in other.stops {
            *self.stops.entry(stop).or_default() += times;
        }
    }

    /// What there should have been and was not, and what nobody has put on the list.
    pub(super) fn missing(&self) -> Vec<String> {
        let listed: BTreeSet<&str> = NAMES.iter().copied().collect();
        let unlisted = self.named.keys().filter(|name| !listed.contains(*name) && !RARE.contains(name));
        let names = listed.iter().filter(|name| self.of(name) == 0).chain(unlisted).map(|name| (*name).to_owned());
        let stops = [Then::Crash, Then::Freeze].into_iter().flat_map(|then| {
            let whats = What::ALL.into_iter().filter(|what| *what != What::AskDeal);
            whats.flat_map(move |what| Point::ALL.into_iter().map(move |point| (then, what, point)))
        });
        let stops = stops.filter(|stop| !self.stops.contains_key(stop)).map(|stop| format!("{stop:?}"));
        names.chain(stops).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_fault = |name: &str| !["people: ", "process: ", "seen: "].iter().any(|other| name.starts_with(other));
        writeln!(f, "faults, {} kinds:", self.named.keys().filter(|name| is_fault(name)).count())?;
        for (name, times) in self.named.iter().filter(|(name, _)| is_fault(name)) {
            writeln!(f, "{times:>9} {name}")?;
        }
        writeln!(f, "stops of a process, at {} points, and else:", self.stops.len())?;
        for ((then, what, point), times) in &self.stops {
            writeln!(f, "{times:>9} {then:?}: {what:?} {point:?}")?;
        }
        for (name, times) in self.named.iter().filter(|(name, _)| !is_fault(name)) {
            writeln!(f, "{times:>9} {name}")?;
        }
        Ok(())
    }
}
