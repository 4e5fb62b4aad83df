//! What the pages about messages say: searching, following, looking at one, sending, and what is scheduled.

texts! {
    /// What the pages about messages say.
    Messages {
        message: "Message", "消息";
        from: "From", "起始";
        to: "To", "截止";
        to_hint: "now", "现在";
        contains: "Body contains", "内容包含";
        search: "Search", "搜索";
        saved: "Saved searches", "已保存的搜索";
        forget: "Forget {0}", "删除 {0}";
        found: "{0} found, {1} looked at.", "找到 {0} 条，已查看 {1} 条。";
        truncated: "Truncated", "结果不完整";
        bounded: "the search stopped before it came to the end.", "搜索在到达末尾之前停止。";
        index_incomplete: "the index is being made again, some messages are missing.", "索引正在重建，缺少部分消息。";
        follow: "Follow new ones", "跟踪新消息";
        found_messages: "Messages found", "找到的消息";
        accepted: "Accepted", "接收时间";
        keys: "Keys", "键";
        payload: "Payload", "内容";
        bytes: "bytes", "二进制";
        further: "Look further", "继续查找";
        at_end: "That is all there is.", "没有更多了。";
        save_as: "Save this search as", "将此搜索保存为";
        share: "Its address holds all of it, to share", "地址包含全部条件，可直接分享";
        name_a_topic: "Name a topic to see its newest messages.", "输入主题名称以查看最新消息。";
        send_one: "Send one", "发送一条";
        live: "live", "实时";
        live_of: "{0}, live", "{0}：实时";
        needs_script:
            "Following needs script. Without it, search shows the newest messages, and again on each reload.",
            "跟踪需要启用脚本。否则请用搜索查看最新消息，每次刷新都会更新。";
        pause: "Pause", "暂停";
        resume: "Resume", "继续";
        connecting: "connecting", "正在连接";
        resting: "paused", "已暂停";
        tail_lost: "connection lost, trying again", "连接已断开，正在重试";
        tail_skipped: "messages were skipped: retention was faster", "有消息被跳过：保留期先到";
        tail_damaged: "message {0} is damaged and was stepped over", "消息 {0} 已损坏，已跳过";
        tail_ended: "ended", "已结束";
        tail_refused: "refused", "被拒绝";
        new_messages: "New messages", "新消息";
        tail_about:
            "The newest first, the last 200. While it is paused nothing is lost: it goes on where it stopped.",
            "最新的在前，最多 200 条。暂停期间不会丢失，将从停止处继续。";
        search_instead: "Search instead", "改用搜索";
        offset: "Offset", "位点";
        due: "Due", "到期时间";
        send_again: "Send again, edited or not", "再次发送（可编辑）";
        cancel_it: "Cancel…", "取消…";
        as_json: "As JSON", "JSON 格式";
        attributes: "Attributes", "属性";
        no_group: "No group subscribes to its topic.", "没有消费组订阅此主题。";
        attempt: "Attempt", "尝试";
        round: "Round", "轮次";
        client: "Client", "客户端";
        until_since: "Until, since", "截止或起始";
        dead_letter: "dead letter", "死信";
        next_due: "These are the next {0}; the page of a topic lists all of its own.", "仅显示最先到期的 {0} 条；各主题的页面列出其全部定时消息。";
        search_too_long: "A browser keeps 3,500 bytes of searches, and this one alone is longer, so it was not kept. Search once more: the address is the search, and a bookmark keeps it.", "浏览器最多保存 3500 字节的搜索，此搜索过长，未保存。请再搜索一次：地址即搜索，可以收藏为书签。";
        more_groups: "Further groups subscribe and are not shown.", "还有其他订阅的消费组未显示。";
        life: "What happened to it", "消息经历";
        life_fault: "It cannot be told:", "无法显示：";
        in_group: "in {0}", "消费组 {0}";
        in_deleted: "in a group that is deleted (number {0})", "已删除的消费组（编号 {0}）";
        by_client: "client {0}", "客户端 {0}";
        nth_attempt: "attempt {0}", "第 {0} 次尝试";
        nth_round: "round {0}", "第 {0} 轮";
        lease_until: "lease until", "租约至";
        ready_at: "ready at", "就绪于";
        life_gap: "Between these times the log is gone: what happened then is not told.", "此时间段的日志已删除，无法显示。";
        life_left_out: "More groups met it than are told of.", "还有其他消费组的记录未显示。";
        read_on: "Read on", "继续读取";
        was_read: "{0} entries of the log were read.", "已读取 {0} 条日志。";
        as_command: "As a command", "命令行";
        no_command: "The payload is too large to be written into a command.", "内容过大，无法写成命令。";
        no_payload: "The payload is empty.", "内容为空。";
        more_values: "more values are not shown", "其余的值未显示";
        part_shown: "Only a part is shown.", "仅显示一部分。";
        first_of: "The first {0} of {1} are shown.", "仅显示前 {0}，共 {1}。";
        property: "Property", "属性";
        properties: "Properties", "属性";
        value: "Value", "值";
        content_type: "Content type", "内容类型";
        content_encoding: "Content encoding", "内容编码";
        ordering_key: "Ordering key", "顺序键";
        send_title: "Send a message", "发送消息";
        copy_of: "A copy of the dead letter", "死信副本：";
        copy_about:
            "It is sent as a new message to everyone who reads the topic; the dead letter stays where it is.",
            "将作为新消息发送给该主题的所有消费组；死信保留在原处。";
        written_as: "The payload is written as", "内容格式";
        as_text: "text", "文本";
        as_base64: "base64, for bytes", "base64（二进制）";
        keys_lines: "Keys, one a line", "键，每行一个";
        more: "More", "更多";
        properties_json: "Properties, as a JSON object", "属性（JSON 对象）";
        delay: "Delay", "延迟";
        ttl: "Time to live", "存活时间";
        too_large_to_edit:
            "The payload of this message is too large to be edited on a page. The command line sends files.",
            "此消息内容过大，无法在页面上编辑。命令行可以发送文件。";
        scheduled_in: "Scheduled in {0}", "{0} 的定时消息";
        none_scheduled: "Nothing waits for its time.", "没有等待到期的消息。";
        action: "Action", "操作";
        later: "Later ones", "更晚的消息";
        by_topic: "By topic", "按主题";
        more_topics: "There are more topics with scheduled messages.", "还有其他含定时消息的主题。";
        all_topics: "All topics", "全部主题";
        take_back: "Take a scheduled message back", "撤回定时消息";
        take_back_about:
            "It never becomes ready, and nobody gets it. This cannot be undone.",
            "它不会再就绪，也不会被任何人收到。此操作无法撤销。";
        take_it_back: "Take it back", "撤回";
        not_scheduled: "This message is not scheduled, or not any more.", "此消息不是定时消息，或已不再等待。";
    }
}
