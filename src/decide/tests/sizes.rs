//! Sizes and states, with a book that is settled (B6, B7, B8, and §1 of the contract).

use super::*;
use crate::{
    api::{
        NEVER_SENT, Phase,
        testing::{settled, settled_by},
    },
    decide::Verdict,
};

/// The status that `case`'s verdict leaves, as the next decision finds it.
fn told(mut case: Case) -> Case {
    let decision = case.decide();
    case.instance.status =
        Some(crate::report::status(&case.instance, &case.entries, &case.seen, &decision.verdict, false, case.now));
    case
}

fn error(verdict: &Verdict) -> (Option<i64>, &str, Option<&str>, &str) {
    let error = verdict.error.as_ref().unwrap();
    (error.code, &error.code_desc, error.cloud_code.as_deref(), &error.action)
}

#[test]
fn growth_of_a_running_instance_is_ordered_to_the_declared_size() {
    wants(4096).runs(1024, SIGNED).orders(1024, 4096);
}

#[test]
fn the_size_declared_is_in_sync_running_or_in_process() {
    assert_eq!(wants(2048).runs(2048, SIGNED).rests(Health::Ready, "InSync"), None);
    assert_eq!(wants(2048).sees(InstanceState::InProcess, 2048, SIGNED).rests(Health::Ready, "InSync"), None);
}

#[test]
fn growth_waits_until_the_instance_runs() {
    for state in [InstanceState::InProcess, InstanceState::Initializing] {
        let case = wants(2048).sees(state, 1024, SIGNED);
        case.rests(Health::Reconciling, "InstanceStatusAbnormal");
        assert!(case.decide().active, "it is looked at often");
    }
}

#[test]
fn an_instance_that_is_isolated_or_in_an_unknown_state_is_stalled_whatever_its_size() {
    for state in [InstanceState::Isolated, InstanceState::Unknown(7)] {
        for size in [1024, 2048, 4096] {
            let case = wants(2048).sees(state, size, SIGNED);
            case.rests(Health::Stalled, "InstanceStatusAbnormal");
            assert!(!case.decide().active);
            let decision = case.decide();
            assert_eq!(
                error(&decision.verdict),
                (Some(10702), "InstanceStatusAbnormal", None, "DescribeRedis"),
                "the operator found it itself"
            );
        }
    }
}

#[test]
fn an_instance_that_the_cloud_does_not_have_is_10701() {
    let case = wants(2048).absent(SIGNED);
    case.rests(Health::Stalled, "InstanceNotExists");
    assert_eq!(error(&case.decide().verdict), (Some(10701), "InstanceNotExists", None, "DescribeRedis"));
}

#[test]
fn a_new_declaration_below_the_real_size_is_11057_and_says_what_to_declare() {
    let case = wants(2048).runs(4096, SIGNED);
    case.rests(Health::Stalled, "ReduceCapacityNotAllowed");
    let verdict = case.decide().verdict;
    assert_eq!(error(&verdict), (Some(11057), "ReduceCapacityNotAllowed", None, "UpgradeRedis"));
    assert!(verdict.message.contains("memSize: 4096"), "{}", verdict.message);
    told(case).rests(Health::Stalled, "ReduceCapacityNotAllowed");
}

#[test]
fn growth_from_elsewhere_keeps_a_ready_declaration_ready() {
    let ready = told(wants(2048).runs(2048, SIGNED));
    let grown = ready.runs(4096, SIGNED + 60);
    assert_eq!(grown.rests(Health::Ready, "LargerThanDeclared"), None);
    let again = told(grown).runs(8192, SIGNED + 120);
    again.rests(Health::Ready, "LargerThanDeclared");
    again.generation(2).rests(Health::Stalled, "ReduceCapacityNotAllowed");
}

#[test]
fn no_trouble_in_between_makes_growth_from_elsewhere_an_error_or_a_shrink_none() {
    let troubles: [fn(Case) -> Case; 5] = [
        |case| case.fails(None, true),
        |case| case.fails(Some(4100), true),
        |case| case.fails(Some(4200), true),
        |case| case.sees(InstanceState::Isolated, 2048, SIGNED + 60),
        |case| case.absent(SIGNED + 60),
    ];
    for trouble in troubles {
        let ready = told(trouble(told(wants(2048).runs(2048, SIGNED))));
        ready.runs(4096, SIGNED + 120).rests(Health::Ready, "LargerThanDeclared");
        let refused = told(trouble(told(wants(2048).runs(4096, SIGNED))));
        refused.runs(4096, SIGNED + 120).rests(Health::Stalled, "ReduceCapacityNotAllowed");
    }
}

