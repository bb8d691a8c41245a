//! What nobody may see, looked for in all that anybody can: logs when their process ends, statuses, book, Events and metrics when a test does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::world::{KEYS, TOKEN};

/// What stands before a signature, a key's id or a token in a request as it is sent.
const PARTS_OF_REQUESTS: [&str; 5] = ["Signature=", "SecretId=", "Credential=", "Token=", "index.php?"];

/// A secret, a signature, or a part of a request, if there is one in a text, whatever it is wrapped in.
pub fn leak(text: &str) -> Option<String> {
    plain_leak(text).or_else(|| {
        let unwrapped = unwrapped(text);
        if unwrapped == text { None } else { leak(&unwrapped) }
    })
}

/// One layer less of percent-encoding and of JSON's escapes.
fn unwrapped(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['%', '\\']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let hex = |from: usize, to: usize| {
            let digits = rest.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
        };
        let unwrapped = match rest.as_bytes().get(..2) {
            Some(b"\\u") => hex(2, 6).map(|it| (it, 6)),
            Some(b"\\n" | b"\\r" | b"\\t") => Some((' ', 2)),
            Some([b'\\', escaped]) if escaped.is_ascii() => Some((char::from(*escaped), 2)),
            _ => hex(1, 3).map(|it| (it, 3)),
        };
        // What is neither stays as it is.
        let (it, length) = unwrapped.or_else(|| Some((rest.chars().next()?, 1))).unwrap_or_default();
        plain.push(it);
        rest = &rest[length..];
    }
    plain + rest
}

fn plain_leak(text: &str) -> Option<String> {
    let secrets = KEYS.iter().chain([&TOKEN]).flat_map(|secret| [(*secret).to_owned(), BASE64.encode(secret)]);
    let parts = PARTS_OF_REQUESTS.map(str::to_owned);
    let known = secrets.chain(parts).find(|secret| text.contains(secret.as_str()));
    known.or_else(|| text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).find_map(signature))
}

/// HMAC-SHA256 in hexadecimal, or in Base64.
fn signature(word: &str) -> Option<String> {
    let is_hex = word.len() == 64 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_base64 = word.len() == 44 && word.ends_with('=') && BASE64.decode(word).is_ok_and(|mac| mac.len() == 32);
    (is_hex || is_base64).then(|| word.to_owned())
}

/// Fails the test that ends with a secret in what it has shown. (One that has failed already says why itself.)
#[track_caller]
pub fn assert_none(place: &str, text: &str) {
    if let (Some(secret), false) = (leak(text), std::thread::panicking()) {
        panic!("{place} has {secret} in it: {}", text.lines().find(|line| leak(line).is_some()).unwrap_or_default());
    }
}

#[test]
fn a_secret_is_found_however_it_is_spelt_and_a_signature_by_its_form() {
    let signed = "Action=X&Signature=EliP9YW3pW28FpsEdkXtEliP9YW3pW28FpsEdkXt%2F%2BU%3D";
    let hex = "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f";
    for seen in [
        format!("error: {} is wrong", KEYS[0]),
        format!("token {TOKEN}!"),
        format!(r#"{{"secretKey":"{}"}}"#, BASE64.encode(KEYS[1])),
        signed.replace("Signature=", "of "),
        format!("authorization: \"{hex}\""),
        "http://127.0.0.1:1/v2/index.php?Action=X".to_owned(),
        "x=token%2Fof%2Bthe-shop-nobody-may-see%3D%3D&y".to_owned(),
        "x=token%2fof%2bthe%2Dshop-nobody-may-see%3d%3d&y".to_owned(),
        "x=token%252Fof%252Bthe-shop-nobody-may-see%253D%253D&y".to_owned(),
        r#"{"x":"token\/of+the-shop-nobody-may-see=="}"#.to_owned(),
        r#"{"x":"token\u002Fof\u002bthe-shop-nobody-may-see\u003d\u003d"}"#.to_owned(),
        r#"{"line":"{\"x\":\"token\\/of+the-shop-nobody-may-see==\"}"}"#.to_owned(),
        r#"{"x":"key\u002dof-the-bank-nobody-may-see"}"#.to_owned(),
        format!("%{:x}{}", KEYS[1].as_bytes()[0], &KEYS[1][1..]),
        r#"of "EliP9YW3pW28FpsEdkXtEliP9YW3pW28FpsEdkXt\/+U=""#.to_owned(),
        r#"of "EliP9YW3pW28FpsEdkXtEliP9YW3pW28FpsEdkXt\u002f\u002bU\u003d\n""#.to_owned(),
        format!(r#""said: {hex}\n""#),
        "x=%53ignature%3Dabc".to_owned(),
    ] {
        assert!(leak(&seen).is_some(), "{seen}");
    }
    assert_eq!(leak(r"50 % of it, 100 %zz \ \é \u12 %"), None);
    assert_eq!(leak("crs-1-1: 1024 → 2048 MB done, deal 432587 (20261124000000432587)."), None);
    assert_eq!(leak(&format!("{hex}0")), None, "not as long as a signature");
}
