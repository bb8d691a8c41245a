//! Many RedisInstances of one world, and the reckoning with all of them.

use serde_json::{Value, json};

use super::{World, condition, instance, stalled_with, wait_for};

/// Name and redisId of the n-th, from 1.
pub fn member(n: usize) -> (String, String) {
    (format!("cache-{n}"), format!("crs-{n:08}"))
}

impl World {
    /// The first `count` members at this size.
    pub async fn declare_all(&self, count: usize, mem_size: i64) {
        let all: Vec<_> = (1..=count).map(member).map(|(name, id)| instance(&name, &id, mem_size)).collect();
        self.apply(json!({"apiVersion": "v1", "kind": "List", "items": all})).await.expect("RedisInstances");
    }

    pub async fn declare(&self, n: usize, mem_size: i64) {
        self.patch(&member(n).0, json!({"spec": {"memSize": mem_size}})).await;
    }

    /// Waits until all members have what they declare, nothing in the book is open, and it knows each deal. Then there was one order for each
    /// step of `sizes`, which all of them had one after the other, and the book tells the same as the ledger. Where three orders in a
    /// row were lost, and only there, a person says go on.
    pub async fn settles_and_has_paid_once(&self, count: usize, sizes: &[i64]) {
        self.settles_with_deals_lost(count, sizes, |_| false).await;
    }

    /// The same where of some members' orders nobody may have the answer.
    pub async fn settles_with_deals_lost(&self, count: usize, sizes: &[i64], may_be_lost: impl Fn(usize) -> bool) {
        let may_be_lost: Vec<_> = (1..=count).filter(|n| may_be_lost(*n)).map(|n| member(n).1).collect();
        let lacks_its_deal = |entry: &Value| {
            let status = &entry["status"];
            let id = entry["spec"]["redisId"].as_str().unwrap_or_default();
            status["phase"] == "Fulfilled" && status["dealId"].is_null() && may_be_lost.iter().all(|lost| lost != id)
        };
        let book = wait_for("all to settle", async || {
            let waiting = self.unsettled().await;
            let book = self.list("RedisUpgrade", &self.book_namespace).await;
            let open: Vec<_> = book.iter().filter(|entry| is_open(entry) || lacks_its_deal(entry)).collect();
            if waiting.is_empty() && open.is_empty() { Ok(book) } else { Err(format!("{waiting:?} {open:?}")) }
        })
        .await;
        let ledger = self.cloud.ledger().await;
        let orders = ledger["orders"].as_array().expect("a list of orders");
        for (_, id) in (1..=count).map(member) {
            let ordered: Vec<_> = orders.iter().filter(|order| order["redisId"] == id.as_str()).collect();
            let steps: Vec<_> = ordered.iter().map(|order| [&order["from"], &order["to"]]).collect();
            assert_eq!(json!(steps), json!(sizes.windows(2).collect::<Vec<_>>()), "{id}: {ledger}");
            let entries: Vec<_> = book.iter().filter(|entry| entry["spec"]["redisId"] == id.as_str()).collect();
            let (kept, lost): (Vec<_>, Vec<_>) =
                entries.iter().partition(|entry| entry["status"]["phase"] == "Fulfilled");
            assert_eq!(kept.len(), ordered.len(), "{id}: {entries:?}");
            for order in ordered {
                let is_its = |entry: &&&Value| entry["spec"]["to"] == order["to"];
                let entry = kept.iter().find(is_its).unwrap_or_else(|| panic!("no entry of {order}: {entries:?}"));
                let deal = &entry["status"]["dealId"];
                assert!(deal.is_null() || *deal == order["dealId"], "{order}: {entry}");
            }
            let nothing_came =
                |entry: &Value| ["Abandoned", "Refused"].map(Value::from).contains(&entry["status"]["phase"]);
            assert!(lost.into_iter().all(nothing_came), "{id}: {entries:?}");
        }
    }

    /// What those say that don't have what they declare.
    async fn unsettled(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        for instance in self.list("RedisInstance", &self.namespace).await {
            let (name, status) = (instance["metadata"]["name"].as_str().unwrap_or_default(), &instance["status"]);
            if stalled_with(&instance, "OutcomeUnknown") && self.lost_three_in_a_row(&instance).await {
                let proceed_after = json!({"crs.qcloud.com/proceed-after": status["upgrade"]["name"]});
                self.patch(name, json!({"metadata": {"annotations": proceed_after}})).await;
            }
            let settled = condition(&instance, "Ready") == "True"
                && status["observedGeneration"] == instance["metadata"]["generation"]
                && status["memSize"] == instance["spec"]["memSize"];
            if !settled {
                waiting.push(format!("{name}: {status}"));
            }
        }
        waiting
    }

    /// Not if it has gone on meanwhile. To be asked for help with fewer lost is a fault.
    async fn lost_three_in_a_row(&self, instance: &Value) -> bool {
        let book = self.book(instance["spec"]["redisId"].as_str().unwrap_or_default()).await;
        let newest = book.iter().rev().map(|entry| &entry["status"]);
        let nothing_came = newest.take_while(|status| status["phase"] == "Abandoned" || status["phase"] == "Refused");
        let lost = nothing_came
            .filter(|status| status["phase"] == "Abandoned" && status["error"]["codeDesc"] != "NeverSent")
            .count();
        assert!(lost == 0 || lost >= 3, "it asks for help after {lost} lost orders: {book:?}");
        lost > 0
    }
}

fn is_open(entry: &Value) -> bool {
    ["Written", "Placed"].contains(&entry["status"]["phase"].as_str().unwrap_or("Written"))
}
