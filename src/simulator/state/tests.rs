use super::super::deal::DealStatus;
use super::super::instance::Shape;
use super::super::list::OrderBy;
use super::*;

const T0: i64 = 1_700_000_000;
const ME: &str = "me";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(T0 + seconds).unwrap()
}

fn gz() -> &'static Region {
    catalogue::find_region("gz").unwrap()
}

/// Orders show after 10 s and then take 60 s.
fn cloud(while_invisible: WhileInvisible) -> Cloud {
    let [upgrade_time, visible_after, maintenance_wait] = [60, 10, 3600].map(Duration::from_secs);
    let rules = Rules { upgrade_time, visible_after, maintenance_wait, while_invisible };
    let mut cloud = Cloud::new(rules);
    cloud.create(named("a"), ME, at(-1000)).unwrap();
    cloud
}

fn named(id: &str) -> NewInstance {
    NewInstance { redis_id: id.into(), ..NewInstance::default() }
}

fn order(cloud: &mut Cloud, to: u64, seconds: i64) -> Result<u64, Refusal> {
    cloud.order(ME, gz(), "a", Ask::Whole(to), false, at(seconds)).map(|deal| deal.id)
}

fn shows(cloud: &Cloud, seconds: i64) -> (i32, u64) {
    let view = cloud.instance("a").unwrap().view(at(seconds)).unwrap();
    (view.status.0, view.shape.size)
}

fn by_hand(cloud: &mut Cloud, hand: &str, seconds: i64) {
    by_hand_of(cloud, "a", hand, seconds);
}

fn by_hand_of(cloud: &mut Cloud, id: &str, hand: &str, seconds: i64) {
    cloud.change_by_hand(id, &serde_json::from_str(hand).unwrap(), at(seconds)).unwrap();
}

fn ids(cloud: &Cloud, query: Query) -> (usize, Vec<String>) {
    let (total, page) = cloud.list(ME, gz(), &query, at(0), at(0));
    (total, page.iter().map(|view| view.instance.redis_id.to_string()).collect())
}

#[test]
fn an_order_shows_late_then_locks_the_instance_then_is_done() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let deal = order(&mut cloud, 2048, 0).unwrap();
    let seen: Vec<_> =
        [0, 9, 10, 69, 70].map(|second| (shows(&cloud, second), cloud.deals[&deal].status(at(second)))).into();
    assert_eq!(
        seen,
        [
            ((2, 1024), DealStatus::Paid),
            ((2, 1024), DealStatus::Paid),
            ((1, 1024), DealStatus::Delivering),
            ((1, 1024), DealStatus::Delivering),
            ((2, 2048), DealStatus::Delivered)
        ]
    );
    assert_eq!(cloud.deals[&deal].ended(at(69)), None);
    assert_eq!(cloud.deals[&deal].ended(at(99)), Some(at(70)));
}

#[test]
fn refusals_come_in_a_fixed_order() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.set_balance(ME, Some(0));
    by_hand(&mut cloud, r#"{"memSize": 4096, "status": -2}"#, 0);
    let price = |cloud: &Cloud, id: &str, to| cloud.price(ME, gz(), id, Ask::Whole(to), at(0)).unwrap_err();
    assert_eq!(price(&cloud, "b", 1), Refusal::NoInstance);
    assert_eq!(price(&cloud, "a", 1), Refusal::NotAMultiple(1024));
    assert_eq!(price(&cloud, "a", 0), Refusal::NotSold(Some((1024, 512_000))));
    assert_eq!(price(&cloud, "a", 512_000 + 1024), Refusal::NotSold(Some((1024, 512_000))));
    assert_eq!(price(&cloud, "a", 4096), Refusal::NoGrowth(4096));
    assert_eq!(price(&cloud, "a", 5120), Refusal::Busy(Status::ISOLATED));
    by_hand(&mut cloud, r#"{"status": 2}"#, 0);
    assert_eq!(order(&mut cloud, 5120, 0), Err(Refusal::NoMoney { price: 2000, balance: 0 }));
    assert_eq!(cloud.price(ME, gz(), "a", Ask::Whole(5120), at(0)), Ok(2000), "an inquiry doesn't look at the balance");
}

#[test]
fn limits_are_those_of_the_zone_and_type() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.create(NewInstance { zone_id: 300001, ..named("b") }, ME, at(0)).unwrap();
    cloud.create(NewInstance { zone_id: 300001, type_id: 1, ..named("c") }, ME, at(0)).unwrap();
    assert_eq!(cloud.price(ME, gz(), "b", Ask::Whole(40_960), at(0)), Ok(78_000));
    assert_eq!(cloud.price(ME, gz(), "b", Ask::Whole(41_984), at(0)), Err(Refusal::NotSold(Some((1024, 40_960)))));
    assert_eq!(cloud.price(ME, gz(), "c", Ask::Whole(2048), at(0)), Err(Refusal::NotSold(None)));
}

