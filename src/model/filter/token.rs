//! The words of an expression, each with the column where it begins.

use std::fmt;

use super::FilterError;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a property's name, as written.
    Word(&'a str),
    /// A name in double quotes, without them.
    Quoted(String),
    /// A text in single quotes, without them.
    Text(String),
    /// What looks like a number.
    Number(&'a str),
    /// An operator or bracket; `!=` comes as `<>`.
    Symbol(&'static str),
    /// There is nothing more.
    End,
}

/// Most characters of a word that an error repeats.
const SHOWN_CHARS: usize = 40;

/// The word as an error shows it.
impl fmt::Display for Token<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (quote, text) = match self {
            Token::Word(word) => ("", *word),
            Token::Quoted(name) => ("\"", name.as_str()),
            Token::Text(text) => ("'", text.as_str()),
            Token::Number(number) => ("", *number),
            Token::Symbol(symbol) => ("", *symbol),
            Token::End => return out.write_str("the end"),
        };
        let shown = text.char_indices().nth(SHOWN_CHARS).and_then(|(at, _)| text.get(..at));
        match shown {
            Some(shown) => write!(out, "{quote}{}…{quote}", shown.escape_debug()),
            None => write!(out, "{quote}{}{quote}", text.escape_debug()),
        }
    }
}

/// A word and where it begins, in characters from 1.
#[derive(Clone, Debug)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) column: usize,
}

/// Whether a name may begin with it.
pub(super) fn begins_word(char: char) -> bool {
    char.is_alphabetic() || matches!(char, '_' | '$')
}

/// Whether a name may go on with it.
pub(super) fn continues_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$')
}

/// Two characters before one: the longest symbol counts.
const SYMBOLS: [(&str, &str); 12] = [
    ("<>", "<>"),
    ("!=", "<>"),
    ("<=", "<="),
    (">=", ">="),
    ("<", "<"),
    (">", ">"),
    ("=", "="),
    ("(", "("),
    (")", ")"),
    (",", ","),
    ("+", "+"),
    ("-", "-"),
];

/// Cuts an expression into words.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { rest: text, column: 1 }
    }

    /// The next word; [`Token::End`] at the end, as often as asked.
    pub(super) fn next(&mut self) -> Result<Placed<'a>, FilterError> {
        self.take_while(char::is_whitespace);
        let column = self.column;
        let token = match self.rest.chars().next() {
            None => Token::End,
            Some('\'') => Token::Text(self.quoted('\'', "text")?),
            Some('"') => Token::Quoted(self.quoted('"', "name")?),
            Some(char) if begins_word(char) => Token::Word(self.take_while(continues_word)),
            Some(char) if char.is_ascii_digit() || char == '.' => Token::Number(self.number()),
            Some(char) => self.symbol().ok_or_else(|| {
                let text = format!("'{}' means nothing in a filter", char.escape_debug());
                FilterError::at(column, text)
            })?,
        };
        Ok(Placed { token, column })
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.column += taken.chars().count();
        taken
    }

    fn take_while(&mut self, belongs: fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|char| !belongs(char)).unwrap_or(self.rest.len()))
    }

    fn symbol(&mut self) -> Option<Token<'a>> {
        let (written, symbol) = SYMBOLS.iter().find(|(written, _)| self.rest.starts_with(written))?;
        self.take(written.len());
        Some(Token::Symbol(symbol))
    }

    /// Everything that sticks to a number, so that `5x` is one wrong word. A sign belongs to it behind an `e`.
    fn number(&mut self) -> &'a str {
        let mut before = '0';
        let end = self.rest.find(|char| {
            let sign = matches!(char, '+' | '-') && matches!(before, 'e' | 'E');
            before = char;
            !(sign || char == '.' || continues_word(char))
        });
        self.take(end.unwrap_or(self.rest.len()))
    }

    /// What stands between two `quote`s; a doubled one stands for itself.
    fn quoted(&mut self, quote: char, what: &str) -> Result<String, FilterError> {
        let column = self.column;
        let open = || FilterError::at(column, format!("the {what} that begins here has no closing {quote}"));
        let mut text = String::new();
        loop {
            self.take(1);
            let end = self.rest.find(quote).ok_or_else(open)?;
            text.push_str(self.take(end));
            self.take(1);
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
        }
    }
}
