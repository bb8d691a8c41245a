//! The envelope around each answer (239/1757, 239/1758).

use serde_json::{Map, Value};

use crate::cloud::json::{self, integer, text};
use crate::cloud::transport::Reply;
use crate::cloud::{CloudError, ErrorKind};

/// The fields of an answer whose code is 0.
pub(super) type Fields = Map<String, Value>;

/// The answer can be read and must not be believed.
pub(super) fn doubtful(what: impl Into<String>) -> CloudError {
    CloudError::no_answer("Doubtful", what)
}

/// Opens the envelope: the fields of a success, or the error that it holds.
pub(super) fn open(reply: &Reply) -> Result<Fields, CloudError> {
    let unreadable = |what: &str| CloudError::no_answer("Unreadable", format!("{what} ({})", reply.described));
    let value = json::parse(&reply.body)
        .map_err(|error| CloudError { message: format!("{} ({})", error.message, reply.described), ..error })?;
    let Value::Object(fields) = value else {
        return Err(unreadable("the answer is no JSON object"));
    };
    let Some(cloud_code) = fields.get("code").and_then(text) else {
        return Err(unreadable("the answer has no code"));
    };
    let code = fields.get("code").and_then(integer);
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default().trim();
    let in_brackets = code_in_brackets(message);
    match (code, in_brackets) {
        (Some(0), None) => Ok(fields),
        (Some(0), Some((inner, _))) => {
            Err(doubtful(format!("code 0, and {inner} in brackets in the message: {message}")))
        }
        (_, Some((inner, message))) if code != Some(inner) => {
            Err(refusal(Some(inner), inner.to_string(), None, message))
        }
        _ => {
            let name = fields.get("codeDesc").and_then(Value::as_str);
            Err(refusal(code, cloud_code, name, message))
        }
    }
}

fn refusal(code: Option<i64>, cloud_code: String, name: Option<&str>, message: &str) -> CloudError {
    let code_desc = name
        .and_then(word)
        .filter(|word| !word.eq_ignore_ascii_case("success"))
        .or_else(|| code.and_then(documented).map(str::to_owned))
        .or_else(|| code.map(|code| format!("Code{code}").replace('-', "Minus")))
        .or_else(|| word(&cloud_code))
        .unwrap_or_else(|| "UnknownCode".to_owned());
    let message = if message.is_empty() { "the cloud gave no message" } else { message };
    let cloud_code = Some(cloud_code);
    CloudError { kind: ErrorKind::Code, code, cloud_code, code_desc, message: message.to_owned(), at: None }
}

/// Last part of a dotted name, if it can be the reason of a condition.
fn word(name: &str) -> Option<String> {
    let last = name.rsplit('.').next()?.trim();
    let fits = last.len() <= 64
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| last.to_owned())
}

/// `(100004)…`: the code, and the message behind it.
fn code_in_brackets(message: &str) -> Option<(i64, &str)> {
    let (code, rest) = message.strip_prefix(['(', '（'])?.split_once([')', '）'])?;
    let code = code.trim().parse().ok().filter(|code| *code != 0)?;
    Some((code, rest.trim()))
}

/// Names of codes for answers that don't have them (239/1757 and the actions' own pages).
fn documented(code: i64) -> Option<&'static str> {
    Some(match code {
        4000 => "InvalidParameter",
        4100 => "AuthFailure",
        4101 => "UnauthorizedInterface",
        4102 => "UnauthorizedResource",
        4103 => "UnauthorizedOperation",
        4104 => "SecretIdNotFound",
        4105 => "TokenFailure",
        4106 => "MfaFailure",
        4110 => "Unauthorized",
        4200 => "RequestExpired",
        4300 => "AccessDenied",
        4400 => "QuotaExceeded",
        4500 => "ReplayAttack",
        4600 => "UnsupportedProtocol",
        5000 => "ResourceNotFound",
        5100 => "OperationFailed",
        5200 => "PurchaseFailed",
        5300 => "BalanceInsufficient",
        5400 => "PartiallySucceeded",
        5500 => "NotQualified",
        6000 => "InternalError",
        6100 => "VersionNotSupported",
        6200 => "TemporarilyUnavailable",
        10701 => "InstanceNotExists",
        10702 => "InstanceStatusAbnormal",
        10703 => "InvalidMemSize",
        11052 => "UserNotInWhiteList",
        11057 => "ReduceCapacityNotAllowed",
        11059 => "DealIdNotFound",
        11063 => "MemSizeNotInRange",
        11201 => "InvalidParameter",
        100207 => "AccountBalanceNotEnough",
        _ => return None,
    })
}
