//! Where settings come from. Every source is read as the flags are, so a value means the same wherever it stands.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use super::{ServeArgs, alerting};
use crate::machine::AlertingFromFile;

/// In front of every variable.
const PREFIX: &str = "WHIMBREL_";
/// Variables with our prefix that are no settings of a broker.
const NOT_SETTINGS: [&str; 2] = ["WHIMBREL_URL", "WHIMBREL_CONFIG"];
/// What Kubernetes and Docker links put beside a service that is called `whimbrel`; not ours to judge.
const ORCHESTRATOR: [&str; 3] = ["WHIMBREL_SERVICE_", "WHIMBREL_PORT_", "WHIMBREL_ENV_"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// The file of `--config`.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::File(path) => write!(out, "{}", path.display()),
            Origin::Environment(name) | Origin::Flag(name) => out.write_str(name),
        }
    }
}

impl Origin {
    /// Its kind, as JSON says it.
    fn word(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File(_) => "file",
            Origin::Environment(_) => "environment",
            Origin::Flag(_) => "flag",
        }
    }
}

/// What the name of a setting ends in that nobody is shown.
const SECRET: [&str; 4] = ["_secret", "_token", "_password", "_private_key"];

/// One setting in force.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name in a file.
    pub key: String,
    /// Its value as text; one for each entry of a list, exactly one for everything else.
    pub values: Vec<OsString>,
    /// Whether it is a list.
    pub is_list: bool,
    /// Where it comes from.
    pub origin: Origin,
}

impl Setting {
    /// Whether it is for the broker alone. By its name, so that a new setting cannot be forgotten here.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        SECRET.iter().any(|end| self.key.ends_with(end))
    }

    /// Its value, as TOML and JSON both write it; null when it is secret.
    #[must_use]
    pub fn value(&self) -> Value {
        if self.is_secret() {
            return Value::Null;
        }
        let texts = self.values.iter().map(|value| value.to_string_lossy());
        if self.is_list {
            return Value::from(texts.map(Value::from).collect::<Vec<_>>());
        }
        let text = texts.into_iter().next().unwrap_or_default();
        match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        }
    }

    /// All of it, as `whimbrel config -o json` and `/v1/config` show it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let source = match &self.origin {
            Origin::Default => Value::Null,
            given => Value::from(given.to_string()),
        };
        json!({"key": self.key, "value": self.value(), "origin": self.origin.word(), "source": source})
    }
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// For the node.
    pub args: ServeArgs,
    /// For people, by name.
    pub settings: Vec<Setting>,
    /// What the file says of alerting; none where nothing is known of a file.
    pub alerting: Option<AlertingFromFile>,
}

