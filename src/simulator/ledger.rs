//! What was asked of the cloud and what it refused: with the deals, the judge of every test.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const MAX_REFUSED: usize = 100_000;

/// An error code as an API version's wire has it: a number, or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Code {
    Number(i64),
    Name(String),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    pub action: String,
    pub redis_id: Option<String>,
    pub code: Code,
    pub at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    calls: BTreeMap<&'static str, u64>,
    refused: VecDeque<Refused>,
}

impl Ledger {
    /// A request came in, whatever becomes of it.
    pub fn call(&mut self, action: &'static str) {
        *self.calls.entry(action).or_default() += 1;
    }

    /// Of more than 100,000 the oldest are forgotten.
    pub fn refuse(&mut self, refused: Refused) {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(refused);
    }

    pub fn calls(&self) -> &BTreeMap<&'static str, u64> {
        &self.calls
    }

    pub fn refused(&self) -> &VecDeque<Refused> {
        &self.refused
    }
}
