//! RE2 patterns, as Prometheus users write them, run by the `regex` crate.
//!
//! The two dialects differ in what they accept and, silently, in what some of it means: literal braces (`/api/{id}`),
//! `\Q..\E`, octal escapes, `[[]`, set operations inside classes, Unicode `\d \w \b`. So the pattern is parsed here by
//! the rules of Go's `regexp/syntax` (flags `Perl | DotNL`) into the syntax tree of the `regex` crate, with every flag
//! resolved, and that tree is compiled.
//! Promise: what Go's `regexp` accepts is accepted and means the same on UTF-8 text; what it refuses is refused, with
//! the same words. Not here: which strings can be tested without a regex (`matcher`).

mod class;

use class::Classes;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Capture, Class, ClassUnicode, Hir, HirKind, Look, Repetition};

/// Bytes that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 64 << 20;
/// Ranges of all character classes of one pattern together (`\pL` has more than six hundred); beyond it the pattern is too large.
const CLASS_RANGES_MAX: usize = 1 << 15;
/// About what a range of a class, or a byte of a literal, takes when it is compiled, and a pattern before it has any.
const COMPILED_BYTES_PER_RANGE: usize = 40;
const COMPILED_BYTES_MIN: usize = 12 << 10;
/// Groups inside groups, as in Go.
const NESTING_MAX: usize = 1000;
/// Repeat counts, alone and multiplied where they nest, as in Go.
const REPEAT_MAX: u32 = 1000;

/// A pattern that is not valid RE2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct Re2Error(pub String);

impl Re2Error {
    fn new(code: &str, expression: &str) -> Self {
        Re2Error(format!("{code}: `{expression}`"))
    }
}

/// Go's words for what can be wrong.
mod code {
    pub(super) const CHAR_RANGE: &str = "invalid character class range";
    pub(super) const ESCAPE: &str = "invalid escape sequence";
    pub(super) const NAMED_CAPTURE: &str = "invalid named capture";
    pub(super) const PERL_OP: &str = "invalid or unsupported Perl syntax";
    pub(super) const REPEAT_OP: &str = "invalid nested repetition operator";
    pub(super) const REPEAT_SIZE: &str = "invalid repeat count";
    pub(super) const MISSING_BRACKET: &str = "missing closing ]";
    pub(super) const MISSING_PAREN: &str = "missing closing )";
    pub(super) const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
    pub(super) const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";
    pub(super) const UNEXPECTED_PAREN: &str = "unexpected )";
    pub(super) const NESTING: &str = "expression nests too deeply";
    pub(super) const LARGE: &str = "expression too large";
}

/// Compiles a pattern, anchored at both ends, with dot matching newline (`^(?s:pattern)$`).
pub fn translate(pattern: &str) -> Result<Regex, Re2Error> {
    let inner = parse(pattern)?;
    let anchored = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
    compile(pattern, &anchored)
}

/// Compiles a pattern that may match anywhere in the text, with dot matching newline.
pub fn translate_unanchored(pattern: &str) -> Result<Regex, Re2Error> {
    compile(pattern, &parse(pattern)?)
}

/// As [`translate`], unless that would take more than about `bytes_max`.
pub fn translate_within(pattern: &str, bytes_max: usize) -> Result<Regex, Re2Error> {
    if compiled_bytes(&parse(pattern)?) > bytes_max {
        return Err(too_large(pattern));
    }
    translate(pattern)
}

/// What to say of a pattern that would take too much memory.
pub(crate) fn too_large(pattern: &str) -> Re2Error {
    Re2Error::new(code::LARGE, pattern)
}

/// About how many bytes the compiled pattern takes.
pub(crate) fn compiled_bytes(hir: &Hir) -> usize {
    COMPILED_BYTES_MIN.saturating_add(weight(hir).saturating_mul(COMPILED_BYTES_PER_RANGE))
}

fn weight(hir: &Hir) -> usize {
    /// Beyond ASCII a range becomes a tree of bytes.
    const WIDE_CLASS: usize = 8;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Class(Class::Unicode(class)) => {
            let wide = class.ranges().last().is_some_and(|r| !r.end().is_ascii());
            class.ranges().len() + if wide { WIDE_CLASS } else { 0 }
        }
        HirKind::Repetition(repetition) => {
            let unbounded = || repetition.min.saturating_add(1);
            let times = repetition.max.unwrap_or_else(unbounded);
            weight(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => weight(&capture.sub).saturating_add(2),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            let sum = |sum: usize, hir: &Hir| sum.saturating_add(weight(hir) + 1);
            all.iter().fold(0, sum)
        }
    }
}

