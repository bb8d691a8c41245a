//! The API server as a process meets it: a service below `kube::Client`, so that the operator and kube's own watchers are as they are, before
//! the [`super::store`], with every fault between the two.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use kube::Client;
use serde_json::Value;
use tokio::time::sleep;
use tower::BoxError;

use super::{
    broken::Broken,
    counts::PRUNED,
    gate::{Gate, Point, What},
    judge::{SECRETS, uid},
    store::{Kind, Refusal},
    watch,
    world::{Clock, Millis, State, World},
};

/// A client waits no longer: for a call 5 s, for what a watcher asks until the connection is given up.
const HANGS: Duration = Duration::from_secs(20);

/// How old a list is that should be consistent, where that is broken.
const STALE: Millis = 120_000;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) world: Arc<World>,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Clock,
    pub(super) who: &'static str,
}

/// What is asked.
pub(super) struct Ask {
    verb: Verb,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    name: String,
    label: Option<(String, String)>,
    /// Where a watch begins. For a streaming list: what it shows may be as old as that; `None`: it is as new as the request.
    pub(super) version: Option<u64>,
    /// A watch that begins with all that there is (`sendInitialEvents`).
    pub(super) is_streaming_list: bool,
    body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Merge,
    Apply,
    Delete,
}

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    /// The API server can't be reached.
    Away,
    Refused(u16),
    /// Nobody answers, and it was not carried out, or it was.
    Lost,
    AnswerLost,
    /// The connection breaks, before it was carried out or after.
    Broken,
    AnswerBroken,
    Slow(Millis),
}

type Answer = Result<Response<Body>, BoxError>;

impl Server {
    pub(super) fn client(self) -> Client {
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = self.clone();
            async move { server.serve(request).await }
        });
        Client::new(service, "book")
    }

    async fn serve(&self, request: Request<kube::client::Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let text = std::str::from_utf8(&body)?;
        let ask = Ask::read(&parts.method, &parts.uri, &parts.headers, text)
            .ok_or_else(|| format!("{} {}", parts.method, parts.uri))?;
        let what = ask.what();
        self.gate.pass(what, Point::Before).await;
        let (fate, answer) = {
            let mut state = self.world.at(self.clock.now());
            if SECRETS.iter().any(|secret| text.contains(secret) || parts.uri.to_string().contains(secret)) {
                state
                    .judge
                    .broken(format!("a secret is in a request to the API server: {} {}", ask.namespace, ask.name));
            }
            let fate = fate(&mut state, ask.verb);
            let answer = match fate {
                Fate::Well | Fate::Slow(_) | Fate::AnswerLost | Fate::AnswerBroken => self.carry_out(&mut state, &ask),
                Fate::Refused(code) => Err(Refusal::new(code)),
                Fate::Away | Fate::Lost | Fate::Broken => Ok(String::new()),
            };
            state.note(
                self.who,
                format_args!(
                    "{:?} {:?} {}/{} {:?}: {}",
                    ask.verb,
                    ask.kind,
                    ask.namespace,
                    ask.name,
                    fate,
                    answer.as_ref().map_or_else(|refusal| refusal.code, |_| 200)
                ),
            );
            (fate, answer)
        };
        self.gate.pass(what, Point::Applied).await;
        let broken = || Err("the connection is broken".into());
        let answer = match fate {
            Fate::Away | Fate::Broken | Fate::AnswerBroken => broken(),
            Fate::Lost | Fate::AnswerLost => {
                sleep(HANGS).await;
                broken()
            }
            Fate::Slow(wait) => {
                sleep(Duration::from_millis(wait)).await;
                self.respond(&ask, answer)
            }
            Fate::Well | Fate::Refused(_) => self.respond(&ask, answer),
        };
        self.gate.pass(what, Point::Delivered).await;
        answer
    }

    fn respond(&self, ask: &Ask, answer: Result<String, Refusal>) -> Answer {
        Ok(match answer {
            Ok(_) if ask.verb == Verb::Watch => Response::new(watch::stream(self, ask)),
            Ok(text) => {
                let status = if ask.verb == Verb::Create { 201 } else { 200 };
                Response::builder().status(status).body(Body::from(text))?
            }
            Err(refusal) => Response::builder().status(refusal.code).body(Body::from(refusal.text()))?,
        })
    }

    fn carry_out(&self, state: &mut State, ask: &Ask) -> Result<String, Refusal> {
        let State { store, judge, vendor, counts, plan, chance, now, .. } = state;
        let Ask { verb, kind, namespace, name, body, .. } = ask;
        let (kind, now) = (*kind, *now);
        let before = store.version();
        let answer: Result<String, Refusal> = match verb {
            Verb::Get => {
                store.get(kind, namespace, name).map(|object| object.text.to_string()).ok_or(Refusal::new(404))
            }
            Verb::List => {
                let label = ask.label.as_ref().map(|(key, value)| (key.as_str(), value.as_str()));
                let items = match label {
                    Some(label) if plan.broken == Broken::StaleLists => {
                        store.list_of_before(kind, namespace, label, store.version_at(now.saturating_sub(STALE)))
                    }
                    label => store.list(kind, namespace, label),
                };
                let items = items.join(",");
                Ok(format!(
                    r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{before}"}},"items":[{items}]}}"#
                ))
            }
            // It is without WatchList.
            Verb::Watch if ask.is_streaming_list && !chance.percent(plan.streams) => {
                counts.one("API server: a streaming list refused (422)");
                Err(Refusal::new(422))
            }
            Verb::Watch => Ok(String::new()),
            Verb::Create => {
                if kind == Kind::Upgrade {
                    judge.written(store, vendor, body, now);
                }
                if body["reason"] == "InternalError" {
                    judge.broken(format!("a panic: {}", body["note"]));
                }
                store.create(kind, namespace, body.clone(), now).map(|text| text.to_string())
            }
            Verb::Merge | Verb::Apply => {
                let merge = *verb == Verb::Merge;
                let before = store.get(kind, namespace, name).map(|object| &object.value);
                let before = before.map(|entry| (uid(entry), entry["status"]["phase"].clone()));
                let written = store.write_status(kind, namespace, name, body, merge, now).map(|text| text.to_string());
                if let (Kind::Upgrade, Some((uid, phase)), Ok(_)) = (kind, before, &written) {
                    judge.moved(name, uid, &phase, &body["status"]["phase"], now);
                }
                if let (Kind::Instance, Ok(_), Some(object)) = (kind, &written, store.get(kind, namespace, name)) {
                    judge.told(vendor, &object.value);
                }
                written
            }
            Verb::Delete => {
                let entry = store.get(kind, namespace, name).map(|object| object.value.clone());
                let deleted = store.delete(kind, namespace, name, &body["preconditions"], now);
                if let (Kind::Upgrade, Some(entry), Ok(_)) = (kind, entry, &deleted) {
                    judge.pruned(store, vendor, &entry, now);
                    counts.one(PRUNED);
                }
                deleted.map(|text| text.to_string())
            }
        };
        if store.version() > before {
            judge.last_write = Some((now, format!("{verb:?} {kind:?} {namespace}/{name} {body}")));
            self.world.changed.notify_waiters();
        }
        answer
    }
}