#[test]
fn in_observe_a_gap_is_reported_and_nothing_is_ordered() {
    for state in [InstanceState::Running, InstanceState::InProcess, InstanceState::Initializing] {
        assert_eq!(wants(2048).observes().sees(state, 1024, SIGNED).rests(Health::Ready, "Observed"), None);
    }
    wants(2048).observes().runs(4096, SIGNED).rests(Health::Ready, "Observed");
    wants(2048).observes().runs(2048, SIGNED).rests(Health::Ready, "InSync");
}

#[test]
fn one_that_another_owns_does_nothing_whatever_is_seen() {
    let mut case = wants(2048).runs(1024, SIGNED);
    case.owner = Some("shop/other".into());
    case.rests(Health::Stalled, "DuplicateRedisId");
    assert!(case.decide().verdict.message.contains("shop/other"));
}

#[test]
fn one_that_may_be_anothers_orders_nothing_and_what_was_told_stays() {
    let mut case = wants(2048).runs(1024, SIGNED);
    let unsure = |case: &Case| {
        let owner = Some(Owner { name: "shop/other", is_sure: false });
        decide(&case.policy, &Situation { owner, ..case.situation() })
    };
    let untold = unsure(&case);
    assert_eq!((untold.verdict.health, untold.step), (Health::Reconciling, None), "it must not look finished");
    let told = case.decide().verdict;
    case.instance.status = Some(crate::report::status(&case.instance, &[], &case.seen, &told, false, case.now));
    assert_eq!((unsure(&case).verdict.health, unsure(&case).step), (Health::AsBefore, None));
}

#[test]
fn a_growth_that_was_bought_is_not_bought_again_when_the_size_is_gone() {
    let case = wants(2048).entry(1024, 2048, settled(Phase::Fulfilled, SIGNED));
    assert_eq!(case.clone().runs(1024, SIGNED + LAG).rests(Health::Reconciling, "Upgrading"), Some(LAG));
    let regressed = case.clone().runs(1024, SIGNED + LAG + 1);
    assert_eq!(regressed.rests(Health::Stalled, "SizeRegressed"), None);
    assert!(regressed.decide().verdict.message.contains("crs.qcloud.com/proceed-after=crs-1-1"));
    regressed.clone().generation(9).rests(Health::Stalled, "SizeRegressed");
    regressed.annotated(PROCEED_AFTER, "crs-1-1").orders(1024, 2048);
}

#[test]
fn go_on_said_of_an_entry_that_is_yet_to_come_orders_nothing_until_it_is_taken_back() {
    let case = wants(2048).runs(1024, SIGNED);
    let early = case.clone().annotated(PROCEED_AFTER, "crs-1-1");
    assert_eq!(early.rests(Health::Stalled, "InvalidParameter"), None);
    let message = early.decide().verdict.message;
    assert!(message.contains("kubectl annotate crs sessions -n shop crs.qcloud.com/proceed-after-"), "{message}");
    case.annotated(PROCEED_AFTER, "crs-2-1").orders(1024, 2048);
}

#[test]
fn go_on_is_not_said_of_a_look_that_may_show_the_size_of_before() {
    let bought = wants(2048).entry(1024, 2048, settled(Phase::Fulfilled, SIGNED));
    let case = bought.annotated(PROCEED_AFTER, "crs-1-1");
    assert_eq!(case.clone().runs(1024, SIGNED + LAG).rests(Health::Reconciling, "Upgrading"), Some(LAG));
    case.runs(1024, SIGNED + LAG + 1).orders(1024, 2048);
}

