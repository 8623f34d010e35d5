//! Byte sizes as Prometheus writes them: powers of 1024, with or without the `i` (`512MB`, `1GiB`).

/// Why a text is not a byte size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// Not numbers with units.
    #[error("units: invalid {0}")]
    Invalid(String),
    /// A number without one of the units.
    #[error("units: unknown unit {unit} in {text}")]
    UnknownUnit {
        /// What stands for the unit.
        unit: String,
        /// The whole.
        text: String,
    },
    /// More than 8 EiB.
    #[error("units: {0} is out of range")]
    OutOfRange(String),
}

const UNITS: [(&str, u32); 7] = [
    ("E", 60),
    ("P", 50),
    ("T", 40),
    ("G", 30),
    ("M", 20),
    ("K", 10),
    ("", 0),
];

/// Reads a size; bytes.
pub fn parse_bytes(text: &str) -> Result<u64, BytesError> {
    if text == "0" {
        return Ok(0);
    }
    let invalid = || BytesError::Invalid(text.to_owned());
    let mut rest = text;
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let power = UNITS
            .iter()
            .find(|(prefix, power)| {
                unit == format!("{prefix}B") || (*power > 0 && unit == format!("{prefix}iB"))
            })
            .map(|(_, power)| *power)
            .ok_or_else(|| BytesError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            })?;
        total += number * (1_u64 << power) as f64;
        rest = tail;
    }
    if total >= i64::MAX as f64 {
        return Err(BytesError::OutOfRange(text.to_owned()));
    }
    Ok(total as u64)
}

/// Writes a size as alecthomas/units does: whole numbers of every unit it has.
pub fn format_bytes(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let mut out = String::new();
    let mut rest = bytes;
    for (prefix, power) in UNITS {
        let count = rest >> power;
        if count > 0 {
            let i = if power > 0 { "i" } else { "" };
            out.push_str(&format!("{count}{prefix}{i}B"));
            rest -= count << power;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, bytes, shown) in [
            ("0", 0, "0B"),
            ("512MB", 512 << 20, "512MiB"),
            ("1KiB", 1024, "1KiB"),
            ("1.5GB", 3 << 29, "1GiB512MiB"),
            ("1GB512MB", 3 << 29, "1GiB512MiB"),
            ("7B", 7, "7B"),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(format_bytes(bytes), shown);
        }
    }

    #[test]
    fn refuses() {
        assert_eq!(
            parse_bytes("5").unwrap_err().to_string(),
            "units: unknown unit  in 5"
        );
        assert_eq!(
            parse_bytes("12XB").unwrap_err().to_string(),
            "units: unknown unit XB in 12XB"
        );
        for text in ["", "GB", "-1GB", "1..2GB", "9EB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
