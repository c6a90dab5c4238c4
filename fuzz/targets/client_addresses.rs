//! `X-Forwarded-For` or `Forwarded` (RFC 7239), as proxies write them, and as whoever is in front of them makes up.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use cifra::http::fuzzing::client_address;
use cifra_fuzz::headers;
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network")).into();
    let known = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
    for name in ["x-forwarded-for", "forwarded"] {
        let Some(told) = headers([(name, value)]) else { return };
        assert_eq!(client_address(stranger, &told, &trusted), stranger, "nobody asked a stranger");
        let address = client_address(proxy, &told, &trusted);
        assert_eq!(address.to_canonical(), address, "one client, one address");
        // A proxy adds whom it saw at the right. What stands to the left of that is only a claim.
        let seen = Ipv4Addr::new(203, 0, 113, 7);
        let added = if name == "forwarded" { format!(", for={seen}") } else { format!(", {seen}") };
        let added =
            headers([(name, &[value, added.as_bytes()].concat()[..])]).expect("it was a header before");
        assert_eq!(client_address(proxy, &added, &trusted), seen, "a claim was believed");
        // And what is found already does not change with what stands before it.
        let before =
            headers([(name, &[b"192.0.2.99, for=192.0.2.99, ", value].concat()[..])]).expect("a header");
        if !known(address) {
            assert_eq!(client_address(proxy, &before, &trusted), address, "a claim was believed");
        }
    }
});
