//! What the cloud's error codes mean: the one table, for both generations of its API. Numbers are version 2's (239/1757, 239/1758,
//! 239/5328), names are 3.0's (239/20013 and the vendor's own libraries).

/// What a code means for whoever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// There is no such instance.
    NoInstance,
    /// The instance is busy, locked, isolated or deleted.
    Busy,
    /// A size that is none.
    InvalidSize,
    /// A size that isn't sold.
    SizeNotInRange,
    /// Not above the present size.
    NoShrink,
    /// The account can't pay.
    BalanceLow,
    /// A deal was made, and not paid: it may be yet.
    Unpaid,
    /// The cloud has none left to sell.
    SoldOut,
    /// Who asks isn't known.
    Credentials,
    /// Who asks is known, and may not.
    Forbidden,
    /// Too many calls.
    Throttled,
    /// Something in the request is none: the region, most likely.
    InvalidParameter,
    /// Refused for another reason that lasts.
    Refused,
    /// The time of the request doesn't fit the cloud's.
    Clock,
    /// This one request failed in the cloud; nothing is said of how far it came.
    Failed,
    /// The cloud as a whole is in trouble, which passes.
    Trouble,
    /// Anything else.
    Unknown,
}

impl Meaning {
    /// Did the cloud refuse an order for sure? Only then can nothing come of it any more. Everything else leaves the outcome unknown
    /// (invariant B5): "internal error" and "operation failed, retry" have been seen after orders that were carried out, and an expired or
    /// repeated Timestamp speaks of the copy of the request that it came with.
    pub fn is_plain_refusal(self) -> bool {
        !matches!(self, Self::Unpaid | Self::Clock | Self::Failed | Self::Trouble | Self::Unknown)
    }
}

/// What an error in the book means, of either API: it has this number, and was written so by the cloud. A name counts before the number that
/// it mirrors: `PayFailed` is no plain refusal, though it mirrors one.
pub fn meaning(code: Option<i64>, cloud_code: Option<&str>) -> Meaning {
    match cloud_code.filter(|code| code.starts_with(|c: char| c.is_ascii_alphabetic())) {
        Some(name) => of_name(name).0,
        None => code.map_or(Meaning::Unknown, of_number),
    }
}

/// Code and name in a sentence: `11057 ReduceCapacityNotAllowed`; a code of 3.0 has its name in it.
pub fn told(cloud_code: Option<&str>, code_desc: &str) -> String {
    match cloud_code {
        Some(code) if code.ends_with(code_desc) => code.to_owned(),
        Some(code) => format!("{code} {code_desc}"),
        None => code_desc.to_owned(),
    }
}

/// The error's code as the label of a metric: a documented number, or the name's family. `other` for any else, so that a hostile cloud can't
/// make series without end.
pub fn label(meaning: Meaning, code: Option<i64>, cloud_code: Option<&str>) -> String {
    let number = code.filter(|code| documented(*code).is_some()).map(|code| code.to_string());
    let family = cloud_code.map(family).filter(|_| code.is_none() && meaning != Meaning::Unknown);
    number.or_else(|| family.map(str::to_owned)).unwrap_or_else(|| "other".to_owned())
}

/// The part before the dot.
fn family(name: &str) -> &str {
    name.split_once('.').map_or(name, |(family, _)| family)
}

/// Names of codes for answers that don't have them (239/1757 and the actions' own pages).
pub(super) fn documented(code: i64) -> Option<&'static str> {
    Some(match code {
        4000 => "InvalidParameter",
        4100 => "AuthFailure",
        4101 => "UnauthorizedInterface",
        4102 => "UnauthorizedResource",
        4103 => "UnauthorizedOperation",
        4104 => "SecretIdNotFound",
        4105 => "TokenFailure",
        4106 => "MfaFailure",
        4110 => "Unauthorized",
        4200 => "RequestExpired",
        4300 => "AccessDenied",
        4400 => "QuotaExceeded",
        4500 => "ReplayAttack",
        4600 => "UnsupportedProtocol",
        5000 => "ResourceNotFound",
        5100 => "OperationFailed",
        5200 => "PurchaseFailed",
        5300 => "BalanceInsufficient",
        5400 => "PartiallySucceeded",
        5500 => "NotQualified",
        6000 => "InternalError",
        6100 => "VersionNotSupported",
        6200 => "TemporarilyUnavailable",
        10701 => "InstanceNotExists",
        10702 => "InstanceStatusAbnormal",
        10703 => "InvalidMemSize",
        11052 => "UserNotInWhiteList",
        11057 => "ReduceCapacityNotAllowed",
        11059 => "DealIdNotFound",
        11063 => "MemSizeNotInRange",
        11201 => "InvalidParameter",
        100207 => "AccountBalanceNotEnough",
        _ => return None,
    })
}

