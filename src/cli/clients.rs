use serde_json::Value;

use super::CommonArgs;
use super::error::CliError;
use super::http::Call;
use super::list::{self, LimitArgs};
use super::output::{Column, Printer, cell};
use crate::model::{ClientId, GroupName};

/// `whimbrel clients …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ClientsCommand {
    /// List open WebSockets and who received over HTTP lately, in the order they came
    List {
        /// Only members of this group
        #[arg(long, value_name = "GROUP")]
        group: Option<GroupName>,
        /// How many.
        #[command(flatten)]
        limit: LimitArgs,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Close a client's WebSocket; what it holds is ready at once for others
    Disconnect {
        /// The id, as listed
        id: ClientId,
        /// Broker and output.
        #[command(flatten)]
        common: CommonArgs,
    },
}

const COLUMNS: [Column; 8] = [
    Column::new("id", |client| cell(client, "id")),
    Column::new("name", |client| cell(client, "name")),
    Column::new("kind", |client| cell(client, "kind")),
    Column::new("peer", |client| cell(client, "peer")),
    Column::new("since", |client| cell(client, "since")),
    Column::new("last seen", |client| cell(client, "last_seen")),
    Column::new("slow", |client| cell(client, "slow")),
    Column::new("groups", groups),
];

/// `billing (3 in flight, 97 to come), mail (waits)`
fn groups(client: &Value) -> String {
    let groups = client.get("groups").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let texts: Vec<String> = groups.iter().map(group).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

fn group(group: &Value) -> String {
    let number = |name: &str| group.get(name).and_then(Value::as_u64);
    let mut words = vec![match number("in_flight") {
        Some(count) => format!("{count} in flight"),
        None => "too many in flight to count".to_owned(),
    }];
    words.extend(number("credit").map(|credit| format!("{credit} to come")));
    if group.get("paused").and_then(Value::as_bool) == Some(true) {
        words.push("paused".to_owned());
    }
    if number("waiting").is_some_and(|waiting| waiting > 0) {
        words.push("waits".to_owned());
    }
    format!("{} ({})", cell(group, "group"), words.join(", "))
}

impl ClientsCommand {
    /// Runs it.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn run(self) -> Result<(), CliError> {
        match self {
            ClientsCommand::List { group, limit, common } => {
                let mut printer = Printer::stdout(common.output);
                let path = match group {
                    Some(group) => format!("/v1/clients?group={group}"),
                    None => "/v1/clients".to_owned(),
                };
                let mut client = common.connect.client();
                list::print(&mut client, (&path, "clients"), &COLUMNS, limit, &mut printer).await
            }
            ClientsCommand::Disconnect { id, common } => {
                let mut printer = Printer::stdout(common.output);
                common.connect.client().send(Call::delete(format!("/v1/clients/{id}"))).await?;
                printer.done(&format!("client {id} disconnected"), &format!("{{\"disconnected\":\"{id}\"}}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_shown_in_one_cell() {
        assert_eq!(groups(&json!({"groups": []})), "-");
        let client = json!({"groups": [
            {"group": "billing", "in_flight": 3, "credit": 97, "paused": false},
            {"group": "mail", "in_flight": 0, "credit": 0, "paused": true},
            {"group": "audit", "in_flight": null, "waiting": 1},
        ]});
        let shown = "billing (3 in flight, 97 to come), mail (0 in flight, 0 to come, paused), audit (too many in \
                     flight to count, waits)";
        assert_eq!(groups(&client), shown);
    }
}
