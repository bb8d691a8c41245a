//! Answers as the documents show them, and answers that lie.

use serde_json::{Value, json};

use super::answer::{self, Fields};
use super::read;
use crate::cloud::transport::Reply;
use crate::cloud::{CloudError, DealState, ErrorKind, Instance, InstanceState, Layout, SizesSold};

fn open(body: &[u8]) -> Result<Fields, CloudError> {
    answer::open(&Reply {
        at: jiff::Timestamp::UNIX_EPOCH,
        body: body.to_vec(),
        described: "text/html, 9 bytes".into(),
    })
}

fn read<T>(body: Value, read: impl Fn(&Fields) -> Result<T, CloudError>) -> Result<T, CloudError> {
    open(body.to_string().as_bytes()).and_then(|fields| read(&fields))
}

fn refusal(body: Value) -> CloudError {
    let error = open(body.to_string().as_bytes()).unwrap_err();
    assert!(error.meaning().is_some(), "{error}");
    error
}

/// The message of an error that says the answer is doubtful.
fn doubt<T: std::fmt::Debug>(result: Result<T, CloudError>) -> String {
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NoAnswer, "Doubtful"), "{error}");
    error.message
}

fn code(error: &CloudError) -> (Option<i64>, Option<&str>, &str, &str) {
    (error.code, error.cloud_code.as_deref(), &error.code_desc, &error.message)
}

#[test]
fn a_business_code_in_the_envelope_is_read_with_its_name() {
    let error =
        refusal(json!({"code": 11057, "message": "no", "codeDesc": "InvalidParameter.ReduceCapacityNotAllowed"}));
    assert_eq!(code(&error), (Some(11057), Some("11057"), "ReduceCapacityNotAllowed", "no"));
    let error =
        refusal(json!({"code": "100207", "message": "", "codeDesc": "OperationConstraints.AccountBalanceNotEnough"}));
    assert_eq!(code(&error), (Some(100207), Some("100207"), "AccountBalanceNotEnough", "the cloud gave no message"));
}

#[test]
fn a_code_in_brackets_counts_before_the_one_around_it() {
    let error =
        refusal(json!({"code": "5100", "message": "(100004)projectId is wrong", "codeDesc": "OperationFailed"}));
    assert_eq!(code(&error), (Some(100004), Some("100004"), "Code100004", "projectId is wrong"));
    let error = refusal(json!({"code": 5100, "message": "（ 10702 ）实例状态异常"}));
    assert_eq!(code(&error), (Some(10702), Some("10702"), "InstanceStatusAbnormal", "实例状态异常"));
    for message in ["(0) odd", "(x) odd", "() odd", "(99999999999999999999) odd", "see (10702)"] {
        assert_eq!(refusal(json!({"code": 5100, "message": message})).code, Some(5100), "{message}");
    }
}

#[test]
fn a_code_without_a_name_gets_the_documented_one_or_its_number() {
    let desc = |body| refusal(body).code_desc;
    assert_eq!(desc(json!({"code": 10701, "codeDesc": ""})), "InstanceNotExists");
    assert_eq!(desc(json!({"code": 4400, "codeDesc": "Success"})), "QuotaExceeded");
    assert_eq!(desc(json!({"code": 5100, "codeDesc": "two words"})), "OperationFailed");
    assert_eq!(desc(json!({"code": 77777})), "Code77777");
    assert_eq!(desc(json!({"code": -5})), "CodeMinus5");
}

#[test]
fn a_code_that_is_no_number_is_kept_as_it_came() {
    let error = refusal(json!({"code": "AccountNotEnoughToPay", "message": "top up"}));
    assert_eq!(code(&error), (None, Some("AccountNotEnoughToPay"), "AccountNotEnoughToPay", "top up"));
    assert_eq!(refusal(json!({"code": "what is this"})).code_desc, "UnknownCode");
}

