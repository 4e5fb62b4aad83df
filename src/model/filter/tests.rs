mod random;

use super::*;
use crate::model::limits::{FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TERMS_MAX};

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
const UNKNOWN: Option<bool> = None;

/// A message with these properties, the tag `new` and the keys `k1` and `k2`.
fn message(properties: &[(&str, &str)]) -> Attributes {
    Attributes {
        tag: Some("new".into()),
        keys: vec!["k1".into(), "k2".into()],
        properties: properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..Attributes::default()
    }
}

fn truth(text: &str, attributes: &Attributes) -> Option<bool> {
    parse::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).evaluate(attributes)
}

#[test]
fn each_test_says_what_sql_says() {
    let attributes = message(&[
        ("colour", "deep blue"),
        ("price", "10.50"),
        ("count", "7"),
        ("other", "7.0"),
        ("paid", "True"),
        ("order-id", "it's"),
        ("empty", ""),
        ("tags", "mine"),
    ]);
    for (text, expected) in [
        // comparison
        ("price = 10.5", TRUE),
        ("price <> 10.5", FALSE),
        ("price > 10.49999999999999999999", TRUE),
        ("price >= 10.5 and price <= 10.5", TRUE),
        ("price < 1e1", FALSE),
        ("count > -7", TRUE),
        ("count = +7", TRUE),
        ("7 = count", TRUE),
        ("8 > count", TRUE),
        ("8 <= count", FALSE),
        ("count != 8", TRUE),
        ("colour = 'deep blue'", TRUE),
        ("colour = 'Deep blue'", FALSE),
        ("COLOUR <> 'red'", TRUE),
        ("colour > 5", UNKNOWN),
        ("colour = 5", UNKNOWN),
        ("price = '10.5'", FALSE),
        ("price = '10.50'", TRUE),
        ("missing = 1", UNKNOWN),
        ("missing <> 'x'", UNKNOWN),
        ("empty = ''", TRUE),
        ("\"order-id\" = 'it''s'", TRUE),
        ("paid = TRUE", TRUE),
        ("paid <> true", FALSE),
        ("FALSE = paid", FALSE),
        ("colour = TRUE", UNKNOWN),
        ("count = other", TRUE),
        ("count < price", TRUE),
        ("colour = count", FALSE),
        ("colour < count", UNKNOWN),
        ("count = missing", UNKNOWN),
        // BETWEEN
        ("count BETWEEN 7 AND 8", TRUE),
        ("count between 5 and 6", FALSE),
        ("count NOT BETWEEN 5 AND 6", TRUE),
        ("count BETWEEN 1 AND price", TRUE),
        ("colour BETWEEN 1 AND 2", UNKNOWN),
        ("missing NOT BETWEEN 1 AND 2", UNKNOWN),
        ("count BETWEEN 8 AND missing", FALSE),
        ("count BETWEEN 6 AND missing", UNKNOWN),
        ("count BETWEEN missing AND 6", FALSE),
        // IN
        ("colour IN ('red', 'deep blue')", TRUE),
        ("colour NOT IN ('red', 'deep blue')", FALSE),
        ("count IN (6, 7.0)", TRUE),
        ("count IN ('7')", TRUE),
        ("colour IN ('red')", FALSE),
        ("colour IN ('red', 5)", UNKNOWN),
        ("colour NOT IN ('red', 5)", UNKNOWN),
        ("colour IN (5, 'deep blue')", TRUE),
        ("missing IN ('red')", UNKNOWN),
        ("missing NOT IN ('red')", UNKNOWN),
        ("paid IN (TRUE)", TRUE),
        // IS NULL
        ("missing IS NULL", TRUE),
        ("missing IS NOT NULL", FALSE),
        ("empty IS NULL", FALSE),
        ("colour IS NOT NULL", TRUE),
        // texts
        ("colour LIKE '%blue'", TRUE),
        ("colour LIKE 'd__p%'", TRUE),
        ("colour LIKE 'blue'", FALSE),
        ("colour NOT LIKE 'blue'", TRUE),
        ("colour LIKE '%!_%' ESCAPE '!'", FALSE),
        ("missing LIKE '%'", UNKNOWN),
        ("colour CONTAINS 'p b'", TRUE),
        ("colour NOT CONTAINS 'red'", TRUE),
        ("colour STARTSWITH 'deep'", TRUE),
        ("colour NOT STARTSWITH 'deep'", FALSE),
        ("colour ENDSWITH 'blue'", TRUE),
        ("colour ENDSWITH 'deep'", FALSE),
        ("missing NOT ENDSWITH 'x'", UNKNOWN),
        // what is no property
        ("TAGS = 'new'", TRUE),
        ("tag IN ('old', 'new')", TRUE),
        ("KEYS CONTAINS 'k2'", TRUE),
        ("keys = 'k1 k2'", TRUE),
        ("\"tags\" = 'mine'", TRUE),
        ("TAGS IS NOT NULL AND (count IS NOT NULL AND count BETWEEN 0 AND 9)", TRUE),
    ] {
        assert_eq!(truth(text, &attributes), expected, "{text}");
    }
    let bare = Attributes::default();
    for text in ["TAGS IS NULL", "KEYS IS NULL"] {
        assert_eq!(truth(text, &bare), TRUE, "{text}");
    }
    assert_eq!(truth("KEYS = 'a'", &Attributes { keys: vec!["a".into()], ..bare }), TRUE);
}

