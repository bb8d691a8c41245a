use kube::CustomResourceExt;
fn main(){ for c in [crs_operator::api::RedisInstance::crd(), crs_operator::api::RedisUpgrade::crd()] { println!("---\n{}", serde_saphyr::to_string(&c).unwrap()); } }
