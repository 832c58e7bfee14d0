//! Which destinations are allowed. Public addresses are; loopback, private and other special ranges are not,
//! unless a rule opens them. Addresses are judged once they are resolved, so no name leads around that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// What is open though it is in a special range.
    open: Vec<Rule>,
    /// If there are any: the only hosts.
    only: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    All,
    Net(IpAddr, u8),
    Name(String),
}

const LOOPBACK: [(IpAddr, u8); 2] =
    [(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
const PRIVATE: [(IpAddr, u8); 4] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
];
/// Unspecified, shared, link-local, for protocols, benchmarks, multicast, reserved; and addresses of IPv6
/// that lead to one of IPv4.
const SPECIAL: [(IpAddr, u8); 14] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 0)), 24),
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 3),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 96),
    (IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)), 32),
    (IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), 8),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0)), 23),
    (IpAddr::V6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

impl Rules {
    /// Opens `loopback`, `private`, `all`, an address, a range (`10.1.0.0/16`) or a name, each but the ranges
    /// with a port if it is to be that port alone.
    pub(crate) fn allow(&mut self, rule: &str) -> Result<(), String> {
        let open = |what, port| Rule { what, port };
        let nets = |nets: &[(IpAddr, u8)]| {
            nets.iter().map(|(at, bits)| open(What::Net(*at, *bits), None)).collect()
        };
        let rules: Vec<Rule> = match rule {
            "all" => vec![open(What::All, None)],
            "loopback" => nets(&LOOPBACK),
            "private" => nets(&PRIVATE),
            _ => vec![one(rule).ok_or_else(|| format!("no address, range or name: {rule}"))?],
        };
        self.open.extend(rules);
        Ok(())
    }

    /// Allows these hosts and no others: `example.org`, or with a dot first the names below it, too.
    pub(crate) fn only(&mut self, host: &str) {
        self.only.push(host.to_ascii_lowercase());
    }

    /// Whether a host may be asked for at all.
    pub(crate) fn allow_host(&self, host: &str) -> bool {
        let matches = |only: &String| {
            let below = only.strip_prefix('.');
            below.map_or(host == only, |name| host == name || host.ends_with(only.as_str()))
        };
        self.only.is_empty() || self.only.iter().any(matches)
    }

    /// Whether a connection may be made to this address of the host.
    pub(crate) fn allow_address(&self, host: &str, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let mut special = LOOPBACK.iter().chain(&PRIVATE).chain(&SPECIAL);
        let is_special = special.any(|(net, bits)| contains(*net, *bits, ip));
        let opens = |rule: &Rule| {
            rule.port.is_none_or(|port| port == address.port())
                && match &rule.what {
                    What::All => true,
                    What::Net(net, bits) => contains(*net, *bits, ip),
                    What::Name(name) => name == host,
                }
        };
        !is_special || self.open.iter().any(opens)
    }
}

fn one(rule: &str) -> Option<Rule> {
    let net = |ip: IpAddr| {
        What::Net(ip.to_canonical(), if ip.to_canonical().is_ipv4() { 32 } else { 128 })
    };
    if let Some((ip, bits)) = rule.split_once('/') {
        let (ip, bits) = (ip.parse::<IpAddr>().ok()?, bits.parse().ok()?);
        let most = if ip.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Rule { what: What::Net(ip, bits), port: None });
    }
    if let Ok(ip) = rule.parse() {
        return Some(Rule { what: net(ip), port: None });
    }
    if let Ok(address) = rule.parse::<SocketAddr>() {
        return Some(Rule { what: net(address.ip()), port: Some(address.port()) });
    }
    let (name, port) = match rule.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (rule, None),
    };
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name.then(|| Rule { what: What::Name(name.to_ascii_lowercase()), port })
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let differs = match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => u128::from(net.to_bits() ^ ip.to_bits()) << 96,
        (IpAddr::V6(net), IpAddr::V6(ip)) => net.to_bits() ^ ip.to_bits(),
        _ => return false,
    };
    bits == 0 || differs >> (128 - u32::from(bits)) == 0
}
