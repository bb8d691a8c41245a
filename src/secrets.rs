//! The Secrets with the cloud's keys: read one by one (no right to list or watch them is asked for), and kept for half a minute.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use moka::{Expiry, future::Cache};
use secrecy::SecretString;

use crate::{
    api_server::{CALL, plain, within},
    cloud::Credentials,
};

const KEPT: Duration = Duration::from_secs(30);
/// A Secret is often made just after what needs it.
const UNUSABLE_KEPT: Duration = Duration::from_secs(1);

/// What a Secret holds, and which version of it.
#[derive(Clone, Debug)]
pub struct Keys {
    pub credentials: Credentials,
    pub version: String,
}

/// Why there are no usable credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Somebody must act: a sentence that says what to do.
    #[error("{0}")]
    Unusable(String),
    /// The API server can't be asked now.
    #[error("Secret {0} could not be read: {1}")]
    Api(String, String),
}

#[derive(Clone)]
pub struct Secrets {
    client: Client,
    kept: Cache<(String, String), Result<Keys, Error>>,
}

impl Secrets {
    pub fn new(client: Client) -> Self {
        Self { client, kept: Cache::builder().max_capacity(10_000).expire_after(Kept).build() }
    }

    /// The keys in a Secret, as they were at most half a minute ago. Many who ask at once cause one call.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Keys, Error> {
        self.kept.get_with((namespace.to_owned(), name.to_owned()), read(&self.client, namespace, name)).await
    }

    /// Reads it again the next time.
    pub async fn forget(&self, namespace: &str, name: &str) {
        self.kept.invalidate(&(namespace.to_owned(), name.to_owned())).await;
    }
}

struct Kept;

impl Expiry<(String, String), Result<Keys, Error>> for Kept {
    fn expire_after_create(&self, _: &(String, String), read: &Result<Keys, Error>, _: Instant) -> Option<Duration> {
        Some(if read.is_ok() { KEPT } else { UNUSABLE_KEPT })
    }
}

async fn read(client: &Client, namespace: &str, name: &str) -> Result<Keys, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |cause: String| Error::Api(format!("{namespace}/{name}"), cause);
    let secret = match within(CALL, api.get_opt(name)).await {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Err(Error::Unusable(format!(
                "The operator may not read Secret {name}: allow its ServiceAccount to get Secrets in namespace {namespace}."
            )));
        }
        // serde quotes what it can't read.
        Err(kube::Error::SerdeError(_)) => return Err(failed("the API server's answer can't be read".to_owned())),
        Err(error) => return Err(failed(plain(&error))),
        Ok(None) => {
            return Err(Error::Unusable(format!(
                "Secret {name} doesn't exist in namespace {namespace}: create it, with the keys secretId and secretKey, or correct credentialsSecretRef.name."
            )));
        }
        Ok(Some(secret)) => secret,
    };
    parse(&secret).map_err(|problem| Error::Unusable(format!("Secret {name}: {problem}")))
}

pub(crate) fn parse(secret: &Secret) -> Result<Keys, String> {
    let field = |key: &str| -> Result<Option<String>, String> {
        let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let text =
            std::str::from_utf8(&bytes.0).map_err(|_| format!("{key} is not UTF-8 text: store it again."))?.trim();
        // 3.0 puts them into headers, which hold nothing else; no key of the cloud has anything else.
        if !text.chars().all(|char| char.is_ascii_graphic()) {
            return Err(format!(
                "{key} has something else in it than ASCII letters, digits and signs: store it again."
            ));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    };
    let needed = |key: &str| field(key)?.ok_or(format!("{key} is missing or empty: add it."));
    Ok(Keys {
        credentials: Credentials {
            secret_id: needed("secretId")?,
            secret_key: SecretString::from(needed("secretKey")?),
            token: field("token")?.map(SecretString::from),
        },
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    use super::*;

    fn secret(fields: &[(&str, &[u8])]) -> Secret {
        let data = fields.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn white_space_at_the_ends_is_trimmed() {
        let keys = parse(&secret(&[("secretId", b"AKID1\n"), ("secretKey", b" key\r\n"), ("token", b"\n")])).unwrap();
        assert_eq!(keys.credentials.secret_id, "AKID1");
        assert_eq!(keys.credentials.secret_key.expose_secret(), "key");
        assert!(keys.credentials.token.is_none());
    }

    #[test]
    fn each_defect_is_named_and_no_value_is_shown() {
        for (fields, problem) in [
            (vec![("secretId", &b"AKID1"[..])], "secretKey is missing or empty: add it."),
            (vec![("secretId", b" "), ("secretKey", b"hunter2")], "secretId is missing or empty: add it."),
            (vec![("secretId", b"AKID1"), ("secretKey", b"\xff\xfe")], "secretKey is not UTF-8 text: store it again."),
            (
                vec![("secretId", b"AKID1"), ("secretKey", b"hun ter2")],
                "secretKey has something else in it than ASCII letters, digits and signs: store it again.",
            ),
        ] {
            assert_eq!(parse(&secret(&fields)).unwrap_err(), problem);
        }
    }
}
