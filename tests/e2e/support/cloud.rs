//! The simulated cloud, and its side of the story.

use std::process::Command;

use reqwest::Method;
use serde_json::Value;

use super::children::Child;
use super::{Api, wait_for};

pub struct Simulator {
    _child: Child,
    url: String,
    http: reqwest::Client,
}

impl Simulator {
    pub fn start(name: &str, arguments: &[&str]) -> Simulator {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crs-operator"));
        command.args(["simulate", "--listen", "127.0.0.1:0"]).args(arguments);
        let (child, url) = Child::start_and_read_line(&format!("{name}-simulator"), &mut command);
        Simulator { _child: child, url, http: reqwest::Client::new() }
    }

    /// What `--api-endpoint` takes.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn ledger(&self) -> Value {
        self.get("ledger").await
    }

    /// The orders that were accepted for one instance: (from, to, dealId).
    pub async fn orders(&self, redis_id: &str) -> Vec<(i64, i64, String)> {
        let ledger = self.ledger().await;
        let orders = ledger["orders"].as_array().expect("a list of orders");
        let of_it = orders.iter().filter(|order| order["redisId"] == redis_id);
        of_it.map(|order| (number(&order["from"]), number(&order["to"]), text(&order["dealId"]))).collect()
    }

    /// The same as (from, to).
    pub async fn sizes_ordered(&self, redis_id: &str) -> Vec<(i64, i64)> {
        self.orders(redis_id).await.into_iter().map(|(from, to, _)| (from, to)).collect()
    }

    /// The codes with which orders for one instance were refused, as the API writes them.
    pub async fn refusals(&self, redis_id: &str) -> Vec<Value> {
        let ledger = self.ledger().await;
        let refused = ledger["refused"].as_array().expect("a list of refusals");
        let of_it = refused.iter().filter(|refused| refused["redisId"] == redis_id);
        of_it.filter(|refused| is_upgrade(&refused["action"])).map(|refused| refused["code"].clone()).collect()
    }

    /// How often an order was asked for, by whichever API.
    pub async fn upgrades(&self) -> i64 {
        self.calls(Api::upgrade).await
    }

    /// How often somebody looked at instances.
    pub async fn looks(&self) -> i64 {
        self.calls(Api::describe).await
    }

    /// Waits until somebody has looked `more` times since there were `before` looks.
    pub async fn wait_for_looks_since(&self, before: i64, more: i64) {
        wait_for(&format!("{more} more looks"), async || {
            let now = self.looks().await;
            if now >= before + more { Ok(()) } else { Err(format!("{} more", now - before)) }
        })
        .await;
    }

    /// The same from now on.
    pub async fn wait_for_looks(&self, more: i64) {
        self.wait_for_looks_since(self.looks().await, more).await;
    }

    async fn calls(&self, action: fn(Api) -> &'static str) -> i64 {
        let ledger = self.ledger().await;
        [Api::V2, Api::V3].iter().map(|api| ledger["calls"][action(*api)].as_i64().unwrap_or(0)).sum()
    }

    /// Waits until an order has arrived, whatever becomes of it.
    pub async fn wait_for_order(&self) {
        wait_for("the order", async || if self.upgrades().await > 0 { Ok(()) } else { Err("none".into()) }).await;
    }

    /// Waits until an instance has this size.
    pub async fn wait_for_size(&self, redis_id: &str, size: i64) {
        wait_for(&format!("{redis_id} to have {size} MB in the cloud"), async || {
            let seen = self.get(&format!("instances/{redis_id}")).await;
            if seen["memSize"] == size { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/_sim/{path}", self.url)).send().await.expect("the simulator answers");
        let body = answer.bytes().await.expect("a whole answer");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body:?}"))
    }

    pub async fn put(&self, path: &str, body: Value) {
        self.send(Method::PUT, path, body).await;
    }

    pub async fn post(&self, path: &str, body: Value) {
        self.send(Method::POST, path, body).await;
    }

    async fn send(&self, method: Method, path: &str, body: Value) {
        let request = self.http.request(method, format!("{}/_sim/{path}", self.url)).body(body.to_string());
        let answer = request.send().await.expect("the simulator answers");
        let status = answer.status();
        assert!(status.is_success(), "{path} {body}: {status} {}", answer.text().await.unwrap_or_default());
    }
}

fn is_upgrade(action: &Value) -> bool {
    [Api::V2, Api::V3].iter().any(|api| action == api.upgrade())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}