#[test]
fn an_instance_of_another_account_or_region_is_not_there() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let shanghai = catalogue::find_region("ap-shanghai").unwrap();
    assert_eq!(cloud.price("you", gz(), "a", Ask::Whole(2048), at(0)), Err(Refusal::NoInstance));
    assert_eq!(cloud.price(ME, shanghai, "a", Ask::Whole(2048), at(0)), Err(Refusal::NoInstance));
    let deal = order(&mut cloud, 2048, 0).unwrap();
    assert!(cloud.deal(ME, deal).is_ok());
    assert_eq!(cloud.deal("you", deal).unwrap_err(), Refusal::NoDeal);
}

#[test]
fn the_fee_is_taken_at_once_and_only_for_what_is_accepted() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.set_balance(ME, Some(3000));
    assert_eq!(order(&mut cloud, 3072, 0), Err(Refusal::NoMoney { price: 4000, balance: 3000 }));
    order(&mut cloud, 2048, 0).unwrap();
    assert_eq!(order(&mut cloud, 3072, 70), Err(Refusal::NoMoney { price: 2000, balance: 1000 }));
    cloud.set_balance(ME, None);
    order(&mut cloud, 3072, 70).unwrap();
    assert_eq!(cloud.deals().map(|deal| deal.price).collect::<Vec<_>>(), [2000, 2000]);
}

#[test]
fn a_second_order_while_the_first_does_not_show_gets_what_was_chosen() {
    for (choice, expected) in [
        (WhileInvisible::Refuse, Some(Refusal::Locked)),
        (WhileInvisible::Error, Some(Refusal::Unexplained)),
        (WhileInvisible::Accept, None),
    ] {
        let mut cloud = cloud(choice);
        order(&mut cloud, 2048, 0).unwrap();
        assert_eq!(order(&mut cloud, 2048, 9).err(), expected);
        assert_eq!(order(&mut cloud, 2048, 10), Err(Refusal::Busy(Status::IN_PROCESS)), "it shows");
    }
}

#[test]
fn a_second_order_that_is_accepted_is_paid_and_its_size_is_absolute() {
    let mut cloud = cloud(WhileInvisible::Accept);
    order(&mut cloud, 4096, 0).unwrap();
    order(&mut cloud, 2048, 5).unwrap();
    assert_eq!(cloud.deals().map(|deal| deal.price).sum::<u64>(), 6000 + 2000);
    assert_eq!(
        [9, 10, 70, 74, 75].map(|second| shows(&cloud, second)),
        [(2, 1024), (1, 1024), (1, 1024), (1, 1024), (2, 4096)]
    );
}

#[test]
fn an_order_whose_deal_fails_is_paid_and_changes_nothing() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let deal = cloud.order(ME, gz(), "a", Ask::Whole(2048), true, at(0)).unwrap().id;
    assert_eq!([10, 69, 70].map(|second| shows(&cloud, second)), [(1, 1024), (1, 1024), (2, 1024)]);
    assert_eq!(cloud.deals[&deal].status(at(69)), DealStatus::Delivering);
    assert_eq!(cloud.deals[&deal].status(at(70)), DealStatus::Failed);
}

#[test]
fn a_deal_failed_by_hand_ends_its_upgrade() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let deal = order(&mut cloud, 2048, 0).unwrap();
    assert!(cloud.set_deal(deal, 12, at(20)));
    assert_eq!(shows(&cloud, 20), (1, 1024), "paying");
    assert!(cloud.set_deal(deal, 5, at(30)));
    assert_eq!([29, 30, 100].map(|second| shows(&cloud, second)), [(1, 1024), (2, 1024), (2, 1024)]);
    assert_eq!(cloud.deals[&deal].status(at(30)), DealStatus::Set(5));
    assert!(!cloud.set_deal(1, 5, at(30)));
}

