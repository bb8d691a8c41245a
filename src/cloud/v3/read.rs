//! What each action's answer says: field by field, believing nothing that contradicts itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::PAGE;
use super::answer::Fields;
use crate::cloud::json::{integer, text};
use crate::cloud::listing::{self, deal_state, doubtful, is_deal, shown};
use crate::cloud::{
    Accepted, CloudError, DealState, Instance, InstanceState, Layout, Page, Price, SizesSold, SoldSize,
};

/// No instance has more shards, or replicas.
const MOST_NODES: i64 = 1024;
/// The types (`Type`) that are sold by the size of their shards; all others by that of the whole.
const CLUSTERS: [i64; 5] = [4, 7, 9, 16, 18];
const MB_PER_GB: i64 = 1024;

/// DescribeInstances without an id, asked from row `offset` on.
pub(super) fn page(fields: &Fields, offset: usize) -> Result<Page, CloudError> {
    let total = total(fields)?.ok_or_else(|| doubtful("the answer has no TotalCount"))?;
    // Offsets are multiples of the limit.
    listing::page(instance_set(fields)?, total, offset, offset.saturating_add(PAGE), instance)
}

/// DescribeInstances for one `InstanceId`.
pub(super) fn found(fields: &Fields, redis_id: &str) -> Result<Option<Instance>, CloudError> {
    listing::found(instance_set(fields)?, total(fields)?, redis_id, instance)
}

/// UpgradeInstance (239/20013): accepted is what has the number or the name of a deal, and nothing else.
pub(super) fn accepted(fields: &Fields) -> Result<Accepted, CloudError> {
    let deal = |name| fields.get(name).and_then(text).filter(|id| is_deal(id));
    let deal_name = deal("DealName");
    let deal_id = deal("DealId").or_else(|| deal_name.clone());
    let deal_id = deal_id.ok_or_else(|| doubtful("no deal id and no name: whether the order was taken isn't known"))?;
    Ok(Accepted { deal_id, deal_name })
}

/// InquiryPriceUpgradeInstance. Fractions are rounded up.
pub(super) fn price(fields: &Fields) -> Result<Price, CloudError> {
    let (price, unit) = (fields.get("Price"), fields.get("AmountUnit").and_then(Value::as_str));
    let amount = price.and_then(Value::as_f64).filter(|amount| *amount >= 0.0);
    let fen = match (amount, unit) {
        (Some(amount), Some("pent")) => Some(amount),
        (Some(amount), Some("microPent")) => Some(amount / 1e6),
        _ => None,
    };
    let fen = fen.map(f64::ceil).filter(|fen| *fen <= 1e15);
    let fen = fen.ok_or_else(|| doubtful(format!("the price is {} {}", shown(price), unit.unwrap_or("(no unit)"))))?;
    let currency = fields.get("Currency").and_then(Value::as_str).filter(is_currency);
    let currency = currency.ok_or_else(|| doubtful("the price has no currency"))?.to_owned();
    // Whole, and far below 2^53.
    Ok(Price { hundredths: fen as i64, currency })
}

fn is_currency(name: &&str) -> bool {
    name.len() == 3 && name.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// DescribeProductInfo: what is sold in all regions.
pub(super) fn sizes(fields: &Fields, region: &str, look: &Instance) -> Result<Option<SizesSold>, CloudError> {
    let regions = fields.get("RegionSet").and_then(Value::as_array);
    let regions = regions.ok_or_else(|| doubtful("the answer has no RegionSet"))?;
    let number = |row: &Value, name: &str| row.get(name).and_then(integer);
    let (Some(zone_id), Some(type_id)) = (look.zone_id, look.type_id) else {
        return Err(doubtful(format!("the row of {} names no zone and type to ask for", look.redis_id)));
    };
    let is_here = |zone: &Value| number(zone, "OldZoneId").or_else(|| number(zone, "ZoneId")) == Some(zone_id);
    let is_like = |product: &Value| {
        let paid = number(product, "PayMode");
        number(product, "Type") == Some(type_id)
            && (paid.is_none() || look.layout.billing_mode.is_none() || paid == look.layout.billing_mode)
    };
    let is_cluster = CLUSTERS.contains(&type_id);
    let (name, parts) = if is_cluster { ("ShardSize", look.shards()) } else { ("TotalSize", 1) };
    let here = regions.iter().filter(|row| row.get("RegionId").and_then(Value::as_str) == Some(region));
    let zones = here.flat_map(|row| items(row, "ZoneSet")).filter(|zone| is_here(zone));
    let mut sizes = BTreeMap::new();
    for product in zones.flat_map(|zone| items(zone, "ProductSet")).filter(|product| is_like(product)) {
        let sold_out = product.get("Saleout").and_then(Value::as_bool).unwrap_or_default();
        for gb in items(product, name).iter().filter_map(integer) {
            let size = gb.checked_mul(MB_PER_GB).and_then(|part| part.checked_mul(parts));
            // Sold out where every offer of it is.
            size.filter(|size| *size > 0)
                .map(|size| sizes.entry(size).and_modify(|out| *out &= sold_out).or_insert(sold_out));
        }
    }
    let sizes: Vec<_> = sizes.into_iter().map(|(size, sold_out)| SoldSize { size, sold_out }).collect();
    Ok((!sizes.is_empty()).then_some(SizesSold::List(sizes)))
}

/// The elements of a list in a row; none where there is no list.
fn items<'a>(row: &'a Value, name: &str) -> &'a [Value] {
    row.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// DescribeInstanceDealDetail for one deal, by its id or its name.
