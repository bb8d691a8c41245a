//! The envelope around each answer (239/1757, 239/1758).

use serde_json::{Map, Value};

use crate::cloud::codes::{documented, of_number};
use crate::cloud::json::{self, integer, text};
use crate::cloud::listing::doubtful;
use crate::cloud::text::word;
use crate::cloud::transport::Reply;
use crate::cloud::{CloudError, ErrorKind, Meaning};

/// The fields of an answer whose code is 0.
pub(super) type Fields = Map<String, Value>;

/// Opens the envelope: the fields of a success, or the error that it holds.
pub(super) fn open(reply: &Reply) -> Result<Fields, CloudError> {
    let unreadable = |what: &str| CloudError::no_answer("Unreadable", format!("{what} ({})", reply.described));
    let value = json::parse(&reply.body)
        .map_err(|error| CloudError { message: format!("{} ({})", error.message, reply.described), ..error })?;
    let Value::Object(fields) = value else {
        return Err(unreadable("the answer is no JSON object"));
    };
    let Some(cloud_code) = fields.get("code").and_then(text) else {
        return Err(unreadable("the answer has no code, as those of version 2 have: does --api fit --api-endpoint?"));
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
    // A name is no code of version 2: what it means isn't documented.
    let kind = ErrorKind::Code(code.map_or(Meaning::Unknown, of_number));
    CloudError { kind, code, cloud_code, code_desc, message: message.to_owned(), at: None }
}

/// `(100004)…`: the code, and the message behind it.
fn code_in_brackets(message: &str) -> Option<(i64, &str)> {
    let (code, rest) = message.strip_prefix(['(', '（'])?.split_once([')', '）'])?;
    let code = code.trim().parse().ok().filter(|code| *code != 0)?;
    Some((code, rest.trim()))
}
