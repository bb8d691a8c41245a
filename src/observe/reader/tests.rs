use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    book::SendPermit,
    calls::Calls,
    cloud::{
        Accepted, Cloud, CloudClock, DealState, Dialect, ErrorKind, InstanceState, Layout, Page, Price, SizesSold,
        limits::Limits, meaning, v3::DIALECT,
    },
    index::Index,
    queue::Queue,
    secrets::Secrets,
    telemetry::Metrics,
};

const POLICY: Policy = Policy {
    lag: SignedDuration::from_secs(60),
    lifetime: SignedDuration::from_secs(330),
    resync: Duration::from_secs(60),
    active: Duration::from_secs(5),
};

fn seen(size: i64, second: i64) -> Dated<Instance> {
    let (zone_id, type_id) = (None, None);
    let (redis_id, state, layout) = ("crs-1".into(), InstanceState::Running, Layout::default());
    let value = Instance { redis_id, state, size, zone_id, type_id, layout };
    Dated { value, at: jiff::Timestamp::from_second(second).unwrap() }
}

/// A round whose list shows this.
fn list(reader: &Reader, seen: Option<Dated<Instance>>) {
    reader.begin_list();
    seen.into_iter().for_each(|seen| drop(reader.take(seen)));
    reader.end_list(&POLICY, Instant::now(), Ok(()));
}

fn secret() -> SecretUse {
    SecretUse { namespace: "shop".into(), name: "qcloud".into(), version: "1".into() }
}

