//! What each error code leads to (the table at the end of §2 of the architecture).

use super::*;
use crate::{
    api::{
        Phase,
        testing::{named, settled, settled_by, written},
    },
    decide::codes::ReadTrouble,
};

/// The newest order was refused at [`SIGNED`].
fn refused(code: i64, name: &str) -> Case {
    wants(2048).entry(1024, 2048, settled_by(Phase::Refused, SIGNED, Some(code), name))
}

#[test]
fn only_the_documented_codes_are_plain_refusals() {
    let plain = |code| {
        let Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) = wants(1).fails(code, false).seen else {
            unreachable!()
        };
        error.is_plain_refusal()
    };
    let documented: Vec<i64> = [10701, 10702, 10703, 11057, 11063, 100_207, 4000]
        .into_iter()
        .chain(4100..=4110)
        .chain([4300, 4400, 4600, 5000, 5200, 5300, 5500])
        .collect();
    for code in -1..=120_000 {
        assert_eq!(plain(Some(code)), documented.contains(&code), "{code}");
    }
    assert!(!plain(None));
    let Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) = wants(1).fails(Some(4000), false).seen
    else {
        unreachable!()
    };
    assert!(
        !(CloudError { kind: ErrorKind::NoAnswer, ..error }).is_plain_refusal(),
        "a code in an answer that can't be trusted"
    );
}

#[test]
fn a_refusal_that_only_a_person_can_cure_waits_for_another_spec_or_the_annotation() {
    let cases = [
        (10701, "InstanceNotExists"),
        (10703, "InvalidMemSize"),
        (11063, "MemSizeNotInRange"),
        (11057, "ReduceCapacityNotAllowed"),
        (4000, "InvalidParameter"),
        (4600, "UnsupportedProtocol"),
        (5000, "ResourceNotFound"),
        (5200, "PurchaseFailed"),
        (5500, "NotQualified"),
    ];
    for (code, name) in cases {
        let case = refused(code, name).runs(1024, SIGNED + 86_400);
        assert_eq!(case.rests(Health::Stalled, name), None);
        let verdict = case.decide().verdict;
        assert_eq!(verdict.error.unwrap().code, Some(code));
        assert!(verdict.message.contains("The cloud says no."), "the cloud's own words: {}", verdict.message);
        case.clone().generation(2).orders(1024, 2048);
        case.annotated(REQUESTED_AT, "now").orders(1024, 2048);
    }
}

#[test]
fn an_order_refused_as_a_shrink_is_tried_again_once_the_instance_has_another_size() {
    let case = refused(11057, "ReduceCapacityNotAllowed");
    case.clone().runs(1024, SIGNED + 86_400).rests(Health::Stalled, "ReduceCapacityNotAllowed");
    case.runs(1536, SIGNED + 1).orders(1536, 2048);
}

#[test]
fn a_low_balance_is_stalled_and_goes_on_by_itself() {
    let name = "AccountBalanceNotEnough";
    for (code, said) in [(100_207, name), (5300, "BalanceInsufficient")] {
        let once = refused(code, said);
        assert_eq!(once.clone().runs(1024, SIGNED + LAG).rests(Health::Stalled, name), Some(LAG));
        once.clone().runs(1024, SIGNED + LAG + 1).orders(1024, 2048);
        once.clone().annotated(REQUESTED_AT, "now").runs(1024, SIGNED + 1).orders(1024, 2048);
        // The account backs off as a whole, with one probe for all: each of its own instances waits no longer than the lag.
        let often =
            (0..20).fold(once, |case, _| case.entry(1024, 2048, settled_by(Phase::Refused, SIGNED, Some(code), said)));
        often.runs(1024, SIGNED + LAG + 1).orders(1024, 2048);
    }
}

#[test]
fn an_account_without_money_is_tried_by_one_and_the_others_wait() {
    let mut case = wants(2048).runs(1024, SIGNED);
    case.balance_low_until = Some(at(SIGNED + 100).0);
    assert_eq!(case.rests(Health::Stalled, "AccountBalanceNotEnough"), Some(100));
    let error = case.decide().verdict.error.unwrap();
    assert_eq!((error.code, error.action.as_str()), (Some(100_207), "UpgradeRedis"));
    case.clone().annotated(REQUESTED_AT, "now").orders(1024, 2048);
    case.now = at(SIGNED + 100).0;
    case.orders(1024, 2048);
}

