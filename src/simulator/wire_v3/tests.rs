use axum::http::{HeaderName, HeaderValue};

use super::super::auth_v3::tests::authorize;
use super::super::{Config, Key, NewInstance, Simulator, WhileInvisible};
use super::*;

/// `a` and the cluster `c` (three shards of 1024 MB) are mine, in Guangzhou; `b` is another's.
fn world_with(config: Config) -> World {
    let key = |id: &str| Key { id: id.into(), secret: format!("secret of {id}"), token: None };
    let named = |id: &str, account: &str| NewInstance {
        redis_id: id.into(),
        account: Some(account.into()),
        ..NewInstance::default()
    };
    let c = NewInstance { type_id: 1, mem_size: 3072, shards: 3, ..named("c", "me") };
    let instances = vec![named("a", "me"), named("b", "you"), c];
    let config = Config { keys: vec![key("me"), key("you")], instances, ..config };
    Simulator::new(config).unwrap().world.into_inner().unwrap()
}

fn world() -> World {
    world_with(Config::default())
}

/// A signed request; `headers` take the place of the common ones, those that are empty are left out.
fn request_with(headers: &[(&str, &str)], body: &str) -> Request {
    let now = Timestamp::now().as_second().to_string();
    let common = [
        ("host", "127.0.0.1:1"),
        ("content-type", "application/json"),
        ("x-tc-action", "DescribeInstances"),
        ("x-tc-version", VERSION),
        ("x-tc-region", "ap-guangzhou"),
        ("x-tc-timestamp", &now),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in common.iter().chain(headers) {
        map.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let mut request = Request::new(map, Bytes::copy_from_slice(body.as_bytes()));
    let authorization = authorize("me", "secret of me", "content-type;host", &request.signed());
    request.headers.insert("authorization", authorization);
    for (name, _) in headers.iter().filter(|(_, value)| value.is_empty()) {
        request.headers.remove(*name);
    }
    request
}

fn request(action: &str, parameters: Value) -> Request {
    request_with(&[("x-tc-action", action)], &parameters.to_string())
}

/// What is in `Response`.
fn send(world: &mut World, request: &Request) -> Value {
    let now = world.now();
    let mut answer = request.carry_out(world, Twist::default(), now);
    answer["Response"].take()
}

fn ask(world: &mut World, action: &str, parameters: Value) -> Value {
    send(world, &request(action, parameters))
}

fn code(answer: &Value) -> &str {
    answer["Error"]["Code"].as_str().unwrap_or_default()
}

#[test]
fn an_order_answers_with_both_of_its_deals_names() {
    let mut world = world();
    let answer = ask(&mut world, "UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048}));
    let deal = world.cloud.deals().next().unwrap();
    assert_eq!((&answer["DealId"], &answer["DealName"]), (&json!("432587"), &json!(deal.name)));
    assert_eq!((deal.from, deal.to, deal.price), (1024, 2048, 2000));
    let id = answer["RequestId"].as_str().unwrap();
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
}

#[test]
fn each_refusal_of_an_order_has_its_code() {
    let mut world = world();
    world.cloud.set_balance("me", Some(0));
    for (parameters, expected) in [
        (json!({"InstanceId": "none", "MemSize": 2048}), "ResourceNotFound.InstanceNotExists"),
        (json!({"InstanceId": "b", "MemSize": 2048}), "ResourceNotFound.InstanceNotExists"),
        (json!({"MemSize": 2048}), "MissingParameter"),
        (json!({"InstanceId": "a"}), "MissingParameter"),
        (json!({"InstanceId": "a", "MemSize": null}), "MissingParameter"),
        (json!({"InstanceId": "c", "MemSize": 2048}), "MissingParameter"),
        (json!({"InstanceId": "a", "MemSize": "2048"}), "InvalidParameter"),
        (json!({"InstanceId": "a", "MemSize": 2048.0}), "InvalidParameter"),
        (json!({"InstanceId": "a", "MemSize": -1}), "InvalidParameter"),
        (json!({"InstanceId": 1, "MemSize": 2048}), "InvalidParameter"),
        (json!({"InstanceId": "a", "MemSize": 1024}), "InvalidParameter"),
        (json!({"InstanceId": "c", "MemSize": 2048, "RedisShardNum": 4}), "InvalidParameter"),
        (json!({"InstanceId": "a", "MemSize": 2048, "RedisReplicasNum": 2}), "InvalidParameter"),
        (json!({"InstanceId": "a", "MemSize": 2048, "SwitchOption": 3}), "InvalidParameterValue"),
        (json!({"InstanceId": "a", "MemSize": 1536}), "InvalidParameterValue.SpecNotExist"),
        (json!({"InstanceId": "c", "MemSize": 1024, "RedisShardNum": 7}), "InvalidParameterValue.SpecNotExist"),
        (json!({"InstanceId": "a", "MemSize": 512}), "InvalidParameterValue.MemSizeNotInRange"),
        (json!({"InstanceId": "a", "MemSize": 513_024}), "InvalidParameterValue.MemSizeNotInRange"),
        (json!({"InstanceId": "a", "MemSize": 2048}), "ResourceUnavailable.AccountBalanceNotEnough"),
    ] {
        let answer = ask(&mut world, "UpgradeInstance", parameters.clone());
        assert_eq!(code(&answer), expected, "{parameters}: {answer}");
    }
    let refused = world.ledger.refused();
    assert_eq!((refused.len(), refused[0].redis_id.as_deref()), (19, Some("none")));
    assert_eq!(refused[0].code, Code::Name("ResourceNotFound.InstanceNotExists".into()));
    assert_eq!(world.cloud.deals().count(), 0);
}

#[test]
fn an_instance_that_can_not_take_an_order_says_why() {
    for (instance, expected) in [
        (NewInstance { status: 0, ..NewInstance::default() }, "ResourceUnavailable.InstanceStatusAbnormal"),
        (NewInstance { status: 1, ..NewInstance::default() }, "ResourceUnavailable.InstanceStatusAbnormal"),
        (NewInstance { status: -2, ..NewInstance::default() }, "ResourceUnavailable.InstanceIsolated"),
        (NewInstance { status: -3, ..NewInstance::default() }, "ResourceUnavailable.InstanceDeleted"),
        (NewInstance { locked: true, ..NewInstance::default() }, "ResourceInUse.InstanceBeenLocked"),
        (NewInstance { zone_id: 100003, type_id: 1, ..NewInstance::default() }, "ResourceUnavailable.SaleOut"),
        (NewInstance { zone_id: 1, ..NewInstance::default() }, "InvalidParameterValue.MemSizeNotInRange"),
        (NewInstance { mem_size: 65_536, ..NewInstance::default() }, "InvalidParameterValue.ReduceCapacityNotAllowed"),
    ] {
        let mut world = world();
        let now = world.now();
        world.create(NewInstance { redis_id: "x".into(), ..instance }, now).unwrap();
        let order = json!({"InstanceId": "x", "MemSize": 2048, "RedisShardNum": 1});
        assert_eq!(code(&ask(&mut world, "UpgradeInstance", order)), expected);
    }
}

#[test]
fn a_second_order_while_the_first_does_not_show_gets_what_was_chosen() {
    for (while_invisible, expected) in [
        (WhileInvisible::Refuse, "ResourceInUse.InstanceBeenLocked"),
        (WhileInvisible::Error, "FailedOperation.Unknown"),
        (WhileInvisible::Accept, ""),
    ] {
        let visible_after = std::time::Duration::from_secs(3600);
        let mut world = world_with(Config { while_invisible, visible_after, ..Config::default() });
        let order = request("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048}));
        assert_eq!(code(&send(&mut world, &order)), "");
        // The very same request: nothing protects from a replay.
        assert_eq!(code(&send(&mut world, &order)), expected);
        let paid: u64 = world.cloud.deals().map(|deal| deal.price).sum();
        assert_eq!(paid, if expected.is_empty() { 4000 } else { 2000 });
    }
}

#[test]
fn an_inquiry_has_the_price_as_a_float_and_takes_nothing() {
    let mut world = world();
    let parameters = json!({"InstanceId": "c", "MemSize": 2048, "RedisShardNum": 3, "RedisReplicasNum": 1});
    let answer = ask(&mut world, "InquiryPriceUpgradeInstance", parameters);
    assert!(answer["Price"].is_f64());
    assert_eq!(
        (&answer["Price"], &answer["Currency"], &answer["AmountUnit"]),
        (&json!(6000.0), &json!("CNY"), &json!("pent"))
    );
    assert_eq!(world.cloud.deals().count(), 0);
    let refused = ask(&mut world, "InquiryPriceUpgradeInstance", json!({"InstanceId": "a", "MemSize": 1024}));
    assert_eq!(code(&refused), "InvalidParameter");
}

#[test]
fn a_row_has_the_whole_size_as_a_float_and_that_of_its_shards() {
    let answer = ask(&mut world(), "DescribeInstances", json!({"InstanceId": "c"}));
    assert_eq!(answer["TotalCount"], 1);
    let row = &answer["InstanceSet"][0];
    assert!(row["Size"].is_f64() && row["SizeUsed"].is_f64());
    for (name, value) in [
        ("InstanceId", json!("c")),
        ("Size", json!(3072.0)),
        ("SizeUsed", json!(384.0)),
        ("RedisShardSize", json!(1024)),
        ("RedisShardNum", json!(3)),
        ("RedisReplicasNum", json!(1)),
        ("Status", json!(2)),
        ("BillingMode", json!(1)),
        ("ProductType", json!("cluster")),
        ("Type", json!(9)),
        ("Region", json!("ap-guangzhou")),
        ("ZoneId", json!(100002)),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    let standard = ask(&mut world(), "DescribeInstances", json!({"InstanceIds": ["a"]}));
    let row = &standard["InstanceSet"][0];
    assert_eq!((&row["ProductType"], &row["Type"]), (&json!("standalone"), &json!(8)));
}

#[test]
fn a_list_has_its_order_and_its_pages() {
    let mut world = world();
    let mut ids = |parameters: Value| {
        let answer = ask(&mut world, "DescribeInstances", parameters);
        let rows = answer["InstanceSet"].as_array().unwrap().iter();
        (answer["TotalCount"].clone(), rows.map(|row| row["InstanceId"].as_str().unwrap().to_owned()).collect())
    };
    let page = |ids: &[&str]| (json!(2), ids.iter().map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(ids(json!({})), page(&["c", "a"]), "the last one first");
    assert_eq!(ids(json!({"OrderType": 0, "Limit": 1, "Offset": 1})), page(&["c"]));
    for order in ["projectId", "createtime", "instancename", "type", "curDeadline"] {
        assert_eq!(ids(json!({"OrderBy": order, "OrderType": 0})), page(&["a", "c"]), "{order}");
    }
    let none = (json!(0), Vec::<String>::new());
    for parameters in [json!({"InstanceId": "b"}), json!({"InstanceIds": ["no"]}), json!({"VpcIds": ["7"]})] {
        assert_eq!(ids(parameters), none);
    }
}

#[test]
fn what_describe_instances_does_not_take_is_refused() {
    for (parameters, expected) in [
        (json!({"Limit": 0}), "InvalidParameterValue"),
        (json!({"Limit": 1001}), "InvalidParameterValue"),
        (json!({"Limit": 20, "Offset": 10}), "InvalidParameterValue"),
        (json!({"OrderBy": "size"}), "InvalidParameterValue"),
        (json!({"OrderType": 2}), "InvalidParameterValue"),
        (json!({"VpcIds": ["vpc-7"]}), "InvalidParameterValue"),
        (json!({"VpcIds": [7]}), "InvalidParameter"),
        (json!({"Limit": "20"}), "InvalidParameter"),
        (json!({"InstanceIds": "a"}), "InvalidParameter"),
    ] {
        let answer = ask(&mut world(), "DescribeInstances", parameters.clone());
        assert_eq!(code(&answer), expected, "{parameters}");
    }
}

#[test]
fn an_instance_in_a_vpc_is_found_by_its_vpc_or_its_id() {
    let mut world = world();
    let now = world.now();
    world.create(NewInstance { redis_id: "v".into(), vpc_id: 7, status: -3, ..NewInstance::default() }, now).unwrap();
    for (parameters, total) in [
        (json!({}), 2),
        (json!({"VpcIds": ["7"]}), 1),
        (json!({"InstanceId": "v"}), 1),
        (json!({"InstanceIds": ["v", "a"]}), 2),
    ] {
        assert_eq!(ask(&mut world, "DescribeInstances", parameters.clone())["TotalCount"], total, "{parameters}");
    }
    assert_eq!(ask(&mut world, "DescribeInstances", json!({"InstanceId": "v"}))["InstanceSet"][0]["Status"], -3);
}

#[test]
fn deals_are_found_by_id_or_name() {
    let mut world = world();
    let ordered = ask(&mut world, "UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048, "SwitchOption": 1}));
    for parameters in [json!({"DealIds": [ordered["DealId"]]}), json!({"DealName": ordered["DealName"]})] {
        let answer = ask(&mut world, "DescribeInstanceDealDetail", parameters);
        let deal = &answer["DealDetails"][0];
        assert_eq!((&deal["DealId"], &deal["DealName"]), (&ordered["DealId"], &ordered["DealName"]));
        assert_eq!((&deal["Status"], &deal["Price"], &deal["InstanceIds"]), (&json!(2), &json!(2000), &json!(["a"])));
        assert_eq!((&deal["EndTime"], &deal["GoodsNum"], &deal["Creater"]), (&json!(""), &json!(1), &json!("me")));
    }
    for (parameters, expected) in [
        (json!({}), "MissingParameter"),
        (json!({"DealIds": []}), "MissingParameter"),
        (json!({"DealIds": [432_587]}), "InvalidParameter"),
        (json!({"DealIds": vec!["432587"; 11]}), "InvalidParameterValue"),
        (json!({"DealIds": ["432587", "1"]}), "ResourceUnavailable.InstanceNoDeal"),
        (json!({"DealName": "x"}), "ResourceUnavailable.InstanceNoDeal"),
    ] {
        let answer = ask(&mut world, "DescribeInstanceDealDetail", parameters.clone());
        assert_eq!(code(&answer), expected, "{parameters}");
    }
}

#[test]
fn products_of_all_regions_agree_with_the_ranges_of_version_2() {
    let answer = ask(&mut world(), "DescribeProductInfo", json!({}));
    let regions = answer["RegionSet"].as_array().unwrap();
    let ids: Vec<_> = regions.iter().map(|region| (&region["RegionId"], &region["RegionShortName"])).collect();
    assert_eq!(ids, [(&json!("ap-guangzhou"), &json!("gz")), (&json!("ap-hongkong"), &json!("hk"))]);
    let zones: Vec<_> = regions.iter().flat_map(|region| region["ZoneSet"].as_array().unwrap()).collect();
    let ids: Vec<_> = zones.iter().map(|zone| (&zone["ZoneId"], &zone["OldZoneId"], &zone["IsSaleout"])).collect();
    assert_eq!(
        json!(ids),
        json!([["ap-guangzhou-2", 100002, false], ["ap-guangzhou-3", 100003, true], ["ap-hongkong-1", 300001, false]])
    );
    let rows = zones[0]["ProductSet"].as_array().unwrap();
    let kinds: Vec<_> = rows.iter().map(|row| (&row["Type"], &row["PayMode"], &row["Saleout"])).collect();
    assert_eq!(json!(kinds), json!([[9, "1", false], [9, "0", false], [8, "1", false], [8, "0", false]]));
    for (row, largest) in [(&rows[0], "200"), (&rows[2], "500")] {
        for name in ["TotalSize", "ShardSize"] {
            let sizes = row[name].as_array().unwrap();
            assert_eq!((&sizes[0], sizes.last().unwrap()), (&json!("1"), &json!(largest)));
        }
    }
    assert_eq!((&rows[0]["ShardNum"][7], &rows[2]["ShardNum"]), (&json!("16"), &json!(["1"])));
    assert_eq!(rows[0]["ReplicaNum"], json!(["1", "2", "3", "4", "5"]));
}

#[test]
fn a_maintenance_window_is_that_of_an_instance() {
    let answer = ask(&mut world(), "DescribeMaintenanceWindow", json!({"InstanceId": "a"}));
    assert_eq!((&answer["StartTime"], &answer["EndTime"]), (&json!("03:00"), &json!("04:00")));
    let unknown = ask(&mut world(), "DescribeMaintenanceWindow", json!({"InstanceId": "b"}));
    assert_eq!(code(&unknown), "ResourceNotFound.InstanceNotExists");
    assert_eq!(code(&ask(&mut world(), "DescribeMaintenanceWindow", json!({}))), "MissingParameter");
}

#[test]
fn a_request_that_can_not_be_understood_says_what_is_wrong() {
    for (headers, body, expected) in [
        (("x-tc-action", ""), "{}", "MissingParameter"),
        (("x-tc-version", ""), "{}", "MissingParameter"),
        (("x-tc-region", ""), "{}", "MissingParameter"),
        (("x-tc-action", "DescribeRedis"), "{}", "InvalidAction"),
        (("x-tc-version", "2017-03-12"), "{}", "NoSuchVersion"),
        (("x-tc-region", "gz"), "{}", "UnsupportedRegion"),
        (("x-tc-region", "nowhere"), "{}", "UnsupportedRegion"),
        (("content-type", "text/plain"), "{}", "InvalidParameter"),
        (("content-type", "application/json; charset=utf-8"), "{}", ""),
        (("x-tc-language", "en-US"), "", "InvalidParameter"),
        (("x-tc-language", "en-US"), "[]", "InvalidParameter"),
        (("x-tc-language", "en-US"), "{", "InvalidParameter"),
        (("x-tc-language", "en-US"), r#"{"Whatever": 1}"#, ""),
    ] {
        let answer = send(&mut world(), &request_with(&[headers], body));
        assert_eq!(code(&answer), expected, "{headers:?} {body}");
    }
}

#[test]
fn who_can_not_sign_learns_nothing_else() {
    let mut world = world();
    let mut forged = request("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048}));
    forged.body = Bytes::from_static(b"{}");
    assert_eq!(code(&send(&mut world, &forged)), "AuthFailure.SignatureFailure");
    forged.headers.remove("authorization");
    assert_eq!(code(&send(&mut world, &forged)), "AuthFailure.InvalidAuthorization");
}

#[test]
fn the_21st_call_in_a_second_is_refused_before_it_is_looked_at() {
    let mut world = world();
    let now = world.now();
    let list = request("DescribeInstances", json!({}));
    let mut send_at = |request: &Request, now| {
        let answer = request.carry_out(&mut world, Twist::default(), now);
        code(&answer["Response"]).to_owned()
    };
    assert!((0..20).all(|_| send_at(&list, now).is_empty()));
    assert_eq!(send_at(&list, now), "RequestLimitExceeded");
    let wrong = request_with(&[("x-tc-version", "1")], "{");
    assert_eq!(send_at(&wrong, now), "RequestLimitExceeded");
    assert_eq!(send_at(&request("DescribeProductInfo", json!({})), now), "", "another action");
    assert_eq!(send_at(&request_with(&[("x-tc-region", "ap-shanghai")], "{}"), now), "", "another region");
    assert_eq!(send_at(&list, now + SignedDuration::from_secs(1)), "");
    let mut unlimited = world_with(Config { rate_limit: 0, ..Config::default() });
    assert!((0..50).all(|_| code(&list.carry_out(&mut unlimited, Twist::default(), now)["Response"]).is_empty()));
}

#[test]
fn an_injected_refusal_has_its_code_as_text() {
    let mut world = world();
    let order = request("UpgradeInstance", json!({"InstanceId": "a", "MemSize": 2048}));
    let now = world.now();
    let mut refused = |code: Code| order.refuse(&mut world, code, true, now)["Response"]["Error"]["Code"].clone();
    assert_eq!(refused(Code::Name("FailedOperation.Unknown".into())), "FailedOperation.Unknown");
    assert_eq!(refused(Code::Number(6000)), "6000");
    assert_eq!(world.ledger.refused()[0].code, Code::Name("FailedOperation.Unknown".into()));
}

#[test]
fn faults_choose_by_each_instance_that_is_asked_for() {
    let request = request("DescribeInstances", json!({"InstanceId": "a", "InstanceIds": ["c", "v"]}));
    assert_eq!(request.call().redis_ids, ["a", "c", "v"]);
    assert!(request_with(&[], r#"{"InstanceIds": 7}"#).call().redis_ids.is_empty());
}
