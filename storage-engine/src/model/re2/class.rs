//! Character classes by the rules of Go's `regexp/syntax`: brackets, POSIX names, `\d`, `\p{Greek}`.
//!
//! Perl and POSIX classes are ASCII; with `(?i)` they take in what folds to them. Inside brackets only `]`, `-`, `\` and
//! `[:name:]` are special, so `[[]`, `[a&&b]` and `[~~]` are lists of characters.

use super::{Re2Error, code, escape, until};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// Any character.
pub(super) fn any() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
}

/// Any character but a newline.
pub(super) fn any_but_newline() -> ClassUnicode {
    let mut class = ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]);
    class.negate();
    class
}

/// With everything that differs by case only.
pub(super) fn folded(mut class: ClassUnicode) -> ClassUnicode {
    // Fails only in a build without the Unicode tables, and ours has them.
    let done = class.try_case_fold_simple();
    debug_assert!(done.is_ok());
    class
}

/// Parses classes under the flags in force.
pub(super) struct Classes {
    pub(super) fold_case: bool,
}

impl Classes {
    fn fold(&self, class: ClassUnicode) -> ClassUnicode {
        if self.fold_case { folded(class) } else { class }
    }

    fn named(&self, ranges: &[(char, char)], negated: bool) -> ClassUnicode {
        let mut class = self.fold(ClassUnicode::new(
            ranges.iter().map(|&(a, b)| ClassUnicodeRange::new(a, b)),
        ));
        if negated {
            class.negate();
        }
        class
    }

    /// `\d` and its like, `\pN`, `\p{Name}`, at the start of `text`; `None` for other escapes.
    pub(super) fn escape<'t>(
        &self,
        text: &'t str,
    ) -> Result<Option<(ClassUnicode, &'t str)>, Re2Error> {
        let mut chars = text.chars();
        if chars.next() != Some('\\') {
            return Ok(None);
        }
        let Some(letter) = chars.next() else {
            return Ok(None);
        };
        let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
            'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            'p' => return self.unicode(text, letter == 'P').map(Some),
            _ => return Ok(None),
        };
        let class = self.named(ranges, letter.is_ascii_uppercase());
        Ok(Some((class, chars.as_str())))
    }

    fn unicode<'t>(
        &self,
        text: &'t str,
        negated: bool,
    ) -> Result<(ClassUnicode, &'t str), Re2Error> {
        let (whole, name) = if text[2..].starts_with('{') {
            let Some(end) = text.find('}') else {
                return Err(Re2Error::new(code::CHAR_RANGE, text));
            };
            (&text[..=end], &text[3..end])
        } else {
            let letter = text[2..].chars().next().map_or(0, char::len_utf8);
            (&text[..2 + letter], &text[2..2 + letter])
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, !negated),
            None => (name, negated),
        };
        let Some(class) = unicode_class(name) else {
            return Err(Re2Error::new(code::CHAR_RANGE, whole));
        };
        let mut class = self.fold(class);
        if negated {
            class.negate();
        }
        Ok((class, &text[whole.len()..]))
    }

    /// `[:alpha:]` and its like at the start of `text`.
    fn posix<'t>(&self, text: &'t str) -> Result<Option<(ClassUnicode, &'t str)>, Re2Error> {
        let Some(inner) = text.strip_prefix("[:") else {
            return Ok(None);
        };
        let Some(end) = inner.find(":]") else {
            return Ok(None);
        };
        let (whole, after) = text.split_at(end + 4);
        let name = &inner[..end];
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let ranges: &[(char, char)] = match name {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7f')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err(Re2Error::new(code::CHAR_RANGE, whole)),
        };
        Ok(Some((self.named(ranges, negated), after)))
    }

    /// `[...]` at the start of `text`.
    pub(super) fn bracket<'t>(&self, text: &'t str) -> Result<(ClassUnicode, &'t str), Re2Error> {
        let mut rest = &text[1..];
        let negated = rest.starts_with('^');
        if negated {
            rest = &rest[1..];
        }
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            if let Some((named, after)) = self.posix(rest)? {
                class.union(&named);
                rest = after;
                continue;
            }
            if let Some((named, after)) = self.escape(rest)? {
                class.union(&named);
                rest = after;
                continue;
            }
            let start = rest;
            let (low, after) = class_char(rest, text)?;
            rest = after;
            let mut high = low;
            if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
                (high, rest) = class_char(&rest[1..], text)?;
                if high < low {
                    return Err(Re2Error::new(code::CHAR_RANGE, until(start, rest)));
                }
            }
            class.union(&self.fold(ClassUnicode::new(scalars(low, high))));
        }
        if negated {
            class.negate();
        }
        Ok((class, &rest[1..]))
    }
}

/// One character of a bracket expression that began at `whole`.
fn class_char<'t>(text: &'t str, whole: &str) -> Result<(u32, &'t str), Re2Error> {
    match text.chars().next() {
        None => Err(Re2Error::new(code::MISSING_BRACKET, whole)),
        Some('\\') => escape(text),
        Some(c) => Ok((u32::from(c), &text[c.len_utf8()..])),
    }
}

/// The characters of a range of code points; surrogates are none.
fn scalars(low: u32, high: u32) -> impl Iterator<Item = ClassUnicodeRange> {
    let below = (low, high.min(0xd7ff));
    let above = (low.max(0xe000), high);
    [below, above].into_iter().filter_map(|(low, high)| {
        let (low, high) = (char::from_u32(low)?, char::from_u32(high)?);
        (low <= high).then(|| ClassUnicodeRange::new(low, high))
    })
}

/// A general category or a script by name.
fn unicode_class(name: &str) -> Option<ClassUnicode> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    ["gc", "sc"].into_iter().find_map(|property| {
        let hir = regex_syntax::parse(&format!("\\p{{{property}={name}}}")).ok()?;
        match hir.into_kind() {
            HirKind::Class(Class::Unicode(class)) => Some(class),
            HirKind::Literal(literal) => {
                let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
                Some(ClassUnicode::new([ClassUnicodeRange::new(c, c)]))
            }
            _ => None,
        }
    })
}
