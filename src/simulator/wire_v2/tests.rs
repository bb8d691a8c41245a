use super::super::auth_v2::tests::sign;
use super::super::{Config, Key, NewInstance, Simulator};
use super::*;

/// `a` is mine, in gz; `b` is another's.
fn world() -> World {
    let key = |id: &str| Key { id: id.into(), secret: format!("secret of {id}"), token: None };
    let named = |id: &str, account: &str| NewInstance {
        redis_id: id.into(),
        account: Some(account.into()),
        ..NewInstance::default()
    };
    let instances = vec![named("a", "me"), named("b", "you")];
    let config = Config { keys: vec![key("me"), key("you")], instances, ..Config::default() };
    Simulator::new(config).unwrap().world.into_inner().unwrap()
}

/// A signed request with the next nonce.
fn request(action: &str, parameters: &[(&str, &str)]) -> Request {
    let mut pairs: Vec<(String, String)> = parameters.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let mut common = |name: &str, value: String| {
        if !pairs.iter().any(|(there, _)| there == name) {
            pairs.push((name.into(), value));
        }
    };
    common("Action", action.into());
    common("Region", "gz".into());
    common("Timestamp", Timestamp::now().as_second().to_string());
    common("Nonce", rand::random_range(1..u64::MAX).to_string());
    common("SecretId", "me".into());
    let mut request = Request::new("GET".into(), "127.0.0.1:1".into(), PATH.into(), Ok(pairs));
    let Request { method, host, path, parameters, .. } = &request;
    let signature = sign("secret of me", &Signed { method, host, path, parameters });
    request.parameters.insert("Signature".into(), signature);
    request
}

fn ask(world: &mut World, action: &str, parameters: &[(&str, &str)]) -> Value {
    let now = world.now();
    request(action, parameters).carry_out(world, Twist::default(), now)
}

