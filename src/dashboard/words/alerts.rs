//! What the pages of alerts say.

texts! {
    /// What the pages of alerts say.
    Alerts {
        standing: "Alerts", "告警";
        silences: "Silences", "静默";
        rules: "Rules", "规则";
        receivers: "Receivers", "接收方";
        deliveries: "Deliveries", "通知记录";
        parts: "Parts of alerting", "告警相关页面";
        none: "No alert is pending or firing.", "没有待触发或正在触发的告警。";
        nobody: "Nobody is told of alerts: there are no receivers.", "还没有接收方，告警不会通知任何人。";
        add_receiver: "Add one", "添加接收方";
        pending: "pending", "待触发";
        firing: "firing", "触发中";
        resolved: "resolved", "已恢复";
        rule: "Rule", "规则";
        about: "About", "对象";
        severity: "Severity", "级别";
        value: "Value", "数值";
        since: "Since", "开始时间";
        summary: "What it says", "内容";
        runbook: "What to do", "处理方法";
        silenced: "silenced", "已静默";
        silence: "Silence it", "静默";
        one_hour: "for 1 hour", "1 小时";
        four_hours: "for 4 hours", "4 小时";
        one_day: "for 1 day", "1 天";
        for_how_long: "How long", "时长";
        minutes: "or so many minutes", "或指定分钟数";
        who: "Who you are", "操作人";
        comment: "Why", "原因";
        no_silences: "There are no silences. An alert can be silenced where it is shown.", "没有静默。可在告警处静默它。";
        matchers: "Which alerts", "匹配的告警";
        made_by: "By", "创建人";
        from: "From", "开始";
        until: "Until", "结束";
        end_now: "End now", "立即结束";
        condition: "Condition", "条件";
        waits: "For", "持续";
        origin: "Origin", "来源";
        off: "off", "已关闭";
        new_rule: "New rule", "新建规则";
        rule_about:
            "Before it is saved you see what would change, and how often it would have fired.",
            "保存之前会显示变化，以及过去一天会触发多少次。";
        metric: "What is measured", "指标";
        metric_hint: "per second and shares are taken over the window", "每秒值和比例按统计窗口计算";
        comparison: "Fires when it is", "触发条件";
        threshold: "Threshold", "阈值";
        threshold_hint: "in the unit of the name: seconds, messages, or a share from 0 to 1", "单位见指标名称：秒、消息数，或 0 到 1 的比例";
        pattern_hint: "empty: all; * stands for any characters", "留空表示全部，* 表示任意字符";
        waits_hint: "how long it must hold first, as 5m or 1h30m", "需持续多久才触发，如 5m 或 1h30m";
        keeps: "Keeps firing for", "继续触发";
        keeps_hint: "after it holds no more", "条件不再满足之后";
        window: "Window", "统计窗口";
        window_hint: "10s to 7d", "10s 到 7d";
        no_data: "When nothing is known", "无数据时";
        no_data_hint: "keep: as it is; ok: all is well; alert: as if it held", "keep：保持不变；ok：视为正常；alert：视为满足条件";
        summary_hint: "what people are told; value, topic and group can be filled in, see the documentation", "通知内容，可填入 value、topic、group，详见文档";
        is_on: "evaluated", "启用";
        open: "Open", "打开";
        would_have: "It would have fired {0} times in the last 24 hours.", "过去 24 小时内会触发 {0} 次。";
        would_unknown: "The history does not hold what this rule measures.", "历史数据中没有该规则的指标。";
        known_from: "The history goes back to {0}.", "历史数据始于 {0}。";
        looked_at:
            "Looked at: {0} of the {1} objects that the rule is about.",
            "已查看该规则涉及的 {1} 个对象中的 {0} 个。";
        was_down:
            "For {0} of that the node was down, or its history was lost; that time is left out.",
            "其中 {0} 节点未运行或历史数据丢失，这段时间不计入。";
        the_node: "the node", "节点";
        delete_changed: "Takes the rule back to how it comes with the broker.", "将规则恢复为内置的设置。";
        delete_rule: "Deletes the rule; its alerts end with it.", "将删除规则，其告警随之结束。";
        in_file: "It stands in the configuration file, and is changed there.", "它来自配置文件，请在文件中修改。";
        no_receivers: "There are no receivers yet.", "还没有接收方。";
        kind: "Kind", "类型";
        address: "Address", "地址";
        address_hint:
            "http:// or https://. Only public addresses, and networks that --webhook-allow names.",
            "http:// 或 https://。仅限公网地址，以及 --webhook-allow 允许的网络。";
        secret: "Secret", "密钥";
        address_stays:
            "Left empty, the one it has stays. http:// or https://, public or allowed by --webhook-allow.",
            "留空则保留现有地址。http:// 或 https://，公网或 --webhook-allow 允许的网络。";
        secret_hint: "signs what is sent, or is the key of the service", "用于签名，或为服务的密钥";
        secret_stays:
            "Left empty, the one it has stays as long as kind and address do.",
            "类型和地址不变时，留空则保留现有密钥。";
        secret_again: "A secret is not shown again: type it once more.", "密钥不会再次显示，请重新输入。";
        change: "Change", "修改";
        tells_end: "also when it is over", "恢复时也通知";
        last: "Last delivery", "最近通知";
        test: "Test", "测试";
        tested_well: "The test arrived (status {0}).", "测试通知已送达（状态 {0}）。";
        tested_badly: "The test did not arrive: {0}", "测试通知未送达：{0}";
        new_receiver: "Add a receiver", "添加接收方";
        delete_receiver: "Deletes the receiver; what was still to be told to it is given up.", "将删除接收方，未送达的通知不再发送。";
        routing: "Routes", "路由";
        routing_about:
            "Who is told of what, in order. Without routes every alert goes to every receiver.",
            "按顺序决定通知谁。没有路由时，所有告警发给所有接收方。";
        no_deliveries: "Nothing was told to anybody yet.", "还没有发送过通知。";
        receiver: "Receiver", "接收方";
        tells_of: "Tells of", "内容";
        attempts: "Tries", "尝试次数";
        next_try: "Next try", "下次尝试";
        answer: "Answer", "应答";
        again: "Send again", "重新发送";
        made: "Made", "创建时间";
        no_runbook: "No rule of that name comes with the broker.", "没有该名称的内置规则。";
        and_more: "and {0} more", "及另外 {0} 条";
    }
}
