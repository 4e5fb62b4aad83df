//! What the broker says instead of doing something, in Chinese. A refusal is made far below, in English, and is the
//! same in the interface and in the log; here its sentence is the key of its row. `{}` stands where names, numbers and
//! what somebody typed are filled in, which stay as they are, and `{~}` where it is a sentence or a word of ours again.

use std::borrow::Cow;

use super::Lang;
use crate::dashboard::format;

/// A sentence of the broker for people. One that has no row is shown as it is.
pub(in crate::dashboard) fn told(lang: Lang, sentence: &str) -> Cow<'_, str> {
    let chinese = || whole(sentence).or_else(|| of_field(sentence)).map(Cow::Owned);
    match lang {
        Lang::Zh => chinese().unwrap_or(Cow::Borrowed(sentence)),
        Lang::En => Cow::Borrowed(sentence),
    }
}

fn whole(sentence: &str) -> Option<String> {
    ROWS.iter().find_map(|(english, chinese)| {
        let parts = filled(english, sentence)?;
        let parts: Vec<&dyn std::fmt::Display> = parts.iter().map(|part| part as _).collect();
        Some(format::with(chinese, &parts))
    })
}

/// `queues must be 1 to 4096` and `from: must be later than to`: a field, and what is wrong with it.
fn of_field(sentence: &str) -> Option<String> {
    let (field, rest) = sentence.split_once(' ')?;
    let field = field.strip_suffix(':').unwrap_or(field);
    let is_field =
        !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/.".contains(&byte));
    let label = FIELDS.iter().find(|(known, _)| *known == field).map_or(field, |(_, chinese)| chinese);
    is_field.then(|| whole(rest)).flatten().map(|rest| format!("{label}：{rest}"))
}

/// What stands in the places of `row`, if the sentence is that row filled in.
fn filled<'a>(row: &str, sentence: &'a str) -> Option<Vec<Cow<'a, str>>> {
    let mut pieces = row.split(OPENS);
    let mut rest = sentence.strip_prefix(pieces.next()?)?;
    let mut parts = Vec::new();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let (is_ours, piece) = match piece.strip_prefix("~}") {
            Some(piece) => (true, piece),
            None => (false, piece.strip_prefix('}')?),
        };
        let is_last = pieces.peek().is_none();
        let (part, behind) = if is_last { (rest.strip_suffix(piece)?, "") } else { rest.split_once(piece)? };
        parts.push(if is_ours { told(Lang::Zh, part) } else { Cow::Borrowed(part) });
        rest = behind;
    }
    rest.is_empty().then_some(parts)
}

/// What a place begins with. No row holds one besides.
const OPENS: char = '{';

/// How fields of forms are called on the pages. Those of settings keep their names, which tell the unit of a number.
const FIELDS: &[(&str, &str)] = &[
    ("name", "名称"),
    ("topic", "主题"),
    ("group", "消费组"),
    ("key", "键"),
    ("tag", "标签"),
    ("contains", "内容包含"),
    ("from", "起始时间"),
    ("to", "结束时间"),
    ("at", "位置"),
    ("words", "失败信息包含"),
    ("reason", "原因"),
    ("target", "目标主题"),
    ("rate", "速率"),
    ("id", "所选消息"),
    ("body", "消息体"),
    ("keys", "键"),
    ("properties", "属性"),
    ("ordering_key", "顺序键"),
    ("delay", "延迟"),
    ("ttl", "有效期"),
    ("metric", "指标"),
    ("op", "比较"),
    ("threshold", "阈值"),
    ("window", "窗口"),
    ("for", "持续"),
    ("keep_firing_for", "恢复前保持"),
    ("severity", "级别"),
    ("no_data", "无数据时"),
    ("minutes", "分钟"),
    ("rule", "规则"),
    ("kind", "类型"),
    ("url", "地址"),
    ("secret", "密钥"),
    ("created_by", "创建人"),
    ("comment", "备注"),
    ("cursor", "游标"),
];

