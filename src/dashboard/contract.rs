//! `openapi.yaml`, read for the page that shows it. Order is the document's own.

use serde_yaml_ng::Value;

/// The contract as the page shows it.
#[derive(Debug)]
pub(super) struct Contract {
    pub(super) title: String,
    pub(super) version: String,
    pub(super) intro: Vec<Words>,
    pub(super) sections: Vec<Section>,
    pub(super) shapes: Vec<Shape>,
}

/// One paragraph: texts, some of them code.
pub(super) type Words = Vec<Span>;

/// A run of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) code: bool,
}

/// The operations of one tag.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) operations: Vec<Operation>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) summary: String,
    pub(super) text: Vec<Words>,
    pub(super) parameters: Vec<Field>,
    /// What may be sent: media type and shape.
    pub(super) bodies: Vec<(String, Kind)>,
    pub(super) answers: Vec<Answer>,
}

/// A parameter, or a field of a shape.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// `path`, `query` or `header`; empty for a field.
    pub(super) place: String,
    pub(super) required: bool,
    pub(super) kind: Kind,
    pub(super) text: Words,
}

/// A documented answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) text: Words,
    pub(super) bodies: Vec<(String, Kind)>,
}

/// A named schema.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) text: Words,
    pub(super) kind: Kind,
    pub(super) fields: Vec<Field>,
}

/// What a value is, in words; names of shapes lead to them.
pub(super) type Kind = Vec<Piece>;

/// A part of a [`Kind`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether it is the name of a shape.
    pub(super) shape: bool,
}

const METHODS: [&str; 5] = ["get", "put", "patch", "post", "delete"];

impl Contract {
    /// Reads the document.
    ///
    /// # Errors
    /// It is no YAML.
    pub(super) fn read(text: &str) -> Result<Contract, serde_yaml_ng::Error> {
        let document: Value = serde_yaml_ng::from_str(text)?;
        let info = at(&document, &["info"]);
        let mut sections: Vec<Section> = Vec::new();
        for (path, item) in members(at(&document, &["paths"])) {
            let shared = list(item, "parameters");
            for (method, found) in METHODS.iter().filter_map(|method| Some((method, item.get(method)?))) {
                let tag = list(found, "tags").first().and_then(|tag| tag.as_str()).unwrap_or("other");
                let operation = operation(&document, (method, path), shared, found);
                match sections.iter_mut().find(|section| section.name == tag) {
                    Some(section) => section.operations.push(operation),
                    None => sections.push(Section { name: tag.to_owned(), operations: vec![operation] }),
                }
            }
        }
        let schemas = members(at(&document, &["components", "schemas"]));
        Ok(Contract {
            title: word(info, "title"),
            version: word(info, "version"),
            intro: paragraphs(&word(info, "description")),
            sections,
            shapes: schemas.map(|(name, schema)| shape(name, schema)).collect(),
        })
    }
}

fn operation(document: &Value, (method, path): (&str, &str), shared: &[Value], found: &Value) -> Operation {
    let own = list(found, "parameters");
    let answers = members(at(found, &["responses"])).map(|(status, answer)| {
        let answer = resolve(document, answer);
        Answer { status: status.to_owned(), text: described(answer), bodies: bodies(answer) }
    });
    Operation {
        id: word(found, "operationId"),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: word(found, "summary"),
        text: paragraphs(&word(found, "description")),
        parameters: shared.iter().chain(own).map(|found| parameter(resolve(document, found))).collect(),
        bodies: found.get("requestBody").map(bodies).unwrap_or_default(),
        answers: answers.collect(),
    }
}

fn parameter(found: &Value) -> Field {
    Field {
        name: word(found, "name"),
        place: word(found, "in"),
        required: is_true(found, "required"),
        kind: found.get("schema").map(kind).unwrap_or_default(),
        text: described(found),
    }
}

fn bodies(found: &Value) -> Vec<(String, Kind)> {
    let content = members(at(found, &["content"]));
    content.map(|(media_type, media)| (media_type.to_owned(), kind(at(media, &["schema"])))).collect()
}

fn shape(name: &str, schema: &Value) -> Shape {
    let required = list(schema, "required");
    let field = |(name, field): (&str, &Value)| Field {
        name: name.to_owned(),
        place: String::new(),
        required: required.iter().any(|known| known.as_str() == Some(name)),
        kind: kind(field),
        text: described(field),
    };
    Shape {
        name: name.to_owned(),
        text: described(schema),
        kind: if schema.get("properties").is_some() { Kind::new() } else { kind(schema) },
        fields: members(at(schema, &["properties"])).map(field).collect(),
    }
}