#[test]
fn an_order_refused_for_a_busy_instance_is_tried_again_after_the_lag_once_it_runs() {
    let case = refused(10702, "InstanceStatusAbnormal");
    assert_eq!(case.clone().runs(1024, SIGNED + LAG).rests(Health::Reconciling, "InstanceStatusAbnormal"), Some(LAG));
    assert!(case.clone().runs(1024, SIGNED + LAG).decide().active);
    let busy = case.clone().sees(InstanceState::InProcess, 1024, SIGNED + 999);
    busy.rests(Health::Reconciling, "InstanceStatusAbnormal");
    case.runs(1024, SIGNED + LAG + 1).orders(1024, 2048);
}

#[test]
fn nothing_that_was_refused_is_tried_again_before_a_long_lag_has_passed() {
    const TWO_HOURS: i64 = 7200;
    for (code, name) in [(10702, "InstanceStatusAbnormal"), (100_207, "AccountBalanceNotEnough")] {
        let mut case = refused(code, name);
        case.policy.lag = SignedDuration::from_secs(TWO_HOURS);
        let hold = case.clone().runs(1024, SIGNED + TWO_HOURS).decide();
        assert_eq!((hold.step, hold.again), (None, Some(at(SIGNED + TWO_HOURS).0)));
        case.runs(1024, SIGNED + TWO_HOURS + 1).orders(1024, 2048);
    }
}

#[test]
fn an_order_refused_for_its_rate_backs_off_and_is_no_fault_of_the_user() {
    let case = refused(4400, "QuotaExceeded");
    assert_eq!(case.clone().runs(1024, SIGNED + 1).rests(Health::Reconciling, "RateLimited"), Some(LAG));
    case.runs(1024, SIGNED + LAG + 1).orders(1024, 2048);
}

#[test]
fn an_order_refused_for_its_key_waits_for_another_secret() {
    for code in (4100..=4110).chain([4300]) {
        let mut case = refused(code, "AuthFailure").runs(1024, SIGNED + 86_400);
        assert_eq!(case.rests(Health::Stalled, "AuthFailure"), None);
        assert!(case.decide().verdict.message.contains("Secret qcloud"));
        case.secret_version = "2".into();
        case.orders(1024, 2048);
    }
}

#[test]
fn an_annotation_longer_than_what_the_book_keeps_is_handled_once() {
    let mut case = refused(10703, "InvalidMemSize").annotated(REQUESTED_AT, &"é".repeat(300)).runs(1024, SIGNED + 1);
    case.orders(1024, 2048);
    case.entries[0].spec.instance_ref.requested_at = case.instance.requested_at().map(str::to_owned);
    case.rests(Health::Stalled, "InvalidMemSize");
    let verdict = case.decide().verdict;
    case.instance.status =
        Some(crate::report::status(&case.instance, &case.entries, &case.seen, &verdict, true, case.now));
    assert!(!case.instance.is_requested());
}

#[test]
fn the_demand_of_another_object_or_generation_is_not_held_up_by_a_refusal() {
    let mut case = refused(10703, "InvalidMemSize").runs(1024, SIGNED + 1);
    case.instance.metadata.uid = Some("made-again".into());
    case.orders(1024, 2048);
}

#[test]
fn a_key_that_reads_are_refused_for_stalls_at_once() {
    for code in (4100..=4110).chain([4300]) {
        let case = wants(2048).fails(Some(code), false);
        assert_eq!(case.rests(Health::Stalled, "AuthFailure"), None);
        assert_eq!(case.decide().verdict.error.unwrap().code, Some(code));
    }
    let mut case = wants(2048);
    let problem = "Secret qcloud has no secretKey.".to_owned();
    case.seen = Seen::Failed(LookFailure { cause: LookError::Credentials(problem.clone()), lasting: true });
    case.rests(Health::Stalled, "CredentialsMissing");
    assert_eq!(case.decide().verdict.message, problem);
}

#[test]
fn a_passing_trouble_leaves_the_status_as_it_was_unless_there_is_new_work() {
    for code in [None, Some(4400), Some(5100), Some(5400), Some(6000), Some(6999), Some(4200), Some(4500)] {
        let mut case = wants(2048).fails(code, false);
        case.rests(Health::Reconciling, "CloudUnavailable");
        let seen = wants(2048).runs(2048, SIGNED);
        let verdict = seen.decide().verdict;
        case.instance.status = Some(crate::report::status(&seen.instance, &[], &seen.seen, &verdict, false, seen.now));
        case.rests(Health::AsBefore, "CloudUnavailable");
        let mut grown = case.clone().generation(2);
        grown.rests(Health::AsBefore, "CloudUnavailable");
        grown.instance.spec.mem_size = 4096;
        grown.rests(Health::Reconciling, "CloudUnavailable");
        grown.observes().rests(Health::AsBefore, "CloudUnavailable");
    }
}

