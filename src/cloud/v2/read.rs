//! What each action's answer says: field by field, believing nothing that contradicts itself.

use serde_json::Value;

use super::answer::Fields;
use crate::cloud::json::{integer, text};
use crate::cloud::listing::{self, deal_state, doubtful, is_deal, shown};
use crate::cloud::{Accepted, CloudError, DealState, Instance, Layout, Page, Price, SizesSold};

/// DescribeRedis without a `redisId` (260/1384), asked from row `offset` on.
pub(super) fn page(fields: &Fields, offset: usize) -> Result<Page, CloudError> {
    let rows = redis_set(fields)?;
    let total = total(fields)?.ok_or_else(|| doubtful("the answer has no totalCount"))?;
    listing::page(rows, total, offset, offset.saturating_add(rows.len()), instance)
}

/// DescribeRedis for one `redisId`.
pub(super) fn found(fields: &Fields, redis_id: &str) -> Result<Option<Instance>, CloudError> {
    listing::found(redis_set(fields)?, total(fields)?, redis_id, instance)
}

/// UpgradeRedis (239/5328): accepted is what has a deal id, and nothing else.
pub(super) fn accepted(fields: &Fields) -> Result<Accepted, CloudError> {
    let name = fields.get("codeDesc").and_then(Value::as_str).unwrap_or_default();
    if !name.is_empty() && !name.eq_ignore_ascii_case("success") {
        return Err(doubtful(format!("code 0, but codeDesc {name}")));
    }
    let data = fields.get("data").and_then(only);
    let id = data.map(|data| data.get("dealId").unwrap_or(data)).and_then(only).and_then(text);
    let deal_id = id.filter(|id| is_deal(id));
    deal_id
        .map(|deal_id| Accepted { deal_id, deal_name: None })
        .ok_or_else(|| doubtful("code 0, but no deal id: whether the order was taken is not known"))
}

/// UpgradeRedisInquiryPrice (260/5327).
pub(super) fn price(fields: &Fields) -> Result<Price, CloudError> {
    let price = fields.get("data").and_then(only).and_then(|data| data.get("price"));
    let fen = price.and_then(integer).filter(|fen| *fen >= 0);
    let hundredths = fen.ok_or_else(|| doubtful(format!("the price is {}", shown(price))))?;
    Ok(Price { hundredths, currency: "CNY".to_owned() })
}

/// DescribeRedisProduct (260/4974). Limits differ by zone and type; what is not sold is missing.
pub(super) fn sizes(fields: &Fields, zone: i64, kind: i64) -> Result<Option<SizesSold>, CloudError> {
    let data = fields.get("data");
    let one = data.filter(|data| data.get("zoneId").is_some()).map(|zone| vec![zone]);
    let zones = one.or_else(|| data.and_then(items)).ok_or_else(|| doubtful("the answer has no list of zones"))?;
    let zones = zones.into_iter().filter(|row| row.get("zoneId").and_then(integer) == Some(zone));
    let types = zones.filter_map(|row| row.get("types").and_then(items)).flatten();
    let mut sold = types.filter(|row| row.get("type").and_then(integer) == Some(kind));
    let Some(row) = sold.next() else { return Ok(None) };
    if sold.next().is_some() {
        return Err(doubtful(format!("type {kind} stands in zone {zone} more than once")));
    }
    let [min, max] = ["minMemSize", "maxMemSize"].map(|name| row.get(name));
    match (min.and_then(integer), max.and_then(integer)) {
        (Some(min), Some(max)) if 0 < min && min <= max => Ok(Some(SizesSold::Range { min, max })),
        _ => Err(doubtful(format!("sizes from {} to {} are sold in zone {zone}", shown(min), shown(max)))),
    }
}

/// DescribeRedisDealDetail (260/5329). `dealDetails` stands at the top level there; in `data` it is taken too.
pub(super) fn deal(fields: &Fields, deal_id: &str) -> Result<Option<DealState>, CloudError> {
    let details = fields.get("dealDetails").or_else(|| fields.get("data")?.get("dealDetails"));
    let one = details.filter(|details| details.get("dealId").is_some()).map(|row| vec![row]);
    let rows = one.or_else(|| details.and_then(items)).ok_or_else(|| doubtful("the answer has no dealDetails"))?;
    match rows[..] {
        [] => Ok(None),
        [row] => {
            let id = row.get("dealId").and_then(text);
            if id.as_deref() != Some(deal_id) {
                return Err(doubtful(format!(
                    "asked for deal {deal_id}, the answer shows {}",
                    shown(row.get("dealId"))
                )));
            }
            let status = row.get("status");
            match status.and_then(integer) {
                Some(state) => Ok(Some(deal_state(state))),
                None => Err(doubtful(format!("deal {deal_id} has the status {}", shown(status)))),
            }
        }
        _ => Err(doubtful(format!("asked for deal {deal_id}, the answer has {} rows", rows.len()))),
    }
}

fn redis_set(fields: &Fields) -> Result<&[Value], CloudError> {
    let set = fields.get("data").and_then(|data| data.get("redisSet").or(Some(data)));
    listing::rows(set, total(fields)?, "redisSet")
}

fn total(fields: &Fields) -> Result<Option<usize>, CloudError> {
    listing::total(fields.get("totalCount").or_else(|| fields.get("data")?.get("totalCount")))
}

fn instance(row: &Value) -> Result<Instance, CloudError> {
    let number = |name: &str| row.get(name).and_then(integer);
    let id = listing::id(row.get("redisId"))?;
    let (size, state) = listing::size_and_state(id, row.get("size"), row.get("status"))?;
    let (zone_id, type_id) = (number("zoneId"), number("typeId"));
    Ok(Instance { redis_id: id.to_owned(), state, size, zone_id, type_id, layout: Layout::default() })
}

/// Itself, or the only element of a list.
fn only(value: &Value) -> Option<&Value> {
    match value {
        Value::Array(list) => match &list[..] {
            [one] => Some(one),
            _ => None,
        },
        _ => Some(value),
    }
}

/// The elements of a list, or the values of an object.
fn items(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(list) => Some(list.iter().collect()),
        Value::Object(fields) => Some(fields.values().collect()),
        _ => None,
    }
}