impl Ask {
    /// The operator asks nothing else than this.
    fn read(method: &Method, uri: &axum::http::Uri, headers: &axum::http::HeaderMap, body: &str) -> Option<Self> {
        let mut path = uri.path().split("/namespaces/").nth(1)?.split('/');
        let (namespace, plural, name) = (path.next()?, path.next()?, path.next().unwrap_or_default());
        let is_status = path.next() == Some("status");
        let kind = match plural {
            "redisinstances" => Kind::Instance,
            "redisupgrades" => Kind::Upgrade,
            "secrets" => Kind::Secret,
            "events" => Kind::Event,
            _ => return None,
        };
        let query: Vec<(&str, &str)> =
            uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parameter = |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let verb = match method.as_str() {
            "GET" if parameter("watch").is_some() => Verb::Watch,
            "GET" if name.is_empty() => Verb::List,
            "GET" => Verb::Get,
            "POST" => Verb::Create,
            "DELETE" => Verb::Delete,
            "PATCH" if is_status && headers.get("content-type")?.to_str().ok()?.starts_with("application/merge") => {
                Verb::Merge
            }
            "PATCH" if is_status => Verb::Apply,
            _ => return None,
        };
        let label = parameter("labelSelector").and_then(|label| {
            let label = label.replace("%2F", "/").replace("%3D", "=");
            label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        });
        let version = parameter("resourceVersion").and_then(|version| version.parse().ok());
        let is_streaming_list = verb == Verb::Watch && parameter("sendInitialEvents") == Some("true");
        let needs = [("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true")];
        let has_all = needs.iter().all(|(name, value)| parameter(name) == Some(*value));
        // A version in it would be answered from a cache, however old.
        if verb == Verb::Watch && if is_streaming_list { !has_all || version.is_some() } else { version.is_none() } {
            return None;
        }
        Some(Self {
            verb,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            label,
            version,
            is_streaming_list,
            body: if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? },
        })
    }

    fn what(&self) -> What {
        match (self.verb, self.kind) {
            (Verb::List, Kind::Upgrade) if self.label.is_some() => What::ReadBook,
            (Verb::Get, Kind::Instance) => What::Confirm,
            (Verb::Create, Kind::Upgrade) => What::Create,
            (Verb::Merge, Kind::Upgrade) => What::Record,
            (Verb::Apply, Kind::Instance) => What::Status,
            _ => What::Other,
        }
    }
}

fn fate(state: &mut State, verb: Verb) -> Fate {
    if state.now < state.api_away_until {
        return Fate::Away;
    }
    let is_read = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    let percent = if is_read { state.plan.api_reads } else { state.plan.api_writes };
    if state.is_calm() || !state.chance.percent(percent) {
        return Fate::Well;
    }
    let (fate, fault) = match (state.chance.below(9), is_read) {
        (0, true) => (Fate::Refused(429), "API server: a read refused"),
        (1, true) => (Fate::Refused(500), "API server: a read refused"),
        (2 | 3, true) => (Fate::Lost, "API server: a read hangs"),
        (4 | 5, true) => (Fate::Broken, "API server: connection broken"),
        (0, false) => (Fate::Refused(403), "API server: a write refused (403)"),
        (1, false) => (Fate::Refused(422), "API server: a write refused (422)"),
        (2, false) => (Fate::Refused(429), "API server: a write refused (429)"),
        (3, false) => (Fate::Refused(500), "API server: a write refused (500)"),
        (4, false) => (Fate::Lost, "API server: a write lost"),
        (5, false) => (Fate::AnswerLost, "API server: a write carried out, answer lost"),
        (6, false) => (Fate::Broken, "API server: connection broken"),
        (7, false) => (Fate::AnswerBroken, "API server: a write carried out, connection broken"),
        _ => (Fate::Slow(state.chance.between(50, 8000)), "API server: a slow answer"),
    };
    state.struck(fault);
    fate
}