/// Settings that were put together elsewhere: nothing is known of where they come from, so none is listed.
impl From<ServeArgs> for Resolved {
    fn from(args: ServeArgs) -> Resolved {
        Resolved { args, settings: Vec::new(), alerting: None }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {error}")]
    Toml {
        /// The file.
        path: String,
        /// Line, column, and what was expected. Not the line itself: it may hold a secret.
        error: String,
    },
    /// A name that no setting has.
    #[error("{place}: there is no setting '{key}'; {hint}")]
    Unknown {
        /// File or environment.
        place: String,
        /// The name as it was given.
        key: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// A value that the setting does not take.
    #[error("{place}: {key}: {reason}")]
    Value {
        /// File or environment.
        place: String,
        /// The setting.
        key: String,
        /// What is expected.
        reason: String,
    },
}

/// Values that one source gives, by setting.
type Layer = BTreeMap<String, (Vec<OsString>, Origin)>;

/// Puts the sources together: `flags` as they were parsed, over the environment, over the file, over the defaults.
///
/// # Errors
/// See [`ConfigError`]: every name and value is checked, also of those that a later source overrides.
pub fn resolve(
    flags: &ArgMatches,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Resolved, ConfigError> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let (mut layer, alerting) = match file {
        Some(path) => read_file(&command, path)?,
        None => (Layer::new(), AlertingFromFile::default()),
    };
    layer.extend(read_environment(&command, environment)?);
    let mut settings: Vec<Setting> = Vec::new();
    let mut line: Vec<OsString> = vec!["serve".into()];
    for arg in command.get_arguments() {
        let setting = in_force(arg, flags, &mut layer);
        if setting.origin != Origin::Default {
            line.extend(as_flags(arg, &setting.values));
        }
        settings.push(setting);
    }
    settings.sort_by(|one, other| one.key.cmp(&other.key));
    let parsed = command.try_get_matches_from(line).and_then(|matches| ServeArgs::from_arg_matches(&matches));
    // Each value was checked alone, and no two settings exclude each other.
    let args = parsed.map_err(|error| ConfigError::Value {
        place: "the settings together".to_owned(),
        key: String::new(),
        reason: error.to_string(),
    })?;
    Ok(Resolved { args, settings, alerting: Some(alerting) })
}

fn in_force(arg: &Arg, flags: &ArgMatches, layer: &mut Layer) -> Setting {
    let key = arg.get_id().to_string();
    let is_list = is_list(arg);
    if flags.value_source(&key) == Some(ValueSource::CommandLine) {
        let values = flags.get_raw(&key).into_iter().flatten().map(OsStr::to_owned).collect();
        return Setting { key, values, is_list, origin: Origin::Flag(format!("--{}", long(arg))) };
    }
    let defaults = || arg.get_default_values().iter().map(|value| value.as_os_str().to_owned()).collect();
    let (values, origin) = layer.remove(&key).unwrap_or_else(|| (defaults(), Origin::Default));
    Setting { key, values, is_list, origin }
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn as_flags(arg: &Arg, values: &[OsString]) -> Vec<OsString> {
    let flag = |value: &OsString| {
        let mut flag = OsString::from(format!("--{}=", long(arg)));
        flag.push(value);
        flag
    };
    values.iter().map(flag).collect()
}

/// Where a file is no TOML, and why.
fn told(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let (line, column) =
        (before.matches('\n').count() + 1, before.chars().rev().take_while(|letter| *letter != '\n'));
    format!("line {line}, column {}: {}", column.count() + 1, error.message().replace('\n', ", "))
}

fn read_file(command: &Command, path: &Path) -> Result<(Layer, AlertingFromFile), ConfigError> {
    let place = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError::File { path: place.clone(), error })?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| ConfigError::Toml { path: place.clone(), error: told(&text, &error) })?;
    let (mut layer, mut alerting) = (Layer::new(), AlertingFromFile::default());
    for (key, value) in table {
        if key == alerting::KEY {
            alerting = alerting::read(value).map_err(|reason| ConfigError::Value {
                place: place.clone(),
                key,
                reason,
            })?;
            continue;
        }
        let arg = find(command, &key).ok_or_else(|| unknown(command, &place, &key, str::to_owned))?;
        let wrong = |reason: String| ConfigError::Value { place: place.clone(), key: key.clone(), reason };
        let values = texts(arg, value).map_err(|reason| wrong(reason.to_owned()))?;
        check(command, arg, &values).map_err(wrong)?;
        layer.insert(key, (values, Origin::File(path.to_owned())));
    }
    Ok((layer, alerting))
}

fn texts(arg: &Arg, value: toml::Value) -> Result<Vec<OsString>, &'static str> {
    match value {
        toml::Value::Array(entries) if is_list(arg) => {
            entries.into_iter().map(|entry| text(entry).ok_or("each entry must be a text")).collect()
        }
        other if !is_list(arg) => {
            text(other).map(|text| vec![text]).ok_or("must be a text, a whole number, true or false")
        }
        _ => Err("must be a list, such as [\"a\", \"b\"]"),
    }
}

