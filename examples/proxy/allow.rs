//! Which destinations are allowed. Public addresses are; loopback, private and other special ranges are not,
//! unless a flag opens them. Addresses are judged once they are resolved, so no name leads around that.

use std::net::IpAddr;

use ipnet::IpNet;

const LOOPBACK: &str = "127.0.0.0/8 ::1";
const PRIVATE: &str = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7";
/// Unspecified, shared, link-local, for protocols, benchmarks, multicast, reserved; and addresses of IPv6
/// that lead to one of IPv4.
const SPECIAL: &str = "0.0.0.0/8 100.64.0.0/10 169.254.0.0/16 192.0.0.0/24 198.18.0.0/15 224.0.0.0/3 \
    ::/8 100::/8 2001::/23 2002::/16 fe80::/10 fec0::/10 ff00::/8";

pub(crate) struct Rules {
    special: Vec<IpNet>,
    open: Vec<IpNet>,
}

impl Rules {
    pub(crate) fn new(open: &[Vec<IpNet>]) -> Self {
        let special = [LOOPBACK, PRIVATE, SPECIAL].join(" ");
        Self { special: ranges(&special).expect("they are ranges"), open: open.concat() }
    }

    /// Whether a connection may be made to this address.
    pub(crate) fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let is_in = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&ip));
        !is_in(&self.special) || is_in(&self.open)
    }
}

/// Reads what a flag opens.
pub(crate) fn ranges(text: &str) -> Result<Vec<IpNet>, String> {
    let text = match text {
        "all" => "0.0.0.0/0 ::/0",
        "loopback" => LOOPBACK,
        "private" => PRIVATE,
        ranges => ranges,
    };
    let address = |text: &str| text.parse::<IpAddr>().map(|ip| ip.to_canonical().into());
    let range = |text: &str| text.parse().or_else(|_| address(text));
    text.split(' ').map(range).collect::<Result<_, _>>().map_err(|_| "no address or range".into())
}