/// Says what a schema takes.
fn kind(schema: &Value) -> Kind {
    let plain = |text: String| vec![Piece { text, shape: false }];
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return vec![Piece { text: name.to_owned(), shape: true }];
    }
    let choices = list(schema, "oneOf");
    if !choices.is_empty() {
        let mut pieces = Kind::new();
        for choice in choices {
            if !pieces.is_empty() {
                pieces.extend(plain(" or ".to_owned()));
            }
            pieces.extend(kind(choice));
        }
        return pieces;
    }
    if let Some(only) = schema.get("const") {
        return plain(scalar(only));
    }
    let known: Vec<String> = list(schema, "enum").iter().map(scalar).collect();
    if !known.is_empty() {
        return plain(with_limits(known.join(" | "), schema));
    }
    if let Some(items) = schema.get("items") {
        let mut pieces = plain("list of ".to_owned());
        pieces.extend(kind(items));
        pieces.extend(
            plain(with_limits(String::new(), schema)).into_iter().filter(|piece| !piece.text.is_empty()),
        );
        return pieces;
    }
    if let Some(properties) = schema.get("properties") {
        let names: Vec<&str> = members(properties).map(|(name, _)| name).collect();
        return plain(format!("object {{{}}}", names.join(", ")));
    }
    plain(with_limits(type_of(schema), schema))
}

fn type_of(schema: &Value) -> String {
    let types = match schema.get("type") {
        Some(Value::Sequence(types)) => types.iter().map(scalar).collect::<Vec<_>>().join(" or "),
        Some(one) => scalar(one),
        None => "any value".to_owned(),
    };
    match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "time".to_owned(),
        Some("binary") => "bytes".to_owned(),
        _ => types,
    }
}

/// The limits and the default of a schema, behind its kind.
fn with_limits(kind: String, schema: &Value) -> String {
    let number = |name: &str| schema.get(name).map(scalar);
    let range = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    };
    let most = |name: &str, what: &str| number(name).map(|most| format!("at most {most}{what}"));
    let default = number("default").map(|default| format!("default {default}"));
    let limits =
        [range, most("maxLength", " bytes"), most("maxItems", ""), most("maxProperties", ""), default];
    limits.into_iter().flatten().fold(kind, |kind, limit| format!("{kind}, {limit}"))
}

/// Follows a reference inside the document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/")) {
        Some(path) => at(document, &path.split('/').collect::<Vec<_>>()),
        None => value,
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mapping = value.as_mapping().into_iter().flatten();
    mapping.filter_map(|(name, member)| Some((name.as_str()?, member)))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}

fn word(value: &Value, name: &str) -> String {
    value.get(name).map(scalar).unwrap_or_default()
}

fn is_true(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn described(value: &Value) -> Words {
    spans(&word(value, "description"))
}

fn paragraphs(text: &str) -> Vec<Words> {
    text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(spans).collect()
}

/// What stands between backticks is code.
fn spans(text: &str) -> Words {
    let runs = text.split('`').enumerate().filter(|(_, run)| !run.is_empty());
    runs.map(|(at, run)| Span { text: run.to_owned(), code: at % 2 == 1 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(schema: &str) -> String {
        let schema: Value = serde_yaml_ng::from_str(schema).unwrap();
        kind(&schema).iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn schemas_are_said_in_words() {
        assert_eq!(
            shown("{type: integer, minimum: 1, maximum: 9, default: 4}"),
            "integer, 1 to 9, default 4"
        );
        assert_eq!(shown("{type: [string, 'null'], maxLength: 9}"), "string or null, at most 9 bytes");
        assert_eq!(shown("{type: array, maxItems: 3, items: {$ref: '#/c/Name'}}"), "list of Name, at most 3");
        assert_eq!(shown("{enum: [a, b], default: a}"), "a | b, default a");
        assert_eq!(shown("{oneOf: [{type: string}, {$ref: '#/c/X'}]}"), "string or X");
        assert_eq!(shown("{type: object, properties: {a: {}, b: {}}}"), "object {a, b}");
        assert_eq!(shown("{type: string, format: date-time}"), "time");
        assert_eq!(shown("{description: x}"), "any value");
    }

    #[test]
    fn code_stands_between_backticks() {
        let span = |text: &str, code| Span { text: text.to_owned(), code };
        assert_eq!(spans("a `b` c"), [span("a ", false), span("b", true), span(" c", false)]);
        assert_eq!(paragraphs("a\nb\n\n\nc\n").len(), 2);
    }
}