fn text(value: toml::Value) -> Option<OsString> {
    match value {
        toml::Value::String(text) => Some(text.into()),
        toml::Value::Integer(number) => Some(number.to_string().into()),
        toml::Value::Boolean(truth) => Some(truth.to_string().into()),
        _ => None,
    }
}

fn read_environment(
    command: &Command,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Layer, ConfigError> {
    const PLACE: &str = "the environment";
    let mut layer = Layer::new();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str() else { continue };
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let foreign = ORCHESTRATOR.iter().any(|prefix| variable.starts_with(prefix));
        if foreign || variable == "WHIMBREL_PORT" || NOT_SETTINGS.contains(&variable) {
            continue;
        }
        let as_variable = |key: &str| format!("{PREFIX}{}", key.to_uppercase());
        let key = name.to_lowercase();
        // Only capitals are a variable: WHIMBREL_Listen is as unknown as WHIMBREL_LISTN.
        let arg = find(command, &key).filter(|_| as_variable(&key) == variable);
        let arg = arg.ok_or_else(|| unknown(command, PLACE, variable, as_variable))?;
        let values = match value.to_str() {
            Some(text) if is_list(arg) => {
                text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(OsString::from).collect()
            }
            _ => vec![value],
        };
        let wrong = |reason| ConfigError::Value { place: PLACE.to_owned(), key: variable.to_owned(), reason };
        check(command, arg, &values).map_err(wrong)?;
        layer.insert(key, (values, Origin::Environment(variable.to_owned())));
    }
    Ok(layer)
}

fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_id() == key)
}

/// Reads the values as the flag would be read; the reason when it would be refused.
fn check(command: &Command, arg: &Arg, values: &[OsString]) -> Result<(), String> {
    let mut line: Vec<OsString> = vec!["serve".into()];
    line.extend(as_flags(arg, values));
    let Err(refused) = command.clone().try_get_matches_from(line) else { return Ok(()) };
    let reason = std::error::Error::source(&refused).map(ToString::to_string);
    Err(reason.unwrap_or_else(|| {
        let text = refused.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    }))
}

