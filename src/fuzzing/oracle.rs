//! What must hold of every text that people see.

use serde_json::Value;

use crate::cloud::{CloudError, Credentials};

/// What nobody may see. Corpora have them where a careless cloud would echo them.
pub(crate) const KEY: &str = "exampleKey0123456789exampleKey01";
pub(crate) const TOKEN: &str = "to+ken/9876543210\"tok\\en~9876543210==";
pub(crate) const SIGNATURE: &str = "EliP9YW3pW28FpsEdkXt/+WcGeI=";

pub(crate) fn credentials() -> Credentials {
    Credentials {
        secret_id: "AKIDexampleExample".into(),
        secret_key: KEY.to_owned().into(),
        token: Some(TOKEN.to_owned().into()),
    }
}

/// One bounded line without control characters.
pub(crate) fn assert_line(text: &str, longest: usize) {
    assert!(text.chars().count() <= longest, "too long: {text:?}");
    assert!(!text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "not one line: {text:?}");
}

/// The same without addresses, in which none of `secrets` stands, however it is spelt; nor a part of one, unless whoever said `input` knew
/// parts.
pub(crate) fn assert_clean(text: &str, longest: usize, secrets: &[&str], input: &str) {
    assert_line(text, longest);
    assert!(!text.contains("://"), "an address: {text:?}");
    let said = decodings(text);
    for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
        assert!(!said.iter().any(|text| text.contains(secret)), "{secret} in {text:?}");
        let parts: Vec<_> = (0..=secret.len() - 8).filter_map(|at| secret.get(at..at + 8)).collect();
        let known = |text: &str| parts.iter().any(|part| text.contains(part));
        if said.iter().any(|text| known(text)) {
            // Whoever says parts of it from the beginning knows it otherwise.
            // What can't be seen is taken out of a text, which joins what is beside it.
            let joined: String = input.chars().filter(char::is_ascii_graphic).collect();
            let mut heard = decodings(input).into_iter().chain(decodings(&joined));
            let is_known = heard.any(|input| known(&input.replace(secret, "\0")));
            assert!(is_known, "a part of {secret} in {text:?}");
        }
    }
}

/// As it stands there, and as whoever decodes forms, URLs or JSON reads it.
fn decodings(text: &str) -> Vec<String> {
    let mut unquoted = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        unquoted.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    vec![text.to_owned(), unquoted, String::from_utf8_lossy(&decoded).into_owned()]
}

/// An error of the cloud that is about to be told.
pub(crate) fn assert_clean_error(error: &CloudError, secrets: &[&str], input: &str) {
    assert_clean(&error.message, 300, secrets, input);
    assert_clean(&error.code_desc, 64, secrets, input);
    assert_clean(error.cloud_code.as_deref().unwrap_or_default(), 64, secrets, input);
    assert!(!error.code_desc.is_empty() && !error.message.is_empty(), "nothing is told: {error:?}");
    assert!(!error.is_plain_refusal() || error.cloud_code.is_some(), "no code, no refusal: {error:?}");
}

/// Does a key stand twice in some object? Counted apart from the product's reader: by the colons outside of strings.
pub(crate) fn has_double_keys(body: &[u8], parsed: &Value) -> bool {
    let (mut in_string, mut escaped, mut colons) = (false, false, 0);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    fn keys(value: &Value) -> usize {
        match value {
            Value::Array(list) => list.iter().map(keys).sum(),
            Value::Object(fields) => fields.len() + fields.values().map(keys).sum::<usize>(),
            _ => 0,
        }
    }
    colons != keys(parsed)
}