#[test]
fn a_size_by_hand_holds_at_once_and_an_upgrade_never_ends_below_it() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    order(&mut cloud, 2048, 0).unwrap();
    by_hand(&mut cloud, r#"{"memSize": 8192}"#, 5);
    assert_eq!([4, 5, 10, 70].map(|second| shows(&cloud, second)), [(2, 1024), (2, 8192), (1, 8192), (2, 8192)]);
}

#[test]
fn a_status_by_hand_stays_and_ends_an_upgrade() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    order(&mut cloud, 2048, 0).unwrap();
    by_hand(&mut cloud, r#"{"status": -2}"#, 20);
    assert_eq!([19, 20, 70].map(|second| shows(&cloud, second)), [(1, 1024), (-2, 1024), (-2, 1024)]);
}

#[test]
fn what_was_is_still_known() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.create(named("b"), ME, at(50)).unwrap();
    order(&mut cloud, 2048, 0).unwrap();
    let query = Query { limit: 100, ..Query::default() };
    let list = |at_: i64, now| {
        let (total, page) = cloud.list(ME, gz(), &query, at(at_), at(now));
        (total, page.iter().map(|view| (view.status.0, view.shape.size)).collect::<Vec<_>>())
    };
    assert_eq!(list(100, 100), (2, vec![(2, 2048), (2, 1024)]));
    assert_eq!(list(60, 100), (2, vec![(1, 1024), (2, 1024)]));
    assert_eq!(list(40, 100), (1, vec![(1, 1024)]), "b is newer");
}

#[test]
fn a_clock_set_back_undoes_nothing_and_holds_nothing_up() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    by_hand(&mut cloud, r#"{"memSize": 2048}"#, -5);
    let deal = order(&mut cloud, 4096, 0).unwrap();
    cloud.clock_set_back(Duration::from_secs(3600));
    assert_eq!([0, 10, 70].map(|second| shows(&cloud, second - 3600)), [(2, 2048), (1, 2048), (2, 4096)]);
    assert_eq!(cloud.deals[&deal].status(at(70 - 3600)), DealStatus::Delivered);
}

#[test]
fn a_clock_set_back_ever_again_ends_at_the_beginning_of_time() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    order(&mut cloud, 2048, 0).unwrap();
    for _ in 0..1000 {
        cloud.clock_set_back(Duration::from_secs(20 * 365 * 86_400));
    }
    assert_eq!(shows(&cloud, 0), (2, 2048));
}

#[test]
fn lists_have_an_order_pages_and_a_total() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    for (id, project_id) in [("c", 2), ("b", 1)] {
        cloud.create(NewInstance { project_id, ..named(id) }, ME, at(-10)).unwrap();
    }
    for (order, descending, expected) in [
        (OrderBy::Id, false, ["a", "b", "c"]),
        (OrderBy::Id, true, ["c", "b", "a"]),
        (OrderBy::Created, false, ["a", "c", "b"]),
        (OrderBy::Created, true, ["b", "c", "a"]),
        (OrderBy::Project, false, ["a", "b", "c"]),
        (OrderBy::Project, true, ["c", "b", "a"]),
    ] {
        let page = |offset, limit| ids(&cloud, Query { order, descending, offset, limit, ..Query::default() });
        assert_eq!(page(0, 100), (3, expected.map(String::from).to_vec()));
        assert_eq!(page(1, 1), (3, vec![expected[1].into()]));
        assert_eq!(page(3, 1), (3, vec![]));
    }
    assert!(cloud.delete("b") && !cloud.delete("b"));
    assert_eq!(ids(&cloud, Query { limit: 9, ..Query::default() }), (2, vec!["a".into(), "c".into()]));
}

#[test]
fn filters_choose() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let b = NewInstance { project_id: 1, redis_name: Some("cache".into()), subnet_id: 5, ..named("b") };
    cloud.create(b, ME, at(-10)).unwrap();
    let base = || Query { limit: 100, ..Query::default() };
    for query in [
        Query { ids: vec!["b".into()], ..base() },
        Query { name: Some("cache".into()), ..base() },
        Query { projects: vec![1, 7], ..base() },
        Query { subnets: vec![5], ..base() },
    ] {
        assert_eq!(ids(&cloud, query), (1, vec!["b".into()]));
    }
    assert_eq!(ids(&cloud, Query { ids: vec!["no".into()], ..base() }), (0, vec![]));
}

