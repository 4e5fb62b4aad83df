//! What the pages about dead letters say.

texts! {
    /// What the pages about dead letters say.
    Letters {
        none_anywhere: "No group has dead letters.", "没有消费组有死信。";
        groups_with: "Groups with dead letters", "有死信的消费组";
        more_groups: "More groups", "更多消费组";
        letters_of: "Dead letters of {0}", "{0} 的死信";
        redriven: "{0} redriven.", "已重投 {0} 条。";
        not_redriven: "These were not:", "以下未能重投：";
        would_move: "{0} would be redriven, of {1} looked at. Nothing was changed.", "在查看的 {1} 条中，将重投 {0} 条。未做任何更改。";
        truncated: "Truncated", "结果不完整";
        not_all_looked: "there are more that were not looked at.", "还有未查看的死信。";
        purged: "{0} thrown away.", "已清除 {0} 条。";
        none_here: "It has none.", "没有死信。";
        in_all: "{0} in all.", "共 {0} 条。";
        export: "Export", "导出";
        kinds: "What they died of", "原因统计";
        reason: "Reason", "原因";
        words: "Last words", "最后的说明";
        count: "Count", "数量";
        newest: "Newest", "最新";
        other_kinds: "{0} more died of other things.", "另有 {0} 条属于其他原因。";
        counted_from: "counted from the newest {0} of {1}.", "仅统计最新的 {0} 条，共 {1} 条。";
        all_of_them: "All of them", "全部死信";
        those_that_fit: "Those that fit", "符合条件的死信";
        any: "any", "任意";
        words_contain: "Words contain", "说明包含";
        dead_from: "Dead from", "死亡时间起";
        dead_before: "Dead before", "死亡时间止";
        show_all: "Show all", "显示全部";
        none_looked: "None among the {0} that were looked at.", "查看的 {0} 条中没有符合的。";
        none_fits: "None fits.", "没有符合条件的死信。";
        choose: "Choose", "选择";
        choose_one: "Choose {0}", "选择 {0}";
        message: "Message", "消息";
        died: "Died", "死亡时间";
        attempts: "Attempts", "尝试次数";
        round: "Round", "轮次";
        were_looked: "{0} were looked at.", "已查看 {0} 条。";
        further: "Look further", "继续查找";
        redrive: "Redrive", "重投";
        those_chosen: "those chosen above", "上面选中的";
        all_count: "all {0}, as a job", "全部 {0} 条（作为任务）";
        all_that_fit: "all that fit the filter, as a job", "全部符合条件的（作为任务）";
        back_to: "back to {0}, at the end of their lanes", "回到 {0}，排在各自队列末尾";
        on_to: "on to the topic", "转发到主题";
        target: "Topic to redrive to", "重投的目标主题";
        at_most: "At most so many a second, for a job", "每秒最多（仅任务）";
        count_first: "Count what would move", "先统计数量";
        throw_away: "Throw all of them away", "清除全部死信";
        throw_about:
            "All {0} dead letters of this group are thrown away, whatever the filter says. This cannot be undone; \
             export them first if somebody may miss them.",
            "无论筛选条件如何，该消费组的全部 {0} 条死信都会被清除。此操作无法撤销，如有需要请先导出。";
        throw: "Throw away", "清除";
        letter: "Dead letter", "死信";
        died_again: "died again after a redrive", "重投后再次死亡";
        queue_offset: "Queue, offset", "队列、位点";
        accepted: "Accepted", "接收时间";
        redrive_to: "Redrive to {0}", "重投到 {0}";
        edit_resend: "Edit and resend", "编辑后重发";
        its_message: "The message, and what happened to it", "查看消息及其经历";
        failures: "Failed deliveries", "失败的投递";
        never_delivered: "None: it was never delivered.", "无：从未投递。";
        failures_kept: "{0} in all: the first and the last 15 are kept.", "共 {0} 次：保留最初和最后各 15 次。";
        no_letter: "There is no such dead letter.", "没有这条死信。";
    }
}
