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
    <M as KeyInit>::new_from_slice(secret.as_bytes())
        .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok())
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// For tests of what comes after the signature.
    pub fn sign(secret: &str, request: &Signed<'_>) -> String {
        let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap().chain_update(request.text());
        BASE64.encode(mac.finalize().into_bytes())
    }

    const SECRET: &str = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE";
    const TIME: i64 = 1_465_185_768;

    // The signatures are from another tool:
    // python3 -c 'import hmac,hashlib,base64,sys; print(base64.b64encode(hmac.new(b"Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
    //   sys.argv[1].encode(), hashlib.sha1).digest()).decode())' TEXT
    // with TEXT as in the test `the_text_that_is_signed`, and hashlib.sha256 for the second one.
    const SHA1: &str = "cwEJl+1uzOySKVebFGaMx6mq4SE=";
    const SHA256: &str = "FdfzY5k/PrfmYy3UFMOUOiGzU4wykLKarnZlIqgdQpo=";

    fn parameters(more: &[(&str, &str)]) -> HashMap<String, String> {
        [
            ("Action", "DescribeRedis"),
            ("Nonce", "11886"),
            ("Region", "gz"),
            ("SecretId", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE"),
            ("Timestamp", "1465185768"),
            ("limit", "20"),
            ("offset", "0"),
        ]
        .iter()
        .chain(more)
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
    }

    fn sha1(parameters: &HashMap<String, String>) -> Signed<'_> {
        Signed { method: "GET", host: "redis.api.qcloud.com", path: "/v2/index.php", parameters }
    }

    /// The same with a port, POST, values that need encoding on their way, and `_` in a name.
    fn sha256(parameters: &HashMap<String, String>) -> Signed<'_> {
        Signed { method: "POST", host: "127.0.0.1:8086", path: "/v2/index.php", parameters }
    }

    const SHA256_MORE: [(&str, &str); 3] =
        [("SignatureMethod", "HmacSHA256"), ("redisName", "a b+c/ü&d"), ("vpcIds_0", "7")];

    fn gate(token: Option<&str>) -> Gate {
        let id = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE".to_owned();
        let key = Key { id, secret: SECRET.into(), token: token.map(str::to_owned) };
        Gate::new(&[key], Duration::from_secs(300), true)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn code(gate: &mut Gate, request: &Signed<'_>, now: i64) -> Result<(), i64> {
        gate.admit(request, at(now)).map(drop).map_err(|denied| denied.code)
    }

    #[test]
    fn the_text_that_is_signed() {
        assert_eq!(
            sha256(&parameters(&SHA256_MORE)).text(),
            "POST127.0.0.1:8086/v2/index.php?Action=DescribeRedis&Nonce=11886&Region=gz\
             &SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE&SignatureMethod=HmacSHA256&Timestamp=1465185768\
             &limit=20&offset=0&redisName=a b+c/ü&d&vpcIds.0=7"
        );
        let text = sha1(&parameters(&[("Signature", "not part of it")])).text();
        assert!(text.starts_with("GETredis.api.qcloud.com/v2/index.php?Action=") && text.ends_with("&offset=0"));
        assert!(!text.contains("Signature"));
    }

    #[test]
    fn signatures_made_by_another_tool_are_accepted() {
        let parameters_1 = parameters(&[("Signature", SHA1)]);
        assert_eq!(code(&mut gate(None), &sha1(&parameters_1), TIME), Ok(()));
        let parameters_256 = parameters(&[&SHA256_MORE[..], &[("Signature", SHA256)]].concat());
        assert_eq!(code(&mut gate(None), &sha256(&parameters_256), TIME), Ok(()));
    }

    #[test]
    fn any_other_spelling_of_the_method_means_hmac_sha1() {
        let mut parameters = parameters(&[("SignatureMethod", "HMACSHA256")]);
        let signature = sign(SECRET, &sha1(&parameters));
        parameters.insert("Signature".into(), signature);
        assert_eq!(code(&mut gate(None), &sha1(&parameters), TIME), Ok(()));
    }

    #[test]
    fn anything_else_in_a_signed_request_is_4100() {
        let signed = parameters(&[("Signature", SHA1)]);
        let mut changed = signed.clone();
        changed.insert("limit".into(), "21".into());
        let mut added = signed.clone();
        added.insert("unknown".into(), "1".into());
        let mut cut = signed.clone();
        cut.insert("Signature".into(), SHA1[..8].into());
        for request in [
            sha1(&changed),
            sha1(&added),
            sha1(&cut),
            Signed { method: "POST", ..sha1(&signed) },
            Signed { host: "redis.api.qcloud.com:443", ..sha1(&signed) },
            Signed { path: "/v2/", ..sha1(&signed) },
        ] {
            assert_eq!(code(&mut gate(None), &request, TIME), Err(4100), "{}", request.text());
        }
    }

    #[test]
    fn a_missing_or_malformed_common_parameter_is_4000() {
        for name in ["SecretId", "Signature", "Timestamp", "Nonce"] {
            let mut request = parameters(&[("Signature", SHA1)]);
            request.remove(name);
            assert_eq!(code(&mut gate(None), &sha1(&request), TIME), Err(4000), "{name}");
        }
        for (name, value) in [("Nonce", "0"), ("Nonce", "-1"), ("Nonce", "x"), ("Timestamp", "2016-06-06")] {
            let mut request = parameters(&[("Signature", SHA1)]);
            request.insert(name.into(), value.into());
            assert_eq!(code(&mut gate(None), &sha1(&request), TIME), Err(4000), "{name}={value}");
        }
    }

    #[test]
    fn an_unknown_key_is_4104_and_a_wrong_token_4105() {
        let mut request = parameters(&[("Signature", SHA1), ("Token", "t")]);
        assert_eq!(code(&mut gate(None), &sha1(&request), TIME), Err(4105));
        assert_eq!(code(&mut gate(Some("u")), &sha1(&request), TIME), Err(4105));
        assert_eq!(code(&mut gate(Some("t")), &sha1(&request), TIME), Err(4100), "the token is signed too");
        request.insert("SecretId".into(), "AKIDother".into());
        assert_eq!(code(&mut gate(None), &sha1(&request), TIME), Err(4104));
    }

    #[test]
    fn a_timestamp_outside_of_the_window_is_4500() {
        let parameters = parameters(&[("Signature", SHA1)]);
        for (now, expected) in
            [(TIME + 300, Ok(())), (TIME - 300, Ok(())), (TIME + 301, Err(4500)), (TIME - 301, Err(4500))]
        {
            assert_eq!(code(&mut gate(None), &sha1(&parameters), now), expected, "{}", now - TIME);
        }
    }

    #[test]
    fn a_nonce_seen_before_is_4500() {
        let parameters = parameters(&[("Signature", SHA1)]);
        let mut gate = gate(None);
        assert_eq!(code(&mut gate, &sha1(&parameters), TIME), Ok(()));
        assert_eq!(code(&mut gate, &sha1(&parameters), TIME + 300), Err(4500));
        gate.nonces = None;
        assert_eq!(code(&mut gate, &sha1(&parameters), TIME), Ok(()), "no replay protection");
    }

    #[test]
    fn who_can_not_sign_uses_up_no_nonce() {
        let (good, mut bad) = (parameters(&[("Signature", SHA1)]), parameters(&[("Signature", SHA1)]));
        bad.insert("limit".into(), "1".into());
        let mut gate = gate(None);
        assert_eq!(code(&mut gate, &sha1(&bad), TIME), Err(4100));
        assert_eq!(code(&mut gate, &sha1(&good), TIME), Ok(()));
    }

    #[test]
    fn nonces_are_forgotten_once_their_timestamps_are_too_old() {
        let (mut nonces, window) = (Nonces::default(), Duration::from_secs(300));
        assert!(nonces.is_new("a", 1, at(0), window));
        assert!(nonces.is_new("b", 1, at(0), window), "each key has its own");
        assert!(!nonces.is_new("a", 1, at(600), window));
        assert!(nonces.is_new("a", 2, at(601), window));
        assert_eq!((nonces.seen.len(), nonces.by_time.len()), (1, 1));
    }
}
