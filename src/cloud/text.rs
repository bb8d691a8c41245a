//! What the cloud says ends in statuses, Events and terminals: the one place that makes it fit for them.

use secrecy::ExposeSecret;

use super::{CloudError, Credentials};

/// Bound on every text, in characters.
const LONGEST: usize = 300;
/// Bound on a code or the name of one, in characters.
const LONGEST_CODE: usize = 64;
/// Bound on a request id, in bytes.
const LONGEST_REQUEST_ID: usize = 128;
/// Stands for what was taken out.
const GONE: &str = "…";

/// Cleans texts around one request: one line, bounded, without control characters, request ids and URLs, and
/// without the secrets of the caller.
pub(super) struct Texts {
    secrets: Vec<String>,
}

impl Texts {
    /// `signature` is that of the request whose answer is being read.
    pub(super) fn hiding(credentials: &Credentials, signature: &str) -> Self {
        let plain = [
            credentials.secret_key.expose_secret(),
            credentials.token.as_ref().map_or("", |token| token.expose_secret()),
            credentials.secret_id.as_str(),
            signature,
        ];
        // Cleaned like the text that they are looked for in.
        let mut secrets: Vec<_> = plain.iter().map(|secret| one_line(secret)).collect();
        secrets.retain(|secret| !secret.is_empty());
        // The longest first: a short one inside a long one would leave the rest of that behind.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    pub(super) fn clean(&self, text: &str) -> String {
        let text = replaced(&one_line(text), |rest| self.secret(rest));
        let text = replaced(&text, request_id);
        let words: Vec<_> = text.split(' ').map(|word| if word.contains("://") { GONE } else { word }).collect();
        bounded(&words.join(" "), LONGEST)
    }

    pub(super) fn clean_error(&self, error: CloudError) -> CloudError {
        let code_leaks = error.cloud_code.as_ref().is_some_and(|code| self.leaks(code));
        // The word may be a part of the code.
        let word_leaks = code_leaks || self.leaks(&error.code_desc);
        CloudError {
            cloud_code: error.cloud_code.map(|code| if code_leaks { GONE.to_owned() } else { code_like(&code) }),
            code_desc: if word_leaks { "UnknownCode".to_owned() } else { code_like(&error.code_desc) },
            message: self.clean(&error.message),
            ..error
        }
    }

    /// Length of the secret that `text` begins with, however a form, a URL or JSON spells it.
    fn secret(&self, text: &str) -> Option<usize> {
        self.secrets.iter().find_map(|secret| spelt(text.as_bytes(), secret.as_bytes()))
    }

    /// A code is a word that others compare with: it stays whole, unless an address or a secret stands in it (and no short one does by
    /// chance: the `id` of a demo in `Invalid`).
    fn leaks(&self, code: &str) -> bool {
        let code = one_line(code);
        let long = Self { secrets: self.secrets.iter().filter(|secret| secret.len() >= 8).cloned().collect() };
        code.contains("://") || replaced(&code, |rest| long.secret(rest)) != code
    }
}

/// Last part of a dotted name, if it can be the reason of a condition.
pub(super) fn word(name: &str) -> Option<String> {
    let last = name.rsplit('.').next()?.trim();
    let fits = last.len() <= 64
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| last.to_owned())
}

fn code_like(code: &str) -> String {
    bounded(&one_line(code), LONGEST_CODE)
}

/// White space becomes single spaces; control and formatting characters (bidi overrides, zero width) go.
pub(crate) fn one_line(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_format(*c))
        .collect();
    kept.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Unicode's general category Cf, and what else shows nothing.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn bounded(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest - 1) {
        Some((cut, last)) if cut + last.len_utf8() < text.len() => format!("{}{GONE}", &text[..cut]),
        _ => text.to_owned(),
    }
}

