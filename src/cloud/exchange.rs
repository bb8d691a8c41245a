//! One call, whichever API it is of: sent, answered, read, told about.

use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use tokio::time::Instant;

use super::text::Texts;
use super::transport::{Reply, Route, Transport};
use super::{Caller, CloudError, Dated, Meaning, Page};

/// A refusal of our time whose own `Date` is no further than this from what we sent has another cause than our clock.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(5);

impl Transport {
    /// One request, sent once. `signature` is the one in it: no text of the answer may repeat that.
    pub(super) async fn call<T>(
        &self,
        route: Route,
        caller: &Caller,
        action: &'static str,
        signature: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
        read: impl FnOnce(&Reply) -> Result<T, CloudError>,
    ) -> Result<Dated<T>, CloudError> {
        let started = Instant::now();
        let open = |reply: Reply| {
            let at = reply.at;
            read(&reply).map(|value| Dated { value, at }).map_err(|error| CloudError { at: Some(at), ..error })
        };
        let texts = Texts::hiding(&caller.credentials, signature);
        let answer = self.post(route, fill).await.and_then(open).map_err(|error| texts.clean_error(error));
        let code = answer.as_ref().map_or_else(|error| error.code_desc.as_str(), |_| "Success");
        tracing::debug!(action, code, region = caller.region, duration = ?started.elapsed(), "called the cloud");
        answer
    }

    /// A call that changes nothing, made at the cloud's time. When the cloud refuses that time and its `Date` says that our clock was off,
    /// it is repeated, once, with the time just learnt.
    pub(super) async fn ask<T, F: Future<Output = Result<Dated<T>, CloudError>>>(
        &self,
        call: impl Fn(Timestamp) -> F,
    ) -> Result<Dated<T>, CloudError> {
        let sent = self.clock.now();
        match call(sent).await {
            Err(error) if error.meaning() == Some(Meaning::Clock) && is_off(sent, error.at) => {
                call(self.clock.now()).await
            }
            first => first,
        }
    }
}

fn is_off(sent: Timestamp, answered: Option<Timestamp>) -> bool {
    answered.is_some_and(|at| at.duration_since(sent).abs() > SAME_TIME)
}

/// The doubts of a page quote the cloud.
pub(super) fn clean_doubts(caller: &Caller, page: Result<Dated<Page>, CloudError>) -> Result<Dated<Page>, CloudError> {
    let texts = Texts::hiding(&caller.credentials, "");
    page.map(|mut page| {
        page.value.doubts.iter_mut().for_each(|doubt| *doubt = texts.clean(doubt));
        page
    })
}

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
