//! With nothing but the RedisInstance, the book, the Events and the log, a person can tell of each order what was asked, by whom, when, what
//! came of it, and why it was called that.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{Operator, World, codes, instance, reason, wait_for};

const ID: &str = "crs-00000001";
const FIRST: &str = "crs-00000001-1";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn evidence(entry: &Value) -> &str {
    text(&entry["status"]["evidence"])
}

/// These facts stand there, in this order.
#[track_caller]
fn tells(said: &str, facts: &[&str]) {
    let mut rest = said;
    for fact in facts {
        rest = rest.split_once(fact).unwrap_or_else(|| panic!("{fact:?}, in its turn, in: {said}")).1;
    }
}

/// The line of the log, at its default level, about an entry's phase.
fn line(operator: &Operator, entry: &str, phase: &str) -> String {
    let log = operator.log();
    let of_it = [format!("entry=\"{entry}\""), format!("phase={phase}")];
    let mut lines = log.lines().filter(|line| line.contains(" INFO ") && of_it.iter().all(|fact| line.contains(fact)));
    lines.next().unwrap_or_else(|| panic!("no line about {entry}, {phase} in\n{log}")).to_owned()
}

/// The one Event of this reason about an entry.
async fn event(world: &World, reason: &str, entry: &str) -> String {
    wait_for(&format!("one Event {reason} of {entry}"), async || {
        let notes = world.events("sessions", reason).await;
        let of_it: Vec<_> = notes.iter().filter(|note| note.starts_with(&format!("{entry}:"))).collect();
        if let [note] = of_it[..] { Ok(note.clone()) } else { Err(format!("{notes:?}")) }
    })
    .await
}

/// A growth of `sessions` from 1024 to 2048 MB whose order meets this.
async fn grows(world: &World, fault: Value) {
    world.next_order_meets(fault).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
}

#[rstest]
#[tokio::test]
async fn of_an_order_that_went_well_all_say_the_same(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story", &[]).await;
    let operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let sessions = world.wait_fulfilled("sessions").await;
    let [(from, to, deal)] = world.cloud.orders(ID).await.try_into().expect("one order");
    let entry = &world.book(ID).await[0];
    let (spec, status) = (&entry["spec"], &entry["status"]);
    assert_eq!((&spec["from"], &spec["to"], &status["dealId"]), (&json!(from), &json!(to), &json!(deal)));
    let (by, metadata) = (&spec["instanceRef"], &sessions["metadata"]);
    for field in ["namespace", "name", "uid", "generation"] {
        assert_eq!(by[field], metadata[field], "{field}");
    }
    assert!(text(&spec["signedAt"]) <= text(&status["settledAt"]));
    let settled_at = text(&status["settledAt"]);
    tells(evidence(entry), &["accepted", &deal, api.describe(), settled_at, "2048 MB, Running"]);
    assert_eq!((&sessions["status"]["dealId"], &sessions["status"]["upgrade"]["name"]), (&json!(deal), &json!(FIRST)));
    tells(&event(&world, "UpgradeWritten", FIRST).await, &["1024", "2048", "Connections are cut"]);
    tells(&event(&world, "UpgradePlaced", FIRST).await, &["1024", "2048", &deal]);
    tells(&event(&world, "UpgradeFulfilled", FIRST).await, &["1024", "2048", &deal, settled_at]);
    let uid = text(&metadata["uid"]);
    let asked = ["name=\"sessions\"", uid, "generation=1", "from=1024 to=2048", text(&spec["signedAt"]), "replica="];
    tells(&line(&operator, FIRST, "Written"), &asked);
    tells(&line(&operator, FIRST, "Placed"), &[&deal]);
    tells(&line(&operator, FIRST, "Fulfilled"), &[&deal, settled_at]);
}

#[rstest]
#[tokio::test]
async fn in_json_the_log_has_the_same_facts_by_name(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-json", &[]).await;
    let operator = world.operator(&["--log-format", "json"]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let log = operator.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_it: Vec<_> = lines.filter(|line| line["fields"]["entry"] == FIRST && line["level"] == "INFO").collect();
    let phases: Vec<_> = of_it.iter().filter_map(|line| line["fields"]["phase"].as_str()).collect();
    assert_eq!(phases, ["Written", "Placed", "Fulfilled"], "{log}");
    let entry = &world.book(ID).await[0];
    let last = &of_it.last().expect("three lines")["fields"];
    assert_eq!(
        (&last["from"], &last["to"], &last["deal_id"]),
        (&json!(1024), &json!(2048), &entry["status"]["dealId"])
    );
    assert_eq!((&last["uid"], &last["evidence"]), (&entry["spec"]["instanceRef"]["uid"], &entry["status"]["evidence"]));
}

#[rstest]
#[tokio::test]
async fn of_an_order_whose_answer_was_lost_it_is_told_which_look_found_it_and_that_a_person_may_have_done_it(
    #[values(V2, V3)] api: Api,
) {
    let world = World::new(api, "story-lost", &[]).await;
    let operator = world.operator(&[]);
    grows(&world, json!({"kind": "drop-after"})).await;
    world.wait_fulfilled("sessions").await;
    let entry = &world.book(ID).await[0];
    let (signed_at, settled_at) = (text(&entry["spec"]["signedAt"]), text(&entry["status"]["settledAt"]));
    assert_eq!(entry["status"]["error"]["codeDesc"], "ConnectionLost");
    let facts =
        ["No plain answer", "ConnectionLost", api.describe(), settled_at, "2048 MB, Running", "console", signed_at];
    tells(evidence(entry), &facts);
    tells(&event(&world, "UpgradeFulfilled", FIRST).await, &facts[3..]);
    tells(&line(&operator, FIRST, "Fulfilled"), &facts[3..]);
    assert!(operator.log().contains("no plain answer to the order"));
}

#[rstest]
#[tokio::test]
async fn of_a_hand_in_the_console_while_an_order_was_lost_the_book_claims_no_deal(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-console", &[]).await;
    let _operator = world.operator(&[]);
    grows(&world, json!({"kind": "drop-before"})).await;
    world.cloud.wait_for_order().await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 2048})).await;
    world.wait_fulfilled("sessions").await;
    let entry = &world.book(ID).await[0];
    assert_eq!((&entry["status"]["dealId"], world.cloud.orders(ID).await.len()), (&Value::Null, 0));
    tells(evidence(entry), &["No plain answer", "2048 MB", "by this order or by somebody in the console"]);
}

