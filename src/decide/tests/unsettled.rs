//! What becomes of an entry that isn't settled (B4, B5).

use super::*;
use crate::api::{
    Phase,
    testing::{placed, settled, settled_by, written},
};

fn unknown() -> RedisUpgradeStatus {
    settled_by(Phase::Written, 0, None, "Timeout")
}

#[test]
fn a_written_entry_is_settled_only_by_a_look_past_its_lifetime_and_lag() {
    for status in [written(), unknown()] {
        let case = wants(2048).entry(1024, 2048, status);
        assert_eq!(
            case.clone().runs(1024, DEAD).rests(Health::Reconciling, "OutcomeUnknown"),
            Some(LIFETIME + LAG),
            "and it says until when"
        );
        assert_eq!(case.clone().runs(1024, DEAD + 1).settles("crs-1-1").0, Phase::Abandoned);
        assert_eq!(case.clone().runs(2048, DEAD + 1).settles("crs-1-1").0, Phase::Fulfilled);
        assert_eq!(case.runs(4096, DEAD + 1).settles("crs-1-1").0, Phase::Fulfilled, "above its size");
    }
}

#[test]
fn an_entry_without_a_status_is_written() {
    let mut case = wants(2048).entry(1024, 2048, written()).runs(1024, SIGNED + 31);
    case.entries[0].status = None;
    case.rests(Health::Reconciling, "OutcomeUnknown");
    assert_eq!(case.runs(1024, DEAD + 1).settles("crs-1-1").0, Phase::Abandoned);
}

#[test]
fn a_written_entry_waits_for_anything_but_running_however_late() {
    let case = wants(2048).entry(1024, 2048, unknown());
    let busy = case.clone().sees(InstanceState::InProcess, 1024, DEAD + 9);
    busy.rests(Health::Reconciling, "OutcomeUnknown");
    assert_eq!(busy.decide().verdict.error.unwrap().code_desc, "Timeout", "its cause isn't gone");
    case.clone().sees(InstanceState::InProcess, 2048, DEAD + 9).rests(Health::Reconciling, "OutcomeUnknown");
    case.clone().sees(InstanceState::Initializing, 1024, DEAD + 9).rests(Health::Reconciling, "OutcomeUnknown");
    case.clone().sees(InstanceState::Isolated, 2048, DEAD + 9).rests(Health::Stalled, "InstanceStatusAbnormal");
    case.clone().sees(InstanceState::Unknown(-9), 2048, DEAD + 9).rests(Health::Stalled, "InstanceStatusAbnormal");
    case.absent(DEAD + 9).rests(Health::Stalled, "InstanceNotExists");
}

#[test]
fn a_written_entry_is_said_to_be_ordering_until_its_answer_is_overdue() {
    let case = wants(2048).entry(1024, 2048, written());
    assert_eq!(case.clone().runs(1024, SIGNED + 29).rests(Health::Reconciling, "Ordering"), Some(30));
    case.clone().runs(1024, SIGNED + 30).rests(Health::Reconciling, "OutcomeUnknown");
    let unknown = wants(2048).entry(1024, 2048, unknown()).runs(1024, SIGNED + 1);
    unknown.rests(Health::Reconciling, "OutcomeUnknown");
    assert_eq!(unknown.decide().verdict.error.unwrap().code_desc, "Timeout", "and why");
}

#[test]
fn while_the_outcome_is_unknown_a_size_that_is_there_is_ready() {
    let case = wants(2048).entry(1024, 2048, unknown()).runs(2048, SIGNED + 90);
    assert_eq!(case.rests(Health::Ready, "InSync"), Some(LIFETIME + LAG), "and the entry is settled in the end");
}

#[test]
fn no_annotation_and_no_other_entry_opens_an_unsettled_one() {
    for status in [unknown(), placed()] {
        let case = wants(4096)
            .entry(1024, 2048, status)
            .entry(1024, 2048, settled(Phase::Abandoned, SIGNED))
            .annotated(PROCEED_AFTER, "crs-1-2")
            .annotated(REQUESTED_AT, "now")
            .generation(7)
            .runs(1024, SIGNED + 40);
        assert_eq!(case.decide().step, None, "older than the newest, and still in the way");
    }
}

#[test]
fn an_accepted_order_is_fulfilled_by_running_at_its_size_at_once() {
    let case = wants(2048).entry(1024, 2048, placed());
    assert_eq!(case.clone().runs(2048, SIGNED + 1).settles("crs-1-1"), (Phase::Fulfilled, None));
    assert_eq!(case.clone().runs(3072, SIGNED + 1).settles("crs-1-1"), (Phase::Fulfilled, None));
    case.sees(InstanceState::InProcess, 2048, SIGNED + 1).rests(Health::Reconciling, "Upgrading");
}

#[test]
fn an_accepted_order_of_an_instance_that_does_not_run_waits_and_says_what_is_seen() {
    let case = wants(2048).entry(1024, 2048, placed());
    let busy = case.clone().sees(InstanceState::InProcess, 1024, DEAD + 9);
    busy.rests(Health::Reconciling, "Upgrading");
    assert!(busy.decide().active);
    case.clone().sees(InstanceState::Isolated, 1024, DEAD + 9).rests(Health::Stalled, "InstanceStatusAbnormal");
    case.absent(DEAD + 9).rests(Health::Stalled, "InstanceNotExists");
}

