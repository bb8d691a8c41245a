//! The dashboard for Grafana: each query that it asks is held against what the operator really exposes.

mod promql;

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Api::{self, V2, V3};
use crate::support::{World, instance, repository};
use promql::Exposition;

/// What Grafana puts in the place of its variables.
const VARIABLES: [(&str, &str); 2] = [("$namespace", "crs-system"), ("$__rate_interval", "2m")];

#[rstest]
#[tokio::test]
async fn each_query_finds_what_it_asks_for_and_each_metric_is_shown(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "dashboard", &[]).await;
    let operator = world.operator(&[]);
    world.apply(instance("grows", "crs-00000001", 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("grows").await;
    world.next_order_meets(json!({"kind": "error", "code": api.error(10703)})).await;
    world.apply(instance("refused", "crs-00000002", 2048)).await.expect("a RedisInstance");
    world.wait_stalled("refused", "InvalidMemSize").await;
    let exposed = Exposition::new(&operator.http_get("metrics", "/metrics").await);

    let (dashboard, mut wrong, mut shown) = (dashboard(), Vec::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        for target in list(&panel["targets"]) {
            let labels = exposed.check(&filled(text(&target["expr"])), &mut shown);
            let told = labels.and_then(|labels| told_apart(&labels, text(&target["legendFormat"])));
            wrong.extend(told.err().map(|why| format!("{}: {}: {why}", panel["title"], target["expr"])));
        }
    }
    for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
        let query = text(&variable["query"]["query"]);
        let asked = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')?.rsplit_once(", "));
        let (selector, label) = asked.unwrap_or_else(|| panic!("label_values(selector, label), not {query}"));
        let labels = exposed.check(selector, &mut shown);
        if !labels.as_ref().is_ok_and(|labels| labels.contains(label)) {
            wrong.push(format!("{}: {query}: {labels:?}", variable["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let own = exposed.families().into_iter().filter(|family| family.starts_with("crs_operator_"));
    let missing: Vec<_> = own.filter(|family| !shown.contains(*family)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

/// Whatever replicas and labels there are: a line of a graph is called by all that makes it another one.
fn told_apart(labels: &BTreeSet<String>, legend: &str) -> Result<(), String> {
    let called: BTreeSet<_> =
        legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim().to_owned())).collect();
    let common = ["job", "namespace"].map(str::to_owned);
    let differing = labels - &BTreeSet::from(common);
    if called == differing { Ok(()) } else { Err(format!("called by {called:?}, and different by {differing:?}")) }
}

#[test]
fn a_legend_that_calls_two_lines_the_same_or_names_what_is_not_there_is_found() {
    let labels = ["action", "code", "namespace"].map(str::to_owned).into();
    assert_eq!(told_apart(&labels, "{{action}}: {{ code }}"), Ok(()));
    assert!(told_apart(&labels, "{{action}}").is_err());
    assert!(told_apart(&labels, "{{action}} {{code}} {{instance}}").is_err());
}

#[test]
fn each_panel_says_what_to_do_has_a_place_of_its_own_and_asks_the_data_source_that_was_chosen() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "crs-operator", "links and bookmarks hold");
    let variables: Vec<_> = list(&dashboard["templating"]["list"]).iter().map(|one| text(&one["name"])).collect();
    assert_eq!(variables, ["datasource", "namespace"]);
    let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
        assert!(x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} lies on another one");
        }
    }
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(titles.insert(title), "{title} twice");
        assert!(text(&panel["description"]).len() > 80, "{title}: what to do?");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = list(&panel["targets"]);
        let refs: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        for asks in targets.iter().chain([panel]) {
            assert_eq!(asks["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{title}");
        }
        // What one install has is not mixed with another's, unless somebody wants that.
        assert!(targets.iter().all(|target| text(&target["expr"]).contains(r#"namespace=~"$namespace""#)), "{title}");
    }
}

#[tokio::test]
async fn one_command_makes_the_config_map_that_grafanas_sidecar_looks_for() {
    let world = World::new(V2, "dashboard-map", &[]).await;
    let folder = repository().join("deploy/grafana");
    let folder = folder.to_str().expect("a path in UTF-8");
    world.kubectl(&["apply", "--server-side", "-k", folder]).await.expect("a ConfigMap");
    let made = world.kubectl(&["get", "configmap", "-l", "grafana_dashboard=1", "-o", "json"]).await.expect("a list");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let data: Value = serde_json::from_str(text(&made["items"][0]["data"]["crs-operator.json"])).expect("JSON");
    assert_eq!(data, dashboard());
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(repository().join("deploy/grafana/crs-operator.json")).expect("a text file");
    serde_json::from_str(&text).expect("JSON")
}

/// Those that show something: not the rows between them.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row")
}

fn filled(query: &str) -> String {
    let query = VARIABLES.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
    assert!(!query.contains('$'), "a variable of Grafana's in {query}");
    query
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("a list, not {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}
