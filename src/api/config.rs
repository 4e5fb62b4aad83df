//! `GET /v1/config`: the settings in force, as `whimbrel config -o json` prints them.

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Answer, Call, json};
use super::json_out::Json;
use super::options::Api;

/// Every setting with its value and where that comes from. They do not change while the node runs.
pub(super) async fn index(State(api): State<Api>, call: Call) -> Answer {
    call.query.finish()?;
    let mut out = Json::with_capacity(2_048);
    out.open();
    out.key("settings");
    out.open_list();
    for setting in api.options.settings.iter() {
        out.value(setting);
    }
    out.close_list();
    out.key("next_cursor");
    out.null();
    out.close();
    Ok(json(StatusCode::OK, out))
}