#[test]
fn the_deal_of_an_accepted_order_is_asked_for_once_the_lag_is_over() {
    let case = wants(2048).entry(1024, 2048, placed());
    assert_eq!(case.clone().runs(1024, SIGNED + LAG).rests(Health::Reconciling, "Upgrading"), Some(LAG));
    let ask = Some(Step::AskDeal { entry: "crs-1-1".into(), order: order("4711") });
    assert_eq!(case.runs(1024, SIGNED + LAG + 1).decide().step, ask);
}

#[test]
fn a_deal_that_is_not_found_unpaid_or_under_way_tells_nothing() {
    for state in [None, Some(DealState::Pending(1)), Some(DealState::Pending(12)), Some(DealState::Pending(3))] {
        let case = wants(2048).entry(1024, 2048, placed()).runs(1024, SIGNED + 800).deal(state, SIGNED + 800);
        assert_eq!(case.rests(Health::Reconciling, "Upgrading"), Some(900), "the older, the more seldom");
    }
}

#[test]
fn a_deal_that_failed_fails_the_order() {
    for status in 5..=11 {
        let case = wants(2048).entry(1024, 2048, placed()).runs(1024, SIGNED + 70);
        let case = case.deal(Some(DealState::Failed(status)), SIGNED + 70);
        assert_eq!(case.settles("crs-1-1"), (Phase::Failed, Some("UpgradeFailed".into())));
    }
}

#[test]
fn a_size_that_is_there_counts_more_than_a_deal_that_failed() {
    let case = wants(2048).entry(1024, 2048, placed()).runs(2048, SIGNED + 70);
    assert_eq!(case.deal(Some(DealState::Failed(6)), SIGNED + 70).settles("crs-1-1").0, Phase::Fulfilled);
}

#[test]
fn a_delivered_deal_is_noted_first_and_given_the_lag_to_show() {
    let case = wants(2048).entry(1024, 2048, placed()).runs(1024, SIGNED + 70);
    let delivered = case.deal(Some(DealState::Delivered), SIGNED + 71);
    let noted = Some(Step::MarkDelivered { entry: "crs-1-1".into(), at: at(SIGNED + 71).0 });
    assert_eq!(delivered.decide().step, noted);

    let status = RedisUpgradeStatus { delivered_at: Some(at(SIGNED + 71)), ..placed() };
    let case = wants(2048).entry(1024, 2048, status);
    assert_eq!(case.clone().runs(1024, SIGNED + 71 + LAG).rests(Health::Reconciling, "Upgrading"), Some(71 + LAG));
    case.clone().sees(InstanceState::InProcess, 1024, DEAD + 999).rests(Health::Reconciling, "Upgrading");
    let late = case.runs(1024, SIGNED + 72 + LAG);
    assert_eq!(late.settles("crs-1-1"), (Phase::Failed, Some("SizeNotSeen".into())));
}

#[test]
fn the_deal_of_one_accepted_order_says_nothing_about_another() {
    let other = RedisUpgradeStatus { deal_id: Some("4712".into()), ..placed() };
    for state in [DealState::Failed(6), DealState::Delivered, DealState::Pending(3)] {
        let case = wants(2048)
            .entry(1024, 2048, settled(Phase::Failed, SIGNED + 70))
            .entry(1024, 2048, other.clone())
            .runs(1024, SIGNED + 70)
            .deal(Some(state), SIGNED + 70);
        let ask = Some(Step::AskDeal { entry: "crs-1-2".into(), order: order("4712") });
        assert_eq!(case.decide().step, ask);
    }
}

#[test]
fn a_lifetime_without_end_never_settles_what_is_written() {
    let mut case = wants(2048).entry(1024, 2048, unknown()).runs(1024, SIGNED + 999_999);
    case.policy.lifetime = SignedDuration::MAX;
    case.rests(Health::Reconciling, "OutcomeUnknown");
}

#[test]
fn while_an_order_may_still_come_a_size_that_is_there_is_told_with_the_order_and_what_3_0_could_do() {
    let message = |case: &Case| case.decide().verdict.message;
    let case = wants(2048).entry(1024, 2048, unknown());
    let there = case.clone().runs(2048, SIGNED + 60);
    there.rests(Health::Ready, "InSync");
    assert!(message(&there).contains("crs-1-1 of 2048 MB isn't known yet (Timeout"), "{}", message(&there));

    let larger = case.runs(4096, SIGNED + 60);
    assert!(!message(&larger).contains("bring the instance back"), "version 2 refuses that");
    let mut of_3_0 = Case { dialect: Dialect { shrinks: true, ..DIALECT }, ..larger };
    assert!(message(&of_3_0).contains("bring the instance back"), "{}", message(&of_3_0));
    // Sent by the other API, and that is what counts.
    of_3_0.dialect = crate::cloud::v3::DIALECT;
    assert!(!message(&of_3_0).contains("bring the instance back"), "{}", message(&of_3_0));
}

