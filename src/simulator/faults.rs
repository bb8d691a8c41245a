//! Which requests go wrong, and how. `mod.rs` carries it out.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::catalogue;
use super::ledger::Code;

const MAX_FAULTS: usize = 1000;
const MAX_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Refused with `code`.
    Error,
    /// Carried out at once, answered after `ms`.
    Delay,
    /// The connection is closed; not carried out.
    DropBefore,
    /// Carried out; the connection is closed instead of an answer.
    DropAfter,
    /// On the way for `ms`: only then is it checked and carried out; never answered.
    Late,
    /// Not carried out, never answered.
    Hang,
    #[serde(rename = "http-500")]
    Http500,
    /// A page for people, as a proxy sends it.
    Html,
    /// Carried out; the first half of the answer.
    Truncated,
    /// Carried out; the answer, and 64 MiB of white space.
    Oversized,
    /// Answers that describe an instance show the state of `ms` ago.
    Stale,
    /// The order is accepted and paid, but its deal fails in the end.
    DealFails,
}

/// One line of `PUT /_sim/faults`. What is absent matches everything: without `times` and `rate` every request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    pub action: Option<String>,
    pub kind: Kind,
    pub code: Option<Code>,
    /// Of an `error`: the code in brackets at the head of the message, a common one around it (239/1758).
    #[serde(default)]
    pub bracketed: bool,
    pub ms: Option<u64>,
    /// How many more times.
    pub times: Option<u64>,
    /// Of the requests that match, 0 to 1.
    pub rate: Option<f64>,
    pub redis_id: Option<String>,
    /// In its short or long form.
    pub region: Option<String>,
    /// Whether the request is carried out nevertheless, where the kind's own way isn't wanted.
    pub carried_out: Option<bool>,
}

/// A request, as far as faults are chosen by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub action: &'a str,
    pub redis_id: Option<&'a str>,
    pub region: Option<&'a str>,
}

impl Fault {
    /// Says, for a person, what is wrong with it.
    fn check(&self) -> Result<(), String> {
        let kind = self.kind;
        if kind == Kind::Error && self.code.is_none() {
            return Err("kind `error` needs a `code`".into());
        }
        if matches!(kind, Kind::Delay | Kind::Late | Kind::Stale) && self.ms.is_none() {
            return Err("kinds `delay`, `late` and `stale` need `ms`".into());
        }
        if self.ms.is_some_and(|ms| ms > MAX_MS) {
            return Err(format!("`ms` is at most {MAX_MS} (one day)"));
        }
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("`rate` is from 0 to 1".into());
        }
        if let Some(region) = self.region.as_ref().filter(|name| catalogue::find_region(name).is_none()) {
            return Err(format!("unknown `region` {region}"));
        }
        Ok(())
    }

    fn matches(&self, call: Call<'_>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        let region = self.region.as_deref().map(catalogue::find_region);
        same(&self.action, Some(call.action))
            && same(&self.redis_id, call.redis_id)
            && region.is_none_or(|region| region == call.region.and_then(catalogue::find_region))
    }

    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or_default())
    }

    pub fn carries_out(&self) -> bool {
        use Kind::*;
        self.carried_out.unwrap_or(matches!(self.kind, Delay | DropAfter | Truncated | Oversized | Stale | DealFails))
    }
}

#[derive(Debug)]
pub(super) struct Faults {
    list: Vec<Fault>,
    rng: StdRng,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Faults { list: Vec::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Takes the place of all that were there before; on an error these stay.
    pub fn replace(&mut self, list: Vec<Fault>) -> Result<(), String> {
        if list.len() > MAX_FAULTS {
            return Err(format!("at most {MAX_FAULTS} faults"));
        }
        list.iter().try_for_each(Fault::check)?;
        self.list = list;
        Ok(())
    }

    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// The first in the list that strikes this request.
    pub fn pick(&mut self, call: Call<'_>) -> Option<Fault> {
        let Faults { list, rng } = self;
        let fault = list.iter_mut().find(|fault| {
            fault.times != Some(0) && fault.matches(call) && fault.rate.is_none_or(|rate| rng.random_bool(rate))
        })?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.clone())
    }
}
