//! Signature of API version 2 (372/4153).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

use crate::cloud::digest::mac;

/// How requests are signed; the documents have both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureMethod {
    HmacSha1,
    #[default]
    HmacSha256,
}

impl SignatureMethod {
    /// Value of the parameter `SignatureMethod`: the cloud takes any other spelling for HmacSHA1.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HmacSHA1",
            Self::HmacSha256 => "HmacSHA256",
        }
    }
}

/// Base64 of the signature of a POST to `authority` and `path` with these parameters, values raw.
pub(super) fn signature(
    method: SignatureMethod,
    key: &SecretString,
    authority: &str,
    path: &str,
    parameters: &[(String, String)],
) -> String {
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    let joined: Vec<_> = sorted.iter().map(|(name, value)| format!("{}={value}", name.replace('_', "."))).collect();
    let signed = format!("POST{authority}{path}?{}", joined.join("&"));
    let key = key.expose_secret().as_bytes();
    match method {
        SignatureMethod::HmacSha1 => STANDARD.encode(mac::<Hmac<Sha1>>(key, &signed)),
        SignatureMethod::HmacSha256 => STANDARD.encode(mac::<Hmac<Sha256>>(key, &signed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed apart from this code, by python3:
    //   import hmac, base64
    //   def sign(host, params, key, hash):
    //       text = "&".join(f"{n.replace('_', '.')}={params[n]}" for n in sorted(params))
    //       text = f"POST{host}/v2/index.php?{text}"
    //       print(base64.b64encode(hmac.new(key.encode(), text.encode(), hash).digest()).decode())
    fn signed(method: SignatureMethod, host: &str, parameters: &[(&str, &str)]) -> String {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        signature(method, &"exampleKey".to_owned().into(), host, "/v2/index.php", &parameters)
    }

    #[test]
    fn hmac_sha256_as_computed_elsewhere() {
        let parameters = [
            ("redisId", "crs-ifmymj41"),
            ("offset", "0"),
            ("limit", "20"),
            ("Action", "DescribeRedis"),
            ("Timestamp", "1465185768"),
            ("Nonce", "11886"),
            ("SecretId", "AKIDexample"),
            ("Region", "gz"),
            ("SignatureMethod", "HmacSHA256"),
        ];
        let signed = signed(SignatureMethod::HmacSha256, "redis.api.qcloud.com", &parameters);
        assert_eq!(signed, "+nJgNR0B7DpbNSRSDHRihYm3rAf85cx1F2mzmvJmedc=");
    }

    #[test]
    fn hmac_sha1_with_port_raw_values_and_an_underscore_as_computed_elsewhere() {
        let parameters = [
            ("Action", "DescribeRedisProduct"),
            ("Nonce", "345122"),
            ("Region", "sh"),
            ("SecretId", "AKIDexample"),
            ("SignatureMethod", "HmacSHA1"),
            ("Timestamp", "1408704141"),
            ("Token", "to+ken/1=="),
            ("zone_ids.0", "a b&c=d"),
        ];
        assert_eq!(signed(SignatureMethod::HmacSha1, "127.0.0.1:8080", &parameters), "0JG+GK3FErWdlKANHsgifth7Dn4=");
    }
}
