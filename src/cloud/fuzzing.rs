//! What the cloud says beside its answers: dates, and texts for people.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::clock::CloudClock;
use super::exchange::{Quoting, understood};
use super::text::{Texts, word};
use super::transport::{Reply, parse_date};
use super::{CloudError, Credentials, Dated, ErrorKind, Meaning};
use crate::fuzzing::{KEY, SIGNATURE, TOKEN, assert_clean, assert_clean_error, credentials};

/// The header `Date`.
pub(crate) fn date(data: &[u8]) {
    let Some(date) = parse_date(data) else { return };
    let clock = CloudClock::new(|| Timestamp::UNIX_EPOCH);
    clock.learn(date);
    // It goes on from there.
    let offset = clock.offset();
    assert!(clock.now() >= date && offset >= Some(date.duration_since(Timestamp::UNIX_EPOCH)));
    // As RFC 9110 wants it, it is just that date.
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
    assert!(text.is_err() || text.is_ok_and(|text| parse_date(text.as_bytes()) == Some(date)));
}

/// A text of the cloud's, the last of these lines: key, token, signature, code, text.
pub(crate) fn text(data: &[u8]) {
    let input = String::from_utf8_lossy(data);
    let mut lines = input.splitn(5, '\n');
    let mut line = |otherwise: &str| {
        let line = lines.next().unwrap_or_default();
        // The Secret is held to that; and a word of ours is no secret.
        let fits = line.len() >= 8 && line.chars().all(|c| c.is_ascii_graphic()) && !"UnknownCode".contains(line);
        if fits { line.to_owned() } else { otherwise.to_owned() }
    };
    let [key, token, signature] = [KEY, TOKEN, SIGNATURE].map(&mut line);
    let [code, said] = ["", ""].map(|_| lines.next().unwrap_or_default());
    let credentials =
        Credentials { secret_key: key.clone().into(), token: Some(token.clone().into()), ..credentials() };
    let name = word(code).unwrap_or_else(|| "UnknownCode".to_owned());
    let error = CloudError {
        kind: ErrorKind::Code(Meaning::Busy),
        cloud_code: Some(code.into()),
        ..CloudError::no_answer(&name, format!("it says: {said}"))
    };
    let texts = Texts::hiding(&credentials, &signature);
    // What stands there already may be a part of a key, too.
    let input = format!("{code}\n{}\nUnknownCode", error.message);
    let error = texts.clean_error(error);
    assert_clean_error(&error, &[&key, &token, &signature], &input);
}

/// As the client reads an answer.
pub(super) fn read<T: Quoting>(
    body: &[u8],
    read: impl FnOnce(&Reply) -> Result<T, CloudError>,
) -> Result<T, CloudError> {
    let described = "application/json, some bytes".to_owned();
    let reply = Reply { at: Timestamp::UNIX_EPOCH, body: body.to_vec(), described };
    let texts = Texts::hiding(&credentials(), SIGNATURE);
    let answer = understood(Ok(reply), &texts, read);
    if let Err(error) = &answer {
        assert_clean_error(error, &[KEY, TOKEN, SIGNATURE], &String::from_utf8_lossy(body));
    }
    answer.map(|Dated { value, .. }| value)
}

/// What is told of the rows that were left out.
pub(super) fn assert_clean_doubts(doubts: &[String], body: &[u8]) {
    assert!(doubts.len() <= 10);
    for doubt in doubts {
        assert_clean(doubt, 300, &[KEY, TOKEN, SIGNATURE], &String::from_utf8_lossy(body));
    }
}
