//! One call, whichever API it is of: sent, answered, read, told about.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use tokio::time::Instant;

use super::clock::CloudClock;
use super::text::Texts;
use super::transport::{Reply, Route, Transport};
use super::{Accepted, Caller, CloudError, Dated, Meaning, Page, Price};

/// A refusal of our time whose own `Date` is no further than this from what we sent has another cause than our clock.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(5);

/// As long as a read may take. To a process that was frozen an answer may come later: neither it nor its `Date` tells anything of now.
pub(super) const FRESH: Duration = Duration::from_secs(30);

impl Transport {
    /// One request, sent once. `signature` is the one in it: no text of the answer may repeat that.
    pub(super) async fn call<T: Quoting>(
        &self,
        route: Route,
        caller: &Caller,
        action: &'static str,
        signature: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
        read: impl FnOnce(&Reply) -> Result<T, CloudError>,
    ) -> Result<Dated<T>, CloudError> {
        let started = Instant::now();
        let texts = Texts::hiding(&caller.credentials, signature);
        let answer = understood(self.post(route, fill).await, &texts, read);
        let code = answer.as_ref().map_or_else(|error| error.code_desc.as_str(), |_| "Success");
        tracing::debug!(action, code, region = caller.region, duration = ?started.elapsed(), "called the cloud");
        answer
    }
}

/// What each call does with the cloud's time, whoever carries it.
impl CloudClock {
    /// A call that changes nothing, made at the cloud's time. When the cloud refuses that time and its `Date` says that our clock was off,
    /// it is repeated, once, with the time just learnt.
    pub(crate) async fn ask<T, F: Future<Output = Result<Dated<T>, CloudError>>>(
        &self,
        call: impl Fn(Timestamp) -> F,
    ) -> Result<Dated<T>, CloudError> {
        let sent = self.now();
        match in_time(call(sent)).await {
            Err(error) if error.meaning() == Some(Meaning::Clock) && is_off(sent, error.at) => {
                in_time(call(self.now())).await
            }
            first => first,
        }
    }

    /// An answer has come, to what was sent then.
    pub(crate) fn hear(&self, date: Timestamp, sent: Instant) {
        if sent.elapsed() <= FRESH {
            self.learn(date);
        }
    }

    /// When an order was answered: by the `Date` of the answer, if that can be right, for it will stand in the book for good. Without one the
    /// number of the deal counts all the same: it is worth more than the minute in which it was made.
    pub(crate) fn answered(&self, date: Option<Timestamp>) -> Timestamp {
        date.filter(|date| self.is_even(*date)).unwrap_or_else(|| self.now())
    }
}

/// What a read shows is as old as its answer. A process that was frozen may find one in its socket: then it is none.
async fn in_time<T>(call: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
    let sent = Instant::now();
    let answer = call.await;
    if sent.elapsed() <= FRESH {
        answer
    } else {
        Err(CloudError::no_answer("Timeout", format!("no answer within {FRESH:?}")))
    }
}

/// What an answer says. All that is told of it is cleaned here.
pub(super) fn understood<T: Quoting>(
    reply: Result<Reply, CloudError>,
    texts: &Texts,
    read: impl FnOnce(&Reply) -> Result<T, CloudError>,
) -> Result<Dated<T>, CloudError> {
    let open = |reply: Reply| {
        let at = reply.at;
        read(&reply)
            .map(|value| Dated { value: value.cleaned(texts), at })
            .map_err(|error| CloudError { at: Some(at), ..error })
    };
    reply.and_then(open).map_err(|error| texts.clean_error(error))
}

fn is_off(sent: Timestamp, answered: Option<Timestamp>) -> bool {
    answered.is_some_and(|at| at.duration_since(sent).abs() > SAME_TIME)
}

/// What an answer says may quote the cloud in texts for people.
pub(super) trait Quoting: Sized {
    fn cleaned(self, _: &Texts) -> Self {
        self
    }
}

impl Quoting for Page {
    fn cleaned(self, texts: &Texts) -> Self {
        Self { doubts: self.doubts.iter().map(|doubt| texts.clean(doubt)).collect(), ..self }
    }
}

impl Quoting for Accepted {}
impl Quoting for Price {}
impl<T> Quoting for Option<T> {}

/// Takes the error with this code for "there is none".
pub(super) fn none_for<T>(
    code: i64,
    answer: Result<Dated<Option<T>>, CloudError>,
) -> Result<Dated<Option<T>>, CloudError> {
    match answer {
        Err(CloudError { code: Some(said), at: Some(at), .. }) if said == code => Ok(Dated { value: None, at }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_a_frozen_process_finds_in_its_socket_is_none_to_a_read() {
        let at = Timestamp::UNIX_EPOCH;
        let clock = CloudClock::new(move || at);
        let after = |wait| {
            clock.ask(move |_| async move {
                sleep(wait).await;
                Ok(Dated { value: 2048, at })
            })
        };
        assert_eq!(after(FRESH).await.unwrap().value, 2048);
        let error = after(FRESH + Duration::from_millis(1)).await.unwrap_err();
        assert_eq!((error.code_desc.as_str(), error.at), ("Timeout", None));
    }
}
