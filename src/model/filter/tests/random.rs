//! Any expression against a naive evaluator that says what docs/FILTERS.md says, word for word: 0 false, 1 unknown, 2
//! true; numbers as integers of thousandths. And any text against the parser.

use proptest::prelude::*;

use super::super::expression::{Comparison, Expression, Operand, Part, Property};
use super::super::number::Number;
use super::super::pattern::Pattern;
use super::*;

type Level = u8;

fn level(truth: bool) -> Level {
    if truth { 2 } else { 0 }
}

fn value(property: &Property, attributes: &Attributes) -> Option<String> {
    match property {
        Property::Tag => attributes.tag.as_ref().map(ToString::to_string),
        Property::Keys if attributes.keys.is_empty() => None,
        Property::Keys => Some(attributes.keys.join(" ")),
        Property::Named(name) => attributes.properties.get(name).map(ToString::to_string),
    }
}

/// The tests below only make numbers of at most three decimals and no exponent.
fn thousandths(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(sign * (whole.parse::<i64>().ok()? * 1_000 + fraction.parse::<i64>().ok()?))
}

fn compare(left: Option<&str>, comparison: Comparison, right: &Operand, attributes: &Attributes) -> Level {
    let Some(left) = left else { return 1 };
    let texts = |right: &str| match comparison {
        Comparison::Equal => level(left == right),
        Comparison::NotEqual => level(left != right),
        _ => 1,
    };
    let numbers = |right: &str| {
        let (left, right) = (thousandths(left)?, thousandths(right)?);
        Some(level(match comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }))
    };
    match right {
        Operand::Text(text) => texts(text),
        Operand::Number(number) => numbers(&number.to_string()).unwrap_or(1),
        Operand::Property(property) => match value(property, attributes) {
            None => 1,
            Some(right) => numbers(&right).unwrap_or_else(|| texts(&right)),
        },
        Operand::Truth(truth) => match left.to_lowercase().parse::<bool>() {
            Err(_) => 1,
            Ok(left) => level((left == *truth) == (comparison == Comparison::Equal)),
        },
    }
}

