//! What the pages of topics and groups say.

texts! {
    /// What the pages of topics and groups say.
    Objects {
        no_topics: "No topics yet. The first message to a name makes one.", "还没有主题。向某个名称发送第一条消息即可创建。";
        no_groups:
            "No groups yet. A receive that names a topic makes one, and so does the form below.",
            "还没有消费组。指定主题的接收会创建一个，也可以用下面的表单创建。";
        kept: "Kept", "保留";
        rate: "In", "写入";
        produced: "Messages in", "写入消息";
        produced_bytes: "Bytes in", "写入字节";
        new_topic: "New topic", "新建主题";
        new_group: "New group", "新建消费组";
        queues_hint: "1 to 256; it can grow later and never shrink", "1 到 256，之后只能增加不能减少";
        first_kept: "First kept", "最早保留";
        next_offset: "Next offset", "下一偏移量";
        groups_of: "Groups that read it", "订阅它的消费组";
        nobody_reads: "No group reads this topic.", "没有消费组订阅此主题。";
        search_messages: "Messages", "查看消息";
        send_message: "Send a message", "发送消息";
        its_scheduled: "Scheduled", "定时消息";
        max_age: "Keeps messages for", "消息保留";
        max_age_hint: "at least 1s: 72h, 7d; whole segments of the log go when all in them is older", "至少 1s：72h、7d；日志段内消息全部过期后整段清理";
        keys_window: "Remembers keys for", "幂等键保留";
        keys_window_hint: "Idempotency-Keys: 1s to 24h, at most a quarter longer", "1s 到 24h；实际保留时间最多长四分之一";
        subscriptions: "Topics it reads", "订阅的主题";
        subscriptions_hint:
            "one a line: orders, orders tag: eu || us, or orders sql: amount > 5",
            "每行一个：orders、orders tag: eu || us 或 orders sql: amount > 5";
        lease: "Lease", "租约时长";
        lease_hint: "how long a consumer has for a message when it does not say: 60s", "消费者未指定时处理一条消息的时限：60s";
        max_attempts: "Attempts", "最大尝试次数";
        max_attempts_hint: "failed deliveries until it is a dead letter", "失败多少次后成为死信";
        retry: "Pauses between attempts", "重试间隔";
        retry_hint: "10s 30s 1m, or exponential 10s 2 2h; empty: as usual", "10s 30s 1m，或 exponential 10s 2 2h；留空为默认";
        max_in_flight: "Most in flight", "处理中上限";
        max_in_flight_hint: "messages that are handed out at once", "同时投递的消息数";
        dead_letters_max: "Most dead letters", "死信上限";
        dead_letters_max_hint: "when there are as many, the queue of the next one waits", "达到上限后，下一条所在的队列将等待";
        start: "New subscriptions start at", "新订阅的起点";
        start_hint: "earliest, latest or a time", "earliest、latest 或时间";
        lane_batch: "Batch of a lane", "同一序列每次条数";
        lane_batch_hint: "consecutive messages of a lane at once; above 1 for ordered groups alone", "一次投递同序列连续消息数；大于 1 仅限顺序消费组";
        dead_letter_expired: "expired messages become dead letters", "过期消息进入死信";
        as_json: "All of it as JSON", "全部设置（JSON）";
        settings_about:
            "All settings as JSON. Nothing is saved before you have seen what would change.",
            "全部设置（JSON）。保存之前会先显示将要发生的变化。";
        review: "Show changes", "查看变化";
        field: "Setting", "设置项";
        before: "Before", "之前";
        after: "After", "之后";
        deaths_looked: "Counted from the newest {0} of {1}.", "统计范围：{1} 条中最新的 {0} 条。";
        deaths_others: "and {0} of further kinds", "其他类型另有 {0} 条";
        more_names: "There are more: write more of the name.", "还有更多结果，请输入更完整的名称。";
        edited_since:
            "This was edited after it was shown. Nothing was changed: here is what would happen now.",
            "显示之后又有修改。没有任何改动，下面是现在的结果。";
        no_change: "Nothing would change.", "没有变化。";
        delete_topic:
            "Deletes the topic and every message in it. Dead letters stay in their groups.",
            "将删除主题及其中所有消息，死信仍保留在各消费组中。";
        delete_group:
            "Deletes the group: where it stands, its leases and its dead letters.",
            "将删除消费组：进度、租约及其死信。";
        made: "Made", "创建时间";
        chart_last: "now {0}, at most {1}", "当前 {0}，最高 {1}";
        chart_table: "As a table", "以表格显示";
        chart_none: "Nothing is known yet.", "暂无数据。";
        how_far_back: "How far back", "时间范围";
        ten_minutes: "10 minutes", "10 分钟";
        six_hours: "6 hours", "6 小时";
        seven_days: "7 days", "7 天";
        value: "Value", "数值";
        lag_messages: "Lag", "积压";
        lag_age: "Age of the oldest", "最久等待";
        acked: "Acked", "已确认";
        failed: "Failed deliveries", "投递失败";
        counting: "still counting", "仍在统计";
        trend: "Trend", "趋势";
        trend_rate: "{0}/s", "每秒 {0}";
        clear_in: "clear in {0}", "约 {0} 后清空";
        not_clearing: "not shrinking", "未减少";
        explain: "Why it gets what it gets", "投递情况说明";
        ready: "Ready", "就绪";
        members_of: "Members", "成员";
        no_members: "Nobody asks this group for messages right now.", "目前没有成员从该组取消息。";
        last_heard: "Last heard of", "最近活动";
        attempts: "Failed deliveries of what it holds", "持有消息的失败次数";
        looked_at: "Counted from {0} of {1} messages.", "统计范围：{1} 条中的 {0} 条。";
        attempts_none: "It holds no messages.", "没有持有的消息。";
        failures: "Failures", "失败次数";
        failing: "Why they failed last", "最近失败原因";
        failing_none: "None of the messages it holds has failed.", "持有的消息都没有失败过。";
        deaths: "What its dead letters died of", "死信原因";
        deaths_none: "It has no dead letters.", "没有死信。";
        reason: "Reason", "原因";
        words: "Last words", "最后信息";
        count: "How many", "数量";
        pause: "Pause", "暂停";
        resume: "Resume", "恢复";
        paused_about: "Paused: nothing is handed out until it is resumed.", "已暂停：恢复之前不会投递消息。";
        seek: "Move it to another place", "移动消费位置";
        to: "To", "移动到";
        earliest: "the earliest message", "最早的消息";
        latest: "the end", "末尾";
        a_time: "a time", "某个时间";
        an_offset: "an offset", "某个偏移量";
        at: "Which", "具体位置";
        at_hint: "a time as 2026-01-31T12:00:00Z, 15m for so long ago, or queue:offset as 0:1200", "时间如 2026-01-31T12:00:00Z，或多久以前如 15m；或 队列:偏移量 如 0:1200";
        would: "Look first", "先试算";
        do_seek: "Move", "移动";
        would_skip: "Would count as acked", "将视为已确认";
        would_replay: "Would come again", "将重新投递";
        would_cancel: "Leases that would end", "将结束的租约";
        topic_it_reads: "Topic that it reads", "订阅的主题";
        ordered_too: "ordered", "顺序消费";
        kind: "Kind", "类型";
        not_found: "No topic or group has that in its name, and it is not the id of a message.", "没有名称包含它的主题或消费组，它也不是消息 ID。";
    }
}