/// `shown` turns the name of a setting into what stands in this place.
fn unknown(command: &Command, place: &str, key: &str, shown: impl Fn(&str) -> String) -> ConfigError {
    let known: Vec<String> = command.get_arguments().map(|arg| shown(arg.get_id().as_str())).collect();
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let distance = |name: &str| strsim::damerau_levenshtein(&plain(name), &plain(key));
    let nearest = known.iter().min_by_key(|name| distance(name));
    let near = nearest.filter(|name| distance(name) <= 2.max(name.len() / 4));
    let hint = match near {
        Some(name) => format!("did you mean '{name}'?"),
        None => format!("there are: {}", known.join(", ")),
    };
    ConfigError::Unknown { place: place.to_owned(), key: key.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn resolved(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[&str],
    ) -> Result<(Resolved, PathBuf), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whimbrel.toml");
        std::fs::write(&path, file).unwrap();
        let line = std::iter::once("serve").chain(flags.iter().copied());
        let given = ServeArgs::augment_args(Command::new("serve")).try_get_matches_from(line).unwrap();
        let environment =
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let resolved = resolve(&given, Some(&path), environment);
        resolved.map(|resolved| (resolved, path)).map_err(|error| error.to_string())
    }

    fn refused(file: &str, environment: &[(&str, &str)]) -> String {
        resolved(file, environment, &[]).unwrap_err()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "max_wait = '1s'\nmax_connections = 5\ninsecure = true\nallowed_origins = ['http://a', 'http://b']";
        let environment = [
            ("WHIMBREL_MAX_CONNECTIONS", "6"),
            ("WHIMBREL_DRAIN_TIMEOUT", "7s"),
            ("WHIMBREL_URL", "no setting"),
            ("WHIMBREL_PORT", "tcp://10.0.0.1:80"),
            ("WHIMBREL_SERVICE_HOST", "10.0.0.1"),
            ("HOME", "/"),
        ];
        let (resolved, path) = resolved(file, &environment, &["--drain-timeout", "8s", "--data=/d"]).unwrap();
        let args = &resolved.args;
        assert_eq!((args.max_wait, args.drain_timeout), (Duration::from_secs(1), Duration::from_secs(8)));
        assert_eq!((args.max_connections, args.insecure, args.image_facts), (6, true, 500_000));
        assert_eq!(args.allowed_origins, ["http://a", "http://b"]);
        let origin =
            |key: &str| resolved.settings.iter().find(|setting| setting.key == key).unwrap().origin.clone();
        assert_eq!(origin("max_wait"), Origin::File(path));
        assert_eq!(origin("max_connections"), Origin::Environment("WHIMBREL_MAX_CONNECTIONS".to_owned()));
        assert_eq!(origin("data"), Origin::Flag("--data".to_owned()));
        assert_eq!(origin("listen"), Origin::Default);
    }

    #[test]
    fn a_secret_is_never_shown_and_its_origin_is() {
        let origin = Origin::Environment("WHIMBREL_ADMIN_TOKEN".to_owned());
        let values = vec!["s3cret".into()];
        let secret = Setting { key: "admin_token".to_owned(), values, is_list: false, origin };
        let expected = json!({"key": "admin_token", "value": null, "origin": "environment",
            "source": "WHIMBREL_ADMIN_TOKEN"});
        assert_eq!((secret.is_secret(), secret.to_json()), (true, expected));
        let (resolved, _) = resolved("", &[], &[]).unwrap();
        assert_eq!(resolved.settings.iter().filter(|setting| setting.is_secret()).count(), 0);
    }

    #[test]
    fn a_list_is_replaced_as_a_whole_and_a_truth_can_be_taken_back() {
        let file = "insecure = true\nallowed_origins = ['http://a']";
        let environment = [("WHIMBREL_ALLOWED_ORIGINS", "http://b, http://c")];
        let (resolved, _) = resolved(file, &environment, &["--insecure=false"]).unwrap();
        assert_eq!(resolved.args.allowed_origins, ["http://b", "http://c"]);
        assert!(!resolved.args.insecure);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        assert!(refused("max-wait = '1s'", &[]).ends_with("no setting 'max-wait'; did you mean 'max_wait'?"));
        assert!(
            refused("[server]\nlisten = 'x'", &[]).contains("no setting 'server'; there are: listen, data, ")
        );
        let typo = refused("", &[("WHIMBREL_LISTN", "x")]);
        assert_eq!(
            typo,
            "the environment: there is no setting 'WHIMBREL_LISTN'; did you mean 'WHIMBREL_LISTEN'?"
        );
        assert!(refused("", &[("WHIMBREL_listen", "127.0.0.1:1")]).contains("WHIMBREL_LISTEN"));
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place_also_when_it_is_overridden() {
        assert!(
            refused("segment_bytes = '1KB'", &[])
                .ends_with("segment_bytes: write a size such as 4096, 64KiB, 128MiB or 1GiB")
        );
        assert!(
            refused("max_wait = 1.5", &[])
                .ends_with("max_wait: must be a text, a whole number, true or false")
        );
        assert!(refused("allowed_origins = 'http://a'", &[]).contains("must be a list"));
        assert!(refused("log_format = 'xml'", &[]).contains("log_format: invalid value 'xml'"));
        let environment = [("WHIMBREL_MAX_WAIT", "soon")];
        let overridden = resolved("", &environment, &["--max-wait", "1s"]).unwrap_err();
        assert!(
            overridden.starts_with("the environment: WHIMBREL_MAX_WAIT: 'soon' is not a duration"),
            "{overridden}"
        );
        assert!(refused("listen = ", &[]).contains("is not TOML: line 1, column "));
        let secret = refused("log = \"info\"\nkey = \"s3cret\\q\"", &[]);
        assert!(secret.contains("line 2, column ") && !secret.contains("s3cret"), "{secret}");
    }
}
