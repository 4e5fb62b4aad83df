use std::io::Write;

use clap::ArgMatches;

use super::CliError;
use super::output::{Format, OutputArgs, Printer};
use crate::config::{ServeCommand, Setting, resolve};

/// Options of `whimbrel config`: those of `serve`, and how to print.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// The settings.
    #[command(flatten)]
    pub serve: ServeCommand,
    /// How to print; a table is a TOML file that `--config` takes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs `whimbrel config`; `flags` are its own flags as they were parsed.
///
/// # Errors
/// [`CliError::Usage`] for a setting that `serve` would refuse.
pub fn run(args: &ConfigArgs, flags: &ArgMatches) -> Result<(), CliError> {
    let resolved = resolve(flags, args.serve.config.as_deref(), std::env::vars_os())
        .map_err(|error| CliError::Usage(error.to_string()))?;
    show(&resolved.settings, &mut Printer::stdout(args.output))
}

fn show(settings: &[Setting], printer: &mut Printer<impl Write>) -> Result<(), CliError> {
    if printer.format() == Format::Table {
        let lines: Vec<String> = settings.iter().map(line).collect();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        for (line, setting) in lines.iter().zip(settings) {
            printer.line(&format!("{line:width$}  # {}", setting.origin))?;
        }
        return Ok(());
    }
    let rows: Vec<String> = settings.iter().map(|setting| setting.to_json().to_string()).collect();
    printer.begin("settings")?;
    printer.page(&rows.iter().map(String::as_str).collect::<Vec<_>>(), &[])?;
    printer.end(None)
}

/// A line of TOML; a secret is only mentioned.
fn line(setting: &Setting) -> String {
    match setting.is_secret() {
        true => format!("# {} is not shown", setting.key),
        false => format!("{} = {}", setting.key, setting.value()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};
    use serde_json::Value;

    use super::*;
    use crate::config::{Resolved, ServeArgs};

    fn resolved(flags: &[&str], file: Option<&std::path::Path>) -> Resolved {
        let line = std::iter::once("serve").chain(flags.iter().copied());
        let given = ServeArgs::augment_args(Command::new("serve")).try_get_matches_from(line).unwrap();
        resolve(&given, file, []).unwrap()
    }

    #[test]
    fn what_is_printed_is_a_file_that_gives_the_same_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whimbrel.toml");
        let flags =
            ["--data", "a \"b\" # c", "--insecure", "--allowed-origin", "http://a", "--max-connections", "7"];
        let before = resolved(&flags, None);
        let mut out = Vec::new();
        show(&before.settings, &mut Printer::new(&mut out, Format::Table)).unwrap();
        std::fs::write(&path, &out).unwrap();
        let after = resolved(&[], Some(&path));
        assert_eq!(format!("{:?}", after.args), format!("{:?}", before.args));
        assert!(String::from_utf8(out).unwrap().contains("# --max-connections\n"));
    }

    #[test]
    fn as_json_each_setting_has_its_origin() {
        let mut out = Vec::new();
        show(&resolved(&["--insecure"], None).settings, &mut Printer::new(&mut out, Format::Json)).unwrap();
        let shown: Value = serde_json::from_slice(&out).unwrap();
        let insecure =
            shown["settings"].as_array().unwrap().iter().find(|row| row["key"] == "insecure").unwrap();
        assert_eq!(
            (&insecure["value"], &insecure["origin"], &insecure["source"]),
            (&Value::from(true), &Value::from("flag"), &Value::from("--insecure"))
        );
    }
}
