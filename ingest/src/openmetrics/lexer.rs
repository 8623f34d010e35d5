//! Tokens of OpenMetrics text: one space where the Prometheus format takes any run of them, and no lenience.
//!
//! Promise and not its job: as `text::lexer`, whose cursor this extends.

use crate::text::lexer::{Lexer, State, Token};

impl Lexer<'_> {
    /// The next token of OpenMetrics text.
    pub(crate) fn open_metrics_token(&mut self) -> Token {
        if self.at_end() {
            return Token::Eof;
        }
        self.start = self.at;
        let byte = self.current();
        match (self.state, byte) {
            (State::Start, b'#') => {
                if self.step() != b' ' {
                    return Token::Invalid;
                }
                self.state = State::Comment;
                self.step();
                self.open_metrics_keyword()
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
            (State::MetaText, b' ') => {
                self.step();
                self.until(b"\n");
                if self.current() != b'\n' {
                    return Token::Invalid;
                }
                self.accept_byte(State::Start, Token::Text)
            }
            (State::Labels, b'"') if self.quoted(true) => Token::QuotedString,
            (State::Labels, b'}') => self.accept_byte(State::Value, Token::BraceClose),
            (State::Labels, b'=') => self.accept_byte(State::LabelValue, Token::Equal),
            (State::Labels | State::Exemplar, b',') => self.accept_byte(self.state, Token::Comma),
            (State::Labels | State::Exemplar, _) if byte != b'"' && self.name(false) => {
                Token::LabelName
            }
            (State::LabelValue, b'"') if self.quoted(false) => {
                self.accept(State::Labels, Token::LabelValue)
            }
            (State::Value, b' ') if self.spaced_word() => {
                self.accept(State::Timestamp, Token::Value)
            }
            (State::Timestamp | State::ExemplarTimestamp, b'\n') => {
                self.accept_byte(State::Start, Token::Linebreak)
            }
            (State::Timestamp, b' ') => self.timestamp_or_exemplar(),
            (State::Exemplar, b'"') if self.quoted(false) => Token::QuotedString,
            (State::Exemplar, b'}') => self.accept_byte(State::ExemplarValue, Token::BraceClose),
            (State::Exemplar, b'=') => self.accept_byte(State::ExemplarValue, Token::Equal),
            (State::ExemplarValue, b'"') if self.quoted(false) => {
                self.accept(State::Exemplar, Token::LabelValue)
            }
            (State::ExemplarValue, b' ') if self.spaced_word() => {
                self.accept(State::ExemplarTimestamp, Token::Value)
            }
            (State::ExemplarTimestamp, b' ') if self.spaced_word() => Token::Timestamp,
            _ => Token::Invalid,
        }
    }

    /// Behind `# `.
    fn open_metrics_keyword(&mut self) -> Token {
        let (word, token): (&[u8], Token) = match self.current() {
            b'H' => (b"HELP ", Token::Help),
            b'T' => (b"TYPE ", Token::Type),
            b'U' => (b"UNIT ", Token::Unit),
            b'E' => (b"EOF", Token::EofWord),
            _ => return Token::Invalid,
        };
        if !self.word(word) {
            return Token::Invalid;
        }
        if token == Token::EofWord {
            if self.current() == b'\n' {
                self.step();
            }
            return self.accept(State::Start, token);
        }
        self.accept(State::MetaName, token)
    }

    /// A space and everything up to the next space or line feed.
    fn spaced_word(&mut self) -> bool {
        self.step();
        self.until(b" \n")
    }

    /// ` 123` is a timestamp, ` # {` opens an exemplar.
    fn timestamp_or_exemplar(&mut self) -> Token {
        if !self.spaced_word() {
            return Token::Invalid;
        }
        if self.token() != b" #" || self.current() != b' ' {
            return Token::Timestamp;
        }
        if self.step() != b'{' {
            return Token::Invalid;
        }
        self.accept_byte(State::Exemplar, Token::Comment)
    }
}