/// Length of the secret at the beginning of a text, in which each byte may be percent-encoded or have a backslash before it.
fn spelt(text: &[u8], secret: &[u8]) -> Option<usize> {
    secret.iter().try_fold(0, |at, byte| match text.get(at..)? {
        [plain, ..] if plain == byte => Some(at + 1),
        [b'\\', escaped, ..] if escaped == byte => Some(at + 2),
        [b'\\', b'u', b'0', b'0', high, low, ..] if hex(*high, *low) == Some(*byte) => Some(at + 6),
        [b'%', high, low, ..] if hex(*high, *low) == Some(*byte) => Some(at + 3),
        [b'+', ..] if *byte == b' ' => Some(at + 1),
        _ => None,
    })
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// The text without what begins at some place and has the `length` that is said there.
fn replaced(text: &str, length: impl Fn(&str) -> Option<usize>) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match length(rest) {
            Some(length) => {
                kept.push_str(GONE);
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    kept
}

/// Length of the request id that `text` begins with, its label included: a UUID, or what stands behind "RequestId" in any usual spelling. All lengths are of ASCII, so cuts are safe.
fn request_id(text: &str) -> Option<usize> {
    const UUID: usize = 36;
    let bytes = text.as_bytes();
    let is_uuid = bytes.get(..UUID).is_some_and(|uuid| {
        uuid.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    });
    if is_uuid {
        return Some(UUID);
    }
    let label = ["requestid", "request-id", "request_id", "request id"]
        .iter()
        .find(|label| bytes.get(..label.len()).is_some_and(|head| head.eq_ignore_ascii_case(label.as_bytes())))?
        .len();
    // Bounded, or a long text of nothing but labels would take the square of its length.
    let run = |from: usize, part: fn(&u8) -> bool| {
        bytes.iter().skip(from).take(LONGEST_REQUEST_ID).take_while(|byte| part(byte)).count()
    };
    let id = label + run(label, |byte| b" :=\"'[(".contains(byte));
    let end = id + run(id, |byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    // "request id is missing" is no id: one has a digit.
    bytes[id..end].iter().any(u8::is_ascii_digit).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        let credentials = Credentials {
            secret_id: "AKIDexampleExample".into(),
            secret_key: "exampleKey0123456789".to_owned().into(),
            token: Some("to+ken/1==".to_owned().into()),
        };
        Texts::hiding(&credentials, "EliP9YW3pW28FpsEdkXt/+WcGeI=")
    }

    #[test]
    fn secrets_are_taken_out_plain_and_form_encoded() {
        let said = "SecretId=AKIDexampleExample&Token=to%2Bken%2F1%3D%3D, key exampleKey0123456789 \
                    not EliP9YW3pW28FpsEdkXt/+WcGeI= or EliP9YW3pW28FpsEdkXt%2F%2BWcGeI%3D";
        assert_eq!(texts().clean(said), "SecretId=…&Token=…, key … not … or …");
    }

    #[test]
    fn secrets_are_taken_out_as_urls_and_json_spell_them() {
        for said in [
            "to%2bken%2f1%3d%3d",
            "EliP9YW3pW28FpsEdkXt%2f%2bWcGeI%3d",
            r"EliP9YW3pW28FpsEdkXt\/+WcGeI=",
            r"EliP9YW3pW28FpsEdkXt\/\u002bWcGeI\u003D",
        ] {
            assert_eq!(texts().clean(said), "…", "{said}");
        }
        let credentials = Credentials {
            secret_id: "AKIDexampleExample".into(),
            secret_key: r#"a"b\c~d"#.to_owned().into(),
            token: None,
        };
        let texts = Texts::hiding(&credentials, "");
        for said in [r#"a\"b\\c~d"#, r#"a"b\\c~d"#, "a%22b%5Cc~d", "a%22b%5cc%7Ed"] {
            assert_eq!(texts.clean(said), "…", "{said}");
        }
    }

    #[test]
    fn a_text_as_long_as_an_answer_may_be_is_cleaned_in_no_time() {
        // With the square of its length this would take hours.
        assert_eq!(texts().clean(&"requestid".repeat(1 << 20)).chars().count(), LONGEST);
    }

    #[test]
    fn a_secret_split_by_control_characters_is_still_found() {
        assert_eq!(texts().clean("exampleKey\u{0}01234\u{200b}56789"), "…");
    }

    #[test]
    fn a_text_is_one_line_without_control_or_bidi_characters() {
        assert_eq!(texts().clean("a\r\n\tb\u{1b}[31m \u{202e}c\u{2028}d\u{7f}"), "a b[31m c d");
    }

    #[test]
    fn request_ids_and_urls_are_taken_out() {
        let said = "failed, RequestId: 4c1b2a30-1111-4f00-9c4d-0123456789ab; see https://redis.api.qcloud.com/v2/index.php?x=1 \
                    (request_id=1234567) for 0a0b0c0d-1111-4f00-9c4d-0123456789AB";
        assert_eq!(texts().clean(said), "failed, …; see … (…) for …");
        assert_eq!(texts().clean("the request id is missing"), "the request id is missing");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = texts().clean(&"余".repeat(1000));
        assert_eq!(cut.chars().count(), LONGEST);
        assert!(cut.ends_with('…'));
        assert_eq!(texts().clean(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
    }

    #[test]
    fn a_code_stays_whole_unless_a_secret_stands_in_it() {
        let clean = |code: &str| {
            let error = CloudError { cloud_code: Some(code.into()), ..CloudError::no_answer(code, "") };
            let error = texts().clean_error(error);
            (error.cloud_code.unwrap(), error.code_desc)
        };
        assert_eq!(clean("InvalidParameter"), ("InvalidParameter".into(), "InvalidParameter".into()));
        assert_eq!(clean("exampleKey0123456789"), ("…".into(), "UnknownCode".into()));
        assert_eq!(clean("http://x/?Token=1"), ("…".into(), "UnknownCode".into()));
        assert_eq!(clean(&"x".repeat(1000)).0.chars().count(), LONGEST_CODE);
    }

    proptest::proptest! {
        #[test]
        fn any_text_stays_bounded_and_on_one_line(said in ".{0,600}") {
            let clean = texts().clean(&said);
            assert!(clean.chars().count() <= LONGEST);
            assert!(!clean.chars().any(|c| c.is_control() || c == '\u{202e}'));
        }
    }
}
