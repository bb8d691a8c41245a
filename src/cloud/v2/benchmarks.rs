//! Signing and reading of version 2, for `benches/micro.rs`.

use jiff::Timestamp;

use super::{DIALECT, PAGE, SignatureMethod, V2, answer, read};
use crate::cloud::{Caller, EndpointError, benchmarks};

/// The signature of a question for a page of the list, with the form that it stands in.
pub(crate) fn signing(method: SignatureMethod, caller: Caller) -> Result<impl Fn() -> String, EndpointError> {
    // Loopback: no root certificates are needed.
    let client = V2::new(Some("http://127.0.0.1:8086"), || 11_886, Timestamp::now)?.sign_with(method);
    let parameters = vec![
        ("limit", PAGE.to_string()),
        ("offset", "0".to_owned()),
        ("orderBy", "redisId".to_owned()),
        ("orderType", "0".to_owned()),
    ];
    Ok(move || client.signed(&caller, DIALECT.describe, &parameters, Timestamp::UNIX_EPOCH).1)
}

pub(crate) fn rows(body: Vec<u8>) -> usize {
    benchmarks::rows(body, |reply| answer::open(reply).and_then(|fields| read::page(&fields, 0)))
}
