//! Who sends a request of 3.0: the headers that are signed, by TC3-HMAC-SHA256 (213/30654).
//!
//! There is no nonce: who sends a signed request twice within the window has it carried out twice.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Key;

const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// A code of 3.0, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: &'static str,
    pub message: String,
}

pub(super) fn failure(code: &'static str, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

fn malformed(what: &str) -> Failure {
    failure("AuthFailure.InvalidAuthorization", what)
}

/// What a signature is about: a POST to `/`.
pub(super) struct Signed<'a> {
    /// `redis`; another one in the vendor's example.
    pub service: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// `TC3-HMAC-SHA256 Credential=ID/DATE/SERVICE/tc3_request, SignedHeaders=NAME;NAME, Signature=HEX`
struct Authorization<'a> {
    id: &'a str,
    date: &'a str,
    service: &'a str,
    names: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?.split(',').map(str::trim);
        let mut field = |name: &str| fields.next()?.strip_prefix(name);
        let (credential, names) = (field("Credential=")?, field("SignedHeaders=")?);
        let signature = field("Signature=")?;
        let [id, date, service, "tc3_request"] = credential.split('/').collect::<Vec<_>>()[..] else { return None };
        fields.next().is_none().then_some(Authorization { id, date, service, names, signature })
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // Never the error: HMAC takes a key of any length.
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

impl Signed<'_> {
    /// A header that must be there, and be text.
    pub fn header(&self, name: &str) -> Result<&str, Failure> {
        let value = self.headers.get(name).ok_or_else(|| failure("MissingParameter", format!("{name} is missing")))?;
        value.to_str().map_err(|_| failure("InvalidParameter", format!("{name} is no text")))
    }

    fn canonical(&self, names: &str) -> Result<String, Failure> {
        let list: Vec<_> = names.split(';').collect();
        if !list.is_sorted_by(|a, b| a < b) || names.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed("SignedHeaders are sorted names in lower case"));
        }
        if !list.contains(&"content-type") || !list.contains(&"host") {
            return Err(malformed("SignedHeaders must have content-type and host"));
        }
        let mut lines = String::new();
        for name in list {
            let value = self.header(name).map_err(|_| malformed("a header of SignedHeaders isn't there"))?;
            lines += &format!("{name}:{}\n", value.trim().to_lowercase());
        }
        Ok(format!("POST\n/\n\n{lines}\n{names}\n{}", hex(Sha256::digest(self.body))))
    }

    pub fn sign(&self, secret: &str, timestamp: &str, date: &str, names: &str) -> Result<String, Failure> {
        let scope = format!("{date}/{}/tc3_request", self.service);
        let digest = hex(Sha256::digest(self.canonical(names)?));
        let text = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{digest}");
        let key = scope.split('/').fold(format!("TC3{secret}").into_bytes(), |key, part| hmac(&key, part));
        Ok(hex(hmac(&key, &text)))
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    keys: HashMap<String, Key>,
    window: Duration,
}

impl Gate {
    pub fn new(keys: &[Key], window: Duration) -> Self {
        Gate { keys: keys.iter().map(|key| (key.id.clone(), key.clone())).collect(), window }
    }