#[rstest]
#[tokio::test]
async fn of_an_order_that_never_arrived_it_is_told_by_which_look_and_rule_it_was_given_up(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-abandoned", &[]).await;
    let operator = world.operator(&[]);
    grows(&world, json!({"kind": "drop-before"})).await;
    world.wait_fulfilled("sessions").await;
    let book = world.wait_for_book(ID, &["Abandoned", "Fulfilled"]).await;
    let (signed_at, settled_at) = (text(&book[0]["spec"]["signedAt"]), text(&book[0]["status"]["settledAt"]));
    let facts = ["No plain answer", "ConnectionLost", api.describe(), settled_at, "1024 MB, Running", signed_at, "1s"];
    tells(evidence(&book[0]), &facts);
    tells(&event(&world, "UpgradeAbandoned", FIRST).await, &facts[3..]);
    tells(&line(&operator, FIRST, "Abandoned"), &facts[3..]);
    let deals: Vec<_> = world.cloud.orders(ID).await.into_iter().map(|(.., deal)| json!(deal)).collect();
    assert_eq!(deals, [book[1]["status"]["dealId"].clone()], "the other one is what was paid");
}

/// Carried out, shown later than the lag (an assumption broken), and answered only after it was given up.
#[rstest]
#[tokio::test]
async fn an_entry_keeps_that_it_was_given_up_and_that_its_answer_came_late(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-late", &["--visible-after", "9s"]).await;
    let _operator = world.operator(&[]);
    grows(&world, json!({"kind": "delay", "ms": 7000})).await;
    world.wait_until("sessions", "at 2048 MB", |sessions| sessions["status"]["memSize"] == 2048).await;
    let [(.., deal)] = world.cloud.orders(ID).await.try_into().expect("one order");
    let entry = wait_for("the first entry's end", async || {
        let entry = world.book(ID).await.swap_remove(0);
        if entry["status"]["phase"] == "Fulfilled" { Ok(entry) } else { Err(entry.to_string()) }
    })
    .await;
    assert_eq!(entry["status"]["dealId"], json!(deal));
    tells(evidence(&entry), &["1024 MB, Running", "it never arrived", "Learnt late", &deal, "2048 MB, Running"]);
    for reason in ["UpgradeAbandoned", "UpgradePlaced", "UpgradeFulfilled"] {
        event(&world, reason, FIRST).await;
    }
}

#[rstest]
#[case::money(100_207)]
#[case::size(10703)]
#[case::key(4100)]
#[tokio::test]
async fn of_a_refusal_entry_event_log_and_status_have_the_clouds_code(#[values(V2, V3)] api: Api, #[case] code: i64) {
    let world = World::new(api, &format!("story-refused-{code}"), &[]).await;
    let operator = world.operator(&["--cloud-lag", "10m"]);
    grows(&world, json!({"kind": "error", "code": api.error(code)})).await;
    let book = world.wait_for_book(ID, &["Refused"]).await;
    let said = text(&book[0]["status"]["error"]["cloudCode"]).to_owned();
    assert_eq!(json!(said), api.told(code)[1]);
    let settled_at = text(&book[0]["status"]["settledAt"]);
    tells(evidence(&book[0]), &["refused", settled_at, &said]);
    tells(&event(&world, "UpgradeRefused", FIRST).await, &[settled_at, &said]);
    tells(&line(&operator, FIRST, "Refused"), &[settled_at, &said]);
    let sessions = world.wait_until("sessions", "told", |sessions| codes(sessions)[1] == json!(said)).await;
    assert_eq!(sessions["status"]["upgrade"]["phase"], "Refused");
    assert_eq!(world.cloud.orders(ID).await.len(), 0);
}

