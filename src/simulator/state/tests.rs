use super::super::deal::DealStatus;
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
    cloud.change_by_hand("a", &serde_json::from_str(hand).unwrap(), at(seconds)).unwrap();
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
    ] {
        assert!(cloud.create(wrong.clone(), ME, at(0)).is_err(), "{wrong:?}");
    }
}
