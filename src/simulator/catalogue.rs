//! What doesn't change while the simulator runs: the cloud's regions, and what it sells in which zone.

/// A region by the names of both generations of the API, and by the number that stands in answers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Region {
    pub id: u32,
    pub short: &'static str,
    pub long: &'static str,
}

const fn region(id: u32, short: &'static str, long: &'static str) -> Region {
    Region { id, short, long }
}

static REGIONS: [Region; 15] = [
    region(1, "gz", "ap-guangzhou"),
    region(4, "sh", "ap-shanghai"),
    region(5, "hk", "ap-hongkong"),
    region(6, "ca", "na-toronto"),
    region(8, "bj", "ap-beijing"),
    region(9, "sg", "ap-singapore"),
    region(15, "usw", "na-siliconvalley"),
    region(16, "cd", "ap-chengdu"),
    region(17, "de", "eu-frankfurt"),
    region(18, "kr", "ap-seoul"),
    region(19, "cq", "ap-chongqing"),
    region(21, "in", "ap-mumbai"),
    region(22, "use", "na-ashburn"),
    region(23, "th", "ap-bangkok"),
    region(25, "jp", "ap-tokyo"),
];

/// The region of this name, in its short (`gz`) or long (`ap-guangzhou`) form.
pub(super) fn find_region(name: &str) -> Option<&'static Region> {
    REGIONS.iter().find(|region| region.short == name || region.long == name)
}

/// The zone and type that an instance gets when nothing else is said.
pub(super) const DEFAULT_ZONE: u32 = 100002;
pub(super) const CLUSTER: u8 = 1;
pub(super) const STANDALONE: u8 = 2;

#[derive(Debug)]
pub(super) struct Zone {
    /// In its long form.
    pub region: &'static str,
    pub id: u32,
    /// The id that it has in 3.0.
    pub code: &'static str,
    pub name: &'static str,
}

static GUANGZHOU_2: Zone =
    Zone { region: "ap-guangzhou", id: DEFAULT_ZONE, code: "ap-guangzhou-2", name: "Guangzhou Zone 2" };
static GUANGZHOU_3: Zone =
    Zone { region: "ap-guangzhou", id: 100003, code: "ap-guangzhou-3", name: "Guangzhou Zone 3" };
static HONG_KONG_1: Zone = Zone { region: "ap-hongkong", id: 300001, code: "ap-hongkong-1", name: "Hong Kong Zone 1" };

/// The sizes (MB of the whole instance) that are sold in a zone for a type: every multiple of 1024 for each shard.
#[derive(Debug)]
pub(super) struct Product {
    pub zone: &'static Zone,
    pub type_id: u8,
    pub min: u64,
    pub max: u64,
    pub sold_out: bool,
}

/// The example of document 260/4974, and one that is sold out. A type that a zone doesn't sell has no row. By region
/// and zone.
pub(super) static PRODUCTS: [Product; 4] = [
    Product { zone: &GUANGZHOU_2, type_id: CLUSTER, min: 1024, max: 204_800, sold_out: false },
    Product { zone: &GUANGZHOU_2, type_id: STANDALONE, min: 1024, max: 512_000, sold_out: false },
    Product { zone: &GUANGZHOU_3, type_id: CLUSTER, min: 1024, max: 204_800, sold_out: true },
    Product { zone: &HONG_KONG_1, type_id: STANDALONE, min: 1024, max: 40_960, sold_out: false },
];

/// How many shards and replicas 3.0 sells; a standard instance has one shard.
pub(super) const SHARDS: [u32; 8] = [1, 2, 3, 4, 5, 8, 12, 16];
pub(super) const REPLICAS: [u32; 5] = [1, 2, 3, 4, 5];

/// As 3.0 numbers what it sells: all here is Redis 5.0, 9 as a cluster and 8 as a standard one.
pub(super) fn product_type(type_id: u8) -> u8 {
    if type_id == CLUSTER { 9 } else { 8 }
}

/// How many shards an instance of this type may have.
pub(super) fn shards_of(type_id: u8) -> &'static [u32] {
    if type_id == CLUSTER { &SHARDS } else { &SHARDS[..1] }
}

pub(super) fn find_product(zone_id: u32, type_id: u8) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.zone.id == zone_id && product.type_id == type_id)
}