#[test]
fn what_has_no_envelope_is_unreadable() {
    for body in
        [&b""[..], b"<html>busy</html>", b"[]", b"null", b"{}", br#"{"code":null}"#, br#"{"code":{}}"#, br#"{"code":"#]
    {
        let error = open(body).unwrap_err();
        assert_eq!((error.kind, error.code_desc.as_str()), (ErrorKind::NoAnswer, "Unreadable"));
        assert!(error.message.contains("text/html, 9 bytes"), "{error}");
    }
}

#[test]
fn an_order_is_accepted_in_each_documented_form_of_the_deal_id() {
    for (data, id) in [
        (json!({"dealId": "432587"}), "432587"),
        (json!({"dealId": 432587}), "432587"),
        (json!({"dealId": ["432587"]}), "432587"),
        (json!(["432587"]), "432587"),
        (json!([{"dealId": "432587"}]), "432587"),
    ] {
        let body = json!({"code": "0", "message": "", "codeDesc": "Success", "data": data});
        assert_eq!(read(body, read::accepted).unwrap().deal_id, id, "{data}");
    }
}

#[test]
fn an_order_is_not_accepted_without_one_whole_deal_id() {
    let bad = [
        json!(null),
        json!({}),
        json!([]),
        json!(""),
        json!({"dealId": ""}),
        json!({"dealId": " "}),
        json!({"dealId": 0}),
        json!({"dealId": "0"}),
        json!({"dealId": null}),
        json!({"dealId": []}),
        json!({"dealId": ["1", "2"]}),
        json!(["1", "2"]),
        json!({"dealId": {}}),
        json!({"dealId": true}),
        json!({"dealId": 1.5}),
        json!({"dealId": "4 3"}),
        json!({"dealId": -7}),
        json!({"dealId": "4".repeat(65)}),
        json!([[["1"]]]),
    ];
    for data in bad {
        doubt(read(json!({"code": 0, "data": data}), read::accepted));
    }
    doubt(read(json!({"code": 0}), read::accepted));
    doubt(read(json!({"code": 0, "codeDesc": "InternalError", "data": {"dealId": "1"}}), read::accepted));
    doubt(read(json!({"code": 0, "message": "(10702)locked", "data": {"dealId": "1"}}), read::accepted));
}

fn row(id: &str) -> Value {
    json!({"redisId": id, "redisName": "x", "status": 2, "size": 1024, "sizeUsed": 3, "zoneId": 100002, "typeId": 2, "port": 6379})
}

fn listed(rows: &[Value], total: impl Into<Value>) -> Value {
    json!({"code": 0, "message": "", "codeDesc": "Success", "totalCount": total.into(), "data": {"redisSet": rows}})
}

#[test]
fn an_instance_is_read_with_numbers_in_any_spelling() {
    let mut odd = row("crs-1");
    for (name, value) in
        [("status", json!("-2")), ("size", json!("2048")), ("zoneId", json!(100002.0)), ("typeId", json!("1"))]
    {
        odd[name] = value;
    }
    let found = read(listed(&[odd], "1"), |fields| read::found(fields, "crs-1")).unwrap().unwrap();
    let state = InstanceState::Isolated;
    assert_eq!(
        found,
        Instance {
            redis_id: "crs-1".into(),
            state,
            size: 2048,
            zone_id: Some(100002),
            type_id: Some(1),
            layout: Layout::default()
        }
    );
}

#[test]
fn each_documented_state_is_told_and_another_is_kept() {
    for (status, state) in [
        (0, InstanceState::Initializing),
        (1, InstanceState::InProcess),
        (2, InstanceState::Running),
        (-2, InstanceState::Isolated),
        (-3, InstanceState::Unknown(-3)),
    ] {
        let mut row = row("crs-1");
        row["status"] = status.into();
        assert_eq!(read(listed(&[row], 1), |f| read::found(f, "crs-1")).unwrap().unwrap().state, state);
    }
}

#[test]
fn an_empty_list_means_that_there_is_none() {
    assert_eq!(read(listed(&[], 0), |f| read::found(f, "crs-1")).unwrap(), None);
    let null = json!({"code": 0, "totalCount": 0, "data": {"redisSet": null}});
    assert_eq!(read(null, |f| read::found(f, "crs-1")).unwrap(), None);
}

#[test]
fn a_look_that_contradicts_itself_is_doubtful_and_says_in_what() {
    let with = |name: &str, value: Value| {
        let mut row = row("crs-1");
        row[name] = value;
        listed(&[row], 1)
    };
    let big: Value = serde_json::from_str("18446744073709551617").unwrap();
    for (body, part) in [
        (listed(&[row("crs-2")], 1), "shows crs-2"),
        (listed(&[row("crs-1"), row("crs-1")], 2), "2 rows"),
        (listed(&[row("crs-1"), row("crs-2")], 2), "2 rows"),
        (listed(&[row("crs-1")], 7), "totalCount is 7"),
        (listed(&[], 1), "totalCount is 1"),
        (listed(&[row("crs-1")], -1), "totalCount is -1"),
        (with("size", json!(-1024)), "the size -1024"),
        (with("size", json!(0)), "the size 0"),
        (with("size", json!(1024.5)), "the size 1024.5"),
        (with("size", big), "the size 1.8446744073709552e+19"),
        (with("size", json!(null)), "the size null"),
        (with("status", json!("running")), "the status \"running\""),
        (with("redisId", json!(7)), "the id 7"),
        (json!({"code": 0, "totalCount": 0}), "no redisSet"),
        (json!({"code": 0, "data": {"redisSet": null}}), "no redisSet"),
        (json!({"code": 0, "data": {"redisSet": {"crs-1": 1}}}), "no redisSet"),
    ] {
        let said = doubt(read(body, |fields| read::found(fields, "crs-1")));
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

#[test]
fn a_page_leaves_out_the_rows_that_it_can_not_trust() {
    let mut bad = row("crs-bad");
    bad["size"] = json!("big");
    let rows = [row("crs-1"), bad, row("crs-2"), row("crs-3"), row("crs-2"), json!(null)];
    let page = read(listed(&rows, 106), |fields| read::page(fields, 100)).unwrap();
    let ids: Vec<_> = page.instances.iter().map(|instance| instance.redis_id.as_str()).collect();
    assert_eq!((ids, page.next), (vec!["crs-1", "crs-3"], None));
    let doubts = page.doubts.join("; ");
    for part in ["crs-bad has the size \"big\"", "the id (none)", "crs-2 stands in the list more than once"] {
        assert!(doubts.contains(part), "{doubts}");
    }
    let many: Vec<_> = (0..100).map(|_| json!({})).collect();
    assert_eq!(read(listed(&many, 100), |fields| read::page(fields, 0)).unwrap().doubts.len(), 10);
}

#[test]
fn a_page_whose_total_lies_is_doubtful() {
    let page = |body| read(body, |fields| read::page(fields, 100));
    for total in [json!(100), json!(-1), json!("many"), json!(null), json!(1e300)] {
        assert!(doubt(page(listed(&[row("crs-1")], total))).contains("totalCount"));
    }
    assert!(doubt(page(listed(&[], 101))).contains("from row 100 on there are none"));
    // The list has become shorter than where the page begins: that is no lie.
    assert_eq!(page(listed(&[], 40)).unwrap().next, None);
}

#[test]
fn a_price_is_a_whole_number_of_fen() {
    let price = |price| read(json!({"code": 0, "data": {"price": price}}), read::price);
    assert_eq!(price(json!("24800")).unwrap().hundredths, 24800);
    for bad in [json!(-1), json!(1.5), json!(null), json!("free")] {
        doubt(price(bad));
    }
}

fn products() -> Value {
    let size = |kind: i64, max: i64| json!({"type": kind, "typeName": "x", "minMemSize": 1024, "maxMemSize": max.to_string(), "minBuyNum": 1, "maxBuyNum": 10});
    json!({"code": 0, "data": [
        {"zoneId": 100002, "name": "2", "types": {"1": size(1, 204800), "2": size(2, 512000)}},
        {"zoneId": "300001", "name": "1", "types": {"2": size(2, 40960)}},
    ]})
}

#[test]
fn sizes_are_those_of_the_zone_and_type() {
    let sizes = |zone, kind| read(products(), |fields| read::sizes(fields, zone, kind)).unwrap();
    let up_to = |max| Some(SizesSold::Range { min: 1024, max });
    assert_eq!((sizes(100002, 1), sizes(100002, 2), sizes(300001, 2)), (up_to(204800), up_to(512000), up_to(40960)));
    assert_eq!((sizes(300001, 1), sizes(7, 2)), (None, None));
    let one = json!({"code": 0, "data": products()["data"][1]});
    let range = read(one, |fields| read::sizes(fields, 300001, 2)).unwrap();
    assert_eq!(range, Some(SizesSold::Range { min: 1024, max: 40960 }));
}

#[test]
fn sizes_that_are_none_are_doubtful() {
    let mut body = products();
    body["data"][0]["types"]["2"]["maxMemSize"] = json!(512);
    assert!(doubt(read(body.clone(), |f| read::sizes(f, 100002, 2))).contains("from 1024 to 512"));
    body["data"][1]["zoneId"] = json!(100002);
    assert!(doubt(read(body, |f| read::sizes(f, 100002, 2))).contains("more than once"));
    doubt(read(json!({"code": 0, "data": "none"}), |f| read::sizes(f, 1, 2)));
}

#[test]
fn a_deal_is_read_at_the_top_level_and_in_data() {
    for (status, state) in [
        (json!(1), DealState::Pending(1)),
        (json!("4"), DealState::Delivered),
        (json!(6), DealState::Failed(6)),
        (json!(12), DealState::Pending(12)),
    ] {
        let rows = json!([{"dealId": "432587", "status": status, "goodsDetail": {"newMemsize": 2048}}]);
        for body in [
            json!({"code": 0, "dealDetails": rows}),
            json!({"code": 0, "data": {"dealDetails": rows}}),
            json!({"code": 0, "dealDetails": rows[0]}),
        ] {
            assert_eq!(read(body, |fields| read::deal(fields, "432587")).unwrap(), Some(state));
        }
    }
    assert_eq!(read(json!({"code": 0, "dealDetails": []}), |f| read::deal(f, "432587")).unwrap(), None);
}

#[test]
fn another_deal_or_one_without_a_status_is_doubtful() {
    let deal =
        |rows: Value| doubt(read(json!({"code": 0, "dealDetails": rows}), |fields| read::deal(fields, "432587")));
    assert!(deal(json!([{"dealId": "1", "status": 6}])).contains("shows \"1\""));
    assert!(deal(json!([{"dealId": "432587", "status": "gone"}])).contains("the status \"gone\""));
    assert!(deal(json!([{"dealId": "432587", "status": 6}, {"dealId": "432587", "status": 4}])).contains("2 rows"));
    assert!(deal(json!("none")).contains("no dealDetails"));
}
