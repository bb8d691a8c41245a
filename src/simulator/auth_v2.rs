//! Who sends a request of version 2, and whether it comes for the first time: common parameters (372/4153),
//! signature, timestamp and nonce (213/6982).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use sha2::Sha256;

/// More than hundreds of requests a second bring in the default window.
const MAX_NONCES: usize = 1_000_000;

/// A key that the cloud knows; its id is the account's name. With a token it is a temporary one.
#[derive(Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a signature is about.
pub(super) struct Signed<'a> {
    pub method: &'a str,
    /// As in the Host header, with the port when there is one.
    pub host: &'a str,
    pub path: &'a str,
    pub parameters: &'a HashMap<String, String>,
}

impl Signed<'_> {
    fn text(&self) -> String {
        let mut pairs: Vec<_> = self.parameters.iter().filter(|(name, _)| *name != "Signature").collect();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={value}", name.replace('_', "."))).collect();
        format!("{}{}{}?{}", self.method, self.host, self.path, pairs.join("&"))
    }

    fn is_by(&self, secret: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature) else { return false };
        let text = self.text();
        // Just this spelling; anything else, or none, is HmacSHA1.
        if self.parameters.get("SignatureMethod").is_some_and(|method| method == "HmacSHA256") {
            verifies::<Hmac<Sha256>>(secret, &text, &signature)
        } else {
            verifies::<Hmac<Sha1>>(secret, &text, &signature)
        }
    }
}

fn verifies<M: Mac + KeyInit>(secret: &str, text: &str, signature: &[u8]) -> bool {
    // HMAC takes a key of any length, so this is never the error's fault.
    <M as KeyInit>::new_from_slice(secret.as_bytes()).is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok())
}

/// A common code of table 239/1757, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub code: i64,
    pub message: String,
}

fn denied<T>(code: i64, message: impl Into<String>) -> Result<T, Denied> {
    Err(Denied { code, message: message.into() })
}

#[derive(Debug)]
pub(super) struct Gate {
    keys: HashMap<String, Key>,
    window: Duration,
    /// `None`: no protection against replay.
    nonces: Option<Nonces>,
}

impl Gate {
    pub fn new(keys: &[Key], window: Duration, replay_protection: bool) -> Self {
        let keys = keys.iter().map(|key| (key.id.clone(), key.clone())).collect();
        Gate { keys, window, nonces: replay_protection.then(Nonces::default) }
    }

    /// The account whose request this is. First what needs no secret, then the signature, and only then time and
    /// nonce: who can't sign must not be able to use up another's nonces.
    pub fn admit(&mut self, request: &Signed<'_>, now: Timestamp) -> Result<String, Denied> {
        let get = |name: &str| match request.parameters.get(name).map(String::as_str) {
            None | Some("") => denied(4000, format!("the common parameter {name} is missing")),
            Some(value) => Ok(value),
        };
        let (id, signature) = (get("SecretId")?, get("Signature")?);
        let Ok(timestamp) = get("Timestamp")?.parse::<i64>() else {
            return denied(4000, "Timestamp must be in Unix seconds");
        };
        let Some(nonce) = get("Nonce")?.parse::<u64>().ok().filter(|nonce| *nonce > 0) else {
            return denied(4000, "Nonce must be a positive integer");
        };
        let Some(key) = self.keys.get(id) else { return denied(4104, "no such SecretId") };
        if key.token.as_ref() != request.parameters.get("Token") {
            return denied(4105, "Token is not the one of this SecretId");
        }
        if !request.is_by(&key.secret, signature) {
            return denied(4100, "the signature doesn't fit the request and the key");
        }
        // 239/1757 describes 4500 as either: a Nonce that was seen before, or a Timestamp too far off. 4200 stands
        // in that table too, without saying when; a fault `error` with code 4200 brings it.
        let off = now.as_second().abs_diff(timestamp);
        if Duration::from_secs(off) > self.window {
            return denied(4500, format!("Timestamp is {off} s away from the cloud's clock"));
        }
        if self.nonces.as_mut().is_some_and(|nonces| !nonces.is_new(id, nonce, now, self.window)) {
            return denied(4500, "this Nonce was used before");
        }
        Ok(id.to_owned())
    }
}

#[derive(Debug, Default)]
struct Nonces {
    seen: HashSet<(String, u64)>,
    by_time: VecDeque<(Timestamp, (String, u64))>,
}

impl Nonces {
    /// Kept for two windows: a Timestamp may be one ahead when it comes, and is good until it is one behind.
    fn is_new(&mut self, id: &str, nonce: u64, now: Timestamp, window: Duration) -> bool {
        while let Some((at, _)) = self.by_time.front()
            && (self.by_time.len() >= MAX_NONCES || *at + 2 * window < now)
            && let Some((_, oldest)) = self.by_time.pop_front()
        {
            self.seen.remove(&oldest);
        }
        let key = (id.to_owned(), nonce);
        let new = self.seen.insert(key.clone());
        if new {
            self.by_time.push_back((now, key));
        }
        new
    }
}
