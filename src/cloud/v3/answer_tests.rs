//! Answers as the documents show them, and answers that nobody meant.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::{self, Fields};
use super::read;
use crate::cloud::testing::any_json;
use crate::cloud::transport::Reply;
use crate::cloud::{
    Accepted, CloudError, DealState, ErrorKind, Instance, InstanceState, Layout, Meaning, Price, SizesSold, SoldSize,
};

fn open(body: &[u8]) -> Result<Fields, CloudError> {
    answer::open(&Reply {
        at: jiff::Timestamp::UNIX_EPOCH,
        body: body.to_vec(),
        described: "text/html, 9 bytes".into(),
    })
}

fn read<T>(response: Value, read: impl Fn(&Fields) -> Result<T, CloudError>) -> Result<T, CloudError> {
    open(json!({"Response": response}).to_string().as_bytes()).and_then(|fields| read(&fields))
}

#[track_caller]
fn doubt<T: std::fmt::Debug>(result: Result<T, CloudError>) -> String {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NoAnswer, "Doubtful"), "{}", error.message);
    error.message
}

fn refused(code: &str) -> CloudError {
    read(json!({"Error": {"Code": code, "Message": " said so "}, "RequestId": "r-1"}), read::accepted).unwrap_err()
}

#[test]
fn an_error_is_told_by_its_own_code_its_last_part_and_the_number_that_it_mirrors() {
    let error = refused("InvalidParameterValue.ReduceCapacityNotAllowed");
    assert_eq!(
        (error.kind, error.code, error.code_desc.as_str()),
        (ErrorKind::Code(Meaning::NoShrink), Some(11057), "ReduceCapacityNotAllowed")
    );
    assert_eq!(error.cloud_code.as_deref(), Some("InvalidParameterValue.ReduceCapacityNotAllowed"));
    assert_eq!((error.message.as_str(), error.meaning()), ("said so", Some(Meaning::NoShrink)));

    let error = refused("FailedOperation.Unknown");
    assert_eq!((error.code, error.code_desc.as_str(), error.is_plain_refusal()), (None, "Unknown", false));
    let error = refused("UnauthorizedOperation.NoCAMAuthed");
    assert_eq!((error.code, error.code_desc.as_str(), error.is_plain_refusal()), (None, "NoCAMAuthed", true));
    assert_eq!(refused("4400").meaning(), Some(Meaning::Unknown), "a number is no code of 3.0");
}

#[test]
fn an_error_that_comes_with_data_is_doubtful_and_never_a_refusal() {
    let error = json!({"Code": "InvalidParameter", "Message": "no"});
    let said = doubt(read(json!({"Error": error, "DealId": "432587", "RequestId": "r"}), read::accepted));
    assert!(said.contains("InvalidParameter") && said.contains("DealId"), "{said}");
    doubt(read(json!({"Error": error, "InstanceSet": [], "TotalCount": 0}), |fields| read::found(fields, "crs-1")));
    let null = json!({"Error": null, "DealId": "432587", "RequestId": "r"});
    assert_eq!(read(null, read::accepted).unwrap().deal_id, "432587");
}

#[test]
fn what_is_no_answer_is_unreadable_and_named_without_being_quoted() {
    for body in [
        "<html>secret</html>",
        "",
        "[]",
        "{}",
        r#"{"Response": []}"#,
        r#"{"Response": {"Error": {}}}"#,
        r#"{"code": 0}"#,
    ] {
        let error = open(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NoAnswer, "Unreadable"), "{body}");
        assert!(error.message.contains("text/html, 9 bytes") && !error.message.contains("secret"), "{}", error.message);
    }
    let twice = br#"{"Response": {"DealId": "1", "DealId": "2"}}"#;
    assert_eq!(open(twice).unwrap_err().code_desc, "Doubtful");
}