#[test]
fn a_time_of_settling_that_is_yet_to_come_holds_nothing_up() {
    const YEAR: i64 = 365 * 24 * 3600;
    let settled_wrong = |phase| settled_by(phase, SIGNED + YEAR, Some(10702), "InstanceStatusAbnormal");
    let paid = wants(2048).entry(1024, 2048, settled_wrong(Phase::Fulfilled));
    paid.runs(1024, SIGNED + LAG + 1).rests(Health::Stalled, "SizeRegressed");
    for (phase, backoff) in [(Phase::Failed, 2 * LAG), (Phase::Refused, LAG)] {
        let tried = wants(2048).entry(1024, 2048, settled_wrong(phase));
        assert_eq!(tried.clone().runs(1024, SIGNED).decide().again, Some(at(SIGNED + backoff).0), "{phase:?}");
        tried.runs(1024, SIGNED + backoff + 1).orders(1024, 2048);
    }
}

#[test]
fn a_larger_size_than_what_was_bought_is_a_new_growth() {
    wants(4096).entry(1024, 2048, settled(Phase::Fulfilled, SIGNED)).runs(2048, SIGNED + 1).orders(2048, 4096);
}

#[test]
fn an_older_purchase_counts_even_below_newer_entries() {
    wants(4096)
        .entry(1024, 4096, settled(Phase::Fulfilled, SIGNED))
        .entry(1024, 2048, settled(Phase::Fulfilled, SIGNED + 500))
        .runs(2048, SIGNED + 2000)
        .rests(Health::Stalled, "SizeRegressed");
}

#[test]
fn failed_orders_are_tried_twice_more_backing_off_and_then_a_person_must_look() {
    let failed = || settled_by(Phase::Failed, SIGNED, None, "UpgradeFailed");
    let once = wants(2048).entry(1024, 2048, failed());
    assert_eq!(once.clone().runs(1024, SIGNED + 2 * LAG).rests(Health::Reconciling, "UpgradeFailed"), Some(2 * LAG));
    once.clone().runs(1024, SIGNED + 2 * LAG + 1).orders(1024, 2048);
    let twice = once.entry(1024, 2048, failed());
    assert_eq!(twice.clone().runs(1024, SIGNED + 4 * LAG).rests(Health::Reconciling, "UpgradeFailed"), Some(4 * LAG));
    twice.clone().runs(1024, SIGNED + 4 * LAG + 1).orders(1024, 2048);
    let thrice = twice.entry(1024, 2048, failed()).runs(1024, SIGNED + 86_400);
    assert_eq!(thrice.rests(Health::Stalled, "UpgradeFailed"), None);
    thrice.clone().annotated(PROCEED_AFTER, "crs-1-2").orders(1024, 2048);
    thrice.annotated(PROCEED_AFTER, "crs-1-3").orders(1024, 2048);
}

#[test]
fn a_success_makes_older_failures_forgotten() {
    let failed = || settled_by(Phase::Failed, SIGNED, None, "UpgradeFailed");
    let case = wants(4096).entry(1024, 2048, failed()).entry(1024, 2048, failed()).entry(1024, 2048, failed());
    case.entry(1024, 2048, settled(Phase::Fulfilled, SIGNED)).runs(2048, SIGNED + 1).orders(2048, 4096);
}

#[test]
fn an_order_that_was_delivered_unseen_is_not_tried_again_by_itself() {
    let case = wants(2048).entry(1024, 2048, settled_by(Phase::Failed, SIGNED, None, "SizeNotSeen"));
    let later = case.runs(1024, SIGNED + 86_400);
    later.rests(Health::Stalled, "SizeNotSeen");
    later.clone().annotated(REQUESTED_AT, "now").rests(Health::Stalled, "SizeNotSeen");
    later.annotated(PROCEED_AFTER, "crs-1-1").orders(1024, 2048);
}

#[test]
fn three_orders_lost_since_the_last_accepted_one_need_a_person() {
    let lost = || settled(Phase::Abandoned, SIGNED);
    let refused = || settled_by(Phase::Refused, SIGNED, Some(4400), "QuotaExceeded");
    let two = wants(2048).entry(1024, 2048, lost()).entry(1024, 2048, refused()).entry(1024, 2048, lost());
    two.clone().runs(1024, SIGNED + 1).orders(1024, 2048);
    let three = two.entry(1024, 2048, lost()).runs(1024, SIGNED + 86_400);
    assert_eq!(three.rests(Health::Stalled, "OutcomeUnknown"), None);
    assert!(three.decide().verdict.message.contains("crs.qcloud.com/proceed-after=crs-1-4"));
    three.clone().annotated(PROCEED_AFTER, "crs-1-4").orders(1024, 2048);
    three.annotated(PROCEED_AFTER, "crs-1-1").orders(1024, 2048);
}

