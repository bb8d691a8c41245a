//! Reading the cloud's list, page by page.

use tokio::time::sleep;

use crate::{
    calls::{Calls, Trouble},
    cloud::{Caller, CloudError, Dated, Instance, Page},
    failpoint::{Point, pass},
};

/// A list of more pages than this is not believed.
const PAGES: usize = 10_000;

/// The whole list, page by page. Instances that come or go between two pages may be missed, and by the documents those in a VPC are not in it.
pub(super) async fn whole(
    calls: &Calls,
    caller: &Caller,
    mut take: impl FnMut(Dated<Instance>),
) -> Result<(), CloudError> {
    let mut next = Some(0);
    for _ in 0..PAGES {
        let Some(offset) = next else { break };
        let page = patiently(|| calls.list(caller, offset)).await?;
        pass(Point::PageRead, "");
        next = page.value.next;
        each(caller, page, &mut take);
        if next.is_some() {
            sleep(calls.pace()).await;
        }
    }
    Ok(())
}

/// Asks for those that are missing, many in one call, where the API can. What doesn't come of it is left out.
pub(super) async fn missing(
    calls: &Calls,
    caller: &Caller,
    missing: impl FnOnce() -> Vec<String>,
    mut take: impl FnMut(Dated<Instance>),
) {
    let most = calls.most_ids();
    if most == 0 {
        return;
    }
    for ids in missing().chunks(most) {
        match patiently(|| calls.list_some(caller, ids)).await {
            Ok(page) => each(caller, page, &mut take),
            Err(error) => {
                tracing::debug!(region = caller.region, %error, "instances could not be asked for together");
                // For one that isn't there, perhaps: each of these is asked for by itself, and the others may go together.
                if !error.is_lasting_refusal() {
                    return;
                }
            }
        }
    }
}

fn each(caller: &Caller, Dated { value: page, at }: Dated<Page>, take: &mut impl FnMut(Dated<Instance>)) {
    for doubt in &page.doubts {
        tracing::warn!(region = caller.region, doubt, "a row of the cloud's list is left out");
    }
    page.instances.into_iter().for_each(|value| take(Dated { value, at }));
}

/// A reader has its own time: it waits where the limit tells it to.
pub(super) async fn patiently<T, F: Future<Output = Result<T, Trouble>>>(
    call: impl Fn() -> F,
) -> Result<T, CloudError> {
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Wait(wait)) => sleep(wait).await,
            Err(Trouble::Cloud(error)) => return Err(error),
        }
    }
}
