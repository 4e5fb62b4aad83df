//! Reads an expression, or says at which column it stops making sense and what was expected there.
//!
//! ```text
//! any      = all { OR all }
//! all      = negation { AND negation }
//! negation = NOT negation | "(" any ")" | TRUE | FALSE | NULL | test
//! test     = property comparison operand | literal comparison property
//!          | property IS [NOT] NULL
//!          | property [NOT] BETWEEN bound AND bound         bound: number or property
//!          | property [NOT] IN "(" literal { "," literal } ")"
//!          | property [NOT] LIKE text [ ESCAPE text ]
//!          | property [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text
//! ```
//!
//! Filters stand in the log, so what was accepted once must be accepted for ever: the language and its limits only
//! grow.

use crate::model::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TERMS_MAX};

use super::FilterError;
use super::expression::{Comparison, Expression, KEYS_NAME, KEYWORDS, Operand, Part, Property, TAG_NAMES};
use super::number::Number;
use super::pattern::Pattern;
use super::token::{Lexer, Placed, Token};

type Parsed<T> = Result<T, FilterError>;

/// Reads a whole expression.
///
/// # Errors
/// At the first column that does not belong, or when a limit is passed.
pub(super) fn parse(text: &str) -> Parsed<Expression> {
    let too_long = |what: &str| FilterError::at(1, format!("{what} has at most {FILTER_BYTES_MAX} bytes"));
    if text.len() > FILTER_BYTES_MAX {
        return Err(too_long("a filter"));
    }
    let mut lexer = Lexer::new(text);
    let current = lexer.next()?;
    let mut parser = Parser { lexer, current, depth: 0, terms: 0 };
    let expression = parser.any()?;
    if parser.current.token != Token::End {
        return parser.expected("AND, OR or the end");
    }
    // It is kept in this form, and has to be read back.
    if expression.to_string().len() > FILTER_BYTES_MAX {
        return Err(too_long("a filter in its canonical form"));
    }
    Ok(expression)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next word.
    current: Placed<'a>,
    /// Brackets and NOTs around the next word.
    depth: usize,
    /// Tests so far.
    terms: usize,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Parsed<Placed<'a>> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn expected<T>(&self, what: &str) -> Parsed<T> {
        let Placed { token, column } = &self.current;
        Err(FilterError::at(*column, format!("expected {what}, found {token}")))
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.current.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Takes the keyword if it comes next.
    fn keyword(&mut self, keyword: &str) -> Parsed<bool> {
        let found = self.is_keyword(keyword);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn symbol(&mut self, symbol: &str) -> Parsed<bool> {
        let found = matches!(self.current.token, Token::Symbol(next) if next == symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn any(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.all()?];
        while self.keyword("OR")? {
            parts.push(self.all()?);
        }
        let flat = |part| match part {
            Expression::Or(parts) => parts,
            part => vec![part],
        };
        Ok(one_or(parts.into_iter().flat_map(flat).collect(), Expression::Or))
    }

    fn all(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.negation()?];
        while self.keyword("AND")? {
            parts.push(self.negation()?);
        }
        let flat = |part| match part {
            Expression::And(parts) => parts,
            part => vec![part],
        };
        Ok(one_or(parts.into_iter().flat_map(flat).collect(), Expression::And))
    }

    fn negation(&mut self) -> Parsed<Expression> {
        let column = self.current.column;
        if self.keyword("NOT")? {
            self.enter(column)?;
            let inner = self.negation()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.symbol("(")? {
            self.enter(column)?;
            let inner = self.any()?;
            self.depth -= 1;
            if !self.symbol(")")? {
                return self.expected("AND, OR or )");
            }
            return Ok(inner);
        }
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            let text = format!("a filter has at most {FILTER_TERMS_MAX} comparisons; this is one more");
            return Err(FilterError::at(column, text));
        }
        self.test()
    }

    fn enter(&mut self, column: usize) -> Parsed<()> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            let text = format!("brackets and NOT nest at most {FILTER_DEPTH_MAX} deep");
            return Err(FilterError::at(column, text));
        }
        Ok(())
    }

    fn test(&mut self) -> Parsed<Expression> {
        if self.keyword("NULL")? {
            return Ok(Expression::Constant(None));
        }
        let column = self.current.column;
        let left = self.operand("a property, NOT, TRUE, FALSE, NULL or (")?;
        match (left, self.comparison()?) {
            (Operand::Property(property), Some(comparison)) => {
                let (right, at) = self.compared("a property, a number, a text, TRUE or FALSE")?;
                check_order(comparison, &right, at)?;
                Ok(Expression::Compare(property, comparison, right))
            }
            (Operand::Property(property), None) => self.property_test(property),
            (Operand::Truth(truth), None) => Ok(Expression::Constant(Some(truth))),
            (_, None) => self.expected("=, <>, <, <=, > or >="),
            (literal, Some(comparison)) => {
                check_order(comparison, &literal, column)?;
                let (right, at) = self.compared("a property")?;
                let Operand::Property(property) = right else {
                    let text = "expected a property: one side of a comparison must be one".to_owned();
                    return Err(FilterError::at(at, text));
                };
                Ok(Expression::Compare(property, comparison.turned(), literal))
            }
        }
    }

    /// What follows a comparison, and where it begins.
    fn compared(&mut self, what: &str) -> Parsed<(Operand, usize)> {
        let column = self.current.column;
        if self.is_keyword("NULL") {
            let text = "nothing equals NULL; write IS NULL or IS NOT NULL".to_owned();
            return Err(FilterError::at(column, text));
        }
        Ok((self.operand(what)?, column))
    }

    fn comparison(&mut self) -> Parsed<Option<Comparison>> {
        let Token::Symbol(symbol) = self.current.token else { return Ok(None) };
        let found = Comparison::ALL.into_iter().find(|comparison| comparison.symbol() == symbol);
        if found.is_some() {
            self.advance()?;
        }
        Ok(found)
    }

    /// The tests that are written with words.
    fn property_test(&mut self, property: Property) -> Parsed<Expression> {
        if self.keyword("IS")? {
            let negated = self.keyword("NOT")?;
            if !self.keyword("NULL")? {
                return self.expected(if negated { "NULL" } else { "NULL or NOT NULL" });
            }
            return Ok(negate(Expression::IsNull(property), negated));
        }
        let negated = self.keyword("NOT")?;
        let part = Part::ALL.into_iter().find(|part| self.is_keyword(part.keyword()));
        let test = if let Some(part) = part {
            self.advance()?;
            Expression::Holds(property, part, self.text()?.into())
        } else if self.keyword("BETWEEN")? {
            self.between(property)?
        } else if self.keyword("IN")? {
            Expression::In(property, self.list()?)
        } else if self.keyword("LIKE")? {
            self.like(property)?
        } else if negated {
            return self.expected("BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH");
        } else {
            return self.expected(
                "=, <>, <, <=, >, >=, IS, NOT, BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH",
            );
        };
        Ok(negate(test, negated))
    }

    fn between(&mut self, property: Property) -> Parsed<Expression> {
        let low = self.bound()?;
        let column = self.current.column;
        if !self.keyword("AND")? {
            return self.expected("AND and the upper end of BETWEEN");
        }
        let high = self.bound()?;
        if let (Operand::Number(low), Operand::Number(high)) = (&low, &high)
            && low.decimal().compare(&high.decimal()).is_gt()
        {
            let text = format!("BETWEEN {low} AND {high} holds nothing: write the smaller number first");
            return Err(FilterError::at(column, text));
        }
        Ok(Expression::Between(property, low, high))
    }

    fn bound(&mut self) -> Parsed<Operand> {
        let (bound, column) = self.compared("a number or a property")?;
        check_order(Comparison::LessOrEqual, &bound, column)?;
        Ok(bound)
    }

    fn list(&mut self) -> Parsed<Vec<Operand>> {
        if !self.symbol("(")? {
            return self.expected("( and the values of IN");
        }
        let mut operands = Vec::new();
        loop {
            let (operand, column) = self.compared("a number, a text, TRUE or FALSE")?;
            if let Operand::Property(name) = operand {
                let text = format!("IN lists values, and {name} is a property; texts stand in single quotes");
                return Err(FilterError::at(column, text));
            }
            operands.push(operand);
            if operands.len() > FILTER_LIST_MAX {
                return Err(FilterError::at(column, format!("IN lists at most {FILTER_LIST_MAX} values")));
            }
            if self.symbol(")")? {
                return Ok(operands);
            }
            if !self.symbol(",")? {
                return self.expected(", or )");
            }
        }
    }

    fn like(&mut self, property: Property) -> Parsed<Expression> {
        let column = self.current.column;
        let text = self.text()?;
        let mut escape = None;
        if self.keyword("ESCAPE")? {
            let column = self.current.column;
            let written = self.text()?;
            let mut chars = written.chars();
            let (Some(one), None) = (chars.next(), chars.next()) else {
                return Err(FilterError::at(column, "ESCAPE takes one character".to_owned()));
            };
            escape = Some(one);
        }
        let pattern = Pattern::parse(&text, escape).map_err(|text| FilterError::at(column, text))?;
        Ok(Expression::Like(property, pattern))
    }

    fn text(&mut self) -> Parsed<String> {
        if !matches!(self.current.token, Token::Text(_)) {
            return self.expected("a text in single quotes");
        }
        match self.advance()?.token {
            Token::Text(text) => Ok(text),
            _ => self.expected("a text in single quotes"),
        }
    }

    fn operand(&mut self, expected: &str) -> Parsed<Operand> {
        match &self.current.token {
            Token::Word(word) => {
                let is = |taken: &&str| taken.eq_ignore_ascii_case(word);
                let operand = if is(&"TRUE") || is(&"FALSE") {
                    Operand::Truth(is(&"TRUE"))
                } else if KEYWORDS.iter().any(is) {
                    return self.expected(expected);
                } else if TAG_NAMES.iter().any(is) {
                    Operand::Property(Property::Tag)
                } else if is(&KEYS_NAME) {
                    Operand::Property(Property::Keys)
                } else {
                    Operand::Property(Property::Named(word.to_lowercase().into()))
                };
                self.advance()?;
                Ok(operand)
            }
            Token::Quoted(name) => {
                let property = Property::Named(name.to_lowercase().into());
                self.advance()?;
                Ok(Operand::Property(property))
            }
            Token::Text(text) => {
                let operand = Operand::Text(text.as_str().into());
                self.advance()?;
                Ok(operand)
            }
            Token::Number(_) | Token::Symbol("+" | "-") => self.number().map(Operand::Number),
            Token::Symbol(_) | Token::End => self.expected(expected),
        }
    }

    fn number(&mut self) -> Parsed<Number> {
        let negative = self.symbol("-")?;
        if !negative {
            self.symbol("+")?;
        }
        let Token::Number(written) = self.current.token else { return self.expected("a number") };
        let Some(number) = Number::parse(written) else {
            return self.expected("a number of at most 40 digits, such as 5, -0.5 or 1e3");
        };
        self.advance()?;
        Ok(if negative { number.negated() } else { number })
    }
}

fn negate(test: Expression, negated: bool) -> Expression {
    if negated { Expression::Not(Box::new(test)) } else { test }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

/// Texts and truth values have no order here, as in RocketMQ.
fn check_order(comparison: Comparison, operand: &Operand, column: usize) -> Parsed<()> {
    if comparison.is_order() && matches!(operand, Operand::Text(_) | Operand::Truth(_)) {
        let text = format!("expected a number or a property: {operand} has no order, use = or <>");
        return Err(FilterError::at(column, text));
    }
    Ok(())
}
