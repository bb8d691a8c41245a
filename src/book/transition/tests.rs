use proptest::prelude::*;

use super::*;
use crate::api::testing::{at, failure, placed, settled, settled_by, written};

const PHASES: [Phase; 6] =
    [Phase::Written, Phase::Placed, Phase::Fulfilled, Phase::Failed, Phase::Refused, Phase::Abandoned];

fn accepted() -> Outcome {
    Outcome::Accepted { accepted: Accepted { deal_id: "4711".into(), deal_name: Some("name".into()) }, at: at(9).0 }
}

fn refused() -> Outcome {
    Outcome::Refused { error: failure(Some(10703), "InvalidMemSize", 9), at: at(9).0 }
}

fn never_sent() -> Outcome {
    Outcome::NeverSent { error: failure(None, "NeverSent", 9), at: at(9).0 }
}

fn unknown() -> Outcome {
    Outcome::Unknown { error: failure(None, "Timeout", 9) }
}

fn seen(phase: Phase) -> Outcome {
    Outcome::Settled { phase, at: at(9).0, evidence: "as seen".into(), error: None }
}

fn outcomes() -> Vec<Outcome> {
    let others = [accepted(), refused(), never_sent(), unknown(), Outcome::Delivered { at: at(9).0 }];
    others.into_iter().chain(PHASES.map(seen)).collect()
}

/// May an entry go from one phase to the other at all (invariant B5)?
fn forward(from: Phase, to: Phase) -> bool {
    use Phase::{Abandoned, Failed, Fulfilled, Placed, Refused, Written};
    matches!(
        (from, to),
        (Written, Placed | Refused | Abandoned | Fulfilled) | (Placed, Fulfilled | Failed) | (Abandoned, Placed)
    )
}

#[test]
fn an_entry_moves_forward_only() {
    for from in PHASES {
        for outcome in outcomes() {
            if let Some(after) = apply(&settled(from, 5), &outcome) {
                assert!(after.phase == from || forward(from, after.phase), "{from} → {} by {outcome:?}", after.phase);
            }
        }
    }
}

#[test]
fn an_acceptance_is_always_written_even_if_the_entry_was_given_up() {
    for from in [written(), settled_by(Phase::Written, 5, None, "Timeout"), settled(Phase::Abandoned, 5)] {
        let after = apply(&from, &accepted()).unwrap();
        assert_eq!(
            (after.phase, after.deal_id.as_deref(), after.deal_name.as_deref()),
            (Phase::Placed, Some("4711"), Some("name"))
        );
        assert_eq!((after.settled_at, after.error), (None, None), "it is open again, and known");
    }
    let fulfilled = settled(Phase::Fulfilled, 5);
    let after = apply(&fulfilled, &accepted()).unwrap();
    assert_eq!(after.deal_id.as_deref(), Some("4711"));
    let evidence = after.evidence.clone();
    assert_eq!(
        RedisUpgradeStatus { deal_id: None, deal_name: None, evidence: None, ..after },
        fulfilled,
        "the deal alone"
    );
    assert!(evidence.unwrap().contains("4711 (name)"));
}

#[test]
fn a_known_deal_is_never_written_over() {
    let other = || RedisUpgradeStatus { deal_id: Some("1".into()), ..placed() };
    assert_eq!(apply(&other(), &accepted()), None);
    assert_eq!(apply(&RedisUpgradeStatus { phase: Phase::Fulfilled, ..other() }, &accepted()), None);
}