fn compile(pattern: &str, hir: &Hir) -> Result<Regex, Re2Error> {
    RegexBuilder::new(&hir.to_string())
        .size_limit(COMPILED_BYTES_MAX)
        .nest_limit(8 * NESTING_MAX as u32)
        .build()
        .map_err(|_| Re2Error::new(code::LARGE, pattern))
}

/// The syntax tree of a pattern, not anchored.
pub(crate) fn parse(pattern: &str) -> Result<Hir, Re2Error> {
    Parser::new(pattern).run()
}

/// What `(?flags)` can switch.
#[derive(Clone, Copy)]
struct Flags {
    fold_case: bool,
    /// `^` and `$` at lines, Go's absence of `OneLine`.
    multi_line: bool,
    dot_newline: bool,
    /// `*` is lazy and `*?` greedy.
    swap_greed: bool,
}

/// A piece that a repetition operator can apply to.
struct Piece {
    hir: Hir,
    /// Largest product of nested repeat counts.
    repeats: u32,
}

/// A group being parsed.
struct Group {
    /// Flags before it, restored after it.
    flags: Flags,
    /// Index and name, if it captures.
    capture: Option<(u32, Option<String>)>,
    branches: Vec<Hir>,
    pieces: Vec<Piece>,
    repeats: u32,
}

struct Parser<'p> {
    whole: &'p str,
    rest: &'p str,
    flags: Flags,
    groups: Vec<Group>,
    captures: u32,
    names: Vec<String>,
    /// Ranges of the classes so far.
    ranges: usize,
}

impl<'p> Parser<'p> {
    fn new(whole: &'p str) -> Self {
        let flags = Flags {
            fold_case: false,
            multi_line: false,
            dot_newline: true,
            swap_greed: false,
        };
        Parser {
            whole,
            rest: whole,
            flags,
            groups: vec![Group::new(flags, None)],
            captures: 0,
            names: Vec::new(),
            ranges: 0,
        }
    }

