//! Signing and reading of API 3.0, for `benches/micro.rs`.

use jiff::Timestamp;
use serde_json::json;

use super::{JSON, PAGE, SERVICE, answer, read, sign};
use crate::cloud::{Caller, benchmarks};

/// The signature of a question for a page of the list, with the body that it is made for.
pub(crate) fn signing(caller: Caller) -> impl Fn() -> String {
    let parameters = json!({"Limit": PAGE, "Offset": 0, "OrderBy": "createtime", "OrderType": 0});
    move || {
        let body = parameters.to_string();
        let request = sign::Signed {
            service: SERVICE,
            host: "redis.tencentcloudapi.com",
            content_type: JSON,
            body: body.as_bytes(),
            timestamp: Timestamp::UNIX_EPOCH,
        };
        sign::authorization(&caller.credentials, &request).1
    }
}

pub(crate) fn rows(body: Vec<u8>) -> usize {
    benchmarks::rows(body, |reply| answer::open(reply).and_then(|fields| read::page(&fields, 0)))
}
