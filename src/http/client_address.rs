//! Whose request it is: the address of the client, seen through the proxies that the operator trusts.
//!
//! Anybody can write `X-Forwarded-For`. It is believed only as far as it was written by trusted hands: from its
//! right end, where the proxy that connected to us wrote the address it saw, to the first address that is no
//! trusted proxy's itself. `Forwarded` (RFC 7239) says the same in other words.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use ipnet::IpNet;

/// The address of whoever sent the request; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// Who sent a request that came from `peer` with these `headers`.
pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> ClientAddress {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if is_trusted(&client) {
        for hop in hops(headers).into_iter().rev() {
            // A hop that cannot be read ends what can be known.
            let Some(address) = hop else { break };
            client = address;
            if !is_trusted(&client) {
                break;
            }
        }
    }
    ClientAddress(client)
}

/// The addresses that proxies saw, the client's first; `None` for one that cannot be read.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lists = |name: &str| -> Vec<String> {
        // A client's own bytes may be no text; what the proxy wrote behind them still counts.
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values
            .flat_map(|value| value.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>())
            .collect()
    };
    let told = lists("x-forwarded-for");
    if told.is_empty() {
        let for_pair = |element: &str| {
            let pair = element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"').to_owned())
            });
            address(&pair?)
        };
        return lists(header::FORWARDED.as_str()).iter().map(|element| for_pair(element)).collect();
    }
    told.iter().map(|text| address(text)).collect()
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711` (RFC 7239 6).
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        of(peer.parse().unwrap(), &map, &trusted).0.to_string()
    }

    type Row<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a str);

    #[test]
    fn only_trusted_proxies_are_believed_and_only_what_they_wrote() {
        let (proxy, outer) = ("10.0.0.1", "10.0.0.2");
        let xff = "x-forwarded-for";
        let table: &[Row<'_>] = &[
            ("192.0.2.9", &[], "192.0.2.9"),
            // Nobody that we know: what it says is only a claim.
            ("192.0.2.9", &[(xff, "203.0.113.1")], "192.0.2.9"),
            (proxy, &[], proxy),
            (proxy, &[(xff, "203.0.113.1")], "203.0.113.1"),
            // What the client made up stands to the left of what the proxy saw.
            (proxy, &[(xff, "127.0.0.1, 203.0.113.1")], "203.0.113.1"),
            (proxy, &[(xff, "127.0.0.1"), (xff, "203.0.113.1")], "203.0.113.1"),
            (proxy, &[(xff, "1.1.1.1, 203.0.113.1, 10.0.0.2")], "203.0.113.1"),
            (proxy, &[(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            (proxy, &[(xff, "é, 203.0.113.1")], "203.0.113.1"),
            (proxy, &[(xff, "203.0.113.1, nonsense")], proxy),
            (proxy, &[(xff, "203.0.113.1, nonsense, 10.0.0.2")], outer),
            (proxy, &[(xff, "")], proxy),
            (proxy, &[(xff, "203.0.113.1:4711")], "203.0.113.1"),
            (proxy, &[(xff, "[2001:db8::1]:4711")], "2001:db8::1"),
            (proxy, &[(xff, "::ffff:203.0.113.1")], "203.0.113.1"),
            ("::ffff:10.0.0.1", &[(xff, "203.0.113.1")], "203.0.113.1"),
            (proxy, &[("forwarded", "for=203.0.113.1;proto=https")], "203.0.113.1"),
            (proxy, &[("forwarded", "for=1.1.1.1, proto=http;For=\"[2001:db8::1]:4711\"")], "2001:db8::1"),
            (proxy, &[("forwarded", "for=_hidden")], proxy),
        ];
        for (peer, headers, expected) in table {
            assert_eq!(client(peer, headers, &["10.0.0.0/8"]), *expected, "{peer} {headers:?}");
        }
    }
}
