//! Answers of version 2 that nobody meant.

use serde_json::Value;

use super::answer::{self, Fields};
use super::read;
use crate::cloud::exchange::Quoting;
use crate::cloud::fuzzing::{assert_clean_doubts, read as answered};
use crate::cloud::{CloudError, Instance, InstanceState, SizesSold};
use crate::fuzzing::has_double_keys;

/// One body, read as the answer to each action.
pub(crate) fn answer(body: &[u8]) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_sound = parsed.is_object() && !has_double_keys(body, &parsed) && is(&parsed["code"], 0.0);
    if let Ok(page) = ask(body, |fields| read::page(fields, 3)) {
        assert!(is_sound && page.next.is_none_or(|next| next > 3));
        assert_clean_doubts(&page.doubts, body);
        for instance in &page.instances {
            let same = page.instances.iter().filter(|other| other.redis_id == instance.redis_id);
            assert!(same.count() == 1 && rows(&parsed).iter().filter(|row| shows(row, instance)).count() == 1);
        }
    }
    if let Ok(Some(instance)) = ask(body, |fields| read::found(fields, "crs-1")) {
        let total = [&parsed["totalCount"], &parsed["data"]["totalCount"]];
        assert!(is_sound && total.iter().all(|total| total.is_null() || is(total, 1.0)));
        assert!(instance.redis_id == "crs-1" && rows(&parsed).len() == 1 && shows(&rows(&parsed)[0], &instance));
    }
    if let Ok(accepted) = ask(body, read::accepted) {
        let id = accepted.deal_id;
        assert!(is_sound && !parsed["message"].as_str().unwrap_or_default().trim_start().starts_with("(10"));
        assert!(!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
        assert!(parsed["data"].to_string().contains(&id), "{id} is from nowhere");
    }
    if let Ok(price) = ask(body, read::price) {
        assert!(is_sound && price.hundredths >= 0 && price.currency == "CNY");
    }
    if let Ok(Some(sold)) = ask(body, |fields| read::sizes(fields, 100_002, 2)) {
        assert!(is_sound && matches!(sold, SizesSold::Range { min, max } if 0 < min && min <= max));
    }
    if let Ok(Some(_)) = ask(body, |fields| read::deal(fields, "432587")) {
        assert!(is_sound && parsed.to_string().contains("432587"));
    }
}

fn ask<T: Quoting>(body: &[u8], read: impl Fn(&Fields) -> Result<T, CloudError>) -> Result<T, CloudError> {
    answered(body, |reply| answer::open(reply).and_then(|fields| read(&fields)))
}

fn rows(parsed: &Value) -> Vec<Value> {
    let set = Some(&parsed["data"]).filter(|data| data.is_array()).unwrap_or(&parsed["data"]["redisSet"]);
    set.as_array().cloned().unwrap_or_default()
}

fn shows(row: &Value, instance: &Instance) -> bool {
    let size = instance.size as f64;
    let running = is(&row["status"], 2.0) == (instance.state == InstanceState::Running);
    row["redisId"] == instance.redis_id.as_str() && size > 0.0 && is(&row["size"], size) && running
}

/// A number as a person reads it, quoted or not.
fn is(value: &Value, number: f64) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.trim().parse::<f64>().is_ok_and(|is| is == number)
}