#[test]
fn an_instance_in_a_vpc_is_missing_from_a_list_that_does_not_ask_for_it() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.create(NewInstance { vpc_id: 7, ..named("b") }, ME, at(-10)).unwrap();
    let base = || Query { limit: 100, ..Query::default() };
    assert_eq!(ids(&cloud, base()), (1, vec!["a".into()]));
    assert_eq!(ids(&cloud, Query { vpcs: vec![7], ..base() }), (1, vec!["b".into()]));
    assert_eq!(ids(&cloud, Query { ids: vec!["b".into()], ..base() }), (1, vec!["b".into()]));
}

#[test]
fn what_can_not_be_is_not_created() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    for wrong in [
        named("a"),
        named(""),
        named(&"x".repeat(65)),
        NewInstance { region: "nowhere".into(), ..named("b") },
        NewInstance { type_id: 3, ..named("b") },
        NewInstance { shards: 2, ..named("b") },
        NewInstance { shards: 0, type_id: 1, ..named("b") },
        NewInstance { billing_mode: 2, ..named("b") },
    ] {
        assert!(cloud.create(wrong.clone(), ME, at(0)).is_err(), "{wrong:?}");
    }
}

fn parts(shard_size: u64, shards: Option<u32>, replicas: Option<u32>) -> Ask {
    Ask::Parts { shard_size, shards, replicas, in_window: false }
}

/// With `c`, a cluster of three shards of 1024 MB.
fn with_cluster(while_invisible: WhileInvisible) -> Cloud {
    let mut cloud = cloud(while_invisible);
    let cluster = NewInstance { type_id: catalogue::CLUSTER, mem_size: 3072, shards: 3, ..named("c") };
    cloud.create(cluster, ME, at(-1000)).unwrap();
    cloud
}

fn price(cloud: &Cloud, id: &str, ask: Ask) -> Result<u64, Refusal> {
    cloud.price(ME, gz(), id, ask, at(0))
}

#[test]
fn just_one_of_size_shards_and_replicas_may_differ() {
    let cloud = with_cluster(WhileInvisible::Refuse);
    for (ask, expected) in [
        (parts(2048, Some(3), Some(1)), Ok(3 * 2000)),
        (parts(2048, Some(3), None), Ok(3 * 2000)),
        (parts(1024, Some(4), Some(1)), Ok(2000)),
        (parts(1024, Some(3), Some(2)), Ok(3 * 2000)),
        (parts(1024, Some(3), Some(1)), Err(Refusal::Changes(0))),
        (parts(2048, Some(4), None), Err(Refusal::Changes(2))),
        (parts(2048, Some(4), Some(2)), Err(Refusal::Changes(3))),
        (parts(2048, None, Some(1)), Err(Refusal::NoShards)),
        (parts(1024, Some(6), None), Err(Refusal::NoSuchSpec)),
        (parts(1024, Some(3), Some(6)), Err(Refusal::NoSuchSpec)),
    ] {
        assert_eq!(price(&cloud, "c", ask), expected, "{ask:?}");
    }
    assert_eq!(price(&cloud, "a", parts(2048, None, None)), Ok(2000), "a standard one needn't say that it has one");
    assert_eq!(price(&cloud, "a", parts(2048, Some(1), Some(1))), Ok(2000));
    assert_eq!(price(&cloud, "a", parts(1024, Some(2), None)), Err(Refusal::NoSuchSpec));
}

