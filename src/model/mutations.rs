//! The model can fail: each rule taken away is missed by a property with a name.

use rstest::rstest;

use super::{
    Bounds, Model,
    judge::Violation::{self, *},
    state::{Budget, Size},
    worlds::{GROWTH, NOTHING},
};
use Mutation::*;

/// A rule of the book that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// It decides by the look that it had before it read the book (B2).
    NoFreshLook,
    /// The next entry is written while another one is unsettled (B4).
    OverUnsettled,
    /// Only the newest entry counts (B4).
    NewestOnly,
    /// Any unknown answer is taken for a refusal (B5).
    UnknownIsRefused,
    /// An order without an answer is given up at once (B5).
    NoWait,
    /// It is given up after its lifetime, without the lag (B5).
    NoLag,
    /// Its lifetime is taken for shorter than the cloud's.
    ShorterLifetime,
    /// It is taken for longer (L1).
    LongerLifetime,
    /// Our own clock, which is ahead, in place of the cloud's (B5).
    OurClock,
    /// One that is in process is taken for one that runs (B5).
    InProcessRuns,
    /// One that isn't there is taken for one that runs, at no size (B5).
    AbsentRuns,
    /// The list is taken for proof of absence: one that it doesn't show is not asked for by itself (B10).
    EmptyListIsNone,
    /// The API server lets two processes write the same number (B1).
    NumbersNotUnique,
    /// It sends and doesn't write it (B1).
    SendsUnwritten,
    /// A create that was refused gives the right to send, too (B1).
    SendsAfterConflict,
    /// What another process wrote is sent (B3).
    SendsForOthers,
    /// Without an answer it is sent once more (B3).
    SentAgain,
    /// It is sent whenever its turn comes (B3).
    SentAnyTime,
    /// What has changed meanwhile is written over (B5).
    VersionsIgnored,
    /// The acceptance of an order that was given up is not written down (B5).
    LateAnswerDropped,
    /// It is not read once more what is declared.
    NotConfirmed,
    /// What is dead is taken for fulfilled (B5).
    DeadIsFulfilled,
    /// One lost order counts for three (L1).
    LostIsThreeTimesLost,
    /// A size is misread (L1).
    SizeMisread,
    /// An instance larger than declared is made smaller (B6).
    OrdersDown,
    /// What was paid is forgotten (B7).
    PaidIsForgotten,
    /// And at once, when a person says to go on (B7).
    WordAtOnce,
    /// Failed tries are forgotten (B7).
    FailedIsForgotten,
    /// Lost tries are forgotten (B7).
    LostIsForgotten,
    /// Settled entries are pruned at once.
    PrunedSoon,
    /// Nobody asks what became of a deal (L1).
    DealNeverAsked,
}

#[rstest]
#[case(NoFreshLook, PaidTwice)]
#[case(OverUnsettled, PaidTwice)]
#[case(NewestOnly, NeverSettles)]
#[case(UnknownIsRefused, PaidTwice)]
#[case(NoWait, PaidTwice)]
#[case(NoLag, PaidTwice)]
#[case(ShorterLifetime, PaidTwice)]
#[case(OurClock, PaidTwice)]
#[case(InProcessRuns, PaidTwice)]
#[case(AbsentRuns, PaidTwice)]
#[case(NumbersNotUnique, PaidTwice)]
#[case(SendsUnwritten, SentWithoutEntry)]
#[case(SendsAfterConflict, PaidTwice)]
#[case(SendsForOthers, PaidTwice)]
#[case(SentAgain, PaidTwice)]
#[case(SentAnyTime, SentLate)]
#[case(VersionsIgnored, DealForgotten)]
#[case(LateAnswerDropped, DealForgotten)]
#[case(OrdersDown, Down)]
#[case(PaidIsForgotten, PaidTwice)]
#[case(WordAtOnce, WordTooSoon)]
#[case(FailedIsForgotten, TriedTooOften)]
#[case(LostIsForgotten, TriedTooOften)]
#[case(PrunedSoon, PaidTwice)]
#[case(DealNeverAsked, NeverSettles)]
#[case(OverUnsettled, WrittenOverUnsettled)]
#[case(OverUnsettled, TwoAtOnce)]
#[case(NumbersNotUnique, NumberTwice)]
#[case(NoWait, GivenUpThoughAccepted)]
#[case(SentAgain, SentTwice)]
#[case(NotConfirmed, Undeclared)]
#[case(DeadIsFulfilled, FulfilledForNothing)]
#[case(LongerLifetime, SettlesLate)]
#[case(LostIsThreeTimesLost, StalledForNothing)]
#[case(EmptyListIsNone, StalledForNothing)]
#[case(SizeMisread, ReadyForNothing)]
fn without_this_rule_that_property_is_lost(#[case] mutation: Mutation, #[case] property: Violation) {
    let budget = match mutation {
        PaidIsForgotten => Budget { drops: 1, ..NOTHING },
        WordAtOnce => Budget { proceeds: 1, ..NOTHING },
        NewestOnly | DealNeverAsked | LateAnswerDropped | VersionsIgnored => Budget { failures: 1, ..NOTHING },
        // A person asks for one more try of what was called refused.
        UnknownIsRefused => Budget { requests: 1, ..NOTHING },
        FailedIsForgotten => Budget { failures: 4, ..NOTHING },
        _ => NOTHING,
    };
    let (entries, processes) = match mutation {
        FailedIsForgotten | LostIsForgotten => (4, 1),
        _ => (3, 2),
    };
    let (shrinks, declared): (_, [&'static [Size]; 2]) = match mutation {
        OrdersDown => (true, [&[2, 1], &[]]),
        NotConfirmed => (false, [&[2, 3], &[]]),
        _ => (false, GROWTH.declared),
    };
    let bounds = Bounds {
        entries,
        processes,
        shrinks,
        declared,
        budget,
        mutation: Some(mutation),
        only: Some(property),
        ..GROWTH
    };
    let found = Model::new(bounds).search();
    let (caught, trace) = found.violation.unwrap_or_else(|| panic!("{mutation:?} is not caught"));
    println!(
        "{mutation:?} → {caught:?}: {} states, in {} steps",
        found.states,
        trace.lines().take_while(|line| !line.starts_with("and then")).count()
    );
}
