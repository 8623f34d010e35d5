//! Tokens of the Prometheus text format, with the same boundaries (and the same words for a wrong one) as
//! Prometheus's generated lexer, and the cursor that the OpenMetrics lexer shares.
//!
//! Promise: never reads outside the page; a refused byte leaves the cursor where Prometheus's error text looks.
//! Not here: the order in which tokens may come (`parser`).

/// Token classes; the names appear in error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Invalid,
    Eof,
    Linebreak,
    Whitespace,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    QuotedString,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    /// Prometheus's name of the class.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Token::Invalid => "INVALID",
            Token::Eof => "EOF",
            Token::Linebreak => "LINEBREAK",
            Token::Whitespace => "WHITESPACE",
            Token::Help => "HELP",
            Token::Type => "TYPE",
            Token::Unit => "UNIT",
            Token::EofWord => "EOFWORD",
            Token::Text => "TEXT",
            Token::Comment => "COMMENT",
            Token::MetricName => "MNAME",
            Token::QuotedString => "QSTRING",
            Token::BraceOpen => "BOPEN",
            Token::BraceClose => "BCLOSE",
            Token::LabelName => "LNAME",
            Token::LabelValue => "LVALUE",
            Token::Comma => "COMMA",
            Token::Equal => "EQUAL",
            Token::Timestamp => "TIMESTAMP",
            Token::Value => "VALUE",
        }
    }
}

/// What may come next on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Start,
    Comment,
    MetaName,
    MetaText,
    Labels,
    LabelValue,
    Value,
    Timestamp,
    Exemplar,
    ExemplarValue,
    ExemplarTimestamp,
}