#[test]
fn an_order_is_accepted_with_the_number_of_its_deal_and_its_name() {
    let accepted = |response| read(response, read::accepted);
    let order = |id: &str, name: Option<&str>| Accepted { deal_id: id.into(), deal_name: name.map(str::to_owned) };
    let both = accepted(json!({"DealId": "432587", "DealName": "20261124000000432587", "RequestId": "r"})).unwrap();
    assert_eq!(both, order("432587", Some("20261124000000432587")));
    assert_eq!(accepted(json!({"DealId": 432587})).unwrap(), order("432587", None));
    // The id is deprecated.
    assert_eq!(accepted(json!({"DealName": "2026112"})).unwrap(), order("2026112", Some("2026112")));
    assert_eq!(accepted(json!({"DealId": "", "DealName": "2026112"})).unwrap(), order("2026112", Some("2026112")));
    for bad in
        [json!({}), json!({"DealId": null}), json!({"DealId": "0"}), json!({"DealId": ["1"]}), json!({"DealId": "4 3"})]
    {
        doubt(accepted(bad));
    }
}

fn row(id: &str) -> Value {
    json!({
        "InstanceId": id, "Status": 2, "Size": 6144.0, "SizeUsed": 100.5, "RedisShardSize": 2048, "RedisShardNum": 3,
        "RedisReplicasNum": 2, "BillingMode": 1, "ProductType": "cluster", "Type": 9, "ZoneId": 100002, "Region": "ap-guangzhou",
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut row = row("crs-1");
    row[name] = value.into();
    row
}

trait With {
    fn and(self, name: &str, value: impl Into<Value>) -> Value;
}

impl With for Value {
    fn and(mut self, name: &str, value: impl Into<Value>) -> Value {
        self[name] = value.into();
        self
    }
}

fn look(row: Value) -> Result<Option<Instance>, CloudError> {
    read(json!({"TotalCount": 1, "InstanceSet": [row]}), |fields| read::found(fields, "crs-1"))
}

#[test]
fn an_instance_has_the_size_of_the_whole_and_its_layout() {
    let layout = Layout { shards: Some(3), replicas: Some(2), billing_mode: Some(1) };
    let instance = Instance {
        redis_id: "crs-1".into(),
        state: InstanceState::Running,
        size: 6144,
        zone_id: Some(100002),
        type_id: Some(9),
        layout,
    };
    assert_eq!((instance.shards(), instance.step()), (3, 3072));
    assert_eq!(look(row("crs-1")).unwrap(), Some(instance));
    assert_eq!(look(with("Status", -3)).unwrap().unwrap().state, InstanceState::Unknown(-3));
    let standard = json!({"InstanceId": "crs-1", "Status": 2, "Size": 1024.0, "ProductType": "standalone", "Type": 8});
    assert_eq!(look(standard).unwrap().unwrap().step(), 1024);
}

#[test]
fn a_row_that_contradicts_itself_is_doubtful_and_says_in_what() {
    for (row, part) in [
        (with("Size", 6144.5), "the size 6144.5"),
        (with("Size", 0), "the size 0"),
        (with("Size", -1024.0), "the size -1024.0"),
        (with("Size", 6), "has 6 MB, but 3 shards of 2048 MB"),
        (with("RedisShardSize", 2), "has 6144 MB, but 3 shards of 2 MB"),
        (with("RedisShardNum", 4), "4 shards of 2048"),
        (with("RedisShardNum", 0), "doesn't say of how many shards"),
        (with("RedisShardNum", Value::Null), "doesn't say of how many shards"),
        (with("RedisReplicasNum", Value::Null), "doesn't say of how many shards and replicas"),
        (with("RedisShardNum", i64::MAX), "the RedisShardNum 9223372036854775807"),
        (with("RedisReplicasNum", -1), "the RedisReplicasNum -1"),
        (with("RedisShardSize", 2048.5), "3 shards of 2048.5 MB"),
        (with("ProductType", "standalone").and("Type", 8), "is no cluster, and has 3 shards"),
        (with("ProductType", Value::Null).and("Type", Value::Null), "is no cluster, and has 3 shards"),
        (with("ProductType", Value::Null).and("RedisShardNum", Value::Null), "doesn't say of how many shards"),
        (
            with("ProductType", "standalone").and("Type", 8).and("RedisShardNum", 1),
            "has 6144 MB, but 1 shards of 2048 MB",
        ),
        (with("Status", Value::Null), "the status null"),
        (with("InstanceId", "crs-2"), "the answer shows crs-2"),
    ] {
        let said = doubt(look(row));
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    let twice = json!({"TotalCount": 2, "InstanceSet": [row("crs-1"), row("crs-1")]});
    doubt(read(twice, |fields| read::found(fields, "crs-1")));
}

#[test]
fn one_in_process_is_believed_whatever_its_layout_is_about_to_be() {
    let row = with("Status", 1).and("RedisShardNum", 5);
    let instance = look(row).unwrap().unwrap();
    assert_eq!((instance.state, instance.size), (InstanceState::InProcess, 6144));
}

#[test]
fn an_empty_set_means_that_there_is_none() {
    for set in [json!([]), Value::Null] {
        let response = json!({"TotalCount": 0, "InstanceSet": set});
        assert_eq!(read(response, |fields| read::found(fields, "crs-1")).unwrap(), None);
    }
    doubt(read(json!({"RequestId": "r"}), |fields| read::found(fields, "crs-1")));
}

#[test]
fn the_next_page_begins_at_a_multiple_of_the_limit() {
    let page = |total: usize, offset, rows: usize| {
        let rows: Vec<_> = (0..rows).map(|n| row(&format!("crs-{n}"))).collect();
        read(json!({"TotalCount": total, "InstanceSet": rows}), |fields| read::page(fields, offset))
    };
    assert_eq!(page(2500, 0, 998).unwrap().next, Some(1000), "also after a short one");
    assert_eq!(page(2500, 2000, 500).unwrap().next, None);
    assert_eq!(page(1000, 0, 1000).unwrap().next, None);
    doubt(page(2500, 1000, 0));
}

#[test]
fn a_price_has_a_unit_and_a_currency() {
    let price = |price: Value, unit: &str, currency: &str| {
        read(json!({"Price": price, "AmountUnit": unit, "Currency": currency}), read::price)
    };
    let is = |hundredths, currency: &str| Price { hundredths, currency: currency.into() };
    assert_eq!(price(json!(24800.0), "pent", "CNY").unwrap(), is(24800, "CNY"));
    assert_eq!(price(json!(24800.2), "pent", "CNY").unwrap(), is(24801, "CNY"));
    assert_eq!(price(json!(24_800_000_001_i64), "microPent", "USD").unwrap(), is(24801, "USD"));
    for bad in [
        price(json!(-1), "pent", "CNY"),
        price(json!(1), "yuan", "CNY"),
        price(json!("x"), "pent", "CNY"),
        price(json!(1), "pent", ""),
    ] {
        doubt(bad);
    }
}

#[test]
fn sizes_are_those_of_the_region_zone_type_and_way_to_pay_for_all_shards_together() {
    let product = |kind: i64, sale_out: bool, pay: &str, total: &[&str], shard: &[&str]| json!({"Type": kind, "Saleout": sale_out, "PayMode": pay, "TotalSize": total, "ShardSize": shard});
    let here = json!({"ZoneId": "ap-guangzhou-2", "OldZoneId": 100002, "ProductSet": [
        product(9, false, "1", &["7"], &["2", "1"]),
        product(9, true, "1", &[], &["4", "2"]),
        product(9, false, "0", &[], &["64"]),
        product(8, false, "1", &["1", "0.5", "8"], &["3"]),
    ]});
    let elsewhere =
        json!({"ZoneId": "ap-guangzhou-3", "OldZoneId": 100003, "ProductSet": [product(9, false, "1", &[], &["32"])]});
    let answer = json!({"RegionSet": [
        {"RegionId": "ap-shanghai", "ZoneSet": [elsewhere]},
        {"RegionId": "ap-guangzhou", "ZoneSet": [here, elsewhere]},
    ]});
    let sizes = |row| {
        let look = look(row).unwrap().unwrap();
        read(answer.clone(), |fields| read::sizes(fields, "ap-guangzhou", &look)).unwrap()
    };
    let list = |sizes: &[(i64, bool)]| {
        Some(SizesSold::List(sizes.iter().map(|&(size, sold_out)| SoldSize { size, sold_out }).collect()))
    };
    assert_eq!(sizes(row("crs-1")), list(&[(3072, false), (6144, false), (12288, true)]));
    let standard = with("Type", 8).and("ProductType", "standalone").and("RedisShardNum", 1).and("RedisShardSize", 6144);
    assert_eq!(sizes(standard), list(&[(1024, false), (8192, false)]), "in whole GB");
    assert_eq!(sizes(with("Type", 18)), None);
    assert_eq!(sizes(with("ZoneId", 7)), None);
}

#[test]
fn a_deal_is_known_by_its_id_or_its_name() {
    let order = Accepted { deal_id: "432587".into(), deal_name: Some("2026x".into()) };
    let deal = |rows: Value| read(json!({"DealDetails": rows}), |fields| read::deal(fields, &order));
    assert_eq!(deal(json!([{"DealId": "432587", "Status": 4}])).unwrap(), Some(DealState::Delivered));
    assert_eq!(deal(json!([{"DealName": "2026x", "Status": 12}])).unwrap(), Some(DealState::Pending(12)));
    assert_eq!(deal(json!([{"DealId": 432587, "Status": 6}])).unwrap(), Some(DealState::Failed(6)));
    assert_eq!(deal(json!([])).unwrap(), None);
    doubt(deal(json!([{"DealId": "1", "DealName": "2025y", "Status": 4}])));
    doubt(deal(json!([{"DealId": "432587"}])));
    doubt(deal(Value::Null));
    let without = Accepted { deal_name: None, ..order.clone() };
    doubt(read(json!({"DealDetails": [{"DealId": "1", "Status": 4}]}), |fields| read::deal(fields, &without)));
}

const NAMES: &[&str] = &[
    "Response",
    "Error",
    "Code",
    "DealId",
    "DealName",
    "InstanceSet",
    "TotalCount",
    "InstanceId",
    "Size",
    "Status",
    "RedisShardNum",
    "RedisShardSize",
    "ProductType",
    "DealDetails",
    "RegionSet",
    "ZoneSet",
    "ProductSet",
    "ShardSize",
    "OldZoneId",
    "Type",
    "Price",
];
const WORDS: &[&str] = &["0", "crs-1", "cluster", "pent", ""];

fn read_all(body: &[u8]) {
    let Ok(fields) = open(body) else { return };
    let order = Accepted { deal_id: "1".into(), deal_name: None };
    let _ = (read::page(&fields, 1000), read::price(&fields), read::deal(&fields, &order));
    let _ = read::sizes(&fields, "ap-guangzhou", &look(row("crs-1")).unwrap().unwrap());
    if let Ok(Some(instance)) = read::found(&fields, "crs-1") {
        assert!(instance.redis_id == "crs-1" && instance.size > 0 && instance.step() > 0);
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
    fn arbitrary_json_never_panics_and_is_never_accepted_without_a_deal(body in any_json(NAMES, WORDS), wrapped in any::<bool>()) {
        let body = if wrapped { json!({"Response": body}) } else { body };
        read_all(body.to_string().as_bytes());
    }

    #[test]
    fn no_error_accepts_an_order(code in ".{0,20}", message in ".{0,20}") {
        let body = json!({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "r"}});
        prop_assert!(open(body.to_string().as_bytes()).is_err());
    }
}
