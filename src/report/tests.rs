use super::*;
use crate::{
    api::testing::{self, at, failure, placed, settled, settled_by, written},
    cloud::{InstanceState, Layout},
    decide::{LookError, LookFailure},
};

fn verdict(health: Health, reason: &str, error: Option<Failure>) -> Verdict {
    Verdict { health, reason: reason.into(), message: format!("{reason}: do something."), error }
}

fn seen(state: InstanceState, size: i64) -> Seen {
    let value =
        Instance { redis_id: "crs-1".into(), state, size, zone_id: None, type_id: None, layout: Layout::default() };
    Seen::Instance(Dated { value, at: at(100).0 })
}

/// The instance with the status that tells this.
fn told(mut instance: RedisInstance, entries: &[RedisUpgrade], verdict: &Verdict, second: i64) -> RedisInstance {
    instance.status =
        Some(status(&instance, entries, &seen(InstanceState::Running, 1024), verdict, false, at(second).0));
    instance
}

fn after(instance: &RedisInstance) -> RedisInstanceStatus {
    instance.status.clone().unwrap()
}

/// Status and observed generation of each condition, all of the same reason.
fn shown(status: &RedisInstanceStatus) -> Vec<(String, String)> {
    status.conditions.iter().map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
}

#[test]
fn each_health_is_told_in_the_sense_of_kstatus() {
    let cases = [
        (Health::Ready, ["True", "False", "False"]),
        (Health::Reconciling, ["False", "True", "False"]),
        (Health::Stalled, ["False", "False", "True"]),
        (Health::Unknown, ["Unknown", "False", "False"]),
    ];
    for (health, states) in cases {
        let mut instance = testing::instance("sessions", "uid", 1024);
        instance.metadata.generation = Some(3);
        let status = after(&told(instance, &[], &verdict(health, "Word", None), 5));
        let expected: Vec<_> = ["Ready", "Reconciling", "Stalled"].into_iter().zip(states).collect();
        let shown = shown(&status);
        assert_eq!(shown.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>(), expected);
        assert_eq!(status.observed_generation, Some(3));
        for condition in &status.conditions {
            assert_eq!((condition.observed_generation, condition.reason.as_str()), (Some(3), "Word"));
            assert_eq!(condition.message, "Word: do something.");
        }
    }
}

#[test]
fn the_same_told_again_later_changes_nothing() {
    let error = failure(Some(10702), "InstanceStatusAbnormal", 5);
    let stalled = verdict(Health::Stalled, "InstanceStatusAbnormal", Some(error.clone()));
    let instance = told(testing::instance("sessions", "uid", 2048), &[], &stalled, 5);
    let later = verdict(Health::Stalled, "InstanceStatusAbnormal", Some(Failure { time: at(999), ..error }));
    assert_eq!(after(&told(instance.clone(), &[], &later, 999)), after(&instance));
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let instance =
        told(testing::instance("sessions", "uid", 2048), &[], &verdict(Health::Reconciling, "Ordering", None), 5);
    let upgrading = told(instance, &[], &verdict(Health::Reconciling, "Upgrading", None), 6);
    let ready = told(upgrading.clone(), &[], &verdict(Health::Ready, "InSync", None), 7);
    let times = |instance: &RedisInstance| -> Vec<i64> {
        after(instance).conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect()
    };
    assert_eq!(times(&upgrading), [5, 5, 5]);
    assert_eq!(times(&ready), [7, 7, 5], "Stalled was False before");
}

#[test]
fn an_error_has_the_time_of_its_first_occurrence_and_goes_with_its_cause() {
    let refused =
        |second| verdict(Health::Stalled, "Balance", Some(failure(Some(100_207), "AccountBalanceNotEnough", second)));
    let first = told(testing::instance("sessions", "uid", 2048), &[], &refused(5), 5);
    let second = told(first, &[], &refused(60), 60);
    assert_eq!(after(&second).last_error.unwrap().time, at(5), "it is the same refusal, tried again");
    let another = verdict(Health::Stalled, "Other", Some(failure(Some(10703), "InvalidMemSize", 70)));
    assert_eq!(after(&told(second.clone(), &[], &another, 70)).last_error.unwrap().time, at(70));
    let gone = told(second, &[], &verdict(Health::Reconciling, "Upgrading", None), 80);
    assert_eq!(after(&gone).last_error, None);
    assert_eq!(after(&told(gone, &[], &refused(90), 90)).last_error.unwrap().time, at(90));
}

