//! What an expression says about a message, in three-valued logic: true, false, or unknown (none).
//!
//! A test of a property that the message does not have is unknown, and so is comparing a number with what is none.
//! NOT unknown is unknown, false wins an AND, true wins an OR. Only what is true is delivered.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::model::Attributes;

use super::expression::{Comparison, Expression, Operand, Part, Property};
use super::number::Decimal;

impl Expression {
    /// Its truth about a message with these attributes.
    pub(super) fn evaluate(&self, attributes: &Attributes) -> Option<bool> {
        match self {
            Expression::Constant(truth) => *truth,
            Expression::Not(inner) => inner.evaluate(attributes).map(|truth| !truth),
            Expression::And(parts) => decide(parts, attributes, false),
            Expression::Or(parts) => decide(parts, attributes, true),
            Expression::IsNull(property) => Some(property.of(attributes).is_none()),
            Expression::Compare(property, comparison, operand) => {
                comparison.holds(&property.of(attributes)?, operand, attributes)
            }
            Expression::Between(property, low, high) => {
                let value = property.of(attributes)?;
                let above = Comparison::GreaterOrEqual.holds(&value, low, attributes);
                if above == Some(false) {
                    return above;
                }
                let below = Comparison::LessOrEqual.holds(&value, high, attributes);
                if below == Some(false) { below } else { above.and(below) }
            }
            Expression::In(property, operands) => {
                let value = property.of(attributes)?;
                let mut truth = Some(false);
                for operand in operands {
                    match Comparison::Equal.holds(&value, operand, attributes) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => truth = None,
                    }
                }
                truth
            }
            Expression::Like(property, pattern) => {
                property.of(attributes).map(|value| pattern.matches(&value))
            }
            Expression::Holds(property, part, text) => {
                let value = property.of(attributes)?;
                Some(match part {
                    Part::Anywhere => value.contains(&**text),
                    Part::Start => value.starts_with(&**text),
                    Part::End => value.ends_with(&**text),
                })
            }
        }
    }
}

/// AND and OR: the first part that is `winner` decides; without one, all must be known.
fn decide(parts: &[Expression], attributes: &Attributes, winner: bool) -> Option<bool> {
    let mut truth = Some(!winner);
    for part in parts {
        match part.evaluate(attributes) {
            Some(found) if found == winner => return Some(winner),
            Some(_) => {}
            None => truth = None,
        }
    }
    truth
}

impl Property {
    /// Its value; none when the message does not have it.
    fn of<'a>(&self, attributes: &'a Attributes) -> Option<Cow<'a, str>> {
        match self {
            Property::Tag => attributes.tag.as_deref().map(Cow::Borrowed),
            Property::Named(name) => attributes.properties.get(name).map(|value| Cow::Borrowed(&**value)),
            Property::Keys => match attributes.keys.as_slice() {
                [] => None,
                [only] => Some(Cow::Borrowed(only)),
                keys => Some(Cow::Owned(keys.join(" "))),
            },
        }
    }
}

impl Comparison {
    /// Whether `value` stands to the operand as this says.
    fn holds(self, value: &str, operand: &Operand, attributes: &Attributes) -> Option<bool> {
        match operand {
            Operand::Number(number) => {
                Decimal::parse(value).map(|value| self.allows(value.compare(&number.decimal())))
            }
            Operand::Text(text) => Some(self.allows(value.cmp(text))),
            Operand::Truth(truth) => {
                let found = if value.eq_ignore_ascii_case("true") {
                    true
                } else if value.eq_ignore_ascii_case("false") {
                    false
                } else {
                    return None;
                };
                Some(self.allows(found.cmp(truth)))
            }
            Operand::Property(other) => {
                let other = other.of(attributes)?;
                match (Decimal::parse(value), Decimal::parse(&other)) {
                    (Some(value), Some(other)) => Some(self.allows(value.compare(&other))),
                    _ if self.is_order() => None,
                    _ => Some(self.allows(value.cmp(&other))),
                }
            }
        }
    }

    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