#[test]
fn the_sizes_of_shards_are_those_that_are_sold() {
    let mut cloud = with_cluster(WhileInvisible::Refuse);
    let sold = Err(Refusal::NotSold(Some((1024, 204_800))));
    for (size, expected) in [
        (256, sold),
        (1536, Err(Refusal::NotAMultiple(1024))),
        (67_584, Ok(3 * 65 * 2000)),
        (68_608, Err(Refusal::NotSold(Some((1024, 204_800))))),
        (u64::MAX, Err(Refusal::NotSold(Some((1024, 204_800))))),
    ] {
        assert_eq!(price(&cloud, "c", parts(size, Some(3), None)), expected, "{size}");
    }
    by_hand_of(&mut cloud, "c", r#"{"memSize": 4000}"#, 0);
    assert_eq!(
        price(&cloud, "c", parts(4000 / 3, Some(3), Some(2))),
        Ok(4000 * 2000 / 1024),
        "what stays isn't checked"
    );
}

#[test]
fn a_whole_size_that_its_shards_can_not_have_is_no_multiple() {
    let cloud = with_cluster(WhileInvisible::Refuse);
    assert_eq!(price(&cloud, "c", Ask::Whole(4096)), Err(Refusal::NotAMultiple(3072)));
    assert_eq!(price(&cloud, "c", Ask::Whole(6144)), Ok(3 * 2000));
}

#[test]
fn a_shrink_in_parts_leaves_1_3_times_what_is_used_and_costs_nothing() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    by_hand(&mut cloud, r#"{"memSize": 8192}"#, 0);
    assert_eq!(price(&cloud, "a", parts(1024, None, None)), Err(Refusal::InUse(1332)));
    let deal = cloud.order(ME, gz(), "a", parts(2048, None, None), false, at(0)).unwrap();
    assert_eq!((deal.from, deal.to, deal.price), (8192, 2048, 0));
    by_hand(&mut cloud, r#"{"locked": true}"#, 20);
    assert_eq!([9, 69, 70].map(|second| shows(&cloud, second)), [(2, 8192), (1, 8192), (2, 2048)]);
}

#[test]
fn a_whole_is_never_shrunk() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    by_hand(&mut cloud, r#"{"memSize": 8192}"#, 0);
    assert_eq!(order(&mut cloud, 4096, 0), Err(Refusal::NoGrowth(8192)));
}

#[test]
fn shards_and_replicas_change_with_the_deal() {
    let mut cloud = with_cluster(WhileInvisible::Refuse);
    let shape = |cloud: &Cloud, seconds| cloud.instance("c").unwrap().view(at(seconds)).unwrap().shape;
    let before = Shape { size: 3072, shards: 3, replicas: 1 };
    let deal = cloud.order(ME, gz(), "c", parts(1024, Some(2), None), false, at(0)).unwrap();
    assert_eq!((deal.from, deal.to, deal.price), (3072, 2048, 0));
    assert_eq!([69, 70].map(|second| shape(&cloud, second)), [before, Shape { size: 2048, shards: 2, ..before }]);
    let deal = cloud.order(ME, gz(), "c", parts(1024, Some(2), Some(3)), false, at(100)).unwrap();
    assert_eq!((deal.from, deal.to, deal.price), (2048, 2048, 8000));
    assert_eq!(shape(&cloud, 170), Shape { size: 2048, shards: 2, replicas: 3 });
}

#[test]
fn what_is_sold_out_is_not_sold_whatever_asks() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let sold_out = NewInstance { zone_id: 100003, type_id: catalogue::CLUSTER, status: 1, ..named("s") };
    cloud.create(sold_out, ME, at(0)).unwrap();
    assert_eq!(price(&cloud, "s", Ask::Whole(2048)), Err(Refusal::SoldOut));
    assert_eq!(price(&cloud, "s", parts(2048, Some(1), None)), Err(Refusal::SoldOut));
    assert_eq!(price(&cloud, "s", parts(2048, Some(1), Some(2))), Err(Refusal::Changes(2)), "what lasts comes first");
}

#[test]
fn a_locked_instance_takes_no_order_though_it_runs() {
    let mut cloud = cloud(WhileInvisible::Accept);
    cloud.create(NewInstance { locked: true, status: -3, ..named("l") }, ME, at(0)).unwrap();
    assert_eq!(price(&cloud, "l", Ask::Whole(2048)), Err(Refusal::Busy(Status::DELETED)));
    by_hand_of(&mut cloud, "l", r#"{"status": 2}"#, 0);
    assert_eq!(price(&cloud, "l", Ask::Whole(2048)), Err(Refusal::Locked));
    by_hand_of(&mut cloud, "l", r#"{"locked": false}"#, 0);
    assert_eq!(price(&cloud, "l", Ask::Whole(2048)), Ok(2000));
}

fn in_window(shard_size: u64) -> Ask {
    Ask::Parts { shard_size, shards: None, replicas: None, in_window: true }
}

#[test]
fn an_order_for_the_window_is_paid_and_waits_for_it() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    cloud.set_balance(ME, Some(2000));
    let deal = cloud.order(ME, gz(), "a", in_window(2048), false, at(0)).unwrap().id;
    assert_eq!([3599, 3600, 3660].map(|second| shows(&cloud, second)), [(2, 1024), (1, 1024), (2, 2048)]);
    assert_eq!(cloud.deals[&deal].status(at(3599)), DealStatus::Paid);
    assert_eq!(order(&mut cloud, 4096, 3599), Err(Refusal::Locked));
}

#[test]
fn of_two_orders_the_one_at_once_does_not_wait_for_the_window() {
    let mut first_waits = cloud(WhileInvisible::Accept);
    first_waits.order(ME, gz(), "a", in_window(4096), false, at(0)).unwrap();
    order(&mut first_waits, 2048, 0).unwrap();
    assert_eq!([10, 70, 3600].map(|second| shows(&first_waits, second)), [(1, 1024), (2, 4096), (2, 4096)]);
    let mut second_waits = cloud(WhileInvisible::Accept);
    order(&mut second_waits, 2048, 0).unwrap();
    second_waits.order(ME, gz(), "a", in_window(4096), false, at(5)).unwrap();
    assert_eq!(
        [10, 70, 3604, 3605, 3665].map(|second| shows(&second_waits, second)),
        [(1, 1024), (2, 2048), (2, 2048), (1, 2048), (2, 4096)]
    );
}

#[test]
fn a_second_shrink_that_is_accepted_ends_as_small_as_it_says() {
    let mut cloud = cloud(WhileInvisible::Accept);
    by_hand(&mut cloud, r#"{"memSize": 4096}"#, -1);
    for seconds in [0, 5] {
        cloud.order(ME, gz(), "a", parts(2048, None, None), false, at(seconds)).unwrap();
    }
    assert_eq!(shows(&cloud, 75), (2, 2048));
}

#[test]
fn by_hand_an_instance_keeps_as_many_shards_as_its_type_can_have() {
    let mut cloud = with_cluster(WhileInvisible::Refuse);
    let mut refused = |id, hand| cloud.change_by_hand(id, &serde_json::from_str(hand).unwrap(), at(0)).is_err();
    assert!(refused("a", r#"{"shards": 2}"#) && refused("c", r#"{"shards": 0}"#));
    assert!(!refused("c", r#"{"shards": 7, "replicas": 2}"#));
}

#[test]
fn a_deal_is_found_by_its_name() {
    let mut cloud = cloud(WhileInvisible::Refuse);
    let deal = order(&mut cloud, 2048, 0).unwrap();
    let name = cloud.deals[&deal].name.clone();
    assert_eq!(cloud.deal_by_name(ME, &name).unwrap().id, deal);
    for (account, name) in [("you", name.as_str()), (ME, ""), (ME, "432587"), (ME, "20200101000000432587")] {
        assert_eq!(cloud.deal_by_name(account, name).unwrap_err(), Refusal::NoDeal, "{name}");
    }
}

#[test]
fn lists_can_be_by_name_and_type_and_of_some_ids() {
    let mut cloud = with_cluster(WhileInvisible::Refuse);
    let b = NewInstance { redis_name: Some("z".into()), vpc_id: 7, ..named("b") };
    cloud.create(b, ME, at(-10)).unwrap();
    let some = |order, some: &[&str]| Query {
        ids: some.iter().map(|id| id.to_string()).collect(),
        order,
        limit: 9,
        ..Query::default()
    };
    assert_eq!(ids(&cloud, some(OrderBy::Name, &["b", "c", "b", "no"])), (2, vec!["c".into(), "b".into()]));
    assert_eq!(ids(&cloud, some(OrderBy::Type, &["c", "a", "b"])), (3, vec!["a".into(), "b".into(), "c".into()]));
    assert_eq!(ids(&cloud, some(OrderBy::Created, &["b", "c"])), (2, vec!["c".into(), "b".into()]));
    assert_eq!(ids(&cloud, some(OrderBy::Type, &[])), (2, vec!["a".into(), "c".into()]));
}