    fn run(mut self) -> Result<Hir, Re2Error> {
        // Text from the last repetition operator on, to name `**` and its like in full.
        let mut last_repeat: Option<&'p str> = None;
        while let Some(first) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeated = false;
            match first {
                '(' if before.starts_with("(?") => self.flags_or_group()?,
                '(' => {
                    self.captures += 1;
                    let capture = Some((self.captures, None));
                    self.open(capture)?;
                    self.skip(1);
                }
                '|' => {
                    self.top().end_branch();
                    self.skip(1);
                }
                ')' => {
                    self.close()?;
                    self.skip(1);
                }
                '^' => {
                    let look = if self.flags.multi_line {
                        Look::StartLF
                    } else {
                        Look::Start
                    };
                    self.push(Hir::look(look));
                    self.skip(1);
                }
                '$' => {
                    let look = if self.flags.multi_line {
                        Look::EndLF
                    } else {
                        Look::End
                    };
                    self.push(Hir::look(look));
                    self.skip(1);
                }
                '.' => {
                    let any = if self.flags.dot_newline {
                        class::any()
                    } else {
                        class::any_but_newline()
                    };
                    self.push(Hir::class(Class::Unicode(any)));
                    self.skip(1);
                }
                '[' => {
                    let class = self.class()?;
                    self.push(Hir::class(Class::Unicode(class)));
                }
                '*' | '+' | '?' => {
                    let (min, max) = match first {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.skip(1);
                    self.repeat(min, max, before, last_repeat, false)?;
                    repeated = true;
                }
                '{' => match counted(before) {
                    None => {
                        self.literal('{');
                        self.skip(1);
                    }
                    Some((counts, after)) => {
                        self.rest = after;
                        let Some((min, max)) = counts else {
                            return Err(Re2Error::new(code::REPEAT_SIZE, until(before, after)));
                        };
                        self.repeat(min, max, before, last_repeat, true)?;
                        repeated = true;
                    }
                },
                '\\' => self.backslash()?,
                other => {
                    self.literal(other);
                    self.skip(other.len_utf8());
                }
            }
            last_repeat = repeated.then_some(before);
            if self.ranges > CLASS_RANGES_MAX {
                return Err(too_large(self.whole));
            }
        }
        if self.groups.len() != 1 {
            return Err(Re2Error::new(code::MISSING_PAREN, self.whole));
        }
        let Some(group) = self.groups.pop() else {
            unreachable!("BUG: the outermost group is never closed");
        };
        Ok(group.finish().hir)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn top(&mut self) -> &mut Group {
        match self.groups.last_mut() {
            Some(group) => group,
            None => unreachable!("BUG: the outermost group is never closed"),
        }
    }

    fn push(&mut self, hir: Hir) {
        if let HirKind::Class(Class::Unicode(class)) = hir.kind() {
            self.ranges += class.ranges().len();
        }
        self.top().pieces.push(Piece { hir, repeats: 1 });
    }

    fn literal(&mut self, c: char) {
        let hir = if self.flags.fold_case {
            Hir::class(Class::Unicode(class::folded(ClassUnicode::new([
                regex_syntax::hir::ClassUnicodeRange::new(c, c),
            ]))))
        } else {
            let mut buffer = [0; 4];
            Hir::literal(c.encode_utf8(&mut buffer).as_bytes().to_vec())
        };
        self.push(hir);
    }

    fn open(&mut self, capture: Option<(u32, Option<String>)>) -> Result<(), Re2Error> {
        if self.groups.len() >= NESTING_MAX {
            return Err(Re2Error::new(code::NESTING, self.whole));
        }
        self.groups.push(Group::new(self.flags, capture));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Re2Error> {
        if self.groups.len() < 2 {
            return Err(Re2Error::new(code::UNEXPECTED_PAREN, self.whole));
        }
        if let Some(group) = self.groups.pop() {
            self.flags = group.flags;
            let piece = group.finish();
            self.top().pieces.push(piece);
        }
        Ok(())
    }

    /// Applies a repetition operator, whose text starts at `before`, to the last piece.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        before: &'p str,
        last_repeat: Option<&'p str>,
        counted: bool,
    ) -> Result<(), Re2Error> {
        let mut greedy = !self.flags.swap_greed;
        if self.rest.starts_with('?') {
            self.skip(1);
            greedy = !greedy;
        }
        if let Some(last) = last_repeat {
            return Err(Re2Error::new(code::REPEAT_OP, until(last, self.rest)));
        }
        let operator = until(before, self.rest);
        let Some(piece) = self.top().pieces.pop() else {
            return Err(Re2Error::new(code::MISSING_ARGUMENT, operator));
        };
        let repeats = match max.unwrap_or(min) {
            _ if !counted => piece.repeats,
            0 if max == Some(0) => 1,
            0 => piece.repeats,
            times => piece.repeats.saturating_mul(times),
        };
        if counted && (min >= 2 || max.is_some_and(|max| max >= 2)) && repeats > REPEAT_MAX {
            return Err(Re2Error::new(code::REPEAT_SIZE, operator));
        }
        let hir = Hir::repetition(Repetition {
            min,
            max,
            greedy,
            sub: Box::new(piece.hir),
        });
        self.top().pieces.push(Piece { hir, repeats });
        Ok(())
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>`, `(?<name>`.
    fn flags_or_group(&mut self) -> Result<(), Re2Error> {
        let start = self.rest;
        let named = match start.get(2..) {
            Some(t) if t.starts_with("P<") && start.len() > 4 => Some(4),
            Some(t) if t.starts_with('<') && start.len() > 3 => Some(3),
            _ => None,
        };
        if let Some(name_at) = named {
            let Some(end) = start.find('>') else {
                return Err(Re2Error::new(code::NAMED_CAPTURE, start));
            };
            let name = start.get(name_at..end).unwrap_or("");
            let valid =
                !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            if !valid {
                return Err(Re2Error::new(code::NAMED_CAPTURE, &start[..=end]));
            }
            self.captures += 1;
            // The `regex` crate wants distinct names that do not start with a digit; Go doesn't, and finds the first.
            let usable = !name.starts_with(|c: char| c.is_ascii_digit())
                && !self.names.iter().any(|n| n == name);
            if usable {
                self.names.push(name.to_owned());
            }
            let capture = Some((self.captures, usable.then(|| name.to_owned())));
            self.open(capture)?;
            self.skip(end + 1);
            return Ok(());
        }
        let mut flags = self.flags;
        let mut value = true;
        let mut saw_flag = false;
        let mut read = 2;
        for c in start[2..].chars() {
            read += c.len_utf8();
            match c {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.swap_greed = value,
                '-' if value => {
                    value = false;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if value || saw_flag => {
                    if c == ':' {
                        self.open(None)?;
                    }
                    self.flags = flags;
                    self.skip(read);
                    return Ok(());
                }
                _ => break,
            }
            saw_flag = true;
        }
        Err(Re2Error::new(code::PERL_OP, &start[..read]))
    }

    fn backslash(&mut self) -> Result<(), Re2Error> {
        let start = self.rest;
        let mut chars = start.chars();
        chars.next();
        let look = match chars.next() {
            Some('A') => Some(Look::Start),
            Some('z') => Some(Look::End),
            Some('b') => Some(Look::WordAscii),
            Some('B') => Some(Look::WordAsciiNegate),
            Some('C') => return Err(Re2Error::new(code::ESCAPE, "\\C")),
            Some('Q') => {
                let quoted = &start[2..];
                let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                for c in literal.chars() {
                    self.literal(c);
                }
                self.rest = after;
                return Ok(());
            }
            _ => None,
        };
        if let Some(look) = look {
            self.push(Hir::look(look));
            self.skip(2);
            return Ok(());
        }
        let classes = Classes {
            fold_case: self.flags.fold_case,
        };
        if let Some((found, after)) = classes.escape(start)? {
            self.push(Hir::class(Class::Unicode(found)));
            self.rest = after;
            return Ok(());
        }
        let (c, after) = escape(start)?;
        match char::from_u32(c) {
            Some(c) => self.literal(c),
            // A surrogate: a legal pattern that no text can match.
            None => self.push(Hir::fail()),
        }
        self.rest = after;
        Ok(())
    }

    /// `[...]`
    fn class(&mut self) -> Result<ClassUnicode, Re2Error> {
        let classes = Classes {
            fold_case: self.flags.fold_case,
        };
        let (class, after) = classes.bracket(self.rest)?;
        self.rest = after;
        Ok(class)
    }
}

impl Group {
    fn new(flags: Flags, capture: Option<(u32, Option<String>)>) -> Self {
        Group {
            flags,
            capture,
            branches: Vec::new(),
            pieces: Vec::new(),
            repeats: 1,
        }
    }

    fn end_branch(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        for piece in &pieces {
            self.repeats = self.repeats.max(piece.repeats);
        }
        self.branches
            .push(Hir::concat(pieces.into_iter().map(|p| p.hir).collect()));
    }

    fn finish(mut self) -> Piece {
        self.end_branch();
        let inner = Hir::alternation(self.branches);
        let hir = match self.capture {
            Some((index, name)) => Hir::capture(Capture {
                index,
                name: name.map(Into::into),
                sub: Box::new(inner),
            }),
            None => inner,
        };
        Piece {
            hir,
            repeats: self.repeats,
        }
    }
}

/// The part of `text` before its tail `after`.
fn until<'t>(text: &'t str, after: &str) -> &'t str {
    text.get(..text.len() - after.len()).unwrap_or(text)
}

/// Minimum and maximum of a repetition.
type Counts = (u32, Option<u32>);

/// `{n}`, `{n,}` or `{n,m}` and what follows; `None` when the brace is literal, inner `None` when the counts are out of
/// range.
fn counted(text: &str) -> Option<(Option<Counts>, &str)> {
    let (min, rest) = count(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => {
            let (max, rest) = count(rest)?;
            (Some(max), rest)
        }
    };
    let after = rest.strip_prefix('}')?;
    let valid = min <= REPEAT_MAX && max.is_none_or(|max| max <= REPEAT_MAX && min <= max);
    Some((valid.then_some((min, max)), after))
}

/// A decimal number without leading zeros; one that is too large becomes `u32::MAX`.
fn count(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return None;
    }
    Some((number.parse().unwrap_or(u32::MAX), rest))
}

/// An escape that stands for one character; `text` begins with the backslash.
fn escape(text: &str) -> Result<(u32, &str), Re2Error> {
    let mut chars = text.chars();
    chars.next();
    let Some(c) = chars.next() else {
        return Err(Re2Error::new(code::TRAILING_BACKSLASH, ""));
    };
    let simple = match c {
        'a' => Some(7),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
        _ => None,
    };
    if let Some(simple) = simple {
        return Ok((simple, chars.as_str()));
    }
    let octal = |c: char| c.to_digit(8);
    match c {
        '1'..='7' if !chars.as_str().starts_with(|c| octal(c).is_some()) => {}
        '0'..='7' => {
            let mut value = octal(c).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = chars.as_str().chars().next().and_then(octal) else {
                    break;
                };
                value = value * 8 + digit;
                chars.next();
            }
            return Ok((value, chars.as_str()));
        }
        'x' => {
            let mut value = 0_u32;
            match chars.next() {
                Some('{') => {
                    let mut digits = 0;
                    for c in chars.by_ref() {
                        match c.to_digit(16) {
                            Some(digit) => {
                                value = value * 16 + digit;
                                digits += 1;
                                if value > u32::from(char::MAX) {
                                    break;
                                }
                            }
                            None if c == '}' && digits > 0 => {
                                return Ok((value, chars.as_str()));
                            }
                            None => break,
                        }
                    }
                }
                Some(high) => {
                    let low = chars.next();
                    if let (Some(high), Some(low)) =
                        (high.to_digit(16), low.and_then(|c| c.to_digit(16)))
                    {
                        return Ok((high * 16 + low, chars.as_str()));
                    }
                }
                None => {}
            }
        }
        _ => {}
    }
    Err(Re2Error::new(code::ESCAPE, until(text, chars.as_str())))
}

#[cfg(test)]
mod tests;
