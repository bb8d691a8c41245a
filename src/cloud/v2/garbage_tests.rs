//! Answers that nobody meant.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{self, Fields};
use super::read;
use crate::cloud::CloudError;
use crate::cloud::testing::any_json;
use crate::cloud::transport::Reply;

fn open(body: &[u8]) -> Result<Fields, CloudError> {
    answer::open(&Reply { at: jiff::Timestamp::UNIX_EPOCH, body: body.to_vec(), described: String::new() })
}

const NAMES: &[&str] = &[
    "code",
    "message",
    "codeDesc",
    "data",
    "dealId",
    "redisSet",
    "totalCount",
    "redisId",
    "size",
    "status",
    "dealDetails",
    "types",
    "zoneId",
    "price",
];
const WORDS: &[&str] = &["0", "crs-1", "(10701)", "Success", ""];

fn read_all(body: &[u8]) {
    let Ok(fields) = open(body) else { return };
    let _ = (read::page(&fields, 3), read::price(&fields), read::sizes(&fields, 1, 2), read::deal(&fields, "1"));
    if let Ok(Some(instance)) = read::found(&fields, "crs-1") {
        assert!(instance.redis_id == "crs-1" && instance.size > 0);
    }
    if let Ok(accepted) = read::accepted(&fields) {
        assert!(!accepted.deal_id.is_empty() && String::from_utf8_lossy(body).contains(&accepted.deal_id));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&body);
    }

    #[test]
    fn arbitrary_json_never_panics_and_is_never_accepted_without_a_deal_id(mut body in any_json(NAMES, WORDS), success in any::<bool>()) {
        if let (true, Value::Object(fields)) = (success, &mut body) {
            fields.insert("code".into(), 0.into());
        }
        read_all(body.to_string().as_bytes());
    }

    #[test]
    fn no_answer_but_success_accepts_an_order(code in any::<i64>().prop_filter("an error", |code| *code != 0), message in ".{0,20}") {
        let body = json!({"code": code, "message": message, "data": {"dealId": "1"}});
        prop_assert!(open(body.to_string().as_bytes()).is_err());
    }
}