    /// The account whose request this is. First what needs no secret, then the signature, and only then the time.
    pub fn admit(&self, request: &Signed<'_>, now: Timestamp) -> Result<String, Failure> {
        let authorization = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Authorization { id, date, service, names, signature } = authorization
            .and_then(Authorization::parse)
            .ok_or_else(|| malformed("Authorization is missing, or not as TC3-HMAC-SHA256 has it"))?;
        let text = request.header("x-tc-timestamp")?;
        let Some(timestamp) = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()) else {
            return Err(failure("InvalidParameter", "X-TC-Timestamp must be in Unix seconds"));
        };
        if service != request.service || date != timestamp.strftime("%Y-%m-%d").to_string() {
            return Err(malformed("Credential has another service, or another date (UTC) than X-TC-Timestamp"));
        }
        let key = self.keys.get(id).ok_or_else(|| failure("AuthFailure.SecretIdNotFound", "no such SecretId"))?;
        let token = request.headers.get("x-tc-token").map(|token| token.as_bytes());
        if key.token.as_ref().map(String::as_bytes) != token {
            return Err(failure("AuthFailure.TokenFailure", "X-TC-Token is not the one of this SecretId"));
        }
        if request.sign(&key.secret, text, date, names)? != signature {
            let message = "the signature doesn't fit the request and the key";
            return Err(failure("AuthFailure.SignatureFailure", message));
        }
        let off = now.as_second().abs_diff(timestamp.as_second());
        if Duration::from_secs(off) > self.window {
            let message = format!("X-TC-Timestamp is {off} s away from the cloud's clock");
            return Err(failure("AuthFailure.SignatureExpire", message));
        }
        Ok(id.to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    /// For tests of what comes after the signature: the header's value for a request that has all others.
    pub fn authorize(id: &str, secret: &str, names: &str, request: &Signed<'_>) -> HeaderValue {
        let timestamp = request.header("x-tc-timestamp").unwrap();
        let date = at(timestamp.parse().unwrap()).strftime("%Y-%m-%d").to_string();
        let signature = request.sign(secret, timestamp, &date, names).unwrap();
        let service = request.service;
        let text = format!(
            "{ALGORITHM} Credential={id}/{date}/{service}/tc3_request, SignedHeaders={names}, Signature={signature}"
        );
        HeaderValue::try_from(text).unwrap()
    }

    const ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE";
    const SECRET: &str = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE";
    const TIME: i64 = 1_551_113_065;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    // The signatures are from another tool (python3: hmac, hashlib), by what 213/30654 says, of these bodies and headers.
    const PLAIN: &str = "f5e8d1cf145fd600e32b80e56463b6dd87f8568e9480ce882e6530003d894e1f";
    const LAST_SECOND_OF_A_DAY: &str = "c352922415a4b4f61d3c2ff8e11c4e98e2e03d4b6ba8a297030404cb6ec9440c";
    const MORE: &str = "52fce429a0b603864eafca5b280e34495dcb51e769041764649d710ae681d8de";
    const NAMES: &str = "content-type;host";

    fn header_map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn authorization(date: &str, names: &str, signature: &str) -> String {
        format!("{ALGORITHM} Credential={ID}/{date}/redis/tc3_request, SignedHeaders={names}, Signature={signature}")
    }

    /// A signed `{}`; later headers take the place of earlier ones.
    fn plain(more: &[(&str, &str)]) -> HeaderMap {
        let mut headers = header_map(&[
            ("content-type", "application/json"),
            ("host", "127.0.0.1:8086"),
            ("x-tc-timestamp", "1551113065"),
            ("authorization", &authorization("2019-02-25", NAMES, PLAIN)),
        ]);
        headers.extend(header_map(more));
        headers
    }

    fn gate(token: Option<&str>) -> Gate {
        let key = Key { id: ID.into(), secret: SECRET.into(), token: token.map(str::to_owned) };
        Gate::new(&[key], Duration::from_secs(300))
    }

    fn code(token: Option<&str>, headers: &HeaderMap, body: &str, now: i64) -> Result<(), &'static str> {
        let request = Signed { service: "redis", headers, body: body.as_bytes() };
        gate(token).admit(&request, at(now)).map(drop).map_err(|failure| failure.code)
    }

    #[test]
    fn the_vendors_own_example_is_accepted() {
        let names = [
            ("content-type", "application/json; charset=utf-8"),
            ("host", "cvm.tencentcloudapi.com"),
            ("x-tc-timestamp", "1551113065"),
            (
                "authorization",
                "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, \
                 SignedHeaders=content-type;host, \
                 Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
            ),
        ];
        let body = br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let request = Signed { service: "cvm", headers: &header_map(&names), body };
        assert_eq!(
            request.canonical(NAMES).unwrap(),
            "POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n\n\
             content-type;host\n35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
        );
        assert_eq!(gate(None).admit(&request, at(TIME)).as_deref(), Ok(ID));
    }