#[test]
fn a_lasting_trouble_makes_ready_unknown_and_a_lasting_clock_is_stalled() {
    for code in [None, Some(5100), Some(5400), Some(6000), Some(6999)] {
        wants(2048).fails(code, true).rests(Health::Unknown, "CloudUnavailable");
    }
    wants(2048).fails(Some(4400), true).rests(Health::Unknown, "RateLimited");
    for code in [4200, 4500] {
        wants(2048).fails(Some(code), true).rests(Health::Stalled, "ClockSkew");
    }
}

#[test]
fn any_other_code_of_a_read_is_said_as_it_came() {
    for code in [4000, 4600, 5000, 5200, 11052, 11201, 7, 100_207] {
        wants(2048).fails(Some(code), false).rests(Health::Stalled, "SomeCode");
    }
    let mut words = wants(2048).fails(Some(1), false);
    if let Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) = &mut words.seen {
        (error.code, error.cloud_code) = (None, Some("AccountNotEnoughToPay".into()));
    }
    words.rests(Health::Stalled, "SomeCode");
    assert_eq!(words.decide().verdict.error.unwrap().cloud_code.as_deref(), Some("AccountNotEnoughToPay"));
}

#[test]
fn a_look_that_failed_orders_and_settles_nothing() {
    for code in [None, Some(4100), Some(4400), Some(4200), Some(10702), Some(9)] {
        for lasting in [false, true] {
            let case = wants(2048).entry(1024, 2048, written()).fails(code, lasting);
            assert_eq!(case.decide().step, None);
        }
    }
}

#[test]
fn a_reader_may_give_up_only_for_what_somebody_must_act_on() {
    let is_final = |code| match wants(1).fails(code, true).seen {
        Seen::Failed(failure) => failure.is_final(),
        _ => unreachable!(),
    };
    assert!([4100, 4110, 4300, 11201].into_iter().all(|code| is_final(Some(code))));
    assert!([4200, 4400, 4500, 5100, 6200].into_iter().all(|code| !is_final(Some(code))));
    assert!(!is_final(None));
    let Seen::Failed(LookFailure { cause: LookError::Cloud(error), .. }) = wants(1).fails(None, false).seen else {
        unreachable!()
    };
    let trusted = super::super::codes::read_trouble(&CloudError { code: Some(4100), ..error });
    assert_eq!(trusted, ReadTrouble::Unavailable, "a code in an answer that can't be trusted says nothing of the key");
}

#[test]
fn one_that_is_not_looked_at_for_seconds_does_not_look_finished() {
    let mut case = wants(2048);
    case.instance.status = None;
    let soon = case.decide();
    assert_eq!((soon.verdict.health, soon.again), (Health::AsBefore, Some(at(SIGNED + 2).0)));
    case.seen = Seen::NotYet { long: true };
    let late = case.decide();
    assert_eq!((late.verdict.health, late.verdict.reason.as_str()), (Health::Reconciling, "CloudUnavailable"));
    assert_eq!(late.again, None);

    // What was told before stays until there is news.
    let told = crate::report::status(&case.instance, &[], &case.seen, &late.verdict, false, case.now);
    case.instance.status = Some(told);
    for long in [false, true] {
        case.seen = Seen::NotYet { long };
        assert_eq!(case.rests(Health::AsBefore, "CloudUnavailable"), None);
    }
}

/// The newest order was refused by API 3.0 at [`SIGNED`].
fn refused_by_3_0(code: Option<i64>, name: &str) -> Case {
    let error = Some(named(code, name, SIGNED));
    wants(2048).entry(1024, 2048, RedisUpgradeStatus { error, ..settled(Phase::Refused, SIGNED) })
}