#[rstest]
#[tokio::test]
async fn of_a_deal_that_failed_and_was_tried_again_each_payment_has_its_entry(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-failed", &[]).await;
    let _operator = world.operator(&[]);
    grows(&world, json!({"kind": "deal-fails"})).await;
    world.wait_fulfilled("sessions").await;
    let book = world.wait_for_book(ID, &["Failed", "Fulfilled"]).await;
    let deals: Vec<_> = world.cloud.orders(ID).await.into_iter().map(|(.., deal)| deal).collect();
    for (entry, deal) in book.iter().zip(&deals) {
        assert_eq!(entry["status"]["dealId"], json!(deal));
    }
    tells(evidence(&book[0]), &["accepted", &deals[0], &deals[0], "not carried out", "status", "5 (delivery failed)"]);
    tells(&event(&world, "UpgradeFailed", FIRST).await, &[&deals[0], "5 (delivery failed)"]);
}

#[rstest]
#[tokio::test]
async fn of_a_delivery_that_does_not_show_it_is_told_since_when_it_counts_as_delivered(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-not-seen", &["--visible-after", "1h"]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    let placed = world.wait_for_book(ID, &["Placed"]).await;
    let deal = text(&placed[0]["status"]["dealId"]).to_owned();
    let [(.., number)] = world.cloud.orders(ID).await.try_into().expect("one order");
    world.cloud.put(&format!("deals/{number}"), json!({"status": 4})).await;
    world.wait_stalled("sessions", "SizeNotSeen").await;
    let entry = &world.wait_for_book(ID, &["Failed"]).await[0];
    let [delivered_at, settled_at] = ["deliveredAt", "settledAt"].map(|time| text(&entry["status"][time]));
    tells(evidence(entry), &["accepted", &deal, &deal, "delivered by", delivered_at, settled_at, "1024 MB"]);
}

#[rstest]
#[tokio::test]
async fn of_growth_bought_twice_at_a_persons_word_the_second_entry_has_that_word(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-proceed", &[]).await;
    let _operator = world.operator(&[]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    world.cloud.put(&format!("instances/{ID}"), json!({"memSize": 1024})).await;
    let stopped = world.wait_stalled("sessions", "SizeRegressed").await;
    assert_eq!(world.wait_for_events("sessions", "SizeRegressed").await.len(), 1);
    tells(stopped["status"]["conditions"].to_string().as_str(), &[FIRST, "1024 MB again", FIRST]);
    let word = format!("crs.qcloud.com/proceed-after={FIRST}");
    world.kubectl(&["annotate", "crs", "sessions", &word]).await.expect("an annotation");
    let book = world.wait_for_book(ID, &["Fulfilled", "Fulfilled"]).await;
    let [first, second] = [0, 1].map(|n| book[n]["spec"]["instanceRef"]["proceedAfter"].clone());
    assert_eq!((first, second), (Value::Null, json!(FIRST)));
    assert_eq!(world.cloud.orders(ID).await.len(), 2);
}

#[rstest]
#[tokio::test]
async fn an_entry_names_the_one_that_asked_also_when_that_was_deleted_and_made_again(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-again", &[]).await;
    let operator = world.operator(&[]);
    grows(&world, json!({"kind": "delay", "ms": 1500})).await;
    world.cloud.wait_for_order().await;
    let asked = world.get("sessions").await["metadata"]["uid"].clone();
    world.kubectl(&["delete", "crs", "sessions"]).await.expect("it is gone");
    world.apply(instance("sessions", ID, 2048)).await.expect("and there again");
    let sessions = world.wait_fulfilled("sessions").await;
    let entry = &world.book(ID).await[0];
    assert_ne!(sessions["metadata"]["uid"], asked);
    assert_eq!(entry["spec"]["instanceRef"]["uid"], asked);
    tells(&line(&operator, FIRST, "Fulfilled"), &[text(&asked)]);
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn of_several_replicas_the_log_and_the_event_tell_which_one_ordered(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "story-replicas", &[]).await;
    let operators = [world.operator(&[]), world.operator(&[])];
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let wrote: Vec<_> = operators.iter().filter(|operator| operator.log().contains("phase=Written")).collect();
    let [writer] = wrote[..] else { panic!("just one wrote the entry") };
    let written = line(writer, FIRST, "Written");
    let replica = written.split_once("replica=\"").and_then(|(_, rest)| rest.split('"').next()).expect("a replica");
    tells(&writer.log(), &["crs-operator starts", replica]);
    event(&world, "UpgradeWritten", FIRST).await;
    let events = world.kubectl(&["get", "events.events.k8s.io", "-o", "json"]).await.expect("Events");
    let events: Value = serde_json::from_str(&events).expect("JSON");
    let mut written =
        events["items"].as_array().into_iter().flatten().filter(|event| event["reason"] == "UpgradeWritten");
    assert_eq!(written.next().map(|event| &event["reportingController"]), Some(&json!("crs.qcloud.com/crs-operator")));
    let instance = events["items"].as_array().into_iter().flatten().find(|event| event["reason"] == "UpgradeWritten");
    assert_eq!(instance.map(|event| &event["reportingInstance"]), Some(&json!(replica)));
    assert_eq!(reason(&world.get("sessions").await, "Ready"), "InSync");
}
