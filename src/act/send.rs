//! An order on its way: sent once, followed to its end, and what came of it written down.

use std::sync::Arc;

use kube::ResourceExt;

use super::Actor;
use crate::{
    api::{NEVER_SENT, Object, RedisInstance, RedisUpgrade},
    balance::Leave,
    book::{Outcome, SendPermit},
    calls,
    cloud::{Accepted, Caller, CloudError, Dated, ErrorKind, Instance, Meaning},
    decide,
    failpoint::{Point, pass},
};

/// An order that is in the book, and what it needs on its way.
pub(super) struct Sending {
    pub(super) instance: Arc<RedisInstance>,
    pub(super) caller: Caller,
    pub(super) look: Instance,
    pub(super) entry: RedisUpgrade,
    pub(super) leave: Leave,
}

impl Actor {
    /// Sends an order, once, and writes down what came of it.
    pub(super) async fn send(self: Arc<Self>, sending: Sending, permit: SendPermit) {
        let Sending { instance, caller, look, entry, leave } = sending;
        let name = entry.name_any();
        pass(Point::BeforeSend, &name);
        let sent = self.calls.upgrade(&caller, &look, permit).await;
        pass(Point::Answered, &name);
        match &sent {
            Ok(Dated { value, .. }) => {
                let (from, to) = (entry.spec.from, entry.spec.to);
                tracing::info!(entry = name, deal_id = value.deal_id, from, to, "the cloud accepted the order");
            }
            Err(error) if error.is_plain_refusal() => {
                tracing::warn!(entry = name, %error, "the cloud refused the order");
            }
            Err(error) if error.kind == ErrorKind::NotSent => {
                tracing::warn!(entry = name, %error, "the order was not sent");
            }
            Err(error) => {
                tracing::warn!(entry = name, %error, "no plain answer to the order: a look settles it when it can't come any more");
            }
        }
        let outcome = self.outcome(&caller, &look, entry.spec.to, sent).await;
        match &outcome {
            Outcome::Refused { error, .. } | Outcome::Unknown { error } if decide::is_balance(error) => leave.refused(),
            Outcome::Accepted { .. } => leave.accepted(),
            _ => drop(leave),
        }
        pass(Point::BeforeRecord, &name);
        let recorded = self.book.record(&entry, &outcome).await;
        pass(Point::Recorded, &name);
        match recorded {
            Ok((entry, moved)) => self.announce(&instance, &entry, moved),
            Err(error) => {
                tracing::error!(entry = name, ?outcome, %error, "what came of an order could not be written into the book");
            }
        }
        if let Outcome::Unknown { .. } = outcome {
            self.metrics.upgrade("unknown");
        }
        self.queue.wake([Object::of(&instance)]);
    }

    async fn outcome(
        &self,
        caller: &Caller,
        look: &Instance,
        to: i64,
        sent: Result<Dated<Accepted>, CloudError>,
    ) -> Outcome {
        let error = match sent {
            Ok(Dated { value, at }) => return Outcome::Accepted { accepted: value, at },
            Err(error) => error,
        };
        let at = error.at.unwrap_or_else(|| self.calls.now());
        let mut failure = decide::failure(&error, self.calls.dialect.upgrade, at);
        match error.kind {
            ErrorKind::NotSent => {
                failure.code_desc = NEVER_SENT.into();
                Outcome::NeverSent { error: failure, at }
            }
            _ if error.is_plain_refusal() => {
                if let Some(Meaning::InvalidSize | Meaning::SizeNotInRange | Meaning::SoldOut) = error.meaning() {
                    let products = self.calls.dialect.products;
                    let sold = self.calls.sizes(caller, look).await.map(|sizes| sizes.value);
                    let sold = sold.map_err(|trouble| match trouble {
                        calls::Trouble::Wait(_) => format!("{products} has to wait"),
                        calls::Trouble::Cloud(error) => format!("{products} {}", error.code_and_name()),
                    });
                    let sold = decide::sizes_sold(sold, look.size, to);
                    failure.message = format!("{} {sold}", decide::sentence(&failure.message));
                }
                Outcome::Refused { error: failure, at }
            }
            _ => Outcome::Unknown { error: failure },
        }
    }
}