#[test]
fn upgrade_redis_answers_with_a_string_for_its_code() {
    let mut world = world();
    let ordered = ask(&mut world, "UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]);
    assert_eq!(
        ordered,
        json!({"code": "0", "message": "", "codeDesc": "Success", "data": {"dealId": "432587"}}),
        "the example of 239/5328"
    );
    let refused = ask(&mut world, "UpgradeRedis", &[("redisId", "a"), ("memSize", "1024")]);
    assert_eq!((&refused["code"], &refused["codeDesc"]), (&json!("11057"), &json!("ReduceCapacityNotAllowed")));
}

#[test]
fn each_refusal_has_its_documented_code() {
    let mut world = world();
    world.cloud.set_balance("me", Some(0));
    for (id, size, code) in [
        ("none", "2048", "10701"),
        ("b", "2048", "10701"),
        ("a", "2000", "10703"),
        ("a", "512001024", "11063"),
        ("a", "1024", "11057"),
        ("a", "2048", "100207"),
        ("a", "", "4000"),
        ("a", "-1024", "4000"),
        ("a", "2048.0", "4000"),
    ] {
        let answer = ask(&mut world, "UpgradeRedis", &[("redisId", id), ("memSize", size)]);
        assert_eq!(answer["code"], code, "{id} {size}: {answer}");
    }
    world.cloud.set_balance("me", None);
    ask(&mut world, "UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]);
    let answer = ask(&mut world, "UpgradeRedis", &[("redisId", "a"), ("memSize", "4096")]);
    assert_eq!(answer["code"], "10702");
    assert_eq!(ask(&mut world, "UpgradeRedis", &[("memSize", "2048")])["code"], "4000");
    let refused = world.ledger.refused();
    assert_eq!((refused.len(), &refused[0].code), (11, &Code::Number(10701)));
    assert_eq!(refused[0].redis_id.as_deref(), Some("none"));
}

#[test]
fn an_inquiry_has_the_price_and_takes_nothing() {
    let mut world = world();
    let answer = ask(&mut world, "UpgradeRedisInquiryPrice", &[("redisId", "a"), ("memSize", "4096")]);
    assert_eq!(answer, json!({"code": 0, "message": "", "codeDesc": "Success", "data": {"price": 6000}}));
    assert_eq!(world.cloud.deals().count(), 0);
    let refused = ask(&mut world, "UpgradeRedisInquiryPrice", &[("redisId", "a"), ("memSize", "1")]);
    assert_eq!(refused["code"], 10703);
}

#[test]
fn describe_redis_has_its_total_at_the_top() {
    let answer = ask(&mut world(), "DescribeRedis", &[("limit", "100")]);
    assert_eq!((&answer["code"], &answer["totalCount"]), (&json!(0), &json!(1)));
    let row = &answer["data"]["redisSet"][0];
    assert_eq!(
        (&row["redisId"], &row["size"], &row["status"], &row["typeId"], &row["zoneId"], &row["regionId"]),
        (&json!("a"), &json!(1024), &json!(2), &json!(2), &json!(100002), &json!(1))
    );
}

#[test]
fn both_forms_of_a_region_are_the_same_one() {
    for (region, total) in [("gz", 1), ("ap-guangzhou", 1), ("sh", 0)] {
        let answer = ask(&mut world(), "DescribeRedis", &[("Region", region)]);
        assert_eq!(answer["totalCount"], total, "{region}");
    }
    assert_eq!(ask(&mut world(), "DescribeRedis", &[("Region", "nowhere")])["code"], 4000);
}

#[test]
fn an_unknown_instance_gets_an_empty_list() {
    for id in ["none", "b"] {
        let answer = ask(&mut world(), "DescribeRedis", &[("redisId", id)]);
        assert_eq!((&answer["totalCount"], &answer["data"]["redisSet"]), (&json!(0), &json!([])));
    }
}

#[test]
fn what_describe_redis_does_not_take_is_11201() {
    for (name, value) in [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "x"),
        ("offset", "-1"),
        ("orderBy", "size"),
        ("orderType", "2"),
        ("vpcIds.x", "1"),
    ] {
        assert_eq!(ask(&mut world(), "DescribeRedis", &[(name, value)])["code"], 11201, "{name}={value}");
    }
}

#[test]
fn a_list_begins_with_the_last_unless_told_otherwise() {
    let mut world = world();
    for id in ["a1", "a2"] {
        let now = world.now();
        world.create(NewInstance { redis_id: id.into(), ..NewInstance::default() }, now).unwrap();
    }
    let mut ids = |parameters: &[(&str, &str)]| {
        let answer = ask(&mut world, "DescribeRedis", parameters);
        let rows = answer["data"]["redisSet"].as_array().unwrap();
        rows.iter().map(|row| row["redisId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), ["a2", "a1", "a"]);
    assert_eq!(ids(&[("orderBy", "createtime"), ("orderType", "0"), ("offset", "1"), ("limit", "1")]), ["a1"]);
}

#[test]
fn products_differ_by_zone_and_type() {
    let mut world = world();
    let all = ask(&mut world, "DescribeRedisProduct", &[]);
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert_eq!(all["data"][0]["types"]["1"]["maxMemSize"], 204_800);
    assert_eq!(all["data"][0]["types"]["2"]["maxMemSize"], 512_000);
    assert_eq!(all["data"][1]["types"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2"]);
    let one = ask(&mut world, "DescribeRedisProductList", &[("zoneIds.0", "300001"), ("typeId", "2")]);
    assert_eq!((one["data"].as_array().unwrap().len(), &one["data"][0]["zoneId"]), (1, &json!(300001)));
    let none = ask(&mut world, "DescribeRedisProduct", &[("zoneIds.0", "300001"), ("typeId", "1")]);
    assert_eq!(none["data"], json!([]));
    assert_eq!(ask(&mut world, "DescribeRedisProduct", &[("typeId", "3")])["code"], 11201);
}

#[test]
fn deal_details_stand_at_the_top_and_are_spelt_as_documented() {
    let mut world = world();
    ask(&mut world, "UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]);
    let answer = ask(&mut world, "DescribeRedisDealDetail", &[("dealIds.0", "432587")]);
    let deal = &answer["dealDetails"][0];
    assert_eq!((&deal["dealId"], &deal["status"], &deal["price"]), (&json!("432587"), &json!(3), &json!(2000)));
    assert_eq!(deal["goodsDetail"], json!({"oldMemSize": 1024, "newMemsize": 2048, "redisIds": ["a"]}));
    assert!(deal["creatTime"].is_string() && deal["creater"] == "me" && deal["endTime"] == "");
    for (parameters, code) in
        [(&[][..], 4000), (&[("dealIds.0", "432587"), ("dealIds.1", "1")], 11059), (&[("dealIds.0", "x")], 11059)]
    {
        assert_eq!(ask(&mut world, "DescribeRedisDealDetail", parameters)["code"], code, "{parameters:?}");
    }
}

#[test]
fn times_are_those_of_china() {
    assert_eq!(local_time(Timestamp::from_second(1_465_185_768).unwrap()), "2016-06-06 12:02:48");
}

#[test]
fn a_request_that_can_not_be_understood_is_4000() {
    let mut world = world();
    assert_eq!(ask(&mut world, "ReleaseRedis", &[])["code"], 4000);
    assert_eq!(ask(&mut world, "DescribeRedis", &[("limit", "1"), ("limit", "1")])["code"], 4000);
    let now = world.now();
    let mut without_region = request("DescribeRedis", &[]);
    without_region.parameters.remove("Region");
    let Request { method, host, path, parameters, .. } = &without_region;
    let unsigned = parameters.iter().filter(|(name, _)| *name != "Signature");
    let parameters = unsigned.map(|(name, value)| (name.clone(), value.clone())).collect();
    let signature = sign("secret of me", &Signed { method, host, path, parameters: &parameters });
    without_region.parameters.insert("Signature".into(), signature);
    assert_eq!(without_region.carry_out(&mut world, Twist::default(), now)["code"], 4000);
}

#[test]
fn parameters_that_an_action_does_not_know_are_ignored() {
    assert_eq!(ask(&mut world(), "DescribeRedis", &[("whatever", "x")])["code"], 0);
}

#[test]
fn a_request_that_is_sent_twice_is_carried_out_once() {
    let mut world = world();
    let order = request("UpgradeRedis", &[("redisId", "a"), ("memSize", "2048")]);
    let now = world.now();
    assert_eq!(order.carry_out(&mut world, Twist::default(), now)["code"], "0");
    assert_eq!(order.carry_out(&mut world, Twist::default(), now)["code"], "4500");
    assert_eq!(world.cloud.deals().count(), 1);
}

#[test]
fn an_injected_refusal_comes_in_either_of_the_documented_forms() {
    let mut world = world();
    let order = request("UpgradeRedis", &[("redisId", "a")]);
    let now = world.now();
    let plain = order.refuse(&mut world, Code::Number(10702), false, now);
    assert_eq!((&plain["code"], &plain["codeDesc"]), (&json!("10702"), &json!("InstanceStatusAbnormal")));
    let bracketed = order.refuse(&mut world, Code::Number(10702), true, now);
    assert_eq!((&bracketed["code"], &bracketed["message"]), (&json!("5100"), &json!("(10702)InstanceStatusAbnormal")));
    let name = order.refuse(&mut world, Code::Name("AccountNotEnoughToPay".into()), false, now);
    assert_eq!(name["code"], "AccountNotEnoughToPay");
    assert_eq!(world.ledger.refused().len(), 3);
}
