use kube::ResourceExt;
use proptest::prelude::*;

use super::*;
use crate::api::{
    NEVER_SENT,
    testing::{at, entry, placed, settled, settled_by, written},
};

const DAY: i64 = 86_400;

fn book(phases: &[Phase]) -> Vec<RedisUpgrade> {
    let entries = phases.iter().enumerate();
    entries.map(|(index, phase)| entry(index as u64 + 1, 1024, 2048, 0, settled(*phase, 0))).collect()
}

fn numbers(entries: &[RedisUpgrade], now: i64) -> Vec<u64> {
    let mut numbers: Vec<_> = prunable(entries, at(now).0).into_iter().map(RedisUpgrade::number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn accepted_entries_are_kept_the_newest_ten() {
    assert_eq!(numbers(&book(&[Phase::Fulfilled; 12]), DAY + 1), [1, 2]);
    assert_eq!(numbers(&book(&[Phase::Failed; 10]), DAY + 1), [0; 0]);
}

#[test]
fn refused_entries_are_kept_the_newest() {
    let book = book(&[Phase::Refused, Phase::Refused, Phase::Fulfilled, Phase::Refused, Phase::Fulfilled]);
    assert_eq!(numbers(&book, DAY + 1), [1, 2]);
}

#[test]
fn entries_that_were_never_sent_are_kept_the_newest() {
    let mut book = book(&[Phase::Abandoned; 4]);
    for entry in &mut book[..3] {
        entry.status = Some(settled_by(Phase::Abandoned, 0, None, NEVER_SENT));
    }
    assert_eq!(numbers(&book, DAY + 1), [1, 2]);
}

#[test]
fn lost_entries_are_kept_until_a_later_one_is_accepted() {
    assert_eq!(numbers(&book(&[Phase::Abandoned; 4]), DAY + 1), [0; 0]);
    let book = book(&[Phase::Abandoned, Phase::Abandoned, Phase::Fulfilled, Phase::Abandoned]);
    assert_eq!(numbers(&book, DAY + 1), [1, 2]);
}

#[test]
fn nothing_is_deleted_within_a_day_of_being_settled() {
    let mut book = book(&[Phase::Refused, Phase::Refused, Phase::Refused]);
    assert_eq!(numbers(&book, DAY), [0; 0]);
    assert_eq!(numbers(&book, DAY + 1), [1, 2]);
    book[0].status = Some(settled(Phase::Refused, 500));
    assert_eq!(numbers(&book, DAY + 1), [2], "the time that it was settled counts, not that of its order");
}

#[test]
fn an_entry_whose_settling_nobody_dated_is_as_old_as_its_order() {
    let mut book = book(&[Phase::Refused, Phase::Refused]);
    book[0] =
        entry(1, 1024, 2048, 50, crate::api::RedisUpgradeStatus { settled_at: None, ..settled(Phase::Refused, 0) });
    assert_eq!(numbers(&book, DAY + 50), [0; 0]);
    assert_eq!(numbers(&book, DAY + 51), [1]);
}

proptest! {
    #[test]
    fn the_highest_number_and_what_is_unsettled_are_never_deleted(phases in proptest::collection::vec(0..6_u8, 0..30)) {
        let book: Vec<_> = phases.iter().enumerate().map(|(index, phase)| {
            let status = match phase {
                0 => written(),
                1 => placed(),
                2 => settled(Phase::Fulfilled, 0),
                3 => settled(Phase::Failed, 0),
                4 => settled(Phase::Refused, 0),
                _ => settled(Phase::Abandoned, 0),
            };
            entry(index as u64 + 1, 1024, 2048, 0, status)
        }).collect();
        for pruned in prunable(&book, Timestamp::MAX) {
            prop_assert!(pruned.phase().is_settled(), "{}", pruned.name_any());
            prop_assert!(pruned.number() < book.len() as u64);
        }
    }
}
