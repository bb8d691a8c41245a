//! What the benchmarks of both APIs have in common.

use jiff::Timestamp;

use super::exchange::understood;
use super::text::Texts;
use super::transport::Reply;
use super::{Caller, CloudError, Credentials, Page};

pub(crate) fn caller() -> Caller {
    let credentials = Credentials {
        secret_id: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE".to_owned(),
        secret_key: "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE".to_owned().into(),
        token: None,
    };
    Caller::new(credentials, "ap-guangzhou".to_owned())
}

/// Reads an answer as the client does; how many instances are in it.
pub(super) fn rows(body: Vec<u8>, read: impl FnOnce(&Reply) -> Result<Page, CloudError>) -> usize {
    let texts = Texts::hiding(&caller().credentials, "VkQwJVuUXwyUUhYpWZkHsyMXuGo=");
    let reply = Reply { at: Timestamp::UNIX_EPOCH, body, described: "application/json".to_owned() };
    understood(Ok(reply), &texts, read).map_or(0, |page| page.value.instances.len())
}