#[test]
fn size_and_state_are_those_of_the_look_and_stay_while_none_succeeds() {
    let mut instance = testing::instance("sessions", "uid", 1024);
    let ready = verdict(Health::Ready, "InSync", None);
    let with = |instance: &RedisInstance, seen: &Seen| status(instance, &[], seen, &ready, false, at(5).0);
    instance.status = Some(with(&instance, &seen(InstanceState::Unknown(-3), 1024)));
    assert_eq!(after(&instance).instance_status.as_deref(), Some("Unknown(-3)"));
    let failed = Seen::Failed(LookFailure { cause: LookError::Credentials(String::new()), lasting: true });
    for unseen in [failed, Seen::NotYet { long: true }] {
        let kept = with(&instance, &unseen);
        assert_eq!((kept.mem_size, kept.instance_status.as_deref()), (Some(1024), Some("Unknown(-3)")));
    }
    let absent = with(&instance, &Seen::Absent(at(9).0));
    assert_eq!((absent.mem_size, absent.instance_status), (None, None), "a size that nothing has any more");
}

#[test]
fn the_newest_entry_is_mirrored_and_the_deal_of_the_newest_accepted_one() {
    let with_deal = |deal: &str, status| crate::api::RedisUpgradeStatus { deal_id: Some(deal.into()), ..status };
    let entries = [
        testing::entry(1, 1024, 2048, 10, with_deal("1", settled(Phase::Fulfilled, 20))),
        testing::entry(2, 2048, 4096, 30, with_deal("2", settled(Phase::Failed, 40))),
        testing::entry(3, 2048, 4096, 50, settled_by(Phase::Refused, 60, Some(4400), "QuotaExceeded")),
    ];
    let instance = testing::instance("sessions", "uid", 4096);
    let status = after(&told(instance, &entries, &verdict(Health::Reconciling, "RateLimited", None), 60));
    let upgrade = status.upgrade.unwrap();
    assert_eq!((upgrade.name.as_str(), upgrade.phase, upgrade.deal_id), ("crs-1-3", Phase::Refused, None));
    assert_eq!((upgrade.from, upgrade.to, upgrade.signed_at), (2048, 4096, at(50)));
    assert_eq!(status.deal_id.as_deref(), Some("2"));
}

#[test]
fn the_book_is_mirrored_also_while_nothing_new_is_seen() {
    let entries = |status| [testing::entry(1, 1024, 2048, 10, status)];
    let ordering = verdict(Health::Reconciling, "Ordering", None);
    let before = told(testing::instance("sessions", "uid", 2048), &entries(written()), &ordering, 10);
    let unseen = verdict(Health::AsBefore, "CloudUnavailable", None);
    let now = after(&told(before.clone(), &entries(placed()), &unseen, 20));
    assert_eq!(now.upgrade.as_ref().unwrap().phase, Phase::Placed);
    assert_eq!(now.deal_id.as_deref(), Some("4711"));
    let before = after(&before);
    assert_eq!(RedisInstanceStatus { upgrade: before.upgrade.clone(), deal_id: None, ..now }, before, "all else stays");
}

#[test]
fn the_annotation_is_echoed_once_it_was_handled() {
    let mut instance = testing::instance("sessions", "uid", 1024);
    instance.metadata.annotations = Some([("crs.qcloud.com/requestedAt".to_owned(), "x".repeat(300))].into());
    let told = |instance: &RedisInstance, health, handled| {
        status(instance, &[], &Seen::NotYet { long: false }, &verdict(health, "Word", None), handled, at(5).0)
            .last_handled_requested_at
    };
    assert_eq!(told(&instance, Health::Ready, false), None);
    let echoed = told(&instance, Health::AsBefore, true);
    assert_eq!(echoed.as_deref(), Some("x".repeat(256).as_str()), "bounded");
    instance.status = Some(RedisInstanceStatus { last_handled_requested_at: echoed.clone(), ..Default::default() });
    assert_eq!(told(&instance, Health::Ready, false), echoed, "and kept");
}

#[test]
fn a_reason_is_always_a_word_that_the_api_server_takes() {
    assert_eq!(word("InSync"), "InSync");
    assert_eq!(word("Limit.Exceeded now"), "LimitExceedednow");
    assert_eq!(word("4711"), "Code4711");
    assert_eq!(word("余额"), "Code");
    assert!(word(&"x".repeat(5000)).len() <= 1024);
}

#[test]
fn a_message_is_cut_to_what_fits_between_characters() {
    let long = Verdict { message: "余".repeat(5000), ..verdict(Health::Stalled, "Word", None) };
    let status = after(&told(testing::instance("sessions", "uid", 1024), &[], &long, 5));
    assert!(status.conditions.iter().all(|condition| condition.message.chars().count() == MESSAGE_CHARS));
}