#[test]
fn the_truth_tables_are_those_of_three_values() {
    let word = |truth: Option<bool>| match truth {
        Some(true) => "TRUE",
        Some(false) => "FALSE",
        None => "NULL",
    };
    let nothing = Attributes::default();
    let rows = [
        (TRUE, TRUE, TRUE, TRUE),
        (TRUE, FALSE, FALSE, TRUE),
        (TRUE, UNKNOWN, UNKNOWN, TRUE),
        (FALSE, FALSE, FALSE, FALSE),
        (FALSE, UNKNOWN, FALSE, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ];
    for (left, right, and, or) in rows {
        for (one, other) in [(word(left), word(right)), (word(right), word(left))] {
            assert_eq!(truth(&format!("{one} AND {other}"), &nothing), and, "{one} AND {other}");
            assert_eq!(truth(&format!("{one} OR {other}"), &nothing), or, "{one} OR {other}");
        }
    }
    for (value, not) in [("TRUE", FALSE), ("FALSE", TRUE), ("NULL", UNKNOWN)] {
        assert_eq!(truth(&format!("NOT {value}"), &nothing), not);
    }
    assert!(
        !Filter::parse_sql("NULL").unwrap().matches(None, || Some(&nothing)).unwrap(),
        "unknown is not true"
    );
    assert_eq!(Filter::parse_sql("TRUE").unwrap().matches(None, || None), None, "nothing is said unseen");
}

#[test]
fn and_binds_before_or_and_not_before_both() {
    for (text, canonical) in [
        ("a=1 or b=2 and c=3", "a = 1 OR b = 2 AND c = 3"),
        ("(a=1 or b=2) and c=3", "(a = 1 OR b = 2) AND c = 3"),
        ("not a=1 and b=2", "NOT a = 1 AND b = 2"),
        ("not (a=1 and b=2)", "NOT (a = 1 AND b = 2)"),
        ("((a=1))", "a = 1"),
        ("(a=1 and b=2) and (c=3 and d=4)", "a = 1 AND b = 2 AND c = 3 AND d = 4"),
        ("not not a in ('x')", "NOT a NOT IN ('x')"),
        ("not a is null", "a IS NOT NULL"),
        ("5 < A", "a > 5"),
        ("Tag='x'", "TAGS = 'x'"),
        ("\"Tag\"='x'", "\"tag\" = 'x'"),
        ("\"and\" = 1 or \"a\" = 1", "\"and\" = 1 OR a = 1"),
        ("a.b = 1", ""),
        ("a like 'x' escape '\\'", "a LIKE 'x' ESCAPE '\\'"),
        ("größe = 1", "größe = 1"),
    ] {
        match parse::parse(text) {
            Ok(expression) => assert_eq!(expression.to_string(), canonical, "{text}"),
            Err(_) => assert_eq!(canonical, "", "{text}"),
        }
    }
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    for (text, column, part) in [
        ("", 1, "expected a property, NOT, TRUE, FALSE, NULL or (, found the end"),
        ("  ", 3, "found the end"),
        ("a", 2, "expected =, <>"),
        ("a =", 4, "expected a property, a number, a text, TRUE or FALSE, found the end"),
        ("a = 1 b", 7, "expected AND, OR or the end, found b"),
        ("a = 1 AND", 10, "found the end"),
        ("a == 1", 4, "found ="),
        ("a = NULL", 5, "IS NULL"),
        ("'x' = 'y'", 7, "one side of a comparison must be one"),
        ("1", 2, "expected =, <>"),
        ("a > 'x'", 5, "has no order"),
        ("TRUE < a", 1, "has no order"),
        ("a BETWEEN 'a' AND 'b'", 11, "has no order"),
        ("a BETWEEN 1 OR 2", 13, "expected AND"),
        ("a BETWEEN 2 AND 1", 13, "smaller number first"),
        ("a IN ()", 7, "expected a number, a text, TRUE or FALSE, found )"),
        ("a IN (b)", 7, "b is a property"),
        ("a IN ('x' 'y')", 11, "expected , or )"),
        ("a IN 'x'", 6, "expected ("),
        ("a IS 1", 6, "NULL or NOT NULL"),
        ("a NOT = 1", 7, "expected BETWEEN, IN, LIKE"),
        ("a LIKE b", 8, "a text in single quotes"),
        ("a LIKE 'x' ESCAPE ''", 19, "one character"),
        ("a LIKE '!x' ESCAPE '!'", 8, "behind the escape character"),
        ("a CONTAINS 5", 12, "a text in single quotes"),
        ("(a = 1", 7, "expected AND, OR or ), found the end"),
        ("a = 1)", 6, "found )"),
        ("a = 'x", 5, "no closing '"),
        ("\"a = 1", 1, "no closing \""),
        ("a = 5x", 5, "a number of at most 40 digits, such as 5, -0.5 or 1e3, found 5x"),
        ("a = -'x'", 6, "expected a number"),
        ("größe = 1 ; 2", 11, "';' means nothing"),
        ("IN = 1", 1, "found IN"),
    ] {
        let error = parse::parse(text).expect_err(text);
        assert_eq!(error.column, Some(column), "{text}: {error}");
        assert!(error.text.contains(part), "{text}: {error}");
    }
    let long = parse::parse(&format!("'{}", "é".repeat(3_000))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
}

#[test]
fn every_limit_holds_exactly() {
    let list = |count: usize| format!("a IN ({})", vec!["1"; count].join(","));
    let terms = |count: usize| vec!["a=1"; count].join(" OR ");
    let nested = |depth: usize| format!("{}a=1{}", "(".repeat(depth), ")".repeat(depth));
    let nots = |depth: usize| format!("{}a=1", "NOT ".repeat(depth));
    let long = |bytes: usize| format!("a = '{}'", "x".repeat(bytes - 6));
    for (text, name) in [
        (list(FILTER_LIST_MAX), "list"),
        (terms(FILTER_TERMS_MAX), "terms"),
        (nested(FILTER_DEPTH_MAX), "depth"),
        (nots(FILTER_DEPTH_MAX), "nots"),
        (long(FILTER_BYTES_MAX), "bytes"),
    ] {
        let expression = parse::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parse::parse(&expression.to_string()).as_ref(), Ok(&expression), "{name}");
    }
    for text in [
        list(FILTER_LIST_MAX + 1),
        terms(FILTER_TERMS_MAX + 1),
        nested(FILTER_DEPTH_MAX + 1),
        nots(FILTER_DEPTH_MAX + 1),
        long(FILTER_BYTES_MAX + 1),
        "(".repeat(FILTER_BYTES_MAX),
        // Short as written, long in the form that is kept.
        format!("a IN ({})", vec!["1e20"; 250].join(",")),
    ] {
        assert!(parse::parse(&text).is_err(), "{}", &text[..40]);
    }
}

/// Filters stand in the log: what was accepted once must be accepted, and mean the same, for ever.
#[test]
fn the_json_forms_are_frozen() {
    for (json, back) in [
        (r#"{"tag":"b || a"}"#, r#"{"tag":"a || b"}"#),
        (r#"{"tag":"*"}"#, r#"{"tag":"*"}"#),
        (
            r#"{"sql":"a > 1.50 AND \"b-c\" NOT IN ('x', 2) OR tags LIKE '!%%' ESCAPE '!'"}"#,
            r#"{"sql":"a > 1.5 AND \"b-c\" NOT IN ('x', 2) OR TAGS LIKE '!%%' ESCAPE '!'"}"#,
        ),
    ] {
        let filter: Filter = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), back);
        assert_eq!(serde_json::from_str::<Filter>(back).unwrap(), filter);
    }
    for bad in [
        "{}",
        r#""tag""#,
        r#"["a"]"#,
        r#"{"sql":"a >"}"#,
        r#"{"tag":"a||"}"#,
        r#"{"tag":"a","sql":"a = 1"}"#,
        r#"{"sql":1}"#,
        r#"{"like":"a"}"#,
    ] {
        assert!(serde_json::from_str::<Filter>(bad).is_err(), "{bad}");
    }
}

#[test]
fn tag_filters_read_like_rocketmqs() {
    let filter = Filter::parse_tags(" b ||a|| b").unwrap();
    assert_eq!(filter.expression(), "a || b");
    let matches = |tag| filter.matches(tag, || panic!("a tag filter reads no message")).unwrap();
    assert!(matches(Some("a")) && !matches(Some("c")) && !matches(None));
    assert!(Filter::parse_tags(" * ").unwrap().is_all());
    assert!(Filter::parse_tags("*||*").unwrap().is_all(), "as it would be after a restart");
    let tags: Vec<String> = (0..64).map(|number| format!("{number:061}")).collect();
    assert!(Filter::parse_tags(&tags.join("||")).is_err(), "longer than the limit once it is written");
    for bad in ["", "a||", "||", "a|b", "a\nb"] {
        assert!(Filter::parse_tags(bad).is_err(), "{bad:?}");
    }
}
