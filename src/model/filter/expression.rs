//! An expression as it was understood, and its written form.

use std::fmt;

use super::number::Number;
use super::pattern::Pattern;
use super::token::{begins_word, continues_word};

/// What a message is asked. Built by the parser alone, which keeps these promises: `And` and `Or` have two or more
/// parts and none of their own kind, `<` and its like never stand before a text, names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// True, false or unknown.
    Constant(Option<bool>),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Compare(Property, Comparison, Operand),
    /// Property, low, high; both ends belong to it. Operands are numbers or properties.
    Between(Property, Operand, Operand),
    /// Operands are no properties.
    In(Property, Vec<Operand>),
    IsNull(Property),
    Like(Property, Pattern),
    Holds(Property, Part, Box<str>),
}

/// What a comparison looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Property {
    /// The message's tag (`TAGS`, as in RocketMQ).
    Tag,
    /// The message's keys, joined by spaces (`KEYS`, as in RocketMQ).
    Keys,
    /// A property by its name, in lower case.
    Named(Box<str>),
}

/// What a property is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Number(Number),
    Text(Box<str>),
    Truth(bool),
    Property(Property),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text must stand in a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Anywhere,
    Start,
    End,
}

impl Comparison {
    pub(super) const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    /// Whether it asks for order and not only for sameness.
    pub(super) fn is_order(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::NotEqual)
    }

    /// The same question with the sides exchanged.
    pub(super) fn turned(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }
}

impl Part {
    pub(super) const ALL: [Part; 3] = [Part::Anywhere, Part::Start, Part::End];

    pub(super) fn keyword(self) -> &'static str {
        match self {
            Part::Anywhere => "CONTAINS",
            Part::Start => "STARTSWITH",
            Part::End => "ENDSWITH",
        }
    }
}

/// Words that no bare name may be; in double quotes they are names.
pub(super) const KEYWORDS: [&str; 14] = [
    "AND",
    "OR",
    "NOT",
    "BETWEEN",
    "IN",
    "IS",
    "NULL",
    "LIKE",
    "ESCAPE",
    "CONTAINS",
    "STARTSWITH",
    "ENDSWITH",
    "TRUE",
    "FALSE",
];

/// Bare names of what is no property of the producer's.
pub(super) const TAG_NAMES: [&str; 2] = ["TAGS", "TAG"];
/// As [`TAG_NAMES`].
pub(super) const KEYS_NAME: &str = "KEYS";

/// How tightly the place holds together that an expression is written into; a looser expression needs brackets there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Open,
    InAnd,
    InNot,
}

impl Expression {
    fn write(&self, out: &mut fmt::Formatter<'_>, place: Place) -> fmt::Result {
        match self {
            Expression::Or(parts) => write_list(out, parts, "OR", (place > Place::Open, Place::InAnd)),
            Expression::And(parts) => write_list(out, parts, "AND", (place > Place::InAnd, Place::InNot)),
            Expression::Not(inner) => match &**inner {
                Expression::Between(..)
                | Expression::In(..)
                | Expression::IsNull(_)
                | Expression::Like(..)
                | Expression::Holds(..) => inner.write_test(out, "NOT "),
                _ => {
                    out.write_str("NOT ")?;
                    inner.write(out, Place::InNot)
                }
            },
            _ => self.write_test(out, ""),
        }
    }

    /// Writes what is neither AND, OR nor NOT; `not` where its own NOT would stand.
    fn write_test(&self, out: &mut fmt::Formatter<'_>, not: &str) -> fmt::Result {
        match self {
            Expression::Constant(Some(true)) => out.write_str("TRUE"),
            Expression::Constant(Some(false)) => out.write_str("FALSE"),
            Expression::Constant(None) => out.write_str("NULL"),
            Expression::Compare(left, comparison, right) => {
                write!(out, "{left} {} {right}", comparison.symbol())
            }
            Expression::Between(property, low, high) => {
                write!(out, "{property} {not}BETWEEN {low} AND {high}")
            }
            Expression::In(property, operands) => {
                write!(out, "{property} {not}IN (")?;
                for (at, operand) in operands.iter().enumerate() {
                    write!(out, "{}{operand}", if at == 0 { "" } else { ", " })?;
                }
                out.write_str(")")
            }
            Expression::IsNull(property) => write!(out, "{property} IS {not}NULL"),
            Expression::Like(property, pattern) => {
                write!(out, "{property} {not}LIKE {}", Quoted('\'', &pattern.text))?;
                let mut buffer = [0; 4];
                let escape = pattern.escape.map(|escape| &*escape.encode_utf8(&mut buffer));
                escape.map_or(Ok(()), |escape| write!(out, " ESCAPE {}", Quoted('\'', escape)))
            }
            Expression::Holds(property, part, text) => {
                write!(out, "{property} {not}{} {}", part.keyword(), Quoted('\'', text))
            }
            Expression::Not(_) | Expression::And(_) | Expression::Or(_) => self.write(out, Place::InNot),
        }
    }
}

fn write_list(
    out: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    word: &str,
    (brackets, place): (bool, Place),
) -> fmt::Result {
    if brackets {
        out.write_str("(")?;
    }
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            write!(out, " {word} ")?;
        }
        part.write(out, place)?;
    }
    if brackets { out.write_str(")") } else { Ok(()) }
}

/// The canonical form: keywords in capitals, names in lower case, no bracket too many. It parses to the same
/// expression.
impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(out, Place::Open)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Property::Tag => out.write_str("TAGS"),
            Property::Keys => out.write_str("KEYS"),
            Property::Named(name) => {
                let mut chars = name.chars();
                let bare = chars.next().is_some_and(begins_word) && chars.all(continues_word);
                if bare && !is_taken(name) { out.write_str(name) } else { Quoted('"', name).fmt(out) }
            }
        }
    }
}

/// Whether a bare word means something else than a property of that name.
fn is_taken(word: &str) -> bool {
    KEYWORDS.iter().chain(&TAG_NAMES).chain(&[KEYS_NAME]).any(|taken| taken.eq_ignore_ascii_case(word))
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Number(number) => number.fmt(out),
            Operand::Text(text) => Quoted('\'', text).fmt(out),
            Operand::Truth(true) => out.write_str("TRUE"),
            Operand::Truth(false) => out.write_str("FALSE"),
            Operand::Property(property) => property.fmt(out),
        }
    }
}

/// A text in quotes, its own ones doubled.
struct Quoted<'a>(char, &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quoted(quote, text) = self;
        write!(out, "{quote}")?;
        for (at, part) in text.split(*quote).enumerate() {
            if at > 0 {
                write!(out, "{quote}{quote}")?;
            }
            out.write_str(part)?;
        }
        write!(out, "{quote}")
    }
}
