use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::{
    book::SendPermit,
    cloud::{
        Accepted, Cloud, CloudClock, DealState, Dialect, ErrorKind, InstanceState, Layout, Page, Price, SizesSold,
        limits::Limits, meaning, v3::DIALECT,
    },
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

fn listed(seen: Option<Dated<Instance>>) -> Result<HashMap<String, Dated<Instance>>, CloudError> {
    Ok(seen.map(|seen| ("crs-1".to_owned(), seen)).into_iter().collect())
}

/// Someone watches crs-1.
fn reader() -> Reader {
    let secret_key = "key".to_owned().into();
    let credentials = crate::cloud::Credentials { secret_id: "AKID1".into(), secret_key, token: None };
    let caller = Caller::new(credentials, "gz".into());
    let reader = Reader::new(caller);
    reader.watch(
        &Object::new("sessions").within("shop"),
        &SecretUse { name: "qcloud".into(), version: "1".into() },
        "crs-1",
    );
    reader
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_again_is_asked_for_at_once_and_then_no_round_is_hurried() {
    let reader = reader();
    // Long missing, so that it is asked for seldom; then it comes, and goes.
    reader.take(&POLICY, Instant::now(), listed(None));
    {
        let mut state = reader.state.lock();
        let row = state.rows.get_mut("crs-1").unwrap();
        (row.ask_wait, row.ask_at) = (LONGEST_WAIT, Instant::now() + LONGEST_WAIT);
    }
    reader.take(&POLICY, Instant::now(), listed(Some(seen(1024, 100))));
    reader.take(&POLICY, Instant::now(), listed(None));
    let began = Instant::now();
    assert!(reader.state.lock().rows["crs-1"].ask_at <= began, "it is due to be asked for");
    assert_eq!(
        reader.next_round(&POLICY, began),
        Some(began + POLICY.active),
        "soon, if this round did not come to it"
    );
    // Whoever can't be asked for now doesn't hurry the next round: that would list without end.
    reader.state.lock().rows.get_mut("crs-1").unwrap().ask_at = began + LONGEST_WAIT;
    assert_eq!(reader.next_round(&POLICY, began), Some(began + POLICY.resync));
}

#[tokio::test]
async fn a_list_a_little_earlier_than_what_was_seen_is_no_news_and_one_much_earlier_is() {
    let reader = reader();
    let size = || match &reader.state.lock().rows["crs-1"].seen {
        Seen::Instance(seen) => seen.value.size,
        other => panic!("{other:?}"),
    };
    for (listed_size, second, expected) in
        [(1024, 1000, 1024), (2048, 1000, 1024), (2048, 970, 1024), (2048, 1001, 2048)]
    {
        reader.take(&POLICY, Instant::now(), listed(Some(seen(listed_size, second))));
        assert_eq!(size(), expected, "{listed_size} MB at {second}");
    }
    // A Date that was three hours ahead must not hide the news of three hours.
    reader.take(&POLICY, Instant::now(), listed(Some(seen(2048, 1002 + 3 * 3600))));
    reader.take(&POLICY, Instant::now(), listed(Some(seen(4096, 1003))));
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
        let calls = Calls::new(cloud.clone(), Limits::new(0.0, || 0).unwrap(), Arc::new(Metrics::new()));
        let reader = reader();
        for n in 2..=5 {
            reader.state.lock().rows.insert(format!("crs-{n}"), Row::new());
        }
        // It isn't there: it is asked for by itself, ever more seldom.
        reader
            .state
            .lock()
            .rows
            .insert("crs-6".into(), Row { seen: Seen::Absent(Timestamp::UNIX_EPOCH), ..Row::new() });
        let listed = reader.list(&calls).await.unwrap();
        assert_eq!((cloud.asked.load(Ordering::SeqCst), listed.len()), (asked, found), "{code}");
    }
}
