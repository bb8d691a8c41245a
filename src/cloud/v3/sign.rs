//! Signature of API 3.0: TC3-HMAC-SHA256 (213/30654).

use hmac::Hmac;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::cloud::Credentials;
use crate::cloud::digest::{hex, mac};

const ALGORITHM: &str = "TC3-HMAC-SHA256";
/// Signed are these two, as the vendor's own libraries do it: with more, documents disagree on how their values are spelt.
const SIGNED_HEADERS: &str = "content-type;host";

/// What of a POST to `/` is signed.
pub(super) struct Signed<'a> {
    pub(super) service: &'a str,
    /// As in the Host header: with the port when there is one.
    pub(super) host: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    pub(super) timestamp: Timestamp,
}

/// The header `Authorization`, and the signature that stands in it.
pub(super) fn authorization(credentials: &Credentials, request: &Signed<'_>) -> (String, String) {
    let Signed { service, host, content_type, body, timestamp } = request;
    let canonical = format!(
        "POST\n/\n\ncontent-type:{content_type}\nhost:{host}\n\n{SIGNED_HEADERS}\n{}",
        hex(Sha256::digest(body))
    );
    let date = timestamp.strftime("%Y-%m-%d").to_string();
    let scope = format!("{date}/{service}/tc3_request");
    let text =
        format!("{ALGORITHM}\n{}\n{scope}\n{}", timestamp.as_second(), hex(Sha256::digest(canonical.as_bytes())));
    let key = format!("TC3{}", credentials.secret_key.expose_secret());
    let key = [date.as_str(), service, "tc3_request"]
        .iter()
        .fold(key.into_bytes(), |key, part| mac::<Hmac<Sha256>>(&key, part));
    let signature = hex(mac::<Hmac<Sha256>>(&key, &text));
    let id = &credentials.secret_id;
    let header = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}");
    (header, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, key: &str) -> Credentials {
        Credentials { secret_id: id.into(), secret_key: key.to_owned().into(), token: None }
    }

    /// The example of document 213/30654 (of another service).
    #[test]
    fn the_published_example() {
        let request = Signed {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            content_type: "application/json; charset=utf-8",
            body: br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#,
            timestamp: Timestamp::from_second(1_551_113_065).unwrap(),
        };
        let (header, signature) = authorization(
            &credentials("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"),
            &request,
        );
        assert_eq!(signature, "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168");
        assert_eq!(
            header,
            "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host, \
             Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
        );
    }

    // Computed apart from this code, by python3:
    //   import hmac, hashlib, datetime
    //   def sign(key, host, body, t):
    //       h = lambda k, s: hmac.new(k, s.encode(), hashlib.sha256)
    //       d = datetime.datetime.fromtimestamp(t, datetime.UTC).strftime("%Y-%m-%d")
    //       c = f"POST\n/\n\ncontent-type:application/json\nhost:{host}\n\ncontent-type;host\n" + hashlib.sha256(body).hexdigest()
    //       s = f"TC3-HMAC-SHA256\n{t}\n{d}/redis/tc3_request\n" + hashlib.sha256(c.encode()).hexdigest()
    //       k = h(h(h(("TC3" + key).encode(), d).digest(), "redis").digest(), "tc3_request").digest()
    //       print(h(k, s).hexdigest())
    //   sign("exampleKey", "127.0.0.1:8086", b'{"InstanceId":"crs-ifmymj41"}', 1795564799)
    //   sign("exampleKey", "127.0.0.1:8086", b'{"InstanceId":"crs-ifmymj41"}', 1795564800)
    #[test]
    fn with_a_port_and_across_midnight_in_utc_as_computed_elsewhere() {
        for (second, expected) in [
            (1_795_564_799, "216a4793fbfa6ef4cb0c0b15d62b0473e4c6f0375fb41ce48c4ecd6f9f0bd37f"),
            (1_795_564_800, "46f826d479bcadb19dda4d2f3441e4afe162b711cfedb0ec03badd0cdb86ea0c"),
        ] {
            let request = Signed {
                service: "redis",
                host: "127.0.0.1:8086",
                content_type: "application/json",
                body: br#"{"InstanceId":"crs-ifmymj41"}"#,
                timestamp: Timestamp::from_second(second).unwrap(),
            };
            assert_eq!(authorization(&credentials("AKIDexample", "exampleKey"), &request).1, expected);
        }
    }
}
