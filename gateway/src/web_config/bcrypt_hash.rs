//! Whether a text is a bcrypt hash, and what checking it costs; with the words of Go's package, which exporter-toolkit passes on.

use crate::limits::BCRYPT_COST_MAX;

/// Length of `$2b$10$` and 53 characters of salt and hash; Go accepts one less, for hashes without a minor version.
const LENGTH_MIN: usize = 59;
const COST_MIN: u32 = 4;
const COST_MAX: u32 = 31;

/// The cost of a hash: checking a password against it takes two to the power of this many rounds.
pub(super) fn cost(hash: &str) -> Result<u32, String> {
    let bytes = hash.as_bytes();
    if bytes.len() < LENGTH_MIN {
        return Err("crypto/bcrypt: hashedSecret too short to be a bcrypted password".to_owned());
    }
    if bytes[0] != b'$' {
        return Err(format!(
            "crypto/bcrypt: bcrypt hashes must start with '$', but hashedSecret started with '{}'",
            hash.chars().next().unwrap_or(' ')
        ));
    }
    if bytes[1] > b'2' {
        return Err(format!(
            "crypto/bcrypt: bcrypt algorithm version '{}' requested is newer than current version '2'",
            char::from(bytes[1])
        ));
    }
    let after_version = if bytes[2] == b'$' { 3 } else { 4 };
    let digits = hash.get(after_version..after_version + 2).unwrap_or("");
    let cost: u32 = digits
        .parse()
        .map_err(|_| format!("strconv.Atoi: parsing {digits:?}: invalid syntax"))?;
    if !(COST_MIN..=COST_MAX).contains(&cost) {
        return Err(format!(
            "crypto/bcrypt: cost {cost} is outside allowed inclusive range {COST_MIN}..{COST_MAX}"
        ));
    }
    if cost > BCRYPT_COST_MAX {
        return Err(format!(
            "a bcrypt cost of {cost} would keep a core busy for minutes with every password that is tried; at most {BCRYPT_COST_MAX} is taken"
        ));
    }
    if !is_checkable(hash) {
        return Err("crypto/bcrypt: the hash is damaged: no password can match it".to_owned());
    }
    Ok(cost)
}

/// Can our own library read it? Go looks only at its beginning; a hash that nothing can match is better refused here.
fn is_checkable(hash: &str) -> bool {
    hash.parse::<bcrypt::HashParts>().is_ok() && bcrypt_alphabet(hash)
}

fn bcrypt_alphabet(hash: &str) -> bool {
    hash.rsplit('$').next().is_some_and(|tail| {
        tail.len() == 53
            && tail
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
    })
}

/// A hash of that cost that no password matches, for callers who name a user that does not exist: they wait as long as others.
pub(super) fn decoy(cost: u32) -> String {
    // Any salt will do; the checksum is one that bcrypt gives with a chance of 2^-184.
    format!(
        "$2b${cost:02}${}{}",
        "FeRuLaDeCoYhAsHsAlT00.",
        ".".repeat(31)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "$2b$04$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

    #[test]
    fn costs_and_go_s_words() {
        assert_eq!(cost(SECRET), Ok(4));
        assert_eq!(cost(&SECRET.replace("2b", "2y")), Ok(4));
        for (hash, wrong) in [
            ("secret".to_owned(), "hashedSecret too short"),
            (
                "x".repeat(60),
                "must start with '$', but hashedSecret started with 'x'",
            ),
            (
                SECRET.replace("$2b", "$3b"),
                "version '3' requested is newer than current version '2'",
            ),
            (
                SECRET.replace("$04$", "$32$"),
                "cost 32 is outside allowed inclusive range 4..31",
            ),
            (SECRET.replace("$04$", "$31$"), "at most"),
            (SECRET.replace("$04$", "$x4$"), "strconv.Atoi"),
            (SECRET.replace('Q', "!"), "damaged"),
        ] {
            let error = cost(&hash).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn the_decoy_can_be_checked_and_never_matches() {
        let decoy = decoy(4);
        assert_eq!(cost(&decoy), Ok(4));
        assert!(!bcrypt::verify("", &decoy).unwrap());
        assert!(!bcrypt::verify("fakepassword", &decoy).unwrap());
    }
}
