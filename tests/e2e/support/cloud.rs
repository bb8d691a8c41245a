//! The simulated cloud, and its side of the story.

use std::process::Command;

use reqwest::Method;
use serde_json::Value;

use super::children::Child;

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

    /// How often an action was called.
    pub async fn calls(&self, action: &str) -> i64 {
        self.ledger().await["calls"][action].as_i64().unwrap_or(0)
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

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("a number, not {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}
