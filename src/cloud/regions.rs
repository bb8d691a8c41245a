//! The two names that each region has: older documents say `gz`, newer ones `ap-guangzhou`.

const REGIONS: [(&str, &str); 15] = [
    ("gz", "ap-guangzhou"),
    ("sh", "ap-shanghai"),
    ("bj", "ap-beijing"),
    ("cd", "ap-chengdu"),
    ("cq", "ap-chongqing"),
    ("hk", "ap-hongkong"),
    ("sg", "ap-singapore"),
    ("th", "ap-bangkok"),
    ("kr", "ap-seoul"),
    ("jp", "ap-tokyo"),
    ("in", "ap-mumbai"),
    ("de", "eu-frankfurt"),
    ("ca", "na-toronto"),
    ("usw", "na-siliconvalley"),
    ("use", "na-ashburn"),
];

/// The form that version 2 takes; a region that isn't known goes through as it is.
pub fn short(region: &str) -> &str {
    REGIONS.iter().find(|(_, long)| *long == region).map_or(region, |(short, _)| short)
}

/// The form that API 3.0 takes; a region that isn't known goes through as it is.
pub fn long(region: &str) -> &str {
    REGIONS.iter().find(|(short, _)| *short == region).map_or(region, |(_, long)| long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_form_of_each_region_gives_both() {
        for (one, other) in REGIONS {
            assert_eq!((short(one), short(other)), (one, one));
            assert_eq!((long(one), long(other)), (other, other));
        }
    }

    #[test]
    fn an_unknown_region_goes_through_as_it_is() {
        assert_eq!((short("ap-nowhere"), long("nw")), ("ap-nowhere", "nw"));
    }
}