/// A cursor over a page.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    /// The Prometheus format reads as if every page ended with a line feed.
    final_newline: bool,
    pub(crate) at: usize,
    pub(crate) start: usize,
    pub(crate) state: State,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8], final_newline: bool) -> Self {
        Lexer {
            bytes,
            final_newline,
            at: 0,
            start: 0,
            state: State::Start,
        }
    }

    pub(crate) fn page(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + usize::from(self.final_newline)
    }

    /// The byte under the cursor; 0 at the end, as a null byte on the page.
    pub(crate) fn current(&self) -> u8 {
        match self.bytes.get(self.at) {
            Some(&byte) => byte,
            None if self.final_newline && self.at == self.bytes.len() => b'\n',
            None => 0,
        }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.len()
    }

    /// Steps on. Null bytes inside label values, help texts and comments belong to the token.
    pub(crate) fn step(&mut self) -> u8 {
        self.at = (self.at + 1).min(self.len());
        let null_is_text = matches!(
            self.state,
            State::LabelValue | State::MetaText | State::Comment
        );
        while null_is_text && !self.at_end() && self.current() == 0 {
            self.at += 1;
        }
        self.current()
    }

    /// The present token.
    pub(crate) fn token(&self) -> &'a [u8] {
        self.slice(self.start, self.at)
    }

    /// Bytes of the page; the line feed that is not there is left out.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        let end = end.min(self.bytes.len());
        self.bytes.get(start.min(end)..end).unwrap_or_default()
    }

    /// Bytes for an error text, with the line feed that is not there.
    pub(crate) fn shown(&self, start: usize, end: usize) -> Vec<u8> {
        let mut out = self.slice(start, end).to_vec();
        if self.final_newline && end > self.bytes.len() {
            out.push(b'\n');
        }
        out
    }

    pub(crate) fn accept(&mut self, state: State, token: Token) -> Token {
        self.state = state;
        token
    }

    /// One byte that is a token by itself.
    pub(crate) fn accept_byte(&mut self, state: State, token: Token) -> Token {
        self.step();
        self.accept(state, token)
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, with colons for metric names.
    pub(crate) fn name(&mut self, colon: bool) -> bool {
        if !is_name_start(self.current(), colon) {
            return false;
        }
        while is_name_byte(self.step(), colon) {}
        true
    }

    /// A quoted string; the cursor stands on the quote, and ends behind the closing one.
    pub(crate) fn quoted(&mut self, line_feeds: bool) -> bool {
        loop {
            match self.step() {
                b'"' => {
                    self.at += 1;
                    return true;
                }
                b'\\' if matches!(self.step(), 0 | b'\n') => return false,
                0 => return false,
                b'\n' if !line_feeds => return false,
                _ => {}
            }
        }
    }

    /// Every byte up to one of `ends` or a null byte; true when there was at least one.
    pub(crate) fn until(&mut self, ends: &[u8]) -> bool {
        let start = self.at;
        let mut byte = self.current();
        while byte != 0 && !ends.contains(&byte) {
            byte = self.step();
        }
        self.at > start
    }

    /// The bytes of `word` in turn; the cursor stops at the first difference.
    pub(crate) fn word(&mut self, word: &[u8]) -> bool {
        for &expected in word {
            if self.current() != expected || self.at_end() {
                return false;
            }
            self.step();
        }
        true
    }

    fn whitespace(&mut self) -> bool {
        let start = self.at;
        while matches!(self.current(), b' ' | b'\t') {
            self.step();
        }
        self.at > start
    }

    /// The next token of the Prometheus format, whitespace skipped.
    pub(crate) fn prometheus_token(&mut self) -> Token {
        loop {
            match self.prometheus_token_or_space() {
                Token::Whitespace => {}
                token => return token,
            }
        }
    }

    fn prometheus_token_or_space(&mut self) -> Token {
        if self.at_end() {
            return Token::Eof;
        }
        self.start = self.at;
        if self.whitespace() {
            // A help text may start with spaces; it wins when it is longer than the spaces alone.
            if self.state != State::MetaText || self.current() == b'\n' {
                return Token::Whitespace;
            }
            self.until(b"\n");
            return self.accept(State::Start, Token::Text);
        }
        let byte = self.current();
        match (self.state, byte) {
            (State::Start, 0) => Token::Eof,
            (State::Start | State::Timestamp, b'\n') => {
                self.accept_byte(State::Start, Token::Linebreak)
            }
            (State::Start, b'#') => {
                self.step();
                if !self.whitespace() {
                    return self.comment();
                }
                self.state = State::Comment;
                self.keyword()
            }
            (State::Start | State::Value, b'{') => {
                self.accept_byte(State::Labels, Token::BraceOpen)
            }
            (State::Start, _) if self.name(true) => self.accept(State::Value, Token::MetricName),
            (State::MetaName, b'"') if self.quoted(true) => {
                self.accept(State::MetaText, Token::MetricName)
            }
            (State::MetaName, _) if byte != b'"' && self.name(true) => {
                self.accept(State::MetaText, Token::MetricName)
            }
            (State::MetaText, _) => {
                self.until(b"\n");
                self.accept(State::Start, Token::Text)
            }
            (State::Labels, b'"') if self.quoted(true) => Token::QuotedString,
            (State::Labels, b'}') => self.accept_byte(State::Value, Token::BraceClose),
            (State::Labels, b'=') => self.accept_byte(State::LabelValue, Token::Equal),
            (State::Labels, b',') => self.accept_byte(State::Labels, Token::Comma),
            (State::Labels, _) if byte != b'"' && self.name(false) => Token::LabelName,
            (State::LabelValue, b'"') if self.quoted(true) => {
                self.accept(State::Labels, Token::LabelValue)
            }
            (State::Value, _) if self.until(b"{ \t\n") => {
                self.accept(State::Timestamp, Token::Value)
            }
            (State::Timestamp, b'0'..=b'9') => {
                while self.step().is_ascii_digit() {}
                Token::Timestamp
            }
            _ => Token::Invalid,
        }
    }

    /// Behind `# `: a keyword with its spaces, else the line is a comment.
    fn keyword(&mut self) -> Token {
        let token = match self.current() {
            b'H' if self.word(b"HELP") => Token::Help,
            b'T' if self.word(b"TYPE") => Token::Type,
            _ => return self.comment(),
        };
        if self.whitespace() {
            return self.accept(State::MetaName, token);
        }
        self.comment()
    }

    fn comment(&mut self) -> Token {
        loop {
            match self.current() {
                0 => return Token::Eof,
                b'\n' => return self.accept(State::Start, Token::Comment),
                _ => self.step(),
            };
        }
    }
}

pub(crate) fn is_name_start(byte: u8, colon: bool) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':')
}

pub(crate) fn is_name_byte(byte: u8, colon: bool) -> bool {
    is_name_start(byte, colon) || byte.is_ascii_digit()
}