pub(super) fn deal(fields: &Fields, order: &Accepted) -> Result<Option<DealState>, CloudError> {
    let rows = fields.get("DealDetails").and_then(Value::as_array);
    let row = match rows.ok_or_else(|| doubtful("the answer has no DealDetails"))?.as_slice() {
        [] => return Ok(None),
        [row] => row,
        rows => return Err(doubtful(format!("asked for deal {}, the answer has {} rows", order.deal_id, rows.len()))),
    };
    let [id, name] = ["DealId", "DealName"].map(|name| row.get(name).and_then(text));
    if id.as_ref() != Some(&order.deal_id) && (name.is_none() || name != order.deal_name) {
        let message = format!("asked for deal {}, the answer shows {}", order.deal_id, shown(row.get("DealId")));
        return Err(doubtful(message));
    }
    let status = row.get("Status");
    let status = status
        .and_then(integer)
        .ok_or_else(|| doubtful(format!("deal {} has the status {}", order.deal_id, shown(status))))?;
    Ok(Some(deal_state(status)))
}

fn instance_set(fields: &Fields) -> Result<&[Value], CloudError> {
    listing::rows(fields.get("InstanceSet"), total(fields)?, "InstanceSet")
}

fn total(fields: &Fields) -> Result<Option<usize>, CloudError> {
    listing::total(fields.get("TotalCount"))
}

fn instance(row: &Value) -> Result<Instance, CloudError> {
    let number = |name: &str| row.get(name).and_then(integer);
    let id = listing::id(row.get("InstanceId"))?;
    let (size, state) = listing::size_and_state(id, row.get("Size"), row.get("Status"))?;
    let layout = layout(row).map_err(|what| doubtful(format!("{id} {what}")))?;
    // Orders are for instances that run. One in process may show a layout that is neither the old nor the new one.
    if state == InstanceState::Running {
        check(row, size, layout).map_err(|what| doubtful(format!("{id} {what}")))?;
    }
    let (zone_id, type_id) = (number("ZoneId"), number("Type"));
    Ok(Instance { redis_id: id.to_owned(), state, size, zone_id, type_id, layout })
}

/// What the row says of the layout. A number that is shown and is none tells that something is read wrongly.
fn layout(row: &Value) -> Result<Layout, String> {
    let shown_in = |name: &str| match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = integer(value).filter(|number| (0..=MOST_NODES).contains(number));
            number.map(Some).ok_or_else(|| format!("has the {name} {}", shown(Some(value))))
        }
    };
    let shards = shown_in("RedisShardNum")?.filter(|shards| *shards > 0);
    let replicas = shown_in("RedisReplicasNum")?;
    Ok(Layout { shards, replicas, billing_mode: row.get("BillingMode").and_then(integer) })
}

/// An order passes the size of a shard: a size, a number of shards and an architecture that don't fit would make it one of another size.
fn check(row: &Value, size: i64, layout: Layout) -> Result<(), String> {
    let kind = row.get("Type").and_then(integer);
    let is_cluster = row.get("ProductType").and_then(Value::as_str) == Some("cluster")
        || kind.is_some_and(|kind| CLUSTERS.contains(&kind));
    let shards = match (is_cluster, layout.shards, layout.replicas) {
        (true, Some(shards), Some(_)) => shards,
        (true, ..) => return Err("is a cluster, and its row doesn't say of how many shards and replicas".to_owned()),
        (false, None | Some(1), _) => 1,
        (false, Some(shards), _) => return Err(format!("is no cluster, and has {shards} shards")),
    };
    match row.get("RedisShardSize") {
        None | Some(Value::Null) => Ok(()),
        Some(part) if integer(part) == Some(0) && !is_cluster => Ok(()),
        Some(part) if integer(part).and_then(|part| part.checked_mul(shards)) == Some(size) => Ok(()),
        Some(part) => Err(format!("has {size} MB, but {shards} shards of {} MB", shown(Some(part)))),
    }
}
