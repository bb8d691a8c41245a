//! The Secrets with the cloud's keys: read one by one (no right to list or watch them is asked for), and kept for half a minute.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    api_server::{CALL, plain, within},
    cloud::{Account, Caller, Credentials},
};

const KEPT: Duration = Duration::from_secs(30);
/// A Secret is often made just after what needs it.
const UNUSABLE_KEPT: Duration = Duration::from_secs(1);
const MOST_KEPT: usize = 10_000;

/// What a Secret holds, and which version of it.
#[derive(Clone, Debug)]
pub struct Keys {
    pub credentials: Arc<Credentials>,
    pub account: Account,
    pub version: String,
}

impl Keys {
    pub fn caller(&self, region: &str) -> Caller {
        let Self { credentials, account, .. } = self;
        Caller { credentials: credentials.clone(), account: account.clone(), region: region.to_owned() }
    }
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

/// By namespace and name. Who finds one that is still being read waits for it.
type Kept = HashMap<(String, String), Arc<OnceCell<Read>>>;

/// What was read, and until when it is good.
type Read = (Result<Keys, Error>, Instant);

#[derive(Clone)]
pub struct Secrets {
    client: Client,
    kept: Arc<Mutex<Kept>>,
}

impl Secrets {
    pub fn new(client: Client) -> Self {
        Self { client, kept: Arc::default() }
    }

    /// The keys in a Secret, as they were at most half a minute ago. Many who ask at once cause one call.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Keys, Error> {
        let place = self.place(namespace, name);
        let read = async {
            let keys = read(&self.client, namespace, name).await;
            let kept = if keys.is_ok() { KEPT } else { UNUSABLE_KEPT };
            (keys, Instant::now() + kept)
        };
        place.get_or_init(|| read).await.0.clone()
    }

    /// Reads it again the next time.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.kept.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Where that Secret is kept, or is to be.
    fn place(&self, namespace: &str, name: &str) -> Arc<OnceCell<Read>> {
        let now = Instant::now();
        let is_good = |place: &OnceCell<Read>| place.get().is_none_or(|(_, until)| now < *until);
        let mut kept = self.kept.lock();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, place| is_good(place));
        }
        // To forget costs a call, no more.
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        let place = kept.entry((namespace.to_owned(), name.to_owned())).or_default();
        if !is_good(place) {
            *place = Arc::default();
        }
        place.clone()
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
    let credentials = Credentials {
        secret_id: needed("secretId")?,
        secret_key: SecretString::from(needed("secretKey")?),
        token: field("token")?.map(SecretString::from),
    };
    Ok(Keys {
        account: Account::of(&credentials),
        credentials: credentials.into(),
        version: secret.metadata.resource_version.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{
        body::Body,
        http::{Request, Response},
    };
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    use super::*;

    fn secret(fields: &[(&str, &[u8])]) -> Secret {
        let data = fields.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    /// Secrets of an API server that has one, and how often that was asked for.
    fn secrets() -> (Secrets, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |_: Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let text = r#"{"metadata":{"resourceVersion":"7"},"data":{"secretId":"QUtJRDE=","secretKey":"a2V5"}}"#;
            async move { Ok::<_, tower::BoxError>(Response::new(Body::from(text))) }
        });
        (Secrets::new(Client::new(service, "shop")), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_cause_one_call_and_it_is_good_for_half_a_minute() {
        let (secrets, asked) = secrets();
        let all = futures::future::join_all((0..50).map(|_| secrets.get("shop", "qcloud"))).await;
        assert!(all.iter().all(|keys| keys.as_ref().is_ok_and(|keys| keys.version == "7")));
        tokio::time::advance(KEPT / 2).await;
        secrets.get("shop", "qcloud").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(KEPT / 2).await;
        secrets.get("shop", "qcloud").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        secrets.forget("shop", "qcloud");
        secrets.get("shop", "qcloud").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_so_many() {
        let (secrets, _) = secrets();
        for number in 0..=MOST_KEPT {
            secrets.get("shop", &number.to_string()).await.unwrap();
        }
        assert!(secrets.kept.lock().len() <= MOST_KEPT);
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
