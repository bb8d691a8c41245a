//! Traces: what a collector gets, and that one which is away or hangs holds up nothing.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::Api::{self, V2, V3};
use crate::support::{Collector, SECRET_ID, World, instance, secret};

const ID: &str = "crs-00000001";

#[rstest]
#[tokio::test]
async fn an_order_and_the_look_before_it_are_in_the_trace_of_their_reconcile(#[values(V2, V3)] api: Api) {
    let (world, collector) = (World::new(api, "traces", &[]).await, Collector::start().await);
    let operator = world.operator(&["--otlp-endpoint", collector.url()]);
    // The order outlasts the reconcile that has written it.
    world.next_order_meets(json!({"kind": "delay", "ms": 1000})).await;
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    // What is left comes when it ends.
    assert_eq!(operator.terminate().await.code(), Some(0));
    let spans = collector.spans();

    let orders: Vec<_> = spans.iter().filter(|span| span.name == api.upgrade()).collect();
    let [order] = orders[..] else { panic!("one order, not {orders:#?}") };
    let reconcile = spans.iter().find(|span| Some(&span.id) == order.parent.as_ref()).expect("its reconcile");
    assert_eq!((reconcile.name.as_str(), &reconcile.parent, &reconcile.error), ("reconcile", &None, &None));
    for (attribute, value) in [
        ("k8s.namespace.name", world.namespace.as_str()),
        ("k8s.object.kind", "RedisInstance"),
        ("k8s.object.name", "sessions"),
        ("crs.redis_id", ID),
        ("cloud.region", "gz"),
    ] {
        assert_eq!(reconcile.get(attribute), value, "{attribute} in {reconcile:#?}");
    }
    let calls: Vec<_> = spans.iter().filter(|span| span.parent.as_ref() == Some(&reconcile.id)).collect();
    let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, [api.describe(), api.upgrade()], "{calls:#?}");
    for call in calls {
        assert_eq!((&call.trace, call.kind, &call.error), (&reconcile.trace, 3, &None), "{call:#?}");
        for (attribute, value) in [
            ("rpc.system.name", "qcloud"),
            ("rpc.method", call.name.as_str()),
            ("rpc.response.status_code", "0"),
            ("server.address", "127.0.0.1"),
            ("crs.redis_id", ID),
            ("cloud.region", "gz"),
        ] {
            assert_eq!(call.get(attribute), value, "{attribute} in {call:#?}");
        }
    }
    assert!(reconcile.end < order.end, "a reconcile ends when it does: {reconcile:#?}, {order:#?}");

    // Those of readers are nobody's.
    assert!(spans.iter().any(|span| span.name == api.describe() && span.parent.is_none()), "{spans:#?}");
    for span in &spans {
        assert!(span.name == "reconcile" || span.attributes.contains_key("rpc.method"), "one of ours: {span:#?}");
        assert_eq!(span.process["service.name"], "crs-operator");
        assert_eq!(span.process["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(!span.process["service.instance.id"].is_empty());
    }
}

#[rstest]
#[tokio::test]
async fn a_call_that_fails_says_so_with_the_clouds_own_code(#[values(V2, V3)] api: Api) {
    let (world, collector) = (World::new(api, "untraced", &[]).await, Collector::start().await);
    world.apply(secret("wrong-key", SECRET_ID, "not-the-key")).await.expect("a Secret");
    let _operator = world.operator(&["--otlp-endpoint", collector.url()]);
    let mut manifest = instance("sessions", ID, 2048);
    manifest["spec"]["credentialsSecretRef"]["name"] = json!("wrong-key");
    world.apply(manifest).await.expect("a RedisInstance");
    let refused = collector.wait_for("a refused call", |span| span.error.is_some()).await;
    let [_, code] = api.told(4100);
    assert_eq!((refused.name.as_str(), json!(refused.get("rpc.response.status_code"))), (api.describe(), code));
    // What each API calls this one.
    assert!(["AuthFailure", "SignatureFailure"].contains(&refused.get("error.type")), "{refused:#?}");
}

#[rstest]
#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_changes_nothing(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "no-traces", &[]).await;
    let url = {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://{}", closed.local_addr().expect("its address"))
    };
    let operator = world.operator(&["--otlp-endpoint", &url]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    // By then it was tried many times.
    world.cloud.wait_for_looks(3).await;
    let log = operator.log();
    assert_eq!(log.matches("traces can't be delivered").count(), 1, "{log}");
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_growth_nor_the_end(#[values(V2, V3)] api: Api) {
    let world = World::new(api, "stuck-traces", &[]).await;
    // Connections are taken, by the kernel, and nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let operator =
        world.operator(&["--otlp-endpoint", &format!("http://{}", silent.local_addr().expect("its address"))]);
    world.apply(instance("sessions", ID, 2048)).await.expect("a RedisInstance");
    world.wait_fulfilled("sessions").await;
    let (_delivery, _) = silent.accept().await.expect("a delivery");
    let told = Instant::now();
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(4), "it took {:?} to end", told.elapsed());
    assert_eq!(world.cloud.orders(ID).await.len(), 1);
}
