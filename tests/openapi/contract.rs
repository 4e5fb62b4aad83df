//! `openapi.yaml`, read for the test: operations, their statuses, and the shape of their answers.

use std::collections::BTreeMap;

use serde_json::Value;

/// The document as it is served.
pub(crate) const TEXT: &str = include_str!("../../openapi.yaml");

/// The contract.
#[derive(Debug)]
pub(crate) struct Contract {
    document: Value,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Its responses by documented status; `default` is not among them.
    pub(crate) responses: BTreeMap<u16, Value>,
}

impl Contract {
    pub(crate) fn read() -> Contract {
        Contract { document: serde_yaml_ng::from_str(TEXT).expect("openapi.yaml is YAML") }
    }

    /// Every operation by its operationId.
    pub(crate) fn operations(&self) -> BTreeMap<String, Operation> {
        let mut operations = BTreeMap::new();
        for (path, item) in self.document["paths"].as_object().expect("paths") {
            for method in ["get", "put", "post", "delete", "patch"] {
                let Some(operation) = item.get(method) else { continue };
                let id = operation["operationId"].as_str().expect("operationId").to_owned();
                let responses = operation["responses"].as_object().expect("responses");
                assert!(responses.contains_key("default"), "{id} has no default response");
                let responses = responses
                    .iter()
                    .filter_map(|(status, response)| {
                        Some((status.parse().ok()?, self.resolve(response).clone()))
                    })
                    .collect();
                let operation = Operation { method: method.to_uppercase(), path: path.clone(), responses };
                assert!(operations.insert(id.clone(), operation).is_none(), "{id} is there twice");
            }
        }
        operations
    }

    /// Follows a `$ref` inside the document.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            None => value,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
            }
        }
    }

    /// What is wrong with an answer of this media type; nothing when it is as documented.
    pub(crate) fn complaints(&self, response: &Value, media_type: &str, body: &Value) -> Vec<String> {
        let Some(content) = response.get("content") else {
            return if media_type.is_empty() {
                vec![]
            } else {
                vec![format!("an undocumented body, {media_type}")]
            };
        };
        let Some(media) = content.get(media_type).or_else(|| content.get("*/*")) else {
            return vec![format!("media type '{media_type}' is not documented")];
        };
        let mut complaints = Vec::new();
        if media_type.ends_with("json") {
            self.check(&media["schema"], body, "", &mut complaints);
        }
        complaints
    }

    /// Types, required and unknown fields, lists, alternatives and enumerations; not lengths or ranges.
    fn check(&self, schema: &Value, value: &Value, at: &str, complaints: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let fits = |choice: &Value| {
                let mut found = Vec::new();
                self.check(choice, value, at, &mut found);
                found.is_empty()
            };
            if !choices.iter().any(fits) {
                complaints.push(format!("{at}: none of the alternatives fits {value}"));
            }
            return;
        }
        if let Some(known) = schema.get("enum").and_then(Value::as_array)
            && !known.contains(value)
        {
            complaints.push(format!("{at}: {value} is not one of {known:?}"));
        }
        if schema.get("const").is_some_and(|only| only != value) {
            complaints.push(format!("{at}: {value} is not {}", schema["const"]));
        }
        if !has_type(schema, value) {
            complaints.push(format!("{at}: {value} is not of type {}", schema["type"]));
        }
        if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
            for (number, element) in elements.iter().enumerate() {
                self.check(items, element, &format!("{at}/{number}"), complaints);
            }
        }
        if let Some(fields) = value.as_object() {
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                if !fields.contains_key(name.as_str().expect("a name")) {
                    complaints.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, field) in fields {
                let at = format!("{at}/{name}");
                match (schema["properties"].get(name), schema.get("additionalProperties")) {
                    (Some(known), _) => self.check(known, field, &at, complaints),
                    (None, Some(any)) => self.check(any, field, &at, complaints),
                    (None, None) => complaints.push(format!("{at} is not documented")),
                }
            }
        }
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

/// Every route of the router, as `METHOD path`, read from its source: the table is one statement a line.
pub(crate) fn routes() -> Vec<String> {
    let tables = [include_str!("../../src/api/router.rs"), include_str!("../../src/api/alerts/mod.rs")];
    let mut routes = Vec::new();
    for statement in tables.iter().flat_map(|source| source.split(".route(").skip(1)) {
        let path = statement.split('"').nth(1).expect("a path");
        let handlers = statement.split_once("\",").expect("handlers").1;
        let handlers = handlers.split(".fallback(").next().unwrap_or(handlers);
        for method in ["get", "put", "post", "delete", "patch"] {
            let call = format!("{method}(");
            let called = handlers.match_indices(&call);
            let is_word = |at: usize| !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if called.map(|(at, _)| at).any(is_word) {
                routes.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    routes
}
