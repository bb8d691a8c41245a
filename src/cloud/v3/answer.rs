//! The envelope around each answer: `{"Response": {…}}`, with an `Error` in it or what was asked for.

use serde_json::{Map, Value};

use crate::cloud::codes::of_name;
use crate::cloud::json::{self, text};
use crate::cloud::listing::doubtful;
use crate::cloud::text::word;
use crate::cloud::transport::Reply;
use crate::cloud::{CloudError, ErrorKind};

/// What is in the `Response` of a success.
pub(super) type Fields = Map<String, Value>;

/// Opens the envelope: the fields of a success, or the error that it holds.
pub(super) fn open(reply: &Reply) -> Result<Fields, CloudError> {
    let unreadable = |what: &str| CloudError::no_answer("Unreadable", format!("{what} ({})", reply.described));
    let value = json::parse(&reply.body)
        .map_err(|error| CloudError { message: format!("{} ({})", error.message, reply.described), ..error })?;
    let Value::Object(mut envelope) = value else {
        return Err(unreadable("the answer is no JSON object"));
    };
    let Some(Value::Object(mut fields)) = envelope.remove("Response") else {
        return Err(unreadable("the answer has no Response, as those of API 3.0 have: does --api fit --api-endpoint?"));
    };
    match fields.remove("Error") {
        None | Some(Value::Null) => Ok(fields),
        Some(error) => {
            let Some(name) = error.get("Code").and_then(text) else {
                return Err(unreadable("the answer has an Error without a Code"));
            };
            // Which of the two is true can't be known.
            if let Some(data) = fields.keys().find(|name| *name != "RequestId") {
                return Err(doubtful(format!("the answer has the error {name}, and {data} as well")));
            }
            let message = error.get("Message").and_then(Value::as_str).unwrap_or_default().trim();
            Err(refusal(name, message))
        }
    }
}

fn refusal(name: String, message: &str) -> CloudError {
    let message = if message.is_empty() { "the cloud gave no message" } else { message };
    let (meaning, code) = of_name(&name);
    CloudError {
        kind: ErrorKind::Code(meaning),
        code,
        code_desc: word(&name).unwrap_or_else(|| "UnknownCode".to_owned()),
        cloud_code: Some(name),
        message: message.to_owned(),
        at: None,
    }
}
