//! PromQL text to tokens, on demand, with Prometheus's own words for what it cannot read.
//!
//! Works on bytes, so that text that is not UTF-8 is refused where it stands. Each call looks at each byte once: linear time.
//! What a token means where it stands is the parser's job.

use super::error::ParseError;
use crate::eval::text::go_quote;

/// Kinds of token; operators and keywords are told apart, spelling is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Eof,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    /// `==`
    EqualEqual,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `</`
    TrimUpper,
    /// `>/`
    TrimLower,
    At,
    And,
    Or,
    Unless,
    Atan2,
    Aggregator,
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Without,
    Anchored,
    Smoothed,
    Fill,
    FillLeft,
    FillRight,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

/// A token: its kind and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// How error texts name the token.
    pub(super) fn describe(&self, input: &[u8]) -> String {
        let text = input.get(self.start..self.end).unwrap_or_default();
        let plain = String::from_utf8_lossy(text);
        match self.kind {
            Kind::Eof => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", go_quote(text)),
            Kind::MetricIdentifier => format!("metric identifier {}", go_quote(text)),
            Kind::Number => format!("number {}", abridged(&plain)),
            Kind::Duration => format!("duration {}", abridged(&plain)),
            Kind::String => format!("string {}", abridged(&plain)),
            Kind::Bool
            | Kind::By
            | Kind::GroupLeft
            | Kind::GroupRight
            | Kind::Ignoring
            | Kind::Offset
            | Kind::On
            | Kind::Without
            | Kind::Anchored
            | Kind::Smoothed
            | Kind::Fill
            | Kind::FillLeft
            | Kind::FillRight => format!("<{plain}>"),
            Kind::Aggregator => format!("<aggr:{plain}>"),
            Kind::LeftParen
            | Kind::RightParen
            | Kind::LeftBrace
            | Kind::RightBrace
            | Kind::LeftBracket
            | Kind::RightBracket
            | Kind::Comma
            | Kind::Colon
            | Kind::Equal
            | Kind::Start
            | Kind::End
            | Kind::Step
            | Kind::Range
            | Kind::MinOf
            | Kind::MaxOf => go_quote(text),
            _ => format!("<op:{plain}>"),
        }
    }
}

/// Go's `%.10q...` for long texts: ten characters, then an ellipsis.
fn abridged(text: &str) -> String {
    if text.len() <= 10 {
        return go_quote(text.as_bytes());
    }
    let head: String = text.chars().take(10).collect();
    format!("{}...", go_quote(head.as_bytes()))
}

fn keyword(word: &[u8]) -> Option<Kind> {
    // Longest keyword: `count_values`.
    let mut lower = [0_u8; 12];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"and" => Kind::And,
        b"or" => Kind::Or,
        b"unless" => Kind::Unless,
        b"atan2" => Kind::Atan2,
        b"sum" | b"avg" | b"count" | b"min" | b"max" | b"group" | b"stddev" | b"stdvar"
        | b"topk" | b"bottomk" | b"count_values" | b"quantile" | b"limitk" | b"limit_ratio" => {
            Kind::Aggregator
        }
        b"offset" => Kind::Offset,
        b"smoothed" => Kind::Smoothed,
        b"anchored" => Kind::Anchored,
        b"by" => Kind::By,
        b"without" => Kind::Without,
        b"on" => Kind::On,
        b"ignoring" => Kind::Ignoring,
        b"group_left" => Kind::GroupLeft,
        b"group_right" => Kind::GroupRight,
        b"fill" => Kind::Fill,
        b"fill_left" => Kind::FillLeft,
        b"fill_right" => Kind::FillRight,
        b"bool" => Kind::Bool,
        b"start" => Kind::Start,
        b"end" => Kind::End,
        b"step" => Kind::Step,
        b"range" => Kind::Range,
        b"min_of" => Kind::MinOf,
        b"max_of" => Kind::MaxOf,
        b"inf" | b"nan" => Kind::Number,
        _ => return None,
    })
}

fn is_space(b: Option<u8>) -> bool {
    matches!(b, Some(b' ' | b'\t' | b'\n' | b'\r'))
}

fn is_alpha(b: Option<u8>) -> bool {
    b.is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
}

fn is_digit(b: Option<u8>) -> bool {
    b.is_some_and(|b| b.is_ascii_digit())
}

fn is_word(b: Option<u8>) -> bool {
    is_alpha(b) || is_digit(b)
}

