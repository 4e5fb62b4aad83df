//! What the overview and the page of settings say.

texts! {
    /// What the overview and the page of settings say.
    Overview {
        all_well: "All is well: the node takes work and no alert fires.", "一切正常：节点可用，没有告警。";
        check_failed: "A check of the node fails", "节点检查未通过";
        fires: "Alerts that fire: {0}", "{0} 条告警正在触发";
        pends: "Alerts that may fire soon: {0}", "{0} 条告警即将触发";
        to_alerts: "Look at them", "查看";
        in_rate: "In", "写入";
        out_rate: "Out", "投递";
        acked_rate: "Acked", "确认";
        retry_rate: "Retried", "重试";
        lag: "Lag", "积压";
        oldest: "oldest {0}", "最久 {0}";
        bytes_rate: "{0}", "{0}";
        failed_rate: "failed {0}", "失败 {0}";
        dead_rate: "new {0}", "新增 {0}";
        in_flight: "in flight {0}", "处理中 {0}";
        p99: "median; p99 {0}", "中位数；p99 {0}";
        has_dead: "Dead letters that wait for somebody: {0}", "{0} 条死信待处理";
        to_dead: "Dead letters", "死信";
        dead: "Dead letters", "死信";
        fsync: "Flush", "刷盘";
        produce: "Produce", "写入延迟";
        end_to_end: "End to end", "端到端";
        log: "Log", "日志";
        free: "Free disk", "可用磁盘";
        up: "Up for", "已运行";
        worst: "Groups that are furthest behind", "积压最多的消费组";
        worst_none: "No group is behind.", "没有积压的消费组。";
        start: "No topics yet. This sends a message, receives it, and acknowledges it:", "还没有主题。以下命令发送、接收并确认一条消息：";
        chart_in: "Messages in", "写入消息";
        chart_acked: "Acked", "已确认";
        chart_lag: "Lag", "积压";
        chart_oldest: "Age of the oldest", "最久等待";
        settings: "Settings in force", "生效的设置";
        settings_about:
            "They do not change while the node runs. Secrets are not shown.",
            "运行期间不变，机密不显示。";
        key: "Setting", "设置项";
        value: "Value", "值";
        origin: "Where it comes from", "来源";
        about: "About", "关于";
        version: "Version", "版本";
        node: "Node", "节点";
        cluster: "Cluster", "集群";
        term: "Term", "任期";
        address: "Address", "地址";
        data: "Data directory", "数据目录";
        licences: "Licences", "许可证";
        licence_text:
            "Whimbrel is under the Apache License 2.0. The pages use htmx and idiomorph (Zero-Clause BSD) and uPlot (MIT), which are built in.",
            "Whimbrel 采用 Apache License 2.0。页面内置 htmx、idiomorph（Zero-Clause BSD）与 uPlot（MIT）。";
        checks: "Checks", "检查";
        no_settings: "This node was not started from the command line, so nothing is known of its settings.", "节点不是由命令行启动，设置未知。";
    }
}