#[test]
fn with_a_short_lifetime_it_is_looked_at_again_when_that_is_over() {
    let mut case = wants(2048).entry(1024, 2048, written()).runs(1024, SIGNED + 1);
    (case.policy.lifetime, case.policy.lag) = (SignedDuration::from_secs(4), SignedDuration::from_secs(1));
    assert_eq!(case.rests(Health::Reconciling, "Ordering"), Some(5));
}

#[test]
fn a_deal_that_waits_is_normal_and_one_that_can_not_be_asked_for_is_told_with_the_cause() {
    let placed = RedisUpgradeStatus { deal_name: Some("20261124004711".into()), ..placed() };
    let case = wants(4096).entry(1024, 2048, placed).runs(1024, SIGNED + 3600);
    let message = |case: Case| case.decide().verdict.message;
    let waits = message(case.clone().deal(Some(DealState::Pending(2)), SIGNED + 3600));
    assert!(waits.contains("deal 4711 (20261124004711)") && waits.contains("Nothing needs to be done"), "{waits}");
    assert!(waits.contains("The 4096 MB declared are ordered after it."), "{waits}");
    let unpaid = message(case.clone().deal(Some(DealState::Pending(1)), SIGNED + 3600));
    assert!(unpaid.contains("pay or cancel it"), "{unpaid}");
    let mut case = case.deal(None, SIGNED + 3600);
    case.deal.as_mut().unwrap().trouble = Some("DescribeInstanceDealDetail UnauthorizedOperation".into());
    let asked = message(case);
    assert!(asked.contains("can't be asked for: DescribeInstanceDealDetail UnauthorizedOperation."), "{asked}");
}

#[test]
fn what_is_told_of_a_deal_stays_until_it_is_asked_for_again() {
    let mut case = wants(2048).entry(1024, 2048, placed()).runs(1024, SIGNED + 3600);
    case.instance.status = None;
    assert_eq!(case.decide().verdict.health, Health::Reconciling);
    let waits = case.clone().deal(Some(DealState::Pending(2)), SIGNED + 3600).decide().verdict;
    let told = crate::report::status(&case.instance, &case.entries, &case.seen, &waits, false, case.now);
    case.instance.status = Some(told);
    let again = case.decide();
    assert!(matches!(again.step, Some(Step::AskDeal { .. })));
    assert_eq!(again.verdict.health, Health::AsBefore);
}

/// Neither a clock of the cloud's that was set back nor a hand in the book brings a second order.
#[test]
fn an_order_that_was_signed_in_the_future_is_waited_for_and_a_person_is_told_what_to_do() {
    for status in [written(), unknown()] {
        let case = wants(2048).entry(1024, 2048, status);
        let hours_back = case.clone().runs(1024, SIGNED - 3 * 3600);
        assert_eq!(hours_back.rests(Health::Stalled, "ClockSkew"), Some(LIFETIME + LAG));
        let said = hours_back.decide().verdict.message;
        assert!(said.contains(&at(DEAD).0.to_string()) && said.contains("delete crs-1-1"), "{said}");
        let busy = case.clone().sees(InstanceState::InProcess, 1024, SIGNED - 3 * 3600);
        busy.rests(Health::Stalled, "ClockSkew");
        // Front ends whose clocks are half a minute apart make none.
        case.clone().runs(1024, SIGNED - 30).rests(
            Health::Reconciling,
            if case.entries[0].outcome().error.is_some() { "OutcomeUnknown" } else { "Ordering" },
        );
        assert_eq!(case.clone().runs(2048, SIGNED - 3 * 3600).rests(Health::Ready, "InSync"), Some(LIFETIME + LAG));
        assert_eq!(case.runs(1024, DEAD + 1).settles("crs-1-1").0, Phase::Abandoned, "and it ends by itself");
    }
}

#[test]
fn at_the_ends_of_time_nothing_is_ordered_and_nothing_overflows() {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    for status in [written(), unknown(), placed(), RedisUpgradeStatus { delivered_at: Some(at(last)), ..placed() }] {
        let mut case = wants(2048).entry(1024, 2048, status);
        case.entries[0].spec.signed_at = at(last);
        for second in [first, 0, SIGNED, last] {
            let step = case.clone().runs(1024, second).decide().step;
            assert!(matches!(step, None | Some(Step::AskDeal { .. })), "{step:?} at {second}");
        }
        case.entries[0].spec.signed_at = at(first);
        assert_eq!(case.runs(1024, first).decide().step, None);
    }
}

#[test]
fn an_accepted_order_of_the_future_is_asked_for_all_the_same() {
    let case = wants(2048).entry(1024, 2048, placed()).runs(1024, SIGNED - 3 * 3600);
    assert!(matches!(case.decide().step, Some(Step::AskDeal { .. })));
    let asked = case.deal(Some(DealState::Pending(3)), SIGNED - 3 * 3600);
    assert!(asked.rests(Health::Reconciling, "Upgrading") > Some(-3 * 3600), "and not without a pause");
}
