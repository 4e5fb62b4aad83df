//! The words of the interface for states, reasons, kinds and events, as people write them: in English the word itself
//! (`max_attempts` is "max attempts"), in Chinese its row here.

use std::borrow::Cow;

use super::Lang;

/// A word of the interface for people. One that has no row (the interface may grow) is shown as it is.
pub(in crate::dashboard) fn word(lang: Lang, word: &str) -> Cow<'_, str> {
    let chinese =
        || ROWS.iter().find(|(known, _)| *known == word).map(|(_, chinese)| Cow::Borrowed(*chinese));
    match lang {
        Lang::Zh => chinese().unwrap_or_else(|| written(word)),
        Lang::En => written(word),
    }
}

/// How a state of something that is told looks: `good`, `alarm`, `wait` while it is under way, nothing for the others.
pub(in crate::dashboard) fn tone(state: &str) -> &'static str {
    match state {
        "delivered" => "good",
        "failed" => "alarm",
        "pending" | "active" => "wait",
        _ => "",
    }
}

fn written(word: &str) -> Cow<'_, str> {
    if word.contains('_') { Cow::Owned(word.replace('_', " ")) } else { Cow::Borrowed(word) }
}

const ROWS: &[(&str, &str)] = &[
    // States of jobs, notifications, silences, messages.
    ("running", "运行中"),
    ("done", "已完成"),
    ("cancelled", "已取消"),
    ("failed", "失败"),
    ("pending", "等待中"),
    ("delivered", "已送达"),
    ("active", "生效中"),
    ("ready", "就绪"),
    ("scheduled", "定时"),
    ("acked", "已确认"),
    ("retrying", "重试中"),
    ("leased", "处理中"),
    ("dead", "死信"),
    ("unknown", "未知"),
    // Why something is a dead letter, and how a delivery failed.
    ("max_attempts", "超过最大尝试次数"),
    ("rejected", "被拒绝"),
    ("expired", "已过期"),
    ("lease_expired", "租约到期"),
    ("connection_lost", "连接断开"),
    ("nack", "消费失败"),
    // What happened to a message.
    ("accepted", "已接收"),
    ("parked", "等待同序列的前一条"),
    ("passed_over", "被过滤"),
    ("extended", "已续租"),
    ("waits_for_room", "等待死信空间"),
    ("given_back", "已归还"),
    ("retry_due", "重试到期"),
    ("dead_lettered", "进入死信"),
    ("redriven", "已重投"),
    ("moved", "已转移"),
    ("purged", "已清除"),
    ("skipped_by_seek", "因移动位置跳过"),
    ("replayed_by_seek", "因移动位置重放"),
    ("lease_cancelled_by_seek", "因移动位置取消租约"),
    ("unsubscribed", "已取消订阅"),
    ("group_deleted", "消费组已删除"),
    // Alerts: how grave, where a rule comes from, what it measures.
    ("info", "提示"),
    ("warning", "警告"),
    ("critical", "严重"),
    ("built_in", "内置"),
    ("api", "接口"),
    ("file", "配置文件"),
    ("lag_messages", "积压消息数"),
    ("lag_seconds", "积压秒数"),
    ("retry_ratio", "重试比例"),
    ("failure_ratio", "失败比例"),
    ("failures_per_second", "每秒失败数"),
    ("dead_letters", "死信数"),
    ("dead_letters_per_second", "每秒死信数"),
    ("in_flight_seconds", "处理中秒数"),
    ("backlog_without_consumers", "有积压无消费者"),
    ("head_blocked_seconds", "队首阻塞秒数"),
    ("schedule_lateness_seconds", "定时延迟秒数"),
    ("disk_used_ratio", "磁盘使用比例"),
    ("fsync_p99_seconds", "fsync p99 秒数"),
    ("receiver_failing_seconds", "接收方失败秒数"),
    // Clients, settings.
    ("socket", "WebSocket"),
    ("http", "HTTP"),
    ("default", "默认"),
    ("environment", "环境变量"),
    ("flag", "命令行"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeadReason;
    use crate::model::alert::{AlertMetric, Severity};

    #[test]
    fn a_word_is_translated_once_and_an_unknown_one_is_shown_as_it_is() {
        assert_eq!(word(Lang::En, "max_attempts"), "max attempts");
        assert_eq!(word(Lang::Zh, "max_attempts"), "超过最大尝试次数");
        assert_eq!((word(Lang::Zh, "brand_new"), word(Lang::Zh, "–")), ("brand new".into(), "–".into()));
        let mut known: Vec<&str> = ROWS.iter().map(|(known, _)| *known).collect();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), ROWS.len(), "a word stands twice");
    }

    #[test]
    fn every_state_and_event_of_the_contract_has_a_row() {
        let contract: serde_json::Value =
            serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).unwrap();
        let mut words: Vec<String> = Vec::new();
        collect(&contract["components"]["schemas"], &mut words);
        assert!(words.len() > 20, "{words:?}");
        words.extend(AlertMetric::ALL.map(|metric| metric.as_str().to_owned()));
        words.extend([DeadReason::Expired, DeadReason::Rejected].map(|reason| reason.as_str().to_owned()));
        words.extend([Severity::Info, Severity::Critical].map(|severity| severity.as_str().to_owned()));
        for word in words {
            assert!(ROWS.iter().any(|(known, _)| *known == word), "{word} has no Chinese row");
        }
    }

    /// The values that fields called `state`, `cause`, `dead_reason`, `origin` and `severity` can take; those of alerts
    /// have words of their own on the page.
    fn collect(value: &serde_json::Value, words: &mut Vec<String>) {
        let Some(fields) = value.as_object() else { return };
        for (name, inner) in fields {
            let is_shown = ["state", "cause", "dead_reason", "origin", "severity"].contains(&name.as_str());
            if let Some(values) = inner["enum"].as_array().filter(|_| is_shown) {
                let values = values.iter().filter_map(serde_json::Value::as_str);
                words.extend(values.filter(|word| !["firing", "resolved"].contains(word)).map(str::to_owned));
            }
            collect(inner, words);
        }
    }
}
