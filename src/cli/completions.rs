use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError};

/// How to install what is printed.
pub(super) const HELP: &str = "\
bash:  whimbrel completions bash > ~/.local/share/bash-completion/completions/whimbrel
zsh:   whimbrel completions zsh > \"${fpath[1]}/_whimbrel\"
fish:  whimbrel completions fish > ~/.config/fish/completions/whimbrel.fish";

/// Options of `whimbrel completions`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`CliError::Io`] when standard output takes nothing.
pub fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "whimbrel", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)
        .map_err(CliError::io("writing to standard output"))
}