fn naive(expression: &Expression, attributes: &Attributes) -> Level {
    match expression {
        Expression::Constant(truth) => truth.map_or(1, level),
        Expression::Not(inner) => 2 - naive(inner, attributes),
        Expression::And(parts) => parts.iter().map(|part| naive(part, attributes)).min().unwrap(),
        Expression::Or(parts) => parts.iter().map(|part| naive(part, attributes)).max().unwrap(),
        Expression::IsNull(property) => level(value(property, attributes).is_none()),
        Expression::Compare(property, comparison, right) => {
            compare(value(property, attributes).as_deref(), *comparison, right, attributes)
        }
        Expression::Between(property, low, high) => {
            let value = value(property, attributes);
            let above = compare(value.as_deref(), Comparison::GreaterOrEqual, low, attributes);
            above.min(compare(value.as_deref(), Comparison::LessOrEqual, high, attributes))
        }
        Expression::In(property, operands) => {
            let value = value(property, attributes);
            let same = |right| compare(value.as_deref(), Comparison::Equal, right, attributes);
            operands.iter().map(same).max().unwrap()
        }
        // How patterns fit is held against the rule in `pattern`.
        Expression::Like(property, pattern) => {
            value(property, attributes).map_or(1, |value| level(pattern.matches(&value)))
        }
        Expression::Holds(property, part, text) => {
            let Some(value) = value(property, attributes) else { return 1 };
            let at = value.match_indices(&**text).map(|(at, _)| at).collect::<Vec<_>>();
            level(match part {
                Part::Anywhere => !at.is_empty(),
                Part::Start => at.contains(&0),
                Part::End => value.ends_with(&**text),
            })
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a'\"%_ ]{0,3}", any_number(), Just("true".to_owned()), Just("FALSE".to_owned()),]
}

fn any_number() -> impl Strategy<Value = String> {
    (-30i32..30, 0u8..4).prop_map(|(number, decimals)| match decimals {
        0 => number.to_string(),
        1 => format!("{number}.0"),
        2 => format!("{number}.5"),
        _ => format!("{number}.250"),
    })
}

fn any_property() -> impl Strategy<Value = Property> {
    prop_oneof![
        Just(Property::Tag),
        Just(Property::Keys),
        "[ab]".prop_map(|name| Property::Named(name.into())),
        prop_oneof![Just("tags"), Just("and"), Just("it's"), Just("a-b"), Just("\"q\""), Just("ü$1")]
            .prop_map(|name| Property::Named(name.into())),
    ]
}

fn any_number_operand() -> impl Strategy<Value = Operand> {
    any_number().prop_map(|text| Operand::Number(Number::parse(&text).unwrap()))
}

fn any_ordered() -> impl Strategy<Value = Operand> {
    prop_oneof![any_number_operand(), any_property().prop_map(Operand::Property)]
}

fn any_literal() -> impl Strategy<Value = Operand> {
    let text = any_text().prop_map(|text| Operand::Text(text.into()));
    prop_oneof![any_number_operand(), text, any::<bool>().prop_map(Operand::Truth)]
}

fn any_test() -> impl Strategy<Value = Expression> {
    let order = proptest::sample::select(&Comparison::ALL[2..]);
    let same = proptest::sample::select(&Comparison::ALL[..2]);
    let between = (any_property(), any_ordered(), any_ordered()).prop_map(|(property, low, high)| {
        match (&low, &high) {
            (Operand::Number(one), Operand::Number(other))
                if one.decimal().compare(&other.decimal()).is_gt() =>
            {
                Expression::Between(property, high, low)
            }
            _ => Expression::Between(property, low, high),
        }
    });
    let like = (any_property(), any_text(), any::<bool>()).prop_map(|(property, text, escaped)| {
        let escaped = escaped && !text.contains('!');
        let text = if escaped { text.replace('%', "!%") } else { text };
        Expression::Like(property, Pattern::parse(&text, escaped.then_some('!')).unwrap())
    });
    let part = proptest::sample::select(&Part::ALL[..]);
    prop_oneof![
        proptest::option::of(any::<bool>()).prop_map(Expression::Constant),
        (any_property(), order, any_ordered())
            .prop_map(|(left, how, right)| Expression::Compare(left, how, right)),
        (any_property(), same, any_literal())
            .prop_map(|(left, how, right)| Expression::Compare(left, how, right)),
        between,
        (any_property(), proptest::collection::vec(any_literal(), 1..4))
            .prop_map(|(property, list)| Expression::In(property, list)),
        any_property().prop_map(Expression::IsNull),
        like,
        (any_property(), part, any_text()).prop_map(|(property, part, text)| Expression::Holds(
            property,
            part,
            text.into()
        )),
    ]
}

/// As the parser builds them: no AND in an AND, no OR in an OR.
fn any_expression() -> impl Strategy<Value = Expression> {
    any_test().prop_recursive(4, 24, 4, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        let flat_and = |parts: Vec<Expression>| {
            Expression::And(
                parts
                    .into_iter()
                    .flat_map(|part| match part {
                        Expression::And(parts) => parts,
                        part => vec![part],
                    })
                    .collect(),
            )
        };
        let flat_or = |parts: Vec<Expression>| {
            Expression::Or(
                parts
                    .into_iter()
                    .flat_map(|part| match part {
                        Expression::Or(parts) => parts,
                        part => vec![part],
                    })
                    .collect(),
            )
        };
        prop_oneof![
            inner.clone().prop_map(|inner| Expression::Not(Box::new(inner))),
            parts().prop_map(flat_and),
            parts().prop_map(flat_or),
        ]
    })
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let names = prop_oneof!["[ab]", Just("tags".to_owned()), Just("a-b".to_owned()), Just("ü$1".to_owned())];
    let properties = proptest::collection::btree_map(names, any_text(), 0..5);
    let keys = proptest::collection::vec("[a1]", 0..3);
    (proptest::option::of("[a1]"), keys, properties).prop_map(|(tag, keys, properties)| Attributes {
        tag: tag.map(Into::into),
        keys: keys.into_iter().map(Into::into).collect(),
        properties: properties.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..Attributes::default()
    })
}

/// `WHIMBREL_CASES` says how many.
fn cases() -> u32 {
    std::env::var("WHIMBREL_CASES").map_or(2_000, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn an_expression_means_what_the_documents_say(expression in any_expression(), attributes in any_attributes()) {
        let expected = match naive(&expression, &attributes) {
            0 => FALSE,
            1 => UNKNOWN,
            _ => TRUE,
        };
        prop_assert_eq!(expression.evaluate(&attributes), expected, "{}", expression);
    }

    #[test]
    fn the_canonical_form_parses_to_the_same(expression in any_expression()) {
        let text = expression.to_string();
        match parse::parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, expression, "{}", text),
            Err(error) => {
                prop_assert!(text.len() > FILTER_BYTES_MAX || error.text.contains("at most"), "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn no_text_is_too_strange(
        text in ".{0,60}",
        words in proptest::collection::vec(
            proptest::sample::select(&[
                "a", "b", "AND", "OR", "NOT", "(", ")", "=", "<", "<>", "'x'", "'", "\"", "5", "-", "1e", ".", ",",
                "IN", "IN (", "BETWEEN", "LIKE", "'%_'", "ESCAPE", "IS", "NULL", "TRUE", "tags", "CONTAINS", "ü",
            ][..]),
            0..14,
        ),
        attributes in any_attributes(),
    ) {
        for text in [text, words.join(" "), words.concat()] {
            match parse::parse(&text) {
                Ok(expression) => {
                    let canonical = expression.to_string();
                    expression.evaluate(&attributes);
                    prop_assert_eq!(parse::parse(&canonical), Ok(expression), "{}", canonical);
                }
                Err(error) => {
                    let column = error.column.unwrap();
                    prop_assert!((1..=text.chars().count() + 1).contains(&column), "{}: {}", text, error);
                }
            }
        }
    }
}