#[test]
fn an_accepted_order_between_lost_ones_starts_the_count_again() {
    let lost = || settled(Phase::Abandoned, SIGNED);
    let failed = settled_by(Phase::Failed, SIGNED, None, "UpgradeFailed");
    let case = wants(2048).entry(1024, 2048, lost()).entry(1024, 2048, lost()).entry(1024, 2048, failed);
    case.entry(1024, 2048, lost()).runs(1024, SIGNED + 86_400).orders(1024, 2048);
}

#[test]
fn what_was_never_sent_is_no_try() {
    let mut case = wants(2048);
    for _ in 0..3 {
        case = case.entry(1024, 2048, settled_by(Phase::Abandoned, SIGNED, None, NEVER_SENT));
    }
    assert_eq!(case.clone().runs(1024, SIGNED + 4 * LAG).rests(Health::Reconciling, "Ordering"), Some(4 * LAG));
    case.runs(1024, SIGNED + 4 * LAG + 1).orders(1024, 2048);
}

#[test]
fn go_on_after_an_entry_holds_when_that_entry_was_pruned() {
    let mut case = wants(4096)
        .entry(1024, 4096, settled(Phase::Fulfilled, SIGNED))
        .entry(1024, 2048, settled(Phase::Abandoned, SIGNED))
        .entry(1024, 2048, settled(Phase::Fulfilled, SIGNED + 500))
        .runs(2048, SIGNED + 2000)
        .annotated(PROCEED_AFTER, "crs-1-2");
    case.orders(2048, 4096);
    case.entries.remove(1);
    case.orders(2048, 4096);
}

#[test]
fn go_on_after_an_entry_that_is_none_of_this_book_opens_nothing() {
    for name in ["crs-1-2", "crs-1-18446744073709551616", "crs-2-1", "crs-1", "1", ""] {
        let case = wants(2048).entry(1024, 2048, settled(Phase::Fulfilled, SIGNED)).runs(1024, SIGNED + 500);
        case.annotated(PROCEED_AFTER, name).rests(Health::Stalled, "SizeRegressed");
    }
}

#[test]
fn a_size_that_does_not_divide_into_whole_gb_for_each_shard_is_refused_before_any_call_and_the_nearest_are_named() {
    let told = |case: &Case| {
        assert_eq!(case.rests(Health::Stalled, "InvalidMemSize"), None);
        let verdict = case.decide().verdict;
        let error = verdict.error.unwrap();
        assert_eq!((error.code, error.cloud_code, error.action.as_str()), (Some(10703), None, "UpgradeRedis"));
        verdict.message
    };
    let message = told(&wants(7168).runs(3072, SIGNED).sharded(3));
    assert!(message.contains("3 shards") && message.contains("Declare memSize: 6144 or 9216."), "{message}");
    let message = told(&wants(5120).runs(3072, SIGNED).sharded(3));
    assert!(message.contains("Declare memSize: 3072 or 6144."), "{message}");
    // Below 1 GB for each there is nothing.
    let message = told(&wants(3072).runs(2048, SIGNED).sharded(4));
    assert!(message.contains("Declare memSize: 4096."), "{message}");
    wants(6144).runs(3072, SIGNED).sharded(3).orders(3072, 6144);
}

#[test]
fn a_size_that_does_not_divide_is_no_trouble_where_nothing_is_to_be_ordered() {
    wants(4096).runs(6144, SIGNED).sharded(3).rests(Health::Stalled, "ReduceCapacityNotAllowed");
    wants(7168).runs(3072, SIGNED).sharded(3).observes().rests(Health::Ready, "Observed");
    // While shards are added or taken away, the layout may be neither the old nor the new one.
    wants(7168)
        .sees(InstanceState::InProcess, 3072, SIGNED)
        .sharded(3)
        .rests(Health::Reconciling, "InstanceStatusAbnormal");
}

#[test]
fn a_size_that_can_not_be_declared_is_rounded_in_what_is_advised() {
    let message = |case: Case| case.decide().verdict.message;
    let above = message(wants(2048).runs(39_318, SIGNED));
    assert!(above.contains("Declare memSize: 39936 or more."), "{above}");
}