/// Of version 2.
pub(super) fn of_number(code: i64) -> Meaning {
    use Meaning::*;
    match code {
        // UpgradeRedis's own (239/5328)
        10701 => NoInstance,
        10702 => Busy,
        10703 => InvalidSize,
        11063 => SizeNotInRange,
        11057 => NoShrink,
        // 5300: the common code for the same
        100_207 | 5300 => BalanceLow,
        5200 => SoldOut,
        // refused before it was looked at
        4101..=4103 | 4300 => Forbidden,
        4100..=4110 => Credentials,
        4400 => Throttled,
        4000 => InvalidParameter,
        4600 => Refused,
        // no such resource; not qualified
        5000 | 5500 => Refused,
        4200 | 4500 => Clock,
        // operation failed, retry; partly done
        5100 | 5400 => Failed,
        // internal, wrong version, closed
        6000..=6999 => Trouble,
        _ => Unknown,
    }
}

/// Of 3.0: meaning and mirrored number. What 3.0's own table names comes first, then families by the part before the dot.
pub(super) fn of_name(name: &str) -> (Meaning, Option<i64>) {
    use Meaning::*;
    match name {
        // Checks of the order against the instance, before anything is bought. They mirror version 2's.
        "ResourceNotFound.InstanceNotExists" => (NoInstance, Some(10701)),
        "ResourceUnavailable.InstanceStatusAbnormal"
        | "ResourceUnavailable.InstanceStatusError"
        | "ResourceUnavailable.InstanceStateError"
        | "ResourceUnavailable.InstanceLockedError"
        | "ResourceUnavailable.InstanceDeleted"
        | "ResourceUnavailable.InstanceIsolated"
        // Also while its status says running: another task has it.
        | "ResourceInUse.InstanceBeenLocked" => (Busy, Some(10702)),
        "LimitExceeded.InvalidMemSize" | "InvalidParameterValue.SpecNotExist" => (InvalidSize, Some(10703)),
        "InvalidParameterValue.MemSizeNotInRange" | "LimitExceeded.MemSizeNotInRange" => (SizeNotInRange, Some(11063)),
        "InvalidParameterValue.ReduceCapacityNotAllowed" => (NoShrink, Some(11057)),
        // There is no stock: nothing was bought.
        "ResourceInsufficient" | "ResourceUnavailable.SaleOut" => (SoldOut, Some(5200)),
        // Refused before a deal was made. (The vendor's comment, "order id does not exist", is not its name: the name is trusted.)
        "ResourceUnavailable.AccountBalanceNotEnough" => (BalanceLow, Some(100_207)),
        // A deal was made and not paid: it may be paid yet. Not plain.
        "FailedOperation.PayFailed" => (Unpaid, Some(100_207)),
        // In answer to the question for a deal.
        "ResourceUnavailable.InstanceNoDeal" => (Unknown, Some(11059)),
        // A right that is missing, though its family is another.
        "InvalidParameter.PermissionDenied" => (Forbidden, None),
        // What the instance is: it can't be upgraded at all, whatever the order. Nothing was tried.
        "UnsupportedOperation.LowVersion" => (Refused, None),
        // Says something of this copy of the request only, and there is no replay protection: not plain.
        "AuthFailure.SignatureExpire" => (Clock, None),
        // Made after the request was carried out: not plain.
        "ResponseSizeLimitExceeded" => (Failed, None),
        _ => {
            let meaning = match family(name) {
                // Authentication: whoever can't show who he is gets no further.
                "AuthFailure" => Credentials,
                "UnauthorizedOperation" | "IpInBlacklist" | "IpNotInWhitelist" => Forbidden,
                // Limits of calls: refused at the door.
                "RequestLimitExceeded" => Throttled,
                // The request is read, and is wrong, before it is carried out.
                "InvalidParameter" | "InvalidParameterValue" | "UnsupportedRegion" => InvalidParameter,
                "MissingParameter" | "UnknownParameter" | "UnsupportedProtocol" | "RequestSizeLimitExceeded" => Refused,
                "InvalidAction" | "InvalidRequest" | "NoSuchProduct" | "NoSuchVersion" => Refused,
                // A limit of the account or the instance: checked before it is passed.
                "LimitExceeded" => Refused,
                // "Failed", "unknown" and "internal" have come after orders that were carried out: not plain.
                "FailedOperation" => Failed,
                "InternalError" | "ServiceUnavailable" => Trouble,
                _ => Unknown,
            };
            (meaning, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_refusals_of_version_2_are_just_those_of_invariant_b5() {
        let plain = |code| meaning(Some(code), Some(&code.to_string())).is_plain_refusal();
        let named: Vec<i64> = (-10..200_000).filter(|code| plain(*code)).collect();
        let rest = [4300, 4400, 4600, 5000, 5200, 5300, 5500, 10701, 10702, 10703, 11057, 11063, 100_207];
        let all: Vec<i64> = [4000].into_iter().chain(4100..=4110).chain(rest).collect();
        assert_eq!(named, all);
    }

    #[test]
    fn each_name_that_mirrors_a_number_means_what_that_number_means_but_for_pay_failed() {
        for name in [
            "ResourceNotFound.InstanceNotExists",
            "ResourceUnavailable.InstanceStatusAbnormal",
            "ResourceInUse.InstanceBeenLocked",
            "ResourceUnavailable.InstanceIsolated",
            "LimitExceeded.InvalidMemSize",
            "InvalidParameterValue.SpecNotExist",
            "LimitExceeded.MemSizeNotInRange",
            "InvalidParameterValue.ReduceCapacityNotAllowed",
            "ResourceUnavailable.AccountBalanceNotEnough",
            "ResourceInsufficient",
            "ResourceUnavailable.SaleOut",
        ] {
            let number = of_name(name).1;
            assert!(number.is_some(), "{name}");
            assert_eq!(meaning(number, Some(name)), meaning(number, None), "{name}");
        }
        assert_eq!(of_name("FailedOperation.PayFailed"), (Meaning::Unpaid, Some(100_207)));
        assert!(!Meaning::Unpaid.is_plain_refusal());
    }

    #[test]
    fn authentication_parameter_and_limit_errors_of_3_0_are_plain_and_what_failed_is_not() {
        for plain in [
            "AuthFailure.SignatureFailure",
            "AuthFailure.TokenFailure",
            "UnauthorizedOperation.NoCAMAuthed",
            "InvalidParameter",
            "InvalidParameter.PermissionDenied",
            "InvalidParameterValue.UnSupportedType",
            "MissingParameter",
            "UnsupportedRegion",
            "UnsupportedOperation.LowVersion",
            "LimitExceeded",
            "RequestLimitExceeded.UinLimitExceeded",
        ] {
            assert!(meaning(None, Some(plain)).is_plain_refusal(), "{plain}");
        }
        for unknown in [
            "AuthFailure.SignatureExpire",
            "FailedOperation.PayFailed",
            "FailedOperation.Unknown",
            "FailedOperation.SystemError",
            "InternalError",
            "InternalError.InternalError",
            "ResourceUnavailable",
            "ResourceNotFound",
            "ResourceInUse",
            "UnsupportedOperation",
            "ResponseSizeLimitExceeded",
            "InvalidParameters",
            "AccountNotEnoughToPay",
            "",
        ] {
            assert!(!meaning(None, Some(unknown)).is_plain_refusal(), "{unknown}");
        }
    }

    #[test]
    fn code_and_name_are_told_once() {
        assert_eq!(told(Some("11057"), "ReduceCapacityNotAllowed"), "11057 ReduceCapacityNotAllowed");
        assert_eq!(told(Some("FailedOperation.Unknown"), "Unknown"), "FailedOperation.Unknown");
        assert_eq!(told(None, "Timeout"), "Timeout");
    }

    #[test]
    fn labels_are_of_a_bounded_set() {
        for (code, cloud_code, expected) in [
            (Some(11057), "11057", "11057"),
            (Some(11057), "InvalidParameterValue.ReduceCapacityNotAllowed", "11057"),
            (Some(4711), "4711", "other"),
            (None, "AuthFailure.TokenFailure", "AuthFailure"),
            (None, "FailedOperation.Whatever", "FailedOperation"),
            (None, "Whatever.Else", "other"),
        ] {
            assert_eq!(label(meaning(code, Some(cloud_code)), code, Some(cloud_code)), expected);
        }
    }

    #[test]
    fn reads_wait_for_what_passes_and_tell_of_the_rest() {
        for (name, expected) in [
            ("AuthFailure.SignatureExpire", Meaning::Clock),
            ("RequestLimitExceeded", Meaning::Throttled),
            ("InternalError.NetWorkErr", Meaning::Trouble),
            ("FailedOperation.SystemError", Meaning::Failed),
            ("UnsupportedRegion", Meaning::InvalidParameter),
            ("AuthFailure.SecretIdNotFound", Meaning::Credentials),
        ] {
            assert_eq!(meaning(None, Some(name)), expected, "{name}");
        }
        assert_eq!(meaning(None, None), Meaning::Unknown);
    }
}
