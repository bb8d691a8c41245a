//! A watch: what was written since its version, late where the history says so, and cut now and then. Before that, where a streaming list is
//! asked for, all that there was at its version.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::json;
use tokio::time::timeout_at;

use super::{
    server::{Ask, Server},
    store::{Kind, Refusal},
    world::Millis,
};

/// The client asks for a watch of 290 s.
const LASTS: Millis = 290_000;
const BOOKMARKS: Millis = 60_000;

struct Watch {
    server: Server,
    kind: Kind,
    namespace: String,
    /// What was sent.
    version: u64,
    /// What a streaming list still shows, before the bookmark that ends it; `None` after that.
    list: Option<std::vec::IntoIter<Arc<str>>>,
    /// When the next of it is sent, and how long after that the one after.
    next: Millis,
    pause: Millis,
    /// How late what is written is sent.
    late: Millis,
    began: Millis,
    ends: Millis,
    bookmark: Millis,
    over: bool,
}

pub(super) fn stream(server: &Server, ask: &Ask) -> Body {
    let now = server.clock.now();
    let mut guard = server.world.at(now);
    let state = &mut *guard;
    let most = state.plan.watch_late;
    let late = if state.is_calm() || !state.chance.percent(50) { 0 } else { state.chance.below(most + 1) };
    let cut = !state.is_calm() && state.chance.percent(state.plan.watch_cuts);
    let ends = now + if cut { state.chance.below(60_000) } else { LASTS };
    let version = if ask.is_streaming_list { state.store.version() } else { ask.version.unwrap_or(0) };
    let list = ask.is_streaming_list.then(|| state.store.list(ask.kind, &ask.namespace, None));
    drop(guard);
    let watch = Watch {
        server: server.clone(),
        kind: ask.kind,
        namespace: ask.namespace.clone(),
        version,
        next: now,
        // In as long as what is written is late.
        pause: late / list.as_ref().map_or(1, |list| list.len().max(1) as Millis),
        list: list.map(Vec::into_iter),
        late,
        began: now,
        ends,
        bookmark: now + BOOKMARKS,
        over: false,
    };
    Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), watch))
    }))
}

impl Watch {
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        loop {
            let world = self.server.world.clone();
            let changed = world.changed.notified();
            let wake = {
                let now = self.server.clock.now();
                let mut state = world.at(now);
                if now >= self.ends || self.began < state.watches_cut_at {
                    if now < self.ends || self.ends < self.began + LASTS {
                        let is_list = self.list.is_some();
                        state.struck(if is_list {
                            "API server: a streaming list cut"
                        } else {
                            "API server: a watch cut"
                        });
                    }
                    return None;
                }
                if self.version < state.store.compacted {
                    state.struck("API server: a watch's version is compacted (410)");
                    self.over = true;
                    return Some(event("ERROR", &Refusal::new(410).text()));
                }
                let calm_at = state.plan.calm_at;
                // What is late comes at the latest when all is calm.
                let shows = |at: Millis, late: Millis| (at + late).min(at.max(calm_at));
                if let Some(list) = &mut self.list {
                    if self.next <= now {
                        self.next = shows(now, self.pause);
                        let Some(object) = list.next() else {
                            self.list = None;
                            return Some(self.marked(true));
                        };
                        return Some(event("ADDED", &object));
                    }
                    self.next.min(self.ends)
                } else {
                    match state.store.since(self.version, self.kind, &self.namespace) {
                        Some(change) => {
                            let shows = shows(change.at, self.late);
                            if shows <= now {
                                self.version = change.version;
                                let line = event(change.what, &change.text);
                                if self.late > 0 {
                                    state.struck("API server: a watch is late");
                                }
                                return Some(line);
                            }
                            shows.min(self.ends)
                        }
                        None if now >= self.bookmark => {
                            self.bookmark = now + BOOKMARKS;
                            self.version = state.store.version();
                            return Some(self.marked(false));
                        }
                        None => self.bookmark.min(self.ends),
                    }
                }
            };
            // Whatever comes first, it is looked at again.
            let _ = timeout_at(self.server.clock.instant(wake), changed).await;
        }
    }

    /// The version that all was sent of, and whether a streaming list ends with that.
    fn marked(&self, ends_list: bool) -> String {
        let kind = if self.kind == Kind::Instance { "RedisInstance" } else { "RedisUpgrade" };
        let annotations = if ends_list { json!({ "k8s.io/initial-events-end": "true" }) } else { json!({}) };
        let metadata = json!({ "resourceVersion": self.version.to_string(), "annotations": annotations });
        let object = json!({ "kind": kind, "apiVersion": "crs.qcloud.com/v1alpha1", "metadata": metadata });
        event("BOOKMARK", &object.to_string())
    }
}

fn event(what: &str, object: &str) -> String {
    format!("{{\"type\":\"{what}\",\"object\":{object}}}\n")
}