#[test]
fn a_refusal_by_3_0_leads_where_the_number_that_it_mirrors_leads() {
    for (code, name) in [
        (10701, "ResourceNotFound.InstanceNotExists"),
        (10702, "ResourceUnavailable.InstanceStatusAbnormal"),
        (10702, "ResourceInUse.InstanceBeenLocked"),
        (10703, "InvalidParameterValue.SpecNotExist"),
        (11063, "LimitExceeded.MemSizeNotInRange"),
        (11057, "InvalidParameterValue.ReduceCapacityNotAllowed"),
        (5200, "ResourceUnavailable.SaleOut"),
        (100_207, "ResourceUnavailable.AccountBalanceNotEnough"),
        (4400, "RequestLimitExceeded.UinLimitExceeded"),
        (4300, "UnauthorizedOperation.NoCAMAuthed"),
        (4000, "InvalidParameterValue.UnSupportedType"),
        (5500, "UnsupportedOperation.LowVersion"),
    ] {
        let last = name.rsplit('.').next().unwrap();
        let (three, two) = (refused_by_3_0(Some(code), name), refused(code, last));
        for look in [SIGNED, SIGNED + LAG, SIGNED + LAG + 1, SIGNED + 86_400] {
            for requested in [None, Some("now")] {
                let decided = |case: &Case| {
                    let case = requested.iter().fold(case.clone(), |case, text| case.annotated(REQUESTED_AT, text));
                    let decision = case.runs(1024, look).decide();
                    (decision.step, decision.verdict.health, decision.verdict.reason, decision.again)
                };
                assert_eq!(decided(&three), decided(&two), "{name} at {look}");
            }
        }
    }
}

#[test]
fn an_unpaid_deal_leaves_the_outcome_open_and_is_told() {
    let error = Some(named(Some(100_207), "FailedOperation.PayFailed", SIGNED));
    let unpaid = RedisUpgradeStatus { error, ..written() };
    let case = wants(2048).entry(1024, 2048, unpaid.clone());
    assert_eq!(case.clone().runs(1024, DEAD).rests(Health::Reconciling, "OutcomeUnknown"), Some(LIFETIME + LAG));
    let told = |case: &Case| {
        let message = case.decide().verdict.message;
        assert!(message.contains("PayFailed") && message.contains("in the console: cancel it"), "{message}");
    };
    told(&case.clone().runs(1024, DEAD));
    let Some(Step::Settle { phase: Phase::Abandoned, evidence, .. }) = case.runs(1024, DEAD + 1).decide().step else {
        panic!("it is dead")
    };
    assert!(evidence.contains("in the console: cancel it"), "{evidence}");

    let given_up = RedisUpgradeStatus { phase: Phase::Abandoned, settled_at: Some(at(DEAD + 1)), ..unpaid };
    let often = (0..3).fold(wants(2048), |case, _| case.entry(1024, 2048, given_up.clone())).runs(1024, DEAD + 9999);
    often.rests(Health::Stalled, "OutcomeUnknown");
    told(&often);
}

#[test]
fn only_a_request_that_is_refused_as_such_is_blamed_on_the_region() {
    let message = |code| wants(2048).fails(Some(code), true).decide().verdict.message;
    assert!(message(4000).contains("If that is not the region"), "{}", message(4000));
    assert!(!message(11201).contains("If that is not the region"), "{}", message(11201));
}

#[test]
fn a_refusal_by_the_other_api_is_told_as_such_and_waits_for_a_word() {
    let case = refused_by_3_0(None, "InvalidParameterValue.UnSupportedType").runs(1024, SIGNED + 86_400);
    case.rests(Health::Stalled, "UnSupportedType");
    assert!(
        case.decide().verdict.message.contains("UpgradeInstance, of the other API"),
        "{}",
        case.decide().verdict.message
    );
    case.annotated(REQUESTED_AT, "now").orders(1024, 2048);
}

#[test]
fn a_key_that_may_not_look_is_told_which_right_it_lacks() {
    let message = |code| {
        let case = wants(2048).fails(Some(code), false);
        case.rests(Health::Stalled, "AuthFailure");
        case.decide().verdict.message
    };
    for code in [4101, 4102, 4103, 4300] {
        assert!(message(code).contains("lacks the right to DescribeRedis"), "{}", message(code));
    }
    assert!(message(4100).contains("Correct the Secret"), "{}", message(4100));
}

#[test]
fn an_error_stays_told_while_its_order_is_tried_again() {
    let case = refused(10702, "InstanceStatusAbnormal").runs(1024, SIGNED + LAG + 1);
    case.orders(1024, 2048);
    assert_eq!(case.decide().verdict.error.unwrap().code, Some(10702));
    let in_the_air = case.entry(1024, 2048, written()).runs(1024, SIGNED + 1);
    in_the_air.rests(Health::Reconciling, "Ordering");
    assert_eq!(in_the_air.decide().verdict.error.unwrap().code, Some(10702));
    // That of another spec is gone with it.
    assert_eq!(in_the_air.generation(2).decide().verdict.error, None);
}
