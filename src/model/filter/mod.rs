//! Filters: which messages of a topic a group gets. By tag, or by an SQL92 expression over the message's properties.
//!
//! The language is RocketMQ's (`docs/FILTERS.md`), read in three steps: `token` cuts the text into words, `parse` makes
//! them an `expression`, `evaluate` asks it about a message. Numbers are exact decimals (`number`), and nothing here
//! takes more than linear time in the message (`pattern`).

mod evaluate;
mod expression;
mod number;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::{FILTER_BYTES_MAX, FILTER_TAGS_MAX, TAG_BYTES_MAX};
use super::message::Attributes;
use expression::Expression;

/// Why a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FilterError {
    /// Where it stops making sense, in characters from 1; none when that is the whole of it.
    pub column: Option<usize>,
    /// What is wrong there.
    pub text: String,
}

impl FilterError {
    fn whole(text: String) -> FilterError {
        FilterError { column: None, text }
    }

    fn at(column: usize, text: String) -> FilterError {
        FilterError { column: Some(column), text }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = self.column {
            write!(out, "column {column}: ")?;
        }
        out.write_str(&self.text)
    }
}

/// Which messages of a topic a group gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Every message.
    #[default]
    All,
    /// Messages whose tag is one of these; sorted, each once, never empty. RocketMQ's tag expressions: `*`, or tags
    /// joined by `||`.
    Tags(Arc<[String]>),
    /// Messages of which an SQL92 expression is true.
    Sql(Sql),
}

/// An SQL92 expression. Two are equal when they say the same but for spaces, capitals and needless brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql(Arc<Expression>);

impl Sql {
    /// Reads an expression.
    ///
    /// # Errors
    /// At the first column that does not belong, with what was expected there; or when a limit is passed.
    pub fn parse(text: &str) -> Result<Sql, FilterError> {
        parse::parse(text).map(|expression| Sql(Arc::new(expression)))
    }

    /// Whether it is true of a message with these attributes; unknown is not true.
    #[must_use]
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.0.evaluate(attributes) == Some(true)
    }
}

/// The canonical form, which parses to an equal expression.
impl fmt::Display for Sql {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Filter {
    /// Reads a tag expression.
    ///
    /// # Errors
    /// When it is too long, names too many tags, or holds an empty or impossible tag.
    pub fn parse_tags(text: &str) -> Result<Filter, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::whole(format!("a filter has at most {FILTER_BYTES_MAX} bytes")));
        }
        if text.trim() == "*" {
            return Ok(Filter::All);
        }
        let mut tags = Vec::new();
        for tag in text.split("||").map(str::trim) {
            if tag.is_empty()
                || tag.len() > TAG_BYTES_MAX
                || tag.contains(|c: char| c.is_control() || c == '|')
            {
                let text = format!("'{}' is not a tag; write * or tags joined by ||", tag.escape_debug());
                return Err(FilterError::whole(text));
            }
            tags.push(tag.to_owned());
        }
        tags.sort();
        tags.dedup();
        if tags.len() > FILTER_TAGS_MAX {
            return Err(FilterError::whole(format!("a filter names at most {FILTER_TAGS_MAX} tags")));
        }
        // Settings are kept as they are shown: what is shown has to read back as the same filter.
        if tags == ["*"] {
            return Ok(Filter::All);
        }
        let filter = Filter::Tags(tags.into());
        if filter.expression().len() > FILTER_BYTES_MAX {
            let text = format!("a filter has at most {FILTER_BYTES_MAX} bytes, with blanks around each ||");
            return Err(FilterError::whole(text));
        }
        Ok(filter)
    }

    /// Reads an SQL92 expression.
    ///
    /// # Errors
    /// As [`Sql::parse`].
    pub fn parse_sql(text: &str) -> Result<Filter, FilterError> {
        Sql::parse(text).map(Filter::Sql)
    }

    /// Whether every message passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self, Filter::All)
    }

    /// Whether it looks at more than the tag, so that the message has to be read.
    #[must_use]
    pub fn needs_attributes(&self) -> bool {
        matches!(self, Filter::Sql(_))
    }

    /// Whether a message passes. Only a filter that [needs them](Filter::needs_attributes) asks for the attributes;
    /// when they are not at hand the answer is none.
    pub fn matches<'a>(
        &self,
        tag: Option<&str>,
        attributes: impl FnOnce() -> Option<&'a Attributes>,
    ) -> Option<bool> {
        match self {
            Filter::All => Some(true),
            Filter::Tags(tags) => Some(tag.is_some_and(|tag| tags.iter().any(|known| known == tag))),
            Filter::Sql(sql) => attributes().map(|attributes| sql.matches(attributes)),
        }
    }

    /// Whether a message with this tag passes; an SQL expression, which asks about more than that, lets none pass.
    #[must_use]
    pub fn matches_tag(&self, tag: Option<&str>) -> bool {
        self.matches(tag, || None) == Some(true)
    }

    /// At most about how many bytes its expression has.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        match self {
            Filter::All => 1,
            Filter::Tags(tags) => tags.iter().map(|tag| tag.len() + 4).sum(),
            Filter::Sql(_) => FILTER_BYTES_MAX,
        }
    }

    /// Which language it is written in, as the JSON names it: `tag` or `sql`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.needs_attributes() { "sql" } else { "tag" }
    }

    /// The expression, as it is shown.
    #[must_use]
    pub fn expression(&self) -> String {
        match self {
            Filter::All => "*".to_owned(),
            Filter::Tags(tags) => tags.join(" || "),
            Filter::Sql(sql) => sql.to_string(),
        }
    }
}

/// The JSON form: `{"tag": "a || b"}` or `{"sql": "a > 1"}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FilterForm {
    Tag(String),
    Sql(String),
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match self {
            Filter::All | Filter::Tags(_) => FilterForm::Tag(self.expression()),
            Filter::Sql(sql) => FilterForm::Sql(sql.to_string()),
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        let filter = match FilterForm::deserialize(deserializer)? {
            FilterForm::Tag(text) => Filter::parse_tags(&text),
            FilterForm::Sql(text) => Filter::parse_sql(&text),
        };
        filter.map_err(serde::de::Error::custom)
    }
}
