//! The Secret, as anybody who may write one made it.

use k8s_openapi::api::core::v1::Secret;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use super::{assert_clean, decode};
use crate::{cloud::Caller, secrets::parse};

/// The Secret as the API server sends it.
pub(super) fn content(data: &[u8]) {
    let Some(secret) = decode::<Secret>(data) else { return };
    let values = secret.data.iter().flat_map(|data| data.values());
    let values: Vec<_> = values.map(|value| String::from_utf8_lossy(&value.0).into_owned()).collect();
    let values: Vec<_> = values.iter().flat_map(|value| [value.as_str(), value.trim()]).collect();
    match parse(&secret) {
        Err(problem) => assert_clean(&problem, 200, &values, ""),
        Ok(keys) => {
            let credentials = keys.credentials.clone();
            let (key, token) = (credentials.secret_key.expose_secret(), &credentials.token);
            for text in
                [&credentials.secret_id, key].into_iter().chain(token.as_ref().map(|token| token.expose_secret()))
            {
                assert!(!text.is_empty() && HeaderValue::from_str(text).is_ok_and(|value| value.to_str().is_ok()));
            }
            let hidden = [key, token.as_ref().map_or("", |token| token.expose_secret())];
            let known = format!("{} {}", credentials.secret_id, keys.version);
            assert_clean(&format!("{:?}", (token.is_some(), &keys.credentials.secret_key)), 200, &hidden, &known);
            let caller = Caller::new(keys.credentials, "gz".into());
            assert_clean(&format!("{:?}", caller.account), 200, &hidden, &known);
        }
    }
}
