//! The subject alternative names of a certificate, as text.
//!
//! Promise: reads only what lies inside the given bytes and never panics; what it cannot read has no names, so that nobody is let in by it.
//! Source of the format: RFC 5280 (4.1, 4.2.1.6), X.690 for the encoding. The signature is the verifier's matter, not ours.

use std::net::{Ipv4Addr, Ipv6Addr};

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Splits one element off: its tag, its content, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let digits = usize::from(long & 0x7f);
            if !(1..=4).contains(&digits) || rest.len() < digits {
                return None;
            }
            let (digits, rest) = rest.split_at(digits);
            let length = digits
                .iter()
                .fold(0usize, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
    };
    (length <= rest.len()).then(|| {
        let (content, rest) = rest.split_at(length);
        (*tag, content, rest)
    })
}

/// The content of the first element, if it has this tag, and what follows.
fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

fn extensions(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut tbs, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(tbs, VERSION) {
        tbs = rest;
    }
    while let Some((tag, content, rest)) = element(tbs) {
        if tag == EXTENSIONS {
            return expect(content, SEQUENCE).map(|(list, _)| list);
        }
        tbs = rest;
    }
    None
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let mut list = extensions(certificate)?;
    while !list.is_empty() {
        let (extension, rest) = expect(list, SEQUENCE)?;
        list = rest;
        let (oid, rest) = expect(extension, OID)?;
        if oid != SUBJECT_ALT_NAME {
            continue;
        }
        let rest = expect(rest, BOOLEAN).map_or(rest, |(_, rest)| rest);
        let (value, _) = expect(rest, OCTET_STRING)?;
        return expect(value, SEQUENCE).map(|(names, _)| names);
    }
    None
}

/// Host names, mail addresses, IP addresses and URIs of a certificate, in their order.
pub(super) fn of(certificate: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = alternative_names(certificate).unwrap_or_default();
    while let Some((tag, content, behind)) = element(rest) {
        rest = behind;
        let name = match tag {
            RFC822_NAME | DNS_NAME | URI => String::from_utf8(content.to_vec()).ok(),
            IP_ADDRESS => ip_text(content),
            _ => None,
        };
        names.extend(name);
    }
    names
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::IpAddress("10.1.2.3".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name("x@y.example".try_into().unwrap()),
            SanType::URI("spiffe://mesh/agent".try_into().unwrap()),
        ]);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn all_kinds_of_names() {
        let names = of(&certificate());
        assert_eq!(
            names,
            [
                "a.example",
                "10.1.2.3",
                "2001:db8::1",
                "x@y.example",
                "spiffe://mesh/agent"
            ]
        );
    }

    #[test]
    fn damage_is_no_name_and_no_panic() {
        let whole = certificate();
        for cut in 0..whole.len() {
            let _ = of(&whole[..cut]);
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                assert!(of(&damaged).len() <= 64);
            }
        }
        assert!(of(&[]).is_empty());
        assert!(of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_empty());
    }
}
