//! Which requests go wrong, and how. `mod.rs` carries it out.

use std::time::Duration;

use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::catalogue;
use super::ledger::Code;

const MAX_FAULTS: usize = 1000;
const MAX_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Refused with `code`.
    Error,
    /// Carried out; refused with `code`, and answered all the same.
    ErrorWithData,
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
    /// A front end whose clock is `ms` ahead (negative: behind) checks the request's time and dates the answer.
    Skew,
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
    /// Of an error of version 2: the code in brackets at the head of the message, a common one around it (239/1758).
    #[serde(default)]
    pub bracketed: bool,
    /// Negative for `skew` alone.
    pub ms: Option<i64>,
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
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub action: &'static str,
    /// All that it names.
    pub redis_ids: Vec<&'a str>,
    pub region: Option<&'a str>,
}

impl Fault {
    /// Says, for a person, what is wrong with it.
    fn check(&self) -> Result<(), String> {
        let kind = self.kind;
        if matches!(kind, Kind::Error | Kind::ErrorWithData) && self.code.is_none() {
            return Err("kinds `error` and `error-with-data` need a `code`".into());
        }
        if matches!(kind, Kind::Delay | Kind::Late | Kind::Stale | Kind::Skew) && self.ms.is_none() {
            return Err("kinds `delay`, `late`, `stale` and `skew` need `ms`".into());
        }
        let least = if kind == Kind::Skew { -MAX_MS } else { 0 };
        if self.ms.is_some_and(|ms| !(least..=MAX_MS).contains(&ms)) {
            return Err(format!("`ms` is at most {MAX_MS} (one day), and negative for `skew` alone"));
        }
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("`rate` is from 0 to 1".into());
        }
        if let Some(region) = self.region.as_ref().filter(|name| catalogue::find_region(name).is_none()) {
            return Err(format!("unknown `region` {region}"));
        }
        Ok(())
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        let region = self.region.as_deref().map(catalogue::find_region);
        same(&self.action, Some(call.action))
            && self.redis_id.as_deref().is_none_or(|wanted| call.redis_ids.contains(&wanted))
            && region.is_none_or(|region| region == call.region.and_then(catalogue::find_region))
    }

    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or_default().unsigned_abs())
    }

    /// How far the clock of the front end is ahead.
    pub fn skew(&self) -> SignedDuration {
        let ms = if self.kind == Kind::Skew { self.ms.unwrap_or_default() } else { 0 };
        SignedDuration::from_millis(ms)
    }

    pub fn carries_out(&self) -> bool {
        use Kind::*;
        let does =
            matches!(self.kind, ErrorWithData | Delay | DropAfter | Truncated | Oversized | Stale | Skew | DealFails);
        self.carried_out.unwrap_or(does)
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
    pub fn pick(&mut self, call: &Call<'_>) -> Option<Fault> {
        let Faults { list, rng } = self;
        let fault = list.iter_mut().find(|fault| {
            fault.times != Some(0) && fault.matches(call) && fault.rate.is_none_or(|rate| rng.random_bool(rate))
        })?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Faults {
        let mut faults = Faults::new(7);
        faults.replace(serde_json::from_str(text).unwrap()).unwrap();
        faults
    }

    fn call<'a>(action: &'static str, redis_id: &'a str, region: &'a str) -> Call<'a> {
        Call { action, redis_ids: vec![redis_id], region: Some(region) }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says() {
        let mut faults = faults(r#"[{"action": "UpgradeRedis", "kind": "drop-after", "times": 2}]"#);
        assert!(faults.pick(&call("DescribeRedis", "a", "gz")).is_none());
        let struck: Vec<_> = (0..3).map(|_| faults.pick(&call("UpgradeRedis", "a", "gz")).is_some()).collect();
        assert_eq!(struck, [true, true, false]);
    }

    #[test]
    fn the_first_that_matches_strikes() {
        let mut faults = faults(
            r#"[{"kind": "html", "redisId": "a", "times": 1}, {"kind": "hang", "region": "ap-shanghai"}, {"kind": "http-500"}]"#,
        );
        let mut kind = |redis_id, region| faults.pick(&call("x", redis_id, region)).unwrap().kind;
        assert_eq!(kind("a", "gz"), Kind::Html);
        assert_eq!(kind("a", "gz"), Kind::Http500);
        assert_eq!(kind("b", "sh"), Kind::Hang, "either form of the region");
        assert_eq!(kind("b", "nowhere"), Kind::Http500);
    }

    #[test]
    fn a_rate_strikes_the_same_requests_for_the_same_seed() {
        let run = || {
            let mut faults = faults(r#"[{"kind": "delay", "ms": 1, "rate": 0.3}]"#);
            (0..1000).map(|_| faults.pick(&call("x", "a", "gz")).is_some()).collect::<Vec<_>>()
        };
        let struck = run().into_iter().filter(|struck| *struck).count();
        assert!((250..350).contains(&struck), "{struck} of 1000");
        assert_eq!(run(), run());
    }

    #[test]
    fn a_fault_that_can_not_be_meant_leaves_the_list_as_it_was() {
        let mut faults = faults(r#"[{"kind": "html"}]"#);
        for wrong in [
            r#"[{"kind": "error"}]"#,
            r#"[{"kind": "late"}]"#,
            r#"[{"kind": "stale", "ms": 86400001}]"#,
            r#"[{"kind": "stale", "ms": -1}]"#,
            r#"[{"kind": "skew"}]"#,
            r#"[{"kind": "hang", "rate": 1.5}]"#,
            r#"[{"kind": "hang", "region": "nowhere"}]"#,
        ] {
            assert!(faults.replace(serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Vec<Fault>>(r#"[{"kind": "hang", "time": 1}]"#).is_err(), "a misspelt field");
        assert_eq!(faults.list().len(), 1);
    }
}
