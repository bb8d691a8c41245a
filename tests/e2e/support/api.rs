//! The two generations of the cloud's API: what they call the same things.

use serde_json::{Value, json};

/// Which one the operator speaks. The simulated cloud speaks both at once, of the same instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    V2,
    V3,
}

/// Errors by version 2's number: what 3.0 calls the same, and whether the operator takes it for that number (else it has none).
const ERRORS: [(i64, &str, bool); 12] = [
    (4100, "AuthFailure.SignatureFailure", false),
    (4104, "AuthFailure.SecretIdNotFound", false),
    (4400, "RequestLimitExceeded", false),
    (4500, "AuthFailure.SignatureExpire", false),
    (5100, "FailedOperation.SystemError", false),
    (6000, "InternalError", false),
    (10701, "ResourceNotFound.InstanceNotExists", true),
    (10702, "ResourceUnavailable.InstanceStatusAbnormal", true),
    (10703, "LimitExceeded.InvalidMemSize", true),
    (11063, "InvalidParameterValue.MemSizeNotInRange", true),
    (100_207, "ResourceUnavailable.AccountBalanceNotEnough", true),
    (987_654, "NeverSeen.Before", false),
];

impl Api {
    /// As `--api` has it, and names of namespaces.
    pub fn name(self) -> &'static str {
        match self {
            Api::V2 => "v2",
            Api::V3 => "v3",
        }
    }

    /// The action that orders.
    pub fn upgrade(self) -> &'static str {
        match self {
            Api::V2 => "UpgradeRedis",
            Api::V3 => "UpgradeInstance",
        }
    }

    /// The action that looks.
    pub fn describe(self) -> &'static str {
        match self {
            Api::V2 => "DescribeRedis",
            Api::V3 => "DescribeInstances",
        }
    }

    /// The error that version 2 numbers so, as this one writes it.
    pub fn error(self, number: i64) -> Value {
        match self {
            Api::V2 => json!(number),
            Api::V3 => json!(find(number).0),
        }
    }

    /// `code` and `cloudCode` of what the operator tells of that error when the cloud has said it.
    pub fn told(self, number: i64) -> [Value; 2] {
        match (self, find(number)) {
            (Api::V2, _) => [json!(number), json!(number.to_string())],
            (Api::V3, (name, true)) => [json!(number), json!(name)],
            (Api::V3, (name, false)) => [Value::Null, json!(name)],
        }
    }
}

fn find(number: i64) -> (&'static str, bool) {
    let found = ERRORS.iter().find(|(of, ..)| *of == number);
    found.map(|(_, name, mirrors)| (*name, *mirrors)).unwrap_or_else(|| panic!("{number} is not in the table"))
}