/// Sentences, the longer before those that they contain.
const ROWS: &[(&str, &str)] = &[
    // Fields of forms.
    ("is missing", "未填写"),
    ("must be one key a line, or a JSON list of texts", "每行一个键，或一个 JSON 字符串列表"),
    ("must be a JSON object of texts, such as {}}: {~}", "必须是值为字符串的 JSON 对象，例如 {0}}：{1}"),
    ("name one twice (names are case-insensitive)", "有重复的名称（名称不区分大小写）"),
    ("is not base64: {}", "不是 base64：{0}"),
    ("must be QUEUE:OFFSET, such as 0:1200", "必须是 队列:偏移量，例如 0:1200"),
    ("must be max_attempts, rejected or expired", "必须是 max_attempts、rejected 或 expired"),
    ("must name the topic that they go on to", "必须填写要转发到的主题"),
    ("choose at least one dead letter", "请至少选择一条死信"),
    ("must be a time such as {}, or how long ago: 15m, 2h", "必须是时间，例如 {0}，或多久以前：15m、2h"),
    ("must be at most {} d", "最多 {0} 天"),
    ("must be one of {}", "必须是以下之一：{0}"),
    ("is before the beginning", "早于起始时间"),
    ("invalid digit found in string", "必须是整数"),
    ("cannot parse integer from empty string", "必须是整数"),
    ("number too large to fit in target type", "数字过大"),
    // Names, numbers, times.
    (
        "'{}' is not a name: 1 to 127 characters, letters, digits, '.', '_' and '-', starting with a letter or digit",
        "“{0}”不是有效的名称：1 到 127 个字符，只含字母、数字、“.”、“_”和“-”，以字母或数字开头",
    ),
    ("'{}' is not an RFC 3339 time such as {}", "“{0}”不是 RFC 3339 时间，例如 {1}"),
    ("a time before 1970 is not accepted", "不接受 1970 年以前的时间"),
    ("'{}' is not a duration such as 250ms, 90s, 3m or 1h30m", "“{0}”不是时长，例如 250ms、90s、3m 或 1h30m"),
    ("not an id written by this broker", "不是本服务器写出的 ID"),
    ("not a version written by this broker", "不是本服务器写出的版本"),
    ("not the cursor of a trace", "不是轨迹的游标"),
    ("is not the id of a job, which is a number such as 7", "不是任务编号，编号是数字，例如 7"),
    ("is not the id of a silence, which is a number such as 7", "不是静默编号，编号是数字，例如 7"),
    ("is not the id of a delivery, which is a number such as 7", "不是投递编号，编号是数字，例如 7"),
    ("is not the id of a client", "不是客户端编号"),
    // Messages.
    ("has {} bytes, at most {} are accepted", "有 {0} 字节，最多接受 {1} 字节"),
    ("must have 1 to {} bytes, no control characters and no '|'", "必须有 1 到 {0} 字节，不含控制字符和“|”"),
    ("must have 1 to {} bytes and no control characters", "必须有 1 到 {0} 字节，不含控制字符"),
    ("must have 1 to {} bytes", "必须有 1 到 {0} 字节"),
    ("must name at most {} keys", "最多 {0} 个键"),
    ("must have at most {} bytes together", "总共最多 {0} 字节"),
    ("must have at most {} bytes and no control characters", "最多 {0} 字节，不含控制字符"),
    ("must have at most {} bytes", "最多 {0} 字节"),
    ("must have names", "必须有名称"),
    // Settings.
    (
        "must be 1 to {} characters of a name, or * for any of them",
        "必须是名称的 1 到 {0} 个字符，可用 * 代表任意字符",
    ),
    ("must hold 1 to {} delays", "必须有 1 到 {0} 个延迟"),
    ("must be {} to {}, and not below initial_ms", "必须为 {0} 到 {1}，且不小于 initial_ms"),
    (
        "must be delays such as 10s 30s 1m, or exponential 10s 2 2h: the first, by what each is multiplied (1 to 10), the longest",
        "必须是间隔，例如 10s 30s 1m，或 exponential 10s 2 2h：首个间隔、倍数（1 到 10）、最长间隔",
    ),
    ("must be {} to {}", "必须为 {0} 到 {1}"),
    ("must name at most {} topics", "最多 {0} 个主题"),
    ("must name at most {} labels, each of at most {} bytes", "最多 {0} 个标签，每个最多 {1} 字节"),
    ("must name at most {} labels", "最多 {0} 个标签"),
    ("must name at least one label", "必须至少有一个标签"),
    ("names topic '{}' twice", "重复了主题“{0}”"),
    ("above 1 needs an ordered group", "大于 1 时必须是顺序消费组"),
    ("must be later than from", "必须晚于起始时间"),
    ("must be after starts_at", "必须晚于 starts_at"),
    ("must not be empty: others will ask", "不能为空：便于他人了解原因"),
    (
        "must name a label and a value at least once; a silence of everything hides everything",
        "必须至少有一个标签和值；静默一切会掩盖一切",
    ),
    ("is a label that every alert has by itself", "是每个告警自带的标签"),
    ("must be the name of a receiver", "必须是接收方的名称"),
    ("must be the integration key of the service", "必须是该服务的集成密钥"),
    (
        "must be http:// or https://, a host, and a path, at most {} visible characters",
        "必须是 http:// 或 https://、主机和路径，最多 {0} 个可见字符",
    ),
    (
        "must be named by letters, digits and _, not beginning with a digit",
        "名称只含字母、数字和 _，不以数字开头",
    ),
    ("must be letters, digits and _, not beginning with a digit", "只含字母、数字和 _，不以数字开头"),
    ("must be a number with at most six decimals, below 9 trillion", "必须是数字，最多六位小数，小于 9 万亿"),
    ("must be at most {}", "最多 {0}"),
    (
        "must not hold a name and password, which would not be sent: 'secret' signs what a webhook gets, and a token may stand in the path or query, which are never shown",
        "不能包含用户名和密码，它们不会被发送：“密钥”用于对 webhook 签名，令牌可以放在路径或查询中，它们不会显示",
    ),
    (
        "must name its host by letters, digits, '-', '_' and '.', or by an IPv6 address in [ ]",
        "主机只能用字母、数字、“-”、“_”和“.”，或 [ ] 中的 IPv6 地址",
    ),
    ("must have a port from 1 to 65535, or none", "端口必须是 1 到 65535，或不写"),
    ("must have '{}' written as %{}", "“{0}”必须写成 %{1}"),
    (
        "must be one topic a line, alone or with 'tag: a || b' or 'sql: amount > 5' behind it",
        "每行一个主题，后面可加“tag: a || b”或“sql: amount > 5”",
    ),
    // What is no JSON, or not of the shape (serde_json's words).
    ("{~} at line {} column {}", "{0}（第 {1} 行第 {2} 列）"),
    ("unknown field `{}`, expected one of {}", "没有字段“{0}”，可用的有：{1}"),
    ("unknown field `{}`, expected {}", "没有字段“{0}”，应为：{1}"),
    ("unknown variant `{}`, expected one of {}", "没有“{0}”，可用的有：{1}"),
    ("unknown variant `{}`, expected `{}` or `{}`", "没有“{0}”，可用的有：{1}、{2}"),
    ("missing field `{}`", "缺少字段“{0}”"),
    ("duplicate field `{}`", "字段“{0}”重复"),
    ("invalid type: {}, expected {}", "类型不对：得到 {0}，应为 {1}"),
    ("invalid value: {}, expected {}", "值不对：得到 {0}，应为 {1}"),
    ("EOF while parsing {~}", "JSON 没有结束：{0}"),
    ("an object", "对象"),
    ("a list", "列表"),
    ("a string", "字符串"),
    ("a value", "值"),
    ("expected `:`", "应为“:”"),
    ("expected ident", "此处应有一个值"),
    ("expected `,` or `]`", "应为“,”或“]”"),
    ("expected value", "此处应有一个值"),
    ("trailing characters", "结束之后还有多余的字符"),
    ("trailing comma", "多余的逗号"),
    ("key must be a string", "键必须是字符串"),
    ("expected `,` or `}`", "应为“,”或“}”"),
    // Topics, groups and their messages.
    ("there is no topic '{}'; make it with PUT /v1/topics/{}", "没有主题“{0}”，请先创建"),
    (
        "there is no group '{}'; name a topic (?topic=) to make it, or PUT /v1/groups/{}",
        "没有消费组“{0}”，请先创建",
    ),
    ("group '{}' is not subscribed to topic '{}'", "消费组“{0}”没有订阅主题“{1}”"),
    (
        "queue {} does not exist: the topic has {} queues, counted from 0",
        "没有队列 {0}：主题有 {1} 个队列，从 0 数起",
    ),
    (
        "queue and ordering_key exclude each other: the ordering key chooses the queue",
        "不能同时指定队列和顺序键：队列由顺序键决定",
    ),
    ("queues can only grow: the topic has {}", "队列只能增加：主题有 {0} 个"),
    ("queues cannot grow while ordered group '{}' has backlog", "顺序消费组“{0}”有积压时不能增加队列"),
    (
        "ordered and lane_batch change only when nothing of the group is leased or retrying",
        "消费组没有处理中和重试中的消息时才能更改 ordered 和 lane_batch",
    ),
    ("'{}' still holds {}; repeat with ?confirm={}", "“{0}”还有 {1}"),
    ("'{}' exists already", "“{0}”已经存在"),
    ("'{}' was changed meanwhile: its entity tag is \"{}\" now", "“{0}”已被别人更改，当前版本是 {1}"),
    ("'{}' does not exist, and If-Match asks for what is there", "“{0}”不存在"),
    ("there are {} topics already, the most a node holds", "已有 {0} 个主题，达到节点上限"),
    ("there are {} groups already, the most a node holds", "已有 {0} 个消费组，达到节点上限"),
    (
        "{} messages are scheduled, dead, or handed out and not settled already, the most a node holds",
        "定时、死信和处理中的消息已有 {0} 条，达到节点上限",
    ),
    (
        "this Idempotency-Key was used for another request to this topic; use a new key for a new request",
        "此 Idempotency-Key 已用于对该主题的另一个请求；新请求请用新的键",
    ),
    (
        "{} idempotency keys are remembered already, the most this node is set to; older ones go with time",
        "已记住 {0} 个幂等键，达到节点设置的上限；旧的会随时间过期",
    ),
    (
        "nothing was stored: {} of {} messages are refused, the first of them: {~}",
        "没有存储任何消息：{1} 条中有 {0} 条被拒绝，第一条：{2}",
    ),
    ("{} must be at most 40 days from now", "{0} 不能晚于 40 天之后"),
    (
        "the message is not scheduled any more, so there is nothing left to cancel",
        "消息已不在定时中，无需取消",
    ),
    ("the group has no such dead letter", "消费组没有这条死信"),
    (
        "the topic '{}' of this dead letter is deleted or no longer subscribed",
        "这条死信的主题“{0}”已删除或不再订阅",
    ),
    ("subscriptions name topic '{}', which does not exist", "订阅的主题“{0}”不存在"),
    ("there is no message {}", "没有消息 {0}"),
    ("message {} is gone: retention removed it", "消息 {0} 已不在：超过保留期被清理"),
    ("message {} belongs to a topic that is deleted", "消息 {0} 所属的主题已删除"),
    ("group '{}' has no dead letter {}", "消费组“{0}”没有死信 {1}"),
    // Jobs.
    (
        "there is no job {}; it may have ended long ago and be forgotten",
        "没有任务 {0}；它可能早已结束并被清除",
    ),
    (
        "job {} of group '{}' still runs; wait for it, or cancel it with DELETE /v1/jobs/{}",
        "消费组“{1}”的任务 {0} 仍在运行；请等待或取消它",
    ),
    ("job {} has ended already; there is nothing to cancel", "任务 {0} 已经结束，无需取消"),
    (
        "{} jobs run already, the most a node runs at once; wait for one, or cancel one",
        "已有 {0} 个任务在运行，达到上限；请等待或取消一个",
    ),
    // Alerting.
    ("there is no {~} '{}'", "没有{0}“{1}”"),
    (
        "'{}' is set in the configuration file of the broker; change it there and start the broker again",
        "“{0}”由服务器的配置文件设定；请在文件中更改并重启服务器",
    ),
    ("a route leads to receiver '{}'; change the routes first", "有路由指向接收方“{0}”；请先更改路由"),
    (
        "'{}' comes with the broker and cannot be deleted; PUT it with \"enabled\": false to have it ignored",
        "“{0}”是内置的，不能删除；可以停用它",
    ),
    ("silence {} is over; make another", "静默 {0} 已结束；请新建一个"),
    (
        "there are {} {~} already, the most a node holds; delete some",
        "已有 {0} 个{1}，达到节点上限；请删除一些",
    ),
    ("rule", "告警规则"),
    ("rules", "告警规则"),
    ("receiver", "接收方"),
    ("receivers", "接收方"),
    ("silence", "静默"),
    ("silences", "静默"),
    ("delivery", "投递"),
    // What the preview of a rule does not see.
    (
        "History keeps the topics of a group together: a group that reads several is looked at as one.",
        "历史数据不区分消费组的各个主题：订阅多个主题的消费组按整体计算。",
    ),
    (
        "History is looked at in steps of ten seconds for six hours, and of a minute before; what came and went in between is not seen.",
        "历史数据六小时内每十秒一个点，更早每分钟一个点；其间短暂的变化看不到。",
    ),
    (
        "History keeps the slowest fsyncs of each step, and not of the window of the rule.",
        "历史数据保存的是每个点最慢的 fsync，而不是规则窗口内的。",
    ),
    ("The size of the disk is today's.", "磁盘大小按当前值计算。"),
    (
        "History remembers the groups with the most to tell, 50 at most; others were not looked at.",
        "历史数据最多保存 50 个最活跃的消费组；其他消费组未计入。",
    ),
    ("History does not hold what this rule asks about.", "历史数据中没有此规则所查看的内容。"),
    (
        "{} previews of rules are made already, the most at once; try again in some seconds",
        "已有 {0} 个规则预览在进行，达到上限；请几秒后再试",
    ),
    // The node.
    ("requests", "请求"),
    ("bytes", "字节"),
    ("too many {~} wait to be written; try again shortly", "等待写入的{0}过多；请稍后再试"),
    ("too many receives and subscriptions wait", "等待中的接收和订阅过多"),
    ("the broker has stopped", "服务器已停止"),
    ("the broker is stopping", "服务器正在停止"),
    ("the broker is starting, or has no leader", "服务器正在启动，或没有主节点"),
    (
        "free disk space is under the reserve; receive and settle still work, and producing goes on once there is space",
        "磁盘剩余空间低于预留值；仍可接收和确认，有空间后恢复生产",
    ),
    (
        "the outcome is unknown: the request was submitted, and its confirmation did not come in time",
        "结果未知：请求已提交，但没有及时得到确认",
    ),
    ("too many notifications are under way; try again in some seconds", "正在投递的通知过多；请几秒后再试"),
    (
        "the queue index is being made; places in time are known once it is done",
        "队列索引正在建立；完成后才能按时间定位",
    ),
    ("the request waited longer than the request timeout and was not submitted", "请求等待超时，未提交"),
    ("this node does not lead, node {} does", "本节点不是主节点，主节点是 {0}"),
    ("this node does not lead", "本节点不是主节点"),
    ("the disk is full; free some space", "磁盘已满；请释放空间"),
    ("a backup is being taken already; there is one at a time", "已有一个备份在进行；同时只能有一个"),
    (
        "the queue index is damaged and being made again; try again shortly",
        "队列索引已损坏，正在重建；请稍后再试",
    ),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::machine::Refusal;
    use crate::model::alert::{Receiver, ReceiverKind};
    use crate::model::{GroupSettings, TopicName, TopicSettings};

    fn zh(sentence: &str) -> String {
        told(Lang::Zh, sentence).into_owned()
    }

    #[test]
    fn what_the_broker_says_is_said_in_chinese_with_what_was_filled_in() {
        let name = "a b".parse::<TopicName>().unwrap_err().to_string();
        assert!(zh(&format!("topic: {name}")).starts_with("主题：“a b”不是有效的名称"), "{}", zh(&name));
        let refusal = Refusal::TooManyOf { what: "receivers", most: 100 };
        assert_eq!(zh(&refusal.to_string()), "已有 100 个接收方，达到节点上限；请删除一些");
        let inner = Refusal::QueuesShrink(4);
        let refusal = Refusal::NoneStored { named: vec![(0, inner)], count: 1, of: 2 };
        assert!(zh(&refusal.to_string()).ends_with("第一条：队列只能增加：主题有 4 个"), "{refusal}");
        let odd = TopicSettings { queues: 0, ..TopicSettings::default() }.check().unwrap_err();
        assert!(zh(&odd.to_string()).starts_with("queues：必须为 1 到 "), "settings keep their names");
        let json = serde_json::from_str::<GroupSettings>("{\"colour\": 1}").unwrap_err().to_string();
        assert!(zh(&json).starts_with("没有字段“colour”，可用的有：`subscriptions`"), "{}", zh(&json));
        assert!(zh(&json).ends_with("列）"), "{}", zh(&json));
        let two =
            serde_json::from_str::<GroupSettings>("{\"retry\": {\"kind\": \"x\"}}").unwrap_err().to_string();
        assert!(zh(&two).starts_with("没有“x”，可用的有：table、exponential"), "{}", zh(&two));
        let cut = serde_json::from_str::<GroupSettings>("{").unwrap_err().to_string();
        assert!(zh(&cut).starts_with("JSON 没有结束：对象"), "{}", zh(&cut));
        let example = "properties: must be a JSON object of texts, such as {\"source\": \"shop\"}: trailing comma at line 1 column 9";
        let expected =
            "属性：必须是值为字符串的 JSON 对象，例如 {\"source\": \"shop\"}：多余的逗号（第 1 行第 9 列）";
        assert_eq!(zh(example), expected);
        assert_eq!(told(Lang::En, "is missing"), "is missing");
        assert_eq!(zh("whatever is new"), "whatever is new");
        assert_eq!(zh("rate: must be 1 to 1000"), "速率：必须为 1 到 1000");
    }

    #[test]
    fn a_row_is_one_sentence_with_as_many_places_in_both_languages() {
        for (english, chinese) in ROWS {
            assert!(english.is_ascii() && !chinese.is_ascii(), "{english}");
            let places = english.matches(OPENS).count();
            let used = (0..9).filter(|place| chinese.contains(&format!("{{{place}}}"))).max();
            assert!(used.is_none_or(|used| used < places), "{english}: {chinese}");
        }
        // A row that another one catches before it would never be reached.
        for (at, (english, _)) in ROWS.iter().enumerate() {
            let example = english.replace("{}", "7").replace("{~}", "rule");
            let first = ROWS.iter().position(|(row, _)| filled(row, &example).is_some());
            assert_eq!(first, Some(at), "{english}");
        }
    }

    #[test]
    fn a_new_refusal_needs_a_row() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let refusals = texts_of(&source.join("machine/refusal.rs"));
        let refusals: Vec<String> = refusals.into_iter().filter(|text| text.contains(' ')).collect();
        assert!(refusals.len() > 25, "{refusals:?}");
        let caveats = texts_of(&source.join("broker/alerting/preview.rs"));
        let caveats: Vec<String> = caveats.into_iter().filter(|text| text.ends_with('.')).collect();
        assert!(caveats.len() > 5, "{caveats:?}");
        let mut fields = Vec::new();
        for file in rust_files(&source.join("model")).into_iter().chain(rust_files(&source.join("dashboard")))
        {
            fields.extend(texts_of(&file).into_iter().filter(|text| is_about_a_field(text)));
        }
        assert!(fields.len() > 25, "{fields:?}");
        let has_row = |text: &str| ROWS.iter().any(|(row, _)| filled(row, text).is_some());
        let sentences = refusals.iter().chain(&caveats).chain(&fields);
        let missing: Vec<&String> = sentences.filter(|text| !has_row(text)).collect();
        assert!(missing.is_empty(), "no row for {missing:#?}");
        let receiver = Receiver {
            kind: ReceiverKind::Webhook,
            url: "ftp://x".to_owned(),
            secret: None,
            send_resolved: true,
        };
        assert!(!zh(&receiver.check().unwrap_err().to_string()).is_ascii());
    }

    fn is_about_a_field(text: &str) -> bool {
        ["must be ", "must have ", "must name ", "must hold ", "must not ", "is not the ", "is missing"]
            .iter()
            .any(|start| text.starts_with(start))
    }

    /// Files of a folder and below, tests left out.
    fn rust_files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        let mut found: Vec<PathBuf> =
            files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
        found
            .extend(folders.iter().filter(|path| !path.ends_with("tests")).flat_map(|path| rust_files(path)));
        found.retain(|path| !path.ends_with("tests.rs") && !path.ends_with("told.rs"));
        found
    }

    /// The texts in a source, before its tests, with `{}` for every place.
    fn texts_of(path: &Path) -> Vec<String> {
        let source = fs::read_to_string(path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let source = lines.collect::<Vec<_>>().join("\n").replace("\\\"", "\u{1}");
        let texts = source.split('"').skip(1).step_by(2).map(|text| text.replace('\u{1}', "\""));
        texts.map(|text| with_places(&joined(&text))).collect()
    }

    /// A text that goes on in the next line, behind a backslash.
    fn joined(text: &str) -> String {
        let mut lines = text.split("\\\n");
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |text, line| text + line.trim_start())
    }

    fn with_places(text: &str) -> String {
        let mut pieces = text.split('{');
        let mut plain = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let rest = piece.split_once('}').map_or(piece, |(_, rest)| rest);
            plain.push_str("{}");
            plain.push_str(rest);
        }
        plain
    }
}
