//! Answers of 3.0 that nobody meant.

use serde_json::Value;

use super::answer::{self, Fields};
use super::read;
use crate::cloud::exchange::Quoting;
use crate::cloud::fuzzing::{assert_clean_doubts, read as answered};
use crate::cloud::{Accepted, CloudError, Instance, InstanceState, Layout, SizesSold};
use crate::fuzzing::has_double_keys;

/// One body, read as the answer to each action.
pub(crate) fn answer(body: &[u8]) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let response = &parsed["Response"];
    let is_sound = response.is_object() && !has_double_keys(body, &parsed) && response["Error"].is_null();
    let rows = response["InstanceSet"].as_array().cloned().unwrap_or_default();
    if let Ok(page) = ask(body, |fields| read::page(fields, 1000)) {
        assert!(is_sound && page.next.is_none_or(|next| next > 1000));
        assert_clean_doubts(&page.doubts, body);
        for instance in &page.instances {
            let same = page.instances.iter().filter(|other| other.redis_id == instance.redis_id);
            assert!(same.count() == 1 && rows.iter().filter(|row| shows(row, instance)).count() == 1);
        }
    }
    if let Ok(Some(instance)) = ask(body, |fields| read::found(fields, "crs-1")) {
        let total = &response["TotalCount"];
        assert!(is_sound && (total.is_null() || is(total, 1.0)));
        assert!(instance.redis_id == "crs-1" && rows.len() == 1 && shows(&rows[0], &instance));
    }
    if let Ok(accepted) = ask(body, read::accepted) {
        assert!(is_sound);
        for id in [Some(accepted.deal_id), accepted.deal_name].into_iter().flatten() {
            assert!(!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
            assert!(response.to_string().contains(&id), "{id} is from nowhere");
        }
    }
    if let Ok(price) = ask(body, read::price) {
        assert!(is_sound && price.hundredths >= 0);
        assert!(price.currency.len() == 3 && price.currency.bytes().all(|byte| byte.is_ascii_uppercase()));
    }
    let look = Instance {
        redis_id: "crs-1".into(),
        state: InstanceState::Running,
        size: 2048,
        zone_id: Some(100_002),
        type_id: Some(7),
        layout: Layout { shards: Some(2), replicas: Some(1), billing_mode: Some(1) },
    };
    if let Ok(Some(sold)) = ask(body, |fields| read::sizes(fields, "ap-guangzhou", &look)) {
        let SizesSold::List(sizes) = sold else { panic!("{sold:?}") };
        assert!(is_sound && sizes.iter().all(|sold| sold.size > 0) && sizes.is_sorted_by(|a, b| a.size < b.size));
    }
    let order = Accepted { deal_id: "432587".into(), deal_name: Some("2026112400432587".into()) };
    if let Ok(Some(_)) = ask(body, |fields| read::deal(fields, &order)) {
        assert!(is_sound && response.to_string().contains("432587"));
    }
}

fn ask<T: Quoting>(body: &[u8], read: impl Fn(&Fields) -> Result<T, CloudError>) -> Result<T, CloudError> {
    answered(body, |reply| answer::open(reply).and_then(|fields| read(&fields)))
}

/// The row says so, and an instance that runs is laid out so that an order for it comes to its size.
fn shows(row: &Value, instance: &Instance) -> bool {
    let (size, shards) = (instance.size as f64, instance.shards() as f64);
    let running = is(&row["Status"], 2.0) == (instance.state == InstanceState::Running);
    let part = &row["RedisShardSize"];
    let fits = part.is_null() || is(part, size / shards) || (is(part, 0.0) && shards == 1.0);
    let is_cluster =
        row["ProductType"] == "cluster" || [4.0, 7.0, 9.0, 16.0, 18.0].iter().any(|kind| is(&row["Type"], *kind));
    let said = is_cluster && is(&row["RedisShardNum"], shards) && instance.layout.replicas.is_some();
    let laid_out = fits && (said || !is_cluster && shards == 1.0);
    let sound = instance.state != InstanceState::Running || laid_out;
    row["InstanceId"] == instance.redis_id.as_str() && size > 0.0 && is(&row["Size"], size) && running && sound
}

/// A number as a person reads it, quoted or not.
fn is(value: &Value, number: f64) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.trim().parse::<f64>().is_ok_and(|is| is == number)
}
