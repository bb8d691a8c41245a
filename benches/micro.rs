//! What one of each costs: a decision, a signature, a page of the cloud's list, an answer of `/metrics`.
//!
//! `cargo bench --bench micro --features benchmarks`, about half a minute; a name behind `--` measures just those that have it in theirs.

#![recursion_limit = "256"] // the long row in one `json!`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use crs_operator::benchmarks::{SIZE, decision, metrics, rows_v2, rows_v3, signature_v2, signature_v3};
use crs_operator::cloud::v2::SignatureMethod;
use serde_json::{Value, json};

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for (name, declared, orders) in [("in-sync", SIZE, false), ("to-grow", SIZE + 1024, true)] {
        let decide = decision(declared).expect("objects");
        assert_eq!(decide(), orders, "{name}");
        group.bench_function(name, |bencher| bencher.iter(&decide));
    }
}

fn sign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    let v2 = |method| signature_v2(method).expect("a client");
    group.bench_function("v2-HmacSHA1", |bencher| bencher.iter(v2(SignatureMethod::HmacSha1)));
    group.bench_function("v2-HmacSHA256", |bencher| bencher.iter(v2(SignatureMethod::HmacSha256)));
    group.bench_function("v3-TC3-HMAC-SHA256", |bencher| bencher.iter(signature_v3()));
}

fn read(criterion: &mut Criterion) {
    read_page(criterion, "v2-100-instances", rows_v2, 100, &page_v2(100));
    read_page(criterion, "v3-1000-instances", rows_v3, 1000, &page_v3(1000));
}

fn read_page(criterion: &mut Criterion, name: &str, rows: fn(Vec<u8>) -> usize, count: usize, page: &Value) {
    let page = page.to_string().into_bytes();
    assert_eq!(rows(page.clone()), count, "{name}");
    let mut group = criterion.benchmark_group("read-page");
    group.throughput(Throughput::ElementsAndBytes { elements: count as u64, bytes: page.len() as u64 });
    group.bench_function(name, |bencher| {
        bencher.iter_batched(|| page.clone(), |page| rows(black_box(page)), BatchSize::LargeInput);
    });
}

fn expose(criterion: &mut Criterion) {
    criterion.bench_function("answer-metrics", |bencher| bencher.iter(metrics()));
}

/// As document 260/1384 has it.
fn page_v2(count: usize) -> Value {
    let row = |n| {
        json!({
            "redisId": format!("crs-{n:08}"), "redisName": format!("cache-{n}"), "projectId": 0, "regionId": 1, "zoneId": 100_002,
            "vpcId": 0, "subnetId": 0, "status": 2, "statusDesc": "Running", "size": 2048, "sizeUsed": 612, "typeId": 2,
            "wanIp": "10.66.101.13", "port": 6379, "createtime": "2025-06-06 11:28:20", "deadlineTime": "2027-06-06 11:28:20",
            "autoRenewFlag": 0,
        })
    };
    let rows: Vec<_> = (0..count).map(row).collect();
    json!({"code": 0, "message": "", "codeDesc": "Success", "totalCount": count, "data": {"redisSet": rows}})
}

/// As document 239/20022 has it: an instance with one replica, tags, and most of what else may stand in a row.
fn page_v3(count: usize) -> Value {
    let node = |n: usize, kind| json!({"NodeType": kind, "NodeId": n, "ZoneId": 100_002});
    let tag = |key, value| json!({"TagKey": key, "TagValue": value});
    let row = |n| {
        json!({
            "InstanceName": format!("cache-{n}"), "InstanceId": format!("crs-{n:08}"), "Appid": 1_251_006_373, "ProjectId": 0,
            "RegionId": 1, "ZoneId": 100_002, "VpcId": 0, "SubnetId": 0, "Status": 2, "WanIp": "10.66.101.13", "Port": 6379,
            "Createtime": "2025-06-06 11:28:20", "Size": 2048.0, "SizeUsed": 612.25, "Type": 8, "AutoRenewFlag": 1,
            "DeadlineTime": "2027-06-06 11:28:20", "Engine": "Redis", "ProductType": "standalone", "UniqVpcId": "vpc-fk33jsf4",
            "UniqSubnetId": "subnet-fd3j6l35", "BillingMode": 1, "InstanceTitle": "运行中", "OfflineTime": "2027-06-13 11:28:20",
            "SubStatus": 0, "Tags": [], "InstanceNode": [], "RedisShardSize": 2048, "RedisShardNum": 1, "RedisReplicasNum": 1,
            "PriceId": 17_314, "CloseTime": "2027-06-13 11:28:20", "SlaveReadWeight": 0,
            "InstanceTags": [tag("team", "shop"), tag("env", "production")], "ProjectName": "默认项目", "NoAuth": false,
            "ClientLimit": 10_000, "DtsStatus": 0, "NetLimit": 768, "PasswordFree": 0, "IPv6": "", "ReadOnly": 0, "Vip6": "",
            "RemainBandwidthDuration": "", "DiskSize": 0, "MonitorVersion": "1m", "ClientLimitMin": 10_000, "ClientLimitMax": 40_000,
            "NodeSet": [node(2 * n, 0), node(2 * n + 1, 1)], "Region": "ap-guangzhou", "WanAddress": "", "PolarisServer": "",
            "CurrentProxyVersion": "5.8.12", "CurrentRedisVersion": "5.0.14", "UpgradeProxyVersion": "", "UpgradeRedisVersion": "",
            "BackupMode": "", "DeleteProtectionSwitch": 1,
        })
    };
    let rows: Vec<_> = (0..count).map(row).collect();
    let id = "9b3f2a6e-7c1d-4e58-a0f4-2d6b8c9e1f37";
    json!({"Response": {"TotalCount": count, "InstanceSet": rows, "RequestId": id}})
}

criterion_group! {
    name = micro;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = decide, sign, read, expose
}
criterion_main!(micro);