    #[test]
    fn signatures_made_by_another_tool_are_accepted() {
        assert_eq!(code(None, &plain(&[]), "{}", TIME), Ok(()));
        // Values are trimmed and in lower case when signed, and the token may be signed too.
        let names = "content-type;host;x-tc-action;x-tc-token";
        let more = plain(&[
            ("x-tc-action", " UpgradeInstance "),
            ("x-tc-token", "Tok.En/1"),
            ("authorization", &authorization("2019-02-25", names, MORE)),
        ]);
        assert_eq!(code(Some("Tok.En/1"), &more, r#"{"InstanceId":"crs-ü","MemSize":2048}"#, TIME), Ok(()));
    }

    #[test]
    fn the_date_is_that_of_the_timestamp_in_utc() {
        let late = 1_551_139_199;
        let signed = |date: &str| {
            plain(&[
                ("host", "redis.tencentcloudapi.com"),
                ("x-tc-timestamp", "1551139199"),
                ("authorization", &authorization(date, NAMES, LAST_SECOND_OF_A_DAY)),
            ])
        };
        assert_eq!(code(None, &signed("2019-02-25"), "{}", late), Ok(()));
        assert_eq!(code(None, &signed("2019-02-25"), "{}", late + 60), Ok(()), "by then it is tomorrow");
        assert_eq!(code(None, &signed("2019-02-26"), "{}", late), Err("AuthFailure.InvalidAuthorization"));
    }

    #[test]
    fn anything_else_in_what_is_signed_is_a_signature_failure() {
        let failed = Err("AuthFailure.SignatureFailure");
        assert_eq!(code(None, &plain(&[]), "{} ", TIME), failed);
        for more in [
            ("host", "127.0.0.1"),
            ("content-type", "application/json; charset=utf-8"),
            ("x-tc-timestamp", "1551113066"),
            ("authorization", &authorization("2019-02-25", NAMES, &PLAIN.replace('f', "e"))),
            ("authorization", &authorization("2019-02-25", NAMES, &PLAIN[..63])),
        ] {
            assert_eq!(code(None, &plain(&[more]), "{}", TIME), failed, "{more:?}");
        }
        assert_eq!(code(None, &plain(&[("x-tc-action", "NotSigned")]), "{}", TIME), Ok(()));
    }

    #[test]
    fn an_authorization_that_is_not_as_documented_is_invalid() {
        let good = authorization("2019-02-25", NAMES, PLAIN);
        for wrong in [
            "".to_owned(),
            good.replace("TC3-HMAC-SHA256", "TC3-HMAC-SHA1"),
            good.replace("/redis/", "/cvm/"),
            good.replace("/tc3_request", ""),
            good.replace("2019-02-25", "2019-02-24"),
            good.replace(NAMES, "host;content-type"),
            good.replace(NAMES, "Content-Type;Host"),
            good.replace(NAMES, "content-type"),
            good.replace(NAMES, "host"),
            good.replace(NAMES, "content-type;host;host"),
            good.replace(NAMES, "content-type;host;x-tc-action"),
            good.replace("Signature=", "signature="),
            format!("{good}, More=1"),
        ] {
            let answer = code(None, &plain(&[("authorization", &wrong)]), "{}", TIME);
            assert_eq!(answer, Err("AuthFailure.InvalidAuthorization"), "{wrong}");
        }
        let mut without = plain(&[]);
        without.remove("authorization");
        assert_eq!(code(None, &without, "{}", TIME), Err("AuthFailure.InvalidAuthorization"));
    }

    #[test]
    fn a_timestamp_must_be_there_and_be_one() {
        let mut without = plain(&[]);
        without.remove("x-tc-timestamp");
        assert_eq!(code(None, &without, "{}", TIME), Err("MissingParameter"));
        for wrong in ["", "2019-02-25", "99999999999999"] {
            let answer = code(None, &plain(&[("x-tc-timestamp", wrong)]), "{}", TIME);
            assert_eq!(answer, Err("InvalidParameter"), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_and_a_wrong_token_are_named() {
        let other = authorization("2019-02-25", NAMES, PLAIN).replace("AKID", "AKIDx");
        let answer = code(None, &plain(&[("authorization", &other)]), "{}", TIME);
        assert_eq!(answer, Err("AuthFailure.SecretIdNotFound"));
        let wrong = Err("AuthFailure.TokenFailure");
        assert_eq!(code(Some("t"), &plain(&[]), "{}", TIME), wrong, "missing");
        assert_eq!(code(Some("t"), &plain(&[("x-tc-token", "u")]), "{}", TIME), wrong);
        assert_eq!(code(None, &plain(&[("x-tc-token", "t")]), "{}", TIME), wrong, "the key has none");
        assert_eq!(code(Some("t"), &plain(&[("x-tc-token", "t")]), "{}", TIME), Ok(()), "it needn't be signed");
    }

    #[test]
    fn a_signature_is_good_for_the_window_and_as_often_as_one_likes() {
        let expired = Err("AuthFailure.SignatureExpire");
        let gate = gate(None);
        for (off, expected) in [(300, Ok(())), (-300, Ok(())), (300, Ok(())), (301, expired), (-301, expired)] {
            let request = Signed { service: "redis", headers: &plain(&[]), body: b"{}" };
            let answer = gate.admit(&request, at(TIME + off)).map(drop).map_err(|failure| failure.code);
            assert_eq!(answer, expected, "{off}");
        }
    }
}
