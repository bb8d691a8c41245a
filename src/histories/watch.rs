//! A watch: what was written since its version, late where the history says so, and cut now and then.

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
    drop(guard);
    let watch = Watch {
        server: server.clone(),
        kind: ask.kind,
        namespace: ask.namespace.clone(),
        version: ask.version,
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
                        state.struck("API server: a watch cut");
                    }
                    return None;
                }
                if self.version < state.store.compacted {
                    state.struck("API server: a watch's version is compacted (410)");
                    self.over = true;
                    return Some(event("ERROR", &Refusal::new(410).text()));
                }
                let calm_at = state.plan.calm_at;
                let from = state.store.changes.partition_point(|change| change.version <= self.version);
                let mine = |kind: Kind, namespace: &str| kind == self.kind && namespace == self.namespace;
                let next = state.store.changes[from..].iter().find(|change| mine(change.kind, &change.namespace));
                match next {
                    Some(change) => {
                        // What is late comes at the latest when all is calm.
                        let shows = (change.at + self.late).min(change.at.max(calm_at));
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
                        return Some(self.marked());
                    }
                    None => self.bookmark.min(self.ends),
                }
            };
            // Whatever comes first, it is looked at again.
            let _ = timeout_at(self.server.clock.instant(wake), changed).await;
        }
    }

    fn marked(&self) -> String {
        let (kind, version) = match self.kind {
            Kind::Instance => ("RedisInstance", self.version),
            _ => ("RedisUpgrade", self.version),
        };
        let object = json!({ "kind": kind, "apiVersion": "crs.qcloud.com/v1alpha1", "metadata": { "resourceVersion": version.to_string() } });
        event("BOOKMARK", &object.to_string())
    }
}

fn event(what: &str, object: &str) -> String {
    format!("{{\"type\":\"{what}\",\"object\":{object}}}\n")
}
