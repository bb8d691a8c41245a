use super::*;
use crate::cloud::{InstanceState, Layout};

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