#[test]
fn a_refusal_and_not_being_sent_are_the_word_about_a_written_entry_only() {
    let after = apply(&written(), &refused()).unwrap();
    assert_eq!((after.phase, after.settled_at), (Phase::Refused, Some(at(9))));
    assert_eq!(after.error.unwrap().code, Some(10703));
    let after = apply(&written(), &never_sent()).unwrap();
    assert_eq!((after.phase, after.settled_at), (Phase::Abandoned, Some(at(9))));
    assert!(after.evidence.unwrap().starts_with("It was never sent (1970"));
    for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Written) {
        assert_eq!(apply(&settled(phase, 5), &refused()), None, "{phase}");
        assert_eq!(apply(&settled(phase, 5), &never_sent()), None, "{phase}");
        assert_eq!(apply(&settled(phase, 5), &unknown()), None, "{phase}");
    }
}

#[test]
fn an_unknown_outcome_settles_nothing_and_keeps_its_first_cause() {
    let after = apply(&written(), &unknown()).unwrap();
    assert_eq!((after.phase, &after.settled_at), (Phase::Written, &None));
    assert_eq!(after.error.as_ref().unwrap().code_desc, "Timeout");
    assert_eq!(apply(&after, &unknown()), None);
}

#[test]
fn a_delivery_is_noted_once_and_of_accepted_entries_only() {
    let delivered = |second| Outcome::Delivered { at: at(second).0 };
    let after = apply(&placed(), &delivered(9)).unwrap();
    assert_eq!((after.phase, after.delivered_at.clone()), (Phase::Placed, Some(at(9))));
    assert_eq!(apply(&after, &delivered(99)), None, "the first time counts");
    assert_eq!(apply(&written(), &delivered(9)), None);
}

#[test]
fn a_settled_entry_keeps_why_its_outcome_was_unknown() {
    let after = apply(&settled_by(Phase::Written, 5, None, "Timeout"), &seen(Phase::Abandoned)).unwrap();
    assert_eq!(after.error.unwrap().code_desc, "Timeout");
    assert_eq!((after.settled_at, after.evidence.as_deref()), (Some(at(9)), Some("as seen")));
}

/// With nothing but the entry a person can tell how it came to this.
#[test]
fn evidence_grows_by_a_sentence_for_each_thing_that_was_learnt() {
    let story = [unknown(), seen(Phase::Abandoned), accepted(), seen(Phase::Fulfilled)];
    let end = story.iter().fold(written(), |status, outcome| apply(&status, outcome).unwrap());
    let evidence = end.evidence.unwrap();
    let facts =
        ["Timeout: The cloud says no.", "as seen", "Learnt late", "1970-01-01T00:00:09Z: deal 4711 (name)", "as seen"];
    let mut rest = evidence.as_str();
    for fact in facts {
        rest = rest.split_once(fact).unwrap_or_else(|| panic!("{fact} in {evidence}")).1;
    }
    let long = RedisUpgradeStatus { evidence: Some("é".repeat(1020)), ..placed() };
    let evidence = apply(&long, &seen(Phase::Fulfilled)).unwrap().evidence.unwrap();
    assert_eq!(evidence, format!("…{} as seen", "é".repeat(1015)), "of what is too long the end stays");
}

proptest! {
    /// Whatever is learnt, in whatever order and however often: told twice, the second time changes nothing; a deal stays; and an
    /// accepted entry is never again one of which nothing came.
    #[test]
    fn what_was_learnt_is_never_unlearnt(order in proptest::collection::vec(0..outcomes().len(), 0..12)) {
        let mut status = written();
        let mut was_accepted = false;
        for outcome in order.into_iter().map(|index| outcomes().swap_remove(index)) {
            let Some(after) = apply(&status, &outcome) else { continue };
            prop_assert!(after != status, "{outcome:?} is no news");
            prop_assert!(apply(&after, &outcome).is_none(), "{outcome:?} again");
            prop_assert!(status.deal_id.is_none() || after.deal_id == status.deal_id);
            was_accepted |= after.phase == Phase::Placed;
            prop_assert!(!(was_accepted && matches!(after.phase, Phase::Written | Phase::Refused | Phase::Abandoned)));
            prop_assert_eq!(after.phase.is_settled(), after.settled_at.is_some());
            status = after;
        }
    }
}
