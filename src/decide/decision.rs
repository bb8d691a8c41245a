//! What comes of deciding: what to do, and what to tell.

use jiff::Timestamp;

use crate::{
    api::{Failure, Phase},
    cloud::Accepted,
};

/// What to do, and what to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub step: Option<Step>,
    pub verdict: Verdict,
    /// A look after this moment of the cloud's clock will tell more, even if nothing is seen to change before.
    pub again: Option<Timestamp>,
    /// Something is on its way: look at the instance often.
    pub active: bool,
}

/// A step forward. Each is taken on a consistent book and a fresh look.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the next entry into the book and send its order.
    Order { from: i64, to: i64 },
    /// Ask what became of the deal of this entry.
    AskDeal { entry: String, order: Accepted },
    /// Write down when the deal of this entry was first seen as delivered.
    MarkDelivered { entry: String, at: Timestamp },
    /// Close this entry.
    Settle { entry: String, phase: Phase, at: Timestamp, evidence: String, error: Option<Failure> },
}

/// How it stands with the resource, in the sense of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ready,
    Reconciling,
    Stalled,
    /// The cloud can't be asked: Ready is Unknown.
    Unknown,
    /// Nothing new is known: what the status says stays.
    AsBefore,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub health: Health,
    /// CamelCase word.
    pub reason: String,
    /// One line. Nothing in it moves by itself.
    pub message: String,
    pub error: Option<Failure>,
}

impl Verdict {
    pub(super) fn new(health: Health, reason: &str, message: String) -> Self {
        Self { health, reason: reason.into(), message, error: None }
    }

    pub(super) fn ready(reason: &str, message: String) -> Self {
        Self::new(Health::Ready, reason, message)
    }

    pub(super) fn reconciling(reason: &str, message: String) -> Self {
        Self::new(Health::Reconciling, reason, message)
    }

    pub(super) fn stalled(reason: &str, message: String) -> Self {
        Self::new(Health::Stalled, reason, message)
    }
}

impl Decision {
    /// Nothing to do until something changes.
    pub(super) fn rest(verdict: Verdict) -> Self {
        Self { step: None, verdict, again: None, active: false }
    }

    pub(super) fn step(step: Step, verdict: Verdict) -> Self {
        Self { step: Some(step), verdict, again: None, active: true }
    }

    pub(super) fn active(self) -> Self {
        Self { active: true, ..self }
    }

    pub(super) fn again_after(self, moment: Timestamp) -> Self {
        Self { again: Some(moment), ..self }
    }
}