/// The scanner and what it remembers of open brackets.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    input: &'a [u8],
    pos: usize,
    start: usize,
    paren_depth: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Inside brackets where an operand of a duration expression is due.
    in_duration: bool,
    got_colon: bool,
    got_duration: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Lexer {
            input,
            pos: 0,
            start: 0,
            paren_depth: 0,
            in_braces: false,
            in_brackets: false,
            in_duration: false,
            got_colon: false,
            got_duration: false,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.pos).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.pos += 1;
        Some(byte)
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let yes = self.peek().is_some_and(|b| set.contains(&b));
        self.pos += usize::from(yes);
        yes
    }

    fn token(&mut self, kind: Kind) -> Result<Token, ParseError> {
        let token = Token {
            kind,
            start: self.start,
            end: self.pos,
        };
        self.start = self.pos;
        Ok(token)
    }

    fn error(&self, text: impl Into<String>) -> ParseError {
        ParseError::new(self.input, self.start, text)
    }

    /// The character that starts at `at`, as Go's `%q` shows a rune.
    fn rune_at(&self, at: usize) -> String {
        let rest = self.input.get(at..).unwrap_or_default();
        let head = rest.get(..rest.len().min(4)).unwrap_or_default();
        let c = match head.utf8_chunks().next() {
            Some(chunk) => chunk.valid().chars().next().unwrap_or('\u{fffd}'),
            // Go prints its end-of-input marker, -1, as the replacement character.
            None => '\u{fffd}',
        };
        match c {
            '\'' => "'\\''".to_owned(),
            '"' => "'\"'".to_owned(),
            c => {
                let quoted = go_quote(c.encode_utf8(&mut [0; 4]).as_bytes());
                format!("'{}'", quoted.trim_matches('"'))
            }
        }
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            while is_space(self.peek()) {
                self.pos += 1;
            }
            if self.peek() == Some(b'#') && !self.in_duration {
                while !matches!(self.peek(), None | Some(b'\n' | b'\r')) {
                    self.pos += 1;
                }
            } else {
                break;
            }
        }
        self.start = self.pos;
    }

    /// The next token; at the end of the text again and again `Eof`.
    pub(super) fn next(&mut self) -> Result<Token, ParseError> {
        self.skip_space_and_comments();
        if self.in_braces {
            self.next_in_braces()
        } else if self.in_duration {
            self.next_in_duration()
        } else {
            self.next_in_statement()
        }
    }

    fn next_in_statement(&mut self) -> Result<Token, ParseError> {
        let Some(byte) = self.bump() else {
            if self.paren_depth != 0 {
                return Err(self.error("unclosed left parenthesis"));
            }
            if self.in_brackets {
                return Err(self.error("unclosed left bracket"));
            }
            return self.token(Kind::Eof);
        };
        match byte {
            b',' => self.token(Kind::Comma),
            b'*' => self.token(Kind::Mul),
            b'/' => self.token(Kind::Div),
            b'%' => self.token(Kind::Mod),
            b'+' => self.token(Kind::Add),
            b'-' => self.token(Kind::Sub),
            b'^' => self.token(Kind::Pow),
            b'@' => self.token(Kind::At),
            b'=' => match self.peek() {
                Some(b'=') => {
                    self.pos += 1;
                    self.token(Kind::EqualEqual)
                }
                Some(b'~') => Err(self.error("unexpected character after '=': '~'")),
                _ => self.token(Kind::Equal),
            },
            b'!' => {
                if self.accept(b"=") {
                    return self.token(Kind::NotEqual);
                }
                let rune = self.rune_at(self.pos);
                Err(self.error(format!("unexpected character after '!': {rune}")))
            }
            b'<' if self.accept(b"=") => self.token(Kind::LessEqual),
            b'<' if self.accept(b"/") => self.token(Kind::TrimUpper),
            b'<' => self.token(Kind::Less),
            b'>' if self.accept(b"=") => self.token(Kind::GreaterEqual),
            b'>' if self.accept(b"/") => self.token(Kind::TrimLower),
            b'>' => self.token(Kind::Greater),
            b'"' | b'\'' => self.quoted(byte),
            b'`' => self.raw(),
            b'(' => {
                self.paren_depth += 1;
                self.token(Kind::LeftParen)
            }
            b')' => self.right_paren(),
            b'{' => {
                self.in_braces = true;
                self.token(Kind::LeftBrace)
            }
            b'[' => {
                if self.in_brackets {
                    return Err(self.error("unexpected left bracket '['"));
                }
                self.got_colon = false;
                self.in_brackets = true;
                self.in_duration = true;
                self.token(Kind::LeftBracket)
            }
            b']' => {
                if !self.in_brackets {
                    return Err(self.error("unexpected right bracket ']'"));
                }
                self.in_brackets = false;
                self.token(Kind::RightBracket)
            }
            _ if byte.is_ascii_digit() || (byte == b'.' && is_digit(self.peek())) => {
                self.pos -= 1;
                self.number_or_duration()
            }
            _ if is_alpha(Some(byte)) || byte == b':' => self.word(byte),
            _ => {
                let rune = self.rune_at(self.start);
                Err(self.error(format!("unexpected character: {rune}")))
            }
        }
    }

    fn right_paren(&mut self) -> Result<Token, ParseError> {
        if self.paren_depth == 0 {
            self.start = self.pos;
            return Err(self.error("unexpected right parenthesis ')'"));
        }
        self.paren_depth -= 1;
        self.token(Kind::RightParen)
    }

    fn word(&mut self, first: u8) -> Result<Token, ParseError> {
        if self.in_brackets {
            if first == b':' {
                if self.got_colon {
                    return Err(self.error("unexpected colon ':'"));
                }
                self.got_colon = true;
                self.in_duration = false;
                return self.token(Kind::Colon);
            }
            if let Some(kind) = self.duration_keyword(first) {
                return self.token(kind);
            }
            let rune = self.rune_at(self.start);
            return Err(self.error(format!("unexpected character: {rune}, expected ':'")));
        }
        let mut has_colon = first == b':';
        while let Some(b) = self.peek() {
            if b != b':' && !is_word(Some(b)) {
                break;
            }
            has_colon |= b == b':';
            self.pos += 1;
        }
        let word = self.input.get(self.start..self.pos).unwrap_or_default();
        let kind = keyword(word).unwrap_or(if has_colon {
            Kind::MetricIdentifier
        } else {
            Kind::Identifier
        });
        self.token(kind)
    }

    fn duration_keyword(&mut self, first: u8) -> Option<Kind> {
        if !matches!(first, b's' | b'S' | b'm' | b'M' | b'r' | b'R') {
            return None;
        }
        while is_alpha(self.peek()) {
            self.pos += 1;
        }
        match keyword(self.input.get(self.start..self.pos)?)? {
            kind @ (Kind::Step | Kind::Range | Kind::MinOf | Kind::MaxOf) => Some(kind),
            _ => None,
        }
    }

    fn next_in_duration(&mut self) -> Result<Token, ParseError> {
        let Some(byte) = self.bump() else {
            return Err(self.error("unexpected end of input in duration expression"));
        };
        match byte {
            b']' => {
                self.in_brackets = false;
                self.in_duration = false;
                self.got_colon = false;
                self.token(Kind::RightBracket)
            }
            b':' => {
                self.start = self.pos;
                if !self.got_duration {
                    return Err(
                        self.error("unexpected colon before duration in duration expression")
                    );
                }
                if self.got_colon {
                    return Err(self.error("unexpected repeated colon in duration expression"));
                }
                self.start = self.pos - 1;
                self.got_colon = true;
                self.token(Kind::Colon)
            }
            b'(' => {
                self.paren_depth += 1;
                self.token(Kind::LeftParen)
            }
            b')' => self.right_paren(),
            b'+' => self.token(Kind::Add),
            b'-' => self.token(Kind::Sub),
            b'*' => self.token(Kind::Mul),
            b'/' => self.token(Kind::Div),
            b'%' => self.token(Kind::Mod),
            b'^' => self.token(Kind::Pow),
            b',' => self.token(Kind::Comma),
            _ if byte.is_ascii_digit() || (byte == b'.' && is_digit(self.peek())) => {
                self.pos -= 1;
                self.got_duration = true;
                self.in_duration = false;
                self.number_or_duration()
            }
            _ => {
                if let Some(kind) = self.duration_keyword(byte) {
                    self.got_duration = true;
                    return self.token(kind);
                }
                let rune = self.rune_at(self.start);
                Err(self.error(format!(
                    "unexpected character in duration expression: {rune}"
                )))
            }
        }
    }

    fn next_in_braces(&mut self) -> Result<Token, ParseError> {
        let Some(byte) = self.bump() else {
            return Err(self.error("unexpected end of input inside braces"));
        };
        match byte {
            b',' => self.token(Kind::Comma),
            b'"' | b'\'' => self.quoted(byte),
            b'`' => self.raw(),
            b'=' if self.accept(b"~") => self.token(Kind::EqualRegex),
            b'=' => self.token(Kind::Equal),
            b'!' if self.accept(b"~") => self.token(Kind::NotEqualRegex),
            b'!' if self.accept(b"=") => self.token(Kind::NotEqual),
            b'!' => {
                let rune = self.rune_at(self.pos);
                Err(self.error(format!(
                    "unexpected character after '!' inside braces: {rune}"
                )))
            }
            b'{' => Err(self.error("unexpected left brace '{'")),
            b'}' => {
                self.in_braces = false;
                self.token(Kind::RightBrace)
            }
            _ if is_alpha(Some(byte)) => {
                while is_word(self.peek()) {
                    self.pos += 1;
                }
                self.token(Kind::Identifier)
            }
            _ => {
                let rune = self.rune_at(self.start);
                Err(self.error(format!("unexpected character inside braces: {rune}")))
            }
        }
    }

    fn number_or_duration(&mut self) -> Result<Token, ParseError> {
        if self.scan_number() {
            return self.token(Kind::Number);
        }
        if self.scan_rest_of_duration() {
            return self.token(Kind::Duration);
        }
        let text = self.input.get(self.start..self.pos).unwrap_or_default();
        Err(self.error(format!("bad number or duration syntax: {}", go_quote(text))))
    }

    /// Takes what looks like a number; whether it is one is for `number::parse_number`. False leaves the position where it got stuck,
    /// which the error text shows.
    fn scan_number(&mut self) -> bool {
        let begin = self.pos;
        let mut hex = false;
        if self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            hex = true;
        }
        let is_figure = |b: u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
        self.accept(b".");
        if self.peek().is_some_and(is_figure) {
            self.pos += 1;
        }
        let (mut dot, mut exponent) = (false, false);
        while let Some(b) = self.peek() {
            match b {
                b'.' => {
                    self.pos += 1;
                    if dot || self.accept(b"_.") || hex {
                        return false;
                    }
                    dot = true;
                }
                b'e' | b'E' if exponent => {
                    self.pos += 1;
                    return false;
                }
                b'e' | b'E' => {
                    exponent = true;
                    self.pos += 1;
                    self.accept(b"+-");
                    if self.accept(b"._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                b'_' => {
                    self.pos += 1;
                    if self.accept(b"._eE") || self.peek().is_none() {
                        return false;
                    }
                }
                b if is_figure(b) => self.pos += 1,
                _ => break,
            }
        }
        self.pos != begin && !is_word(self.peek())
    }

    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        self.accept(b"s");
        while is_digit(self.peek()) {
            while is_digit(self.peek()) {
                self.pos += 1;
            }
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        if is_word(self.peek()) {
            self.pos += 1;
            return false;
        }
        true
    }

    fn raw(&mut self) -> Result<Token, ParseError> {
        loop {
            match self.peek() {
                None => return Err(self.error("unterminated raw string")),
                Some(b'`') => {
                    self.pos += 1;
                    return self.token(Kind::String);
                }
                Some(_) => self.character_of_string()?,
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Token, ParseError> {
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(self.error("unterminated quoted string")),
                Some(b'\\') => {
                    self.pos += 1;
                    self.escape(quote)?;
                }
                Some(b) if b == quote => {
                    self.pos += 1;
                    return self.token(Kind::String);
                }
                Some(_) => self.character_of_string()?,
            }
        }
    }

    /// Steps over one character, which must be UTF-8 and, as in Prometheus, not the replacement character.
    fn character_of_string(&mut self) -> Result<(), ParseError> {
        if self.peek().is_some_and(|b| b.is_ascii()) {
            self.pos += 1;
            return Ok(());
        }
        let head = self.input.get(self.pos..).unwrap_or_default();
        let head = head.get(..head.len().min(4)).unwrap_or_default();
        let c = head
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        match c {
            Some(c) if c != '\u{fffd}' => {
                self.pos += c.len_utf8();
                Ok(())
            }
            _ => Err(self.error("invalid UTF-8 rune")),
        }
    }

    fn escape(&mut self, quote: u8) -> Result<(), ParseError> {
        let not_terminated = "escape sequence not terminated";
        let Some(byte) = self.peek() else {
            return Err(self.error(not_terminated));
        };
        let (count, base, max) = match byte {
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' => (0, 0, 0),
            b if b == quote => (0, 0, 0),
            b'0'..=b'7' => (3, 8, 255),
            b'x' => (2, 16, 255),
            b'u' => (4, 16, 0x10_ffff),
            b'U' => (8, 16, 0x10_ffff),
            _ => {
                let shown = self.unicode_at(self.pos);
                return Err(self.error(format!("unknown escape sequence {shown}")));
            }
        };
        if count == 0 || base == 16 {
            self.pos += 1;
        }
        let mut value: u32 = 0;
        for _ in 0..count {
            let Some(byte) = self.peek() else {
                return Err(self.error(not_terminated));
            };
            let Some(digit) = char::from(byte).to_digit(base) else {
                let shown = self.unicode_at(self.pos);
                return Err(self.error(format!("illegal character {shown} in escape sequence")));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.pos += 1;
        }
        if count > 0 && (value > max || (0xd800..0xe000).contains(&value)) {
            return Err(self.error("escape sequence is an invalid Unicode code point"));
        }
        Ok(())
    }

    /// Go's `%#U`: `U+0063 'c'`.
    fn unicode_at(&self, at: usize) -> String {
        let rest = self.input.get(at..).unwrap_or_default();
        let head = rest.get(..rest.len().min(4)).unwrap_or_default();
        let c = head
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next())
            .unwrap_or('\u{fffd}');
        if c.is_control() {
            format!("U+{:04X}", u32::from(c))
        } else {
            format!("U+{:04X} '{c}'", u32::from(c))
        }
    }
}
