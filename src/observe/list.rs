//! Reading the cloud's list, page by page.

use std::collections::HashMap;

use tokio::time::sleep;

use crate::{
    calls::{Calls, Trouble},
    cloud::{Caller, CloudError, Dated, Instance, Page},
    failpoint::{Point, pass},
};

/// A list of more pages than this is not believed.
const PAGES: usize = 10_000;

/// What was listed, by redisId.
pub(super) type Found = HashMap<String, Dated<Instance>>;

/// The whole list. Instances that come or go between two pages may be missed, and by the documents those in a VPC are not in it.
pub(super) async fn whole(calls: &Calls, caller: &Caller) -> Result<Found, CloudError> {
    let mut found = Found::new();
    let mut next = Some(0);
    for _ in 0..PAGES {
        let Some(offset) = next else { break };
        let page = patiently(|| calls.list(caller, offset)).await?;
        pass(Point::PageRead, "");
        next = page.value.next;
        collect(caller, page, &mut found);
    }
    Ok(found)
}

/// Asks for those that are missing, many in one call, where the API can. What doesn't come of it is left out.
pub(super) async fn missing(
    calls: &Calls,
    caller: &Caller,
    found: &mut Found,
    missing_from: impl FnOnce(&Found) -> Vec<String>,
) {
    let most = calls.most_ids();
    if most == 0 {
        return;
    }
    for ids in missing_from(found).chunks(most) {
        match patiently(|| calls.list_some(caller, ids)).await {
            Ok(page) => collect(caller, page, found),
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

fn collect(caller: &Caller, Dated { value: page, at }: Dated<Page>, found: &mut Found) {
    for doubt in &page.doubts {
        tracing::warn!(region = caller.region, doubt, "a row of the cloud's list is left out");
    }
    let instances = page.instances.into_iter();
    found.extend(instances.map(|instance| (instance.redis_id.clone(), Dated { value: instance, at })));
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