/// Someone watches crs-1.
fn reader() -> Reader {
    let secret_key = "key".to_owned().into();
    let credentials = crate::cloud::Credentials { secret_id: "AKID1".into(), secret_key, token: None };
    let caller = Caller::new(credentials, "gz".into());
    let reader = Reader::new(caller);
    reader.watch(&Object::new("shop", "sessions"), secret(), &"crs-1".into());
    reader
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_again_is_asked_for_at_once_and_then_no_round_is_hurried() {
    let reader = reader();
    // Long missing, so that it is asked for seldom; then it comes, and goes.
    let ask_ever_more_seldom = || {
        let mut state = reader.state.lock();
        let row = state.rows.get_mut("crs-1").unwrap();
        (0..10).for_each(|_| row.was_asked(false, LONGEST_WAIT, &POLICY));
    };
    list(&reader, None);
    ask_ever_more_seldom();
    list(&reader, Some(seen(1024, 100)));
    list(&reader, None);
    let began = Instant::now();
    assert!(reader.state.lock().rows["crs-1"].asked_by(began).is_some(), "it is due to be asked for");
    assert_eq!(
        reader.next_round(&POLICY, began),
        Some(began + POLICY.active),
        "soon, if this round did not come to it"
    );
    // Whoever can't be asked for now doesn't hurry the next round: that would list without end.
    ask_ever_more_seldom();
    assert_eq!(reader.next_round(&POLICY, began), Some(began + POLICY.resync));
}

#[tokio::test]
async fn a_list_a_little_earlier_than_what_was_seen_is_no_news_and_one_much_earlier_is() {
    let reader = reader();
    let size = || match reader.state.lock().rows["crs-1"].seen.seen("crs-1") {
        Seen::Instance(seen) => seen.value.size,
        other => panic!("{other:?}"),
    };
    for (listed_size, second, expected) in
        [(1024, 1000, 1024), (2048, 1000, 1024), (2048, 970, 1024), (2048, 1001, 2048)]
    {
        list(&reader, Some(seen(listed_size, second)));
        assert_eq!(size(), expected, "{listed_size} MB at {second}");
    }
    // A Date that was three hours ahead must not hide the news of three hours.
    list(&reader, Some(seen(2048, 1002 + 3 * 3600)));
    list(&reader, Some(seen(4096, 1003)));
    assert_eq!(size(), 4096);
}

/// A cloud whose list is empty, and which can be asked for two at once; the first such question fails so.
struct TwoAtOnce {
    first: CloudError,
    asked: AtomicUsize,
    clock: CloudClock,
}

#[async_trait]
impl Cloud for TwoAtOnce {
    fn dialect(&self) -> Dialect {
        DIALECT
    }

    async fn list(&self, _: &Caller, _: usize) -> Result<Dated<Page>, CloudError> {
        Ok(Dated { value: Page { next: None, instances: vec![], doubts: vec![] }, at: Timestamp::UNIX_EPOCH })
    }

    fn most_ids(&self) -> usize {
        2
    }

    async fn list_some(&self, _: &Caller, ids: &[String]) -> Result<Dated<Page>, CloudError> {
        assert!(ids.len() <= 2);
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(self.first.clone());
        }
        let shown = |id: &String| Instance { redis_id: id.clone(), ..seen(1024, 0).value };
        let instances = ids.iter().map(shown).collect();
        Ok(Dated { value: Page { next: None, instances, doubts: vec![] }, at: Timestamp::UNIX_EPOCH })
    }

    async fn find(&self, _: &Caller, _: &str) -> Result<Dated<Option<Instance>>, CloudError> {
        unreachable!("nobody is asked for by itself here")
    }

    async fn upgrade(&self, _: &Caller, _: &Instance, _: SendPermit) -> Result<Dated<Accepted>, CloudError> {
        unreachable!("a reader orders nothing")
    }

    async fn upgrade_price(&self, _: &Caller, _: &Instance, _: i64) -> Result<Dated<Price>, CloudError> {
        unreachable!("a reader orders nothing")
    }

    async fn sizes(&self, _: &Caller, _: &Instance) -> Result<Dated<Option<SizesSold>>, CloudError> {
        unreachable!("a reader orders nothing")
    }

    async fn deal(&self, _: &Caller, _: &Accepted) -> Result<Dated<Option<DealState>>, CloudError> {
        unreachable!("a reader orders nothing")
    }

    fn clock(&self) -> &CloudClock {
        &self.clock
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_question_for_some_leaves_the_others_theirs_and_trouble_ends_them() {
    for (code, asked, found) in [(4000, 3, 3), (4400, 1, 0), (6000, 1, 0)] {
        let kind = ErrorKind::Code(meaning(Some(code), None));
        let first = CloudError { kind, code: Some(code), ..CloudError::no_answer("X", "") };
        let cloud =
            Arc::new(TwoAtOnce { first, asked: AtomicUsize::new(0), clock: CloudClock::new(|| Timestamp::UNIX_EPOCH) });
        let shared = shared(cloud.clone());
        let reader = reader();
        let watch = |id: &str| reader.watch(&Object::new("shop", id), secret(), &id.into());
        (2..=6).for_each(|n| drop(watch(&format!("crs-{n}"))));
        // It isn't there: it is asked for by itself, ever more seldom.
        reader.saw("crs-6", &Seen::Absent(Timestamp::UNIX_EPOCH));
        reader.list(&shared).await.unwrap();
        let listed = reader.state.lock().rows.values().filter(|row| row.listed).count();
        assert_eq!((cloud.asked.load(Ordering::SeqCst), listed), (asked, found), "{code}");
    }
}

/// What readers share, with this cloud, and an API server that knows nothing.
fn shared(cloud: Arc<dyn Cloud>) -> super::super::Shared {
    let service = tower::service_fn(|_: axum::http::Request<kube::client::Body>| async {
        Err::<axum::http::Response<axum::body::Body>, tower::BoxError>("nobody is there".into())
    });
    let (readers, places) = Default::default();
    super::super::Shared {
        calls: Calls::new(cloud, Limits::new(0.0, || 0).unwrap(), Arc::new(Metrics::new())),
        secrets: Secrets::new(kube::Client::new(service, "shop")),
        queue: Queue::new(Arc::new(Index::new(10)), 32),
        policy: POLICY,
        readers,
        places,
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_after_its_page_was_read_costs_no_other_round() {
    let reader = reader();
    reader.begin_list();
    let late =
        |size| Dated { value: Instance { redis_id: "crs-2".into(), ..seen(size, 100).value }, ..seen(size, 100) };
    assert!(reader.take(late(2048)).is_empty(), "nobody watches it yet");
    let watch = |id: &str| reader.watch(&Object::new("shop", id), secret(), &id.into());
    assert_eq!(watch("crs-2"), Some(Seen::Instance(late(2048))));
    assert_eq!(watch("crs-3"), Some(Seen::NotYet { long: false }));
    assert!(
        reader
            .take(Dated { value: Instance { redis_id: "crs-4".into(), ..late(2048).value }, ..late(2048) })
            .is_empty()
    );
    reader.end_list(&POLICY, Instant::now(), Ok(()));
    let missing = |id: &str| reader.state.lock().rows[id].missing;
    assert!(!missing("crs-2"));
    assert!(missing("crs-3"));
    assert!(matches!(watch("crs-4"), Some(Seen::Instance(_))), "nor does one that comes when it has ended");
    reader.begin_list();
    assert!(reader.state.lock().unwatched.is_empty(), "no older than the latest list");
}
