use super::*;
use crate::api::{
    Phase,
    testing::{entry, placed, settled, written},
};

/// Entry crs-1-`number` in the version `version`.
fn version(number: u64, version: u64, phase: Phase) -> RedisUpgrade {
    let status = match phase {
        Phase::Written => written(),
        Phase::Placed => placed(),
        phase => settled(phase, 0),
    };
    let mut entry = entry(number, 1024, 2048, 0, status);
    entry.metadata.resource_version = Some(version.to_string());
    entry.metadata.labels = Some([(REDIS_ID_LABEL.to_owned(), "crs-1".to_owned())].into());
    entry
}

fn shows(cache: &Cache) -> Vec<(u64, Phase)> {
    cache.entries("crs-1").iter().map(|entry| (entry.number(), entry.phase())).collect()
}

#[test]
fn entries_come_lowest_number_first() {
    let cache = Cache::default();
    for number in [10, 9, 2, 1] {
        assert_eq!(cache.apply(Event::Apply(version(number, number, Phase::Refused))), ["crs-1"]);
    }
    assert_eq!(shows(&cache).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 9, 10]);
    assert!(cache.entries("crs-2").is_empty());
}

#[test]
fn the_entry_of_another_instance_that_got_this_ones_label_is_none_of_it() {
    let cache = Cache::default();
    cache.put(version(1, 1, Phase::Refused));
    let mut foreign = version(2, 2, Phase::Written);
    foreign.metadata.name = Some("crs-2-2".into());
    foreign.spec.redis_id = "crs-2".into();
    cache.put(foreign.clone());
    assert_eq!(shows(&cache), [(1, Phase::Refused)]);
}

#[test]
fn an_older_version_never_hides_a_newer_one() {
    let cache = Cache::default();
    cache.put(version(1, 10, Phase::Placed));
    cache.apply(Event::Apply(version(1, 9, Phase::Written)));
    assert_eq!(shows(&cache), [(1, Phase::Placed)]);
    cache.apply(Event::Apply(version(1, 11, Phase::Fulfilled)));
    assert_eq!(shows(&cache), [(1, Phase::Fulfilled)]);
}

#[test]
fn a_read_shows_what_is_gone_and_keeps_what_came_after_it() {
    let cache = Cache::default();
    for entry in [version(1, 5, Phase::Refused), version(2, 21, Phase::Placed), version(3, 22, Phase::Written)] {
        cache.put(entry.clone());
    }
    cache.put_all("crs-1", &[version(2, 20, Phase::Written)], Some("20"));
    assert_eq!(shows(&cache), [(2, Phase::Placed), (3, Phase::Written)], "1 was deleted; 2 and 3 were written since");
    cache.put_all("crs-1", &[], Some("30"));
    assert_eq!(shows(&cache), []);
}

#[test]
fn a_new_list_takes_effect_when_it_is_whole_and_names_all_whose_entries_have_changed() {
    let cache = Cache::default();
    cache.apply(Event::Apply(version(1, 1, Phase::Fulfilled)));
    let mut other = version(1, 2, Phase::Written);
    other.metadata.name = Some("crs-2-1".into());
    other.metadata.labels = Some([(REDIS_ID_LABEL.to_owned(), "crs-2".to_owned())].into());
    other.spec.redis_id = "crs-2".into();
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(other));
    assert_eq!(shows(&cache), [(1, Phase::Fulfilled)], "not yet");
    assert_eq!(cache.apply(Event::InitDone), ["crs-1", "crs-2"]);
    assert_eq!((cache.entries("crs-1").len(), cache.entries("crs-2").len()), (0, 1));
    let known = cache.entries("crs-2").remove(0);
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(known));
    assert!(cache.apply(Event::InitDone).is_empty(), "the same once more");
}

#[test]
fn a_list_that_was_cut_off_leaves_nothing_to_the_next() {
    let cache = Cache::default();
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(version(1, 1, Phase::Fulfilled)));
    cache.apply(Event::Init);
    cache.apply(Event::InitApply(version(2, 2, Phase::Fulfilled)));
    cache.apply(Event::InitDone);
    assert_eq!(shows(&cache), [(2, Phase::Fulfilled)]);
}

#[test]
fn a_deleted_entry_is_gone() {
    let cache = Cache::default();
    cache.put(version(1, 1, Phase::Refused));
    cache.put(version(2, 2, Phase::Refused));
    assert_eq!(cache.apply(Event::Delete(version(1, 1, Phase::Refused))), ["crs-1"]);
    assert_eq!(shows(&cache), [(2, Phase::Refused)]);
}

#[test]
fn what_only_the_api_server_needs_is_not_kept() {
    let cache = Cache::default();
    let mut entry = version(1, 1, Phase::Refused);
    entry.metadata.managed_fields = Some(vec![Default::default()]);
    cache.put(entry.clone());
    assert_eq!(cache.entries("crs-1")[0].metadata.managed_fields, None);
}

#[tokio::test(start_paused = true)]
async fn how_long_an_entry_is_known_goes_by_when_it_was_first_seen_in_that_phase_in_whatever_way() {
    let (cache, second) = (Cache::default(), std::time::Duration::from_secs(1));
    let with_uid = |number, at, phase| {
        let mut entry = version(number, at, phase);
        entry.metadata.uid = Some(format!("uid-{number}"));
        entry
    };
    let open = with_uid(1, 5, Phase::Written);
    assert_eq!(cache.known_for(&open), std::time::Duration::ZERO);
    cache.put(open.clone());
    tokio::time::advance(second).await;
    cache.apply(Event::Apply(open.clone()));
    cache.put_all("crs-1", std::slice::from_ref(&open), Some("6"));
    for event in [Event::Init, Event::InitApply(open.clone()), Event::InitDone] {
        cache.apply(event);
    }
    assert_eq!(cache.known_for(&open), second);
    cache.apply(Event::Delete(open.clone()));
    assert_eq!(cache.known_for(&open), std::time::Duration::ZERO, "one that is written again is another");
    cache.put(open.clone());
    tokio::time::advance(second).await;
    let fulfilled = with_uid(1, 8, Phase::Fulfilled);
    assert_eq!(cache.known_for(&fulfilled), std::time::Duration::ZERO, "not yet in that phase");
    cache.put(fulfilled.clone());
    tokio::time::advance(second).await;
    cache.put(with_uid(1, 9, Phase::Fulfilled));
    assert_eq!(cache.known_for(&fulfilled), second);
}
